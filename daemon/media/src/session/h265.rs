//! Kinds of H.265 pictures: `slice_type` lies behind fields that only the picture parameter set tells the length of.

use std::collections::BTreeMap;

use synoptic_base::FrameKind;
use synoptic_engine::timebase::wire::unescaped;

use crate::coded::BitReader;

/// NAL unit types of slices (ITU-T H.265 table 7-1): of IRAP pictures, and of others.
const IRAP: std::ops::RangeInclusive<u8> = 16..=23;
const SLICES: std::ops::RangeInclusive<u8> = 0..=15;
const PPS: u8 = 34;
/// Bytes of a NAL unit's header (7.3.1.2).
const HEADER: usize = 2;
/// Bytes that are looked at of a NAL unit: what is read of either kind takes less than 9.
const LOOKED_AT: usize = 32;
/// `pps_pic_parameter_set_id` is at most 63 (7.4.3.3.1).
const MAX_PPS: u32 = 63;

/// What the picture parameter sets of a stream say of its slice headers.
#[derive(Clone, Debug, Default)]
pub(super) struct PictureSets {
    /// `num_extra_slice_header_bits` by the set's id.
    extra_bits: BTreeMap<u32, usize>,
}

impl PictureSets {
    /// Takes a NAL unit with its header; what is no picture parameter set is passed over.
    pub(super) fn take(&mut self, nal: &[u8]) {
        if nal.first().is_some_and(|h| kind_of_nal(*h) == PPS)
            && let Some((id, extra)) = read_pps(nal)
        {
            self.extra_bits.insert(id, extra);
        }
    }

    /// Takes those of an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 8.3.3.1.2), as it stands in caps.
    pub(super) fn codec_data(&mut self, record: &[u8]) {
        // 22 bytes of profile and the like, then arrays of NAL units, each behind its length.
        let Some((&arrays, mut rest)) = record.get(22..).and_then(<[u8]>::split_first) else {
            return;
        };
        for _ in 0..arrays {
            let Some(([_, high, low], after)) = rest.split_first_chunk::<3>() else {
                return;
            };
            rest = after;
            for _ in 0..u16::from_be_bytes([*high, *low]) {
                let Some((length, after)) = rest.split_first_chunk::<2>() else {
                    return;
                };
                let Some((nal, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))
                else {
                    return;
                };
                self.take(nal);
                rest = after;
            }
        }
    }

    /// Whether one was read.
    pub(super) fn is_empty(&self) -> bool {
        self.extra_bits.is_empty()
    }

    /// The kind of a picture by a NAL unit of it; `None` when it holds no slice. Intra for IRAP pictures, which have no
    /// others; else `slice_type` of the first slice (7.3.6.1, table 7-7), and unknown where that slice or its picture
    /// parameter set is missing.
    pub(super) fn kind(&self, nal: &[u8]) -> Option<FrameKind> {
        let kind = kind_of_nal(*nal.first()?);
        if IRAP.contains(&kind) {
            return Some(FrameKind::I);
        }
        SLICES
            .contains(&kind)
            .then(|| self.slice(nal).unwrap_or(FrameKind::Unknown))
    }

    fn slice(&self, nal: &[u8]) -> Option<FrameKind> {
        let payload = beginning(nal)?;
        let mut bits = BitReader::new(&payload);
        // A later slice segment may be dependent, and then has no type.
        let first_in_picture = bits.take(1)? == 1;
        let set = bits.ue()?;
        let extra = *self.extra_bits.get(&set).filter(|_| first_in_picture)?;
        bits.take(extra)?;
        match bits.ue()? {
            0 => Some(FrameKind::B),
            1 => Some(FrameKind::P),
            2 => Some(FrameKind::I),
            _ => None,
        }
    }
}

/// The type of a NAL unit by the first byte of its header.
fn kind_of_nal(header: u8) -> u8 {
    (header >> 1) & 0x3f
}

/// The first bytes of a NAL unit's payload, without emulation prevention.
fn beginning(nal: &[u8]) -> Option<Vec<u8>> {
    let payload = nal.get(HEADER..)?;
    Some(unescaped(&payload[..payload.len().min(LOOKED_AT)]))
}

/// Id and `num_extra_slice_header_bits` of a picture parameter set (7.3.2.3.1).
fn read_pps(nal: &[u8]) -> Option<(u32, usize)> {
    let payload = beginning(nal)?;
    let mut bits = BitReader::new(&payload);
    let id = bits.ue().filter(|id| *id <= MAX_PPS)?;
    bits.ue()?; // pps_seq_parameter_set_id
    bits.take(2)?; // dependent_slice_segments_enabled_flag, output_flag_present_flag
    Some((id, bits.take(3)? as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A NAL unit of a type with bits written as text.
    fn nal(kind: u8, bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        let bytes = bits.chunks(8).map(|c| {
            let byte = c.iter().fold(0, |all, bit| (all << 1) | bit);
            byte << (8 - c.len())
        });
        [kind << 1, 1].into_iter().chain(bytes).collect()
    }

    #[test]
    fn slice_types_by_the_parameter_set_they_name() {
        let mut sets = PictureSets::default();
        // Id ue(0), sequence set ue(0), two flags, three bits: none extra. Then id ue(1) with two extra bits.
        sets.take(&nal(34, "1 1 00 000 1"));
        sets.take(&nal(34, "010 1 11 010 1"));
        // first_slice_segment_in_pic_flag, set, extra bits, slice_type.
        for (bits, kind) in [
            ("1 1 1", FrameKind::B),
            ("1 1 010", FrameKind::P),
            ("1 1 011", FrameKind::I),
            ("1 1 00100", FrameKind::Unknown),
            ("1 010 11 010", FrameKind::P),
            ("1 010 00 1", FrameKind::B),
            ("1 011 1", FrameKind::Unknown),
            ("0 1 1", FrameKind::Unknown),
        ] {
            assert_eq!(sets.kind(&nal(1, bits)), Some(kind), "{bits}");
        }
        assert_eq!(
            PictureSets::default().kind(&nal(1, "1 1 1")),
            Some(FrameKind::Unknown)
        );
        assert_eq!(sets.kind(&nal(19, "0")), Some(FrameKind::I), "IDR_W_RADL");
        assert_eq!(sets.kind(&nal(34, "1 1")), None, "no slice");
        // The set of an id may be sent anew.
        sets.take(&nal(34, "1 1 00 001 1"));
        assert_eq!(sets.kind(&nal(1, "1 1 1 010")), Some(FrameKind::P));
    }

    #[test]
    fn sets_of_a_configuration_record() {
        let pps = nal(34, "1 1 00 011 1");
        let mut record = vec![0; 22];
        record.extend([2, 0x20, 0, 1, 0, 3, 0x40, 1, 9]);
        record.extend([0x22, 0, 1, 0, pps.len() as u8]);
        record.extend(&pps);
        let mut sets = PictureSets::default();
        sets.codec_data(&record);
        assert_eq!(sets.kind(&nal(1, "1 1 000 010")), Some(FrameKind::P));
        for n in 0..record.len() {
            let mut cut = PictureSets::default();
            cut.codec_data(&record[..n]);
            assert!(cut.is_empty(), "{n} bytes");
        }
    }

    #[test]
    fn rubbish_is_unknown() {
        let mut sets = PictureSets::default();
        for bytes in [&[][..], &[0x44], &[0x44, 1], &[0x44, 1, 0, 0, 0, 0, 0, 0, 0]] {
            sets.take(bytes);
        }
        assert!(sets.is_empty());
        assert_eq!(sets.kind(&[]), None);
        assert_eq!(sets.kind(&[2]), Some(FrameKind::Unknown));
    }
}
