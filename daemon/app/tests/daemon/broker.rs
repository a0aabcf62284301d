//! The broker stopped and started again.
