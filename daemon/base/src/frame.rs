//! Frames and frame packets. Immutable once made; results refer to a frame by its key and never edit it.

use serde::{Deserialize, Serialize};

use crate::{Captured, FrameKey, Mono, Seq, Size, Span, StreamId};

/// Kind of a coded picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrameKind {
    /// Intra: decodable on its own.
    I,
    /// Predicted from the past.
    P,
    /// Predicted from the past and the future.
    B,
    /// Not known.
    #[default]
    #[serde(rename = "?")]
    Unknown,
}

impl FrameKind {
    /// `I`, `P`, `B` or `?`.
    pub const fn name(self) -> &'static str {
        match self {
            FrameKind::I => "I",
            FrameKind::P => "P",
            FrameKind::B => "B",
            FrameKind::Unknown => "?",
        }
    }
}

/// All that is known of a frame but its pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    /// Names the picture for ever.
    pub key: FrameKey,
    /// Its number within the epoch.
    pub seq: Seq,
    /// When its first byte reached the box.
    pub arrival: Mono,
    /// When it was captured.
    pub captured: Captured,
    /// Size of the picture as delivered (after rotation).
    pub size: Size,
    /// I, P, B or unknown.
    pub kind: FrameKind,
}

/// A frame: metadata and pixels. `P` is a `Surface` in production and `()` in tests of the engine.
#[derive(Clone, Debug)]
pub struct Frame<P> {
    /// What is known of it.
    pub meta: FrameMeta,
    /// The picture.
    pub pixels: P,
}

/// Why a camera gives no frames at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BrokenReason {
    /// No frame has ever come from it since it was added.
    NeverSeen,
    /// The connection is down; it is being retried.
    Disconnected,
    /// Connected, yet no frame for longer than the stall limit.
    Stalled,
    /// Its frames arrive, but none can be decoded.
    Unreadable,
    /// Its stream runs too far from the others' to go with them.
    OutOfStep,
}

/// What a packet holds of one camera.
#[derive(Clone, Debug)]
pub enum Slot<P> {
    /// A frame within tolerance of the packet's instant (FRAME_OKAY).
    Okay(Frame<P>),
    /// The camera delivers, but has no frame for this instant: lost, late or slower (FRAME_DROPPED).
    Dropped,
    /// The frame of this instant came but could not be decoded (FRAME_READ_ERROR).
    ReadError,
    /// The camera gives no frames (CAP_BROKEN).
    Broken(BrokenReason),
}

impl<P> Slot<P> {
    /// The status without the frame.
    pub fn status(&self) -> SlotStatus {
        match self {
            Slot::Okay(_) => SlotStatus::Okay,
            Slot::Dropped => SlotStatus::Dropped,
            Slot::ReadError => SlotStatus::ReadError,
            Slot::Broken(_) => SlotStatus::Broken,
        }
    }

    /// The frame, if the slot is `Okay`.
    pub fn frame(&self) -> Option<&Frame<P>> {
        match self {
            Slot::Okay(frame) => Some(frame),
            _ => None,
        }
    }
}

/// Status of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotStatus {
    /// A frame is there.
    Okay,
    /// No frame for this instant.
    Dropped,
    /// It could not be decoded.
    ReadError,
    /// The camera gives nothing.
    Broken,
}

impl SlotStatus {
    /// Name in documents and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            SlotStatus::Okay => "okay",
            SlotStatus::Dropped => "dropped",
            SlotStatus::ReadError => "read_error",
            SlotStatus::Broken => "broken",
        }
    }
}

/// Number of a packet within its group, from 0, while the daemon runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PacketId(pub u64);

/// One instant, seen by every camera of a group.
#[derive(Clone, Debug)]
pub struct FramePacket<P> {
    /// Its number.
    pub id: PacketId,
    /// The instant: the middle of its frames' capture times.
    pub instant: Mono,
    /// One slot a camera, in the order of the configuration.
    pub slots: Vec<(StreamId, Slot<P>)>,
    /// Newest minus oldest capture time among the `Okay` slots; zero with fewer than two.
    pub spread: Span,
}

impl<P> FramePacket<P> {
    /// The frames of the `Okay` slots.
    pub fn frames(&self) -> impl Iterator<Item = &Frame<P>> {
        self.slots.iter().filter_map(|(_, slot)| slot.frame())
    }

    /// Whether every slot is `Okay`.
    pub fn is_complete(&self) -> bool {
        self.slots.iter().all(|(_, slot)| matches!(slot, Slot::Okay(_)))
    }
}
