//! Names and counters. All of them are small `Copy` values, so that a frame's metadata is one plain value.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Span;

/// The id of a camera, a group or a panorama: 1 to 31 characters of `a-z 0-9 _ -`, the first a letter or digit.
///
/// Used as it is in MQTT topics, URLs, file names and the database, which is why it is so narrow. Held inline
/// and compared as text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    bytes: [u8; StreamId::MAX_LEN],
    len: u8,
}

/// Why a text is no [`StreamId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no id: use 1 to 31 of a-z, 0-9, _ and -, beginning with a letter or digit")]
pub struct IdError(String);

impl StreamId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 31;

    /// Checks and takes a text as an id.
    pub fn new(text: &str) -> Result<StreamId, IdError> {
        let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let ok = text.bytes().next().is_some_and(|b| plain(&b))
            && text.len() <= StreamId::MAX_LEN
            && text.bytes().all(|b| plain(&b) || b == b'_' || b == b'-');
        if !ok {
            return Err(IdError(text.to_owned()));
        }
        let mut bytes = [0; StreamId::MAX_LEN];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(StreamId {
            bytes,
            len: text.len() as u8,
        })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // `new` admits ASCII only, so this never falls back.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("?")
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
impl FromStr for StreamId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<StreamId, IdError> {
        StreamId::new(text)
    }
}
impl Borrow<str> for StreamId {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}
impl Serialize for StreamId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<StreamId, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        StreamId::new(&text).map_err(serde::de::Error::custom)
    }
}

/// One uninterrupted run of a stream: + 1 at every reconnect or change of format, persisted, never reused.
/// Media times compare only within an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u32);

/// Number of a frame within its epoch, from 0, in the order of capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// Number of a track within its stream, from 1; never reused while the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrackId(pub u64);

/// Media time in microseconds: unwrapped RTP or container ticks, floored. Below 2^53, so that it is exact in
/// JSON and JavaScript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaTime(i64);

impl MediaTime {
    /// From microseconds.
    pub const fn from_micros(us: i64) -> MediaTime {
        MediaTime(us)
    }
    /// From ticks of a media clock, floored to microseconds.
    ///
    /// `ticks` are unwrapped; `rate_hz` is ticks a second and not 0.
    pub fn from_ticks(ticks: i64, rate_hz: u32) -> MediaTime {
        MediaTime((i128::from(ticks) * 1_000_000).div_euclid(i128::from(rate_hz.max(1))) as i64)
    }
    /// Microseconds.
    pub const fn as_micros(self) -> i64 {
        self.0
    }
    /// As a span from media time 0.
    pub const fn since_zero(self) -> Span {
        Span::from_micros(self.0)
    }
}

/// Names one picture for ever: stream, epoch, media time. Written `cam1/3/1234567`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FrameKey {
    /// The camera or panorama.
    pub stream: StreamId,
    /// Its epoch.
    pub epoch: Epoch,
    /// Media time within the epoch, in microseconds.
    pub media_us: MediaTime,
}

impl fmt::Display for FrameKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.stream, self.epoch.0, self.media_us.0)
    }
}

impl FromStr for FrameKey {
    type Err = IdError;
    fn from_str(text: &str) -> Result<FrameKey, IdError> {
        let bad = || IdError(text.to_owned());
        let mut parts = text.split('/');
        let (Some(stream), Some(epoch), Some(media), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad());
        };
        Ok(FrameKey {
            stream: StreamId::new(stream)?,
            epoch: Epoch(epoch.parse().map_err(|_| bad())?),
            media_us: MediaTime(media.parse().map_err(|_| bad())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_narrow() {
        for good in ["a", "cam-1", "0_front", "abcdefghijklmnopqrstuvwxyz01234"] {
            assert_eq!(StreamId::new(good).map(|i| i.to_string()), Ok(good.to_owned()));
        }
        for bad in [
            "",
            "-a",
            "A",
            "cam 1",
            "a/b",
            "ü",
            "abcdefghijklmnopqrstuvwxyz012345",
        ] {
            assert!(StreamId::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_order_as_text() {
        let id = |t| StreamId::new(t).unwrap();
        assert!(id("a") < id("ab") && id("ab") < id("b"));
    }

    #[test]
    fn keys_round_trip_as_text_and_ticks_floor() {
        let key: FrameKey = "cam1/3/1234567".parse().unwrap();
        assert_eq!(key.to_string(), "cam1/3/1234567");
        assert!("cam1/3".parse::<FrameKey>().is_err());
        assert!("cam1/3/4/5".parse::<FrameKey>().is_err());
        assert_eq!(MediaTime::from_ticks(1, 90_000).as_micros(), 11);
        assert_eq!(MediaTime::from_ticks(-1, 90_000).as_micros(), -12);
    }
}
