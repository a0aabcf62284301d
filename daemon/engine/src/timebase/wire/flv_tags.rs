//! FLV tags out of a byte stream, as RTMP and HTTP carry them (Adobe Flash Video File Format Specification 10.1, annex E;
//! codecs beyond H.264 by Enhanced RTMP v2, veovera.org).
//!
//! Time stamps stay as the sender wrote them: demuxers that mend jumps hide when a sender began anew.

/// A tag longer than this is no video: an I picture at 100 Mbit/s and one a second is 12.5 MB.
const MAX_TAG: usize = 14 << 20;
const TAG_HEADER: usize = 11;
/// `PreviousTagSize` before each tag.
const BACK_POINTER: usize = 4;

/// Codec of a video tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlvCodec {
    /// H.264 with NAL units behind their lengths (ISO/IEC 14496-15).
    H264,
    /// H.265, framed alike.
    H265,
}

/// What a tag holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlvItem {
    /// Decoder configuration record (`avcC`, `hvcC`): before the first picture and at each change.
    Config {
        /// Codec that it configures.
        codec: FlvCodec,
        /// The record.
        record: Vec<u8>,
    },
    /// A coded picture.
    Picture {
        /// Decoding time, ms, modulo 2^32.
        dts_ms: u32,
        /// Presentation − decoding time, ms.
        composition_ms: i32,
        /// Decodable on its own.
        keyframe: bool,
        /// Its codec.
        codec: FlvCodec,
        /// The access unit.
        data: Vec<u8>,
    },
    /// Body of a script data tag, to be read by [`flv_script`](super::flv_script).
    Script {
        /// Its time, ms, modulo 2^32.
        at_ms: u32,
        /// AMF0 values.
        body: Vec<u8>,
    },
}

/// Why a stream cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlvError {
    /// The first bytes are not those of FLV.
    #[error("what comes is not FLV")]
    NotFlv,
    /// A tag of impossible size: the stream is damaged.
    #[error("a tag of {0} bytes: the stream is damaged")]
    TooLong(usize),
    /// A codec that is not read here.
    #[error("its codec is {0}; set the sender to H.264 or H.265")]
    Codec(String),
    /// An encrypted tag.
    #[error("its tags are encrypted")]
    Encrypted,
}

/// Reads tags from bytes in pieces of any size.
#[derive(Clone, Debug, Default)]
pub struct FlvReader {
    held: Vec<u8>,
    /// Bytes of `held` that were read.
    read: usize,
    began: bool,
}

impl FlvReader {
    /// Takes the next bytes of the stream; what they complete comes from [`FlvReader::poll`].
    pub fn push(&mut self, bytes: &[u8]) {
        if self.read > 0 {
            self.held.drain(..self.read);
            self.read = 0;
        }
        self.held.extend_from_slice(bytes);
    }

    /// The next item; `None` until more bytes come. Sound, and what is not known, is passed over. After an error the
    /// stream cannot be read on.
    pub fn poll(&mut self) -> Result<Option<FlvItem>, FlvError> {
        loop {
            let rest = &self.held[self.read..];
            if !self.began {
                let Some(header) = rest.first_chunk::<9>() else {
                    let known = rest.len().min(3);
                    return if rest[..known] == b"FLV"[..known] {
                        Ok(None)
                    } else {
                        Err(FlvError::NotFlv)
                    };
                };
                if &header[..3] != b"FLV" {
                    return Err(FlvError::NotFlv);
                }
                // DataOffset: the header's own length.
                let skip = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) as usize;
                if !(9..=1024).contains(&skip) {
                    return Err(FlvError::NotFlv);
                }
                if rest.len() < skip {
                    return Ok(None);
                }
                self.read += skip;
                self.began = true;
                continue;
            }
            let Some(tag) = rest.get(BACK_POINTER..) else {
                return Ok(None);
            };
            let Some(&[kind, s0, s1, s2, t0, t1, t2, t3, ..]) = tag.first_chunk::<TAG_HEADER>() else {
                return Ok(None);
            };
            let size = u32::from_be_bytes([0, s0, s1, s2]) as usize;
            if size > MAX_TAG {
                return Err(FlvError::TooLong(size));
            }
            let Some(body) = tag.get(TAG_HEADER..TAG_HEADER + size) else {
                return Ok(None);
            };
            self.read += BACK_POINTER + TAG_HEADER + size;
            // The fourth byte holds the upper bits (annex E.4.1).
            let at_ms = u32::from_be_bytes([t3, t0, t1, t2]);
            if kind & 0x20 != 0 {
                return Err(FlvError::Encrypted);
            }
            let item = match kind & 0x1f {
                9 => video(body, at_ms)?,
                18 => Some(FlvItem::Script {
                    at_ms,
                    body: body.to_owned(),
                }),
                _ => None,
            };
            if let Some(item) = item {
                return Ok(Some(item));
            }
        }
    }

    /// Bytes held and not read yet.
    pub fn held(&self) -> usize {
        self.held.len() - self.read
    }
}

/// The body of a video tag (annex E.4.3; Enhanced RTMP v2 "Enhanced Video").
fn video(body: &[u8], dts_ms: u32) -> Result<Option<FlvItem>, FlvError> {
    let Some((&first, rest)) = body.split_first() else {
        return Ok(None);
    };
    // 1 key, 2 inter, 3 disposable inter, 4 generated key, 5 command: no picture.
    let frame_type = (first >> 4) & 7;
    if frame_type == 5 {
        return Ok(None);
    }
    let keyframe = frame_type == 1 || frame_type == 4;
    let (codec, packet, rest, timed) = if first & 0x80 != 0 {
        let packet = first & 0x0f;
        let Some((name, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let codec = match name {
            b"avc1" => FlvCodec::H264,
            b"hvc1" => FlvCodec::H265,
            other => return Err(FlvError::Codec(String::from_utf8_lossy(other).into_owned())),
        };
        // 0 start, 1 picture with composition time, 2 end, 3 picture without.
        match packet {
            0 => (codec, 0, rest, false),
            1 => (codec, 1, rest, true),
            3 => (codec, 1, rest, false),
            _ => return Ok(None),
        }
    } else {
        let codec = match first & 0x0f {
            7 => FlvCodec::H264,
            // Not in the standard, yet what Chinese encoders and servers send.
            12 => FlvCodec::H265,
            other => return Err(FlvError::Codec(legacy_name(other))),
        };
        let Some((&packet, rest)) = rest.split_first() else {
            return Ok(None);
        };
        (codec, packet, rest, true)
    };
    let (composition_ms, data) = if timed {
        let Some((&[c0, c1, c2], data)) = rest.split_first_chunk::<3>() else {
            return Ok(None);
        };
        // 24 bits with a sign.
        (i32::from_be_bytes([c0, c1, c2, 0]) >> 8, data)
    } else {
        (0, rest)
    };
    Ok(match packet {
        0 => Some(FlvItem::Config {
            codec,
            record: data.to_owned(),
        }),
        1 if !data.is_empty() => Some(FlvItem::Picture {
            dts_ms,
            composition_ms,
            keyframe,
            codec,
            data: data.to_owned(),
        }),
        _ => None,
    })
}

fn legacy_name(id: u8) -> String {
    match id {
        2 => "Sorenson H.263".to_owned(),
        3 | 6 => "screen video".to_owned(),
        4 | 5 => "VP6".to_owned(),
        13 => "AV1".to_owned(),
        other => format!("number {other}"),
    }
}

/// One revolution of a sender that leaves the upper eight bits zero: 2^24 ms, 4.66 h.
const SHORT_TURN: u32 = 1 << 24;
/// What lies between the last time before such a turn and the first one after it, at most.
const AT_TURN: u32 = 10_000;

/// Makes the times of senders that know 24 bits only go on where they turn over.
#[derive(Clone, Debug, Default)]
pub struct FlvClock {
    last: Option<u32>,
    /// Added to every time, modulo 2^32.
    turns: u32,
    /// A time above 24 bits was seen: this sender knows all 32.
    wide: bool,
}

impl FlvClock {
    /// The time of a tag, modulo 2^32, without turns at 24 bits.
    pub fn unwrap(&mut self, at_ms: u32) -> u32 {
        self.wide |= at_ms >= SHORT_TURN;
        if let Some(last) = self.last
            && !self.wide
            && last >= SHORT_TURN - AT_TURN
            && at_ms < AT_TURN
        {
            self.turns = self.turns.wrapping_add(SHORT_TURN);
        }
        // Stragglers from before the turn: sound and picture are interleaved, not sorted.
        let straggler = self.turns > 0
            && !self.wide
            && self.last.is_some_and(|last| last < AT_TURN)
            && at_ms >= SHORT_TURN - AT_TURN;
        if straggler {
            return at_ms.wrapping_add(self.turns).wrapping_sub(SHORT_TURN);
        }
        self.last = Some(at_ms);
        at_ms.wrapping_add(self.turns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(kind: u8, at_ms: u32, body: &[u8]) -> Vec<u8> {
        let mut v = vec![0, 0, 0, 0, kind];
        v.extend(&(body.len() as u32).to_be_bytes()[1..]);
        let [t3, t0, t1, t2] = at_ms.to_be_bytes();
        v.extend([t0, t1, t2, t3, 0, 0, 0]);
        v.extend(body);
        v
    }

    fn stream(tags: &[Vec<u8>]) -> Vec<u8> {
        let mut v = b"FLV\x01\x05\0\0\0\x09".to_vec();
        tags.iter().for_each(|t| v.extend(t));
        v
    }

    fn all(reader: &mut FlvReader) -> Vec<FlvItem> {
        std::iter::from_fn(|| reader.poll().unwrap()).collect()
    }

    #[test]
    fn reads_tags_in_pieces_of_any_size() {
        let bytes = stream(&[
            tag(18, 0, b"meta"),
            tag(8, 5, b"sound"),
            tag(9, 0, b"\x17\x00\0\0\0avcC"),
            tag(9, 0x0123_4567, b"\x27\x01\xff\xff\xfenal"),
            tag(9, 40, b"\x91hvc1\0\0\x10x"),
            tag(9, 80, b"\xa3hvc1y"),
            tag(9, 90, b"\x57\x00"),
        ]);
        let picture = |dts_ms, composition_ms, keyframe, codec, data: &[u8]| FlvItem::Picture {
            dts_ms,
            composition_ms,
            keyframe,
            codec,
            data: data.to_owned(),
        };
        let expected = [
            FlvItem::Script {
                at_ms: 0,
                body: b"meta".to_vec(),
            },
            FlvItem::Config {
                codec: FlvCodec::H264,
                record: b"avcC".to_vec(),
            },
            picture(0x0123_4567, -2, false, FlvCodec::H264, b"nal"),
            picture(40, 16, true, FlvCodec::H265, b"x"),
            picture(80, 0, false, FlvCodec::H265, b"y"),
        ];
        for size in [1, 3, 7, bytes.len()] {
            let mut reader = FlvReader::default();
            let mut found = Vec::new();
            for piece in bytes.chunks(size) {
                reader.push(piece);
                found.extend(all(&mut reader));
            }
            assert_eq!(found, expected, "pieces of {size}");
            assert_eq!(reader.held(), 0);
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let read = |bytes: &[u8]| {
            let mut reader = FlvReader::default();
            reader.push(bytes);
            reader.poll()
        };
        assert_eq!(read(b"<html>"), Err(FlvError::NotFlv));
        assert_eq!(read(b"FL"), Ok(None));
        assert_eq!(read(&stream(&[tag(0x29, 0, b"x")])), Err(FlvError::Encrypted));
        assert_eq!(
            read(&stream(&[tag(9, 0, b"\x12x")])),
            Err(FlvError::Codec("Sorenson H.263".to_owned()))
        );
        let mut long = stream(&[tag(9, 0, b"")]);
        long[14..17].fill(0xff);
        assert_eq!(read(&long), Err(FlvError::TooLong(0xff_ffff)));
    }

    #[test]
    fn times_of_24_bits_go_on_and_times_of_32_are_left_alone() {
        let mut clock = FlvClock::default();
        assert_eq!(clock.unwrap(SHORT_TURN - 40), SHORT_TURN - 40);
        assert_eq!(clock.unwrap(3), SHORT_TURN + 3);
        assert_eq!(clock.unwrap(SHORT_TURN - 5), SHORT_TURN - 5, "a straggler");
        assert_eq!(clock.unwrap(43), SHORT_TURN + 43);
        let mut clock = FlvClock::default();
        for at in [SHORT_TURN - 5, SHORT_TURN + 3, u32::MAX - 1, 2] {
            assert_eq!(clock.unwrap(at), at);
        }
        // A sender that began anew is no turn.
        let mut clock = FlvClock::default();
        assert_eq!(clock.unwrap(5_000_000), 5_000_000);
        assert_eq!(clock.unwrap(0), 0);
    }
}
