//! What others do, written from the description of what they do, for comparison on the same input.
//!
//! * [`LastReport`]: the last sender report and the nominal rate, as GStreamer's reference timestamp meta, gortsplib
//!   and mv-extractor do (without the latter's 32-bit underflow).
//! * [`LeastSquares`]: WebRTC's `RtpToNtpEstimator`: a plain line through the last 20 reports.
//! * [`floor_rule`]: the grouping of rtsp-streamsync.
//! * [`minimum_arc`]: the best grouping there is, computed with all frames in hand.

use std::collections::VecDeque;

use synoptic_base::{Mono, Span, Utc};
use synoptic_engine::timebase::RtpUnwrapper;

use super::feed::{FrameSeen, ReportSeen};
use super::score::{Estimate, Estimator};

/// `utc = report + (rtp - report's rtp) / rate`.
#[derive(Clone, Debug)]
pub struct LastReport {
    rate_hz: f64,
    last: Option<(u32, Utc)>,
}

impl LastReport {
    /// For a media clock of this rate.
    pub fn new(rate_hz: u32) -> LastReport {
        LastReport {
            rate_hz: f64::from(rate_hz),
            last: None,
        }
    }
}

impl Estimator for LastReport {
    fn reconnect(&mut self, _now: Mono) {
        self.last = None;
    }
    fn report(&mut self, report: &ReportSeen) {
        if report.ntp != 0 {
            self.last = Some((report.rtp, Utc::from_ntp(report.ntp)));
        }
    }
    fn frame(&mut self, frame: &FrameSeen) -> Option<Estimate> {
        let (rtp, utc) = self.last?;
        let ticks = f64::from(frame.rtp.wrapping_sub(rtp) as i32);
        Some(Estimate::Wall(utc + Span::from_secs_f64(ticks / self.rate_hz)))
    }
}

/// Reports in the fit.
const REPORTS: usize = 20;
/// A report further ahead of the last one is invalid.
const MAX_NTP_GAP: Span = Span::from_secs(3_600);
/// The same of its RTP time, in ticks.
const MAX_RTP_GAP: i64 = 1 << 25;
/// So many invalid ones in a row start anew.
const MAX_INVALID: u32 = 3;

/// A plain least squares line through the last 20 reports (webrtc `rtp_to_ntp_estimator.cc`).
#[derive(Clone, Debug, Default)]
pub struct LeastSquares {
    /// Unwrapped RTP time and wall time, newest first.
    reports: VecDeque<(i64, Utc)>,
    unwrapper: RtpUnwrapper,
    invalid: u32,
    /// Wall time at `origin`'s RTP time and its growth, ns a tick.
    line: Option<(i64, Utc, f64, f64)>,
}

impl LeastSquares {
    fn fit(&mut self) {
        let Some((x0, y0)) = self.reports.front().copied() else {
            return;
        };
        if self.reports.len() < 2 {
            return;
        }
        let points = || {
            self.reports
                .iter()
                .map(|(x, y)| ((x - x0) as f64, (*y - y0).as_nanos() as f64))
        };
        let n = points().count() as f64;
        let (mx, my) = (
            points().map(|p| p.0).sum::<f64>() / n,
            points().map(|p| p.1).sum::<f64>() / n,
        );
        let variance: f64 = points().map(|p| (p.0 - mx).powi(2)).sum();
        if variance < 1e-8 {
            return;
        }
        let slope = points().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>() / variance;
        self.line = Some((x0, y0, my - slope * mx, slope));
    }
}

impl Estimator for LeastSquares {
    fn reconnect(&mut self, _now: Mono) {
        *self = LeastSquares::default();
    }

    fn report(&mut self, report: &ReportSeen) {
        if report.ntp == 0 {
            return;
        }
        let (rtp, wall) = (self.unwrapper.peek(report.rtp), Utc::from_ntp(report.ntp));
        if self.reports.iter().any(|(x, y)| *x == rtp || *y == wall) {
            return;
        }
        if let Some((last_rtp, last_wall)) = self.reports.front().copied() {
            let (dx, dy) = (rtp - last_rtp, wall - last_wall);
            if dx <= 0 || dx > MAX_RTP_GAP || dy <= Span::ZERO || dy > MAX_NTP_GAP {
                self.invalid += 1;
                if self.invalid < MAX_INVALID {
                    return;
                }
                self.reports.clear();
                self.line = None;
            }
        }
        self.invalid = 0;
        self.unwrapper.unwrap(report.rtp);
        self.reports.push_front((rtp, wall));
        self.reports.truncate(REPORTS);
        self.fit();
    }

    fn frame(&mut self, frame: &FrameSeen) -> Option<Estimate> {
        let (x0, y0, offset, slope) = self.line?;
        let along = (self.unwrapper.peek(frame.rtp) - x0) as f64;
        Some(Estimate::Wall(
            y0 + Span::from_nanos((offset + slope * along).round() as i64),
        ))
    }
}

/// Spreads of the packets of rtsp-streamsync: wait until every camera has a frame, take the newest head `T`, and of
/// every camera the newest frame not after `T`. `cameras` holds capture times, sorted, of frames that all arrive.
pub fn floor_rule(cameras: &[Vec<Mono>]) -> Vec<Span> {
    let mut heads = vec![0_usize; cameras.len()];
    let mut spreads = Vec::new();
    loop {
        let at = |heads: &[usize]| -> Option<Vec<Mono>> {
            heads
                .iter()
                .zip(cameras)
                .map(|(i, c)| c.get(*i).copied())
                .collect()
        };
        let Some(times) = at(&heads) else { return spreads };
        let Some(query) = times.iter().max().copied() else {
            return spreads;
        };
        for (head, camera) in heads.iter_mut().zip(cameras) {
            while camera.get(*head + 1).is_some_and(|t| *t <= query) {
                *head += 1;
            }
        }
        let Some(times) = at(&heads) else { return spreads };
        if let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) {
            spreads.push(*last - *first);
        }
        for head in &mut heads {
            *head += 1;
        }
    }
}

/// Spreads of the best grouping: one packet for each of the first camera's frames, shifts between cameras chosen so
/// that the mean spread is the least. Right for cameras of one rate that lose no frame, whose phases do not slip:
/// there a grouping is a shift for each camera, and the best one lies under the arc that leaves out the widest gap.
pub fn minimum_arc(cameras: &[Vec<Mono>]) -> Vec<Span> {
    let Some(frames) = cameras.iter().map(Vec::len).min().filter(|n| *n > 2) else {
        return Vec::new();
    };
    // Each of N cyclic cuts of the sorted phases begins the arc with another camera; try them all.
    let mut order: Vec<usize> = (0..cameras.len()).collect();
    order.sort_by_key(|c| cameras[*c][0]);
    let cut = |n: usize| {
        let ahead: Vec<usize> = order[..n].to_vec();
        let spreads = (0..frames - 1).map(|i| {
            let times = (0..cameras.len()).map(|c| cameras[c][i + usize::from(ahead.contains(&c))]);
            let (first, last) = times.fold(
                (Mono::from_nanos(i64::MAX), Mono::from_nanos(i64::MIN)),
                |s, t| (s.0.min(t), s.1.max(t)),
            );
            last - first
        });
        spreads.collect::<Vec<Span>>()
    };
    (0..cameras.len())
        .map(cut)
        .min_by_key(|s| s.iter().copied().sum::<Span>())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{BoxClock, camera, run};

    #[test]
    fn clean_reports_serve_both() {
        let camera = camera().drifting(0.0);
        let length = Span::from_secs(120);
        for seed in 0..3 {
            let last = run(
                &mut LastReport::new(90_000),
                &camera,
                &BoxClock::default(),
                length,
                seed,
            );
            let line = run(
                &mut LeastSquares::default(),
                &camera,
                &BoxClock::default(),
                length,
                seed,
            );
            assert!(
                last.error(0.99) < Span::from_millis(2),
                "seed {seed}: {}",
                last.error(0.99)
            );
            assert!(
                line.error(0.99) < Span::from_millis(2),
                "seed {seed}: {}",
                line.error(0.99)
            );
            assert!(line.untimed > last.untimed);
        }
    }

    #[test]
    fn a_line_through_late_reports_is_worse_than_the_last_one_in_the_median() {
        let camera = camera().late_reports(0.05, 50, 1_700);
        let length = Span::from_secs(600);
        let score = |e: &mut dyn FnMut() -> Score| e().error(0.5);
        let last = score(&mut || {
            run(
                &mut LastReport::new(90_000),
                &camera,
                &BoxClock::default(),
                length,
                1,
            )
        });
        let line = score(&mut || {
            run(
                &mut LeastSquares::default(),
                &camera,
                &BoxClock::default(),
                length,
                1,
            )
        });
        assert!(line > last, "{line} against {last}");
    }
    use crate::scenario::Score;

    #[test]
    fn the_floor_rule_is_wider_than_the_best_grouping() {
        let camera = |phase_ms: i64| -> Vec<Mono> {
            (0..100)
                .map(|i| Mono::from_nanos(phase_ms * 1_000_000 + i * 66_666_667))
                .collect()
        };
        // 0, 20 and 60 ms of 67: the best packet runs from 60 over 67 to 87.
        let cameras = [camera(0), camera(20), camera(60)];
        let mean = |s: Vec<Span>| s.iter().copied().sum::<Span>() / s.len() as i64;
        let (best, floor) = (mean(minimum_arc(&cameras)), mean(floor_rule(&cameras)));
        assert!(
            (best - Span::from_micros(26_667)).abs() < Span::from_micros(2),
            "{best}"
        );
        assert!(
            (floor - Span::from_millis(60)).abs() < Span::from_micros(2),
            "{floor}"
        );
    }
}
