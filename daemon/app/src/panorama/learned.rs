//! The learned warp of a panorama: a thread runs the networks at a low rate, and between its answers the mesh glides.
//!
//! The thread takes one pair of pictures at a time, and what it keeps is bounded: seven control meshes, one picture's
//! features of each camera. The calibrated warp is shown until the networks know seven instants and pass their gate, and
//! whenever they do not.

use std::path::PathBuf;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use synoptic_base::{Mono, Rig, Span, StreamId, Surface};
use synoptic_engine::stitch::learned::{LearnedGate, LearnedLook, MeshShape};
use synoptic_media::Pixels;
use synoptic_vision::learned::model::StitchOptions;
use synoptic_vision::learned::nets::OnlineStitch;
use synoptic_vision::learned::warp::{LearnedWarp, Placement, Small, overlap_psnr};
use synoptic_vision::learned::{COLUMNS, ControlMesh, rigid};
use synoptic_vision::onnx::EngineChoice;
use synoptic_vision::panorama::NodeGrid;
use synoptic_vision::panorama::geometry::canvas_from_camera;

use super::calibrating::step_back;
use crate::config::LearnedConfig;

/// The mesh glides over one interval of the networks, but never longer.
const LONGEST_GLIDE: Span = Span::from_millis(500);
/// From step to step of a glide: each costs some 10 ms a megapixel of canvas.
const STEP: Span = Span::from_millis(100);
/// A glide of less than this, in pixels of a camera, is not worth a step.
const WORTH_PX: f64 = 0.05;
/// After a gap of so many intervals the pictures have nothing to do with those before.
const GAP: i64 = 4;

/// Two pictures of one instant.
struct Job {
    at: Mono,
    pictures: [Pixels; 2],
}

/// What is to be shown from now on.
struct Answer {
    /// The learned warps and their grids; `None`: the calibrated warp.
    warps: Option<([LearnedWarp; 2], Vec<NodeGrid>)>,
    /// Why the calibrated warp.
    reason: Option<String>,
}

/// The learned warp, as the panorama's thread sees it.
pub(super) struct Learned {
    jobs: Sender<Job>,
    answers: Receiver<Answer>,
    interval: Span,
    next: Option<Mono>,
    calibrated: Vec<NodeGrid>,
    from: Vec<NodeGrid>,
    to: Vec<NodeGrid>,
    shown: Vec<NodeGrid>,
    /// When the glide began, while one goes on.
    gliding: Option<Mono>,
    stepped: Option<Mono>,
    warps: Option<[LearnedWarp; 2]>,
    reason: Option<String>,
}

impl Learned {
    /// Starts the thread for the two cameras of `rig`, whose calibrated warp is `calibrated`.
    ///
    /// # Errors
    /// When there can be no thread.
    pub(super) fn start(
        config: &LearnedConfig,
        panorama: StreamId,
        rig: &Rig,
        calibrated: Vec<NodeGrid>,
    ) -> std::io::Result<Learned> {
        let (jobs, taken) = bounded(1);
        let (sent, answers) = bounded(1);
        let interval = Span::from_secs_f64(1.0 / config.rate_hz);
        let worker = Worker {
            panorama,
            rig: rig.clone(),
            calibrated: calibrated.clone(),
            gap: interval * GAP,
            dirs: config.model_dirs.clone(),
            gate: LearnedGate::default(),
            placement: None,
        };
        // It ends with the sender of its jobs; nobody waits for a network that is at work.
        std::thread::Builder::new()
            .name(format!("learned-{panorama}"))
            .spawn(move || worker.run(&taken, &sent))?;
        Ok(Learned {
            jobs,
            answers,
            interval,
            next: None,
            from: calibrated.clone(),
            to: calibrated.clone(),
            shown: calibrated.clone(),
            calibrated,
            gliding: None,
            stepped: None,
            warps: None,
            reason: None,
        })
    }

    /// Offers the pictures of one instant; they are taken when the networks are due and idle.
    pub(super) fn offer(&mut self, now: Mono, pictures: [&Pixels; 2]) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        let job = Job {
            at: now,
            pictures: pictures.map(Pixels::clone),
        };
        match self.jobs.try_send(job) {
            Ok(()) => {
                // At the rate asked for, and never in a burst after a late one.
                let due = self.next.map_or(now, |next| next.max(now - self.interval));
                self.next = Some(due + self.interval);
            }
            // Busy: the next picture is newer.
            Err(TrySendError::Full(_)) => {}
            // It has said why, as its last answer.
            Err(TrySendError::Disconnected(_)) => self.next = Some(now + self.interval),
        }
    }

    /// Takes in what the networks answered and glides on; the grids to sample by from now on, when they change.
    pub(super) fn step(&mut self, now: Mono) -> Option<&[NodeGrid]> {
        while let Ok(answer) = self.answers.try_recv() {
            self.reason = answer.reason;
            self.to = match answer.warps {
                Some((warps, grids)) => {
                    self.warps = Some(warps);
                    grids
                }
                None => {
                    self.warps = None;
                    self.calibrated.clone()
                }
            };
            self.from.clone_from(&self.shown);
            let far = self.from.iter().zip(&self.to).map(|(a, b)| a.farthest(b));
            let worth = far.fold(0.0, f64::max) > WORTH_PX || self.from != self.to && self.warps.is_none();
            self.gliding = worth.then_some(now);
        }
        let began = self.gliding?;
        if self.stepped.is_some_and(|at| now - at < STEP) {
            return None;
        }
        self.stepped = Some(now);
        let whole = self.interval.min(LONGEST_GLIDE).as_secs_f64();
        let part = ((now - began).as_secs_f64() / whole).clamp(0.0, 1.0);
        if part >= 1.0 {
            self.gliding = None;
        }
        let pairs = self.from.iter().zip(&self.to);
        self.shown = pairs.map(|(a, b)| a.towards(b, part)).collect();
        Some(&self.shown)
    }

    /// The learned warps, while they are what is glided to; `None` while the calibrated warp is.
    pub(super) fn warps(&self) -> Option<&[LearnedWarp; 2]> {
        self.warps.as_ref()
    }

    /// Why the calibrated warp is shown; `None` while the learned one is, or before it was tried.
    pub(super) fn trouble(&self) -> Option<String> {
        let reason = self.reason.as_ref()?;
        Some(format!(
            "the learned warp is not used but the calibrated one: {reason}"
        ))
    }
}

/// What the thread works with.
struct Worker {
    panorama: StreamId,
    rig: Rig,
    calibrated: Vec<NodeGrid>,
    gap: Span,
    dirs: Vec<PathBuf>,
    gate: LearnedGate,
    /// Kept while the gate is open: the canvas does not move.
    placement: Option<Placement>,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>, answers: &Sender<Answer>) {
        step_back();
        let threads = std::thread::available_parallelism().map_or(1, |n| (n.get() / 2).max(1));
        let options = StitchOptions {
            engine: EngineChoice::Auto,
            threads,
        };
        let mut stitch = match OnlineStitch::load(&self.dirs, options) {
            Ok(stitch) => stitch,
            Err(error) => {
                log::error!("panorama {}: no learned warp: {error}", self.panorama);
                let reason = Some(error.to_string());
                // Where nobody listens any more the panorama is gone.
                answers.send(Answer { warps: None, reason }).ok();
                return;
            }
        };
        let [width, height] = stitch.input();
        log::info!(
            "panorama {}: the stitching networks run on {} with pictures of {width}x{height}",
            self.panorama,
            stitch.engine()
        );
        let mut last: Option<Mono> = None;
        for job in jobs {
            if last.is_some_and(|last| job.at - last > self.gap) {
                stitch.clear();
            }
            last = Some(job.at);
            let meshes = match stitch.push([&*job.pictures[0] as &dyn Surface, &*job.pictures[1]]) {
                // Not yet seven instants.
                Ok(None) => continue,
                Ok(Some(meshes)) => Some(meshes),
                Err(error) => {
                    log::debug!("panorama {}: {error}", self.panorama);
                    None
                }
            };
            let answer = self.judge(&stitch, meshes.as_ref());
            if answers.send(answer).is_err() {
                return;
            }
        }
    }

    /// Lays the meshes on the canvas and lets the gate look at them.
    fn judge(&mut self, stitch: &OnlineStitch, meshes: Option<&[ControlMesh; 2]>) -> Answer {
        let net = stitch.input();
        let was_open = self.gate.is_open();
        if !was_open {
            self.placement = meshes.and_then(|m| Placement::fit(&self.rig, net, m));
        }
        let sizes = [0, 1].map(|k| self.rig.cameras[k].intrinsics.size);
        let warps = meshes.zip(self.placement).and_then(|(meshes, placement)| {
            let warp = |k: usize| LearnedWarp::new(&meshes[k], net, (sizes[0], sizes[k]), &placement);
            Some([warp(0)?, warp(1)?])
        });
        let canvas = self.rig.canvas.size;
        let grids = warps.as_ref().map(|w| [w[0].grid(canvas), w[1].grid(canvas)]);
        let small = |k: usize| Small {
            luma: stitch.luma(k),
            size: net,
            camera: sizes[k],
        };
        let psnr = |a: &NodeGrid, b: &NodeGrid| overlap_psnr([a, b], [small(0), small(1)]);
        let look = LearnedLook {
            psnr_db: grids.as_ref().and_then(|g| psnr(&g[0], &g[1])),
            calibrated_psnr_db: psnr(&self.calibrated[0], &self.calibrated[1]),
            shape: warps.as_ref().and_then(|w| self.shape(w, net)),
        };
        let open = self.gate.look(&look);
        if open != was_open {
            let (panorama, reason) = (self.panorama, self.gate.reason().unwrap_or_default());
            if open {
                log::info!("panorama {panorama}: the learned warp is used");
            } else {
                log::warn!("panorama {panorama}: the calibrated warp is used again: {reason}");
            }
        }
        Answer {
            // While the gate is open and one look has no mesh, what was shown is kept no longer than one look.
            warps: warps.zip(grids.map(Vec::from)).filter(|_| open),
            reason: self.gate.reason().map(str::to_owned),
        }
    }

    /// The worse shape of the two meshes.
    fn shape(&self, warps: &[LearnedWarp; 2], net: [usize; 2]) -> Option<MeshShape> {
        let shapes = [0, 1].map(|k| {
            let camera = &self.rig.cameras[k];
            let size = [camera.intrinsics.size.width, camera.intrinsics.size.height].map(f64::from);
            let still = rigid(net[0], net[1]);
            let calibrated: Option<Vec<[f64; 2]>> = still
                .iter()
                .map(|p| {
                    let pixel = [0, 1].map(|a| p[a] * size[a] / net[a] as f64 - 0.5);
                    canvas_from_camera(&self.rig.canvas, camera, pixel)
                })
                .collect();
            // A lens that does not see its corners leaves the area of the picture itself.
            let area = calibrated
                .and_then(|mesh| MeshShape::of(&mesh, COLUMNS, 1.0))
                .map_or(size[0] * size[1], |shape| shape.growth);
            MeshShape::of(warps[k].mesh(), COLUMNS, area)
        });
        let [a, b] = [shapes[0]?, shapes[1]?];
        let further = |v: f64| v.max(1.0 / v.max(f64::MIN_POSITIVE));
        Some(MeshShape {
            bend: a.bend.max(b.bend),
            folded: a.folded || b.folded,
            growth: if further(a.growth) > further(b.growth) {
                a.growth
            } else {
                b.growth
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use synoptic_base::Size;
    use synoptic_vision::PictureBuf;

    use super::*;
    use crate::panorama::testing::rig;

    fn at(ms: i64) -> Mono {
        Mono::from_nanos(0) + Span::from_millis(ms)
    }

    fn learned(dirs: Vec<PathBuf>) -> (Learned, Vec<NodeGrid>) {
        let rig = rig();
        let options = synoptic_vision::panorama::ComposeOptions::default();
        let compositor = synoptic_vision::panorama::Compositor::new(&rig, options).unwrap();
        let grids = compositor.grids();
        let config = LearnedConfig {
            rate_hz: 2.0,
            model_dirs: dirs,
        };
        let id = StreamId::new("pano").unwrap();
        (Learned::start(&config, id, &rig, grids.clone()).unwrap(), grids)
    }

    /// Waits for the next answer of the thread, and takes it in at `now`.
    fn answered(learned: &mut Learned, now: Mono) {
        let answer = learned.answers.recv_timeout(Duration::from_secs(60)).unwrap();
        let (again, answers) = bounded(1);
        again.send(answer).unwrap();
        let thread = std::mem::replace(&mut learned.answers, answers);
        learned.step(now);
        learned.answers = thread;
    }

    fn picture() -> Pixels {
        std::sync::Arc::new(PictureBuf::black(Size::new(160, 90)).unwrap())
    }

    #[test]
    fn without_a_model_the_calibrated_warp_is_shown_and_it_is_said_why() {
        let (mut learned, calibrated) = learned(vec![PathBuf::from("nowhere")]);
        assert_eq!(learned.trouble(), None);
        answered(&mut learned, at(0));
        let trouble = learned.trouble().unwrap();
        assert!(trouble.contains("models import stitch"), "{trouble}");
        assert!(learned.warps().is_none() && learned.shown == calibrated);
        // Its thread is gone: nothing is kept for it.
        let picture = picture();
        for i in 0..5 {
            learned.offer(at(i * 1000), [&picture, &picture]);
            assert!(learned.step(at(i * 1000)).is_none());
        }
    }

    #[test]
    fn networks_that_know_nothing_do_not_pass_the_gate() {
        let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../vision/golden/stitchnet"));
        let to = tempfile::tempdir().unwrap();
        crate::models::import_stitch(from, &[to.path().to_owned()]).unwrap();
        let (mut learned, calibrated) = learned(vec![to.path().to_owned()]);
        let picture = picture();
        let mut now = 0;
        // On black pictures nothing can be judged: the calibrated warp stays, with the gate's reason.
        let jobs = learned.jobs.clone();
        for _ in 0..synoptic_vision::learned::WINDOW {
            let job = Job {
                at: at(now),
                pictures: [picture.clone(), picture.clone()],
            };
            jobs.send_timeout(job, Duration::from_secs(60)).unwrap();
            now += 500;
        }
        answered(&mut learned, at(now));
        assert!(learned.trouble().is_some() && learned.warps().is_none());
        assert_eq!(learned.shown, calibrated);
    }

    #[test]
    fn it_is_offered_pictures_at_its_rate_only() {
        let (mut learned, _) = learned(vec![PathBuf::from("nowhere")]);
        let (jobs, taken) = bounded(1);
        learned.jobs = jobs;
        let picture = picture();
        let mut count = 0;
        for ms in (0..2000).step_by(40) {
            learned.offer(at(ms), [&picture, &picture]);
            count += taken.try_iter().count();
        }
        assert_eq!(count, 4);
        // Busy networks hold one pair, no more.
        for ms in (2000..6000).step_by(40) {
            learned.offer(at(ms), [&picture, &picture]);
        }
        assert_eq!(taken.len(), 1);
    }

    #[test]
    fn the_mesh_glides_to_an_answer_and_back() {
        let (mut learned, calibrated) = learned(vec![PathBuf::from("nowhere")]);
        let canvas = rig().canvas.size;
        let there: Vec<NodeGrid> = (0..2)
            .map(|_| NodeGrid::new(canvas, |p| Some([p[0] + 8.0, p[1]])))
            .collect();
        let (answers, taken) = bounded(1);
        learned.answers = taken;
        learned.to.clone_from(&there);
        learned.gliding = Some(at(0));
        let half = learned.step(at(250)).unwrap()[0].clone();
        assert!(half != calibrated[0] && half != there[0]);
        assert!(learned.step(at(300)).is_none(), "a step each 100 ms");
        assert_eq!(learned.step(at(500)).unwrap(), there);
        assert!(learned.step(at(700)).is_none());
        let reason = Some("bad".to_owned());
        answers.send(Answer { warps: None, reason }).unwrap();
        learned.step(at(1000));
        assert_eq!(learned.step(at(1600)).unwrap(), calibrated);
        assert!(learned.trouble().unwrap().contains("the calibrated one: bad"));
    }
}
