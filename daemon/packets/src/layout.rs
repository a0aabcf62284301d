//! What a block holds: a header, a slot for each camera, pixels and vectors. Little endian.
//!
//! | at | header, 128 bytes |
//! |---|---|
//! | 0 | `SYNOPACK` |
//! | 8 | u32 version, u32 slots, u32 bytes of the header, u32 bytes of a slot |
//! | 24 | u64 number of the packet |
//! | 32 | i64 instant: UTC in ns since 1970, then on CLOCK_MONOTONIC in ns |
//! | 48 | u64 spread in ns, u64 bytes used |
//! | 64 | i64 CLOCK_MONOTONIC in ns when it was written |
//!
//! | at | slot, 256 bytes |
//! |---|---|
//! | 0 | camera id, 32 bytes, filled up with zeros |
//! | 32 | u8 status: 0 okay, 1 dropped, 2 read error, 3 broken |
//! | 33 | u8 why broken: 0 it is not, 1 never seen, 2 disconnected, 3 stalled, 4 unreadable, 5 out of step |
//! | 34 | u8 kind: `I`, `P`, `B`, `?` |
//! | 35 | u8 pixels: 0 none, 1 BGR, 2 NV12 |
//! | 36 | u8 vectors: 0 not asked for, 1 known, 2 late |
//! | 37 | u8 1: the error is known |
//! | 40 | i64 UTC of capture, its error, the error between cameras of the box, CLOCK_MONOTONIC of capture; all ns |
//! | 72 | i64 media time in µs; u32 epoch, width, height, bytes from row to row |
//! | 96 | u64 number within the epoch |
//! | 104 | u64 where the pixels are, their bytes |
//! | 120 | u64 where the vectors are, how many; ten i32 each, see `MotionVector::columns` |
//! | 136 | name of the time's source, 16 bytes, filled up with zeros |
//! | 152 | i64 CLOCK_MONOTONIC in ns when the frame's first byte came |
//!
//! All else is zero. Of a slot that is not okay only the first 34 bytes say something. NV12 is `height` rows of luma,
//! then `ceil(height / 2)` rows of interleaved Cb Cr, all of the same stride.

use synoptic_base::{BrokenReason, ClockMap, Frame, FramePacket, Mono, Size, Slot, Span, StreamId};

use crate::motion::MotionAnswer;
use crate::{Pixels, wire};

/// First bytes of a block.
pub const MAGIC: [u8; 8] = *b"SYNOPACK";
/// Bytes of the header.
pub const HEADER: usize = 128;
/// Bytes of a slot.
pub const SLOT: usize = 256;
/// Pixels and vectors begin at multiples of this: a cache line.
const ALIGN: usize = 64;
/// Bytes of a vector.
const VECTOR: usize = 40;

/// How pixels are handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PixelLayout {
    /// Blue, green, red bytes, as OpenCV has them.
    #[default]
    Bgr,
    /// A luma plane and a plane of interleaved Cb Cr: half the memory, and no conversion.
    Nv12,
}

impl PixelLayout {
    /// Name in the configuration and in messages.
    pub const fn name(self) -> &'static str {
        match self {
            PixelLayout::Bgr => "bgr",
            PixelLayout::Nv12 => "nv12",
        }
    }

    const fn code(self) -> u8 {
        match self {
            PixelLayout::Bgr => 1,
            PixelLayout::Nv12 => 2,
        }
    }

    /// Bytes from one row to the next.
    pub(crate) const fn stride(self, size: Size) -> usize {
        match self {
            PixelLayout::Bgr => size.width as usize * 3,
            PixelLayout::Nv12 => (size.width as usize).next_multiple_of(2),
        }
    }

    pub(crate) const fn bytes(self, size: Size) -> usize {
        let rows = match self {
            PixelLayout::Bgr => size.height as usize,
            PixelLayout::Nv12 => size.height as usize + (size.height as usize).div_ceil(2),
        };
        self.stride(size) * rows
    }
}

/// Where a slot's parts go.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) pixels: usize,
    pub(crate) pixel_bytes: usize,
    pub(crate) vectors: usize,
}

/// Where everything of a packet goes, and how many bytes that takes.
pub(crate) fn places(
    packet: &FramePacket<Pixels>,
    pixels: PixelLayout,
    motion: &[MotionAnswer],
) -> (Vec<Place>, usize) {
    let mut at = HEADER + SLOT * packet.slots.len();
    let mut take = |bytes: usize| {
        let from = at.next_multiple_of(ALIGN);
        at = from + bytes;
        from
    };
    let place = |((_, slot), motion): (&(StreamId, Slot<Pixels>), &MotionAnswer)| {
        let Some(frame) = slot.frame() else {
            return Place::default();
        };
        let pixel_bytes = pixels.bytes(frame.pixels.size());
        let count = match motion {
            MotionAnswer::Known(vectors) => vectors.len(),
            MotionAnswer::Off | MotionAnswer::Late => 0,
        };
        Place {
            pixels: take(pixel_bytes),
            pixel_bytes,
            vectors: take(count * VECTOR),
        }
    };
    let places = packet.slots.iter().zip(motion).map(place).collect();
    (places, at)
}

struct Fields<'b>(&'b mut [u8]);

impl Fields<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn u32s(&mut self, at: usize, numbers: &[usize]) {
        for (i, number) in numbers.iter().enumerate() {
            self.put(at + 4 * i, &(*number as u32).to_le_bytes());
        }
    }
    fn u64s(&mut self, at: usize, numbers: &[u64]) {
        for (i, number) in numbers.iter().enumerate() {
            self.put(at + 8 * i, &number.to_le_bytes());
        }
    }
    fn i64s(&mut self, at: usize, numbers: &[i64]) {
        for (i, number) in numbers.iter().enumerate() {
            self.put(at + 8 * i, &number.to_le_bytes());
        }
    }
}

/// Writes the header.
pub(crate) fn header(block: &mut [u8], packet: &FramePacket<Pixels>, map: &ClockMap, used: usize, now: Mono) {
    let mut fields = Fields(&mut block[..HEADER]);
    fields.0.fill(0);
    fields.put(0, &MAGIC);
    fields.u32s(8, &[wire::VERSION as usize, packet.slots.len(), HEADER, SLOT]);
    fields.u64s(24, &[packet.id.0]);
    fields.i64s(
        32,
        &[map.utc(packet.instant).as_nanos(), packet.instant.as_nanos()],
    );
    fields.u64s(48, &[packet.spread.as_nanos().unsigned_abs(), used as u64]);
    fields.i64s(64, &[now.as_nanos()]);
}

/// Writes a slot; `unread`: its frame is there, but its pixels cannot be had.
pub(crate) fn slot(
    bytes: &mut [u8],
    camera: StreamId,
    slot: &Slot<Pixels>,
    unread: bool,
    (pixels, place, motion): (PixelLayout, Place, &MotionAnswer),
    map: &ClockMap,
) {
    bytes.fill(0);
    let mut fields = Fields(bytes);
    fields.put(0, camera.as_str().as_bytes());
    let (status, why) = match slot {
        Slot::Okay(_) if unread => (2, 0),
        Slot::Okay(_) => (0, 0),
        Slot::Dropped => (1, 0),
        Slot::ReadError => (2, 0),
        Slot::Broken(reason) => (3, broken(*reason)),
    };
    fields.put(32, &[status, why]);
    if let (0, Slot::Okay(frame)) = (status, slot) {
        frame_fields(&mut fields, frame, (pixels, place, motion), map);
    }
}

fn frame_fields(
    fields: &mut Fields<'_>,
    frame: &Frame<Pixels>,
    (pixels, place, motion): (PixelLayout, Place, &MotionAnswer),
    map: &ClockMap,
) {
    let meta = &frame.meta;
    let stamp = map.stamp(meta.captured);
    let (state, count) = match motion {
        MotionAnswer::Off => (0, 0),
        MotionAnswer::Known(vectors) => (1, vectors.len()),
        MotionAnswer::Late => (2, 0),
    };
    let kind = meta.kind.name().as_bytes()[0];
    fields.put(34, &[kind, pixels.code(), state, u8::from(stamp.error.is_some())]);
    fields.i64s(
        40,
        &[
            stamp.utc.as_nanos(),
            stamp.error.map_or(0, Span::as_nanos),
            meta.captured.rel_error.as_nanos(),
            meta.captured.mono.as_nanos(),
            meta.key.media_us.as_micros(),
        ],
    );
    let size = frame.pixels.size();
    fields.u32s(
        80,
        &[
            meta.key.epoch.0 as usize,
            size.width as usize,
            size.height as usize,
            pixels.stride(size),
        ],
    );
    fields.u64s(
        96,
        &[
            meta.seq.0,
            place.pixels as u64,
            place.pixel_bytes as u64,
            place.vectors as u64,
            count as u64,
        ],
    );
    fields.put(136, stamp.source.name().as_bytes());
    fields.i64s(152, &[meta.arrival.as_nanos()]);
}

/// Writes vectors.
pub(crate) fn vectors(bytes: &mut [u8], motion: &MotionAnswer) {
    let MotionAnswer::Known(vectors) = motion else {
        return;
    };
    for (out, vector) in bytes.chunks_exact_mut(VECTOR).zip(vectors.iter()) {
        for (out, column) in out.chunks_exact_mut(4).zip(vector.columns()) {
            out.copy_from_slice(&column.to_le_bytes());
        }
    }
}

const fn broken(reason: BrokenReason) -> u8 {
    match reason {
        BrokenReason::NeverSeen => 1,
        BrokenReason::Disconnected => 2,
        BrokenReason::Stalled => 3,
        BrokenReason::Unreadable => 4,
        BrokenReason::OutOfStep => 5,
    }
}
