//! Panoramas on request (`POST /stitch`): two streams are read, calibrated and sent on, until the request is taken back.
//!
//! A job is a task of the runtime that only watches: the cameras and the panorama are started as those of the configuration
//! are, beside it ([`Extras`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use synoptic_base::{Clock, ClockMap, Mono, Span, StreamId};
use synoptic_media::output::HeaderTimes;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::Desk;
use super::extras::{Extra, Extras, Names, names_stream};
use super::judge::{Progress, judge};
use crate::config::Config;
use crate::hub::{Command, Hub};
use crate::outputs::{self, OutputOptions, OutputWish};
use crate::web::{
    OutputPlace, PanoramaAdmin as _, Problem, StitchAdmin, StitchDoc, StitchState, StitchWish, WatchUrls,
};

/// The status is written once a second; looked at this often at least.
const LOOK: Duration = Duration::from_secs(1);
/// A refused calibration is tried once more, over this long, where the request has this much time left.
const AGAIN_S: u32 = 12;
const AGAIN_LEFT: Span = Span::from_secs(25);
/// Requests that failed and can still be asked about; the oldest is forgotten.
const KEPT: usize = 16;
/// Bytes of the hash in an id.
const HASH_BYTES: usize = 5;
/// Whoever is refused for want of workers may ask again after this.
const RETRY_S: u64 = 30;

/// What the jobs work with.
pub(crate) struct Parts {
    pub extras: Arc<Extras>,
    pub desk: Arc<Desk>,
    pub hub: Arc<Hub>,
    pub config: Arc<ArcSwap<Config>>,
    pub clock: Arc<dyn Clock>,
    pub map: Arc<ArcSwap<ClockMap>>,
    pub outputs: Arc<outputs::Desk>,
}

/// One request.
struct Job {
    names: Names,
    doc: watch::Sender<StitchDoc>,
    task: AbortHandle,
    /// Counts up: the oldest has the lowest.
    number: u64,
}

/// All requests.
#[derive(Default)]
struct Jobs {
    by_id: BTreeMap<StreamId, Job>,
    made: u64,
}

/// Panoramas on request.
pub(crate) struct Service {
    parts: Arc<Parts>,
    jobs: Arc<Mutex<Jobs>>,
}

fn lock(jobs: &Mutex<Jobs>) -> MutexGuard<'_, Jobs> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Service {
    pub(crate) fn new(parts: Parts) -> Service {
        Service {
            parts: Arc::new(parts),
            jobs: Arc::default(),
        }
    }
}

impl StitchAdmin for Service {
    fn begin(&self, wish: StitchWish) -> Result<watch::Receiver<StitchDoc>, Problem> {
        let names = names(&wish)?;
        let mut jobs = lock(&self.jobs);
        let active = |job: &Job| job.doc.borrow().status != StitchState::Failed;
        if jobs.by_id.get(&names.id).is_some_and(active) {
            let id = names.id;
            return Err(Problem::conflict(format!(
                "the same request is running: GET /stitch/{id} tells of it, DELETE /stitch/{id} ends it"
            )));
        }
        let workers = self.parts.config.load().stitch_workers;
        if jobs.by_id.values().filter(|job| active(job)).count() >= workers {
            let mut problem = Problem::unavailable(format!(
                "as many panoramas run on request as may ([stitch] workers = {workers}): end one, or ask later"
            ));
            problem.retry_after_s = Some(RETRY_S);
            return Err(problem);
        }
        let own = |job: &Job| job.names.panorama == names.panorama && active(job);
        if names_stream(&self.parts.config.load(), &names.panorama) || jobs.by_id.values().any(own) {
            let mut problem = Problem::conflict(format!(
                "there is a stream `{}` already: give another name",
                names.panorama
            ));
            problem.field = Some("output_url".to_owned());
            return Err(problem);
        }
        let extra = Extra::new(&names, &wish.sources).map_err(|errors| {
            let why = errors.problems.first();
            let field = match why.map(|p| p.path.as_str()) {
                Some(path) if path.starts_with("camera[1]") => "url2",
                _ => "url1",
            };
            Problem::invalid(field, why.map_or_else(String::new, |p| p.message.clone()))
        })?;
        // What an earlier request of this name has left is of cameras that may have been moved.
        self.parts
            .desk
            .library(names.panorama)
            .clear()
            .map_err(|e| Problem::internal("clearing old calibrations", format!("{e:#}")))?;
        let now = self.parts.clock.now();
        let doc = StitchDoc {
            id: names.id.to_string(),
            status: StitchState::Reading,
            reason: None,
            progress: 0.0,
            begun: self.parts.map.load().utc(now).to_rfc3339(),
            url1: wish.sources[0].url.clone(),
            url2: wish.sources[1].url.clone(),
            output_url: wish.output.shown(),
            panorama: names.panorama.to_string(),
            cameras: names.cameras.map(|c| c.to_string()),
            urls: WatchUrls::of(names.panorama.as_str()),
            output: None,
        };
        let (sender, news) = watch::channel(doc);
        self.parts.extras.put(names.id, extra);
        self.parts.apply()?;
        let watcher = Watcher {
            parts: self.parts.clone(),
            names: names.clone(),
            urls: [wish.sources[0].url.clone(), wish.sources[1].url.clone()],
            output: wish.output,
            deadline: now + wish.timeout,
            timeout: wish.timeout,
            doc: sender.clone(),
        };
        log::info!("{}: asked for; its panorama is {}", names.id, names.panorama);
        let task = tokio::spawn(watcher.run()).abort_handle();
        jobs.made += 1;
        let number = jobs.made;
        let job = Job {
            names: names.clone(),
            doc: sender,
            task,
            number,
        };
        jobs.by_id.insert(names.id, job);
        forget_old(&mut jobs);
        Ok(news)
    }

    fn list(&self) -> Vec<StitchDoc> {
        let jobs = lock(&self.jobs);
        jobs.by_id.values().map(|job| self.parts.doc(job)).collect()
    }

    fn end(&self, id: &str) -> Result<(), Problem> {
        let missing = || Problem::not_found(format!("there is no request `{id}`"));
        let id = StreamId::new(id).map_err(|_| missing())?;
        let job = lock(&self.jobs).by_id.remove(&id).ok_or_else(missing)?;
        job.task.abort();
        self.parts.take_down(&job.names)?;
        log::info!("{id}: taken back");
        Ok(())
    }
}

/// Names for a request: the same request always has the same.
fn names(wish: &StitchWish) -> Result<Names, Problem> {
    let mut hash = Sha256::new();
    for part in wish.identity() {
        hash.update(part.as_bytes());
        // No text has it: two requests never run together.
        hash.update([0]);
    }
    let hex: String = hash
        .finalize()
        .iter()
        .take(HASH_BYTES)
        .map(|b| format!("{b:02x}"))
        .collect();
    let id = |text: String| StreamId::new(&text).map_err(|e| Problem::internal("naming a request", e));
    let own = id(format!("stitch-{hex}"))?;
    Ok(Names {
        id: own,
        panorama: match &wish.output {
            OutputPlace::Served { name, .. } => *name,
            OutputPlace::Pushed { .. } => own,
        },
        cameras: [id(format!("stitch-{hex}-1"))?, id(format!("stitch-{hex}-2"))?],
    })
}

fn forget_old(jobs: &mut Jobs) {
    let mut failed: Vec<(u64, StreamId)> = jobs
        .by_id
        .values()
        .filter(|job| job.doc.borrow().status == StitchState::Failed)
        .map(|job| (job.number, job.names.id))
        .collect();
    failed.sort_unstable();
    for (_, id) in failed.iter().take(failed.len().saturating_sub(KEPT)) {
        jobs.by_id.remove(id);
    }
}

impl Parts {
    /// The daemon is told to bring what runs in line.
    fn apply(&self) -> Result<(), Problem> {
        // The daemon ends only after the web server: somebody listens.
        self.hub
            .commands
            .send(Command::Apply)
            .map_err(|e| Problem::internal("applying the change", e))
    }

    fn take_down(&self, names: &Names) -> Result<(), Problem> {
        // One that is served, or not yet begun, has none.
        self.outputs.stop(&names.id).ok();
        self.extras.remove(&names.id);
        self.apply()?;
        if let Err(error) = self.desk.library(names.panorama).clear() {
            log::warn!("{}: {error:#}", names.id);
        }
        Ok(())
    }

    /// What is known of a job now.
    fn doc(&self, job: &Job) -> StitchDoc {
        let mut doc = job.doc.borrow().clone();
        if doc.status == StitchState::Running
            && let Some(status) = self.hub.status.borrow().clone()
        {
            let panorama = status.panoramas.iter().find(|p| p.id == doc.panorama);
            doc.reason = panorama.and_then(|p| p.status.reason.clone());
        }
        doc.output = self.outputs.status(&job.names.id);
        doc
    }
}

/// Follows one request until its panorama runs, or will not.
struct Watcher {
    parts: Arc<Parts>,
    names: Names,
    urls: [String; 2],
    output: OutputPlace,
    deadline: Mono,
    timeout: Span,
    doc: watch::Sender<StitchDoc>,
}

impl Watcher {
    async fn run(self) {
        let outcome = match self.run_once().await {
            Ok(()) => self.output().await,
            failed => failed,
        };
        match outcome {
            Ok(()) => {
                log::info!("{}: runs", self.names.id);
                self.tell(StitchState::Running, 1.0, None);
            }
            Err(why) => {
                log::warn!("{}: given up: {why}", self.names.id);
                if let Err(problem) = self.parts.take_down(&self.names) {
                    log::error!("{}: {}", self.names.id, problem.detail);
                }
                self.tell(StitchState::Failed, 0.0, Some(why));
            }
        }
    }

    fn tell(&self, status: StitchState, progress: f64, reason: Option<String>) {
        self.doc.send_if_modified(|doc| {
            let before = doc.clone();
            (doc.status, doc.progress, doc.reason) = (status, progress, reason);
            *doc != before
        });
    }

    /// Waits for the panorama. The error is why it will not come, for people.
    async fn run_once(&self) -> Result<(), String> {
        let mut news = self.parts.hub.status.subscribe();
        let mut handled: Option<String> = None;
        loop {
            let status = news.borrow_and_update().clone();
            let progress = match status {
                Some(doc) => judge(&self.names, &self.urls, &doc),
                None => Progress::Reading("the box is starting".to_owned()),
            };
            let now = self.parts.clock.now();
            let late = now >= self.deadline;
            match progress {
                Progress::Running => return Ok(()),
                Progress::Locked(why) => return Err(format!("cannot be read: {why}")),
                Progress::Reading(why) if late => {
                    return Err(format!(
                        "not all streams could be read within {}: {why}",
                        self.timeout
                    ));
                }
                Progress::Reading(why) => self.tell(StitchState::Reading, 0.0, Some(why)),
                Progress::Calibrating { why, .. } if late => {
                    let why = why.unwrap_or_else(|| "it took longer".to_owned());
                    return Err(format!(
                        "the streams could not be calibrated within {}: {why}",
                        self.timeout
                    ));
                }
                Progress::Calibrating { part, why } => self.tell(StitchState::Calibrating, part, why),
                // The status is that of before the second try.
                Progress::Refused { begun, .. } if handled.as_ref() == Some(&begun) => {}
                Progress::Refused { why, .. } if handled.is_some() || self.deadline - now < AGAIN_LEFT => {
                    return Err(format!("the streams cannot be calibrated: {why}"));
                }
                Progress::Refused { begun, why } => {
                    log::info!(
                        "{}: calibrated once more, for it was refused: {why}",
                        self.names.id
                    );
                    self.tell(StitchState::Calibrating, 0.0, Some(why));
                    handled = Some(begun);
                    self.again().await?;
                }
            }
            let wait = (self.deadline - now)
                .to_std()
                .clamp(Duration::from_millis(1), LOOK);
            // The sender lives as long as the hub, which is held here.
            tokio::time::timeout(wait, news.changed()).await.ok();
        }
    }

    /// Asks for another calibration.
    async fn again(&self) -> Result<(), String> {
        let (desk, panorama) = (self.parts.desk.clone(), self.names.panorama);
        let asked = tokio::task::spawn_blocking(move || desk.calibrate(&panorama, AGAIN_S, true));
        let answer = asked.await.map_err(|e| format!("a task of the daemon: {e}"))?;
        answer.map_err(|problem| format!("the streams cannot be calibrated: {}", problem.detail))
    }

    /// Sends the panorama on. An address of the box's own RTSP server is served there.
    async fn output(&self) -> Result<(), String> {
        let OutputPlace::Pushed { target, shown, .. } = &self.output else {
            // It is there as long as the panorama is.
            return Ok(());
        };
        let wish = OutputWish {
            id: self.names.id,
            stream: self.names.panorama,
            target: target.clone(),
            options: OutputOptions::default(),
            audio: true,
            header_times: HeaderTimes::default(),
        };
        let outputs = self.parts.outputs.clone();
        let started = tokio::task::spawn_blocking(move || outputs.start(wish));
        let started = started.await.map_err(|e| format!("a task of the daemon: {e}"))?;
        started.map_err(|e| format!("it cannot be sent to {shown}: {e}"))
    }
}
