//! Parsers of time on the wire: bytes in, values out, nothing else. Malformed input gives `None`.

mod flv;
mod flv_tags;
mod frame_sei;
mod hdrext;
mod m3u8;
mod pic_timing;
mod refclk;
mod sei;
mod ts;

pub use flv::{FlvTime, flv_script};
pub use flv_tags::{FlvClock, FlvCodec, FlvError, FlvItem, FlvReader};
pub use frame_sei::{FRAME_KEY_UUID, FrameSei, REPEAT_UUID, escape_into, frame_sei, frame_sei_nal};
pub use hdrext::{ExtensionKind, PacketTime, packet_times};
pub use m3u8::{MediaPlaylist, Playlist, PlaylistError, Segment, Variant, playlist};
pub use pic_timing::{ClockTime, SpsTiming};
pub use refclk::{MediaClock, RefClock, reference_clock};
pub use sei::{
    SYNOPTIC_UUID, SeiTime, h264_pic_timing, h264_pic_timing_clock, sei_times, synoptic_sei, unescaped,
};
pub use ts::{TsCodec, TsError, TsUnit, ts_units};

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
