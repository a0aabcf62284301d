//! .

pub mod rules;
pub mod track;
