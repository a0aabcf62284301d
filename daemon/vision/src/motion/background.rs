//! What each cell looks like when nothing is before it.
//!
//! One Gaussian a cell for the background (Wren et al., "Pfinder", PAMI 1997, the one-mode case of Stauffer and
//! Grimson, CVPR 1999), and one other appearance that it takes on for long: a thing put down becomes background
//! after [`ABSORB_S`], and when it is taken away the old background is known at once (two modes of a mixture,
//! without the mixture's cost). The threshold of a cell that blinks rises with its blinking (St-Charles et al.,
//! "SuBSENSE", TIP 2015), which quiets leaves and water.
//!
//! The background is learnt only where nothing stands, so a person may stand still for [`ABSORB_S`] seconds.

use super::cells::Cells;

/// Time constant with which the background follows where nothing stands, s: clouds are followed, walkers not.
const FOLLOW_S: f32 = 5.0;
/// A thing that has stood still for this long is background, s. Longest stand in the test clip: 26 s.
pub(super) const ABSORB_S: f32 = 60.0;
/// Support of an appearance that is known for sure, s; while unseen it fades by 1 s in [`KNOWN_FADE`], so that a
/// background hidden by a parked car is known for 10 minutes.
const KNOWN_S: f32 = 2.0 * ABSORB_S;
const KNOWN_FADE: f32 = 0.1;
/// Support of an appearance not yet known is lost this much faster than gained: walkers who follow each other at
/// the same place do not add up.
const UNKNOWN_FADE: f32 = 4.0;
/// Deviations from the mean that make a cell foreground; one in 10^5 for Gaussian noise.
const SIGMAS: f32 = 4.5;
/// Smallest luma and chroma (|Cb| + |Cr|) difference that counts, levels: coded video moves less by itself
/// (measured 0.2 to 3 levels a cell in the test clip).
const MIN_LUMA: f32 = 12.0;
const MIN_CHROMA: f32 = 10.0;
/// Variance at the start, and its limits, levels squared.
const START_VAR: f32 = 4.0;
const VAR_RANGE: (f32, f32) = (0.5, 64.0);
/// Time constant of blinking, s, and what a cell that blinks in every frame multiplies its threshold by (+ 1).
const BLINK_S: f32 = 20.0;
const BLINK_WEIGHT: f32 = 10.0;
/// Changes a picture from which a cell is taken to swing between two appearances (leaves); the second is then
/// supported this many times faster and not lost in between.
const SWINGING: f32 = 0.15;
const SWINGING_SUPPORT: f32 = 6.0;
/// A known appearance that does not return to a swinging cell makes room for one that does, s of support a second.
const SWINGING_FADE: f32 = 16.0;
/// A soft shadow darkens luma to between these fractions and leaves the hue (Cucchiara et al., PAMI 2003). Darker
/// is an object: grey clothes before a white wall look just like a hard shadow.
const SHADOW: (f32, f32) = (0.5, 0.97);
/// Largest |Cb| + |Cr| by which a shadow may shift the hue, levels.
const SHADOW_CHROMA: f32 = 5.0;
/// Cells this near to the brightest one may be clipped, levels.
pub(super) const CLIPPED: f32 = 2.0;
/// Black of limited range video, level.
pub(super) const BLACK: f32 = 16.0;

/// What a cell is, in `Background::mask`.
pub(super) const EMPTY: u8 = 0;
/// In a shadow.
pub(super) const SHADED: u8 = 1;
/// Something stands there.
pub(super) const OBJECT: u8 = 2;

#[derive(Clone, Copy)]
struct Appearance {
    y: f32,
    cb: f32,
    cr: f32,
    /// For how long it was seen, s; from [`ABSORB_S`] on it is known.
    support: f32,
}

/// The background of one stream.
pub(super) struct Background {
    pub(super) y: Vec<f32>,
    cb: Vec<f32>,
    cr: Vec<f32>,
    var: Vec<f32>,
    blink: Vec<f32>,
    other: Vec<Appearance>,
    /// What each cell is: [`EMPTY`], [`SHADED`] or [`OBJECT`].
    pub(super) mask: Vec<u8>,
    /// Difference over threshold of each cell; above 1 is foreground.
    pub(super) contrast: Vec<f32>,
    before: Vec<u8>,
}

/// How surely a cell swings between two appearances, 0 to 1.
fn swing(blink: f32) -> f32 {
    (blink / SWINGING).min(1.0)
}

/// Seconds of support lost in a second unseen.
fn fade(support: f32, blink: f32) -> f32 {
    if support >= ABSORB_S {
        KNOWN_FADE
    } else {
        UNKNOWN_FADE * (1.0 - swing(blink))
    }
}

/// Share of a first-order low-pass that is new after `dt` seconds.
pub(super) fn share(dt: f32, time_constant: f32) -> f32 {
    1.0 - (-dt / time_constant).exp()
}

impl Background {
    /// Takes the first picture as it is.
    pub(super) fn new(cells: &Cells) -> Background {
        let n = cells.y.len();
        let none = Appearance {
            y: 0.0,
            cb: 0.0,
            cr: 0.0,
            support: 0.0,
        };
        Background {
            y: cells.y.clone(),
            cb: cells.cb.clone(),
            cr: cells.cr.clone(),
            var: vec![START_VAR; n],
            blink: vec![0.0; n],
            other: vec![none; n],
            mask: vec![EMPTY; n],
            contrast: vec![0.0; n],
            before: vec![EMPTY; n],
        }
    }

    /// Moves every cell for which `learn` holds towards the picture by `share` (0 to 1).
    pub(super) fn learn(&mut self, cells: &Cells, share: f32, learn: impl Fn(usize) -> bool) {
        for i in 0..self.y.len() {
            if learn(i) {
                let d = cells.y[i] - self.y[i];
                self.y[i] += share * d;
                self.cb[i] += share * (cells.cb[i] - self.cb[i]);
                self.cr[i] += share * (cells.cr[i] - self.cr[i]);
                self.mask[i] = EMPTY;
            }
        }
    }

    /// Keeps today's background of every cell for which `keep` holds as its other, known appearance.
    pub(super) fn remember(&mut self, keep: impl Fn(usize) -> bool) {
        for i in 0..self.y.len() {
            if keep(i) {
                self.other[i] = self.appearance(i, KNOWN_S);
            }
        }
    }

    fn appearance(&self, i: usize, support: f32) -> Appearance {
        Appearance {
            y: self.y[i],
            cb: self.cb[i],
            cr: self.cr[i],
            support,
        }
    }

    /// Takes what stands at cell `i` as background and keeps the old one as known.
    pub(super) fn absorb(&mut self, cells: &Cells, i: usize) {
        let old = self.appearance(i, KNOWN_S);
        (self.y[i], self.cb[i], self.cr[i]) = (cells.y[i], cells.cb[i], cells.cr[i]);
        self.var[i] = START_VAR;
        self.other[i] = old;
        self.mask[i] = EMPTY;
    }

    /// Brings the background to a light brighter by `gain` (above black), but not beyond `white`, the brightest
    /// that the camera gives now. An empty cell takes the gain only if that brings it nearer to the picture; a
    /// clipped one, whose true brightness is not known, only if the light `jumped`.
    pub(super) fn light(&mut self, cells: &Cells, gain: f32, white: f32, jumped: bool) {
        let lit = |y: f32| (BLACK + (y - BLACK) * gain).min(white.max(BLACK));
        for i in 0..self.y.len() {
            let (old, new) = (self.y[i], lit(self.y[i]));
            let nearer = (new - cells.y[i]).abs() < (old - cells.y[i]).abs();
            let clipped = old >= white - CLIPPED;
            if if self.mask[i] == EMPTY {
                nearer
            } else {
                jumped || !clipped
            } {
                self.y[i] = new;
            }
            self.other[i].y = lit(self.other[i].y);
        }
    }

    /// Says what each cell is, into `mask` and `contrast`.
    pub(super) fn classify(&mut self, cells: &Cells) {
        std::mem::swap(&mut self.mask, &mut self.before);
        let n = self.y.len();
        // Slices of one length let the compiler drop the bounds checks and use vectors.
        let (y, cb, cr) = (&cells.y[..n], &cells.cb[..n], &cells.cr[..n]);
        let (by, bcb, bcr) = (&self.y[..n], &self.cb[..n], &self.cr[..n]);
        let (var, blink) = (&self.var[..n], &self.blink[..n]);
        let (mask, contrast) = (&mut self.mask[..n], &mut self.contrast[..n]);
        for i in 0..n {
            let tolerance = 1.0 + BLINK_WEIGHT * blink[i];
            let luma = (y[i] - by[i]).abs() / (SIGMAS * var[i].sqrt()).max(MIN_LUMA);
            let chroma = ((cb[i] - bcb[i]).abs() + (cr[i] - bcr[i]).abs()) * (1.0 / MIN_CHROMA);
            contrast[i] = luma.max(chroma) / tolerance;
            mask[i] = if contrast[i] > 1.0 { OBJECT } else { EMPTY };
        }
        for i in 0..n {
            if self.mask[i] == OBJECT {
                if self.is_known(cells, i) {
                    self.swap(i);
                    self.mask[i] = EMPTY;
                } else if self.is_shadow(cells, i) {
                    self.mask[i] = SHADED;
                }
            }
        }
    }

    fn matches_other(&self, cells: &Cells, i: usize) -> bool {
        let o = &self.other[i];
        (cells.y[i] - o.y).abs() < (SIGMAS * self.var[i].sqrt()).max(MIN_LUMA)
            && (cells.cb[i] - o.cb).abs() + (cells.cr[i] - o.cr).abs() < MIN_CHROMA
    }

    fn is_known(&self, cells: &Cells, i: usize) -> bool {
        self.other[i].support >= ABSORB_S && self.matches_other(cells, i)
    }

    fn swap(&mut self, i: usize) {
        let other = self.other[i];
        self.other[i] = self.appearance(i, KNOWN_S);
        (self.y[i], self.cb[i], self.cr[i]) = (other.y, other.cb, other.cr);
    }

    /// |Cb| + |Cr| between picture and background at cell `i`, levels.
    pub(super) fn chroma_distance(&self, cells: &Cells, i: usize) -> f32 {
        (cells.cb[i] - self.cb[i]).abs() + (cells.cr[i] - self.cr[i]).abs()
    }

    fn is_shadow(&self, cells: &Cells, i: usize) -> bool {
        let lit = self.y[i] - BLACK;
        if lit <= 0.0 {
            return false;
        }
        let ratio = (cells.y[i] - BLACK) / lit;
        // A shadow scales chroma with luma.
        let cb = cells.cb[i] - 128.0 - ratio * (self.cb[i] - 128.0);
        let cr = cells.cr[i] - 128.0 - ratio * (self.cr[i] - 128.0);
        ratio > SHADOW.0 && ratio < SHADOW.1 && cb.abs() + cr.abs() < SHADOW_CHROMA
    }

    /// Learns from the picture after [`Background::classify`]; `dt` seconds since the last.
    pub(super) fn follow(&mut self, cells: &Cells, dt: f32) {
        let (a, blink_share) = (share(dt, FOLLOW_S), share(dt, BLINK_S));
        let n = self.y.len();
        let (y, cb, cr) = (&cells.y[..n], &cells.cb[..n], &cells.cr[..n]);
        let (by, bcb, bcr) = (&mut self.y[..n], &mut self.cb[..n], &mut self.cr[..n]);
        let (var, blink) = (&mut self.var[..n], &mut self.blink[..n]);
        let (mask, before) = (&self.mask[..n], &self.before[..n]);
        for i in 0..n {
            let a = if mask[i] == EMPTY { a } else { 0.0 };
            let d = y[i] - by[i];
            by[i] += a * d;
            bcb[i] += a * (cb[i] - bcb[i]);
            bcr[i] += a * (cr[i] - bcr[i]);
            var[i] = (var[i] + a * (d * d - var[i])).clamp(VAR_RANGE.0, VAR_RANGE.1);
            let blinked = if (mask[i] == EMPTY) == (before[i] == EMPTY) {
                0.0
            } else {
                1.0
            };
            blink[i] += blink_share * (blinked - blink[i]);
        }
        for i in 0..n {
            if self.mask[i] == EMPTY {
                let other = &mut self.other[i];
                other.support = (other.support - fade(other.support, self.blink[i]) * dt).max(0.0);
            } else {
                self.support(cells, i, dt);
            }
        }
    }

    /// Counts for how long the cell has looked as it does; after [`ABSORB_S`] it is background.
    fn support(&mut self, cells: &Cells, i: usize, dt: f32) {
        let same = self.matches_other(cells, i);
        let other = &mut self.other[i];
        if same && other.support > 0.0 {
            let a = share(dt, 1.0);
            other.y += a * (cells.y[i] - other.y);
            other.cb += a * (cells.cb[i] - other.cb);
            other.cr += a * (cells.cr[i] - other.cr);
            other.support += dt * (1.0 + (SWINGING_SUPPORT - 1.0) * swing(self.blink[i]));
            if other.support >= ABSORB_S {
                self.absorb(cells, i);
            }
        } else {
            other.support -= dt * (fade(other.support, 0.0) + SWINGING_FADE * swing(self.blink[i]));
            if other.support <= 0.0 {
                *other = Appearance {
                    y: cells.y[i],
                    cb: cells.cb[i],
                    cr: cells.cr[i],
                    support: dt.max(f32::MIN_POSITIVE),
                };
            }
        }
    }
}
