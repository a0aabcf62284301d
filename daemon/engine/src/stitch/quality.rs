//! How well the cameras of a panorama fit where two of them see: figures, and when to worry.
//!
//! Input are [`SeamLook`]s, about one a second: patches of the canvas as both cameras see them. Brightness is taken out
//! of each patch first. Terms: a *residual* is by how much a patch of the second camera has to be moved to lie on the
//! first's; the *baseline* of a pair is what was normal after calibration.

use std::collections::{BTreeMap, VecDeque};

use synoptic_base::{Mono, PatchPair, SeamLook, Span};

use super::patch;

/// Looks that figures are made of.
const WINDOW: usize = 12;
/// A patch counts with a residual in at least this many of them.
const STEADY: usize = 6;
/// Looks that make the baseline.
const BASELINE: usize = 10;
/// A state must hold this long before it is told.
const HOLD: Span = Span::from_secs(10);
/// Residuals below this are no trouble, whatever was normal, in canvas pixels: half of what shows as doubled edges.
const FINE_PX: f64 = 1.5;
/// A residual this many times what was normal is one.
const WORSE: f64 = 3.0;
/// Gradients that correlate by less than this part of what was normal: the pictures do not belong together any more,
/// further than residuals can be measured.
const LOST: f64 = 0.5;
/// A baseline of gradient correlation below this says nothing.
const MIN_BASELINE: f64 = 0.3;

/// The figures of two cameras.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeamQuality {
    /// The two cameras.
    pub cameras: [usize; 2],
    /// In dB.
    pub psnr_db: Option<f64>,
    /// -1 to 1.
    pub ssim: Option<f64>,
    /// -1 to 1.
    pub gradient_correlation: Option<f64>,
    /// 0 to 1.
    pub ghost_edge_fraction: Option<f64>,
    /// CIEDE2000.
    pub delta_e00: Option<f64>,
    /// Median length over patches, canvas pixels.
    pub residual_px: Option<f64>,
    /// Median change from look to look over patches, canvas pixels.
    pub jitter_px: Option<f64>,
}

/// A patch that lies steadily beside itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// Its middle, in canvas pixels.
    pub at: [f32; 2],
    /// By how much the second camera's picture must be moved, in canvas pixels: median over the window.
    pub shift: [f32; 2],
}

/// Residuals of one patch, newest last; `None` where it had none.
type Shifts = VecDeque<Option<[f32; 2]>>;

#[derive(Clone, Debug, Default)]
struct Pair {
    newest: SeamQuality,
    /// Residuals of each patch, newest last.
    shifts: BTreeMap<usize, ([f32; 2], Shifts)>,
    looks: usize,
    /// Residual and gradient correlation of the first looks.
    first: Vec<(f64, f64)>,
    baseline: Option<(f64, f64)>,
    bad_since: Option<Mono>,
    good_since: Option<Mono>,
    troubled: bool,
}

/// Watches all pairs of a panorama.
#[derive(Clone, Debug, Default)]
pub struct QualityWatch {
    pairs: BTreeMap<[usize; 2], Pair>,
}

impl QualityWatch {
    /// Knows nothing yet: make a new one for a new calibration.
    pub fn new() -> QualityWatch {
        QualityWatch::default()
    }

    /// Takes in one look at some or all pairs.
    pub fn look(&mut self, now: Mono, looks: &[SeamLook]) {
        for look in looks.iter().filter(|l| !l.patches.is_empty()) {
            let pair = self.pairs.entry(look.cameras).or_default();
            pair.measure(look);
            pair.judge(now);
        }
    }

    /// The figures of all pairs that were looked at.
    pub fn seams(&self) -> impl Iterator<Item = &SeamQuality> {
        self.pairs.values().map(|p| &p.newest)
    }

    /// The pairs that fit worse than they did after calibration, for long enough to be sure.
    pub fn troubled(&self) -> impl Iterator<Item = &SeamQuality> {
        self.pairs.values().filter(|p| p.troubled).map(|p| &p.newest)
    }

    /// The steady residuals of a pair.
    pub fn residuals(&self, cameras: [usize; 2]) -> Vec<Residual> {
        self.pairs.get(&cameras).map_or_else(Vec::new, Pair::residuals)
    }
}

impl Pair {
    fn measure(&mut self, look: &SeamLook) {
        let pairs: Vec<PatchPair> = look.patches.iter().map(patch::levelled).collect();
        for patch in &pairs {
            let (_, shifts) = self
                .shifts
                .entry(patch.number)
                .or_insert_with(|| (patch.at, VecDeque::with_capacity(WINDOW)));
            if shifts.len() == WINDOW {
                shifts.pop_front();
            }
            shifts.push_back(patch::shift(&patch.one, &patch.two));
        }
        self.looks += 1;
        let residuals = self.residuals();
        self.newest = SeamQuality {
            cameras: look.cameras,
            psnr_db: patch::psnr(&pairs),
            ssim: patch::ssim(&pairs),
            gradient_correlation: patch::gradient_correlation(&pairs),
            ghost_edge_fraction: patch::ghost_edges(&pairs),
            delta_e00: look.delta_e00,
            residual_px: median(residuals.iter().map(|r| f64::from(r.shift[0].hypot(r.shift[1])))),
            jitter_px: self.jitter(),
        };
    }

    fn residuals(&self) -> Vec<Residual> {
        let steady = self.shifts.values().filter_map(|(at, shifts)| {
            let known: Vec<[f32; 2]> = shifts.iter().flatten().copied().collect();
            if known.len() < STEADY.min(self.looks) {
                return None;
            }
            let axis = |k: usize| median(known.iter().map(|s| f64::from(s[k]))).map(|v| v as f32);
            Some(Residual {
                at: *at,
                shift: [axis(0)?, axis(1)?],
            })
        });
        steady.collect()
    }

    fn jitter(&self) -> Option<f64> {
        let of_patch = |shifts: &VecDeque<Option<[f32; 2]>>| {
            let steps = shifts.iter().zip(shifts.iter().skip(1));
            median(steps.filter_map(|(a, b)| {
                let (a, b) = ((*a)?, (*b)?);
                Some(f64::from((a[0] - b[0]).hypot(a[1] - b[1])))
            }))
        };
        median(self.shifts.values().filter_map(|(_, s)| of_patch(s)))
    }

    fn judge(&mut self, now: Mono) {
        let (Some(gradient), residual) = (
            self.newest.gradient_correlation,
            self.newest.residual_px.unwrap_or(f64::MAX),
        ) else {
            return;
        };
        let Some((normal_px, normal_gradient)) = self.baseline else {
            self.first.push((residual, gradient));
            if self.first.len() >= BASELINE {
                let px = median(self.first.iter().map(|f| f.0)).unwrap_or(f64::MAX);
                let gradient = median(self.first.iter().map(|f| f.1)).unwrap_or(0.0);
                self.baseline = Some((px, gradient));
            }
            return;
        };
        let apart = residual < f64::MAX && residual > FINE_PX && residual > WORSE * normal_px;
        let lost = normal_gradient >= MIN_BASELINE && gradient < LOST * normal_gradient;
        let (since, other) = if apart || lost {
            (&mut self.bad_since, &mut self.good_since)
        } else {
            (&mut self.good_since, &mut self.bad_since)
        };
        *other = None;
        if now - *since.get_or_insert(now) >= HOLD {
            self.troubled = apart || lost;
        }
    }
}

/// The middle value.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    if values.is_empty() {
        return None;
    }
    let middle = values.len() / 2;
    Some(*values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use synoptic_base::PATCH;

    use super::*;

    fn at(s: i64) -> Mono {
        Mono::from_nanos(0) + Span::from_secs(s)
    }

    /// A smooth texture with a feature size of some pixels.
    fn texture(x: f32, y: f32) -> f32 {
        120.0
            + 40.0 * (0.55 * x + 0.2 * y).sin()
            + 30.0 * (0.37 * y - 0.15 * x).cos()
            + 12.0 * (0.9 * x * 0.5 + y).sin()
    }

    fn look(shift: [f32; 2], gain: f32, seed: usize) -> SeamLook {
        let patches = (0..20).map(|number| {
            let (cx, cy) = (40.0 * (number % 5) as f32, 40.0 * (number / 5) as f32);
            let draw = |dx: f32, dy: f32, gain: f32, seed: usize| {
                (0..PATCH * PATCH)
                    .map(|i| {
                        let (x, y) = ((i % PATCH) as f32, (i / PATCH) as f32);
                        let noise = ((i * 7919 + seed * 104_729 + number * 31) % 17) as f32 / 8.0 - 1.0;
                        gain * texture(cx + x + dx, cy + y + dy) + noise
                    })
                    .collect::<Vec<f32>>()
            };
            PatchPair {
                number,
                at: [cx + 15.5, cy + 15.5],
                one: draw(0.0, 0.0, 1.0, seed),
                two: draw(shift[0], shift[1], gain, seed + 500),
            }
        });
        SeamLook {
            cameras: [0, 1],
            patches: patches.collect(),
            delta_e00: Some(0.4),
        }
    }

    #[test]
    fn a_residual_is_measured_to_a_tenth_of_a_pixel_whatever_the_brightness() {
        let mut watch = QualityWatch::new();
        for i in 0..8 {
            watch.look(at(i), &[look([0.8, -1.3], 0.8, i as usize)]);
        }
        let seam = watch.seams().next().unwrap().clone();
        let residual = seam.residual_px.unwrap();
        assert!((residual - 1.53).abs() < 0.1, "{seam:?}");
        assert!(seam.jitter_px.unwrap() < 0.1, "{seam:?}");
        // Two is drawn ahead by the shift, so it must be moved by as much.
        for r in watch.residuals([0, 1]) {
            assert!(
                (r.shift[0] - 0.8).abs() < 0.15 && (r.shift[1] + 1.3).abs() < 0.15,
                "{r:?}"
            );
        }
    }

    #[test]
    fn figures_fall_as_pictures_part() {
        let figures = |shift: f32| {
            let mut watch = QualityWatch::new();
            watch.look(at(0), &[look([shift, 0.0], 1.0, 1)]);
            watch.seams().next().unwrap().clone()
        };
        let (fine, off) = (figures(0.0), figures(2.5));
        assert!(
            fine.psnr_db.unwrap() > 40.0 && fine.ssim.unwrap() > 0.98,
            "{fine:?}"
        );
        assert!(fine.gradient_correlation.unwrap() > 0.98 && fine.ghost_edge_fraction.unwrap() < 0.01);
        assert!(off.psnr_db.unwrap() < 25.0 && off.ssim.unwrap() < 0.7, "{off:?}");
        assert!(off.gradient_correlation.unwrap() < 0.6);
    }

    #[test]
    fn trouble_is_told_once_it_has_held_and_ends_the_same_way() {
        let mut watch = QualityWatch::new();
        for i in 0..30 {
            watch.look(at(i), &[look([0.1, 0.0], 1.0, i as usize)]);
        }
        assert_eq!(watch.troubled().count(), 0);
        // One bad second is a passer-by.
        watch.look(at(30), &[look([3.0, 0.0], 1.0, 3)]);
        for i in 31..50 {
            watch.look(at(i), &[look([0.1, 0.0], 1.0, i as usize)]);
        }
        assert_eq!(watch.troubled().count(), 0);
        let mut told = None;
        for i in 50..90 {
            watch.look(at(i), &[look([2.6, 0.0], 1.0, i as usize)]);
            if watch.troubled().count() > 0 {
                told.get_or_insert(i);
            }
        }
        let told = told.expect("trouble was never told");
        assert!((60..75).contains(&told), "told after {} s", told - 50);
        for i in 90..130 {
            watch.look(at(i), &[look([0.1, 0.0], 1.0, i as usize)]);
        }
        assert_eq!(watch.troubled().count(), 0);
    }
}
