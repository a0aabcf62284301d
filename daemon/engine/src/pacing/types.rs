//! What goes into and comes out of the pacer.

use synoptic_base::{Mono, Span};

/// Which clock leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Master {
    /// Sound runs at its device's rate, pictures follow what is heard.
    Audio,
    /// Pictures run at their own rhythm, sound is fitted to them.
    Video,
    /// Both follow an external clock: UTC, or capture time plus a latency.
    External,
}

/// How a stream is to be paced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PacingConfig {
    /// Which clock leads.
    pub master: Master,
    /// Media times are capture times on the box's monotonic clock, and nothing can be asked to wait.
    pub live: bool,
    /// Whether sound is expected.
    pub sound: bool,
    /// Live: the latency, fixed. `None`: as little as the delays that are measured allow.
    pub latency: Option<Span>,
    /// Pictures held at most; the oldest goes, counted.
    pub pictures: usize,
}

impl Default for PacingConfig {
    fn default() -> PacingConfig {
        PacingConfig {
            master: Master::Audio,
            live: false,
            sound: true,
            latency: None,
            pictures: 64,
        }
    }
}

/// A decoded picture. Pictures are given in the order of presentation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Picture<V> {
    /// Its media time; predicted where the stream has none.
    pub pts: Option<Span>,
    /// How long it is shown, where the stream says so.
    pub duration: Option<Span>,
    /// Half durations that it is shown for besides (`repeat_pict` of FFmpeg, repeat_first_field of H.262).
    pub repeat: u32,
    /// Its pixels.
    pub payload: V,
}

/// A decoded piece of sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sound<A> {
    /// Media time of its first sample.
    pub pts: Span,
    /// Samples of each channel.
    pub samples: u32,
    /// Samples a second.
    pub rate_hz: u32,
    /// Its samples.
    pub payload: A,
}

impl<A> Sound<A> {
    /// How long it sounds.
    pub fn length(&self) -> Span {
        samples_to_span(u64::from(self.samples), self.rate_hz)
    }
}

/// How long `samples` sound.
pub(super) fn samples_to_span(samples: u64, rate_hz: u32) -> Span {
    let ns = u128::from(samples) * 1_000_000_000 / u128::from(rate_hz.max(1));
    Span::from_nanos(i64::try_from(ns).unwrap_or(i64::MAX))
}

/// What the pacer is told.
#[derive(Clone, Debug, PartialEq)]
pub enum PaceInput<V, A> {
    /// A picture was decoded.
    Picture(Picture<V>),
    /// Sound was decoded.
    Sound(Sound<A>),
    /// The sound device has played `position` of what it was given, silence included.
    Device {
        /// Device time that is heard now.
        position: Span,
    },
    /// The external master shows `media` at `at`.
    Anchor {
        /// Media time.
        media: Span,
        /// When it is due.
        at: Mono,
    },
    /// Stand still, or go on.
    Pause(bool),
    /// The stream was sought: forget what waits.
    Flush,
    /// No further picture comes.
    PictureEnd,
    /// No further sound comes, or there is none.
    SoundEnd,
}

/// Why a picture is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// The one after it is due already.
    Late,
    /// More wait than may.
    Overflow,
    /// The stream was sought.
    Flushed,
}

/// What the pacer wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum PaceOutput<V, A> {
    /// Show a picture at `at`, or now if that has passed.
    Show {
        /// Its pixels.
        payload: V,
        /// Its media time.
        pts: Span,
        /// When it is due.
        at: Mono,
        /// Media time heard at that moment minus the picture's (ffplay's A-V); `None` without sound.
        av: Option<Span>,
    },
    /// The last picture stays for another frame: outputs of constant rate show it again.
    Repeat {
        /// When.
        at: Mono,
    },
    /// A picture is not shown.
    Drop {
        /// Its pixels.
        payload: V,
        /// Why.
        why: DropReason,
    },
    /// Play sound at a device time.
    Play {
        /// Its samples.
        payload: A,
        /// Device time of its first sample.
        at: Span,
        /// Samples to leave out at its beginning.
        skip: u32,
        /// The rest is stretched or squeezed to so many samples.
        samples: u32,
    },
    /// Sound comes too late to be heard.
    Skip {
        /// Its samples.
        payload: A,
    },
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PaceStats {
    /// Pictures shown.
    pub shown: u64,
    /// Pictures dropped because they were late.
    pub dropped: u64,
    /// Pictures dropped because too many waited.
    pub overflowed: u64,
    /// Frame times for which the picture before stayed.
    pub repeated: u64,
    /// Pieces of sound played.
    pub played: u64,
    /// Pieces of sound that came too late.
    pub skipped: u64,
    /// Samples put in (positive) or taken out in all to keep sound in step.
    pub corrected_samples: i64,
    /// Times that sound began anew after a gap.
    pub sound_runs: u64,
    /// The last A-V difference, see [`PaceOutput::Show`].
    pub av: Option<Span>,
    /// Capture to presentation, live.
    pub latency: Option<Span>,
    /// Rate of the sound device against the box's clock, in ppm.
    pub device_ppm: Option<f64>,
}
