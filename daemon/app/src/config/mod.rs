//! Configuration: one versioned TOML file, raw to resolved.

mod resolved;

pub use resolved::*;
