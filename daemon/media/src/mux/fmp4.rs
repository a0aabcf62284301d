//! Fragmented MP4 (ISO/IEC 14496-12) of one track, a picture a fragment: what Media Source Extensions take.
//!
//! Ticks are microseconds and times are those of the epoch, so that a player gets back the media time of the frame key.

use super::avcc;
use crate::coded::{CodedFormat, CodedFrame};

/// Ticks a second.
const TIMESCALE: u32 = 1_000_000;
/// The one track.
const TRACK: u32 = 1;
/// Unity matrix (section 6.2.2).
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// sample_flags of a sync sample and of another (section 8.8.3.1).
const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;
/// Duration of a picture of which none is known: the next one replaces it.
const UNKNOWN_DURATION: u32 = 33_333;

struct Writer(Vec<u8>);

impl Writer {
    fn u16(&mut self, values: &[u16]) {
        values.iter().for_each(|v| self.0.extend(v.to_be_bytes()));
    }
    fn u32(&mut self, values: &[u32]) {
        values.iter().for_each(|v| self.0.extend(v.to_be_bytes()));
    }
    fn u64(&mut self, value: u64) {
        self.0.extend(value.to_be_bytes());
    }
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A box; its size is filled in behind its content.
    fn atom(&mut self, kind: &[u8; 4], content: impl FnOnce(&mut Writer)) {
        let at = self.0.len();
        self.u32(&[0]);
        self.bytes(kind);
        content(self);
        let size = (self.0.len() - at) as u32;
        self.0[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }

    /// A box with version and flags.
    fn full(&mut self, kind: &[u8; 4], version: u8, flags: u32, content: impl FnOnce(&mut Writer)) {
        self.atom(kind, |w| {
            w.u32(&[u32::from(version) << 24 | flags]);
            content(w);
        });
    }
}

/// The initialization segment: `ftyp` and `moov`.
pub fn init_segment(format: &CodedFormat) -> Vec<u8> {
    let (width, height) = (format.size.width, format.size.height);
    let mut w = Writer(Vec::with_capacity(700));
    w.atom(b"ftyp", |w| {
        w.bytes(b"iso5");
        w.u32(&[512]);
        w.bytes(b"iso5iso6mp41");
    });
    w.atom(b"moov", |w| {
        w.full(b"mvhd", 0, 0, |w| {
            w.u32(&[0, 0, TIMESCALE, 0, 0x1_0000]);
            w.u16(&[0x100, 0]);
            w.u32(&[0, 0]);
            w.u32(&MATRIX);
            w.u32(&[0, 0, 0, 0, 0, 0, TRACK + 1]);
        });
        w.atom(b"trak", |w| {
            // Enabled and in the movie.
            w.full(b"tkhd", 0, 3, |w| {
                w.u32(&[0, 0, TRACK, 0, 0, 0, 0]);
                w.u16(&[0, 0, 0, 0]);
                w.u32(&MATRIX);
                w.u32(&[width << 16, height << 16]);
            });
            w.atom(b"mdia", |w| {
                w.full(b"mdhd", 0, 0, |w| {
                    w.u32(&[0, 0, TIMESCALE, 0]);
                    w.u16(&[0x55c4, 0]); // `und`
                });
                w.full(b"hdlr", 0, 0, |w| {
                    w.u32(&[0]);
                    w.bytes(b"vide");
                    w.u32(&[0, 0, 0]);
                    w.bytes(b"video\0");
                });
                w.atom(b"minf", |w| {
                    w.full(b"vmhd", 0, 1, |w| w.u16(&[0, 0, 0, 0]));
                    w.atom(b"dinf", |w| {
                        w.full(b"dref", 0, 0, |w| {
                            w.u32(&[1]);
                            w.full(b"url ", 0, 1, |_| {});
                        });
                    });
                    w.atom(b"stbl", |w| sample_table(w, format));
                });
            });
        });
        w.atom(b"mvex", |w| {
            w.full(b"trex", 0, 0, |w| w.u32(&[TRACK, 1, 0, 0, 0]));
        });
    });
    w.0
}

fn sample_table(w: &mut Writer, format: &CodedFormat) {
    w.full(b"stsd", 0, 0, |w| {
        w.u32(&[1]);
        w.atom(b"avc1", |w| {
            w.bytes(&[0; 6]);
            w.u16(&[1]); // data_reference_index
            w.bytes(&[0; 16]);
            w.u16(&[format.size.width as u16, format.size.height as u16]);
            w.u32(&[0x48_0000, 0x48_0000, 0]); // 72 dpi
            w.u16(&[1]);
            w.bytes(&[0; 32]);
            w.u16(&[0x18, 0xffff]);
            w.atom(b"avcC", |w| w.bytes(&avcc(format)));
        });
    });
    w.full(b"stts", 0, 0, |w| w.u32(&[0]));
    w.full(b"stsc", 0, 0, |w| w.u32(&[0]));
    w.full(b"stsz", 0, 0, |w| w.u32(&[0, 0]));
    w.full(b"stco", 0, 0, |w| w.u32(&[0]));
}

/// A picture as `moof` and `mdat`; `sequence` counts from 1 after each initialization segment.
pub fn fragment(sequence: u32, frame: &CodedFrame) -> Vec<u8> {
    let sample = frame.length_prefixed();
    let offset = frame.key.media_us.as_micros() - frame.decode_us;
    let duration = match frame.duration_us {
        0 => UNKNOWN_DURATION,
        us => us,
    };
    let mut w = Writer(Vec::with_capacity(sample.len() + 128));
    let mut data_offset_at = 0;
    w.atom(b"moof", |w| {
        w.full(b"mfhd", 0, 0, |w| w.u32(&[sequence]));
        w.atom(b"traf", |w| {
            // default-base-is-moof
            w.full(b"tfhd", 0, 0x2_0000, |w| w.u32(&[TRACK]));
            w.full(b"tfdt", 1, 0, |w| w.u64(frame.decode_us.max(0) as u64));
            // Data offset; duration, size, flags and signed composition offset of each sample.
            w.full(b"trun", 1, 0xf01, |w| {
                w.u32(&[1]);
                data_offset_at = w.0.len();
                let flags = if frame.keyframe { SYNC } else { NOT_SYNC };
                w.u32(&[0, duration, sample.len() as u32, flags, offset as i32 as u32]);
            });
        });
    });
    let data_offset = w.0.len() as u32 + 8;
    w.0[data_offset_at..data_offset_at + 4].copy_from_slice(&data_offset.to_be_bytes());
    w.atom(b"mdat", |w| w.bytes(&sample));
    w.0
}
