//! Frame packets for other programs of the box: pixels, stamps, kinds and motion vectors, through shared memory.
//!
//! Terms: a **block** is a sealed piece of shared memory that holds one packet; a **reader** is a connection of another
//! program; a reader's **ring** is what waits for it.
//!
//! Contract, in full in docs/reference/packets.md:
//!
//! * A packet is written once, whatever the number of readers, and only while there is one: [`Share::offer`] costs a
//!   comparison otherwise. Pixels are converted from the decoder's picture straight into shared memory.
//! * Readers ask for packets ([`wire`]) and get a descriptor of the block, once per block. A ring that is full loses its
//!   oldest packet, counted; nobody else notices. All blocks of a group together stay below a limit.
//! * A reader maps blocks privately: what it writes stays its own, and it can neither change nor shrink them.
#![deny(unsafe_code)] // Allowed for the one mapping in `block`.

mod block;
mod conversation;
mod exchange;
pub mod helper;
pub mod layout;
mod motion;
mod publish;
mod server;
#[cfg(test)]
mod tests;
pub mod wire;
mod writer;

pub use layout::PixelLayout;
pub use motion::{MotionAnswer, MotionSource, NoMotion};
pub use server::{CameraLine, Share, ShareError, ShareOptions};

/// A picture as it travels through the daemon.
pub type Pixels = std::sync::Arc<dyn synoptic_base::Surface>;
