//! The engine's RTP timebase as an estimator. The one place where scenarios touch `engine::timebase`.

use synoptic_base::{ClockSample, Mono, Span, Utc};
use synoptic_engine::timebase::{RtpTimebase, RtpTimebaseConfig, SenderReport, TimeHealth};

use super::camera::Camera;
use super::feed::{FrameSeen, ReportSeen};
use super::score::{Estimate, Estimator};

/// `engine::timebase::RtpTimebase`, fed as `media` feeds it.
#[derive(Clone, Debug)]
pub struct Engine {
    config: RtpTimebaseConfig,
    timebase: RtpTimebase,
    epochs: u32,
    steps: Vec<Span>,
}

impl Engine {
    /// What the daemon would run for this camera.
    pub fn new(camera: &Camera) -> Engine {
        let config = RtpTimebaseConfig {
            clock_rate_hz: camera.rate_hz,
            capture_bias: camera.declared_bias,
            capture_bias_error: camera.declared_error,
        };
        Engine {
            config,
            timebase: RtpTimebase::new(config),
            epochs: 1,
            steps: Vec::new(),
        }
    }

    /// What it says of the camera's time.
    pub fn health(&self) -> TimeHealth {
        self.timebase.health()
    }

    /// Epochs begun.
    pub fn epochs(&self) -> u32 {
        self.epochs
    }

    /// Steps of the camera's wall clock, as reported.
    pub fn steps(&self) -> &[Span] {
        &self.steps
    }
}

impl Estimator for Engine {
    fn reconnect(&mut self, _now: Mono) {
        self.timebase = RtpTimebase::new(self.config);
        self.epochs += 1;
    }

    fn report(&mut self, report: &ReportSeen) {
        // `media` drops reports of a foreign SSRC; here they come through, for a camera may misstate its own.
        self.steps.extend(self.timebase.report(SenderReport {
            wall: (report.ntp != 0).then(|| Utc::from_ntp(report.ntp)),
            rtp: report.rtp,
            arrival: report.arrival,
        }));
    }

    fn sample(&mut self, sample: ClockSample) {
        self.timebase.box_sample(sample);
    }

    fn frame(&mut self, frame: &FrameSeen) -> Option<Estimate> {
        let timed = self.timebase.frame(frame.rtp, frame.arrival);
        self.epochs += u32::from(timed.new_epoch);
        Some(Estimate::Box(timed.captured))
    }
}
