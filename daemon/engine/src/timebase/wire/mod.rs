//! Parsers of time on the wire: bytes in, values out, nothing else. Malformed input gives `None`.

mod flv;
mod frame_sei;
mod hdrext;
mod pic_timing;
mod refclk;
mod sei;

pub use flv::{FlvTime, flv_script};
pub use frame_sei::{FRAME_KEY_UUID, FrameSei, escape_into, frame_sei, frame_sei_nal};
pub use hdrext::{ExtensionKind, PacketTime, packet_times};
pub use pic_timing::{ClockTime, SpsTiming};
pub use refclk::{MediaClock, RefClock, reference_clock};
pub use sei::{
    SYNOPTIC_UUID, SeiTime, h264_pic_timing, h264_pic_timing_clock, sei_times, synoptic_sei, unescaped,
};

/// A big-endian reader that cannot run over.
#[derive(Clone, Copy)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head)
    }
    fn uint(&mut self, n: usize) -> Option<u64> {
        Some(self.take(n)?.iter().fold(0, |v, b| (v << 8) | u64::from(*b)))
    }
}
