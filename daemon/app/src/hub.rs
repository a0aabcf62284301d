//! The live view of the daemon: what the pixel threads publish and the web API and MQTT read.
//!
//! Writers never wait: values are replaced, broadcasts drop the oldest for a reader that is too slow.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use synoptic_base::{Frame, FrameKey, FrameMeta, StreamId, Surface};
use synoptic_engine::timebase::flash::Light;
use synoptic_media::clocks::SystemClock;
use synoptic_media::coded::Relay;
use tokio::sync::{broadcast, mpsc, watch};

use crate::documents::{AnyEventDoc, DetectionDoc, PacketLine, StatusDoc};
use crate::found::Found;
use crate::inference::registry::Engines;
use crate::stages::Stages;
use crate::starts::Starts;
use crate::taps::Taps;

/// Packets a slow reader may fall behind before it loses the oldest.
const PACKET_BACKLOG: usize = 64;
/// Frames a slow reader of brightness may fall behind: two seconds of eight cameras.
const LIGHT_BACKLOG: usize = 512;
/// Every so many rows and columns are looked at for the brightness of a picture: 2,000 of 720p.
const LIGHT_STEP: usize = 20;
/// Events a slow reader may fall behind; it finds lost ones in the database.
const EVENT_BACKLOG: usize = 256;
/// Frames of a camera whose detections are remembered: half a second at 60 frames a second.
const FOUND: usize = 32;

/// The newest picture of a camera and what was found in that very picture.
#[derive(Clone)]
pub struct LatestPicture {
    /// What is known of the frame.
    pub meta: FrameMeta,
    /// What was found in it; `None` when no detector looked at it.
    pub detections: Option<Vec<DetectionDoc>>,
    /// Its pixels.
    pub pixels: Arc<dyn Surface>,
}

/// What the API asks of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Read the configuration file again and apply what changed.
    Reload,
    /// Apply what changed of what runs beside the configuration file.
    Apply,
    /// End in good order.
    Stop,
}

/// Shared by all parts; every field may be read from any thread.
pub struct Hub {
    /// State of everything, replaced once a second and on change. `None` until the first.
    pub status: watch::Sender<Option<Arc<StatusDoc>>>,
    /// Every packet of every group.
    pub packets: broadcast::Sender<Arc<PacketLine>>,
    /// Every event, at each change.
    pub events: broadcast::Sender<Arc<AnyEventDoc>>,
    /// How bright each frame is, while somebody wants to know.
    pub lights: broadcast::Sender<(StreamId, Light)>,
    /// Requests to the daemon.
    pub commands: mpsc::UnboundedSender<Command>,
    /// How long each stage takes.
    pub stages: Stages,
    /// Coded pictures of every stream.
    pub relay: Arc<Relay>,
    /// What detectors found, frame by frame.
    pub found: Found,
    /// Decoded and composed pictures as they come.
    pub taps: Taps,
    /// When streams began.
    pub starts: Starts,
    /// What runs detectors' models.
    pub engines: Engines,
    pictures: Mutex<BTreeMap<StreamId, LatestPicture>>,
    boxes: Mutex<BTreeMap<StreamId, Boxes>>,
}

/// What was found in the newest frames of a camera, oldest first.
type Boxes = VecDeque<(FrameKey, Arc<[DetectionDoc]>)>;

impl Hub {
    /// An empty hub, and the end at which the daemon hears commands.
    pub fn new() -> (Arc<Hub>, mpsc::UnboundedReceiver<Command>) {
        let (commands, heard) = mpsc::unbounded_channel();
        let hub = Hub {
            status: watch::Sender::new(None),
            packets: broadcast::Sender::new(PACKET_BACKLOG),
            events: broadcast::Sender::new(EVENT_BACKLOG),
            lights: broadcast::Sender::new(LIGHT_BACKLOG),
            commands,
            stages: Stages::default(),
            relay: Relay::new(SystemClock::shared()),
            found: Found::default(),
            taps: Taps::default(),
            starts: Starts::default(),
            engines: Engines::default(),
            pictures: Mutex::default(),
            boxes: Mutex::default(),
        };
        (Arc::new(hub), heard)
    }

    /// Tells how bright a frame is to those who measure biases by it.
    pub fn lit(&self, frame: &Frame<Arc<dyn Surface>>) {
        if self.lights.receiver_count() == 0 {
            return;
        }
        let size = frame.meta.size;
        let mut mean = None;
        let read = frame.pixels.with_planes(&mut |planes| {
            let luma = planes.luma();
            let rows = luma.data.chunks(luma.stride.max(1)).take(size.height as usize);
            let (mut sum, mut count) = (0_u64, 0_u64);
            for row in rows.step_by(LIGHT_STEP) {
                for value in row.iter().take(size.width as usize).step_by(LIGHT_STEP) {
                    sum += u64::from(*value);
                    count += 1;
                }
            }
            mean = (count > 0).then(|| sum as f32 / count as f32);
        });
        if let Err(error) = read {
            log::debug!("a picture's brightness cannot be read: {error}");
        }
        if let Some(luma) = mean {
            let captured = frame.meta.captured.mono;
            // Without readers there is nobody to tell.
            self.lights
                .send((frame.meta.key.stream, Light { captured, luma }))
                .ok();
        }
    }

    /// Replaces a camera's newest picture.
    pub fn show(&self, picture: LatestPicture) {
        if let Some(detections) = &picture.detections {
            let mut boxes = self.boxes.lock().unwrap_or_else(PoisonError::into_inner);
            let found = boxes.entry(picture.meta.key.stream).or_default();
            if found.len() == FOUND {
                found.pop_front();
            }
            found.push_back((picture.meta.key, detections.as_slice().into()));
        }
        let mut pictures = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        pictures.insert(picture.meta.key.stream, picture);
    }

    /// A camera's newest picture.
    pub fn picture(&self, camera: &StreamId) -> Option<LatestPicture> {
        let pictures = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        pictures.get(camera).cloned()
    }

    /// What was found in one of the newest frames of a camera; `None` when nobody has looked at it (yet).
    pub fn boxes(&self, frame: &FrameKey) -> Option<Arc<[DetectionDoc]>> {
        let found = self.boxes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = found
            .get(&frame.stream)?
            .iter()
            .rev()
            .find(|(key, _)| key == frame)?;
        Some(known.1.clone())
    }

    /// What was found in the newest frame of a camera that was looked at, and which that is.
    pub fn last_boxes(&self, camera: &StreamId) -> Option<(FrameKey, Arc<[DetectionDoc]>)> {
        let found = self.boxes.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(camera)?.back().cloned()
    }

    /// Forgets a camera that was removed.
    pub fn forget(&self, camera: &StreamId) {
        let mut pictures = self.pictures.lock().unwrap_or_else(PoisonError::into_inner);
        pictures.remove(camera);
        drop(pictures);
        self.relay.remove(camera);
        self.found.forget(camera);
        let mut found = self.boxes.lock().unwrap_or_else(PoisonError::into_inner);
        found.remove(camera);
    }
}
