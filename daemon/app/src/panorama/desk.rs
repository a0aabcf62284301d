//! What the rest of the daemon sees of the panoramas, and asks of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::Sender;
use synoptic_base::{BBox, Canvas, ClockMap, InCamera, InPanorama, Mono, Rig, Span, StreamId, Utc};
use synoptic_vision::panorama::boxes;

use super::{Library, Order, Request, points};
use crate::config::Panorama;
use crate::documents::{
    CalibrationDoc, CalibrationJobDoc, ControlPointDoc, JobState, PanoramaDoc, PanoramaState, SeamLineDoc,
    StitchStatus,
};
use crate::web::{MappedBox, PanoramaAdmin, Problem};

/// A panorama without a packet for this long is waiting.
pub(super) const SILENCE: Span = Span::from_secs(3);
const STOPPED: &str = "it is stopped: start it, or write enabled = true in the configuration";
pub(super) const NO_PACKETS: &str = "no packets come: see what the status of its cameras says";

/// What the thread of a panorama writes down, and where it is reached.
pub(crate) struct Line {
    pub config: Panorama,
    pub library: Library,
    pub orders: Sender<Order>,
    pub job: Arc<Mutex<Option<CalibrationJobDoc>>>,
    paused: AtomicBool,
    state: Mutex<State>,
}

struct State {
    status: StitchStatus,
    lines: Vec<SeamLineDoc>,
    since: Utc,
    /// When the status was written, and a picture came last.
    seen: Option<Mono>,
    rig: Option<Rig>,
}

impl Line {
    pub(crate) fn new(config: Panorama, library: Library, orders: Sender<Order>, now: Utc) -> Line {
        let status = StitchStatus {
            panorama: config.id.to_string(),
            state: PanoramaState::Waiting,
            reason: Some(NO_PACKETS.to_owned()),
            since: now.to_rfc3339(),
            width: None,
            height: None,
            fps: 0.0,
            latency_ms: None,
            compose_ms: None,
            window_s: super::figures::WINDOW.as_secs_f64(),
            calibration: None,
            cameras: Vec::new(),
            seams: Vec::new(),
        };
        Line {
            config,
            library,
            orders,
            job: Arc::default(),
            paused: AtomicBool::new(false),
            state: Mutex::new(State {
                status,
                lines: Vec::new(),
                since: now,
                seen: None,
                rig: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is to be composed for now.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// The job that runs or ran.
    pub(crate) fn job(&self) -> Option<CalibrationJobDoc> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The thread's newest state. `seen`: when its newest packet came.
    pub(crate) fn tell(
        &self,
        mut status: StitchStatus,
        lines: Vec<SeamLineDoc>,
        seen: Option<Mono>,
        rig: Option<&Rig>,
        utc: Utc,
    ) {
        let mut state = self.state();
        if status.state != state.status.state {
            state.since = utc;
        }
        status.since = state.since.to_rfc3339();
        state.status = status;
        state.lines = lines;
        state.seen = seen;
        if state.rig.as_ref() != rig {
            state.rig = rig.cloned();
        }
    }

    fn doc(&self, now: Mono, map: &ClockMap) -> PanoramaDoc {
        let mut state = self.state();
        // A thread that gets no packets says nothing.
        let silent = self.config.enabled && state.seen.is_none_or(|at| now - at > SILENCE);
        if silent && state.status.state != PanoramaState::Waiting {
            state.since = map.utc(now);
            state.status.state = PanoramaState::Waiting;
            state.status.reason = Some(NO_PACKETS.to_owned());
            state.status.since = state.since.to_rfc3339();
            state.status.fps = 0.0;
        }
        PanoramaDoc {
            id: self.config.id.to_string(),
            name: self.config.name.clone(),
            group: self.config.group.to_string(),
            method: "calibrated".to_owned(),
            status: state.status.clone(),
            lines: state.lines.clone(),
            job: self.job(),
        }
    }
}

/// All panoramas, those too that do not run.
pub struct Desk {
    /// Where calibrations are kept.
    folder: PathBuf,
    lines: Mutex<BTreeMap<StreamId, Arc<Line>>>,
}

impl Desk {
    /// None yet; calibrations are kept below `data_dir`.
    pub fn new(data_dir: &std::path::Path) -> Desk {
        Desk {
            folder: data_dir.join("panoramas"),
            lines: Mutex::default(),
        }
    }

    /// Where the calibrations of a panorama are.
    pub(crate) fn library(&self, id: StreamId) -> Library {
        Library::new(self.folder.join(id.as_str()), id)
    }

    fn lines(&self) -> MutexGuard<'_, BTreeMap<StreamId, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, line: Arc<Line>) {
        self.lines().insert(line.config.id, line);
    }

    /// Shows those that are configured and do not run. Called when all that run are there.
    pub(crate) fn stopped(&self, panoramas: &[Panorama], now: Utc) {
        let still = |line: &Line| line.config.enabled || panoramas.contains(&line.config);
        let mut lines = self.lines();
        lines.retain(|_, line| still(line));
        for config in panoramas.iter().filter(|p| !p.enabled) {
            lines.entry(config.id).or_insert_with(|| {
                // Nobody hears orders.
                let (orders, _) = crossbeam_channel::bounded(0);
                let line = Line::new(config.clone(), self.library(config.id), orders, now);
                line.state().status.state = PanoramaState::Stopped;
                line.state().status.reason = Some(STOPPED.to_owned());
                Arc::new(line)
            });
        }
    }

    /// Takes a panorama's line away, unless another has taken its place.
    pub(crate) fn remove(&self, line: &Arc<Line>) {
        let mut lines = self.lines();
        if lines.get(&line.config.id).is_some_and(|l| Arc::ptr_eq(l, line)) {
            lines.remove(&line.config.id);
        }
    }

    /// All panoramas as documents.
    pub(crate) fn docs(&self, now: Mono, map: &ClockMap) -> Vec<PanoramaDoc> {
        self.lines().values().map(|line| line.doc(now, map)).collect()
    }

    /// What the pictures of a panorama show; `None` without a calibration.
    pub(crate) fn canvas(&self, id: &StreamId) -> Option<Canvas> {
        let line = self.lines().get(id).cloned()?;
        let state = line.state();
        Some(state.rig.as_ref()?.canvas)
    }

    fn find(&self, id: &StreamId) -> Result<Arc<Line>, Problem> {
        let line = self.lines().get(id).cloned();
        line.ok_or_else(|| Problem::not_found(format!("there is no panorama `{id}`")))
    }

    /// One whose calibrations are the box's own.
    fn own(&self, id: &StreamId) -> Result<Arc<Line>, Problem> {
        let line = self.find(id)?;
        match &line.config.calibration {
            Some(file) => Err(Problem::conflict(format!(
                "the configuration says to use {}: remove `calibration` there first",
                file.display()
            ))),
            None => Ok(line),
        }
    }
}

fn failed(what: &str) -> impl Fn(anyhow::Error) -> Problem + '_ {
    move |error| Problem::internal(what, format!("{error:#}"))
}

fn tell(line: &Line, order: Order) -> Result<(), Problem> {
    line.orders
        .send(order)
        .map_err(|_| Problem::unavailable("the panorama is being stopped; try again"))
}

impl PanoramaAdmin for Desk {
    fn calibrate(&self, id: &StreamId, seconds: u32, accept: bool) -> Result<(), Problem> {
        let line = self.own(id)?;
        if !line.config.enabled {
            return Err(Problem::conflict("the panorama is stopped: start it first"));
        }
        let running = line
            .job()
            .is_some_and(|j| matches!(j.state, JobState::Collecting | JobState::Solving));
        if running {
            return Err(Problem::conflict("a calibration is running; wait for its end"));
        }
        let request = Request {
            duration: Span::from_secs(i64::from(seconds)),
            accept,
            automatic: false,
        };
        let (answer, answered) = crossbeam_channel::bounded(1);
        tell(&line, Order::Calibrate(request, answer))?;
        match answered.recv_timeout(SILENCE.to_std()) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(Problem::conflict(why)),
            Err(_) => Err(Problem::unavailable("the panorama does not answer; try again")),
        }
    }

    fn pause(&self, id: &StreamId, paused: bool) -> Result<(), Problem> {
        let line = self.find(id)?;
        if !line.config.enabled {
            return Err(Problem::conflict("the panorama is stopped: start it first"));
        }
        line.paused.store(paused, Ordering::Relaxed);
        Ok(())
    }

    fn calibrations(&self, id: &StreamId) -> Result<Vec<CalibrationDoc>, Problem> {
        let line = self.find(id)?;
        let library = &line.library;
        let mut found: Vec<_> = library.candidate().ok().flatten().into_iter().collect();
        for version in library.versions().map_err(failed("reading calibrations"))? {
            match library.read(version) {
                Ok(stored) => found.push(stored),
                Err(error) => log::warn!("panorama {id}: {error:#}"),
            }
        }
        Ok(found.iter().map(|stored| library.doc(stored)).collect())
    }

    fn calibration_text(&self, id: &StreamId, version: u32) -> Result<String, Problem> {
        let line = self.find(id)?;
        known(&line, version)?;
        line.library
            .text(version)
            .map_err(failed("reading a calibration"))
    }

    fn calibration_picture(&self, id: &StreamId, version: Option<u32>) -> Result<Option<Vec<u8>>, Problem> {
        Ok(self.find(id)?.library.picture(version))
    }

    fn accept(&self, id: &StreamId) -> Result<CalibrationDoc, Problem> {
        let line = self.own(id)?;
        let version = line.library.accept().map_err(failed("accepting a calibration"))?;
        let version = version.ok_or_else(|| Problem::not_found("no calibration waits to be accepted"))?;
        if let Some(job) = line.job.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
            && job.state == JobState::Ready
        {
            job.state = JobState::Accepted;
        }
        adopt(&line, version)
    }

    fn discard(&self, id: &StreamId) -> Result<(), Problem> {
        let line = self.find(id)?;
        let there = line
            .library
            .discard()
            .map_err(failed("discarding a calibration"))?;
        let mut job = line.job.lock().unwrap_or_else(PoisonError::into_inner);
        if job.as_ref().is_some_and(|j| j.state == JobState::Ready) {
            *job = None;
        }
        if there {
            Ok(())
        } else {
            Err(Problem::not_found("no calibration waits to be accepted"))
        }
    }

    fn restore(&self, id: &StreamId, version: u32) -> Result<CalibrationDoc, Problem> {
        let line = self.own(id)?;
        known(&line, version)?;
        let version = line
            .library
            .roll_back(version)
            .map_err(|e| Problem::conflict(format!("{e:#}")))?;
        adopt(&line, version)
    }

    fn control_points(&self, id: &StreamId) -> Result<Vec<ControlPointDoc>, Problem> {
        let line = self.find(id)?;
        line.library.points().map_err(failed("reading control points"))
    }

    fn set_control_points(&self, id: &StreamId, points: &[ControlPointDoc]) -> Result<(), Problem> {
        let line = self.find(id)?;
        if let Some(why) = points::wrong(points, &line.config.cameras) {
            return Err(Problem::invalid("points", why));
        }
        line.library
            .put_points(points)
            .map_err(failed("writing control points"))
    }

    fn map(
        &self,
        id: &StreamId,
        camera: Option<&StreamId>,
        bbox: [f32; 4],
    ) -> Result<Vec<MappedBox>, Problem> {
        let line = self.find(id)?;
        let state = line.state();
        let Some(rig) = &state.rig else {
            return Err(Problem::conflict("the panorama has no calibration yet"));
        };
        let [x, y, w, h] = bbox;
        let number = |camera: &StreamId| rig.cameras.iter().position(|c| c.stream == *camera);
        Ok(match camera {
            Some(camera) => {
                let k = number(camera).ok_or_else(|| {
                    Problem::invalid("camera", format!("`{camera}` is no camera of this panorama"))
                })?;
                let found = boxes::on_canvas(rig, k, &BBox::<InCamera>::new(x, y, w, h));
                found
                    .map(|b| MappedBox {
                        stream: id.to_string(),
                        bbox: [b.x, b.y, b.w, b.h],
                    })
                    .into_iter()
                    .collect()
            }
            None => rig
                .cameras
                .iter()
                .enumerate()
                .filter_map(|(k, camera)| {
                    let b = boxes::in_camera(rig, k, &BBox::<InPanorama>::new(x, y, w, h))?;
                    Some(MappedBox {
                        stream: camera.stream.to_string(),
                        bbox: [b.x, b.y, b.w, b.h],
                    })
                })
                .collect(),
        })
    }
}

fn known(line: &Line, version: u32) -> Result<(), Problem> {
    let versions = line.library.versions().map_err(failed("reading calibrations"))?;
    if versions.contains(&version) {
        Ok(())
    } else {
        Err(Problem::not_found(format!("there is no calibration {version}")))
    }
}

fn adopt(line: &Line, version: u32) -> Result<CalibrationDoc, Problem> {
    let stored = line
        .library
        .read(version)
        .map_err(failed("reading a calibration"))?;
    // One that is stopped finds it when it is started.
    if line.config.enabled {
        tell(line, Order::Adopt)?;
    }
    log::info!(
        "panorama {}: calibration {version} is taken into use",
        line.config.id
    );
    Ok(line.library.doc(&stored))
}
