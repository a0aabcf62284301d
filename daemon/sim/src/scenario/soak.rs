//! A month of a hundred cameras: wraps, summer time, a leap second, reboots, stalls, and a box whose clock is
//! disciplined all the while.

use synoptic_base::{Mono, Span};

use super::adapter::Engine;
use super::camera::{Camera, camera};
use super::clocks::BoxClock;
use super::feed::{Event, Feed};
use super::score::{Estimate, Estimator};

/// Each day has this many seconds at full frame rate, the rest of it idles (a smart codec).
const AWAKE_S: f64 = 30.0;
const AWAKE_FPS: f64 = 15.0;
const IDLE_FPS: f64 = 1.0 / 8.0;
const DAY_S: f64 = 86_400.0;
/// Summer time ends, and a leap second comes, on these days.
const SUMMER_TIME_DAY: f64 = 0.4;
const LEAP_DAY: f64 = 0.7;
/// A timebase takes a frame that is off by more than its bound for right: so many of a million may be.
const WRONG_OF_A_MILLION: u64 = 1_000;

/// How long, and how many.
#[derive(Clone, Copy, Debug)]
pub struct Soak {
    /// Simulated days.
    pub days: f64,
    /// Cameras.
    pub cameras: u32,
    /// Threads that share the cameras.
    pub threads: u32,
    /// Seed.
    pub seed: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Soaked {
    /// Frames timed.
    pub frames: u64,
    /// Sender reports taken.
    pub reports: u64,
    /// Wraps of RTP clocks.
    pub wraps: u64,
    /// Frames whose truth lies outside their bound.
    pub wrong: u64,
    /// Frames whose capture time is not after the one before, in one epoch, by more than their bounds explain.
    pub backwards: u64,
    /// Cameras that reported fewer or more steps of their wall clock than they made.
    pub steps_missed: u64,
}

impl Soaked {
    /// Whether the month was without fault: 99.9 % of the bounds hold, time never runs back, every step is told.
    pub fn is_good(&self) -> bool {
        self.frames > 0
            && self.wrong * 1_000_000 <= self.frames * WRONG_OF_A_MILLION
            && self.backwards == 0
            && self.steps_missed == 0
    }

    fn add(&mut self, other: Soaked) {
        self.frames += other.frames;
        self.reports += other.reports;
        self.wraps += other.wraps;
        self.wrong += other.wrong;
        self.backwards += other.backwards;
        self.steps_missed += other.steps_missed;
    }
}

impl Soak {
    /// Runs it.
    pub fn run(&self) -> Soaked {
        let share = |thread: u32| {
            let mine = (0..self.cameras).filter(move |c| c % self.threads.max(1) == thread);
            mine.map(|c| self.one(c)).fold(Soaked::default(), |mut all, one| {
                all.add(one);
                all
            })
        };
        std::thread::scope(|scope| {
            let running: Vec<_> = (0..self.threads.max(1))
                .map(|t| scope.spawn(move || share(t)))
                .collect();
            let mut all = Soaked::default();
            for thread in running {
                match thread.join() {
                    Ok(one) => all.add(one),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            all
        })
    }

    /// The camera of this number: each has its own quartz, and every tenth local time instead of UTC.
    fn camera(&self, number: u32) -> Camera {
        let n = f64::from(number);
        let length = self.days * DAY_S;
        let mut camera = camera()
            .drifting((n * 7.0) % 60.0 - 30.0)
            .wandering(0.5, DAY_S)
            .reports_every(20.0)
            .rtp_from(number.wrapping_mul(0x9e37_79b9))
            .wall_steps(length * LEAP_DAY, -1.0)
            .at_fps(IDLE_FPS);
        if number.is_multiple_of(10) {
            camera = camera.wall_steps(length * SUMMER_TIME_DAY, -3_600.0);
        }
        for day in 0..self.days.ceil() as u32 {
            let at = f64::from(day) * DAY_S + 3_600.0 + n;
            camera = camera.then_fps(at, AWAKE_FPS).then_fps(at + AWAKE_S, IDLE_FPS);
        }
        if number % 10 == 3 {
            camera = camera.reboots(length / 2.0 + n, number);
        }
        if number % 10 == 5 {
            camera = camera.stalls(length / 3.0, 5.0);
        }
        camera
    }

    fn one(&self, number: u32) -> Soaked {
        let camera = self.camera(number);
        // A disciplined box: half a ppm, now this way, now that.
        let days = self.days.ceil() as i64;
        let slew = |day: i64| {
            let ppm = if day % 2 == 0 { 0.5 } else { -0.5 };
            (Span::from_secs(86_400 * day), Span::from_secs(86_400), ppm)
        };
        let clock = BoxClock {
            slews: (0..days).map(slew).collect(),
            ..BoxClock::default()
        };
        let length = Span::from_secs_f64(self.days * DAY_S);
        let mut engine = Engine::new(&camera);
        let mut soaked = Soaked::default();
        let mut last: Option<(u32, u32, Mono)> = None;
        for event in Feed::new(&camera, &clock, length, self.seed ^ u64::from(number)) {
            match event {
                Event::Reconnect(now) => {
                    engine.reconnect(now);
                    last = None;
                }
                Event::Report(report) => {
                    soaked.reports += 1;
                    engine.report(&report);
                }
                Event::Frame(frame) => {
                    let Some(Estimate::Box(captured)) = engine.frame(&frame) else {
                        continue;
                    };
                    soaked.frames += 1;
                    let error = (captured.mono - frame.captured).abs();
                    soaked.wrong += u64::from(error > captured.rel_error);
                    if let Some((epoch, rtp, mono)) = last {
                        soaked.wraps += u64::from(frame.rtp < rtp && epoch == engine.epochs());
                        let back = mono - captured.mono;
                        let explained = captured.rel_error * 2;
                        soaked.backwards += u64::from(epoch == engine.epochs() && back > explained);
                    }
                    last = Some((engine.epochs(), frame.rtp, captured.mono));
                }
            }
        }
        soaked.steps_missed = u64::from(engine.steps().len() != camera.wall.steps.len());
        soaked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_four_cameras_is_without_fault() {
        let soak = Soak {
            days: 1.0,
            cameras: 4,
            threads: 1,
            seed: 1,
        };
        let soaked = soak.run();
        assert!(soaked.is_good(), "{soak:?}: {soaked:?}");
        assert!(soaked.wraps >= 4, "{soaked:?}");
    }
}
