//! Looks after the GPUs: how they are, every few seconds, for documents and events.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use synoptic_base::{Clock, Mono, Span};
use synoptic_engine::system::SystemInput;
use synoptic_gpu::health::{GpuHealth, HealthSource};

use crate::documents::GpuDoc;
use crate::watchman::Watchman;

/// Between two looks. Heat changes in seconds, and NVML takes some milliseconds.
const INTERVAL: Duration = Duration::from_secs(5);
/// What is older is not shown: the driver does not answer.
const STALE: Span = Span::from_secs(30);

#[derive(Default)]
struct Seen {
    at: Option<Mono>,
    gpus: Vec<GpuDoc>,
}

/// The newest look. The thread behind it is none whose beat counts: a driver that hangs takes it along, and nothing else.
pub(crate) struct GpuWatch {
    seen: Arc<Mutex<Seen>>,
    clock: Arc<dyn Clock>,
    /// Closed, the thread ends.
    _stop: Sender<()>,
}

impl GpuWatch {
    /// Looks after the GPUs that `find` finds, in a thread of its own; it is asked there, for drivers may hang.
    pub(crate) fn start(
        clock: Arc<dyn Clock>,
        watchman: Arc<Watchman>,
        find: impl FnOnce() -> Option<HealthSource> + Send + 'static,
    ) -> GpuWatch {
        let (stop, stopped) = bounded(0);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (theirs, their_clock) = (seen.clone(), clock.clone());
        let spawned = std::thread::Builder::new()
            .name("gpu health".to_owned())
            .spawn(move || run(find, &theirs, &*their_clock, &watchman, &stopped));
        if let Err(error) = spawned {
            log::error!("nobody looks after the GPU: {error}");
        }
        GpuWatch {
            seen,
            clock,
            _stop: stop,
        }
    }

    /// The GPUs of this machine, as they were at the newest look.
    pub(crate) fn of_this_machine(clock: Arc<dyn Clock>, watchman: Arc<Watchman>) -> GpuWatch {
        GpuWatch::start(clock, watchman, || HealthSource::find(Path::new("/")))
    }

    /// How they are; empty without GPUs, and when the driver has not answered for long.
    pub(crate) fn docs(&self) -> Vec<GpuDoc> {
        let seen = lock(&self.seen);
        let fresh = seen.at.is_some_and(|at| self.clock.now() - at < STALE);
        if fresh { seen.gpus.clone() } else { Vec::new() }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn run(
    find: impl FnOnce() -> Option<HealthSource>,
    seen: &Mutex<Seen>,
    clock: &dyn Clock,
    watchman: &Watchman,
    stopped: &Receiver<()>,
) {
    let Some(source) = find() else { return };
    loop {
        let gpus: Vec<GpuDoc> = source.read().into_iter().map(doc).collect();
        for gpu in &gpus {
            watchman.see(SystemInput::Gpu(gpu.index.to_string(), gpu.throttled.clone()));
        }
        *lock(seen) = Seen {
            at: Some(clock.now()),
            gpus,
        };
        if stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

fn doc(health: GpuHealth) -> GpuDoc {
    GpuDoc {
        index: health.index,
        name: health.name,
        source: health.source.to_owned(),
        temperature_c: health.temperature_c,
        power_w: health.power_w,
        load: health.load,
        clock_mhz: health.clock_mhz,
        clock_max_mhz: health.clock_max_mhz,
        memory_used_bytes: health.memory_used,
        memory_bytes: health.memory,
        throttled: health.throttled,
    }
}
