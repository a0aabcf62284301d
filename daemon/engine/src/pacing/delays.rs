//! By how much each of any number of streams is held back, so that all are presented at one latency.
//!
//! WebRTC's StreamSynchronization (video/stream_synchronization.cc) compares one sound with one picture: the relative
//! delay is the difference of their arrivals less the difference of their captures, to which the delays of both jitter
//! and playout buffers are added; it is averaged, and once a second one of the two is held back a bit more or a bit less.
//! Here every stream's own delay from capture to arrival is known, since capture times are on the box's clock. So the
//! latency is that of the slowest stream, and each other one is held back by what it lacks. What differs and why:
//! docs/design/av-sync.md.

use std::collections::{BTreeMap, VecDeque};

use synoptic_base::{Mono, Span};

/// How delays are followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DelayConfig {
    /// Between two steps.
    pub interval: Span,
    /// The most that the latency changes in a step. 16 ms in 200 ms: WebRTC's 80 ms a second (kMaxChangeMs), in steps
    /// below a frame.
    pub max_change: Span,
    /// The most that the latency falls in a step. Nobody waits for that, and sound has to be squeezed for it: 4 ms in 200 ms
    /// are 2 % of pitch.
    pub max_fall: Span,
    /// Differences up to this are noise. WebRTC: 30 ms (kMinDeltaMs), a frame.
    pub dead_band: Span,
    /// A stream further from the others is not held with them (WebRTC: kMaxDeltaDelayMs).
    pub max_delta: Span,
    /// The first step waits for streams that have not come for so long.
    pub patience: Span,
    /// Streams that are expected.
    pub expected: usize,
}

impl Default for DelayConfig {
    fn default() -> DelayConfig {
        DelayConfig {
            interval: Span::from_millis(200),
            max_change: Span::from_millis(16),
            max_fall: Span::from_millis(4),
            dead_band: Span::from_millis(2),
            max_delta: Span::from_secs(10),
            patience: Span::from_millis(500),
            expected: 2,
        }
    }
}

/// Part of the difference that the smoothed delay takes over in a step (WebRTC: kFilterLength, 4).
const FILTER: i64 = 4;
/// Arrivals over which a stream's delay and its jitter are taken: 2 s of pictures.
const WINDOW: usize = 64;
/// Arrivals before a stream counts.
const FEW: usize = 4;

/// What is told of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DelayInput<K> {
    /// A frame or a piece of sound arrived.
    Arrived {
        /// Its stream.
        stream: K,
        /// When it was captured.
        captured: Mono,
        /// When it arrived.
        arrival: Mono,
    },
    /// How long buffers hold a stream, by themselves.
    Buffers {
        /// The stream.
        stream: K,
        /// Its jitter buffer. Where none is said, the jitter of the arrivals counts.
        jitter: Option<Span>,
        /// From there to screen or ear.
        playout: Span,
    },
    /// The stream has ended.
    Gone(K),
}

/// By how much a stream is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutDelay<K> {
    /// The stream.
    pub stream: K,
    /// From arrival to presentation, at least: never less than its own buffers.
    pub minimum: Span,
    /// From capture to presentation, the same for all.
    pub latency: Span,
}

#[derive(Clone, Debug, Default)]
struct Stream {
    delays: VecDeque<Span>,
    /// Least smoothed values: capture to arrival, and the jitter above it.
    level: Option<Span>,
    jitter: Span,
    told_jitter: Option<Span>,
    playout: Span,
    told: Option<Span>,
}

impl Stream {
    /// Median and 95th percentile less the median.
    fn measured(&self) -> Option<(Span, Span)> {
        if self.delays.len() < FEW {
            return None;
        }
        let mut sorted: Vec<Span> = self.delays.iter().copied().collect();
        sorted.sort_unstable();
        let median = sorted[sorted.len() / 2];
        let late = sorted[(sorted.len() - 1) * 95 / 100];
        Some((median, late - median))
    }

    fn own(&self) -> Span {
        self.told_jitter.unwrap_or(self.jitter) + self.playout
    }

    fn smooth(&mut self, max_change: Span) {
        let Some((level, jitter)) = self.measured() else {
            return;
        };
        match &mut self.level {
            None => (self.level, self.jitter) = (Some(level), jitter),
            Some(known) => {
                *known += (level - *known) / FILTER;
                self.jitter += ((jitter - self.jitter) / FILTER).clamp(-max_change, max_change);
            }
        }
    }
}

/// Follows the delays of streams.
#[derive(Clone, Debug)]
pub struct RelativeDelays<K> {
    config: DelayConfig,
    streams: BTreeMap<K, Stream>,
    first: Option<Mono>,
    last_step: Option<Mono>,
    latency: Option<Span>,
    out: VecDeque<PlayoutDelay<K>>,
}

impl<K: Copy + Ord> RelativeDelays<K> {
    /// Of no stream yet.
    pub fn new(config: DelayConfig) -> RelativeDelays<K> {
        RelativeDelays {
            config,
            streams: BTreeMap::new(),
            first: None,
            last_step: None,
            latency: None,
            out: VecDeque::new(),
        }
    }

    /// Takes what is told of a stream.
    pub fn handle(&mut self, now: Mono, input: DelayInput<K>) {
        match input {
            DelayInput::Arrived {
                stream,
                captured,
                arrival,
            } => {
                self.first.get_or_insert(now);
                let delays = &mut self.streams.entry(stream).or_default().delays;
                if delays.len() == WINDOW {
                    delays.pop_front();
                }
                delays.push_back(arrival - captured);
            }
            DelayInput::Buffers {
                stream,
                jitter,
                playout,
            } => {
                let stream = self.streams.entry(stream).or_default();
                stream.told_jitter = jitter.map(|j| j.max(Span::ZERO));
                stream.playout = playout.max(Span::ZERO);
            }
            DelayInput::Gone(stream) => {
                self.streams.remove(&stream);
            }
        }
        self.step(now);
    }

    /// A delay that changed; drain it to `None`.
    pub fn poll(&mut self, now: Mono) -> Option<PlayoutDelay<K>> {
        self.step(now);
        self.out.pop_front()
    }

    /// When the next step is due.
    pub fn deadline(&self) -> Option<Mono> {
        match (self.last_step, self.first) {
            (Some(last), _) => Some(last + self.config.interval),
            (None, first) => first.map(|f| f + self.config.patience),
        }
    }

    /// From capture to presentation; `None` before the first step.
    pub fn latency(&self) -> Option<Span> {
        self.latency
    }

    fn step(&mut self, now: Mono) {
        let known = self.streams.values().filter(|s| s.delays.len() >= FEW).count();
        let due = match (self.last_step, self.first) {
            (Some(last), _) => now - last >= self.config.interval,
            (None, Some(first)) => known >= self.config.expected || now - first >= self.config.patience,
            (None, None) => false,
        };
        if !due {
            return;
        }
        if known == 0 {
            // Nothing can be said; asked again after the same time.
            let last = if self.last_step.is_some() {
                &mut self.last_step
            } else {
                &mut self.first
            };
            *last = Some(now);
            return;
        }
        self.last_step = Some(now);
        for stream in self.streams.values_mut() {
            stream.smooth(self.config.max_change);
        }
        let mut levels: Vec<Span> = self.streams.values().filter_map(|s| s.level).collect();
        levels.sort_unstable();
        let Some(middle) = levels.get(levels.len() / 2).copied() else {
            return;
        };
        // Of two that are far apart nobody knows which is wrong: neither is held for the other.
        let max_delta = self.config.max_delta;
        let apart = |level: Span| (level - middle).abs() > max_delta;
        let two = levels.len() == 2 && levels.iter().any(|l| apart(*l));
        let wanted = self
            .streams
            .values()
            .filter_map(|s| Some((s.level?, s.own())))
            .filter(|(level, _)| !two && !apart(*level))
            .map(|(level, own)| level + own)
            .max();
        if let Some(wanted) = wanted {
            let latency = self.latency.unwrap_or(wanted);
            let off = wanted - latency;
            let (fall, rise) = (self.config.max_fall, self.config.max_change);
            let change = if off.abs() > self.config.dead_band {
                off.clamp(-fall, rise)
            } else {
                Span::ZERO
            };
            self.latency = Some(latency + change);
        }
        self.tell(|level| two || apart(level));
    }

    fn tell(&mut self, apart: impl Fn(Span) -> bool) {
        let latency = self.latency;
        let max = self.config.max_change;
        for (key, stream) in &mut self.streams {
            let Some(level) = stream.level else { continue };
            let own = stream.own();
            let wanted = match latency.filter(|_| !apart(level)) {
                Some(latency) => (latency - level).clamp(own, own + self.config.max_delta),
                None => own,
            };
            let minimum = match stream.told {
                // What its own buffers hold is not asked for, it is so.
                Some(told) => (told + (wanted - told).clamp(-max, max)).max(own),
                None => wanted,
            };
            if stream.told != Some(minimum) {
                stream.told = Some(minimum);
                self.out.push_back(PlayoutDelay {
                    stream: *key,
                    minimum,
                    latency: latency.unwrap_or(level + own),
                });
            }
        }
        // Nobody who polls leaves more than one step's.
        while self.out.len() > 2 * self.streams.len().max(1) {
            self.out.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: i64) -> Span {
        Span::from_millis(ms)
    }

    struct Bench {
        delays: RelativeDelays<u8>,
        now: Mono,
        minimum: BTreeMap<u8, Span>,
    }

    impl Bench {
        fn new(expected: usize) -> Bench {
            let config = DelayConfig {
                expected,
                ..DelayConfig::default()
            };
            Bench {
                delays: RelativeDelays::new(config),
                now: Mono::from_nanos(50_000_000_000),
                minimum: BTreeMap::new(),
            }
        }

        /// Frames of all streams for `length`, each delayed by its own.
        fn run(&mut self, length: Span, delayed: &[(u8, i64)]) {
            let end = self.now + length;
            while self.now < end {
                self.now += ms(40);
                for (stream, delay) in delayed {
                    let input = DelayInput::Arrived {
                        stream: *stream,
                        captured: self.now - ms(*delay),
                        arrival: self.now,
                    };
                    self.delays.handle(self.now, input);
                }
                while let Some(told) = self.delays.poll(self.now) {
                    if let Some(before) = self.minimum.insert(told.stream, told.minimum) {
                        assert!((told.minimum - before).abs() <= ms(16), "{told:?} after {before}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_stream_is_held_by_what_it_lacks_to_the_slowest() {
        let mut b = Bench::new(3);
        b.run(ms(400), &[(1, 50), (2, 180), (3, 400)]);
        let held: Vec<Span> = b.minimum.values().copied().collect();
        assert_eq!(held, [ms(350), ms(220), ms(0)], "at once: nothing was played yet");
        assert_eq!(b.delays.latency(), Some(ms(400)));
    }

    #[test]
    fn a_path_that_changes_is_followed_in_bounded_steps() {
        let mut b = Bench::new(2);
        b.run(ms(1_000), &[(1, 50), (2, 100)]);
        b.run(ms(8_000), &[(1, 50), (2, 300)]);
        assert!((b.minimum[&1] - ms(250)).abs() <= ms(2), "{:?}", b.minimum);
        b.run(ms(16_000), &[(1, 50), (2, 60)]);
        assert!(
            (b.minimum[&1] - ms(10)).abs() <= ms(4),
            "taken away again: {:?}",
            b.minimum
        );
    }

    #[test]
    fn buffers_count_and_are_never_undercut() {
        let mut b = Bench::new(2);
        for (stream, jitter, playout) in [(1, 40, 60), (2, 10, 5)] {
            let input = DelayInput::Buffers {
                stream,
                jitter: Some(ms(jitter)),
                playout: ms(playout),
            };
            b.delays.handle(b.now, input);
        }
        b.run(ms(2_000), &[(1, 50), (2, 50)]);
        assert_eq!(b.minimum[&1], ms(100));
        assert_eq!(b.minimum[&2], ms(100));
    }

    #[test]
    fn a_stream_of_another_time_is_left_alone() {
        let mut b = Bench::new(3);
        b.run(ms(2_000), &[(1, 50), (2, 100), (3, 3_600_000)]);
        assert_eq!(
            (b.minimum[&1], b.minimum[&2], b.minimum[&3]),
            (ms(50), ms(0), ms(0))
        );
        let mut two = Bench::new(2);
        two.run(ms(2_000), &[(1, 50), (2, 20_000)]);
        assert_eq!((two.minimum[&1], two.minimum[&2]), (ms(0), ms(0)));
    }

    #[test]
    fn whoever_does_not_come_is_not_waited_for() {
        let mut b = Bench::new(2);
        b.run(ms(300), &[(1, 50)]);
        assert_eq!(b.delays.latency(), None);
        b.run(ms(400), &[(1, 50)]);
        assert_eq!(b.delays.latency(), Some(ms(50)));
    }
}
