//! The Kalman filter of a box that moves with constant velocity.
//!
//! Terms: the state is `cx, cy, w, h` (centre, width, height) and the speed of each. Lengths are in picture heights
//! here, so that pictures that are not square change nothing. Times are in [`STEP_S`], the frame interval for which
//! the published noise weights hold.
//!
//! Job: predict over the real time between two captures, correct with a measured box.
//!
//! State and noises are those of BoT-SORT (Aharon et al. 2022, arXiv 2206.14651, section 3.1), which differ from
//! ByteTrack's `cx, cy, a, h`: there the aspect is nearly constant and all noise goes with the height, so narrow
//! boxes are followed loosely and whoever comes into the picture, growing wider frame by frame, is lost
//! (docs/design/tracking.md has both measured). The noises are diagonal and the motion couples only a quantity with
//! its own speed, so the 8-dimensional filter is exactly four of two dimensions and needs no matrix library. The
//! process noise is integrated over time (white noise on position and on speed): predicting 20 ms and then 30 ms is
//! the same as predicting 50 ms, and over one step it is the published noise but for cross terms below 1 %.

use synoptic_base::{BBox, Span};

/// The noise weights are per frame at 30 frames a second (ByteTrack `BYTETracker(frame_rate=30)`).
const STEP_S: f64 = 1.0 / 30.0;
/// Standard deviation of a position, in sizes of the box (DeepSORT, ByteTrack and BoT-SORT `_std_weight_position`).
const POSITION: f64 = 1.0 / 20.0;
/// Standard deviation of a speed, in sizes of the box a step (the same, `_std_weight_velocity`).
const SPEED: f64 = 1.0 / 160.0;
/// Width and height never fall below this, so that a bad prediction stays a box.
const SMALLEST: f64 = 1e-4;

/// One quantity and its speed, with their covariance.
#[derive(Clone, Copy, Debug)]
struct Axis {
    x: f64,
    v: f64,
    xx: f64,
    xv: f64,
    vv: f64,
}

impl Axis {
    /// At `x` with standard deviations of position and speed.
    fn new(x: f64, position: f64, speed: f64) -> Axis {
        Axis {
            x,
            v: 0.0,
            xx: position * position,
            xv: 0.0,
            vv: speed * speed,
        }
    }

    /// `steps` later, with standard deviations of the noise a step.
    fn predict(&mut self, steps: f64, position: f64, speed: f64) {
        let (q, p) = (speed * speed, position * position);
        self.x += self.v * steps;
        self.xx +=
            2.0 * steps * self.xv + steps * steps * self.vv + p * steps + q * steps * steps * steps / 3.0;
        self.xv += steps * self.vv + q * steps * steps / 2.0;
        self.vv += q * steps;
    }

    /// Corrects with a measurement and its standard deviation.
    fn correct(&mut self, measured: f64, deviation: f64) {
        let total = self.xx + deviation * deviation;
        let (gain_x, gain_v) = (self.xx / total, self.xv / total);
        let surprise = measured - self.x;
        self.x += gain_x * surprise;
        self.v += gain_v * surprise;
        self.vv -= gain_v * self.xv;
        self.xv -= gain_x * self.xv;
        self.xx -= gain_x * self.xx;
    }
}

/// A box in motion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kalman {
    cx: Axis,
    cy: Axis,
    w: Axis,
    h: Axis,
}

/// `cx, cy, w, h` of a box in picture heights; `picture_aspect` is the picture's width / height.
fn measure(bbox: &BBox, picture_aspect: f64) -> [f64; 4] {
    let (cx, cy) = bbox.center();
    [
        f64::from(cx) * picture_aspect,
        f64::from(cy),
        (f64::from(bbox.w) * picture_aspect).max(SMALLEST),
        f64::from(bbox.h).max(SMALLEST),
    ]
}

impl Kalman {
    /// At rest where `bbox` is.
    pub(super) fn new(bbox: &BBox, picture_aspect: f64) -> Kalman {
        let [cx, cy, w, h] = measure(bbox, picture_aspect);
        let axis = |x, size: f64| Axis::new(x, 2.0 * POSITION * size, 10.0 * SPEED * size);
        Kalman {
            cx: axis(cx, w),
            cy: axis(cy, h),
            w: axis(w, w),
            h: axis(h, h),
        }
    }

    /// `dt` later. `seen` is whether it was seen last time: an unseen box keeps its size, as in BoT-SORT.
    pub(super) fn predict(&mut self, dt: Span, seen: bool) {
        let steps = dt.as_secs_f64().max(0.0) / STEP_S;
        if !seen {
            self.w.v = 0.0;
            self.h.v = 0.0;
        }
        // Noise goes with the size before this step, as published.
        let (w, h) = (self.w.x, self.h.x);
        for (axis, size) in [
            (&mut self.cx, w),
            (&mut self.cy, h),
            (&mut self.w, w),
            (&mut self.h, h),
        ] {
            axis.predict(steps, POSITION * size, SPEED * size);
        }
        self.keep_a_box();
    }

    /// Corrects with a detected box.
    pub(super) fn correct(&mut self, bbox: &BBox, picture_aspect: f64) {
        let [cx, cy, w, h] = measure(bbox, picture_aspect);
        let (dw, dh) = (POSITION * self.w.x, POSITION * self.h.x);
        self.cx.correct(cx, dw);
        self.cy.correct(cy, dh);
        self.w.correct(w, dw);
        self.h.correct(h, dh);
        self.keep_a_box();
    }

    fn keep_a_box(&mut self) {
        self.w.x = self.w.x.max(SMALLEST);
        self.h.x = self.h.x.max(SMALLEST);
    }

    /// The box where it is thought to be, in fractions of the picture.
    pub(super) fn bbox(&self, picture_aspect: f64) -> BBox {
        let (w, h) = (self.w.x, self.h.x);
        BBox::new(
            ((self.cx.x - w / 2.0) / picture_aspect) as f32,
            (self.cy.x - h / 2.0) as f32,
            (w / picture_aspect) as f32,
            h as f32,
        )
    }

    /// Speed of the centre, in fractions of the picture a second.
    pub(super) fn velocity(&self, picture_aspect: f64) -> (f32, f32) {
        (
            (self.cx.v / STEP_S / picture_aspect) as f32,
            (self.cy.v / STEP_S) as f32,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: f64 = 16.0 / 9.0;

    #[test]
    fn learns_a_constant_velocity_at_changing_intervals() {
        let at = |t: f64| BBox::new((0.1 + 0.2 * t) as f32, (0.5 - 0.05 * t) as f32, 0.1, 0.3);
        let mut filter = Kalman::new(&at(0.0), WIDE);
        let mut t = 0.0;
        for i in 0..60 {
            let dt = [0.033, 0.066, 0.020, 0.1][i % 4];
            t += dt;
            filter.predict(Span::from_secs_f64(dt), true);
            filter.correct(&at(t), WIDE);
        }
        let (vx, vy) = filter.velocity(WIDE);
        assert!((vx - 0.2).abs() < 0.005 && (vy + 0.05).abs() < 0.005, "{vx} {vy}");
        filter.predict(Span::from_millis(500), false);
        assert!(filter.bbox(WIDE).iou(&at(t + 0.5)) > 0.9);
    }

    #[test]
    fn predicting_in_two_parts_is_predicting_at_once() {
        let start = BBox::new(0.4, 0.4, 0.1, 0.2);
        let mut at_once = Kalman::new(&start, WIDE);
        at_once.predict(Span::from_millis(33), true);
        at_once.correct(&BBox::new(0.41, 0.4, 0.1, 0.2), WIDE);
        let mut in_parts = at_once;
        at_once.predict(Span::from_millis(50), false);
        in_parts.predict(Span::from_millis(20), false);
        in_parts.predict(Span::from_millis(30), false);
        for (one, two) in [(at_once.cx, in_parts.cx), (at_once.h, in_parts.h)] {
            for (a, b) in [
                (one.x, two.x),
                (one.xx, two.xx),
                (one.xv, two.xv),
                (one.vv, two.vv),
            ] {
                assert!((a - b).abs() <= 1e-9 * a.abs().max(1e-3), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_long_prediction_stays_a_box() {
        let mut filter = Kalman::new(&BBox::new(0.4, 0.4, 0.1, 0.5), WIDE);
        for h in [0.4, 0.3, 0.2, 0.1] {
            filter.predict(Span::from_millis(33), true);
            filter.correct(&BBox::new(0.4, 0.4, 0.1, h), WIDE);
        }
        filter.predict(Span::from_secs(60), true);
        let bbox = filter.bbox(WIDE);
        assert!(bbox.w > 0.0 && bbox.h > 0.0 && bbox.x.is_finite());
    }
}
