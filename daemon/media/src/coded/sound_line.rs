//! Sound on the time line of the pictures: it leaves with the pictures of its instant, and has the media time that they have.
//!
//! What a camera heard and what it saw are tied by capture times alone, each by its own clock and reports. A frame of sound
//! waits for the first picture that was captured when it was, or later; so it is held for exactly as long as the pictures
//! are, whatever they wait for (a decoder, packets, a panorama). That picture says which media time the sound has. Where
//! estimates move by less than [`JUMP`] the sound follows slowly, so that its frames stay one behind the other.

use std::collections::VecDeque;
use std::sync::Arc;

use synoptic_base::{Epoch, Mono, Span};

use super::sound::{CodedSound, SoundFormat, SoundUnit};

/// Frames that wait for pictures: 10 s of AAC at 48 kHz. Beyond, the oldest go.
const MAX_WAITING: usize = 512;
/// Frames that are kept for who joins: as much.
const MAX_RECENT: usize = 512;
/// Sound that is off its place by more begins anew: more than estimates of a camera that is well move, and what is seen as
/// lips out of step.
const JUMP: Span = Span::from_millis(40);
/// Of an error, this part is mended with each frame.
const MEND: i64 = 32;

/// The picture that left last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub epoch: Epoch,
    pub media_us: i64,
    pub captured: Mono,
}

/// The sound of a stream in one form.
#[derive(Debug, Default)]
pub(super) struct SoundLine {
    pub format: Option<Arc<SoundFormat>>,
    waiting: VecDeque<SoundUnit>,
    /// Where the next frame is expected, nanoseconds of media time.
    next: Option<(Epoch, i64)>,
    /// What was given since the last IDR picture.
    recent: VecDeque<Arc<CodedSound>>,
}

impl SoundLine {
    /// An empty one for the same sound.
    pub(super) fn alike(&self) -> SoundLine {
        SoundLine {
            format: self.format.clone(),
            ..SoundLine::default()
        }
    }

    /// A frame came.
    pub(super) fn push(&mut self, unit: SoundUnit) {
        if self.format.as_ref() != Some(&unit.format) {
            self.format = Some(unit.format.clone());
            self.waiting.clear();
            self.recent.clear();
        }
        if self.waiting.len() == MAX_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(unit);
    }

    /// The next frame that was captured before the picture shown last.
    pub(super) fn poll(&mut self, shown: Shown) -> Option<Arc<CodedSound>> {
        while self.waiting.front()?.captured.mono <= shown.captured {
            let unit = self.waiting.pop_front()?;
            let exact_ns = shown.media_us * 1_000 + (unit.captured.mono - shown.captured).as_nanos();
            let expected = self.next.filter(|(epoch, _)| *epoch == shown.epoch);
            let at_ns = match expected.map(|(_, at)| exact_ns - at) {
                Some(off) if off.abs() <= JUMP.as_nanos() => exact_ns - off + off / MEND,
                _ => exact_ns,
            };
            self.next = Some((shown.epoch, at_ns + unit.duration.as_nanos()));
            if at_ns < 0 {
                continue; // before the epoch
            }
            let sound = Arc::new(CodedSound {
                epoch: shown.epoch,
                media_us: at_ns / 1_000,
                captured: unit.captured,
                duration: unit.duration,
                format: unit.format,
                data: unit.data,
            });
            if self.recent.len() == MAX_RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(sound.clone());
            return Some(sound);
        }
        None
    }

    /// An IDR picture left: what was before it is not for who joins now.
    pub(super) fn begin_gop(&mut self, at: Shown) {
        let old = |s: &Arc<CodedSound>| {
            s.epoch != at.epoch || s.media_us + s.duration.as_micros_floor() < at.media_us
        };
        while self.recent.front().is_some_and(old) {
            self.recent.pop_front();
        }
    }

    /// For who joins now.
    pub(super) fn recent(&self) -> impl Iterator<Item = &Arc<CodedSound>> {
        self.recent.iter()
    }

    /// The camera is gone, or nobody codes it any more.
    pub(super) fn clear(&mut self) {
        *self = SoundLine::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use synoptic_base::{Captured, TimeSource};

    use crate::coded::SoundCodec;

    const FRAME: Span = Span::from_micros(21_333);

    fn unit(at_ms: f64) -> SoundUnit {
        SoundUnit {
            captured: Captured {
                mono: Mono::from_nanos(1_000_000_000_000) + Span::from_secs_f64(at_ms / 1e3),
                rel_error: Span::ZERO,
                source: TimeSource::SenderReport,
            },
            duration: FRAME,
            format: Arc::new(SoundFormat {
                codec: SoundCodec::Aac,
                rate_hz: 48_000,
                channels: 1,
                config: vec![0x11, 0x88],
                pre_skip: 0,
                transcoded: None,
            }),
            data: Bytes::new(),
        }
    }

    fn shown(at_ms: i64, media_ms: i64) -> Shown {
        Shown {
            epoch: Epoch(1),
            media_us: media_ms * 1_000,
            captured: Mono::from_nanos(1_000_000_000_000) + Span::from_millis(at_ms),
        }
    }

    fn all(line: &mut SoundLine, shown: Shown) -> Vec<i64> {
        std::iter::from_fn(|| line.poll(shown))
            .map(|s| s.media_us)
            .collect()
    }

    #[test]
    fn sound_waits_for_the_picture_of_its_instant_and_gets_its_media_time() {
        let mut line = SoundLine::default();
        for n in 0..10 {
            line.push(unit(f64::from(n) * 21.333));
        }
        assert_eq!(all(&mut line, shown(-1, 499)), [0_i64; 0]);
        assert_eq!(all(&mut line, shown(40, 540)).len(), 2);
        // A picture 80 ms later: it and the frames are 500 ms on in media time.
        let times = all(&mut line, shown(120, 620));
        assert_eq!(times.len(), 4);
        assert!((times[0] - 542_666).abs() < 100, "{times:?}");
    }

    #[test]
    fn frames_stay_one_behind_the_other_while_estimates_move_and_drift_is_followed() {
        let mut line = SoundLine::default();
        let mut last = None;
        for n in 0..3_000_i64 {
            // The sound's clock is 100 ppm fast, and its estimate moves by 5 ms to either side.
            let wobble = if n % 2 == 0 { 5.0 } else { -5.0 };
            line.push(unit(n as f64 * 21.333 * 1.000_1 + wobble));
            let now = (n as f64 * 21.333) as i64 + 100;
            for at in all(&mut line, shown(now, now)) {
                if let Some(last) = last.replace(at) {
                    assert!((at - last - 21_333_i64).abs() < 500, "{}", at - last);
                }
            }
        }
        let end = 2_999.0 * 21_333.0 * 1.000_1;
        assert!((last.unwrap() as f64 - end).abs() < 6_000.0);
    }

    #[test]
    fn a_jump_is_one_and_what_was_before_the_epoch_is_left_out() {
        let mut line = SoundLine::default();
        line.push(unit(-100.0));
        line.push(unit(10.0));
        line.push(unit(500.0));
        assert_eq!(all(&mut line, shown(600, 600)), [10_000, 500_000]);
        // An epoch begins: the same instant has another media time.
        line.push(unit(700.0));
        let mut other = shown(710, 10);
        other.epoch = Epoch(2);
        assert_eq!(all(&mut line, other), [0]);
        line.begin_gop(other);
        assert_eq!(line.recent().count(), 1);
    }
}
