//! Types and traits that every part of Synoptic shares.
//!
//! No I/O, no clock, no threads. The terms:
//!
//! * a **stream** is a camera or a panorama ([`StreamId`]); an **epoch** is one uninterrupted run of it;
//! * a **frame** is one picture of a stream with its key and its capture time ([`Frame`]);
//! * a **packet** is one frame of each camera of a group, of one instant ([`FramePacket`]);
//! * a **stamp** is a time with an error bound and a source ([`Stamp`]).
#![forbid(unsafe_code)]

mod clock;
mod detect;
mod durations;
mod event;
mod frame;
mod geometry;
mod ids;
mod motion;
mod ptz;
mod restamp;
mod rig;
mod start;
mod stitch;
mod surface;
mod time;
mod warp;

pub use clock::{Clock, ClockSample};
pub use detect::{Detected, Detection, Detector, DetectorError, Picture};
pub use durations::{DURATION_EDGES_S, Durations};
pub use event::{
    BestFrame, EndReason, Event, EventChange, EventId, Outage, Sighting, SystemChange, SystemEvent,
};
pub use frame::{BrokenReason, Frame, FrameKind, FrameMeta, FramePacket, PacketId, Slot, SlotStatus};
pub use geometry::{BBox, InCamera, InPanorama, Rotation, Size};
pub use ids::{Epoch, FrameKey, IdError, MediaTime, Seq, StreamId, TrackId};
pub use motion::MotionVector;
pub use ptz::Ptz;
pub use restamp::{KnownMap, Restamp, StreamRestamp, moved_stamp};
pub use rig::{Canvas, Intrinsics, Lens, Projection, Rig, RigCamera};
pub use start::{Numbering, StreamStart};
pub use stitch::{
    CellSeen, Cover, GAIN_PITCH, PATCH, PanoramaSeen, PatchPair, STITCH_CELL, SeamLine, SeamLook, SlotView,
    StitchDirector, StitchLayout, StitchPlan,
};
pub use surface::{Native, PixelFormat, Plane, Planes, Surface, SurfaceError};
pub use time::{BootId, Captured, ClockMap, Mono, Span, Stamp, TimeSource, Utc};
pub use warp::{CameraWarp, WarpTables};
