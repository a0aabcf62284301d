//! UTC in FLV script data: onFI (Adobe Flash Media Live Encoder, Wowza, Haivision) and onMetaData.

use synoptic_base::{Span, Utc};

use super::Bytes;

/// Nothing that carries time nests deeper.
const MAX_DEPTH: u8 = 4;
/// Properties looked at.
const MAX_PROPERTIES: usize = 256;

/// UTC in a script tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlvTime {
    /// The sender's clock.
    pub utc: Utc,
    /// Whether the sender's time zone was not told: its local time was read as UTC.
    pub local: bool,
    /// It is of the stream's beginning (onMetaData, which servers send again to who joins late), not of this tag.
    pub at_start: bool,
}

/// Zones lie whole quarters of an hour from UTC.
const QUARTER: Span = Span::from_secs(900);

impl FlvTime {
    /// UTC; where the zone was not told, the one that brings it nearest to `now`.
    pub fn near(self, now: Utc) -> Utc {
        if !self.local {
            return self.utc;
        }
        let off = (self.utc - now).as_nanos();
        let quarters = (off + QUARTER.as_nanos() / 2).div_euclid(QUARTER.as_nanos());
        self.utc - QUARTER * quarters
    }
}

/// Reads the body of a script data tag (AMF0); `None` when it tells no time.
pub fn flv_script(body: &[u8]) -> Option<FlvTime> {
    let mut bytes = Bytes(body);
    let Value::Text(name) = value(&mut bytes, MAX_DEPTH)? else {
        return None;
    };
    if name != "onFI" && name != "onMetaData" && name != "@setDataFrame" {
        return None;
    }
    let at_start = name != "onFI";
    let mut object = value(&mut bytes, MAX_DEPTH)?;
    if matches!(object, Value::Text(_)) {
        object = value(&mut bytes, MAX_DEPTH)?;
    }
    let Value::Object(fields) = object else {
        return None;
    };
    let get = |key: &str| fields.iter().find(|(k, _)| *k == key).map(|(_, v)| v);
    let text = |key: &str| match get(key) {
        Some(Value::Text(t)) => Some(*t),
        _ => None,
    };
    // Milliseconds since 1970, as an AMF date or a number.
    for key in ["utc", "timestamp", "ntp", "wallclock", "streamStartTime"] {
        let ms = match get(key) {
            Some(Value::Date(ms) | Value::Number(ms)) => *ms,
            _ => continue,
        };
        // 2001 to 2200: not seconds, not a media time.
        if (1e12..7.3e12).contains(&ms) {
            let utc = Utc::from_nanos(0) + Span::from_secs_f64(ms / 1e3);
            return Some(FlvTime {
                utc,
                local: false,
                at_start,
            });
        }
    }
    if let Some(utc) = ["utc", "creationtime", "creationdate"]
        .into_iter()
        .filter_map(text)
        .find_map(Utc::from_rfc3339)
    {
        return Some(FlvTime {
            utc,
            local: false,
            at_start,
        });
    }
    // onFI: sd "21-11-2026", st "10:00:00.250", in the sender's own zone.
    let (date, time) = (text("sd")?, text("st")?);
    let mut parts = date.split(['-', '/', '.']);
    let (day, month, year) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 {
        return None;
    }
    let utc = Utc::from_rfc3339(&format!("{year}-{month:0>2}-{day:0>2}T{time}Z"))?;
    Some(FlvTime {
        utc,
        local: true,
        at_start,
    })
}

enum Value<'a> {
    Number(f64),
    Text(&'a str),
    Date(f64),
    Object(Vec<(&'a str, Value<'a>)>),
    Other,
}

/// One AMF0 value (Adobe AMF0 specification, December 2007).
fn value<'a>(bytes: &mut Bytes<'a>, depth: u8) -> Option<Value<'a>> {
    let depth = depth.checked_sub(1)?;
    Some(match bytes.uint(1)? {
        0 => Value::Number(f64::from_bits(bytes.uint(8)?)),
        1 => {
            bytes.take(1)?;
            Value::Other
        }
        2 => Value::Text(text(bytes, 2)?),
        3 => Value::Object(properties(bytes, depth)?),
        5 | 6 => Value::Other,
        8 => {
            bytes.take(4)?;
            Value::Object(properties(bytes, depth)?)
        }
        10 => {
            for _ in 0..bytes.uint(4)?.min(MAX_PROPERTIES as u64) {
                value(bytes, depth)?;
            }
            Value::Other
        }
        11 => {
            let ms = f64::from_bits(bytes.uint(8)?);
            bytes.take(2)?; // time zone: reserved, not used
            Value::Date(ms)
        }
        12 => Value::Text(text(bytes, 4)?),
        _ => return None,
    })
}

fn text<'a>(bytes: &mut Bytes<'a>, len_bytes: usize) -> Option<&'a str> {
    let len = bytes.uint(len_bytes)? as usize;
    std::str::from_utf8(bytes.take(len)?).ok()
}

fn properties<'a>(bytes: &mut Bytes<'a>, depth: u8) -> Option<Vec<(&'a str, Value<'a>)>> {
    let mut all = Vec::new();
    while all.len() < MAX_PROPERTIES {
        let key = text(bytes, 2)?;
        if key.is_empty() && bytes.0.first() == Some(&9) {
            bytes.take(1)?;
            return Some(all);
        }
        all.push((key, value(bytes, depth)?));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(s: &str) -> Vec<u8> {
        let mut v = vec![2];
        v.extend((s.len() as u16).to_be_bytes());
        v.extend(s.as_bytes());
        v
    }
    fn tag(name: &str, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut v = string(name);
        v.extend([8, 0, 0, 0, fields.len() as u8]);
        for (key, value) in fields {
            v.extend(&string(key)[1..]);
            v.extend(value);
        }
        v.extend([0, 0, 9]);
        v
    }
    fn read(body: &[u8]) -> Option<FlvTime> {
        for n in 0..body.len() {
            assert_eq!(flv_script(&body[..n]), None, "{n} bytes");
        }
        flv_script(body)
    }

    #[test]
    fn reads_onfi_and_onmetadata() {
        let found = read(&tag(
            "onFI",
            &[("sd", string("21-11-2026")), ("st", string("10:00:00.250"))],
        ))
        .unwrap();
        assert_eq!(found.utc.to_rfc3339(), "2026-11-21T10:00:00.250000Z");
        assert!(found.local && !found.at_start);
        let now = Utc::from_rfc3339("2026-11-21T04:30:01Z").unwrap();
        assert_eq!(
            found.near(now).to_rfc3339(),
            "2026-11-21T04:30:00.250000Z",
            "India"
        );
        let mut date = vec![11];
        date.extend(1_790_000_000_500.0_f64.to_be_bytes());
        date.extend([0, 0]);
        let found = read(&tag("onMetaData", &[("width", vec![1, 1]), ("utc", date)])).unwrap();
        assert_eq!(found.utc, Utc::from_nanos(1_790_000_000_500_000_000));
        assert!(!found.local && found.at_start);
    }

    #[test]
    fn rubbish_gives_nothing() {
        assert_eq!(flv_script(&tag("onCuePoint", &[])), None);
        assert_eq!(
            flv_script(&tag(
                "onFI",
                &[("sd", string("21-11-26")), ("st", string("10:00:00"))]
            )),
            None
        );
        assert_eq!(flv_script(&[3; 4000]), None, "nested without end");
        assert_eq!(flv_script(&[0xff; 100]), None);
    }
}
