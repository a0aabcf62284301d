//! Which picture of a camera's sub stream goes with which frame of its main stream.
//!
//! Terms: the **main** stream is shown, kept and packed; the **sub** stream, smaller and of the same scene, is what
//! detectors look at. Both have capture times of their own, from the same camera clock.
//!
//! Job: for a main frame, the sub frame nearest in capture time. Where a nearer one is due any moment, it is waited for.
//!
//! Contract: a sub frame goes with one main frame at most, in the order of capture; it was captured within half a frame
//! interval of the slower stream of it. Without any such pair for [`STALE`], main frames are to be looked at themselves,
//! until there is a pair again. A single sub frame that is missing changes nothing: its main frame is not looked at, so
//! that a detector with a memory is not thrown from one picture size to the other and back.

use std::collections::VecDeque;

use synoptic_base::{Epoch, Frame, FrameMeta, Mono, Seq, Span};

/// Without a pair for this long the main stream is looked at: below the 3 to 5 s in which a stall of the sub stream is
/// found, above what a keyframe of a busy camera takes.
pub const STALE: Span = Span::from_secs(2);
/// Longest wait for a sub frame that is due: what a group waits for a late camera.
const MAX_WAIT: Span = Span::from_millis(250);
/// Added to half an interval, as for packets: two streams in opposite phase are exactly half an interval apart.
const SLACK: Span = Span::from_millis(2);
/// Sub frames that wait; a stream in step needs two.
const CAPACITY: usize = 16;
/// Intervals whose median is a stream's.
const INTERVALS: usize = 15;
/// Interval before two frames of a stream are known: 15 fps.
const DEFAULT_INTERVAL: Span = Span::from_micros(66_667);

/// What a detector is to look at.
#[derive(Debug)]
pub enum Look<P> {
    /// At this sub frame, in place of the main frame.
    Sub(Frame<P>),
    /// At the main frame itself: the sub stream gives nothing that fits.
    Main,
    /// At nothing this time.
    Nothing,
    /// Not known yet: give what comes of the sub stream, and ask again, at this time at the latest.
    Wait(Mono),
}

/// How often each was the answer, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PairCounts {
    /// Main frames for which a sub frame was looked at.
    pub sub: u64,
    /// Main frames looked at themselves, for want of a sub stream.
    pub main: u64,
    /// Main frames not looked at, for want of one sub frame.
    pub nothing: u64,
}

/// The two streams of one camera.
#[derive(Debug)]
pub struct SubStream<P> {
    /// Oldest first.
    waiting: VecDeque<Frame<P>>,
    sub: Cadence,
    main: Cadence,
    /// Capture time of the last main frame that had a pair; of the first one before that.
    paired: Option<Mono>,
    counts: PairCounts,
}

impl<P> Default for SubStream<P> {
    fn default() -> SubStream<P> {
        SubStream {
            waiting: VecDeque::new(),
            sub: Cadence::default(),
            main: Cadence::default(),
            paired: None,
            counts: PairCounts::default(),
        }
    }
}

impl<P> SubStream<P> {
    /// Takes a sub frame. One that was not captured after those before it (a new estimate of the camera's time may set
    /// it back) takes their place.
    pub fn push(&mut self, frame: Frame<P>) {
        let at = frame.meta.captured.mono;
        self.waiting.retain(|f| f.meta.captured.mono < at);
        if self.waiting.len() == CAPACITY {
            self.waiting.pop_front();
        }
        self.sub.saw(&frame.meta);
        self.waiting.push_back(frame);
    }

    /// What to look at for a main frame that came to the detector at `taken`. Main frames are asked for in the order of
    /// capture; frames may be left out.
    pub fn look(&mut self, now: Mono, taken: Mono, main: &FrameMeta) -> Look<P> {
        self.main.saw(main);
        let at = main.captured.mono;
        let last_pair = *self.paired.get_or_insert(at);
        let (slow, fast) = {
            let (a, b) = (self.main.interval(), self.sub.interval());
            (a.max(b), a.min(b))
        };
        let limit = slow / 2 + SLACK;
        let off = |t: Mono| (t - at).abs();
        let nearest = self
            .waiting
            .iter()
            .map(|f| off(f.meta.captured.mono))
            .enumerate()
            .filter(|(_, off)| *off <= limit)
            .min_by_key(|(_, off)| *off);
        // The next sub frame is worth a wait when it is this main frame's natural partner, and nearer than what is here.
        let due = self.sub.next().map(off).filter(|due| *due <= fast / 2 + SLACK);
        let deadline = taken + MAX_WAIT;
        if now < deadline && due.is_some_and(|due| nearest.is_none_or(|(_, off)| due < off)) {
            return Look::Wait(deadline);
        }
        if let Some(frame) = nearest.and_then(|(i, _)| self.waiting.drain(..=i).next_back()) {
            self.paired = Some(at);
            self.counts.sub += 1;
            return Look::Sub(frame);
        }
        if at - last_pair >= STALE {
            self.counts.main += 1;
            return Look::Main;
        }
        self.counts.nothing += 1;
        Look::Nothing
    }

    /// How often each was the answer.
    pub fn counts(&self) -> PairCounts {
        self.counts
    }
}

/// How often the frames of a stream come.
#[derive(Debug, Default)]
struct Cadence {
    last: Option<(Epoch, Seq, Mono)>,
    intervals: VecDeque<Span>,
}

impl Cadence {
    fn saw(&mut self, meta: &FrameMeta) {
        let (epoch, seq, at) = (meta.key.epoch, meta.seq, meta.captured.mono);
        if let Some((e, s, t)) = self.last.replace((epoch, seq, at))
            && e == epoch
            && let Some(steps) = seq.0.checked_sub(s.0).filter(|n| *n > 0)
            && at > t
        {
            if self.intervals.len() == INTERVALS {
                self.intervals.pop_front();
            }
            self.intervals.push_back((at - t) / steps as i64);
        }
    }

    fn interval(&self) -> Span {
        let mut all: Vec<Span> = self.intervals.iter().copied().collect();
        let middle = all.len() / 2;
        if all.is_empty() {
            return DEFAULT_INTERVAL;
        }
        *all.select_nth_unstable(middle).1
    }

    /// When the next frame is captured; `None` before the first.
    fn next(&self) -> Option<Mono> {
        self.last.map(|(_, _, at)| at + self.interval())
    }
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Captured, FrameKey, FrameKind, MediaTime, Size, StreamId, TimeSource};

    use super::*;

    const MS: i64 = 1_000_000;

    fn at(ms: i64) -> Mono {
        Mono::from_nanos(1_000_000 * MS + ms * MS)
    }

    fn meta(epoch: u32, seq: u64, ms: i64) -> FrameMeta {
        FrameMeta {
            key: FrameKey {
                stream: StreamId::new("cam").unwrap(),
                epoch: Epoch(epoch),
                media_us: MediaTime::from_micros(ms * 1000),
            },
            seq: Seq(seq),
            arrival: at(ms),
            captured: Captured {
                mono: at(ms),
                rel_error: Span::from_millis(1),
                source: TimeSource::SenderReport,
            },
            size: Size::new(64, 36),
            kind: FrameKind::P,
        }
    }

    /// A main and a sub stream in a world where every frame takes its delay: what is looked at for each main frame.
    struct World {
        main_ms: i64,
        sub_ms: i64,
        sub_phase_ms: i64,
        /// From capture to arrival of main and sub frames.
        delay_ms: (i64, i64),
        /// What the detector needs for a picture.
        busy_ms: i64,
        /// Sub frames captured in this span never come.
        lost_ms: std::ops::Range<i64>,
    }

    impl Default for World {
        fn default() -> World {
            World {
                main_ms: 66,
                sub_ms: 66,
                sub_phase_ms: 20,
                delay_ms: (40, 60),
                busy_ms: 10,
                lost_ms: 0..0,
            }
        }
    }

    impl World {
        /// `(capture of main, capture of what was looked at)` in ms; `None`: at nothing; the same: at main itself.
        fn run(&self, length_ms: i64) -> (Vec<(i64, Option<i64>)>, PairCounts) {
            let mut stream = SubStream::default();
            let mut subs = (0..)
                .map(|n| (n as u64, n * self.sub_ms + self.sub_phase_ms))
                .filter(|(_, t)| !self.lost_ms.contains(t))
                .peekable();
            let mut looked = Vec::new();
            let mut free = 0;
            let mains = (0..).map(|n| (n as u64, n * self.main_ms));
            for (seq, captured) in mains.take_while(|(_, t)| *t < length_ms) {
                let came = captured + self.delay_ms.0;
                // Newest wins: one that comes while the detector works is passed over when the next is there.
                if came + self.main_ms <= free {
                    continue;
                }
                let taken = came.max(free);
                let mut now = taken;
                loop {
                    while let Some((n, t)) = subs.next_if(|(_, t)| t + self.delay_ms.1 <= now) {
                        stream.push(Frame {
                            meta: meta(2, n, t),
                            pixels: t,
                        });
                    }
                    match stream.look(at(now), at(taken), &meta(1, seq, captured)) {
                        Look::Wait(until) => {
                            let next = subs.peek().unwrap().1 + self.delay_ms.1;
                            now = next.min((until - at(0)).as_nanos() / MS);
                            continue;
                        }
                        Look::Sub(frame) => looked.push((captured, Some(frame.pixels))),
                        Look::Main => looked.push((captured, Some(captured))),
                        Look::Nothing => looked.push((captured, None)),
                    }
                    break;
                }
                free = now + self.busy_ms;
            }
            (looked, stream.counts())
        }
    }

    #[test]
    fn streams_of_one_rate_pair_frame_by_frame_within_half_an_interval() {
        for sub_phase_ms in [-33, -20, 0, 20, 33] {
            let world = World {
                sub_phase_ms,
                ..World::default()
            };
            let (looked, counts) = world.run(10_000);
            // The first frames come before anything is known of the other stream.
            for (main, sub) in &looked[2..] {
                let sub = sub.unwrap_or_else(|| panic!("{main}: phase {sub_phase_ms}, {looked:?}"));
                assert!((sub - main).abs() <= 35, "{main} with {sub}");
            }
            assert_eq!(counts.main, 0);
        }
    }

    #[test]
    fn a_slower_sub_stream_is_looked_at_once_a_picture_and_never_waited_for_in_vain() {
        let world = World {
            sub_ms: 200,
            ..World::default()
        };
        let (looked, counts) = world.run(10_000);
        let mut seen: Vec<i64> = looked.iter().filter_map(|l| l.1).collect();
        let all = seen.len();
        seen.dedup();
        assert_eq!(seen.len(), all, "one sub frame was looked at twice");
        assert!(counts.sub >= 45 && counts.main == 0, "{counts:?}");
        assert!(looked.iter().all(|(m, s)| s.is_none_or(|s| (s - m).abs() <= 102)));
    }

    #[test]
    fn a_faster_sub_stream_gives_the_nearest_frame() {
        let world = World {
            main_ms: 200,
            sub_ms: 40,
            sub_phase_ms: 7,
            ..World::default()
        };
        let (looked, _) = world.run(10_000);
        for (main, sub) in &looked[2..] {
            assert!((sub.unwrap() - main).abs() <= 22, "{main} with {sub:?}");
        }
    }

    #[test]
    fn a_slow_detector_still_pairs() {
        let world = World {
            busy_ms: 400,
            sub_ms: 200,
            ..World::default()
        };
        let (looked, counts) = world.run(20_000);
        assert!(
            counts.sub as usize >= looked.len() * 9 / 10,
            "{counts:?} of {}",
            looked.len()
        );
    }

    #[test]
    fn one_lost_sub_frame_is_no_fallback_and_a_dead_sub_stream_is_until_it_comes_back() {
        let one = World {
            lost_ms: 5_000..5_060,
            ..World::default()
        };
        let (_, counts) = one.run(10_000);
        let (_, undisturbed) = World::default().run(10_000);
        assert_eq!(
            (counts.main, counts.nothing),
            (0, undisturbed.nothing + 1),
            "{counts:?}"
        );
        let dead = World {
            lost_ms: 5_000..15_000,
            ..World::default()
        };
        let (looked, counts) = dead.run(20_000);
        let fell = looked.iter().find(|(m, s)| Some(*m) == *s).unwrap().0;
        assert!((6_950..7_200).contains(&fell), "{fell}");
        let back = looked.iter().rev().find(|(m, s)| Some(*m) == *s).unwrap().0;
        assert!((14_900..15_100).contains(&back), "{back}");
        assert!(counts.main > 100, "{counts:?}");
    }

    #[test]
    fn a_camera_whose_sub_stream_never_comes_is_looked_at_after_a_while() {
        let never = World {
            lost_ms: i64::MIN..100_000,
            ..World::default()
        };
        let (looked, counts) = never.run(5_000);
        assert_eq!(looked.iter().find(|l| l.1.is_some()).unwrap().0, 31 * 66);
        assert_eq!(counts.sub, 0);
    }
}
