//! Video out of an MPEG transport stream (ISO/IEC 13818-1), as HLS segments hold it: access units with the very PTS and
//! DTS that the packager wrote.

use std::collections::BTreeMap;

const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// A picture longer than this is none.
const MAX_UNIT: usize = 16 << 20;

/// Codec of a video stream, by its `stream_type` (table 2-34).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TsCodec {
    /// 0x1B
    H264,
    /// 0x24
    H265,
}

/// A coded picture (one PES packet).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TsUnit {
    /// Its codec.
    pub codec: TsCodec,
    /// Presentation time: 33 bits at 90 kHz.
    pub pts: u64,
    /// Decoding time; the presentation time where none is written.
    pub dts: u64,
    /// NAL units behind start codes.
    pub data: Vec<u8>,
}

/// Why a segment holds nothing that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TsError {
    /// No sync bytes.
    #[error("it is no MPEG transport stream")]
    NotTs,
    /// A programme without H.264 or H.265.
    #[error("there is no H.264 or H.265 video in it")]
    NoVideo,
}

/// The pictures of a whole segment, in decoding order. What is damaged is left out.
///
/// # Errors
/// It is no transport stream, or holds no H.264 or H.265.
pub fn ts_units(segment: &[u8]) -> Result<Vec<TsUnit>, TsError> {
    let start = (0..PACKET.min(segment.len()))
        .find(|at| {
            let sync = |n: usize| segment.get(at + n * PACKET).is_none_or(|b| *b == SYNC);
            segment[*at] == SYNC && sync(1) && sync(2)
        })
        .ok_or(TsError::NotTs)?;
    let mut reader = Reader::default();
    let packets = segment[start..].chunks_exact(PACKET);
    if packets.len() == 0 {
        return Err(TsError::NotTs);
    }
    for packet in packets {
        if packet[0] == SYNC {
            reader.packet(packet);
        }
    }
    reader.end_unit();
    if reader.video.is_none() {
        return Err(TsError::NoVideo);
    }
    Ok(reader.units)
}

#[derive(Default)]
struct Reader {
    /// PIDs of programme maps.
    maps: BTreeMap<u16, ()>,
    /// PID and codec of the first video.
    video: Option<(u16, TsCodec)>,
    pes: Vec<u8>,
    units: Vec<TsUnit>,
}

impl Reader {
    /// One packet (section 2.4.3.2).
    fn packet(&mut self, packet: &[u8]) {
        let pid = u16::from_be_bytes([packet[1] & 0x1f, packet[2]]);
        let begins = packet[1] & 0x40 != 0;
        let (damaged, scrambled) = (packet[1] & 0x80 != 0, packet[3] & 0xc0 != 0);
        if damaged || scrambled || packet[3] & 0x10 == 0 {
            return;
        }
        let skip = if packet[3] & 0x20 != 0 {
            1 + usize::from(packet[4])
        } else {
            0
        };
        let Some(payload) = packet.get(4 + skip..) else {
            return;
        };
        if pid == 0 {
            self.association(section(payload, begins));
        } else if self.maps.contains_key(&pid) {
            self.map(section(payload, begins));
        } else if let Some((video, _)) = self.video
            && pid == video
        {
            if begins {
                self.end_unit();
            }
            // What comes before the first begin is the rest of a picture of the segment before.
            if (begins || !self.pes.is_empty()) && self.pes.len() + payload.len() <= MAX_UNIT {
                self.pes.extend_from_slice(payload);
            }
        }
    }

    /// Programme association table (section 2.4.4.3).
    fn association(&mut self, section: Option<&[u8]>) {
        let Some(body) = section.filter(|s| s[0] == 0).and_then(|s| s.get(8..)) else {
            return;
        };
        for entry in body.chunks_exact(4) {
            let (number, pid) = (
                u16::from_be_bytes([entry[0], entry[1]]),
                u16::from_be_bytes([entry[2] & 0x1f, entry[3]]),
            );
            if number != 0 && self.maps.len() < 16 {
                self.maps.insert(pid, ());
            }
        }
    }

    /// Programme map table (section 2.4.4.8): the first video wins.
    fn map(&mut self, section: Option<&[u8]>) {
        let Some(section) = section.filter(|s| s[0] == 2) else {
            return;
        };
        let Some(&[hi, lo]) = section.get(10..12) else {
            return;
        };
        let info = usize::from(u16::from_be_bytes([hi & 0x0f, lo]));
        let mut rest = section.get(12 + info..).unwrap_or_default();
        while let [kind, p0, p1, l0, l1, ..] = *rest {
            let codec = match kind {
                0x1b => Some(TsCodec::H264),
                0x24 => Some(TsCodec::H265),
                _ => None,
            };
            if let Some(codec) = codec {
                let pid = u16::from_be_bytes([p0 & 0x1f, p1]);
                self.video.get_or_insert((pid, codec));
                return;
            }
            let length = usize::from(u16::from_be_bytes([l0 & 0x0f, l1]));
            rest = rest.get(5 + length..).unwrap_or_default();
        }
    }

    /// A whole PES packet (section 2.4.3.6).
    fn end_unit(&mut self) {
        let pes = std::mem::take(&mut self.pes);
        let Some((_, codec)) = self.video else { return };
        let Some(&[0, 0, 1, _, _, _, _, flags, header]) = pes.first_chunk::<9>() else {
            return;
        };
        let Some(data) = pes.get(9 + usize::from(header)..).filter(|d| !d.is_empty()) else {
            return;
        };
        // A picture without its own time cannot be placed.
        let Some(pts) = (flags & 0x80 != 0)
            .then(|| pes.get(9..14))
            .flatten()
            .and_then(stamp)
        else {
            return;
        };
        let dts = (flags & 0x40 != 0)
            .then(|| pes.get(14..19))
            .flatten()
            .and_then(stamp);
        self.units.push(TsUnit {
            codec,
            pts,
            dts: dts.unwrap_or(pts),
            data: data.to_owned(),
        });
    }
}

/// A section that fits one packet: those of HLS do.
fn section(payload: &[u8], begins: bool) -> Option<&[u8]> {
    if !begins {
        return None;
    }
    let section = payload.get(1 + usize::from(*payload.first()?)..)?;
    let &[_, hi, lo] = section.first_chunk::<3>()?;
    let length = usize::from(u16::from_be_bytes([hi & 0x0f, lo]));
    // Without the CRC at its end.
    section
        .get(..(3 + length).checked_sub(4)?)
        .filter(|s| s.len() >= 8)
}

/// 33 bits in five bytes, with marker bits between.
fn stamp(bytes: &[u8]) -> Option<u64> {
    let &[a, b, c, d, e] = bytes else { return None };
    let (a, b, c, d, e) = (
        u64::from(a),
        u64::from(b),
        u64::from(c),
        u64::from(d),
        u64::from(e),
    );
    Some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(pid: u16, begins: bool, payload: &[u8]) -> Vec<u8> {
        let [hi, lo] = pid.to_be_bytes();
        let mut p = vec![SYNC, hi | if begins { 0x40 } else { 0 }, lo];
        let stuffing = PACKET - 4 - payload.len();
        if stuffing > 0 {
            p.extend([0x30, (stuffing - 1) as u8]);
            p.extend(std::iter::repeat_n(0xff, stuffing - 1));
        } else {
            p.push(0x10);
        }
        p.extend(payload);
        p
    }

    fn table(id: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() + 9) as u16;
        let mut t = vec![0, id];
        t.extend((0xb000 | length).to_be_bytes());
        t.extend([0, 1, 0xc1, 0, 0]);
        t.extend(body);
        t.extend([0; 4]);
        t
    }

    fn written(prefix: u8, t: u64) -> [u8; 5] {
        [
            prefix << 4 | ((t >> 30) as u8 & 7) << 1 | 1,
            (t >> 22) as u8,
            ((t >> 15) as u8) << 1 | 1,
            (t >> 7) as u8,
            (t as u8) << 1 | 1,
        ]
    }

    fn segment() -> Vec<u8> {
        let mut bytes = packet(0, true, &table(0, &[0, 1, 0xe0 | 0x10, 0]));
        let map = [0xe1, 0, 0xf0, 0, 0x0f, 0xe1, 1, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0];
        bytes.extend(packet(0x1000, true, &table(2, &map)));
        let pts = (1 << 33) - 7;
        let mut pes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10];
        pes.extend(written(3, pts));
        pes.extend(written(1, 9_000));
        pes.extend([7; 160]);
        bytes.extend(packet(0x100, true, &pes));
        bytes.extend(packet(0x100, false, &[8; 100]));
        let mut pes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5];
        pes.extend(written(2, 12_000));
        pes.push(9);
        bytes.extend(packet(0x100, true, &pes));
        bytes
    }

    #[test]
    fn reads_pictures_with_their_times() {
        let units = ts_units(&segment()).unwrap();
        assert_eq!(units.len(), 2);
        assert_eq!((units[0].pts, units[0].dts), ((1 << 33) - 7, 9_000));
        assert_eq!(units[0].data.len(), 260);
        assert_eq!(
            (units[1].pts, units[1].dts, units[1].data.as_slice()),
            (12_000, 12_000, &[9][..])
        );
        assert_eq!(units[0].codec, TsCodec::H264);
    }

    #[test]
    fn what_is_no_segment_says_so_and_damage_is_left_out() {
        assert_eq!(ts_units(b"<html>"), Err(TsError::NotTs));
        assert_eq!(ts_units(&[]), Err(TsError::NotTs));
        assert_eq!(ts_units(&packet(0x1fff, false, &[0; 184])), Err(TsError::NoVideo));
        let whole = segment();
        for n in 0..whole.len() {
            let _ = ts_units(&whole[..n]);
        }
        let mut damaged = whole;
        let at = 2 * PACKET + 1;
        damaged[at] |= 0x80;
        assert_eq!(ts_units(&damaged).unwrap().len(), 1);
    }
}
