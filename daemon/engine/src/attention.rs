//! Which frames of a camera its detector looks at.
//!
//! Terms: a frame is **looked at**, or **passed over** for a reason ([`Pass`]). The **gate** lets a frame through only
//! where something moves, or has just moved, or is followed.
//!
//! Contract: no more than `max_fps` frames a second of capture time are looked at, over any second by one more at most;
//! an open or absent gate passes over nothing; behind a closed gate a followed object is looked at every [`FOLLOW`], and
//! anything every [`IDLE`]. Whether something moves is asked only of frames that could be looked at.

use synoptic_base::{Epoch, FrameMeta, Mono, Span};

/// The gate stays open for this long after something moved: a person who stops is seen standing.
pub const LINGER: Span = Span::from_secs(1);
/// What is followed is looked at this often although nothing moves: a third of the 1.5 s after which a track that is not
/// seen is lost (`TrackConfig::lost_after`).
pub const FOLLOW: Span = Span::from_millis(500);
/// A scene in which nothing moves is looked at this often: who came in so slowly that nothing moved is found then.
pub const IDLE: Span = Span::from_secs(5);
/// The gate is open for this long from the start of an epoch: motion is judged by what the first second was like.
pub const LEARN: Span = Span::from_secs(2);
/// A frame that is due within this is not passed over: stamps tremble.
const SLACK: Span = Span::from_millis(2);

/// How much a detector looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionConfig {
    /// Every so manieth frame; 1: all.
    pub every: u32,
    /// Frames a second at most.
    pub max_fps: Option<f64>,
    /// Whether there is a gate.
    pub gated: bool,
}

impl Default for AttentionConfig {
    /// All frames.
    fn default() -> AttentionConfig {
        AttentionConfig {
            every: 1,
            max_fps: None,
            gated: false,
        }
    }
}

/// Slowest cameras for which `every` is meant: what trackers are prepared for.
const SLOWEST_FPS: f64 = 10.0;

impl AttentionConfig {
    /// The longest time between two looks while something moves; zero when every frame is looked at.
    pub fn interval(&self) -> Span {
        let by_rate = self.max_fps.map_or(0.0, |fps| 1.0 / fps.max(1e-3));
        let by_count = if self.every > 1 {
            f64::from(self.every) / SLOWEST_FPS
        } else {
            0.0
        };
        Span::from_secs_f64(by_rate.max(by_count))
    }

    /// Whether every frame is looked at.
    pub fn is_full(&self) -> bool {
        self.every <= 1 && self.max_fps.is_none() && !self.gated
    }
}

/// Why a frame is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// It is not the one of `every`.
    Every,
    /// `max_fps` is reached.
    Rate,
    /// Nothing moves.
    Still,
}

/// How many frames met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttentionCounts {
    /// Looked at.
    pub looked: u64,
    /// Passed over by `every`.
    pub every: u64,
    /// Passed over by `max_fps`.
    pub rate: u64,
    /// Passed over because nothing moved.
    pub still: u64,
}

/// The attention to one camera.
#[derive(Clone, Debug)]
pub struct Attention {
    config: AttentionConfig,
    epoch: Option<(Epoch, Mono)>,
    /// Frames since the last of `every`.
    since: u32,
    /// When the next look may be.
    due: Option<Mono>,
    moved: Option<Mono>,
    looked: Option<Mono>,
    counts: AttentionCounts,
}

impl Attention {
    /// Looks at the first frame.
    pub fn new(config: AttentionConfig) -> Attention {
        Attention {
            config,
            epoch: None,
            since: 0,
            due: None,
            moved: None,
            looked: None,
            counts: AttentionCounts::default(),
        }
    }

    /// Judges a frame, in the order of capture. `followed`: whether tracks live; `moves` is asked at most once.
    pub fn judge(
        &mut self,
        frame: &FrameMeta,
        followed: bool,
        moves: impl FnOnce() -> bool,
    ) -> Result<(), Pass> {
        let at = frame.captured.mono;
        if self.epoch.is_none_or(|(epoch, _)| epoch != frame.key.epoch) {
            *self = Attention {
                epoch: Some((frame.key.epoch, at)),
                counts: self.counts,
                ..Attention::new(self.config)
            };
        }
        let verdict = self.weigh(at, followed, moves);
        match verdict {
            Ok(()) => {
                self.looked = Some(at);
                self.counts.looked += 1;
            }
            Err(Pass::Every) => self.counts.every += 1,
            Err(Pass::Rate) => self.counts.rate += 1,
            Err(Pass::Still) => self.counts.still += 1,
        }
        verdict
    }

    fn weigh(&mut self, at: Mono, followed: bool, moves: impl FnOnce() -> bool) -> Result<(), Pass> {
        let first = self.since == 0;
        self.since = (self.since + 1) % self.config.every.max(1);
        if !first {
            return Err(Pass::Every);
        }
        if self.due.is_some_and(|due| at + SLACK < due) {
            return Err(Pass::Rate);
        }
        if self.config.gated && !self.is_open(at, followed, moves) {
            return Err(Pass::Still);
        }
        if let Some(fps) = self.config.max_fps {
            let interval = Span::from_secs_f64(1.0 / fps.max(1e-3));
            // In step with the rate, unless it was not used up.
            let kept = self.due.filter(|due| at - *due < interval);
            self.due = Some(kept.unwrap_or(at) + interval);
        }
        Ok(())
    }

    fn is_open(&mut self, at: Mono, followed: bool, moves: impl FnOnce() -> bool) -> bool {
        // Asked of every such frame: who judges motion must see the scene go on.
        if moves() {
            self.moved = Some(at);
        }
        let within = |since: Option<Mono>, span: Span| since.is_some_and(|since| at - since < span);
        within(self.epoch.map(|(_, began)| began), LEARN)
            || within(self.moved, LINGER)
            || followed && !within(self.looked, FOLLOW)
            || !within(self.looked, IDLE)
    }

    /// What was counted so far.
    pub fn counts(&self) -> AttentionCounts {
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synoptic_base::{Captured, FrameKey, FrameKind, MediaTime, Seq, Size, StreamId, TimeSource};

    fn frame(epoch: u32, ms: i64) -> FrameMeta {
        let at = Mono::from_nanos(0) + Span::from_millis(ms);
        FrameMeta {
            key: FrameKey {
                stream: StreamId::new("gate").unwrap(),
                epoch: Epoch(epoch),
                media_us: MediaTime::from_micros(ms * 1000),
            },
            seq: Seq(0),
            arrival: at,
            captured: Captured {
                mono: at,
                rel_error: Span::ZERO,
                source: TimeSource::Host,
            },
            size: Size::new(640, 360),
            kind: FrameKind::Unknown,
        }
    }

    /// Times in ms of the frames looked at, of frames every 40 ms.
    fn run(config: AttentionConfig, until_ms: i64, moves: impl Fn(i64) -> bool, followed: bool) -> Vec<i64> {
        let mut attention = Attention::new(config);
        let all = (0..until_ms / 40).map(|n| n * 40);
        let looked = all.filter(|&ms| attention.judge(&frame(1, ms), followed, || moves(ms)).is_ok());
        looked.collect()
    }

    #[test]
    fn without_limits_everything_is_looked_at() {
        assert_eq!(
            run(AttentionConfig::default(), 4_000, |_| false, false).len(),
            100
        );
        assert!(AttentionConfig::default().is_full());
    }

    #[test]
    fn every_third_frame_and_so_many_a_second() {
        let every = AttentionConfig {
            every: 3,
            ..AttentionConfig::default()
        };
        assert_eq!(run(every, 400, |_| false, false), [0, 120, 240, 360]);
        assert_eq!(every.interval(), Span::from_millis(300));
        for (fps, wanted) in [(10.0, 100), (7.0, 70), (0.5, 5), (25.0, 250), (100.0, 250)] {
            let rate = AttentionConfig {
                max_fps: Some(fps),
                ..AttentionConfig::default()
            };
            let looked = run(rate, 10_000, |_| false, false).len() as i64;
            assert!((looked - wanted).abs() <= 1, "{fps}: {looked}");
        }
    }

    #[test]
    fn the_gate_opens_for_what_moves_and_stays_ajar_for_what_is_followed() {
        let gated = AttentionConfig {
            gated: true,
            ..AttentionConfig::default()
        };
        let moves = |ms: i64| (10_000..10_100).contains(&ms);
        let looked = run(gated, 20_000, moves, false);
        let within = |from: i64, to: i64| looked.iter().filter(|ms| (from..to).contains(*ms)).count();
        // Learning, then idle looks only, then from the movement until a second after it.
        assert_eq!(within(0, 2_000), 50);
        assert_eq!(within(2_000, 10_000), 1);
        assert_eq!(
            looked.iter().filter(|ms| (10_000..12_000).contains(*ms)).max(),
            Some(&11_040)
        );
        assert_eq!(within(10_000, 11_080), 27);
        assert_eq!(within(11_080, 20_000), 1);
        let followed = run(gated, 20_000, |_| false, true);
        assert!(followed.windows(2).all(|w| w[1] - w[0] <= 520), "{followed:?}");
        assert!(followed.len() < 50 + 40);
    }

    #[test]
    fn a_new_epoch_begins_anew_and_keeps_the_counts() {
        let mut attention = Attention::new(AttentionConfig {
            every: 2,
            max_fps: Some(1.0),
            gated: true,
        });
        assert_eq!(attention.judge(&frame(1, 0), false, || false), Ok(()));
        assert_eq!(
            attention.judge(&frame(1, 40), false, || unreachable!()),
            Err(Pass::Every)
        );
        assert_eq!(
            attention.judge(&frame(1, 80), false, || unreachable!()),
            Err(Pass::Rate)
        );
        assert_eq!(attention.judge(&frame(2, 120), false, || false), Ok(()));
        let counts = AttentionCounts {
            looked: 2,
            every: 1,
            rate: 1,
            still: 0,
        };
        assert_eq!(attention.counts(), counts);
    }
}
