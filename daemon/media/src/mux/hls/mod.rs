//! Low-latency HLS (RFC 8216 and draft-pantos-hls-rfc8216bis) of one stream: pictures in, a playlist and its files out.
//!
//! Terms: a **part** is a third of a second of pictures in one fragment of fMP4; a **segment** is the parts from one IDR
//! picture to another a second or more later; a **break** is where another epoch or format begins or pictures are missing
//! (`EXT-X-DISCONTINUITY`). A picture's length is known when the next one comes, so all are one picture late, and what the
//! playlist says of lengths is exact.
//!
//! No clock, no thread, no socket: who uses it says what came and asks for what is there. What is kept has a limit
//! ([`window`]).
//!
//! | file | what |
//! |---|---|
//! | `index.m3u8` | the playlist |
//! | `init-N.mp4` | the initialization segment of segment N and those after it |
//! | `seg-N.m4s` | segment N |
//! | `part-N.m4s` | part N; counted through, so that the next one's name is known before it is known whether it begins a segment |

mod cut;
mod sounds;
#[cfg(test)]
mod tests;
mod text;
mod window;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use synoptic_base::{Epoch, Span};

use super::fmp4::{self, Sample};
use crate::coded::{CodedFormat, CodedFrame, CodedSound, SoundFormat};
use cut::{Cutter, Item, Limits, Piece};
use sounds::Sounds;
use window::Window;
pub use window::{Asked, Found};

/// Pictures wait for the sound of their time, so that the tracks of a part begin and end together, but no longer than this.
const HOLD_US: i64 = 700_000;

/// Names of the playlist.
pub const PLAYLIST: &str = "index.m3u8";

/// A file of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum File {
    /// The playlist.
    Playlist,
    /// `init-N.mp4`.
    Init(u64),
    /// `seg-N.m4s`.
    Segment(u64),
    /// `part-N.m4s`.
    Part(u64),
}

impl File {
    /// The file of this name.
    pub fn named(name: &str) -> Option<File> {
        if name == PLAYLIST {
            return Some(File::Playlist);
        }
        let (kind, number) = name.split_once('-')?;
        let (number, ending) = number.split_once('.')?;
        // `parse` takes a sign too.
        let number = number
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| number.parse().ok())??;
        match (kind, ending) {
            ("init", "mp4") => Some(File::Init(number)),
            ("seg", "m4s") => Some(File::Segment(number)),
            ("part", "m4s") => Some(File::Part(number)),
            _ => None,
        }
    }
}

/// What a break makes anew.
#[derive(Clone, Debug)]
struct Line {
    epoch: Epoch,
    format: Arc<CodedFormat>,
}

impl Line {
    fn fits(&self, frame: &CodedFrame) -> bool {
        let of = &frame.format;
        self.epoch == frame.key.epoch
            && (Arc::ptr_eq(&self.format, of) || (&self.format.sps, &self.format.pps) == (&of.sps, &of.pps))
    }
}

/// The HLS side of one stream.
pub struct Hls {
    gop: Option<Span>,
    /// `None` before the first picture.
    running: Option<(Cutter<Arc<CodedFrame>>, Window)>,
    line: Option<Line>,
    /// Pictures are missing before the next one.
    gap: bool,
    sounds: Sounds,
    /// Parts that wait for their sound.
    held: VecDeque<Piece<Arc<CodedFrame>>>,
    fragments: u32,
}

impl Hls {
    /// Nothing yet. `gop`: from one IDR picture to the next as far as that is known; `sound`: the format of the sound that
    /// will come, if any.
    pub fn new(gop: Option<Span>, sound: Option<Arc<SoundFormat>>) -> Hls {
        Hls {
            gop,
            running: None,
            line: None,
            gap: false,
            sounds: Sounds::new(sound),
            held: VecDeque::new(),
            fragments: 0,
        }
    }

    /// A picture, in the order of decoding; the first one, and the first one of an epoch, is an IDR picture. Whether there
    /// is something new to be had.
    pub fn picture(&mut self, frame: Arc<CodedFrame>) -> bool {
        let (cutter, _) = self.running.get_or_insert_with(|| {
            let limits = Limits::of(&frame, self.gop);
            // Counted by seconds of UTC, so that it never goes back when the stream is asked for again.
            let first = (frame.stamp.utc.as_nanos() / 1_000_000_000).max(0) as u64;
            (Cutter::new(limits), Window::new(limits, first))
        });
        // Between pictures that depend on each other a track can neither come nor go.
        let other_sound = frame.keyframe && self.sounds.has_changed(frame.key.epoch, frame.decode_us);
        let other = self.line.as_ref().is_none_or(|line| !line.fits(&frame));
        if other {
            self.line = Some(Line {
                epoch: frame.key.epoch,
                format: frame.format.clone(),
            });
        }
        cutter.push(Item {
            epoch: frame.key.epoch,
            decode_us: frame.decode_us,
            utc: frame.stamp.error.map(|_| frame.stamp.utc),
            keyframe: frame.keyframe,
            fresh: std::mem::take(&mut self.gap) || other || other_sound,
            hint_us: frame.duration_us,
            payload: frame,
        });
        while let Some(piece) = cutter.poll() {
            self.held.push_back(piece);
        }
        self.settle()
    }

    /// Sound; it goes with the pictures of its time. Whether there is something new to be had.
    pub fn sound(&mut self, sound: Arc<CodedSound>) -> bool {
        self.sounds.push(sound);
        self.settle()
    }

    /// Takes the parts whose sound is there, or does not come.
    fn settle(&mut self) -> bool {
        let mut new = false;
        while let Some(piece) = self.held.pop_front() {
            let epoch = piece.pictures.first().map(|(frame, _)| frame.key.epoch);
            let behind =
                epoch.is_some_and(|of| self.sounds.is_behind(of, piece.begin_us + piece.duration_us));
            let held_us: i64 = piece.duration_us + self.held.iter().map(|p| p.duration_us).sum::<i64>();
            if behind && held_us < HOLD_US {
                self.held.push_front(piece);
                break;
            }
            self.take(&piece);
            new = true;
        }
        new
    }

    /// Pictures are missing before the next one.
    pub fn gap(&mut self) {
        self.gap = true;
    }

    fn take(&mut self, piece: &Piece<Arc<CodedFrame>>) {
        let Some((_, window)) = &mut self.running else {
            return;
        };
        let Some((first, _)) = piece.pictures.first() else {
            return;
        };
        if piece.begins {
            let init = (piece.fresh || !window.has_init()).then(|| {
                let sound = self.sounds.begin(first.key.epoch, piece.begin_us);
                fmp4::init_segment_with(&first.format, sound.as_deref()).into()
            });
            window.begin(init, piece.utc);
        }
        let sound = self
            .sounds
            .take(first.key.epoch, piece.begin_us + piece.duration_us);
        let pictures: Vec<Sample> = piece
            .pictures
            .iter()
            .map(|(frame, duration_us)| Sample::picture(frame, *duration_us))
            .collect();
        self.fragments = self.fragments.wrapping_add(1);
        let bytes: Bytes = fmp4::chunk(self.fragments, &pictures, &sound).into();
        window.part(bytes, piece.duration_us, piece.independent);
        if piece.ends {
            window.end();
        }
    }

    /// The playlist; `None` before the first part.
    pub fn playlist(&self) -> Option<String> {
        self.running.as_ref().and_then(|(_, window)| window.playlist())
    }

    /// A file other than the playlist.
    pub fn file(&self, file: File) -> Found {
        match (&self.running, file) {
            (Some((_, window)), File::Init(number)) => window.init(number),
            (Some((_, window)), File::Segment(number)) => window.segment(number),
            (Some((_, window)), File::Part(number)) => window.part_numbered(number),
            _ => Found::Never,
        }
    }

    /// Whether the playlist has what `_HLS_msn` and `_HLS_part` wait for (section 6.2.5.2).
    pub fn asked(&self, msn: u64, part: Option<u64>) -> Asked {
        match &self.running {
            Some((_, window)) => window.asked(msn, part),
            None => Asked::NotYet,
        }
    }

    /// No segment is longer.
    pub fn target(&self) -> Span {
        let target = |limits: Limits| Span::from_secs(limits.target_s as i64);
        let limits = self.running.as_ref().map(|(_, window)| window.limits());
        limits.map_or(Span::from_secs(cut::MOST_TARGET_S as i64), target)
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.running.as_ref().map_or(0, |(_, window)| window.bytes())
    }
}
