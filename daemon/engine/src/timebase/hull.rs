//! The least delayed arrivals say how a remote clock runs against the box's.
//!
//! Every observation is `arrival = remote + offset + drift·remote + delay` with `delay ≥ 0`: the lower envelope of
//! `arrival − remote` over `remote` is the clock relation, everything above it is delay. The estimate is the edge of
//! the lower convex hull that lies under the middle of the window (Moon, Skelly, Towsley 1999, "Estimation and
//! removal of clock skew from network delay measurements"; the hull form is Zhang, Liu, Xia 2002).
//!
//! A path that becomes slower or faster for good moves the envelope as a whole: it is found, the history is moved
//! along so that the drift it taught stays known, and the size of the shift is told.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span};

/// Observations are thinned to the least delayed one in each of these, by arrival.
const BUCKET: Span = Span::from_millis(250);
/// The line is drawn anew every so many buckets, and whenever something lies below it.
const REFIT_EVERY: i64 = 4;
/// How far back the envelope looks. 120 s holds the jitter about the envelope to 0.12 ms p99 at 15 fps in
/// simulation, and follows a lasting change of the path within two minutes.
const WINDOW: Span = Span::from_secs(120);
/// Below this much history the drift cannot be told from jitter, and is taken as zero.
const MIN_DRIFT_SPAN: Span = Span::from_secs(20);
/// Oscillators are within this (Moonfire design/time.md assumes 500 ppm; 20 ppm is typical).
const MAX_DRIFT: f64 = 500e-6;
/// What the bound allows for drift while it is not measured: ten times the typical.
const UNMEASURED_DRIFT: f64 = 200e-6;
/// From this much history on, what lies far from the line is a change of the path, not news about the clock.
const MATURE: Span = Span::from_secs(30);
/// A change of the path smaller than this is left to the window.
const MIN_SHIFT: Span = Span::from_millis(5);
/// ... and it must stand out from the usual distance of bucket minima from the envelope by this factor.
const SHIFT_FACTOR: i64 = 8;
/// A slower path is believed when nothing came through as early as before for this long.
const SLOWER_AFTER: Span = Span::from_secs(20);
/// A faster path is believed when this many observations say so within [`FASTER_WITHIN`].
const FASTER_COUNT: usize = 3;
const FASTER_WITHIN: Span = Span::from_secs(5);
/// What a perfect envelope would still be off by: a 90 kHz tick is 11 µs, real oscillators wander.
const FLOOR: Span = Span::from_micros(25);

/// Deviation of the measured drift, times span and root of the number of minima by their usual distance from the line: by
/// simulation, see this module's tests.
const DRIFT_ERROR: f64 = 2.2;

/// The window in eight parts of 15 s. Of the least distances from the line in each, one in five is more than one and a half
/// of the median of the others (delays that are the sum of two exponential ones): little is added for nothing, and what a
/// wandering quartz does is seen. It goes on doing it, so as much again as half of it is added.
const BEND_PARTS: usize = 8;
const BEND_BUCKETS: i64 = 60;

/// What the envelope says of the remote clock, for those who compare other observations with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shape {
    /// Only where its drift is measured: a level line is no shape.
    line: Option<Line>,
    /// Drift of `arrival − remote`, as a fraction, and its standard deviation; both zero while it is not measured.
    pub drift: f64,
    pub drift_error: f64,
    /// How much later than on the line the newest observations lie: the clock may have changed its pace, or the path.
    pub bend: Span,
}

impl Shape {
    /// The least `arrival − remote` at `remote`; `None` while the drift is not measured.
    pub(super) fn at(&self, remote: Span) -> Option<Span> {
        Some(self.line?.at(remote))
    }

    /// The same, all later by this.
    pub(super) fn later(mut self, by: Span) -> Shape {
        if let Some(line) = &mut self.line {
            line.at_origin += by;
        }
        self
    }
}

#[derive(Clone, Copy, Debug)]
struct Point {
    /// Remote time.
    x: Span,
    /// Arrival minus remote time.
    y: Span,
}

impl Point {
    /// Which [`BUCKET`] of arrivals it stands for.
    fn bucket(self) -> i64 {
        (self.x + self.y).as_nanos().div_euclid(BUCKET.as_nanos())
    }
}

/// Lower envelope of `arrival − remote` over the last two minutes.
#[derive(Clone, Debug, Default)]
pub struct MinDelayHull {
    /// The least delayed observation of each bucket, oldest first, `x` increasing.
    minima: VecDeque<Point>,
    line: Option<Line>,
    /// Bucket of the newest observation when the line was drawn.
    fitted: i64,
    /// Median distance of the bucket minima from the line.
    usual_excess: Span,
    /// What the least delayed of the newest observations lie above the line beyond what they usually do.
    bend: Span,
    /// Observations below a mature line that wait for company.
    dips: Vec<Point>,
}

/// `y = at_origin + drift · (x − origin)`
#[derive(Clone, Copy, Debug)]
struct Line {
    origin: Span,
    at_origin: Span,
    drift: f64,
    /// Whether the drift is measured, or taken as zero.
    measured: bool,
}

impl Line {
    fn at(&self, x: Span) -> Span {
        self.at_origin + Span::from_nanos(((x - self.origin).as_nanos() as f64 * self.drift) as i64)
    }
}

impl MinDelayHull {
    /// Takes one observation: something stamped `remote` on the remote clock arrived at `arrival`. Returns by how
    /// much the path became slower (positive) or faster for good, when this observation makes that certain.
    pub fn observe(&mut self, remote: Span, arrival: Mono) -> Option<Span> {
        let arrival = Span::from_nanos(arrival.as_nanos());
        let point = Point {
            x: remote,
            y: arrival - remote,
        };
        let excess = self.excess(point);
        let faster = match excess {
            Some(excess) if self.span() >= MATURE && excess < -self.shift_threshold() => self.dip(point)?,
            _ => Span::ZERO,
        };
        if faster < Span::ZERO {
            self.shift(faster);
        }
        let below = excess.is_none_or(|e| e < Span::ZERO);
        let opened = self.insert(point)?;
        // A point above the line moves it only as the window moves on: once a second is often enough for that.
        let due = opened && point.bucket() - self.fitted >= REFIT_EVERY;
        if due || below || self.span() < MIN_DRIFT_SPAN {
            self.fitted = point.bucket();
            self.line = self.fit();
        }
        if faster < Span::ZERO {
            return Some(faster);
        }
        if !opened {
            return None;
        }
        if point.bucket() % REFIT_EVERY == 0 || self.minima.len() < 40 {
            self.usual_excess = self.median_excess();
            self.bend = self.newest_bend();
        }
        let slower = self.slower()?;
        self.shift_before(
            point.bucket() - SLOWER_AFTER.as_nanos() / BUCKET.as_nanos(),
            slower,
        );
        self.line = self.fit();
        Some(slower)
    }

    /// Forgets everything: the remote clock or the path is a new one.
    pub fn reset(&mut self) {
        *self = MinDelayHull::default();
    }

    /// When something stamped `remote` would arrive if nothing delayed it; `None` before the first observation.
    pub fn arrival_of(&self, remote: Span) -> Option<Mono> {
        let y = self.line?.at(remote);
        Some(Mono::from_nanos((remote + y).as_nanos()))
    }

    /// How much longer than the least an observation took; `None` before the first one.
    pub fn delay_of(&self, remote: Span, arrival: Mono) -> Option<Span> {
        Some(arrival - self.arrival_of(remote)?)
    }

    /// Bound of [`MinDelayHull::arrival_of`] about the true least delay, for a time near the newest observation.
    ///
    /// The minima of `n` buckets, `e` (median) above the envelope, leave its middle uncertain by some `e/n`; its
    /// extrapolation to the newest frame by more. The factors hold 99.9 % in the simulation of this module's tests.
    pub fn error(&self, remote: Span) -> Span {
        let Some(line) = self.line else { return Span::MAX };
        let n = self.minima.len().max(1) as f64;
        let usual = self.usual_excess.max(self.median_if_short());
        let noise = usual.as_nanos() as f64 * (0.1 + 25.0 / n);
        let drift = if line.measured {
            0.0
        } else {
            (remote - line.origin).abs().as_nanos() as f64 * UNMEASURED_DRIFT
        };
        FLOOR + Span::from_nanos((noise + drift) as i64)
    }

    /// Drift of `arrival − remote`, as a fraction; zero while not known.
    pub fn drift(&self) -> f64 {
        self.line.map_or(0.0, |line| line.drift)
    }

    /// How much faster the remote clock runs than the box's, in parts per million; `None` while not known.
    pub fn remote_ppm(&self) -> Option<f64> {
        // y falls while the remote clock runs ahead.
        let line = self.line?;
        (self.span() >= MIN_DRIFT_SPAN).then_some(-line.drift * 1e6)
    }

    /// The envelope as a line, and how well its drift is known.
    pub(super) fn shape(&self) -> Shape {
        let measured = self.line.filter(|line| line.measured);
        let drift_error = measured.map_or(0.0, |_| {
            let span = self.span().as_nanos().max(1) as f64;
            let n = self.minima.len().max(1) as f64;
            DRIFT_ERROR * self.usual_excess.as_nanos() as f64 / span / n.sqrt()
        });
        Shape {
            line: measured,
            drift: self.drift(),
            drift_error,
            bend: self.bend,
        }
    }

    /// Whether the drift is measured, or taken as zero.
    pub(super) fn drift_measured(&self) -> bool {
        self.line.is_some_and(|line| line.measured)
    }

    /// Observations behind the estimate, after thinning.
    pub fn len(&self) -> usize {
        self.minima.len()
    }

    /// Whether nothing was observed yet.
    pub fn is_empty(&self) -> bool {
        self.minima.is_empty()
    }

    /// Length of the history behind the estimate.
    pub fn span(&self) -> Span {
        match (self.minima.front(), self.minima.back()) {
            (Some(first), Some(last)) => last.x - first.x,
            _ => Span::ZERO,
        }
    }

    /// A distance from the line beyond this is not jitter.
    pub fn shift_threshold(&self) -> Span {
        MIN_SHIFT.max(self.usual_excess * SHIFT_FACTOR)
    }

    fn excess(&self, point: Point) -> Option<Span> {
        Some(point.y - self.line?.at(point.x))
    }

    /// Puts an observation into its bucket. `None`: it changed nothing; `true`: it opened a bucket.
    fn insert(&mut self, point: Point) -> Option<bool> {
        let newest = self.minima.back().copied();
        let opened = newest.is_none_or(|last| point.bucket() > last.bucket());
        match newest {
            Some(last) if !opened && (point.bucket() < last.bucket() || point.y >= last.y) => return None,
            Some(_) if !opened => {
                let before = self.minima.len().checked_sub(2).and_then(|i| self.minima.get(i));
                if before.is_some_and(|b| point.x <= b.x) {
                    return None; // reordered
                }
                self.minima.pop_back();
            }
            Some(last) if point.x <= last.x => return None, // reordered
            _ => {}
        }
        self.minima.push_back(point);
        let oldest = point.bucket() - WINDOW.as_nanos() / BUCKET.as_nanos();
        while self.minima.front().is_some_and(|first| first.bucket() < oldest) {
            self.minima.pop_front();
        }
        Some(opened)
    }

    /// One observation below the line may be a wrong stamp, several are a faster path. `None`: wait.
    fn dip(&mut self, point: Point) -> Option<Span> {
        let oldest = point.bucket() - FASTER_WITHIN.as_nanos() / BUCKET.as_nanos();
        self.dips.retain(|dip| dip.bucket() >= oldest);
        self.dips.push(point);
        if self.dips.len() < FASTER_COUNT {
            return None;
        }
        let dips = std::mem::take(&mut self.dips);
        dips.into_iter().filter_map(|dip| self.excess(dip)).max()
    }

    /// By how much nothing comes through any more as early as it did.
    fn slower(&self) -> Option<Span> {
        if self.span() < MATURE {
            return None;
        }
        let newest = self.minima.back()?.bucket();
        let since = newest - SLOWER_AFTER.as_nanos() / BUCKET.as_nanos();
        let recent = || self.minima.iter().rev().take_while(|p| p.bucket() >= since);
        // The newest bucket is still open.
        let mut least: Option<Span> = None;
        for p in recent().skip(1) {
            let excess = self.excess(*p)?;
            if excess <= MIN_SHIFT {
                return None; // something came as early as ever: nearly always
            }
            least = Some(least.map_or(excess, |l| l.min(excess)));
        }
        let least = least?;
        let count = recent().count();
        let enough = count >= 8 && self.minima.len() >= count + 8;
        let older = self.minima.iter().take_while(|p| p.bucket() < since);
        let mut older: Vec<Span> = older.filter_map(|p| self.excess(*p)).collect();
        let usual = median(&mut older)?;
        (enough && least > MIN_SHIFT.max(usual * SHIFT_FACTOR)).then_some(least)
    }

    /// Moves the whole history along.
    fn shift(&mut self, by: Span) {
        self.shift_before(i64::MAX, by);
    }

    fn shift_before(&mut self, bucket: i64, by: Span) {
        for p in self.minima.iter_mut().take_while(|p| p.bucket() < bucket) {
            p.y += by;
        }
        if let Some(line) = &mut self.line {
            line.at_origin += by;
        }
    }

    fn median_excess(&self) -> Span {
        let mut all: Vec<Span> = self.minima.iter().filter_map(|p| self.excess(*p)).collect();
        median(&mut all).unwrap_or(Span::ZERO)
    }

    /// The least distance from the line in each [`BEND_BUCKETS`]: where the newest stands out from the others, the line does
    /// not go where the clock does.
    fn newest_bend(&self) -> Span {
        let mut least = [Span::MAX; BEND_PARTS];
        let Some(newest) = self.minima.back().map(|p| p.bucket()) else {
            return Span::ZERO;
        };
        for p in &self.minima {
            let part = ((newest - p.bucket()) / BEND_BUCKETS).clamp(0, BEND_PARTS as i64 - 1);
            if let (Some(least), Some(excess)) = (least.get_mut(part as usize), self.excess(*p)) {
                *least = (*least).min(excess);
            }
        }
        let [newest, ref mut others @ ..] = least;
        let usual = median(others).filter(|usual| *usual < Span::MAX);
        match usual.filter(|_| newest < Span::MAX) {
            Some(usual) => ((newest - usual.max(Span::ZERO) * 3 / 2) * 3 / 2).max(Span::ZERO),
            None => Span::ZERO,
        }
    }

    /// The first few minima say little of the jitter: take what there is, and not less than a millisecond.
    fn median_if_short(&self) -> Span {
        if self.minima.len() < 40 {
            Span::from_millis(1)
        } else {
            Span::ZERO
        }
    }

    fn fit(&self) -> Option<Line> {
        let lowest = self.minima.iter().min_by_key(|p| p.y)?;
        let flat = Line {
            origin: lowest.x,
            at_origin: lowest.y,
            drift: 0.0,
            measured: false,
        };
        if self.span() < MIN_DRIFT_SPAN {
            return Some(flat);
        }
        let hull = lower_hull(&self.minima);
        let middle =
            self.minima.iter().map(|p| p.x.as_nanos() as f64).sum::<f64>() / self.minima.len() as f64;
        let edge = hull.windows(2).find(|e| e[1].x.as_nanos() as f64 >= middle);
        let Some([a, b]) = edge else { return Some(flat) };
        let drift = (b.y - a.y).as_nanos() as f64 / (b.x - a.x).as_nanos() as f64;
        if drift.abs() > MAX_DRIFT {
            return Some(flat);
        }
        Some(Line {
            origin: a.x,
            at_origin: a.y,
            drift,
            measured: true,
        })
    }
}

/// The median; `None` of nothing.
pub(super) fn median(all: &mut [Span]) -> Option<Span> {
    let middle = all.len() / 2;
    (!all.is_empty()).then(|| *all.select_nth_unstable(middle).1)
}

/// Andrew's monotone chain, lower half; `points` are sorted by `x`.
fn lower_hull(points: &VecDeque<Point>) -> Vec<Point> {
    let mut hull: Vec<Point> = Vec::with_capacity(points.len());
    for p in points {
        while let [.., a, b] = hull[..] {
            let left = i128::from((b.y - a.y).as_nanos()) * i128::from((p.x - a.x).as_nanos());
            let right = i128::from((p.y - a.y).as_nanos()) * i128::from((b.x - a.x).as_nanos());
            if left < right {
                break;
            }
            hull.pop();
        }
        hull.push(*p);
    }
    hull
}

#[cfg(test)]
#[path = "hull_tests.rs"]
mod tests;
