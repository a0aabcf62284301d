//! A constant rate: every slot of it has a picture, whatever the camera's own rhythm is.
//!
//! Terms: a **slot** is an instant of the rate, one interval after the one before; slot 0 is the capture of the first picture.
//! A picture **belongs** to the slot that is nearest to its capture, so that the unevenness of a camera at the same rate moves
//! none of its pictures into the slot beside it, and what is shown is half an interval off at most, to both sides alike.
//!
//! * The first picture of a slot leaves at once; a later one of the same slot is **dropped**, unless the next slot gets none of
//!   its own.
//! * A slot that has got none when its time and the delay of the camera's pictures are over **repeats** the last one.
//! * A picture that comes after its slot was filled is shown in the next one: a camera whose delay has grown is not frozen.
//! * Without pictures repeating ends after [`MAX_REPEATS`]: the camera is gone then, and its stream says so.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

/// The last picture is repeated for no longer: a camera that is silent for so long is lost (`stall_after` is 3 s by default).
const MAX_REPEATS: Span = Span::from_secs(10);
/// Capture times that lie further apart begin a line of slots anew.
const JUMP: Span = Span::from_secs(10);
/// The delay of pictures that is waited for at most.
const MAX_DELAY: Span = Span::from_secs(1);
/// Of a delay that has become shorter, this part is taken off with each picture: 2 s at 30 a second until it is halved twice.
const FALL: i64 = 32;

/// A picture in its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slotted<P> {
    /// The instant of the slot on the box's clock.
    pub slot: Mono,
    /// When the picture was captured.
    pub captured: Mono,
    /// How often it was shown before.
    pub repeat: u32,
    /// The picture.
    pub payload: P,
}

/// What became of the pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateCounts {
    /// Slots filled.
    pub slots: u64,
    /// Slots of these that repeat a picture.
    pub repeated: u64,
    /// Pictures that were never shown.
    pub dropped: u64,
}

struct Held<P> {
    captured: Mono,
    payload: P,
    /// How often it was shown.
    shown: u32,
}

/// Puts pictures into slots.
pub struct ConstantRate<P> {
    fps: u32,
    /// The instant of slot 0.
    first: Option<Mono>,
    /// The next slot to be filled.
    next: i64,
    held: Option<Held<P>>,
    /// How long after its capture a picture comes.
    delay: Span,
    ready: VecDeque<Slotted<P>>,
    counts: RateCounts,
}

impl<P: Clone> ConstantRate<P> {
    /// `fps` slots a second (at least one).
    pub fn new(fps: u32) -> ConstantRate<P> {
        ConstantRate {
            fps: fps.max(1),
            first: None,
            next: 0,
            held: None,
            delay: Span::ZERO,
            ready: VecDeque::new(),
            counts: RateCounts::default(),
        }
    }

    /// What became of the pictures so far.
    pub fn counts(&self) -> RateCounts {
        self.counts
    }

    /// A picture that was `captured` then comes at `now`.
    pub fn handle(&mut self, now: Mono, captured: Mono, payload: P) {
        if let Some(held) = &self.held {
            let step = captured - held.captured;
            if step <= Span::ZERO && step > Span::ZERO - JUMP {
                // A better time source moved capture times back a little: the line goes on.
                self.counts.dropped += 1;
                return;
            }
            if step <= Span::ZERO - JUMP || step >= JUMP {
                self.begin_anew();
            }
        }
        self.learn(now - captured);
        let first = *self.first.get_or_insert(captured);
        let mine = self.nearest(captured - first);
        // Slots that nobody came to fill by their time: a caller that was asleep, or pictures that come faster than time goes.
        while self.next < mine && self.held.is_some() {
            self.fill();
        }
        if let Some(before) = self.held.replace(Held {
            captured,
            payload,
            shown: 0,
        }) && before.shown == 0
        {
            self.counts.dropped += 1;
        }
        if mine >= self.next {
            self.next = mine;
            self.fill();
        }
    }

    /// The next slot, in order. Call it until there is none.
    pub fn poll(&mut self, now: Mono) -> Option<Slotted<P>> {
        if self.ready.is_empty() && self.deadline().is_some_and(|at| now >= at) {
            self.fill();
        }
        self.ready.pop_front()
    }

    /// When [`ConstantRate::poll`] is to be called if no picture comes before.
    pub fn deadline(&self) -> Option<Mono> {
        let (first, held) = (self.first?, self.held.as_ref()?);
        let slot = first + self.offset(self.next);
        let repeats = slot - held.captured;
        (repeats <= MAX_REPEATS).then(|| slot + self.offset(1) / 2 + self.delay)
    }

    /// Fills the next slot with what there is.
    fn fill(&mut self) {
        let (Some(first), Some(held)) = (self.first, &mut self.held) else {
            return;
        };
        self.counts.slots += 1;
        self.counts.repeated += u64::from(held.shown > 0);
        let slotted = Slotted {
            slot: first + Span::from_nanos(self.next * 1_000_000_000 / i64::from(self.fps)),
            captured: held.captured,
            repeat: held.shown,
            payload: held.payload.clone(),
        };
        held.shown += 1;
        self.next += 1;
        self.ready.push_back(slotted);
    }

    /// Time of a slot after slot 0; computed from its number, so that thirds of a millisecond do not add up.
    fn offset(&self, slot: i64) -> Span {
        Span::from_nanos(slot * 1_000_000_000 / i64::from(self.fps))
    }

    fn nearest(&self, offset: Span) -> i64 {
        let twice = i128::from(offset.as_nanos()) * 2 * i128::from(self.fps) + 1_000_000_000;
        twice.div_euclid(2_000_000_000) as i64
    }

    /// More delay is believed at once, less of it slowly: a repeat that comes too early takes the place of a picture.
    fn learn(&mut self, delay: Span) {
        let delay = delay.max(Span::ZERO).min(MAX_DELAY);
        self.delay = match delay > self.delay {
            true => delay,
            false => self.delay - (self.delay - delay) / FALL,
        };
    }

    fn begin_anew(&mut self) {
        if let Some(held) = self.held.take()
            && held.shown == 0
        {
            self.counts.dropped += 1;
        }
        self.first = None;
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: f64) -> Mono {
        Mono::from_nanos(5_000_000_000_000) + Span::from_secs_f64(ms / 1e3)
    }

    /// Runs pictures (capture and arrival, ms) through a rate, each deadline kept to the nanosecond; what left, and when.
    fn run(fps: u32, pictures: &[(f64, f64)], until: f64) -> (Vec<(Slotted<usize>, Mono)>, RateCounts) {
        let mut rate = ConstantRate::new(fps);
        let mut out = Vec::new();
        let mut pictures = pictures.iter().enumerate().peekable();
        loop {
            let comes = pictures.peek().map(|(_, (_, arrival))| at(*arrival));
            let due = rate.deadline().filter(|due| *due <= at(until));
            let now = match (comes, due) {
                (Some(comes), Some(due)) if due < comes => due,
                (Some(comes), _) => comes,
                (None, Some(due)) => due,
                (None, None) => return (out, rate.counts()),
            };
            if comes == Some(now)
                && let Some((n, (captured, _))) = pictures.next()
            {
                rate.handle(now, at(*captured), n);
            }
            while let Some(slotted) = rate.poll(now) {
                out.push((slotted, now));
            }
        }
    }

    fn even(out: &[(Slotted<usize>, Mono)], fps: f64) {
        for (n, (slotted, _)) in out.iter().enumerate() {
            let off = (slotted.slot - out[0].0.slot).as_secs_f64() - n as f64 / fps;
            assert!(off.abs() < 1e-8, "slot {n}: {off}");
            // Half an interval to both sides, where the picture is not a repeat.
            let late = (slotted.slot - slotted.captured).as_secs_f64();
            assert!(
                slotted.repeat > 0 || late.abs() <= 0.5 / fps + 1e-8,
                "slot {n}: {late}"
            );
        }
    }

    #[test]
    fn a_camera_at_the_rate_loses_and_repeats_nothing_however_uneven_it_is() {
        let pictures: Vec<(f64, f64)> = (0..900)
            .map(|n| {
                let wobble = f64::from(n * 7_919 % 21) - 10.0; // ± 10 ms of 33
                let captured = f64::from(n) * 1_000.0 / 30.0 + if n == 0 { 0.0 } else { wobble };
                (captured, captured + 40.0 + f64::from(n * 104_729 % 13))
            })
            .collect();
        let (out, counts) = run(30, &pictures, 29_950.0);
        even(&out, 30.0);
        assert_eq!(
            counts,
            RateCounts {
                slots: 900,
                repeated: 0,
                dropped: 0
            }
        );
        assert!(
            out.iter()
                .enumerate()
                .all(|(n, (s, _))| s.payload == n && s.repeat == 0)
        );
        // And waits for nothing: a picture leaves when it comes.
        for (slotted, left) in &out {
            assert_eq!(*left, at(pictures[slotted.payload].1));
        }
    }

    #[test]
    fn slots_without_a_picture_repeat_the_last_one_and_say_so() {
        let pictures: Vec<(f64, f64)> = (0..100)
            .map(|n| (f64::from(n) * 100.0, f64::from(n) * 100.0 + 5.0))
            .collect();
        let (out, counts) = run(30, &pictures, 9_905.0);
        even(&out, 30.0);
        let shown = |n: usize| (out[n].0.payload, out[n].0.repeat);
        assert_eq!(
            [0, 1, 2, 3, 4].map(shown),
            [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
        );
        assert_eq!((counts.slots, counts.dropped), (298, 0));
        // A repeat leaves half an interval and the camera's delay after its slot.
        let late = (out[1].1 - out[1].0.slot).as_secs_f64() * 1e3;
        assert!((late - 16.67 - 5.0).abs() < 0.1, "{late}");
    }

    #[test]
    fn of_a_faster_camera_every_slot_shows_another_picture() {
        let pictures: Vec<(f64, f64)> = (0..600)
            .map(|n| (f64::from(n) * 16.683, f64::from(n) * 16.683 + 3.0))
            .collect();
        let (out, counts) = run(25, &pictures, 9_990.0);
        even(&out, 25.0);
        assert_eq!((counts.slots, counts.repeated), (251, 0));
        assert!(
            (600 - 251 - 1..=600 - 251).contains(&(counts.dropped as usize)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_delay_that_grows_freezes_nothing_and_a_camera_that_is_gone_ends_it() {
        let pictures: Vec<(f64, f64)> = (0..300)
            .map(|n| {
                let captured = f64::from(n) * 40.0;
                (captured, captured + if n < 100 { 10.0 } else { 400.0 })
            })
            .collect();
        let (out, counts) = run(25, &pictures, 60_000.0);
        even(&out[..100], 25.0);
        // Nine slots pass before the first late picture; then each slot shows a picture of its own again.
        let fresh = out[120..300].iter().filter(|(s, _)| s.repeat == 0).count();
        assert!(fresh >= 179, "{fresh}");
        assert!(counts.dropped <= 12, "{counts:?}");
        let last = out.last().unwrap();
        let lasted = last.0.slot - last.0.captured;
        assert!(lasted <= MAX_REPEATS && lasted > Span::from_secs(9), "{lasted}");
    }

    #[test]
    fn times_that_jump_begin_anew_and_those_that_step_back_are_passed_over() {
        let mut rate = ConstantRate::new(10);
        let mut slots = Vec::new();
        for (n, captured) in [0.0, 100.0, 60.0, 200.0, 900_000.0, 0.0].into_iter().enumerate() {
            rate.handle(at(captured + 1_000_000.0), at(captured), n);
            while let Some(slotted) = rate.poll(at(0.0)) {
                slots.push((slotted.payload, slotted.slot == at(captured)));
            }
        }
        assert_eq!(slots, [(0, true), (1, true), (3, true), (4, true), (5, true)]);
        assert_eq!(rate.counts().dropped, 1);
    }
}
