//! What the web server and the MQTT publisher ask for, given by the store and the configuration.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use axum::http::StatusCode;
use synoptic_base::{Clock, ClockMap, Detection, EventId, FrameKey, StreamId};
use synoptic_media::session::SessionOptions;
use synoptic_media::{RtspTransport, Source};
use synoptic_store::{DetectionQuery, DetectionRow, EventQuery, Store};
use tokio::sync::watch;
use uuid::Uuid;

use crate::config::{self, Config, EditError, SaveError, SettingsMap, SourceError, VirtualCameraSettings};
use crate::documents::{AnyEventDoc, Capture, DetectionDoc, ProbeDoc, hundredths_ms};
use crate::hub::{Command, Hub};
use crate::mqtt::{BoxFuture as MqttFuture, Outbox, OutboxRow};
use crate::probe;
use crate::recorder::{Recorder, any_event_doc};
use crate::web::{
    BoxFuture, CameraAdmin, CameraBias, Choices, DeviceChoice, EventFilter, EventSource, FoundDoc, NewCamera,
    Problem,
};

/// The store's events, for the web server.
pub(crate) struct StoredEvents {
    pub(crate) store: Store,
    pub(crate) recorder: Arc<Recorder>,
}

impl EventSource for StoredEvents {
    fn list(&self, filter: EventFilter) -> BoxFuture<'_, Result<Vec<AnyEventDoc>, Problem>> {
        Box::pin(async move {
            let query = EventQuery {
                kind: filter.kind,
                stream: filter.cam,
                label: filter.label,
                cursor: filter.before.map(|id| id.to_string()),
                limit: u32::try_from(filter.limit).unwrap_or(u32::MAX),
                ..EventQuery::default()
            };
            let page = self
                .store
                .any_events(&query)
                .await
                .map_err(|e| Problem::internal("reading events", e))?;
            Ok(page.events.iter().map(any_event_doc).collect())
        })
    }

    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<AnyEventDoc>, Problem>> {
        Box::pin(async move {
            let row = self
                .store
                .any_event(EventId(id))
                .await
                .map_err(|e| Problem::internal("reading an event", e))?;
            Ok(row.as_ref().map(any_event_doc))
        })
    }

    fn picture(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Vec<u8>>, Problem>> {
        Box::pin(async move {
            if let Some(jpeg) = self.recorder.newest_picture(EventId(id)) {
                return Ok(Some(jpeg.to_vec()));
            }
            self.store
                .picture(EventId(id))
                .await
                .map_err(|e| Problem::internal("reading a picture", e))
        })
    }

    fn found(&self, query: DetectionQuery) -> BoxFuture<'_, Result<Vec<FoundDoc>, Problem>> {
        Box::pin(async move {
            let rows = self.store.detections(&query).await;
            let rows = rows.map_err(|e| Problem::internal("reading detections", e))?;
            Ok(rows.iter().map(found_doc).collect())
        })
    }

    fn found_in(&self, frame: FrameKey) -> BoxFuture<'_, Result<Vec<FoundDoc>, Problem>> {
        Box::pin(async move {
            let rows = self.store.detections_of(frame).await;
            let rows = rows.map_err(|e| Problem::internal("reading detections", e))?;
            Ok(rows.iter().map(found_doc).collect())
        })
    }
}

fn found_doc(row: &DetectionRow) -> FoundDoc {
    let of = |d: &Detection| DetectionDoc {
        track: None,
        label: d.label.clone(),
        score: d.score,
        bbox: [d.bbox.x, d.bbox.y, d.bbox.w, d.bbox.h],
        carried: false,
    };
    FoundDoc {
        key: row.frame.to_string(),
        timestamp: row.frame.media_us.as_micros().div_euclid(1_000),
        detector: row.detector.clone(),
        capture: Capture::of_stamp(row.stamp, row.captured.rel_error),
        detections: row.detections.iter().map(of).collect(),
    }
}

/// The store's outbox, for the publisher.
pub(crate) struct StoreOutbox(pub Store);

impl Outbox for StoreOutbox {
    fn rows(&self, after_seq: i64, limit: u32) -> MqttFuture<'_, Result<Vec<OutboxRow>, String>> {
        Box::pin(async move {
            let rows = self.0.outbox(after_seq, limit).await.map_err(|e| e.to_string())?;
            let row = |r: synoptic_store::OutboxRow| OutboxRow {
                seq: r.seq,
                id: r.message.id,
                topic: r.message.topic,
                payload: r.message.payload,
                properties: r.message.properties,
            };
            Ok(rows.into_iter().map(row).collect())
        })
    }

    fn done(&self, seqs: Vec<i64>) {
        self.0.outbox_done(seqs);
    }

    fn park(&self, seq: i64, why: String) {
        // The event itself stays in the database; only its message cannot be sent.
        log::error!("outbox: message {seq} can never be delivered and is given up: {why}");
        self.0.outbox_done(vec![seq]);
    }

    fn changed(&self) -> watch::Receiver<u64> {
        self.0.outbox_changed()
    }
}

/// Cameras by way of the configuration file, for the web server.
pub(crate) struct ConfiguredCameras {
    pub path: PathBuf,
    pub config: Arc<ArcSwap<Config>>,
    pub hub: Arc<Hub>,
    pub clock: Arc<dyn Clock>,
    pub map: Arc<ArcSwap<ClockMap>>,
    /// One change of the file at a time.
    pub editing: Arc<Mutex<()>>,
}

impl ConfiguredCameras {
    fn text(&self) -> Result<String, Problem> {
        std::fs::read_to_string(&self.path).map_err(|e| Problem::internal("reading the configuration", e))
    }

    fn save(&self, edit: Result<config::Edit, EditError>) -> Result<(), Problem> {
        edit.and_then(|edit| edit.save(&self.path)).map_err(problem)?;
        // The daemon ends only after the web server: somebody listens.
        self.hub
            .commands
            .send(Command::Reload)
            .map_err(|e| Problem::internal("applying the change", e))
    }
}

fn problem(error: EditError) -> Problem {
    let text = error.to_string();
    match error {
        EditError::Taken(_)
        | EditError::StreamTaken(_)
        | EditError::OutputTaken(_)
        | EditError::Changed(_) => Problem::conflict(text),
        EditError::NoCamera(_)
        | EditError::NoPanorama(_)
        | EditError::NoVirtualCamera(_)
        | EditError::NoOutput(_) => Problem::not_found(text),
        EditError::Setting(_) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text),
        EditError::Source(_) => Problem::invalid("source", text),
        EditError::Id(_) => Problem::invalid("id", text),
        EditError::NoGroup(_) => Problem::invalid("group", text),
        EditError::Unreadable(_) => Problem::conflict(text),
        EditError::Save(SaveError::Invalid(errors)) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, told(&errors))
        }
        EditError::Save(e) => Problem::internal("saving the configuration", e),
    }
}

/// What is wrong with a changed configuration, without the lines of the file: they may be anybody's.
fn told(errors: &config::ConfigErrors) -> String {
    let one = |p: &config::Problem| match &p.hint {
        Some(hint) => format!("{}: {}: {hint}", p.path, p.message),
        None => format!("{}: {}", p.path, p.message),
    };
    let errors = errors
        .problems
        .iter()
        .filter(|p| p.severity == config::Severity::Error);
    errors.map(one).collect::<Vec<_>>().join("; ")
}

fn as_configured(camera: NewCamera) -> config::NewCamera {
    // The form asks for it wherever there is an address; only RTSP has a choice.
    let rtsp = camera.source.to_ascii_lowercase().starts_with("rtsp");
    config::NewCamera {
        id: Some(camera.id.to_string()),
        name: camera.name,
        source: camera.source,
        user: camera.user,
        password: camera.password.map(|p| p.expose().to_owned()),
        transport: camera.transport.filter(|_| rtsp).map(|t| {
            match t {
                crate::web::Transport::Tcp => "tcp",
                crate::web::Transport::Udp => "udp",
            }
            .to_owned()
        }),
        detector: Some(camera.detector.unwrap_or_else(|| "none".to_owned())),
        group: camera.group.map(|g| g.to_string()),
    }
}

/// The source of a camera that is not configured yet.
fn source(camera: &NewCamera) -> Result<Source, SourceError> {
    let mut source = config::parse_source(&camera.source, Path::new("/"))?;
    if let Source::Rtsp { transport, .. } = &mut source {
        *transport = camera.transport.map_or_else(RtspTransport::default, Into::into);
    }
    source.log_in(camera.user.clone(), camera.password.clone());
    Ok(source)
}

impl CameraAdmin for ConfiguredCameras {
    fn add(&self, camera: NewCamera) -> Result<(), Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.text()?;
        self.save(config::add_camera(&text, &as_configured(camera)))
    }

    fn remove(&self, camera: &StreamId) -> Result<(), Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.text()?;
        self.save(config::remove_camera(&text, camera.as_str()))
    }

    fn probe(&self, camera: NewCamera) -> ProbeDoc {
        let source = match source(&camera) {
            Ok(source) => source,
            Err(error) => return probe::refused(&camera.source, &error.to_string()),
        };
        let capture_bias_error = probe::unmeasured_bias(&source);
        let session = SessionOptions {
            source,
            rotation: synoptic_base::Rotation::None,
            capture_bias: synoptic_base::Span::ZERO,
            capture_bias_error,
        };
        probe::probe(&session, &self.clock, &self.map.load(), probe::DEFAULT_DURATION)
    }

    fn biases(&self, group: &StreamId) -> Result<Vec<CameraBias>, Problem> {
        let config = self.config.load();
        let found = config.groups.iter().find(|g| g.id == *group);
        let found = found.ok_or_else(|| Problem::not_found(format!("there is no group `{group}`")))?;
        let members = config
            .cameras
            .iter()
            .filter(|c| c.enabled && found.cameras.contains(&c.options.id));
        Ok(members
            .map(|c| CameraBias {
                camera: c.options.id,
                bias: c.options.capture_bias,
                error: c.options.capture_bias_error,
            })
            .collect())
    }

    fn set_biases(&self, measured: &[CameraBias]) -> Result<(), Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.text()?;
        let rows: Vec<config::BiasEdit> = measured
            .iter()
            .map(|m| config::BiasEdit {
                camera: m.camera,
                bias_ms: hundredths_ms(m.bias),
                error_ms: hundredths_ms(m.error),
            })
            .collect();
        self.save(config::set_biases(&text, &rows))
    }

    fn add_panorama(&self, settings: &SettingsMap) -> Result<StreamId, Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let edit = config::add_panorama(&self.text()?, settings).map_err(problem)?;
        let id = edit.id;
        self.save(Ok(edit))?;
        Ok(id)
    }

    fn change_panorama(&self, id: &StreamId, settings: &SettingsMap) -> Result<(), Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.text()?;
        self.save(config::change_panorama(&text, id, settings))
    }

    fn remove_panorama(&self, id: &StreamId) -> Result<(), Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.text()?;
        self.save(config::remove_panorama(&text, id))
    }

    fn virtual_camera_settings(&self, id: &StreamId) -> Result<VirtualCameraSettings, Problem> {
        let config = self.config.load();
        let found = config.virtual_cameras.iter().find(|v| v.id == *id);
        let found = found.ok_or_else(|| problem(EditError::NoVirtualCamera(*id)))?;
        Ok(found.into())
    }

    fn add_virtual_camera(&self, settings: &SettingsMap) -> Result<StreamId, Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let edit = config::add_virtual_camera(&self.text()?, settings).map_err(problem)?;
        let id = edit.id;
        self.save(Ok(edit))?;
        Ok(id)
    }

    fn change_virtual_camera(&self, id: &StreamId, settings: &SettingsMap) -> Result<(), Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.text()?;
        self.save(config::change_virtual_camera(&text, id, settings))
    }

    fn remove_virtual_camera(&self, id: &StreamId) -> Result<(), Problem> {
        let _turn = self.editing.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.text()?;
        self.save(config::remove_virtual_camera(&text, id))
    }

    fn choices(&self) -> Choices {
        let config = self.config.load();
        Choices {
            detectors: config.detectors.iter().map(|d| d.name.clone()).collect(),
            groups: config.groups.iter().map(|g| g.id.to_string()).collect(),
            devices: synoptic_media::devices::list()
                .into_iter()
                .map(|d| DeviceChoice {
                    path: d.path.display().to_string(),
                    name: d.name,
                })
                .collect(),
        }
    }
}
