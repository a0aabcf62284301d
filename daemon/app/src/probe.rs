//! What a camera really sends: `synoptic probe` and the page's camera test.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use synoptic_base::{Clock, ClockMap, FrameKind, Mono, Size, Span, TimeSource};
use synoptic_engine::timebase::{Finding, diagnose};
use synoptic_media::session::{Session, SessionEvent, SessionFrame, SessionOptions, StreamInfo};
use synoptic_media::{MediaError, Source};
use synoptic_vision::jpeg;

use crate::config;
use crate::documents::{DoctorDoc, ProbeDoc, round_ms};

/// How long a camera is looked at once frames come: two sender reports of most cameras (every 5 s), two GOPs.
pub const DEFAULT_DURATION: Span = Span::from_secs(8);
/// How long the first frame may take.
const FIRST_FRAME: Span = Span::from_secs(10);
/// Declared and delivered rates that differ by more than this part are a finding.
const RATE_DIFFERS: f64 = 0.1;
/// A camera's clock further off than this is a finding.
const CLOCK_OFF: Span = Span::from_millis(500);
/// A GOP longer than this many seconds makes joining slow.
const LONG_GOP_S: f64 = 5.0;
const JPEG_QUALITY: u8 = 85;

/// What is gathered while looking.
#[derive(Default)]
struct Seen {
    info: Option<StreamInfo>,
    arrivals: Vec<Mono>,
    last_i: Option<usize>,
    gop: Option<u32>,
    b_frames: bool,
    kinds_known: bool,
    unreadable: u32,
    restarts: u32,
    last: Option<SessionFrame>,
}

/// Looks at a source for `duration` after its first frame. Blocks; never fails: what is wrong is in the document.
pub fn probe(options: &SessionOptions, clock: &Arc<dyn Clock>, map: &ClockMap, duration: Span) -> ProbeDoc {
    let mut seen = Seen::default();
    let outcome = Session::open(options, clock.clone()).and_then(|mut session| {
        let result = look(&mut session, &mut seen, &**clock, map, duration);
        result.map(|()| session.health())
    });
    let mut findings = Vec::new();
    let health = outcome.as_ref().ok();
    let fps = seen.fps();
    let declared = seen.info.as_ref().and_then(|i| i.fps_declared);
    let offset = health
        .and_then(|h| h.wall_minus_mono)
        .map(|w| w - map.utc_minus_mono);
    let source = health.and_then(|h| h.source);
    let synced = map.error.map(|_| map.utc_minus_mono);
    let diagnosis = health.map(|h| diagnose(h, synced, None));
    if let (Some(declared), Some(fps)) = (declared, fps)
        && (declared - fps).abs() > declared * RATE_DIFFERS
    {
        findings.push(format!(
            "It declares {declared:.1} frames a second and delivers {fps:.1}: check its exposure and network load."
        ));
    }
    if let (Some(gop), Some(fps)) = (seen.gop, fps)
        && f64::from(gop) / fps > LONG_GOP_S
    {
        findings.push(format!(
            "An I picture only every {:.0} s: joining takes as long. Set its I-frame interval to 1 or 2 s.",
            f64::from(gop) / fps
        ));
    }
    if seen.b_frames && matches!(options.source, Source::Rtsp { .. } | Source::Pull { .. }) {
        findings.push(
            "It uses B pictures, which add delay: choose the Baseline or Main profile without them.".into(),
        );
    }
    let said = diagnosis.iter().flat_map(|d| &d.findings);
    let (mut clock, mut other) = (Vec::new(), Vec::new());
    for finding in said {
        match finding {
            Finding::Zone(_) | Finding::Offset(_) | Finding::NeverSet => clock.push(finding.text()),
            _ => other.push(finding.text()),
        }
    }
    findings.append(&mut other);
    if !clock.is_empty() {
        findings.append(&mut clock);
    } else if let Some(offset) = offset.filter(|o| o.abs() > CLOCK_OFF) {
        findings.push(format!(
            "Its own clock is {:+.1} s off. Synoptic corrects this; for other receivers point its NTP at this box.",
            offset.as_secs_f64()
        ));
    }
    if source == Some(TimeSource::Arrival) {
        let lacking = match options.source {
            Source::V4l2 { .. } => "Its driver does not stamp frames with this box's clock",
            Source::Pull { .. } => {
                "Nothing in the stream tells UTC (no SEI, onFI, onMetaData or programme date)"
            }
            _ => "It sends no usable sender reports",
        };
        findings.push(format!(
            "{lacking}: capture times come from arrivals, with a wider bound."
        ));
    }
    if seen.unreadable > 0 {
        findings.push(format!(
            "{} frames came damaged: packets are lost; try TCP.",
            seen.unreadable
        ));
    }
    if seen.restarts > 0 {
        findings.push(format!(
            "Its time stamps started anew {} times while watched.",
            seen.restarts
        ));
    }
    let usable = outcome.is_ok() && seen.arrivals.len() > 1;
    let size = seen.info.as_ref().map(|i| i.size);
    let verdict = match (&outcome, fps) {
        (Err(error), _) => capitalised(&error.to_string()),
        (Ok(health), Some(fps)) => good_verdict(&seen, size, fps, health.rel_error),
        (Ok(_), None) => "It gave a single picture only.".to_owned(),
    };
    let picture = seen
        .last
        .as_ref()
        .map(|f| jpeg::encode(&*f.surface, JPEG_QUALITY));
    let picture_base64 = match picture {
        Some(Ok(jpeg)) => Some(STANDARD.encode(jpeg)),
        Some(Err(error)) => {
            findings.push(format!("Its picture could not be shown: {error}."));
            None
        }
        None => None,
    };
    ProbeDoc {
        source: options.source.shown(),
        usable,
        verdict,
        findings,
        codec: seen.info.as_ref().map(|i| i.codec.clone()),
        width: size.map(|s| s.width),
        height: size.map(|s| s.height),
        fps_declared: declared,
        fps_delivered: fps.map(|f| (f * 100.0).round() / 100.0),
        gop: seen.gop,
        b_frames: seen.kinds_known.then_some(seen.b_frames),
        sender_reports: health.map_or(0, |h| h.reports),
        clock_offset_ms: offset.map(round_ms),
        doctor: health
            .zip(diagnosis.as_ref())
            .map(|(health, diagnosis)| DoctorDoc::new(health, diagnosis, map)),
        time_source: source.map(|s| s.name().to_owned()),
        picture_base64,
    }
}

/// How far the stamps of a camera that nobody measured may be off: what the configuration assumes too.
pub fn unmeasured_bias(source: &Source) -> Span {
    Span::from_millis(config::bias_error_ms(source))
}

/// The answer for a source that cannot even be tried.
pub fn refused(source: &str, why: &str) -> ProbeDoc {
    ProbeDoc {
        source: source.to_owned(),
        usable: false,
        verdict: capitalised(why),
        findings: Vec::new(),
        codec: None,
        width: None,
        height: None,
        fps_declared: None,
        fps_delivered: None,
        gop: None,
        b_frames: None,
        sender_reports: 0,
        clock_offset_ms: None,
        doctor: None,
        time_source: None,
        picture_base64: None,
    }
}

fn look(
    session: &mut Session,
    seen: &mut Seen,
    clock: &dyn Clock,
    map: &ClockMap,
    duration: Span,
) -> Result<(), MediaError> {
    let began = clock.now();
    loop {
        session.clock_map(*map);
        let event = session.next(Span::from_millis(200))?;
        let now = clock.now();
        match event {
            Some(SessionEvent::Format(info)) => seen.info = Some(info),
            Some(SessionEvent::Frame(frame)) => seen.frame(frame, now),
            Some(SessionEvent::Unreadable(_)) => seen.unreadable += 1,
            Some(SessionEvent::Restarted) => seen.restarts += 1,
            Some(SessionEvent::End) => return Ok(()),
            None => {}
        }
        match seen.arrivals.first() {
            Some(first) if now - *first >= duration => return Ok(()),
            None if now - began > FIRST_FRAME => {
                return Err(MediaError::NoVideo {
                    source_name: "it".to_owned(),
                    why: format!("it connected, but no picture came within {FIRST_FRAME}"),
                });
            }
            _ => {}
        }
    }
}

impl Seen {
    fn frame(&mut self, frame: SessionFrame, now: Mono) {
        let index = self.arrivals.len();
        self.arrivals.push(now);
        self.kinds_known |= frame.kind != FrameKind::Unknown;
        self.b_frames |= frame.kind == FrameKind::B;
        if frame.kind == FrameKind::I {
            if let Some(last) = self.last_i {
                self.gop = Some((index - last) as u32);
            }
            self.last_i = Some(index);
        }
        self.last = Some(frame);
    }

    fn fps(&self) -> Option<f64> {
        let (first, last) = (self.arrivals.first()?, self.arrivals.last()?);
        let span = (*last - *first).as_secs_f64();
        (span > 0.0).then(|| (self.arrivals.len() - 1) as f64 / span)
    }
}

fn good_verdict(seen: &Seen, size: Option<Size>, fps: f64, bound: Option<Span>) -> String {
    let codec = seen.info.as_ref().map_or("video", |i| i.codec.as_str());
    let size = size.map_or_else(String::new, |s| format!(", {}x{}", s.width, s.height));
    let bound = bound.map_or_else(String::new, |b| format!("; capture times to ± {b}"));
    format!("Good: {codec}{size} at {fps:.1} frames a second{bound}.")
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
