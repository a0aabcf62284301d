//! From where a virtual camera looks to where it is to look: no faster and no more abruptly than its limits say.
//!
//! Each axis runs at the highest speed from which it can still brake before the target. In steps of h that is
//! v = a h / 2 (sqrt(1 + 8 e / (a h^2)) - 1) for a distance e and an acceleration a: braking by a h at every step covers
//! e then, and the target is never overshot. Zoom is planned by its logarithm, so that it looks equally fast everywhere.

use synoptic_base::{Mono, Ptz, Span};

/// Steps of the plan.
const STEP_S: f64 = 0.005;
/// A pause longer than this (nobody looked) is not lived through: the target is simply there.
const LONGEST: Span = Span::from_secs(20);
/// Speed and acceleration of the logarithm of zoom: twice as large takes about 1 s.
const ZOOM_SPEED: f64 = 1.0;
const ZOOM_ACCELERATION: f64 = 2.0;

/// How far and how fast a virtual camera may go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// What the source shows across, left and right edge, degrees.
    pub pan_deg: [f64; 2],
    /// What it shows down, lowest and highest, degrees.
    pub tilt_deg: [f64; 2],
    /// Degrees across and down that the view shows at zoom 1.
    pub fov_deg: [f64; 2],
    /// Largest zoom; the smallest is 1.
    pub zoom: f64,
    /// Degrees a second at zoom 1; less the larger the zoom, so that the picture never runs faster.
    pub speed_deg_s: f64,
    /// Degrees a second, each second.
    pub acceleration_deg_s2: f64,
}

impl Limits {
    /// The nearest view that shows nothing outside of the source, as far as its middle lines go; where the view is larger than
    /// the source it stands in the source's middle.
    pub fn nearest(&self, wish: Ptz) -> Ptz {
        let zoom = finite(wish.zoom, 1.0).clamp(1.0, self.zoom.max(1.0));
        let within = |value: f64, [low, high]: [f64; 2], fov: f64| {
            let half = super::zoomed_fov_deg(fov, zoom) / 2.0;
            let (low, high) = (low + half, high - half);
            if low <= high {
                finite(value, 0.0).clamp(low, high)
            } else {
                (low + high) / 2.0
            }
        };
        Ptz {
            pan_deg: within(wish.pan_deg, self.pan_deg, self.fov_deg[0]),
            tilt_deg: within(wish.tilt_deg, self.tilt_deg, self.fov_deg[1]),
            zoom,
        }
    }
}

fn finite(value: f64, otherwise: f64) -> f64 {
    if value.is_finite() { value } else { otherwise }
}

#[derive(Clone, Copy, Debug)]
struct Axis {
    at: f64,
    speed: f64,
}

impl Axis {
    fn still(at: f64) -> Axis {
        Axis { at, speed: 0.0 }
    }

    fn step(&mut self, target: f64, fastest: f64, acceleration: f64) {
        let gain = acceleration * STEP_S;
        let off = target - self.at;
        // So near and so slow that the next step could end there.
        if off.abs() <= gain * STEP_S && self.speed.abs() <= gain {
            *self = Axis::still(target);
            return;
        }
        let braking = gain / 2.0 * ((1.0 + 8.0 * off.abs() / (gain * STEP_S)).sqrt() - 1.0);
        let wanted = braking.min(fastest).copysign(off);
        self.speed += (wanted - self.speed).clamp(-gain, gain);
        self.at += self.speed * STEP_S;
    }
}

/// Glides.
#[derive(Clone, Debug)]
pub struct Planner {
    limits: Limits,
    target: Ptz,
    pan: Axis,
    tilt: Axis,
    /// Of the logarithm.
    zoom: Axis,
    /// Until when the plan was lived through.
    at: Option<Mono>,
}

impl Planner {
    /// At rest at the nearest possible to `start`.
    pub fn new(limits: Limits, start: Ptz) -> Planner {
        let start = limits.nearest(start);
        Planner {
            limits,
            target: start,
            pan: Axis::still(start.pan_deg),
            tilt: Axis::still(start.tilt_deg),
            zoom: Axis::still(start.zoom.ln()),
            at: None,
        }
    }

    /// Where it is to go from now on; the nearest possible is taken, and given back.
    pub fn aim(&mut self, wish: Ptz) -> Ptz {
        self.target = self.limits.nearest(wish);
        self.target
    }

    /// Where it is to go.
    pub fn target(&self) -> Ptz {
        self.target
    }

    /// Where it looks at `now`. Times only grow; an earlier one is the last again.
    pub fn look(&mut self, now: Mono) -> Ptz {
        let from = *self.at.get_or_insert(now);
        if now - from > LONGEST {
            *self = Planner {
                at: Some(now),
                ..Planner::new(self.limits, self.target)
            };
            return self.now(Span::ZERO);
        }
        let step = Span::from_secs_f64(STEP_S);
        let mut at = from;
        while now - at >= step {
            at += step;
            let zoom = self.zoom.at.exp().max(1.0);
            let fastest = self.limits.speed_deg_s / zoom;
            let acceleration = self.limits.acceleration_deg_s2;
            self.pan.step(self.target.pan_deg, fastest, acceleration);
            self.tilt.step(self.target.tilt_deg, fastest, acceleration);
            self.zoom
                .step(self.target.zoom.ln(), ZOOM_SPEED, ZOOM_ACCELERATION);
        }
        self.at = Some(at);
        // Pictures come between steps: what is left is gone on at the speed of now.
        self.now((now - at).max(Span::ZERO))
    }

    /// Whether it is where it is to be.
    pub fn is_at_rest(&self) -> bool {
        [self.pan, self.tilt, self.zoom]
            .iter()
            .all(|axis| axis.speed == 0.0)
            && self.now(Span::ZERO) == self.target
    }

    fn now(&self, later: Span) -> Ptz {
        let place = |axis: Axis, target: f64| {
            let (moved, off) = (axis.speed * later.as_secs_f64(), target - axis.at);
            // Never past the target, which the next step would not have passed either.
            if moved * off > 0.0 && moved.abs() > off.abs() {
                target
            } else {
                axis.at + moved
            }
        };
        // An axis at rest has its target to the bit; exp(ln(x)) has not.
        let zoom = if self.zoom.at == self.target.zoom.ln() {
            self.target.zoom
        } else {
            place(self.zoom, self.target.zoom.ln()).exp()
        };
        Ptz {
            pan_deg: place(self.pan, self.target.pan_deg),
            tilt_deg: place(self.tilt, self.target.tilt_deg),
            zoom,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        pan_deg: [-90.0, 90.0],
        tilt_deg: [-40.0, 40.0],
        fov_deg: [60.0, 36.0],
        zoom: 8.0,
        speed_deg_s: 30.0,
        acceleration_deg_s2: 60.0,
    };

    fn ptz(pan_deg: f64, tilt_deg: f64, zoom: f64) -> Ptz {
        Ptz {
            pan_deg,
            tilt_deg,
            zoom,
        }
    }

    fn at(ms: f64) -> Mono {
        Mono::from_nanos(0) + Span::from_secs_f64(ms / 1e3)
    }

    /// Looks every `ms` until it rests or 20 s are over, and checks speed and acceleration; the time it took.
    fn glide(planner: &mut Planner, from_ms: f64, ms: f64) -> f64 {
        let (mut last, mut speed) = (planner.look(at(from_ms)), None::<f64>);
        let mut t = from_ms;
        while !planner.is_at_rest() && t < from_ms + 20_000.0 {
            t += ms;
            let now = planner.look(at(t));
            let v = (now.pan_deg - last.pan_deg) / ms * 1e3;
            // Between steps the speed of the step before is gone on with: off by what a step changes.
            let fastest = LIMITS.speed_deg_s + LIMITS.acceleration_deg_s2 * STEP_S;
            assert!(v.abs() <= fastest, "{v} degrees a second");
            if let Some(before) = speed {
                let a = (v - before) / ms * 1e3;
                // Mean speeds of two intervals change by no more than the acceleration, and by what one step of rounding adds.
                assert!(
                    a.abs() <= LIMITS.acceleration_deg_s2 * 1.3,
                    "{a} degrees a second squared"
                );
            }
            (last, speed) = (now, Some(v));
        }
        t - from_ms
    }

    #[test]
    fn it_arrives_without_overshoot_as_fast_as_its_limits_let_it() {
        for ms in [20.0, 33.3, 100.0] {
            let mut planner = Planner::new(LIMITS, Ptz::AHEAD);
            planner.aim(ptz(45.0, -10.0, 1.0));
            let took = glide(&mut planner, 0.0, ms) / 1e3;
            // 30 degrees a second with ramps of half a second: 45 / 30 + 0.5.
            assert!(
                (took - 2.0).abs() < 0.1 + 2.0 * ms / 1e3,
                "{took} s in steps of {ms} ms"
            );
            assert_eq!(planner.look(at(60_000.0)), ptz(45.0, -10.0, 1.0));
        }
        let mut planner = Planner::new(LIMITS, Ptz::AHEAD);
        planner.aim(ptz(45.0, 0.0, 1.0));
        let farthest = (0..400)
            .map(|i| planner.look(at(f64::from(i) * 10.0)).pan_deg)
            .fold(0.0, f64::max);
        // What adding up rounds.
        assert!(farthest <= 45.0 + 1e-9, "{farthest}");
    }

    #[test]
    fn a_new_target_on_the_way_is_taken_without_a_jolt() {
        let mut planner = Planner::new(LIMITS, Ptz::AHEAD);
        planner.aim(ptz(45.0, 0.0, 1.0));
        for i in 0..80 {
            planner.look(at(f64::from(i) * 10.0));
        }
        // It runs at full speed to the right.
        planner.aim(ptz(-45.0, 0.0, 1.0));
        glide(&mut planner, 800.0, 10.0);
        assert_eq!(planner.target().pan_deg, planner.look(at(40_000.0)).pan_deg);
    }

    #[test]
    fn zoom_is_even_and_the_picture_runs_no_faster_when_zoomed() {
        let mut planner = Planner::new(LIMITS, ptz(0.0, 0.0, 4.0));
        planner.aim(ptz(20.0, 0.0, 4.0));
        let places: Vec<f64> = (0..100)
            .map(|i| planner.look(at(f64::from(i) * 20.0)).pan_deg)
            .collect();
        let fastest = places
            .windows(2)
            .map(|p| (p[1] - p[0]) * 50.0)
            .fold(0.0, f64::max);
        assert!(
            fastest <= 30.0 / 4.0 * 1.01,
            "{fastest} degrees a second at zoom 4"
        );
        let mut planner = Planner::new(LIMITS, Ptz::AHEAD);
        planner.aim(ptz(0.0, 0.0, 8.0));
        let zooms: Vec<f64> = (0..200)
            .map(|i| planner.look(at(f64::from(i) * 20.0)).zoom)
            .collect();
        let most = zooms
            .windows(2)
            .map(|z| (z[1] / z[0]).ln() * 50.0)
            .fold(0.0, f64::max);
        assert!(
            most <= ZOOM_SPEED * 1.01 && zooms[199] == 8.0,
            "{most}, {}",
            zooms[199]
        );
    }

    #[test]
    fn what_the_source_does_not_show_is_not_looked_at() {
        assert_eq!(LIMITS.nearest(ptz(400.0, 0.0, 1.0)).pan_deg, 60.0);
        // Zoomed, it may go nearer to the edge.
        let near = LIMITS.nearest(ptz(400.0, -400.0, 4.0));
        assert!(near.pan_deg > 80.0 && near.tilt_deg < -34.0, "{near:?}");
        assert_eq!(LIMITS.nearest(ptz(f64::NAN, 0.0, 99.0)), ptz(0.0, 0.0, 8.0));
        let small = Limits {
            pan_deg: [-10.0, 30.0],
            ..LIMITS
        };
        assert_eq!(small.nearest(ptz(-50.0, 0.0, 1.0)).pan_deg, 10.0);
    }

    #[test]
    fn a_long_pause_is_not_lived_through() {
        let mut planner = Planner::new(LIMITS, Ptz::AHEAD);
        planner.look(at(0.0));
        planner.aim(ptz(10.0, 0.0, 1.0));
        assert_eq!(planner.look(at(3_600_000.0)), ptz(10.0, 0.0, 1.0));
        assert!(planner.is_at_rest());
    }
}
