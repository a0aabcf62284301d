//! The clock doctor: what is wrong with a camera's clocks, and how to mend it, in plain values.

use synoptic_base::{Mono, Span};

use super::TimeHealth;

/// A camera clock this far off, whole quarter hours taken out, is not a time zone mistake but simply wrong.
const ZONE_REST: Span = Span::from_secs(30);
const QUARTER: Span = Span::from_secs(900);
/// Time zones reach from −12 h to +14 h.
const MAX_ZONE: Span = Span::from_secs(14 * 3600);
/// Below this a camera's clock is as good as people notice.
const OFFSET_NOTED: Span = Span::from_secs(2);
/// Declared and delivered frame rates that differ by more than this part are different.
const RATE_DIFFERS: f64 = 0.05;
/// Spread of reports up to which the grades A, B, C, D reach: clean cameras scatter by 0.02 ms, usual servers by 1 to 3
/// ms, those that anchor at send time by hundreds.
const GRADES: [(Span, Grade); 4] = [
    (Span::from_millis(1), Grade::A),
    (Span::from_millis(5), Grade::B),
    (Span::from_millis(20), Grade::C),
    (Span::from_millis(100), Grade::D),
];
/// A rate is counted over this.
const FPS_WINDOW: Span = Span::from_secs(10);

/// Quality of a camera's sender reports, by the spread of (NTP − rtp/rate).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Within 1 ms.
    A,
    /// Within 5 ms.
    B,
    /// Within 20 ms.
    C,
    /// Within 100 ms.
    D,
    /// Worse.
    F,
}

impl Grade {
    /// The grade of a spread.
    pub fn of(spread: Span) -> Grade {
        GRADES
            .into_iter()
            .find(|(most, _)| spread <= *most)
            .map_or(Grade::F, |(_, g)| g)
    }

    /// Its letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Grade::A => "A",
            Grade::B => "B",
            Grade::C => "C",
            Grade::D => "D",
            Grade::F => "F",
        }
    }
}

/// What the doctor found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Finding {
    /// The camera's clock is off by whole quarter hours: a wrong time zone, or summer time.
    Zone(Span),
    /// The camera's clock is off.
    Offset(Span),
    /// The camera's clock was never set: it is decades off.
    NeverSet,
    /// The camera's clock steps.
    Steps(u32),
    /// The media clock runs at another rate than declared.
    RateLie {
        /// Ticks a second, declared.
        declared_hz: u32,
        /// Ticks a second, measured.
        true_hz: f64,
    },
    /// Another number of frames a second than declared.
    FpsLie {
        /// Declared.
        declared: f64,
        /// Delivered.
        delivered: f64,
    },
    /// Its sender reports scatter.
    DirtyReports(Grade),
    /// Single frames carry wrong stamps.
    WrongStamps(u32),
    /// A better source of time is not used, for this reason.
    Refused(synoptic_base::TimeSource, super::RungReason),
}

impl Finding {
    /// In a word, as in documents and events.
    pub const fn word(&self) -> &'static str {
        match self {
            Finding::Zone(_) => "zone",
            Finding::Offset(_) => "offset",
            Finding::NeverSet => "never_set",
            Finding::Steps(_) => "steps",
            Finding::RateLie { .. } => "rate",
            Finding::FpsLie { .. } => "fps",
            Finding::DirtyReports(_) => "reports",
            Finding::WrongStamps(_) => "stamps",
            Finding::Refused(..) => "refused",
        }
    }

    /// In a sentence, with what to do.
    pub fn text(&self) -> String {
        let secs = |s: Span| format!("{:+.1} s", s.as_secs_f64());
        match self {
            Finding::Zone(by) => format!(
                "Its clock is off by {:+.2} h: check its time zone and summer time.",
                by.as_secs_f64() / 3600.0
            ),
            Finding::Offset(by) => format!("Its clock is {} off: point its NTP at this box.", secs(*by)),
            Finding::NeverSet => "Its clock was never set: point its NTP at this box.".to_owned(),
            Finding::Steps(n) => format!("Its clock stepped {n} times: its NTP client does not hold it."),
            Finding::RateLie { declared_hz, true_hz } => format!(
                "Its media clock runs at {true_hz:.0} ticks a second, not {declared_hz}: corrected here, others play it \
                 at the wrong speed."
            ),
            Finding::FpsLie { declared, delivered } => {
                format!(
                    "It declares {declared:.1} frames a second and delivers {delivered:.1}: check exposure and network."
                )
            }
            Finding::DirtyReports(grade) => {
                format!(
                    "Its sender reports scatter (grade {}): it is short of network or processor.",
                    grade.letter()
                )
            }
            Finding::WrongStamps(n) => {
                format!("{n} frames carried impossible time stamps: update its firmware.")
            }
            Finding::Refused(source, reason) => {
                format!("The source {} is not used: {}.", source.name(), reason.text())
            }
        }
    }
}

/// All there is to say about a camera's clocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// Camera's wall clock − UTC; `None` when it tells no time, or the box knows none.
    pub offset: Option<Span>,
    /// How much faster its media clock runs than the box's.
    pub ppm: Option<f64>,
    /// Quality of its reports; `None` below three.
    pub grade: Option<Grade>,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
}

/// Looks at a camera. `utc_minus_mono` is the box's, `None` while it knows no UTC; `declared_fps` what the stream says of
/// itself.
pub fn diagnose(health: &TimeHealth, utc_minus_mono: Option<Span>, declared_fps: Option<f64>) -> Diagnosis {
    let offset = health
        .wall_minus_mono
        .zip(utc_minus_mono)
        .map(|(wall, utc)| wall - utc);
    let grade = health.report_spread.map(Grade::of);
    let mut findings = Vec::new();
    if let Some((source, reason)) = health.refused {
        findings.push(Finding::Refused(source, reason));
    }
    findings.extend(offset.and_then(offset_finding));
    if health.wall_steps > 0 {
        findings.push(Finding::Steps(health.wall_steps));
    }
    if let Some((declared_hz, true_hz)) = health.declared_rate_hz.zip(health.true_rate_hz) {
        findings.push(Finding::RateLie { declared_hz, true_hz });
    }
    if let (Some(declared), Some(delivered)) = (declared_fps, health.fps)
        && (declared - delivered).abs() > declared * RATE_DIFFERS
    {
        findings.push(Finding::FpsLie { declared, delivered });
    }
    if let Some(grade) = grade.filter(|g| *g >= Grade::D) {
        findings.push(Finding::DirtyReports(grade));
    }
    if health.wrong_stamps > 0 {
        findings.push(Finding::WrongStamps(health.wrong_stamps));
    }
    Diagnosis {
        offset,
        ppm: health.drift_ppm,
        grade,
        findings,
    }
}

fn offset_finding(offset: Span) -> Option<Finding> {
    // Ten years: cameras without a clock battery wake in 1970 or 2000.
    if offset.abs() > Span::from_secs(3650 * 86_400) {
        return Some(Finding::NeverSet);
    }
    let quarters = (offset.as_secs_f64() / QUARTER.as_secs_f64()).round() as i64;
    if quarters != 0
        && offset.abs() <= MAX_ZONE + ZONE_REST
        && (offset - QUARTER * quarters).abs() <= ZONE_REST
    {
        return Some(Finding::Zone(QUARTER * quarters));
    }
    (offset.abs() > OFFSET_NOTED).then_some(Finding::Offset(offset))
}

/// Counts frames.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FrameRate {
    began: Option<Mono>,
    count: u32,
    fps: Option<f64>,
}

impl FrameRate {
    pub(super) fn frame(&mut self, arrival: Mono) {
        let began = *self.began.get_or_insert(arrival);
        let passed = arrival - began;
        if passed >= FPS_WINDOW {
            self.fps = Some(f64::from(self.count) / passed.as_secs_f64());
            (self.began, self.count) = (Some(arrival), 0);
        }
        self.count += 1;
    }

    pub(super) fn began(&self) -> bool {
        self.began.is_some()
    }

    pub(super) fn get(&self) -> Option<f64> {
        self.fps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(offset: Span) -> Vec<Finding> {
        let health = TimeHealth {
            wall_minus_mono: Some(offset + Span::from_secs(1_000)),
            ..TimeHealth::default()
        };
        diagnose(&health, Some(Span::from_secs(1_000)), None).findings
    }

    #[test]
    fn tells_a_zone_from_an_offset() {
        let hours = |h: f64| Span::from_secs_f64(h * 3600.0);
        assert_eq!(
            found(hours(1.0) + Span::from_secs(3)),
            [Finding::Zone(hours(1.0))]
        );
        assert_eq!(found(hours(-5.75)), [Finding::Zone(hours(-5.75))]);
        assert_eq!(found(hours(20.0)), [Finding::Offset(hours(20.0))]);
        assert_eq!(
            found(Span::from_secs(700)),
            [Finding::Offset(Span::from_secs(700))]
        );
        assert_eq!(found(Span::from_millis(300)), []);
        assert_eq!(found(Span::from_secs(-56 * 31_556_952)), [Finding::NeverSet]);
    }

    #[test]
    fn grades_and_lies() {
        let health = TimeHealth {
            report_spread: Some(Span::from_millis(400)),
            declared_rate_hz: Some(90_000),
            true_rate_hz: Some(75_600.0),
            fps: Some(21.0),
            wall_steps: 2,
            wrong_stamps: 7,
            ..TimeHealth::default()
        };
        let diagnosis = diagnose(&health, None, Some(25.0));
        assert_eq!((diagnosis.offset, diagnosis.grade), (None, Some(Grade::F)));
        assert_eq!(diagnosis.findings.len(), 5);
        for finding in &diagnosis.findings {
            assert!(finding.text().ends_with('.'), "{}", finding.text());
        }
        assert_eq!(Grade::of(Span::from_micros(20)), Grade::A);
    }

    #[test]
    fn counts_frames() {
        let mut rate = FrameRate::default();
        for i in 0..400 {
            rate.frame(Mono::from_nanos(i * 47_619_048));
        }
        assert!((rate.get().unwrap() - 21.0).abs() < 0.1);
    }
}
