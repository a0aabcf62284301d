//! The rate at which a media clock really runs.
//!
//! Some cameras declare 25 fps, deliver 21 and stamp 1/25 s on each (OpenNVR#229): their clock is 16 % slow. Others
//! run ten times too fast (go2rtc#2398). Drift estimation, made for oscillators, must first be told.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

/// A checkpoint (the least delayed arrival) is kept in each of these.
const EVERY: Span = Span::from_secs(1);
/// Checkpoints kept.
const CHECKPOINTS: usize = 60;
/// A verdict needs this much history ...
const MIN_SPAN: Span = Span::from_secs(5);
/// ... and a deviation beyond what oscillators do, plus what jitter does to a history of this length.
const OSCILLATOR: f64 = 400e-6;
const JITTER: Span = Span::from_millis(30);
/// The middle half of the pairwise slopes must agree to this part of the deviation: a clock that is wrong is steadily
/// wrong, a congested path is not.
const STEADY: f64 = 0.3;

/// Watches media time against arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct RateWatch {
    /// (media, arrival), oldest first.
    checkpoints: VecDeque<(Span, Mono)>,
    /// When the newest checkpoint's second began.
    begun: Option<Mono>,
    looked_at: Option<Mono>,
}

impl RateWatch {
    /// Takes a frame, media time as the rate believed so far has it. Returns box seconds per media second when the
    /// rate proves wrong; the caller rescales and begins anew.
    pub(super) fn observe(&mut self, media: Span, arrival: Mono) -> Option<f64> {
        match self.checkpoints.back_mut() {
            Some((at, last)) if self.begun.is_some_and(|begun| arrival - begun < EVERY) => {
                if arrival - *last < media - *at {
                    (*at, *last) = (media, arrival);
                }
                return None;
            }
            Some((at, _)) if media <= *at => return None,
            _ => {}
        }
        self.begun = Some(arrival);
        if self.checkpoints.len() == CHECKPOINTS {
            self.checkpoints.pop_front();
        }
        self.checkpoints.push_back((media, arrival));
        let span = arrival - self.checkpoints.front()?.1;
        // Every second at first, then ever more seldom.
        let due = self
            .looked_at
            .is_none_or(|at| arrival - at >= EVERY.max(span / 8));
        if span < MIN_SPAN || !due {
            return None;
        }
        self.looked_at = Some(arrival);
        let least = OSCILLATOR + JITTER.as_secs_f64() / span.as_secs_f64();
        if self.surely_steady(span / 3, least) {
            return None;
        }
        let mut slopes = self.slopes(span / 3);
        let n = slopes.len();
        if n < 8 {
            return None;
        }
        slopes.sort_unstable_by(f64::total_cmp);
        let (low, middle, high) = (slopes[n / 4], slopes[n / 2], slopes[n * 3 / 4]);
        let off = middle - 1.0;
        (off.abs() > least && high - low < STEADY * off.abs()).then_some(middle)
    }

    /// Whether the middle of the slopes is surely within `least` of one, which it nearly always is: to know that takes no
    /// division and no order.
    fn surely_steady(&self, apart: Span, least: f64) -> bool {
        let Some(&(media0, arrival0)) = self.checkpoints.front() else {
            return false;
        };
        // Exact in f64 for a hundred days.
        let (mut media, mut arrivals) = ([0.0; CHECKPOINTS], [0.0; CHECKPOINTS]);
        let places = media.iter_mut().zip(&mut arrivals);
        for ((x, y), (m, a)) in places.zip(&self.checkpoints) {
            (*x, *y) = ((*m - media0).as_nanos() as f64, (*a - arrival0).as_nanos() as f64);
        }
        let count = self.checkpoints.len();
        let (media, arrivals) = (&media[..count], &arrivals[..count]);
        let apart = apart.as_nanos() as f64;
        // A little less, for what rounding does to products: in doubt the slopes themselves decide.
        let least = least * (1.0 - 1e-9);
        // Nearly always no two are further apart than that allows for the nearest pair.
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (x, y) in media.iter().zip(arrivals) {
            (low, high) = (low.min(y - x), high.max(y - x));
        }
        if high - low <= least * (apart - (high - low)) {
            return true;
        }
        let (mut n, mut below, mut above) = (0_u32, 0_u32, 0_u32);
        for i in 0..count {
            for (x, y) in media[i + 1..].iter().zip(&arrivals[i + 1..]) {
                let (dx, dy) = (x - media[i], y - arrivals[i]);
                let counts = (dy >= apart) & (dx > 0.0);
                n += u32::from(counts);
                below += u32::from(counts & (dy - dx < -least * dx));
                above += u32::from(counts & (dy - dx > least * dx));
            }
        }
        below <= n / 2 && n - above > n / 2
    }

    /// Box time per media time, of all pairs at least `apart`.
    fn slopes(&self, apart: Span) -> Vec<f64> {
        let mut slopes = Vec::new();
        for (i, a) in self.checkpoints.iter().enumerate() {
            for b in self.checkpoints.iter().skip(i + 1) {
                if b.1 - a.1 >= apart && b.0 > a.0 {
                    slopes.push((b.1 - a.1).as_nanos() as f64 / (b.0 - a.0).as_nanos() as f64);
                }
            }
        }
        slopes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds 15 fps whose media clock runs at `speed`, through `delay_ms`; returns the verdict and its second.
    fn verdict(speed: f64, delay_ms: impl Fn(i64) -> f64) -> Option<(i64, f64)> {
        let mut watch = RateWatch::default();
        (0..120 * 15).find_map(|i| {
            let box_s = i as f64 / 15.0;
            let media = Span::from_secs_f64(box_s * speed);
            let arrival = Mono::from_nanos(0) + Span::from_secs_f64(box_s + delay_ms(i) / 1e3);
            watch.observe(media, arrival).map(|r| (i / 15, r))
        })
    }

    #[test]
    fn liars_are_found() {
        let jitter = |i: i64| ((i * 37) % 23) as f64;
        for speed in [21.0 / 25.0, 10.5, 1.05, 0.5] {
            let (s, scale) = verdict(speed, jitter).unwrap_or_else(|| panic!("{speed}"));
            assert!(s <= 12, "{speed}: {s} s");
            assert!((scale * speed - 1.0).abs() < 0.01, "{speed}: {scale}");
        }
        // 29.97 stamped as 30 takes longer, and is found.
        let (_, scale) = verdict(1.001, |i| ((i * 37) % 5) as f64).unwrap();
        assert!((scale * 1.001 - 1.0).abs() < 4e-4, "{scale}");
    }

    #[test]
    fn honest_clocks_are_left_alone() {
        assert_eq!(verdict(1.0 + 100e-6, |i| ((i * 37) % 23) as f64), None);
        assert_eq!(
            verdict(1.0, |i| if (300..345).contains(&i) {
                3e3 - (i - 300) as f64 * 66.0
            } else {
                1.0
            }),
            None
        );
        assert_eq!(
            verdict(1.0, |i| if i > 600 { 35.0 } else { 1.0 }),
            None,
            "a slower path"
        );
    }
}
