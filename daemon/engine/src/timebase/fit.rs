//! A straight line through points of which many may be wrong, to one side.
//!
//! Sender reports pair a camera's wall clock with its media clock. A camera that anchors them when it gets to send
//! makes them late, by up to seconds, and never early (raptor#43 measured 1.7 s). Least squares over such reports is
//! worse than taking the last one; the slope of Theil (1950) and Sen (1968), the median of the slopes of all pairs,
//! and a level from the densest part of the residuals are not moved by a minority, nor by a large one-sided part.

/// The densest this part of the residuals is taken for right. 0.4 withstands 60 % of late reports.
const DENSE: f64 = 0.4;
/// A point within this of the dense part belongs to it, in milliseconds: sender reports of real cameras scatter by 1
/// to 3 ms.
const GATE_NS: f64 = 8e6;
/// Drift needs at least this many points ...
const MIN_POINTS: usize = 6;
/// ... over at least this long, in nanoseconds.
const MIN_SPAN_NS: f64 = 15e9;
/// The median slope of a run of reports moves by less than this from one report to the next (measured in the month of
/// `make bench NAME=soak`): of some thousand slopes only those this near to the last median are put in order.
const NEAR: f64 = 3e-7;
/// Only pairs this part of the whole time apart count: nearer ones say little of a slope, and there are many.
const APART: f64 = 0.5;
/// A wall clock that runs this much faster or slower than its media clock is not drift.
const MAX_DRIFT: f64 = 500e-6;

/// `y = at_origin + drift · (x − origin)`, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RobustLine {
    pub origin: f64,
    pub at_origin: f64,
    pub drift: f64,
    /// Points that lie on it.
    pub inliers: usize,
    /// Mean distance of those from it.
    pub scatter: f64,
}

impl RobustLine {
    /// Fits `(x, y)` in nanoseconds; `None` of nothing. A drift near `guess` is found sooner, any other as well.
    pub(super) fn fit(points: &[(f64, f64)], guess: f64) -> Option<RobustLine> {
        let &(origin, _) = points.last()?;
        let all: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (x - origin, y)).collect();
        // Coarsely without drift: the gate is wider than 500 ppm over a minute would need, so refine once.
        let mut drift = slope(&all, guess).unwrap_or(0.0);
        let mut off = distances(&all, drift);
        let mut level = middle(&mut off)?;
        // Where all lie closer together than the gate, whatever part of them is the densest has all within the gate.
        if !are_close(&off) {
            off.sort_unstable_by(f64::total_cmp);
            level = densest(&off)?;
            // Of the same points it would be the same line.
            if !lies_within(&off, level) {
                let on_line = |drift: f64, level: f64| -> Vec<(f64, f64)> {
                    let near = |&&(x, y): &&(f64, f64)| (y - level - drift * x).abs() <= GATE_NS;
                    all.iter().filter(near).copied().collect()
                };
                let mut inliers = on_line(drift, level);
                if let Some(better) = slope(&inliers, drift) {
                    drift = better;
                    level = densest(&residuals(&inliers, drift))?;
                    inliers = on_line(drift, level);
                }
                off = residuals(&inliers, drift);
            }
            level = off.get(off.len() / 2).copied().unwrap_or(level);
        }
        let n = off.len().max(1) as f64;
        let scatter = off.iter().map(|r| (r - level).abs()).sum::<f64>() / n;
        Some(RobustLine {
            origin,
            at_origin: level,
            drift,
            inliers: off.len(),
            scatter,
        })
    }

    /// The line at `x`.
    pub(super) fn at(&self, x: f64) -> f64 {
        self.at_origin + self.drift * (x - self.origin)
    }
}

/// Median of the slopes of all pairs that lie apart far enough to say anything; `None` when there are too few.
fn slope(points: &[(f64, f64)], guess: f64) -> Option<f64> {
    let first = points.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let last = points.iter().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max);
    if points.len() < MIN_POINTS || last - first < MIN_SPAN_NS {
        return None;
    }
    let apart = (last - first) * APART;
    let slopes = Slopes {
        xs: points.iter().map(|p| p.0).collect(),
        ys: points.iter().map(|p| p.1).collect(),
        apart,
    };
    slopes.middle(guess).filter(|s| s.abs() <= MAX_DRIFT)
}

/// The slopes of all pairs of points that lie `apart` or further.
struct Slopes {
    xs: Vec<f64>,
    ys: Vec<f64>,
    apart: f64,
}

impl Slopes {
    /// Tells them, those of one point with all after it together.
    fn each(&self, mut tell: impl FnMut(&[f64])) {
        let (xs, ys) = (&self.xs, &self.ys);
        let sorted = xs.is_sorted();
        let mut row: Vec<f64> = Vec::with_capacity(xs.len());
        let mut far = 0;
        for (i, (&x, &y)) in xs.iter().zip(ys).enumerate() {
            row.clear();
            if sorted {
                // All from the first one far enough on: no test for each, and so several at once.
                while far < xs.len() && xs[far] - x < self.apart {
                    far += 1;
                }
                let from = far.max(i + 1);
                row.extend(
                    ys[from..]
                        .iter()
                        .zip(&xs[from..])
                        .map(|(b, at)| (b - y) / (at - x)),
                );
            } else {
                for (&at, &b) in xs[i + 1..].iter().zip(&ys[i + 1..]) {
                    if (at - x).abs() >= self.apart {
                        row.push((b - y) / (at - x));
                    }
                }
            }
            tell(&row);
        }
    }

    /// Their median, sooner where it lies within [`NEAR`] of `guess`.
    fn middle(&self, guess: f64) -> Option<f64> {
        let (low, high) = (guess - NEAR, guess + NEAR);
        let (mut all, mut below) = (0, 0);
        let n = self.xs.len();
        let (mut near, mut kept) = (Vec::with_capacity(n * n / 2), 0);
        self.each(|row| {
            near.resize(kept + row.len(), 0.0);
            // Slopes come in no order: without a branch this takes a third of the time.
            for &slope in row {
                near[kept] = slope;
                kept += usize::from((slope >= low) & (slope <= high));
                below += usize::from(slope < low);
            }
            all += row.len();
        });
        if let Some(rank) = (all / 2).checked_sub(below).filter(|rank| *rank < kept) {
            return Some(*near[..kept].select_nth_unstable_by(rank, f64::total_cmp).1);
        }
        let mut slopes = Vec::with_capacity(all);
        self.each(|row| slopes.extend_from_slice(row));
        middle(&mut slopes)
    }
}

/// How far each point lies above a line of this drift through the origin.
fn distances(points: &[(f64, f64)], drift: f64) -> Vec<f64> {
    points.iter().map(|&(x, y)| y - drift * x).collect()
}

/// The same, in order.
fn residuals(points: &[(f64, f64)], drift: f64) -> Vec<f64> {
    let mut all = distances(points, drift);
    all.sort_unstable_by(f64::total_cmp);
    all
}

/// Whether no two residuals, in whatever order, are further apart than the gate is wide to one side.
fn are_close(residuals: &[f64]) -> bool {
    let least = residuals.iter().copied().fold(f64::INFINITY, f64::min);
    let most = residuals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most - least <= GATE_NS
}

/// Whether no residual is further from `level` than the gate; they are in order.
fn lies_within(residuals: &[f64], level: f64) -> bool {
    let near = |r: Option<&f64>| r.is_some_and(|r| (r - level).abs() <= GATE_NS);
    near(residuals.first()) && near(residuals.last())
}

/// The middle of the shortest interval that holds [`DENSE`] of the residuals, which are in order; the lower of two as
/// short, since wrong reports are late.
fn densest(residuals: &[f64]) -> Option<f64> {
    let all = residuals.len();
    let take = ((all as f64 * DENSE).ceil() as usize).clamp(1, all.max(1));
    let shortest = residuals
        .windows(take)
        .min_by(|a, b| (a[take - 1] - a[0]).total_cmp(&(b[take - 1] - b[0])))?;
    shortest.get(take / 2).copied()
}

fn middle(all: &mut [f64]) -> Option<f64> {
    let half = all.len() / 2;
    (!all.is_empty()).then(|| *all.select_nth_unstable_by(half, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn late_points_do_not_move_the_line() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for late in [0.0, 0.3, 0.5] {
            let points: Vec<(f64, f64)> = (0..60)
                .map(|i| {
                    let x = f64::from(i) * 5e9;
                    let noise = rng.random_range(-0.3e6..0.3e6);
                    let u: f64 = rng.random_range(1e-9..1.0);
                    let lateness = if rng.random_bool(late) {
                        -300e6 * u.ln()
                    } else {
                        0.0
                    };
                    (x, 7e9 + 20e-6 * x + noise + lateness)
                })
                .collect();
            let line = RobustLine::fit(&points, 0.0).unwrap();
            assert_eq!(
                RobustLine::fit(&points, line.drift),
                Some(line),
                "a guess changes nothing"
            );
            let newest = 300e9;
            let error = line.at(newest) - (7e9 + 20e-6 * newest);
            assert!(error.abs() < 0.4e6, "{late}: {error} ns");
        }
    }

    #[test]
    fn few_points() {
        assert_eq!(RobustLine::fit(&[], 0.0), None);
        let one = RobustLine::fit(&[(5e9, 3e9)], 0.0).unwrap();
        assert_eq!((one.at(6e9), one.inliers), (3e9, 1));
    }
}
