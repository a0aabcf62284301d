//! Fragmented MP4 (ISO/IEC 14496-12) of a picture track and, where there is sound, of a second one: what Media Source
//! Extensions and HLS take.
//!
//! Ticks are microseconds and times are those of the epoch, so that a player gets back the media time of the frame key.

use super::avcc;
use super::sound_entry::sound_entry;
use crate::coded::{CodedFormat, CodedFrame, SoundFormat};

/// Ticks a second.
const TIMESCALE: u32 = 1_000_000;
/// The pictures' track, and the sound's.
const PICTURES: u32 = 1;
const SOUND: u32 = 2;
/// Unity matrix (section 6.2.2).
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// sample_flags of a sync sample and of another (section 8.8.3.1).
const SYNC: u32 = 0x0200_0000;
const NOT_SYNC: u32 = 0x0101_0000;
/// Duration of a picture of which none is known: the next one replaces it.
const UNKNOWN_DURATION: u32 = 33_333;

/// Full volume, 8.8 fixed point (section 8.3.2).
const FULL_VOLUME: u16 = 0x100;

pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn u16(&mut self, values: &[u16]) {
        values.iter().for_each(|v| self.0.extend(v.to_be_bytes()));
    }
    pub(super) fn u32(&mut self, values: &[u32]) {
        values.iter().for_each(|v| self.0.extend(v.to_be_bytes()));
    }
    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_be_bytes());
    }
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A box; its size is filled in behind its content.
    pub(super) fn atom(&mut self, kind: &[u8; 4], content: impl FnOnce(&mut Writer)) {
        let at = self.0.len();
        self.u32(&[0]);
        self.bytes(kind);
        content(self);
        let size = (self.0.len() - at) as u32;
        self.0[at..at + 4].copy_from_slice(&size.to_be_bytes());
    }

    /// A box with version and flags.
    pub(super) fn full(
        &mut self,
        kind: &[u8; 4],
        version: u8,
        flags: u32,
        content: impl FnOnce(&mut Writer),
    ) {
        self.atom(kind, |w| {
            w.u32(&[u32::from(version) << 24 | flags]);
            content(w);
        });
    }
}

/// One sample of a fragment: a picture, or a frame of sound. Times are microseconds of the epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Time in the order of decoding.
    pub decode_us: i64,
    /// Shown so much later.
    pub offset_us: i32,
    /// Until the next one.
    pub duration_us: u32,
    /// Decoding can begin here.
    pub sync: bool,
    /// Its bytes: NAL units behind their lengths, or a frame of sound.
    pub data: Vec<u8>,
}

impl Sample {
    /// A picture that is shown for `duration_us`.
    pub fn picture(frame: &CodedFrame, duration_us: u32) -> Sample {
        Sample {
            decode_us: frame.decode_us,
            offset_us: (frame.shown_us() - frame.decode_us) as i32,
            duration_us,
            sync: frame.keyframe,
            data: frame.length_prefixed(),
        }
    }
}

/// The initialization segment of pictures alone: `ftyp` and `moov`.
pub fn init_segment(format: &CodedFormat) -> Vec<u8> {
    init_segment_with(format, None)
}

/// The initialization segment of pictures and, on a second track, sound.
pub fn init_segment_with(format: &CodedFormat, sound: Option<&SoundFormat>) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(1_200));
    w.atom(b"ftyp", |w| {
        w.bytes(b"iso5");
        w.u32(&[512]);
        w.bytes(b"iso5iso6mp41");
    });
    w.atom(b"moov", |w| {
        w.full(b"mvhd", 0, 0, |w| {
            w.u32(&[0, 0, TIMESCALE, 0, 0x1_0000]);
            w.u16(&[FULL_VOLUME, 0]);
            w.u32(&[0, 0]);
            w.u32(&MATRIX);
            w.u32(&[0, 0, 0, 0, 0, 0, SOUND + 1]);
        });
        let (width, height) = (format.size.width, format.size.height);
        track(w, PICTURES, 0, (width, height), b"vide", |w| {
            w.full(b"vmhd", 0, 1, |w| w.u16(&[0, 0, 0, 0]));
            tables(w, |w| picture_entry(w, format));
        });
        if let Some(sound) = sound {
            track(w, SOUND, FULL_VOLUME, (0, 0), b"soun", |w| {
                w.full(b"smhd", 0, 0, |w| w.u16(&[0, 0]));
                tables(w, |w| sound_entry(w, sound));
            });
        }
        w.atom(b"mvex", |w| {
            w.full(b"trex", 0, 0, |w| w.u32(&[PICTURES, 1, 0, 0, 0]));
            if sound.is_some() {
                w.full(b"trex", 0, 0, |w| w.u32(&[SOUND, 1, 0, 0, 0]));
            }
        });
    });
    w.0
}

fn track(
    w: &mut Writer,
    id: u32,
    volume: u16,
    (width, height): (u32, u32),
    handler: &[u8; 4],
    media: impl FnOnce(&mut Writer),
) {
    w.atom(b"trak", |w| {
        // Enabled and in the movie.
        w.full(b"tkhd", 0, 3, |w| {
            w.u32(&[0, 0, id, 0, 0, 0, 0]);
            w.u16(&[0, 0, volume, 0]);
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
                w.bytes(handler);
                w.u32(&[0, 0, 0]);
                w.bytes(if handler == b"vide" {
                    b"video\0"
                } else {
                    b"sound\0"
                });
            });
            w.atom(b"minf", media);
        });
    });
}

/// Where the data is (in the file itself), and the table of samples with its one `entry` and no samples.
fn tables(w: &mut Writer, entry: impl FnOnce(&mut Writer)) {
    w.atom(b"dinf", |w| {
        w.full(b"dref", 0, 0, |w| {
            w.u32(&[1]);
            w.full(b"url ", 0, 1, |_| {});
        });
    });
    w.atom(b"stbl", |w| {
        w.full(b"stsd", 0, 0, |w| {
            w.u32(&[1]);
            entry(w);
        });
        w.full(b"stts", 0, 0, |w| w.u32(&[0]));
        w.full(b"stsc", 0, 0, |w| w.u32(&[0]));
        w.full(b"stsz", 0, 0, |w| w.u32(&[0, 0]));
        w.full(b"stco", 0, 0, |w| w.u32(&[0]));
    });
}

fn picture_entry(w: &mut Writer, format: &CodedFormat) {
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
}

/// A picture as `moof` and `mdat`; `sequence` counts from 1 after each initialization segment.
pub fn fragment(sequence: u32, frame: &CodedFrame) -> Vec<u8> {
    let duration_us = match frame.duration_us {
        0 => UNKNOWN_DURATION,
        us => us,
    };
    chunk(sequence, &[Sample::picture(frame, duration_us)], &[])
}

/// Pictures, and sound on the second track, as one `moof` and `mdat`. A track without samples is left out.
pub fn chunk(sequence: u32, pictures: &[Sample], sound: &[Sample]) -> Vec<u8> {
    let bytes = |samples: &[Sample]| samples.iter().map(|s| s.data.len()).sum::<usize>();
    let total = bytes(pictures) + bytes(sound);
    let mut w = Writer(Vec::with_capacity(
        total + 16 * (pictures.len() + sound.len()) + 160,
    ));
    let mut offsets = Vec::new();
    w.atom(b"moof", |w| {
        w.full(b"mfhd", 0, 0, |w| w.u32(&[sequence]));
        let mut before = 0;
        for (id, samples) in [(PICTURES, pictures), (SOUND, sound)] {
            if let Some(first) = samples.first() {
                let at = traf(w, id, first.decode_us, samples);
                offsets.push((at, before));
                before += bytes(samples);
            }
        }
    });
    let data_offset = w.0.len() + 8;
    for (at, before) in offsets {
        let offset = (data_offset + before) as u32;
        w.0[at..at + 4].copy_from_slice(&offset.to_be_bytes());
    }
    w.atom(b"mdat", |w| {
        pictures.iter().chain(sound).for_each(|s| w.bytes(&s.data));
    });
    w.0
}

/// A track's part of a fragment. Where its data offset is to be written.
fn traf(w: &mut Writer, id: u32, decode_us: i64, samples: &[Sample]) -> usize {
    let mut data_offset_at = 0;
    w.atom(b"traf", |w| {
        // default-base-is-moof
        w.full(b"tfhd", 0, 0x2_0000, |w| w.u32(&[id]));
        w.full(b"tfdt", 1, 0, |w| w.u64(decode_us.max(0) as u64));
        // Data offset; duration, size, flags and signed composition offset of each sample.
        w.full(b"trun", 1, 0xf01, |w| {
            w.u32(&[samples.len() as u32]);
            data_offset_at = w.0.len();
            w.u32(&[0]);
            for s in samples {
                let flags = if s.sync { SYNC } else { NOT_SYNC };
                w.u32(&[s.duration_us, s.data.len() as u32, flags, s.offset_us as u32]);
            }
        });
    });
    data_offset_at
}
