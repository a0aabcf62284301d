use super::*;
use crate::timebase::RungChange;

const RATE: u32 = 90_000;
const LIGHT_TO_WIRE: Span = Span::from_millis(45);

fn timebase() -> RtpTimebase {
    RtpTimebase::new(RtpTimebaseConfig {
        clock_rate_hz: RATE,
        capture_bias: Span::ZERO,
        capture_bias_error: Span::from_millis(5),
    })
}

/// A camera whose media clock starts near the wrap and whose wall clock is `wall_off` away.
struct Camera {
    start: u32,
    wall_off: Span,
}
impl Camera {
    fn rtp(&self, at: Mono) -> u32 {
        self.start
            .wrapping_add((at.as_nanos() as i128 * i128::from(RATE) / 1_000_000_000) as u32)
    }
    fn report(&self, at: Mono) -> SenderReport {
        SenderReport {
            wall: Some(Utc::from_nanos(1_700_000_000_000_000_000 + at.as_nanos()) + self.wall_off),
            rtp: self.rtp(at),
            arrival: at + Span::from_micros(200),
        }
    }
}
fn frame_at(i: i64) -> Mono {
    Mono::from_nanos(1_000_000_000 + i * 66_666_667)
}
fn arrival(i: i64) -> Mono {
    frame_at(i) + LIGHT_TO_WIRE + Span::from_millis(i % 7)
}

#[test]
fn the_first_frame_has_a_true_bound_and_reports_narrow_it() {
    let camera = Camera {
        start: u32::MAX - 50_000,
        wall_off: Span::from_secs(2),
    };
    let mut t = timebase();
    let first = t.frame(camera.rtp(frame_at(0)), arrival(0));
    assert_eq!(first.captured.source, TimeSource::Arrival);
    assert!((first.captured.mono - frame_at(0)).abs() <= first.captured.rel_error);
    for i in 1..600 {
        if i % 75 == 20 {
            t.report(camera.report(frame_at(i) + Span::from_millis(31)));
        }
        let timed = t.frame(camera.rtp(frame_at(i)), arrival(i));
        assert!(
            (timed.captured.mono - frame_at(i)).abs() <= timed.captured.rel_error,
            "frame {i}"
        );
        assert_eq!(
            timed.media.as_micros() / 1000,
            (i * 66_666_667) / 1_000_000,
            "frame {i}"
        );
    }
    let health = t.health();
    assert_eq!(health.source, Some(TimeSource::SenderReport));
    assert!(health.rel_error.unwrap() <= Span::from_millis(8));
    assert_eq!(health.reports, 8);
}

#[test]
fn a_wrong_or_stepping_wall_clock_never_moves_a_frame() {
    let mut camera = Camera {
        start: 5,
        wall_off: Span::from_secs(2),
    };
    let mut t = timebase();
    let mut steps = Vec::new();
    for i in 0..1500 {
        if i == 700 {
            camera.wall_off = Span::from_secs(-3600);
        }
        if i % 75 == 20 {
            steps.extend(t.report(camera.report(frame_at(i))));
        }
        let timed = t.frame(camera.rtp(frame_at(i)), arrival(i));
        assert!(
            (timed.captured.mono - frame_at(i)).abs() <= timed.captured.rel_error,
            "frame {i}"
        );
    }
    assert_eq!(steps.len(), 1);
    assert!(
        (steps[0] - Span::from_secs(-3602)).abs() < Span::from_millis(1),
        "{}",
        steps[0]
    );
    assert_eq!(t.health().wall_steps, 1);
}

#[test]
fn nonsense_reports_are_counted_and_change_nothing() {
    let camera = Camera {
        start: 5,
        wall_off: Span::ZERO,
    };
    let mut t = timebase();
    for i in 0..100 {
        let foreign = SenderReport {
            rtp: camera.rtp(frame_at(i)) ^ 0x4000_0000,
            ..camera.report(frame_at(i))
        };
        if i % 10 == 5 {
            t.report(foreign);
        }
        let timed = t.frame(camera.rtp(frame_at(i)), arrival(i));
        assert_eq!(timed.captured.source, TimeSource::Arrival);
    }
    assert_eq!(t.health().bad_reports, 10);
}

#[test]
fn a_media_clock_that_starts_anew_is_a_new_epoch_at_its_third_frame() {
    let camera = Camera {
        start: 900_000_000,
        wall_off: Span::ZERO,
    };
    let mut t = timebase();
    assert!(!t.frame(camera.rtp(frame_at(0)), arrival(0)).new_epoch);
    assert!(!t.frame(camera.rtp(frame_at(1)), arrival(1)).new_epoch);
    for i in 2..4 {
        let timed = t.frame((i as u32 - 2) * 6000, arrival(i));
        assert!(timed.outlier && !timed.new_epoch);
        assert!((timed.captured.mono - frame_at(i)).abs() <= timed.captured.rel_error);
    }
    let timed = t.frame(12_000, arrival(4));
    assert!(timed.new_epoch && !timed.outlier);
    assert_eq!(timed.media.as_micros(), 0);
    assert!((timed.captured.mono - frame_at(4)).abs() <= timed.captured.rel_error);
}

#[test]
fn another_ssrc_is_a_new_epoch_at_once() {
    let camera = Camera {
        start: 900_000_000,
        wall_off: Span::ZERO,
    };
    let mut t = timebase();
    t.restart();
    assert!(!t.frame(camera.rtp(frame_at(0)), arrival(0)).new_epoch);
    t.restart();
    let timed = t.frame(5, arrival(1));
    assert!(timed.new_epoch);
    assert_eq!(timed.media.as_micros(), 0);
}

/// A camera with every vice: what `Vices` leaves at its default is honest.
struct Vices {
    rate_hz: u32,
    /// Media seconds per true second.
    speed: f64,
    /// Arrival delay in ms, of a frame at a second and with a random number in 0..1.
    delay_ms: fn(f64, f64) -> f64,
    /// Delay of a report in ms, and how late its media time is, in ms.
    report_ms: fn(f64, f64) -> (f64, f64),
    /// Wall clock off, in s, at a second.
    wall_s: fn(f64) -> f64,
    /// Media clock off, in s, at a second.
    media_s: fn(f64) -> f64,
    report_every_s: f64,
}

const HONEST: Vices = Vices {
    rate_hz: 90_000,
    speed: 1.0,
    delay_ms: |_, u| 45.0 - 1.5 * u.ln(),
    report_ms: |_, u| (-0.3 * u.ln(), 0.0),
    wall_s: |_| 2.0,
    media_s: |_| 0.0,
    report_every_s: 4.9,
};

/// Error, bound and scatter in ms, at a second.
struct Seen {
    s: f64,
    error: f64,
    bound: f64,
    scatter: f64,
    /// Error of the camera's own wall clock as read through its reports.
    camera: Option<f64>,
    timed: Timed,
}

fn live(vices: &Vices, seed: u64, secs: f64) -> (Vec<Seen>, Vec<TimeEvent>, RtpTimebase) {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let ppm = rng.random_range(-40.0..40.0);
    let mut t = RtpTimebase::new(RtpTimebaseConfig {
        clock_rate_hz: vices.rate_hz,
        capture_bias: Span::ZERO,
        capture_bias_error: Span::from_millis(2),
    });
    let start: u32 = rng.random();
    let rtp = |s: f64| {
        let media = (s * (1.0 + ppm * 1e-6) + (vices.media_s)(s)) * vices.speed;
        start.wrapping_add((media * f64::from(vices.rate_hz)).floor() as i64 as u32)
    };
    let mono = |s: f64| Mono::from_nanos(3_600_000_000_000 + (s * 1e9) as i64);
    let wall = |s: f64| Utc::from_nanos(1_790_000_000_000_000_000 + ((s + (vices.wall_s)(s)) * 1e9) as i64);
    let (mut seen, mut events) = (Vec::new(), Vec::new());
    let mut next_report = 1.3;
    let mut last_arrival = mono(0.0);
    let mut u = move || rng.random_range(1e-9..1.0);
    for i in 0..(secs * 15.0) as i64 {
        let s = i as f64 / 15.0;
        let arrival = (mono(s) + Span::from_secs_f64((vices.delay_ms)(s, u()) / 1e3)).max(last_arrival);
        last_arrival = arrival;
        while mono(next_report) < arrival {
            let (delay, late) = (vices.report_ms)(next_report, u());
            t.report(SenderReport {
                wall: Some(wall(next_report)),
                rtp: rtp(next_report - late / 1e3),
                arrival: mono(next_report) + Span::from_secs_f64(delay / 1e3),
            });
            next_report += vices.report_every_s;
        }
        let timed = t.frame(rtp(s), arrival);
        events.extend(std::iter::from_fn(|| t.poll()));
        seen.push(Seen {
            s,
            error: (timed.captured.mono - mono(s)).as_millis_f64(),
            bound: timed.captured.rel_error.as_millis_f64(),
            scatter: timed.scatter.as_millis_f64(),
            camera: t.camera_utc(rtp(s)).map(|c| (c - wall(s)).as_millis_f64()),
            timed,
        });
    }
    (seen, events, t)
}

fn quantile(values: impl Iterator<Item = f64>, q: f64) -> f64 {
    let mut all: Vec<f64> = values.map(f64::abs).collect();
    all.sort_by(f64::total_cmp);
    all[((all.len() - 1) as f64 * q) as usize]
}

fn covered(seen: &[Seen]) -> f64 {
    seen.iter().filter(|f| f.error.abs() <= f.bound).count() as f64 / seen.len() as f64
}

#[test]
fn clean_and_dirty_reports_meet_the_targets() {
    let dirty = Vices {
        report_ms: |_, u| {
            let noise = -0.3 * (u * 7.7).fract().max(1e-9).ln();
            if u < 0.3 {
                (noise, -300.0 * (u / 0.3).ln())
            } else {
                (noise, 0.0)
            }
        },
        ..HONEST
    };
    for (name, vices, limit) in [("clean", HONEST, 0.3), ("dirty", dirty, 0.5)] {
        let (mut errors, mut cameras) = (Vec::new(), Vec::new());
        for seed in 0..3 {
            let (seen, _, _) = live(&vices, seed, 240.0);
            assert!(covered(&seen) >= 0.999, "{name} {seed}: {}", covered(&seen));
            let late: Vec<&Seen> = seen.iter().filter(|f| f.s >= 60.0).collect();
            errors.extend(late.iter().map(|f| f.error));
            cameras.extend(late.iter().filter_map(|f| f.camera));
            assert!(late.iter().all(|f| f.scatter <= 1.0), "{name}");
        }
        let at = |v: &[f64], q| quantile(v.iter().copied(), q);
        eprintln!(
            "{name}: box p50 {:.3} p99 {:.3} ms, camera wall p50 {:.3} p99 {:.3} ms",
            at(&errors, 0.5),
            at(&errors, 0.99),
            at(&cameras, 0.5),
            at(&cameras, 0.99)
        );
        assert!(
            at(&errors, 0.99) <= limit && at(&cameras, 0.99) <= limit,
            "{name}"
        );
    }
}

#[test]
fn an_ntp_step_moves_no_frame_and_is_found_at_its_first_report() {
    for step in ["250 ms", "-20 s", "1 h", "1 day"] {
        let vices = Vices {
            wall_s: match step {
                "250 ms" => |s| if s > 100.0 { 0.25 } else { 0.0 },
                "-20 s" => |s| if s > 100.0 { -20.0 } else { 0.0 },
                "1 h" => |s| if s > 100.0 { 3600.0 } else { 0.0 },
                _ => |s| if s > 100.0 { 86_400.0 } else { 0.0 },
            },
            ..HONEST
        };
        let (seen, events, t) = live(&vices, 9, 180.0);
        assert!(
            seen.iter().filter(|f| f.s > 60.0).all(|f| f.error.abs() < 0.5),
            "{step}"
        );
        let suspects = events
            .iter()
            .filter(|e| matches!(e, TimeEvent::WallSuspect(_)))
            .count();
        let steps = events
            .iter()
            .filter(|e| matches!(e, TimeEvent::WallStep(_)))
            .count();
        assert_eq!((suspects, steps, t.health().wall_steps), (1, 1, 1), "{step}");
    }
}

#[test]
fn clock_rates_and_liars() {
    for rate_hz in [8_000, 16_000, 44_100, 48_000, 90_000] {
        let (seen, _, _) = live(&Vices { rate_hz, ..HONEST }, 3, 90.0);
        assert!(covered(&seen) >= 0.999, "{rate_hz}");
    }
    for speed in [21.0 / 25.0, 10.5] {
        let (seen, events, t) = live(&Vices { speed, ..HONEST }, 4, 180.0);
        assert!(events.iter().any(|e| matches!(e, TimeEvent::Rate(_))), "{speed}");
        let rate = t.health().true_rate_hz.unwrap();
        assert!((rate / (90_000.0 * speed) - 1.0).abs() < 1e-3, "{speed}: {rate}");
        let settled: Vec<&Seen> = seen.iter().filter(|f| f.s > 120.0).collect();
        assert!(
            settled.iter().all(|f| f.error.abs() <= f.bound && f.bound < 8.0),
            "{speed}"
        );
        assert!(covered(&seen) >= 0.995, "{speed}: {}", covered(&seen));
        assert!(seen.iter().all(|f| !f.timed.new_epoch), "{speed}");
    }
}

#[test]
fn pre_roll_stall_and_slower_path_stay_inside_the_bound() {
    // Five seconds of stored frames at once; one stall of 3 s; a path 30 ms slower for good.
    type Delay = fn(f64, f64) -> f64;
    let bad: [(&str, Delay); 3] = [
        ("pre-roll", |s, u| {
            if s < 5.0 {
                (5.0 - s) * 1e3 + 45.0
            } else {
                45.0 - 1.5 * u.ln()
            }
        }),
        ("stall", |s, u| {
            if (100.0..103.0).contains(&s) {
                (103.0 - s) * 1e3 + 45.0
            } else {
                45.0 - 1.5 * u.ln()
            }
        }),
        ("path", |s, u| {
            45.0 - 1.5 * u.ln() + if s > 100.0 { 30.0 } else { 0.0 }
        }),
    ];
    for (name, delay_ms) in bad {
        for report_every_s in [4.9, 1e9] {
            let (seen, events, _) = live(
                &Vices {
                    delay_ms,
                    report_every_s,
                    ..HONEST
                },
                5,
                200.0,
            );
            assert!(
                covered(&seen) >= 0.998,
                "{name} {report_every_s}: {}",
                covered(&seen)
            );
            let after: Vec<f64> = seen.iter().filter(|f| f.s > 150.0).map(|f| f.error).collect();
            let before: Vec<f64> = seen
                .iter()
                .filter(|f| (60.0..99.0).contains(&f.s))
                .map(|f| f.error)
                .collect();
            let moved = quantile(after.iter().copied(), 0.5) - quantile(before.iter().copied(), 0.5);
            assert!(moved.abs() < 1.0, "{name} {report_every_s}: moved {moved} ms");
            if name == "pre-roll" && report_every_s < 10.0 {
                assert!(
                    events.iter().any(|e| matches!(e, TimeEvent::Better { .. })),
                    "{events:?} {:?}",
                    seen[0].timed
                );
            }
            if name == "path" {
                let told = |e: &TimeEvent| match e {
                    TimeEvent::Path(by) => Some(by.as_millis_f64()),
                    _ => None,
                };
                let total: f64 = events.iter().filter_map(told).sum();
                assert!((total - 30.0).abs() < 1.5, "{total}");
            }
        }
    }
}

#[test]
fn a_bound_from_the_first_frame_that_improves() {
    for seed in 0..4 {
        let (seen, events, t) = live(&HONEST, seed, 65.0);
        let about_bias = |s: f64| seen[(s * 15.0) as usize].scatter;
        assert!(seen[0].bound <= 90.0 && about_bias(1.0) <= 50.0 && about_bias(60.0) <= 1.0);
        assert!(about_bias(30.0) <= 5.0, "{}", about_bias(30.0));
        assert!(matches!(
            events[0],
            TimeEvent::Rung(RungChange { from: None, .. })
        ));
        assert!(events.iter().any(|e| matches!(e, TimeEvent::Better { .. })));
        let again = t.recaptured(seen[0].timed.media).unwrap();
        let truth = Mono::from_nanos(3_600_000_000_000);
        assert!((again.mono - truth).abs() <= again.rel_error);
        assert!(again.rel_error < Span::from_millis(4));
    }
}

#[test]
fn single_stamps_hours_away_and_a_pause_of_the_media_clock() {
    let vices = Vices {
        media_s: |s| match () {
            () if (s * 15.0) as i64 % 67 == 66 => -9_800.0,
            () if (s * 15.0) as i64 % 101 == 100 => 30_000.0,
            () => 0.0,
        },
        report_every_s: 1e9,
        ..HONEST
    };
    let (seen, _, t) = live(&vices, 6, 100.0);
    assert!(seen.iter().all(|f| !f.timed.new_epoch));
    assert!(t.health().wrong_stamps >= 30);
    assert!(covered(&seen) >= 0.999, "{}", covered(&seen));
    assert!(seen.windows(2).all(|w| w[0].timed.media < w[1].timed.media));
}

#[test]
fn per_packet_time_survives_a_step_between_reports() {
    let camera = Camera {
        start: 77,
        wall_off: Span::from_secs(5),
    };
    let stepped = Camera {
        start: 77,
        wall_off: Span::from_millis(5_250),
    };
    let mut t = timebase();
    for i in 0..900 {
        let camera = if i >= 470 { &stepped } else { &camera };
        let at = frame_at(i);
        if i % 75 == 20 {
            t.report(camera.report(at));
        }
        let timed = t.frame(camera.rtp(at), arrival(i));
        t.stamp(
            StampKind::AbsCaptureTime,
            camera.rtp(at),
            camera.report(at).wall.unwrap(),
            arrival(i),
        );
        assert!(
            (timed.captured.mono - at).abs() <= timed.captured.rel_error,
            "frame {i}"
        );
        if i > 100 {
            assert_eq!(timed.captured.source, TimeSource::PacketNtp, "frame {i}");
            assert!(
                (timed.captured.mono - at).abs() < Span::from_millis(1),
                "frame {i}"
            );
        }
    }
    assert_eq!(t.health().wall_steps, 1);
}

#[test]
fn state_is_small() {
    let (_, _, t) = live(&HONEST, 1, 400.0);
    // 512 envelope points of 16 bytes, 64 checkpoints, 64 clock samples, 64 + 64 reports, and the struct itself.
    let bytes = 512 * 16 + 64 * 16 + 64 * 16 + 64 * 24 + 64 * 32 + size_of_val(&t);
    assert!(bytes < 20_000, "{bytes}");
}

#[test]
fn what_the_box_read_late_is_in_the_first_bounds_until_something_was_read_in_time() {
    // An overloaded box reads the first frames and the first report up to 400 ms after they came.
    let camera = Camera {
        start: 7,
        wall_off: Span::ZERO,
    };
    let late = |i: i64| Span::from_millis((400 - 60 * i).max(0));
    for told in [true, false] {
        let mut t = timebase();
        let mut outside = 0;
        let mut bounds = Vec::new();
        for i in 0..60 {
            let read = arrival(i) + late(i);
            if told && late(i) > Span::ZERO {
                t.waited(read, late(i));
            }
            if i == 3 {
                let mut report = camera.report(frame_at(i) + Span::from_millis(20));
                report.arrival += late(i);
                if told {
                    t.waited(report.arrival, late(i));
                }
                t.report(report);
            }
            let timed = t.frame(camera.rtp(frame_at(i)), read);
            let off = (timed.captured.mono - frame_at(i)).abs();
            outside += u32::from(off > timed.captured.rel_error);
            bounds.push(timed.captured.rel_error);
        }
        if told {
            assert_eq!(outside, 0, "{bounds:?}");
            // Half of what may lie between, the wait included.
            assert!(bounds[0] >= Span::from_millis(270), "{}", bounds[0]);
        } else {
            assert!(
                outside > 0,
                "a wait that nobody knows of moves the first frames out of their bounds"
            );
        }
        assert!(
            bounds[59] <= Span::from_millis(100),
            "it narrows again: {}",
            bounds[59]
        );
    }
}
