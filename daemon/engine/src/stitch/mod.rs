//! How a panorama is composed, decided on small grids: which camera shows what, and with which gain.
//!
//! Terms: a *cell* is 8 x 8 canvas pixels; a *join* puts two groups of cameras side by side; its *line* says where
//! the seam crosses each row (or column) of cells; a camera's *field* is what to add to the logarithm of its colours.
//!
//! * `joins` makes a tree of joins from what the cameras cover;
//! * `line` finds a seam by dynamic programming, and moves it only with reason;
//! * `cost` says what a seam costs in each cell: differences, motion, boxes;
//! * `gain` estimates the gain fields from trusted cells;
//! * `motion` watches what moves, `weights` turns lines into weights of cells;
//! * `slots` fades cameras out and in;
//! * [`quality`] judges how well cameras fit where both see, [`skew`] how far apart in time they are;
//! * [`learned`] says whether the learned warp may be shown;
//! * [`gate`] lets only sure drifts be corrected; [`unite`] makes one of an object that two cameras see.
mod cost;
mod director;
mod gain;
pub mod gate;
mod joins;
mod lag;
pub mod learned;
mod line;
mod motion;
mod patch;
pub mod quality;
pub mod skew;
mod slots;
pub mod unite;
mod weights;

pub use director::{Director, StitchConfig, StitchError};
pub use slots::MissingPolicy;
