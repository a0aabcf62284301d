//! What every test needs: its turn, a deadline, a folder, cameras, a configuration.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use synoptic_base::{BBox, Clock, Size, Span, Utc};
use synoptic_media::clocks::SystemClock;
use synoptic_sim::camera::{Camera, CameraOptions, Content};
use synoptic_sim::recording;
use synoptic_sim::scene::{OVERLAY_REGION, Scene};
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::mqtt::Broker;

/// Far longer than anything here takes, for a machine that is busy.
pub(crate) const DEADLINE: Span = Span::from_secs(90);
/// Between two looks at something that cannot be waited for.
const LOOK: Duration = Duration::from_millis(50);
pub(crate) const SIZE: Size = Size::new(640, 360);
const FPS: u32 = 15;

/// So many stages stand at once: a test is several processes that code and decode video, but mostly waits for what they
/// do in real time.
const STAGES: u32 = 2;
static FREE: Semaphore = Semaphore::const_new(STAGES as usize);

/// A test's stage: its folder, its broker, its turn.
pub(crate) struct Stage {
    pub dir: TempDir,
    pub broker: Broker,
    _turn: SemaphorePermit<'static>,
}

impl Stage {
    /// Waits for the turn and starts a broker. `None`, aloud, where there is none.
    pub(crate) fn set() -> Option<Stage> {
        Stage::of(1)
    }

    /// The same with no other stage beside it, for what a busy machine would spoil.
    pub(crate) fn alone() -> Option<Stage> {
        Stage::of(STAGES)
    }

    fn of(turns: u32) -> Option<Stage> {
        let waiting = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let turn = waiting.block_on(FREE.acquire_many(turns)).unwrap();
        let broker = Broker::start()?;
        Some(Stage {
            dir: tempfile::tempdir().unwrap(),
            broker,
            _turn: turn,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The configuration file with what all tests want, and `more`.
    pub(crate) fn configure(&self, more: &str) -> PathBuf {
        self.configure_with(&self.path("data"), "127.0.0.1:0", more)
    }

    /// The same with another data folder and address.
    pub(crate) fn configure_with(&self, data: &Path, listen: &str, more: &str) -> PathBuf {
        let path = self.path("synoptic.toml");
        let text = format!(
            "schema_version = 1\n\n[device]\nid = \"box\"\ndata_dir = {data:?}\n\n[web]\nlisten = [\"{listen}\"]\n\n\
             [store]\nmin_free = \"1MB\"\n\n[mqtt]\nurl = \"mqtt://127.0.0.1:{}\"\n\n{more}",
            self.broker.port
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A short clip of a car that drives by, over and over: an event every six seconds. Returns its camera's table.
    pub(crate) fn file_camera(&self, id: &str) -> String {
        let clip = self.path(&format!("{id}.mp4"));
        let scene = Scene::new(7, SIZE, 1).unwrap();
        // Any whole period; 19 s into it the walkers are gone and the car comes a second later.
        let from = Utc::from_nanos(scene.period().as_nanos() * 1_000) + Span::from_secs(19);
        recording::record(&clip, &scene, 0, from, Span::from_secs(6), FPS).unwrap();
        format!("[[camera]]\nid = \"{id}\"\nsource = {clip:?}\nrepeat = true\n\n")
    }
}

/// The table of an RTSP camera. `more`: further lines.
pub(crate) fn rtsp_camera(id: &str, url: &str, more: &str) -> String {
    // The barcode and the clock change in every picture.
    let BBox { x, y, w, h, .. } = OVERLAY_REGION;
    format!(
        "[[camera]]\nid = \"{id}\"\nsource = \"{url}\"\ncapture_bias_error_ms = 15\nignore = [[{x:?}, {y:?}, {w:?}, {h:?}]]\n\
         {more}\n"
    )
}

/// Options of simulated cameras that see one scene.
pub(crate) fn views(count: usize) -> Vec<CameraOptions> {
    let scene = Arc::new(Scene::new(7, SIZE, count).unwrap());
    let of = |view| {
        let scene = scene.clone();
        CameraOptions {
            fps: FPS,
            phase: Span::from_millis(21 * view as i64),
            report_interval: Span::from_millis(700),
            ..CameraOptions::new(&format!("cam{view}"), Content::Scene { scene, view })
        }
    };
    (0..count).map(of).collect()
}

pub(crate) fn camera(options: &CameraOptions) -> Camera {
    Camera::start(options, SystemClock::shared()).unwrap()
}

/// A port of 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// When to give up.
pub(crate) struct Patience {
    end: synoptic_base::Mono,
}

impl Patience {
    pub(crate) fn new() -> Patience {
        Patience {
            end: SystemClock.now() + DEADLINE,
        }
    }

    /// What is left; panics with `what` when nothing is.
    pub(crate) fn left(&self, what: &str) -> Duration {
        let left = self.end - SystemClock.now();
        assert!(left > Span::ZERO, "{what}: not within {DEADLINE}");
        left.to_std()
    }

    /// The time until the next look at something.
    pub(crate) fn look(&self, what: &str) {
        let pause = LOOK.min(self.left(what));
        // Nobody sends here: the timeout is the point.
        let nobody: Result<(), _> = crossbeam_channel::never().recv_timeout(pause);
        assert!(nobody.is_err());
    }
}

/// Looks until there is something.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let patience = Patience::new();
    loop {
        if let Some(found) = look() {
            return found;
        }
        patience.look(what);
    }
}
