//! Documents of a camera's clocks: what the clock doctor found, and the measurement of capture biases.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use synoptic_base::{ClockMap, Restamp, Span, SystemEvent};
use synoptic_engine::timebase::{Diagnosis, TimeHealth};
use utoipa::ToSchema;

use super::{Capture, round_ms};

/// A step of a camera's own clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct StepDoc {
    /// When it was found.
    pub utc: String,
    /// By how much; positive: forward.
    pub step_ms: f64,
}

/// Something that is wrong with a camera's clocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct FindingDoc {
    /// What, in a word: `zone`, `offset`, `never_set`, `steps`, `rate`, `fps`, `reports`, `stamps`, `refused`.
    pub finding: String,
    /// What, and what to do, in a sentence.
    pub text: String,
}

/// What the clock doctor says of a camera.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct DoctorDoc {
    /// Quality of its sender reports, `A` to `F`; `null` below three.
    pub grade: Option<String>,
    /// Nine of ten reports pair their two times within this.
    pub report_spread_ms: Option<f64>,
    /// Sender reports of this connection.
    pub reports: u32,
    /// Those that were anchored late.
    pub late_reports: u32,
    /// Those that made no sense.
    pub bad_reports: u32,
    /// Steps of its own clock, in this connection.
    pub wall_steps: u32,
    /// The last of them.
    pub last_step: Option<StepDoc>,
    /// Frames that carried impossible time stamps.
    pub wrong_stamps: u32,
    /// Ticks a second of its media clock as declared; `null` without RTP.
    pub declared_rate_hz: Option<u32>,
    /// Ticks a second of its media clock, where it is not what it declares.
    pub true_rate_hz: Option<f64>,
    /// From light to the least delayed arrival, as learned from its reports.
    pub delay_ms: Option<f64>,
    /// Bound of that.
    pub delay_error_ms: Option<f64>,
    /// What is wrong, worst first, each with what to do.
    pub findings: Vec<FindingDoc>,
}

impl DoctorDoc {
    /// Writes down what is known of a camera's clocks.
    pub fn new(health: &TimeHealth, diagnosis: &Diagnosis, map: &ClockMap) -> DoctorDoc {
        DoctorDoc {
            grade: diagnosis.grade.map(|g| g.letter().to_owned()),
            report_spread_ms: health.report_spread.map(round_ms),
            reports: health.reports,
            late_reports: health.late_reports,
            bad_reports: health.bad_reports,
            wall_steps: health.wall_steps,
            last_step: health.last_step.map(|(at, by)| StepDoc {
                utc: map.utc(at).to_rfc3339(),
                step_ms: round_ms(by),
            }),
            wrong_stamps: health.wrong_stamps,
            declared_rate_hz: health.declared_rate_hz,
            true_rate_hz: health.true_rate_hz.map(|hz| (hz * 10.0).round() / 10.0),
            delay_ms: health.learned.map(|l| round_ms(l.delay)),
            delay_error_ms: health.learned.map(|l| round_ms(l.error)),
            findings: diagnosis
                .findings
                .iter()
                .map(|f| FindingDoc {
                    finding: f.word().to_owned(),
                    text: f.text(),
                })
                .collect(),
        }
    }
}

/// Frames of a camera that would be timed better today: those of one epoch from `since_us` to `until_us`, on a straight
/// line between the two capture times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct RestampDoc {
    /// Epoch.
    pub epoch: u32,
    /// Media time of the first frame, in microseconds, as in its key.
    pub since_us: i64,
    /// Media time of the last frame.
    pub until_us: i64,
    /// When the first frame was captured.
    pub since: Capture,
    /// When the last frame was captured.
    pub until: Capture,
    /// How much later than believed before the first frame was captured.
    pub moved_ms: f64,
}

impl RestampDoc {
    /// Describes a restamp by the UTC of the event that tells of it.
    pub fn new(restamp: &Restamp, event: &SystemEvent) -> RestampDoc {
        let capture = |at| Capture {
            utc: (event.utc + (at - event.at)).to_rfc3339(),
            error_ms: event.error.map(|e| round_ms(e + restamp.rel_error)),
            rel_error_ms: round_ms(restamp.rel_error),
            source: restamp.source.name().to_owned(),
        };
        RestampDoc {
            epoch: restamp.epoch.0,
            since_us: restamp.since_us.as_micros(),
            until_us: restamp.until_us.as_micros(),
            since: capture(restamp.from),
            until: capture(restamp.to),
            moved_ms: round_ms(restamp.moved),
        }
    }
}

/// What the flashes say of one camera.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct CameraBiasDoc {
    /// Camera id.
    pub cam: String,
    /// Flashes that it saw.
    pub flashes: usize,
    /// Those that agree with the reference; `null` for the reference itself, and where none could be compared.
    pub agreeing: Option<usize>,
    /// `capture_bias_ms` as configured.
    pub configured_ms: f64,
    /// `capture_bias_error_ms` as configured.
    pub configured_error_ms: f64,
    /// `capture_bias_ms` as measured; `null` when it could not be.
    pub bias_ms: Option<f64>,
    /// `capture_bias_error_ms` as measured: the reference's own and what the flashes leave.
    pub bias_error_ms: Option<f64>,
    /// Why it could not be measured, and what to do.
    pub problem: Option<String>,
}

/// A measurement of the capture biases of a group, by flashes that its cameras see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub struct BiasDoc {
    /// Group id.
    pub group: String,
    /// The camera that the others are measured against: the one whose bias is known best.
    pub reference: String,
    /// How long was watched.
    pub seconds: f64,
    /// Whether the measured values were written into the configuration.
    pub applied: bool,
    /// Cameras, the reference first.
    pub cameras: Vec<CameraBiasDoc>,
}

/// Rounded to a hundredth of a millisecond: what is written into a configuration.
pub fn hundredths_ms(span: Span) -> f64 {
    (span.as_millis_f64() * 100.0).round() / 100.0
}
