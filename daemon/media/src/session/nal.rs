//! The kind of a coded picture, from its first slice.

use synoptic_base::{FrameKind, Utc};
use synoptic_engine::timebase::wire;

use super::h265::PictureSets;

/// Codec of an elementary stream in Annex B or length-prefixed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    H264,
    H265,
}

/// How NAL units are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// A start code before each (ITU-T H.264 annex B).
    StartCodes,
    /// Its length before each, in four bytes (ISO/IEC 14496-15; no depayloader writes shorter ones).
    Lengths,
}

/// Tells the kinds of a stream's pictures.
#[derive(Clone, Debug)]
pub(super) enum KindReader {
    H264,
    /// By the picture parameter sets that were seen.
    H265(PictureSets),
}

impl KindReader {
    pub(super) fn new(codec: Codec) -> KindReader {
        match codec {
            Codec::H264 => KindReader::H264,
            Codec::H265 => KindReader::H265(PictureSets::default()),
        }
    }

    /// Kind of the picture that an access unit holds, by its first slice. Remembers the parameter sets before it, and those
    /// of the caps: `codec_data` of ISO/IEC 14496-15, which is asked for where an intra picture may bring new ones.
    pub(super) fn kind(
        &mut self,
        framing: Framing,
        unit: &[u8],
        codec_data: impl FnOnce() -> Option<Vec<u8>>,
    ) -> FrameKind {
        let KindReader::H265(sets) = self else {
            return kind(Codec::H264, framing, unit);
        };
        let intra = kind(Codec::H265, framing, unit) == FrameKind::I;
        if (intra || sets.is_empty())
            && let Some(record) = codec_data()
        {
            sets.codec_data(&record);
        }
        for nal in nals(framing, unit) {
            if let Some(kind) = sets.kind(nal) {
                return kind;
            }
            sets.take(nal);
        }
        FrameKind::Unknown
    }
}

/// Kind of the picture that an access unit holds, by itself.
///
/// H.264: `slice_type` of the first slice (ITU-T H.264 section 7.3.3, table 7-6). H.265: intra for the IRAP NAL
/// types 16 to 23 (ITU-T H.265 table 7-1); else unknown, since `slice_type` lies behind fields that need the picture
/// parameter set ([`KindReader`]).
pub(super) fn kind(codec: Codec, framing: Framing, unit: &[u8]) -> FrameKind {
    for nal in nals(framing, unit) {
        let Some(&header) = nal.first() else { continue };
        match codec {
            Codec::H264 => match header & 0x1f {
                5 => return FrameKind::I,
                1 => return h264_slice_kind(&nal[1..]),
                _ => {}
            },
            Codec::H265 => match (header >> 1) & 0x3f {
                16..=23 => return FrameKind::I,
                0..=15 => return FrameKind::Unknown,
                _ => {}
            },
        }
    }
    FrameKind::Unknown
}

/// UTC that the sender wrote into the SEI of an access unit; `None` without.
pub(super) fn sei_utc(codec: Codec, framing: Framing, unit: &[u8]) -> Option<Utc> {
    for nal in nals(framing, unit) {
        let &header = nal.first()?;
        let (sei, slice, header_bytes) = match codec {
            Codec::H264 => (header & 0x1f == 6, (1..=5).contains(&(header & 0x1f)), 1),
            Codec::H265 => (header >> 1 == 39, header >> 1 < 32, 2),
        };
        if slice {
            return None; // SEI that tells of this picture stands before its slices
        }
        if sei {
            let end = find_start_code(nal).unwrap_or(nal.len());
            if let Some(time) = wire::sei_times(&nal[..end], header_bytes).first() {
                return Some(time.utc);
            }
        }
    }
    None
}

/// Reads UTC from clock timestamps: a time of day, which becomes UTC beside the box's own.
#[derive(Debug, Default)]
pub(super) struct ClockReader {
    sps: Option<wire::SpsTiming>,
}

impl ClockReader {
    /// Whether a parameter set was read.
    pub(super) fn knows(&self) -> bool {
        self.sps.is_some()
    }

    /// Takes a parameter set that stands in the caps: `codec_data` of ISO/IEC 14496-15 5.3.3.1.
    pub(super) fn codec_data(&mut self, bytes: &[u8]) {
        let set = bytes.get(8..).zip(bytes.get(6..8));
        if let Some((rest, length)) = set {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            self.sps = rest.get(..length).and_then(wire::SpsTiming::parse).or(self.sps);
        }
    }

    /// UTC of a H.264 access unit; `None` without a clock timestamp.
    pub(super) fn utc(&mut self, framing: Framing, unit: &[u8], now: impl FnOnce() -> Utc) -> Option<Utc> {
        for nal in nals(framing, unit) {
            match nal.first()? & 0x1f {
                7 => {
                    let end = find_start_code(nal).filter(|_| framing == Framing::StartCodes);
                    let set = &nal[..end.unwrap_or(nal.len())];
                    self.sps = wire::SpsTiming::parse(set).or(self.sps);
                }
                6 => {
                    let end = find_start_code(nal).filter(|_| framing == Framing::StartCodes);
                    let sei = &nal[..end.unwrap_or(nal.len())];
                    let clock = wire::h264_pic_timing(sei)
                        .zip(self.sps)
                        .and_then(|(p, s)| s.clock(&p));
                    if let Some(c) = clock {
                        return wire::h264_pic_timing_clock(c.hours, c.minutes, c.seconds, c.fraction, now());
                    }
                }
                1..=5 => return None, // SEI that tells of this picture stands before its slices
                _ => {}
            }
        }
        None
    }
}

/// The NAL units of an access unit. With start codes each goes on to the end of the access unit: only headers are read,
/// and looking for the end of a slice of 100 kB would cost more than that.
fn nals(framing: Framing, unit: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = unit;
    std::iter::from_fn(move || match framing {
        Framing::StartCodes => {
            let start = find_start_code(rest)? + 3;
            rest = &rest[start..];
            Some(rest)
        }
        Framing::Lengths => {
            let (length, after) = rest.split_first_chunk::<4>()?;
            let nal;
            (nal, rest) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            Some(nal)
        }
    })
}

fn find_start_code(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|w| w == [0, 0, 1])
}

fn h264_slice_kind(payload: &[u8]) -> FrameKind {
    let mut bits = Bits {
        bytes: payload,
        at: 0,
    };
    let slice_type = bits.exp_golomb().and_then(|_first_mb| bits.exp_golomb());
    match slice_type.map(|t| t % 5) {
        Some(0 | 3) => FrameKind::P,
        Some(1) => FrameKind::B,
        Some(2 | 4) => FrameKind::I,
        _ => FrameKind::Unknown,
    }
}

/// Reads Exp-Golomb codes (ITU-T H.264 section 9.1). The two fields read lie in the first few bytes, where
/// emulation prevention can only follow 22 zero bits: a first_mb_in_slice above two million.
struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = (byte >> (7 - self.at % 8)) & 1;
        self.at += 1;
        Some(u32::from(bit))
    }

    fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let mut value = 1;
        for _ in 0..zeros {
            value = (value << 1) | self.bit()?;
        }
        Some(value - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_h264_slices() {
        // first_mb ue(0) = 1, slice_type ue(v).
        let slice = |bits: u8| vec![0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x41, bits, 0];
        assert_eq!(
            kind(Codec::H264, Framing::StartCodes, &slice(0b1100_0000)),
            FrameKind::P
        ); // 0
        assert_eq!(
            kind(Codec::H264, Framing::StartCodes, &slice(0b1010_0000)),
            FrameKind::B
        ); // 1
        assert_eq!(
            kind(Codec::H264, Framing::StartCodes, &slice(0b1011_0000)),
            FrameKind::I
        ); // 2
        assert_eq!(
            kind(Codec::H264, Framing::StartCodes, &slice(0b1001_1000)),
            FrameKind::P
        ); // 5
        assert_eq!(
            kind(
                Codec::H264,
                Framing::StartCodes,
                &[0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 0x88]
            ),
            FrameKind::I
        );
        assert_eq!(
            kind(Codec::H265, Framing::StartCodes, &[0, 0, 1, 0x26, 1, 0xaf]),
            FrameKind::I
        ); // IDR_W_RADL
        assert_eq!(
            kind(Codec::H265, Framing::StartCodes, &[0, 0, 1, 0x02, 1, 0xd0]),
            FrameKind::Unknown
        );
    }

    #[test]
    fn kinds_of_units_with_lengths() {
        // A SEI of 256 bytes: its length begins like a start code.
        let mut unit = vec![0, 0, 1, 0, 0x06];
        unit.extend([0xff; 255]);
        unit.extend([0, 0, 0, 2, 0x41, 0b1010_0000]);
        assert_eq!(kind(Codec::H264, Framing::Lengths, &unit), FrameKind::B);
        assert_eq!(
            kind(Codec::H264, Framing::Lengths, &[0, 0, 0, 9, 0x65]),
            FrameKind::Unknown
        );
        assert_eq!(
            kind(Codec::H265, Framing::Lengths, &[0, 0, 0, 2, 0x26, 1]),
            FrameKind::I
        );
    }

    #[test]
    fn utc_in_sei_stands_before_the_slice() {
        let utc = Utc::from_nanos(0x18d7_4fa1_5a3b_c4d5);
        let mut unit = vec![0, 0, 0, 1, 0x09, 0xf0, 0, 0, 1, 0x06];
        unit.extend(wire::synoptic_sei(utc));
        unit.extend([0x80, 0, 0, 0, 1, 0x65, 0x88, 0, 0, 1, 0x06, 5]);
        assert_eq!(sei_utc(Codec::H264, Framing::StartCodes, &unit), Some(utc));
        assert_eq!(
            sei_utc(
                Codec::H264,
                Framing::StartCodes,
                &[0, 0, 1, 0x65, 0x88, 0, 0, 1, 6]
            ),
            None
        );
        let mut unit = vec![0, 0, 1, 39 << 1, 1];
        unit.extend(wire::synoptic_sei(utc));
        unit.push(0x80);
        assert_eq!(sei_utc(Codec::H265, Framing::StartCodes, &unit), Some(utc));
        // The same unit behind its length.
        let nal = unit.split_off(3);
        let mut lengths = u32::try_from(nal.len()).unwrap().to_be_bytes().to_vec();
        lengths.extend(&nal);
        assert_eq!(sei_utc(Codec::H265, Framing::Lengths, &lengths), Some(utc));
        unit.extend(nal);
        for n in 0..unit.len() {
            sei_utc(Codec::H265, Framing::StartCodes, &unit[..n]);
        }
    }

    #[test]
    fn rubbish_is_unknown() {
        for bytes in [&[][..], &[0, 0, 1], &[0, 0, 1, 0x41], &[0; 64], &[0xff; 64]] {
            for framing in [Framing::StartCodes, Framing::Lengths] {
                assert_eq!(kind(Codec::H264, framing, bytes), FrameKind::Unknown);
            }
        }
    }
}
