//! Simulated RTSP cameras whose truth is known.
//!
//! Terms: the **true capture time** of a picture is the box's CLOCK_REALTIME when it was rendered, which its
//! barcode shows. The camera's **wall clock** is what its sender reports tell; the **media clock** counts its
//! RTP time. Both may be wrong as the options say; the packets of a picture carry the RTP time of its true
//! capture by the media clock, so all that a client can get wrong comes from the clocks and from what the
//! reports mean ([`ReportMode`]).
//!
//! A camera is coded once for all its clients, and only while there is one.

mod clip;
mod clockwork;
mod feed;
mod options;
mod pump;
mod rtp;
mod server;
#[cfg(test)]
mod tests;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use synoptic_base::{Clock, Size, Span, Utc};

use clockwork::Clockwork;
use feed::{Shared, lock};
pub use options::{CameraError, CameraOptions, Codec, Content, Identity, ReportMode};
use pump::{Command, Pictures, Pump};
use server::Server;

use crate::scene::Scene;

/// Commands that may wait for the camera's thread.
const COMMANDS: usize = 8;

/// What a camera has done since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameraStats {
    /// Pictures sent.
    pub frames: u64,
    /// Pictures that the simulator itself sent more than 10 ms after their time, or left out. What a test
    /// measures while this grows is invalid.
    pub late_frames: u64,
    /// Sender reports sent.
    pub sender_reports: u64,
    /// Times that a first client came.
    pub sessions: u64,
    /// Connections open now.
    pub clients: usize,
}

/// A running camera. Dropping it pulls the cable and frees the port.
pub struct Camera {
    shared: Arc<Shared>,
    server: Mutex<Server>,
    scene: Mutex<Option<Arc<Scene>>>,
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
    path: String,
    port: u16,
    tls: bool,
}

impl Camera {
    /// Starts a camera on 127.0.0.1.
    pub fn start(options: &CameraOptions, clock: Arc<dyn Clock>) -> Result<Camera, CameraError> {
        check(options)?;
        gst::init()?;
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let clockwork = Clockwork {
            origin: clock.now(),
            wall_offset: options.clock_offset,
            wall_drift_ppm: options.clock_drift_ppm,
            media_drift_ppm: options.media_drift_ppm,
            rtp_base: rng.random(),
        };
        let shared = Shared::new(
            &options.name,
            clock,
            clockwork,
            options.report_mode,
            options.report_interval,
        );
        let (pictures, scene) = match &options.content {
            Content::Scene { scene, view } => {
                let pictures = Pictures::Scene {
                    scene: scene.clone(),
                    view: *view,
                    fps: options.fps,
                };
                (Some(pictures), Some(scene.clone()))
            }
            Content::Clip(path) => (Some(Pictures::Clip(clip::load(path)?)), None),
            Content::Audio => (None, None),
        };
        let server = Server::start(options, &shared)?;
        let (commands, asked) = crossbeam_channel::bounded(COMMANDS);
        let thread = pictures.map(|pictures| {
            let pump = Pump {
                shared: shared.clone(),
                pictures,
                begin: options.phase,
                delay: options.delay,
                jitter: options.jitter,
                seed: rng.random(),
            };
            std::thread::Builder::new()
                .name(options.name.clone())
                .spawn(move || pump.run(&asked))
                .map_err(|e| CameraError::Server {
                    camera: options.name.clone(),
                    why: format!("no thread: {e}"),
                })
        });
        Ok(Camera {
            port: server.port(),
            shared,
            server: Mutex::new(server),
            scene: Mutex::new(scene),
            commands: Some(commands),
            thread: thread.transpose()?,
            path: options.path.clone(),
            tls: options.tls.is_some(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where to watch it, without user and password.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "rtsps" } else { "rtsp" };
        format!("{scheme}://127.0.0.1:{}/{}", self.port, self.path)
    }

    /// Pulls the cable: connections end, new ones are refused. The clocks run on. Returns when no connection
    /// is open any more.
    pub fn kill(&self) {
        lock(&self.server).cut();
    }

    /// Plugs it in again, on the same port.
    pub fn revive(&self) -> Result<(), CameraError> {
        lock(&self.server).listen()
    }

    /// Whether the cable is in.
    pub fn alive(&self) -> bool {
        lock(&self.server).listens()
    }

    /// Sets the wall clock forward, or back if negative. The next sender report tells.
    pub fn step_clock(&self, step: Span) {
        lock(&self.shared.clockwork).wall_offset += step;
    }

    /// What its wall clock shows now.
    pub fn wall_clock(&self) -> Utc {
        self.shared.clockwork().wall(self.shared.clock.sample())
    }

    /// Stays connected but sends no picture, or sends again.
    pub fn freeze(&self, frozen: bool) {
        self.shared.frozen.store(frozen, Relaxed);
    }

    /// Goes on as another synchronisation source on the same connection, as an encoder does that was started again
    /// behind the camera's RTSP server.
    pub fn change_ssrc(&self, ssrc: u32) {
        *lock(&self.shared.ssrc) = Some(ssrc);
    }

    /// Changes the size of the picture, in the middle of the stream. A clip keeps its own size.
    pub fn set_size(&self, size: Size) -> Result<(), CameraError> {
        let mut scene = lock(&self.scene);
        let Some(old) = scene.as_ref() else {
            return Err(CameraError::Option {
                camera: self.shared.name.clone(),
                what: "only a rendered scene can change its size",
            });
        };
        let new = Arc::new(old.resized(size)?);
        if let Some(commands) = &self.commands {
            // The receiver lives as long as the thread, which ends only with `self`.
            let _ = commands.send(Command::Scene(new.clone()));
        }
        *scene = Some(new);
        Ok(())
    }

    /// Counters.
    pub fn stats(&self) -> CameraStats {
        let counters = &self.shared.counters;
        CameraStats {
            frames: counters.frames.load(Relaxed),
            late_frames: counters.late_frames.load(Relaxed),
            sender_reports: counters.reports.load(Relaxed),
            sessions: counters.medias.load(Relaxed),
            clients: lock(&self.server).clients(),
        }
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        lock(&self.server).cut();
        self.commands = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("{}: the camera's thread panicked", self.shared.name);
        }
        self.shared.set_feed(None);
    }
}

fn check(options: &CameraOptions) -> Result<(), CameraError> {
    let wrong = |what| {
        Err(CameraError::Option {
            camera: options.name.clone(),
            what,
        })
    };
    let ppm = [options.clock_drift_ppm, options.media_drift_ppm];
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match options {
        o if !(1..=120).contains(&o.fps) => wrong("fps is 1 to 120"),
        o if o.gop == 0 => wrong("gop is at least 1"),
        o if o.bitrate_kbit == 0 => wrong("the bit rate is at least 1 kbit/s"),
        o if o.path.is_empty() || !o.path.chars().all(plain) => wrong("the path is made of a-z A-Z 0-9 - _"),
        o if o.delay < Span::ZERO || o.jitter < Span::ZERO => wrong("delay and jitter are not negative"),
        o if o.report_interval < Span::from_millis(100) => wrong("the report interval is at least 100 ms"),
        _ if !ppm.iter().all(|p| p.abs() <= 100_000.0) => wrong("drifts are within 100000 ppm"),
        _ => Ok(()),
    }
}
