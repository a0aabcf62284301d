//! The board on which every part pins its state, and from which the status document is written once a second.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use synoptic_base::{ClockMap, Mono, Span, StreamId, StreamStart, TimeSource, Utc};
use synoptic_engine::attention::AttentionCounts;
use synoptic_engine::pair::PairCounts;
use synoptic_engine::sync::{SyncGrade, SyncReport, WINDOW};
use synoptic_engine::timebase::{Diagnosis, TimeHealth, diagnose};
use synoptic_media::StreamStats;
use synoptic_media::session::StreamInfo;

use crate::config::Config;
use crate::documents::{
    AttentionDoc, CameraDoc, CameraState, CameraStatus, CameraTime, DoctorDoc, Quantiles, StreamDoc,
    StreamStartDoc, SubDoc, SyncMember, SyncState, SyncStatus, TimeQuality, TrafficDoc, round_ms,
};

/// Delivered frames a second are counted over this.
const FPS_WINDOW: Span = Span::from_secs(5);

/// A camera's line on the board.
struct CameraLine {
    name: String,
    source: String,
    detector: Option<String>,
    /// What its detector looked at.
    attention: Option<AttentionCounts>,
    /// Why its detector does not run.
    blind: Option<String>,
    /// Why its motion vectors do not come.
    motion: Option<String>,
    state: CameraState,
    reason: Option<String>,
    since: Utc,
    health: Option<TimeHealth>,
    stream: Option<(StreamInfo, u32)>,
    start: Option<StreamStart>,
    arrivals: std::collections::VecDeque<Mono>,
    drops: BTreeMap<String, u64>,
    stats: StreamStats,
    sub: Option<SubLine>,
}

/// A sub stream's part of a camera's line.
struct SubLine {
    state: CameraState,
    reason: Option<String>,
    since: Utc,
    stats: StreamStats,
    looked: PairCounts,
}

impl SubLine {
    fn new(now: Utc) -> SubLine {
        SubLine {
            state: CameraState::Connecting,
            reason: None,
            since: now,
            stats: StreamStats::default(),
            looked: PairCounts::default(),
        }
    }

    /// What a person should know although the camera itself is well.
    fn trouble(&self) -> Option<String> {
        let reason = self.reason.as_ref()?;
        Some(format!(
            "detection looks at the main stream; sub stream: {reason}"
        ))
    }

    fn doc(&self) -> SubDoc {
        SubDoc {
            status: CameraStatus {
                state: self.state,
                reason: self.reason.clone(),
                since: self.since.to_rfc3339(),
            },
            traffic: traffic(&self.stats),
            looked_sub: self.looked.sub,
            looked_main: self.looked.main,
            looked_nothing: self.looked.nothing,
        }
    }
}

fn traffic(stats: &StreamStats) -> TrafficDoc {
    TrafficDoc {
        connections: stats.connections,
        frames_decoded: stats.decoded,
        frames_unreadable: stats.unreadable,
        rtp_packets: stats.transport.packets,
        rtp_bytes: stats.transport.bytes,
        rtp_lost: stats.transport.lost,
        rtp_late: stats.transport.late,
        rtp_jitter_ms: stats.transport.jitter.map(round_ms),
    }
}

/// A group's line on the board.
struct GroupLine {
    cameras: Vec<StreamId>,
    tolerance: Span,
    report: Option<SyncReport>,
}

#[derive(Default)]
struct Lines {
    order: Vec<StreamId>,
    cameras: BTreeMap<StreamId, CameraLine>,
    groups: BTreeMap<StreamId, GroupLine>,
}

/// The board. Every method is short and may be called from any thread.
#[derive(Default)]
pub struct Board {
    lines: Mutex<Lines>,
}

impl Board {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the board fit a configuration; what is known of cameras that stay is kept.
    pub fn configure(&self, config: &Config, groups: &[(StreamId, Vec<StreamId>)], now: Utc) {
        let mut lines = self.lines();
        let mut old = std::mem::take(&mut lines.cameras);
        lines.order = config.cameras.iter().map(|c| c.options.id).collect();
        for camera in &config.cameras {
            let id = camera.options.id;
            let state = if camera.enabled {
                CameraState::Connecting
            } else {
                CameraState::Disabled
            };
            let source = camera.options.source.shown();
            let kept = old.remove(&id).filter(|l| l.source == source && camera.enabled);
            let mut line = kept.unwrap_or_else(|| CameraLine {
                name: String::new(),
                source,
                detector: None,
                attention: None,
                blind: None,
                motion: None,
                state,
                reason: None,
                since: now,
                health: None,
                stream: None,
                start: None,
                arrivals: std::collections::VecDeque::new(),
                drops: BTreeMap::new(),
                stats: StreamStats::default(),
                sub: None,
            });
            line.name.clone_from(&camera.name);
            if line.detector != camera.detector {
                line.attention = None;
            }
            line.detector.clone_from(&camera.detector);
            if camera.options.source.sub().is_none() || camera.detector.is_none() {
                line.sub = None;
            } else if camera.enabled {
                line.sub.get_or_insert_with(|| SubLine::new(now));
            }
            lines.cameras.insert(id, line);
        }
        let mut known = std::mem::take(&mut lines.groups);
        for (id, cameras) in groups {
            let kept = known.remove(id).filter(|g| g.cameras == *cameras);
            let fresh = || GroupLine {
                cameras: cameras.clone(),
                tolerance: Span::ZERO,
                report: None,
            };
            lines.groups.insert(*id, kept.unwrap_or_else(fresh));
        }
    }

    /// A camera's connection changed. Returns whether this is news.
    pub fn camera_state(&self, id: StreamId, state: CameraState, reason: Option<String>, now: Utc) -> bool {
        let mut lines = self.lines();
        let Some(line) = lines.cameras.get_mut(&id) else {
            return false;
        };
        let news = line.state != state;
        if news {
            line.state = state;
            line.since = now;
        }
        if state != CameraState::Online {
            line.arrivals.clear();
        }
        line.reason = reason;
        news
    }

    /// Says why the detector of a camera does not run, or that it does.
    pub fn camera_blind(&self, id: &StreamId, why: Option<String>) {
        if let Some(line) = self.lines().cameras.get_mut(id) {
            line.blind = why;
        }
    }

    /// Says why a camera has no motion vectors, or that it has, or that nobody wants them.
    pub fn camera_motion(&self, id: &StreamId, why: Option<String>) {
        if let Some(line) = self.lines().cameras.get_mut(id) {
            line.motion = why;
        }
    }

    /// What a camera's detector looked at so far.
    pub fn camera_attention(&self, id: &StreamId, counts: AttentionCounts) {
        if let Some(line) = self.lines().cameras.get_mut(id) {
            line.attention = Some(counts);
        }
    }

    /// Whether a camera delivers frames.
    pub fn is_online(&self, id: &StreamId) -> bool {
        self.lines()
            .cameras
            .get(id)
            .is_some_and(|l| l.state == CameraState::Online)
    }

    /// An epoch began.
    pub fn camera_stream(&self, id: StreamId, info: StreamInfo, epoch: u32) {
        if let Some(line) = self.lines().cameras.get_mut(&id) {
            line.stream = Some((info, epoch));
        }
    }

    /// When the running epoch began.
    pub fn camera_start(&self, start: &StreamStart) {
        if let Some(line) = self.lines().cameras.get_mut(&start.stream) {
            line.start = Some(*start);
        }
    }

    /// A camera's time.
    pub fn camera_health(&self, id: StreamId, health: TimeHealth) {
        if let Some(line) = self.lines().cameras.get_mut(&id) {
            line.health = Some(health);
        }
    }

    /// What is wrong with a camera's clocks, in a word and a sentence each; `None` before its first frame.
    pub fn camera_findings(&self, id: &StreamId, map: &ClockMap) -> Option<Vec<(&'static str, String)>> {
        let lines = self.lines();
        let (_, diagnosis) = lines.cameras.get(id)?.diagnosed(map)?;
        let findings = diagnosis.findings.iter();
        Some(findings.map(|f| (f.word(), f.text())).collect())
    }

    /// A frame came.
    pub fn camera_frame(&self, id: StreamId, now: Mono) {
        if let Some(line) = self.lines().cameras.get_mut(&id) {
            line.arrivals.push_back(now);
            while line.arrivals.front().is_some_and(|t| now - *t > FPS_WINDOW) {
                line.arrivals.pop_front();
            }
        }
    }

    /// What came from a camera.
    pub fn camera_stats(&self, id: StreamId, stats: StreamStats) {
        if let Some(line) = self.lines().cameras.get_mut(&id) {
            line.stats = stats;
        }
    }

    /// The connection of a camera's sub stream changed.
    pub fn sub_state(&self, id: StreamId, state: CameraState, reason: Option<String>, now: Utc) {
        self.sub(id, |sub| {
            if sub.state != state {
                (sub.state, sub.since) = (state, now);
            }
            sub.reason = reason;
        });
    }

    /// What came from a camera's sub stream.
    pub fn sub_stats(&self, id: StreamId, stats: StreamStats) {
        self.sub(id, |sub| sub.stats = stats);
    }

    /// What the detector looked at, of a camera with a sub stream.
    pub fn sub_looked(&self, id: StreamId, looked: PairCounts) {
        self.sub(id, |sub| sub.looked = looked);
    }

    fn sub(&self, id: StreamId, change: impl FnOnce(&mut SubLine)) {
        if let Some(sub) = self.lines().cameras.get_mut(&id).and_then(|l| l.sub.as_mut()) {
            change(sub);
        }
    }

    /// Sets a camera's drop counter.
    pub fn camera_drops(&self, id: StreamId, reason: &str, count: u64) {
        if count > 0
            && let Some(line) = self.lines().cameras.get_mut(&id)
        {
            match line.drops.get_mut(reason) {
                Some(known) => *known = count,
                None => {
                    line.drops.insert(reason.to_owned(), count);
                }
            }
        }
    }

    /// A group's figures.
    pub fn group(&self, id: StreamId, tolerance: Span, report: SyncReport) {
        if let Some(line) = self.lines().groups.get_mut(&id) {
            line.tolerance = tolerance;
            line.report = Some(report);
        }
    }

    /// Every camera as a document, in the order of the configuration.
    pub fn cameras(&self, now: Mono, map: &ClockMap) -> Vec<CameraDoc> {
        let lines = self.lines();
        lines
            .order
            .iter()
            .filter_map(|id| Some((id, lines.cameras.get(id)?)))
            .map(|(id, l)| l.doc(id, now, map))
            .collect()
    }

    /// Every group as a document.
    pub fn groups(&self, now: Mono, map: &ClockMap) -> Vec<SyncStatus> {
        let lines = self.lines();
        lines
            .groups
            .iter()
            .map(|(id, line)| line.doc(id, &lines.cameras, now, map))
            .collect()
    }
}

impl CameraLine {
    fn fps(&self) -> f64 {
        match (self.arrivals.front(), self.arrivals.back()) {
            (Some(first), Some(last)) if last > first => {
                (self.arrivals.len() - 1) as f64 / (*last - *first).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// A camera's time, with the doctor's word on it.
    fn diagnosed(&self, map: &ClockMap) -> Option<(TimeHealth, Diagnosis)> {
        let health = self.health.filter(|_| self.state == CameraState::Online)?;
        // A box that does not know the time cannot say that a camera is off.
        let utc_minus_mono = map.error.map(|_| map.utc_minus_mono);
        let declared = self.stream.as_ref().and_then(|(info, _)| info.fps_declared);
        Some((health, diagnose(&health, utc_minus_mono, declared)))
    }

    fn time(&self, now: Mono, map: &ClockMap) -> CameraTime {
        let online = self.state == CameraState::Online;
        let health = self.health.filter(|_| online);
        let bound = health.and_then(|h| h.rel_error);
        let frame = Span::from_secs_f64(1.0 / self.fps().max(1.0));
        let quality = match bound {
            None => TimeQuality::None,
            Some(bound) if health.and_then(|h| h.source) == Some(TimeSource::Host) && bound * 2 > frame => {
                TimeQuality::Poor
            }
            Some(bound) if bound * 2 < frame => TimeQuality::Good,
            Some(bound) if bound < frame * 2 => TimeQuality::Fair,
            Some(_) => TimeQuality::Poor,
        };
        CameraTime {
            source: health.and_then(|h| h.source).map(|s| s.name().to_owned()),
            offset_ms: health
                .and_then(|h| h.wall_minus_mono)
                .map(|w| round_ms(w - map.utc_minus_mono)),
            uncertainty_ms: bound.map(round_ms),
            drift_ppm: health
                .and_then(|h| h.drift_ppm)
                .map(|d| (d * 10.0).round() / 10.0),
            sr_age_s: health
                .and_then(|h| h.last_report)
                .map(|at| ((now - at).as_secs_f64() * 10.0).round() / 10.0),
            quality,
            doctor: self
                .diagnosed(map)
                .map(|(health, diagnosis)| DoctorDoc::new(&health, &diagnosis, map)),
        }
    }

    fn doc(&self, id: &StreamId, now: Mono, map: &ClockMap) -> CameraDoc {
        CameraDoc {
            id: id.to_string(),
            name: self.name.clone(),
            source: self.source.clone(),
            detector: self.detector.clone(),
            engine: None, // by the registry of engines
            status: CameraStatus {
                state: self.state,
                reason: self
                    .reason
                    .clone()
                    .or_else(|| self.blind.clone())
                    .or_else(|| self.motion.clone())
                    .or_else(|| self.sub.as_ref()?.trouble()),
                since: self.since.to_rfc3339(),
            },
            time: self.time(now, map),
            stream: self.stream.as_ref().map(|(info, epoch)| StreamDoc {
                codec: info.codec.clone(),
                width: info.size.width,
                height: info.size.height,
                fps_declared: info.fps_declared,
                fps_delivered: (self.fps() * 100.0).round() / 100.0,
                epoch: *epoch,
                start: self
                    .start
                    .filter(|s| s.epoch.0 == *epoch)
                    .map(|s| StreamStartDoc {
                        utc: s.utc.to_rfc3339(),
                        error_ms: s.error.map(round_ms),
                    }),
            }),
            drops: self.drops.clone(),
            traffic: traffic(&self.stats),
            sub: self.sub.as_ref().map(SubLine::doc),
            attention: self.attention.map(|a| AttentionDoc {
                looked: a.looked,
                every: a.every,
                rate: a.rate,
                still: a.still,
            }),
        }
    }
}

impl GroupLine {
    fn doc(
        &self,
        id: &StreamId,
        cameras: &BTreeMap<StreamId, CameraLine>,
        now: Mono,
        map: &ClockMap,
    ) -> SyncStatus {
        let report = self.report.as_ref();
        let member = |camera: &StreamId| {
            let seen = report.and_then(|r| r.members.iter().find(|m| m.camera == *camera));
            let time = cameras.get(camera).map(|line| line.time(now, map));
            SyncMember {
                cam: camera.to_string(),
                status: seen.map_or("broken", |m| m.status.name()).to_owned(),
                source: time.as_ref().and_then(|t| t.source.clone()),
                offset_ms: time.as_ref().and_then(|t| t.offset_ms),
                error_ms: time.as_ref().and_then(|t| t.uncertainty_ms),
                phase_ms: seen.and_then(|m| m.phase).map(round_ms),
            }
        };
        SyncStatus {
            group: id.to_string(),
            state: match report.map(|r| r.grade) {
                Some(SyncGrade::Locked) => SyncState::Locked,
                Some(SyncGrade::Degraded) => SyncState::Degraded,
                Some(SyncGrade::Lost) | None => SyncState::Lost,
            },
            spread_ms: report.and_then(|r| r.spread).map(|[p50, p95, max]| Quantiles {
                p50: round_ms(p50),
                p95: round_ms(p95),
                max: round_ms(max),
            }),
            tolerance_ms: round_ms(self.tolerance),
            complete_ratio: report.and_then(|r| r.complete_ratio),
            packets_per_s: report.map_or(0.0, |r| (r.packets_per_s * 100.0).round() / 100.0),
            window_s: WINDOW.as_secs_f64(),
            members: self.cameras.iter().map(member).collect(),
        }
    }
}
