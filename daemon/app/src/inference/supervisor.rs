//! Brings a detector to the GPU, and notices when it leaves it: load the plan, build it where there is none, hand the
//! worker over, wait for its fault, try again later where that may help.

use std::sync::TryLockError;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, select};
use synoptic_base::Detector;
use synoptic_gpu::GpuError;

use super::build::{Building, Step};
use super::switch::{LoadCpu, Switching};
use super::worker::Worker;
use super::{EnginePhase, EngineState, Fault, Wish};

/// Plans built for one request: the second time only because TensorRT refused what it just built.
const MAX_BUILDS: u32 = 2;
/// Doublings of the wait between two tries.
const MAX_DOUBLINGS: u32 = 5;
/// How often a building in another detector's name is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// CUDA_ERROR_NO_DEVICE.
const NO_DEVICE: i32 = 100;

/// Nobody wants the detector any more.
struct Stopped;

struct Supervisor {
    request: Wish,
    /// What looks meanwhile; `None`: nothing.
    meanwhile: Option<String>,
    handover: Sender<Worker>,
    faults: Receiver<Fault>,
}

impl Switching {
    /// A detector that begins on the CPU, if `load_cpu` is given, and goes to the GPU once that can.
    ///
    /// # Errors
    /// When the model does not load on the CPU, or there is no thread.
    pub(crate) fn start(request: Wish, load_cpu: Option<LoadCpu>) -> Result<Switching, String> {
        let mut cpu: Option<Box<dyn Detector>> = None;
        let mut meanwhile = None;
        if let Some(load) = &load_cpu {
            let (detector, description) = load()?;
            (cpu, meanwhile) = (Some(detector), Some(description));
        }
        let (handover, arrivals) = bounded(1);
        let (fault, faults) = bounded(4);
        let name = request.spec.manifest.name.clone();
        let limit = request.room.limits.look;
        let supervisor = Supervisor {
            request,
            meanwhile,
            handover,
            faults,
        };
        // So that documents are right before the thread runs.
        supervisor.preparing("TensorRT is being tried");
        std::thread::Builder::new()
            .name(format!("engine {name}"))
            .spawn(move || supervisor.run())
            .map_err(|e| format!("no thread for the engine: {e}"))?;
        Ok(Switching {
            name,
            gpu: None,
            arrivals,
            faults: fault,
            cpu,
            load_cpu,
            limit,
        })
    }
}

impl Supervisor {
    fn run(self) {
        let mut doublings = 0;
        loop {
            let fault = match self.once() {
                Ok(fault) => fault,
                Err(Stopped) => return,
            };
            self.fallen_back(&fault);
            let wait = if fault.may_pass() {
                self.request.room.limits.retry * 2_u32.pow(doublings)
            } else {
                Duration::MAX
            };
            doublings = (doublings + 1).min(MAX_DOUBLINGS);
            // Faults of a worker that was replaced tell nothing new.
            if self.pause(wait).is_err() {
                return;
            }
            self.preparing("TensorRT is tried again");
        }
    }

    /// From nothing to a worker, and until that fails.
    fn once(&self) -> Result<Fault, Stopped> {
        let worker = match self.ready()? {
            Ok(worker) => worker,
            Err(fault) => return Ok(fault),
        };
        let description = worker.description().to_owned();
        // First: what is told to run is what the next packet meets.
        if self.handover.send(worker).is_err() {
            return Err(Stopped);
        }
        self.tell(EnginePhase::AsWanted, Some(description), None);
        self.faults.recv().map_err(|_| Stopped)
    }

    /// A worker that runs, its plan built where there is none.
    fn ready(&self) -> Result<Result<Worker, Fault>, Stopped> {
        let Wish { room, spec, .. } = &self.request;
        // One detector at a time: two that want the same plan build it once.
        let _turn = loop {
            match room.busy.try_lock() {
                Ok(turn) => break turn,
                Err(TryLockError::Poisoned(turn)) => break turn.into_inner(),
                Err(TryLockError::WouldBlock) => self.pause(LOOK)?,
            }
        };
        let mut builds = 0;
        loop {
            match Worker::start(room, spec.clone()) {
                Err(Fault::NoPlan(why)) if builds < MAX_BUILDS => {
                    builds += 1;
                    log::info!("model {}: {why}", spec.manifest.name);
                    if let Err(fault) = self.build()? {
                        return Ok(Err(fault));
                    }
                }
                other => return Ok(other),
            }
        }
    }

    /// Builds the plan in a child.
    fn build(&self) -> Result<Result<(), Fault>, Stopped> {
        let Wish { room, spec, .. } = &self.request;
        let mut building = match Building::start(room, spec) {
            Ok(building) => building,
            Err(fault) => return Ok(Err(fault)),
        };
        log::info!(
            "model {}: process {} builds its plan",
            spec.manifest.name,
            building.id()
        );
        self.preparing("its plan is being built");
        let deadline = after(room.limits.build);
        loop {
            select! {
                recv(building.steps) -> step => match step {
                    Ok(Step::Failed { why, may_pass }) => return Ok(Err(Fault::Build { why, may_pass })),
                    Ok(step) => {
                        log::info!("model {}: {step}", spec.manifest.name);
                        self.preparing(&step.to_string());
                    }
                    Err(_) => return Ok(building.end()),
                },
                recv(self.faults) -> fault => if fault.is_err() {
                    building.kill();
                    return Err(Stopped);
                },
                recv(deadline) -> _ => {
                    building.kill();
                    let limit = room.limits.build.as_secs_f64();
                    return Ok(Err(Fault::Build {
                        why: format!(
                            "the building process had not ended after {limit} s and was killed: build the plan by hand with `synoptic engine build {}`",
                            spec.manifest.name
                        ),
                        may_pass: true,
                    }));
                }
            }
        }
    }

    /// Waits, unless nobody wants the detector any more.
    fn pause(&self, wait: Duration) -> Result<(), Stopped> {
        let forever = wait == Duration::MAX;
        let end = if forever {
            crossbeam_channel::never()
        } else {
            after(wait)
        };
        loop {
            select! {
                recv(self.faults) -> fault => fault.map(|_| ()).map_err(|_| Stopped)?,
                recv(end) -> _ => return Ok(()),
            }
        }
    }

    fn preparing(&self, what: &str) {
        self.tell(
            EnginePhase::Preparing,
            self.meanwhile.clone(),
            Some(what.to_owned()),
        );
    }

    fn fallen_back(&self, fault: &Fault) {
        let name = &self.request.spec.manifest.name;
        // `auto` on a box without a GPU has what it wanted.
        let no_gpu = matches!(
            fault,
            Fault::Absent(GpuError::Missing { .. } | GpuError::Cuda { code: NO_DEVICE, .. })
        );
        let settled = !self.request.must && no_gpu;
        let phase = match (&self.meanwhile, settled) {
            (None, _) => EnginePhase::Off,
            (_, true) => EnginePhase::AsWanted,
            (_, false) => EnginePhase::Fallback,
        };
        let looks = self.meanwhile.as_deref().unwrap_or("nothing");
        let level = if settled {
            log::Level::Info
        } else {
            log::Level::Warn
        };
        log::log!(level, "model {name}: not on TensorRT but on {looks}: {fault}");
        self.tell(
            phase,
            self.meanwhile.clone(),
            Some(format!("not on TensorRT: {fault}")),
        );
    }

    fn tell(&self, phase: EnginePhase, running: Option<String>, reason: Option<String>) {
        (self.request.tell)(&EngineState {
            wanted: if self.request.must { "tensorrt" } else { "auto" },
            phase,
            running,
            reason,
        });
    }
}
