//! HLS playlists (RFC 8216), as far as a camera's live stream needs: which segments there are, and when they were captured.

use synoptic_base::{Span, Utc};

/// Segments of a playlist that are looked at; live ones have some ten.
const MAX_SEGMENTS: usize = 20_000;

/// A playlist.
#[derive(Clone, Debug, PartialEq)]
pub enum Playlist {
    /// One stream in several qualities.
    Master(Vec<Variant>),
    /// Segments of one stream.
    Media(MediaPlaylist),
}

/// A quality of a stream (EXT-X-STREAM-INF).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Bits a second at most.
    pub bandwidth: u64,
    /// Its playlist, as written: relative to the master's address.
    pub uri: String,
}

/// Segments of one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaPlaylist {
    /// No segment is longer (EXT-X-TARGETDURATION).
    pub target: Span,
    /// Nothing is added any more (EXT-X-ENDLIST).
    pub ended: bool,
    /// The segments, oldest first.
    pub segments: Vec<Segment>,
}

/// A piece of a stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Its number in the stream (EXT-X-MEDIA-SEQUENCE).
    pub sequence: u64,
    /// As written: relative to the playlist's address.
    pub uri: String,
    /// EXTINF.
    pub duration: Span,
    /// UTC of its first sample, written or counted on from a segment before (EXT-X-PROGRAM-DATE-TIME, section 4.3.2.6).
    pub date: Option<Utc>,
    /// The date was written on this segment, not counted on.
    pub dated: bool,
    /// Time stamps begin anew here (EXT-X-DISCONTINUITY).
    pub discontinuity: bool,
    /// Where in the resource it lies: length and offset in bytes (EXT-X-BYTERANGE).
    pub range: Option<(u64, u64)>,
    /// It is fragmented MP4 (EXT-X-MAP).
    pub mapped: bool,
    /// It is encrypted (EXT-X-KEY other than NONE).
    pub encrypted: bool,
}

/// Why a text is no playlist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaylistError {
    /// The first line is not `#EXTM3U`.
    #[error("it is no HLS playlist")]
    NotHls,
    /// Neither segments nor qualities.
    #[error("the playlist is empty")]
    Empty,
}

/// Reads a playlist. Tags that are not known, and lines that make no sense, are passed over.
///
/// # Errors
/// It is no playlist, or has nothing in it; a live media playlist without segments yet is no error.
pub fn playlist(text: &str) -> Result<Playlist, PlaylistError> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    if lines.next() != Some("#EXTM3U") {
        return Err(PlaylistError::NotHls);
    }
    let mut reader = Reader::default();
    for line in lines.filter(|l| !l.is_empty()) {
        match line.strip_prefix('#') {
            Some(tag) => reader.tag(tag),
            None => reader.uri(line),
        }
        if reader.media.segments.len() >= MAX_SEGMENTS {
            break;
        }
    }
    if !reader.variants.is_empty() {
        return Ok(Playlist::Master(reader.variants));
    }
    if reader.media.target == Span::ZERO && reader.media.segments.is_empty() {
        return Err(PlaylistError::Empty);
    }
    Ok(Playlist::Media(reader.media))
}

#[derive(Default)]
struct Reader {
    variants: Vec<Variant>,
    media: MediaPlaylist,
    /// Bandwidth of the quality whose address comes next.
    bandwidth: Option<u64>,
    next: Segment,
    /// UTC at the end of the segment before.
    date: Option<Utc>,
    mapped: bool,
    encrypted: bool,
    /// Where the byte range before ended.
    range_end: u64,
}

impl Reader {
    fn tag(&mut self, tag: &str) {
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXT-X-STREAM-INF" => {
                let bandwidth = attribute(value, "BANDWIDTH").and_then(|b| b.parse().ok());
                self.bandwidth = Some(bandwidth.unwrap_or(0));
            }
            "EXT-X-TARGETDURATION" => self.media.target = seconds(value).unwrap_or_default(),
            "EXT-X-MEDIA-SEQUENCE" => self.next.sequence = value.parse().unwrap_or(0),
            "EXT-X-ENDLIST" => self.media.ended = true,
            "EXTINF" => {
                let length = value.split(',').next().and_then(seconds);
                self.next.duration = length.unwrap_or_default();
            }
            "EXT-X-PROGRAM-DATE-TIME" => {
                self.next.date = date(value);
                self.next.dated = self.next.date.is_some();
            }
            "EXT-X-DISCONTINUITY" => {
                self.next.discontinuity = true;
                self.date = None;
            }
            "EXT-X-BYTERANGE" => self.next.range = self.range(value),
            "EXT-X-MAP" => self.mapped = true,
            "EXT-X-KEY" => self.encrypted = attribute(value, "METHOD") != Some("NONE"),
            _ => {}
        }
    }

    fn range(&self, value: &str) -> Option<(u64, u64)> {
        let (length, offset) = match value.split_once('@') {
            Some((length, offset)) => (length, offset.parse().ok()?),
            None => (value, self.range_end),
        };
        Some((length.parse().ok()?, offset))
    }

    fn uri(&mut self, uri: &str) {
        if let Some(bandwidth) = self.bandwidth.take() {
            let uri = uri.to_owned();
            self.variants.push(Variant { bandwidth, uri });
            return;
        }
        let mut segment = std::mem::take(&mut self.next);
        self.next.sequence = segment.sequence.saturating_add(1);
        segment.uri = uri.to_owned();
        segment.mapped = self.mapped;
        segment.encrypted = self.encrypted;
        segment.date = segment.date.or(self.date);
        self.date = segment.date.map(|d| d + segment.duration);
        self.range_end = segment
            .range
            .map_or(0, |(length, offset)| length.saturating_add(offset));
        self.media.segments.push(segment);
    }
}

/// Seconds with a fraction, up to a day.
fn seconds(text: &str) -> Option<Span> {
    let s: f64 = text.trim().parse().ok()?;
    (0.0..=86_400.0).contains(&s).then(|| Span::from_secs_f64(s))
}

/// ISO 8601, also with a zone without a colon, as FFmpeg writes it.
fn date(text: &str) -> Option<Utc> {
    let text = text.trim();
    Utc::from_rfc3339(text).or_else(|| {
        let (head, minutes) = text.split_at_checked(text.len().checked_sub(2)?)?;
        Utc::from_rfc3339(&format!("{head}:{minutes}"))
    })
}

/// An attribute of a list `A=1,B="x,y"` (section 4.2).
fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = list;
    loop {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_at(after.find(',').unwrap_or(after.len())),
        };
        if key.trim() == name {
            return Some(value);
        }
        rest = next.trim_start_matches(',');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_ffmpeg_writes() {
        let text = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:7\n\
            #EXTINF:2.000000,\n#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:00.250+0000\nlive7.ts\n\
            #EXTINF:1.5,\nlive8.ts\n#EXT-X-DISCONTINUITY\n#EXTINF:1.5,\nlive9.ts\n";
        let Ok(Playlist::Media(media)) = playlist(text) else {
            panic!("no media playlist")
        };
        assert_eq!((media.target, media.ended), (Span::from_secs(2), false));
        let [a, b, c] = &media.segments[..] else {
            panic!("{media:?}")
        };
        assert_eq!((a.sequence, b.sequence, c.uri.as_str()), (7, 8, "live9.ts"));
        let at = Utc::from_rfc3339("2026-11-21T10:00:00.250Z");
        assert_eq!((a.date, a.dated), (at, true));
        assert_eq!((b.date, b.dated), (at.map(|t| t + Span::from_secs(2)), false));
        assert_eq!(
            (c.date, c.discontinuity),
            (None, true),
            "what came before says nothing here"
        );
    }

    #[test]
    fn reads_qualities_ranges_keys_and_maps() {
        let text = "#EXTM3U\r\n#EXT-X-STREAM-INF:CODECS=\"avc1,mp4a\",BANDWIDTH=1280000\r\nlow.m3u8\r\n\
            #EXT-X-STREAM-INF:BANDWIDTH=2560000\r\nhigh.m3u8\r\n";
        let Ok(Playlist::Master(variants)) = playlist(text) else {
            panic!("no master")
        };
        assert_eq!(variants[0].bandwidth, 1_280_000);
        assert_eq!(variants[1].uri, "high.m3u8");
        let text = "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MAP:URI=\"i.mp4\"\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n\
            #EXT-X-BYTERANGE:100@50\n#EXTINF:4,\na\n#EXT-X-KEY:METHOD=NONE\n#EXT-X-BYTERANGE:20\n#EXTINF:4,\na\n\
            #EXT-X-ENDLIST";
        let Ok(Playlist::Media(media)) = playlist(text) else {
            panic!("no media playlist")
        };
        assert!(media.ended && media.segments.iter().all(|s| s.mapped));
        let facts: Vec<_> = media.segments.iter().map(|s| (s.range, s.encrypted)).collect();
        assert_eq!(facts, [(Some((100, 50)), true), (Some((20, 150)), false)]);
    }

    #[test]
    fn what_is_no_playlist_is_refused() {
        assert_eq!(playlist(""), Err(PlaylistError::NotHls));
        assert_eq!(playlist("<html>"), Err(PlaylistError::NotHls));
        assert_eq!(playlist("#EXTM3U\n#EXT-X-VERSION:3"), Err(PlaylistError::Empty));
        assert_eq!(date("yesterday"), None);
        assert_eq!(date("é"), None);
    }
}
