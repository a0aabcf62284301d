//! What the web server asks of the rest of the daemon, and the documents only the API has.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Deserializer, Serialize};
use synoptic_base::{FrameKey, Span, StreamId};
use synoptic_media::{RtspTransport, Secret};
use synoptic_store::DetectionQuery;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{FoundDoc, Problem};
use crate::config::{SettingsMap, VirtualCameraSettings};
use crate::documents::{AnyEventDoc, CalibrationDoc, ControlPointDoc, ProbeDoc};

/// A future that a trait object may return.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Which events are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this type only.
    pub kind: Option<String>,
    /// Of this camera only.
    pub cam: Option<StreamId>,
    /// Of this class only.
    pub label: Option<String>,
    /// Older than this event: ids are UUIDv7, so their order is the order of beginning.
    pub before: Option<Uuid>,
    /// At most this many.
    pub limit: usize,
}

/// Where stored events are read.
pub trait EventSource: Send + Sync {
    /// Events that match, newest first, `filter.limit` at most.
    fn list(&self, filter: EventFilter) -> BoxFuture<'_, Result<Vec<AnyEventDoc>, Problem>>;
    /// One event; `None` when there is none of this id.
    fn get(&self, id: Uuid) -> BoxFuture<'_, Result<Option<AnyEventDoc>, Problem>>;
    /// The event's best picture as JPEG; `None` when there is no such event or no picture was kept.
    fn picture(&self, id: Uuid) -> BoxFuture<'_, Result<Option<Vec<u8>>, Problem>>;
    /// What was found in the frames asked for, oldest first.
    fn found(&self, query: DetectionQuery) -> BoxFuture<'_, Result<Vec<FoundDoc>, Problem>>;
    /// What was found in one frame, by each detector.
    fn found_in(&self, frame: FrameKey) -> BoxFuture<'_, Result<Vec<FoundDoc>, Problem>>;
}

/// Changes the cameras and, where it can, the panoramas and virtual cameras of the configuration. Every method may block; the server calls them off its own threads.
pub trait CameraAdmin: Send + Sync {
    /// Writes the camera into the configuration file and starts it. 409 when the id is taken.
    fn add(&self, camera: NewCamera) -> Result<(), Problem>;
    /// Takes the camera out of the configuration file and stops it. 404 when there is none.
    fn remove(&self, camera: &StreamId) -> Result<(), Problem>;
    /// Looks at what the camera sends, for a few seconds. Changes nothing.
    fn probe(&self, camera: NewCamera) -> ProbeDoc;
    /// The capture biases of a group's cameras, as configured. 404 when there is no such group.
    fn biases(&self, group: &StreamId) -> Result<Vec<CameraBias>, Problem>;
    /// Writes capture biases into the configuration file and applies them.
    fn set_biases(&self, measured: &[CameraBias]) -> Result<(), Problem>;
    /// What a new camera can choose from.
    fn choices(&self) -> Choices;
    /// Writes a panorama into the configuration file and starts it. Returns its id; 409 when that is taken, 422 where a
    /// setting cannot be.
    fn add_panorama(&self, _settings: &SettingsMap) -> Result<StreamId, Problem> {
        Err(Problem::conflict("there is no configuration to change"))
    }
    /// Changes a panorama of the configuration file: what is absent stays, `null` is the default. 404 when there is none.
    fn change_panorama(&self, id: &StreamId, _settings: &SettingsMap) -> Result<(), Problem> {
        Err(Problem::not_found(format!("there is no panorama `{id}`")))
    }
    /// Takes a panorama out of the configuration file and stops it. 404 when there is none.
    fn remove_panorama(&self, id: &StreamId) -> Result<(), Problem> {
        Err(Problem::not_found(format!("there is no panorama `{id}`")))
    }
    /// What a virtual camera of the configuration runs with, defaults among it. 404 when there is none.
    fn virtual_camera_settings(&self, id: &StreamId) -> Result<VirtualCameraSettings, Problem> {
        Err(Problem::not_found(format!("there is no virtual camera `{id}`")))
    }
    /// Writes a virtual camera into the configuration file and starts it. Returns its id; 409 when that is taken, 422 where a
    /// setting cannot be.
    fn add_virtual_camera(&self, _settings: &SettingsMap) -> Result<StreamId, Problem> {
        Err(Problem::conflict("there is no configuration to change"))
    }
    /// Changes a virtual camera of the configuration file: what is absent stays, `null` is the default. 404 when there is none.
    fn change_virtual_camera(&self, id: &StreamId, _settings: &SettingsMap) -> Result<(), Problem> {
        Err(Problem::not_found(format!("there is no virtual camera `{id}`")))
    }
    /// Takes a virtual camera out of the configuration file and stops it. 404 when there is none.
    fn remove_virtual_camera(&self, id: &StreamId) -> Result<(), Problem> {
        Err(Problem::not_found(format!("there is no virtual camera `{id}`")))
    }
}

/// Calibrates panoramas. Every method may block; the server calls them off its own threads. 404 where there is no such
/// panorama.
pub trait PanoramaAdmin: Send + Sync {
    /// Pauses one, or resumes it. 409 when it is stopped.
    fn pause(&self, id: &StreamId, paused: bool) -> Result<(), Problem>;
    /// Begins a calibration from the frames of the next `seconds`. 409 when one runs. The result waits to be accepted, or
    /// is in use at once if `accept` says so.
    fn calibrate(&self, id: &StreamId, seconds: u32, accept: bool) -> Result<(), Problem>;
    /// All stored calibrations, a candidate first, then the newest first: the first version is the one in use.
    fn calibrations(&self, id: &StreamId) -> Result<Vec<CalibrationDoc>, Problem>;
    /// The file of one.
    fn calibration_text(&self, id: &StreamId, version: u32) -> Result<String, Problem>;
    /// The small JPEG of one, or of the candidate.
    fn calibration_picture(&self, id: &StreamId, version: Option<u32>) -> Result<Option<Vec<u8>>, Problem>;
    /// Takes the candidate into use.
    fn accept(&self, id: &StreamId) -> Result<CalibrationDoc, Problem>;
    /// Throws the candidate away.
    fn discard(&self, id: &StreamId) -> Result<(), Problem>;
    /// Takes an old version into use again, under a new number.
    fn restore(&self, id: &StreamId, version: u32) -> Result<CalibrationDoc, Problem>;
    /// Places that a person found in two pictures, for the next calibrations.
    fn control_points(&self, id: &StreamId) -> Result<Vec<ControlPointDoc>, Problem>;
    /// Keeps these points and no others. 422 where one cannot be.
    fn set_control_points(&self, id: &StreamId, points: &[ControlPointDoc]) -> Result<(), Problem>;
    /// Where a box of a camera is in the panorama, or, without a camera, where a box of the panorama is in each camera.
    fn map(
        &self,
        id: &StreamId,
        camera: Option<&StreamId>,
        bbox: [f32; 4],
    ) -> Result<Vec<MappedBox>, Problem>;
}

/// A box in another picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MappedBox {
    /// The camera or panorama in whose picture it is.
    pub stream: String,
    /// `[x, y, w, h]` in fractions of that picture.
    pub bbox: [f32; 4],
}

/// How late a camera's stamps are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CameraBias {
    /// The camera.
    pub camera: StreamId,
    /// `capture_bias_ms`.
    pub bias: Span,
    /// `capture_bias_error_ms`.
    pub error: Span,
}

/// What a new camera can choose from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Choices {
    /// Names of the detectors.
    pub detectors: Vec<String>,
    /// Ids of the sync groups.
    pub groups: Vec<String>,
    /// Local video devices no camera uses yet.
    pub devices: Vec<DeviceChoice>,
}

/// A local video device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceChoice {
    /// `/dev/videoN`
    pub path: String,
    /// What the driver calls it.
    pub name: String,
}

/// A camera to add or to test.
#[derive(Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCamera {
    /// Its id: 1 to 31 of a-z, 0-9, _ and -, beginning with a letter or digit.
    #[schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,30}$")]
    pub id: StreamId,
    /// Name for people.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// `rtsp://…`, `rtsps://…`, `rtmp://…`, `rtmps://…`, `http(s)://….flv`, `http(s)://….m3u8`, `/dev/videoN`, or the full path of a video file on the box.
    pub source: String,
    /// User, if the camera wants one.
    #[serde(default)]
    pub user: Option<String>,
    /// Password. Kept in a file of its own, never shown again.
    #[serde(default, deserialize_with = "secret")]
    #[schema(value_type = Option<String>, format = Password, write_only)]
    pub password: Option<Secret>,
    /// How RTP travels; TCP when `null`. For RTSP only.
    #[serde(default)]
    pub transport: Option<Transport>,
    /// Name of a detector; no detection when `null`.
    #[serde(default)]
    pub detector: Option<String>,
    /// Id of the sync group to join; none when `null`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub group: Option<StreamId>,
}

/// How RTP travels from an RTSP camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Interleaved in the RTSP connection: works everywhere.
    Tcp,
    /// RTP over UDP: less delay, needs an open way back.
    Udp,
}

impl From<Transport> for RtspTransport {
    fn from(transport: Transport) -> RtspTransport {
        match transport {
            Transport::Tcp => RtspTransport::Tcp,
            Transport::Udp => RtspTransport::Udp,
        }
    }
}

/// Longest name of a camera, in characters.
const MAX_NAME: usize = 64;
/// Longest source, in bytes: what URLs of cameras need many times over.
const MAX_SOURCE: usize = 2048;

impl NewCamera {
    /// Checks what can be checked without looking at the configuration or the network, and moves a user and a
    /// password written into the URL to their own fields, so that no URL carries a password from here on.
    pub fn checked(mut self) -> Result<NewCamera, Problem> {
        self.name = self.name.trim().to_owned();
        let length = self.name.chars().count();
        if length == 0 || length > MAX_NAME || self.name.chars().any(char::is_control) {
            return Err(Problem::invalid(
                "name",
                "give the camera a name of 1 to 64 characters",
            ));
        }
        self.source = self.source.trim().to_owned();
        if self.source.len() > MAX_SOURCE || self.source.chars().any(|c| c.is_control() || c == ' ') {
            return Err(Problem::invalid(
                "source",
                "the source has a space or a control character, or is too long",
            ));
        }
        for (field, text) in [("user", self.user.as_deref()), ("password", self.password_text())] {
            if text.is_some_and(|t| t.len() > 256 || t.chars().any(char::is_control)) {
                return Err(Problem::invalid(
                    field,
                    format!("the {field} has a control character or is longer than 256 bytes"),
                ));
            }
        }
        let rtsp = ["rtsp://", "rtsps://"]
            .into_iter()
            .find(|scheme| starts_with_ignoring_case(&self.source, scheme));
        if let Some(scheme) = rtsp {
            self.take_user_info(scheme)?;
        } else if !self.source.starts_with('/') || self.source.contains("/../") {
            return Err(Problem::invalid(
                "source",
                "use rtsp://…, rtsps://…, /dev/videoN or the full path of a video file on the box",
            ));
        } else if self.transport.is_some() || self.user.is_some() || self.password.is_some() {
            return Err(Problem::invalid(
                "source",
                "user, password and transport are for rtsp:// and rtsps:// only",
            ));
        }
        Ok(self)
    }

    fn password_text(&self) -> Option<&str> {
        self.password.as_ref().map(Secret::expose)
    }

    fn take_user_info(&mut self, scheme: &str) -> Result<(), Problem> {
        let rest = &self.source[scheme.len()..];
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (info, host) = match authority.rsplit_once('@') {
            Some((info, host)) => (Some(info), host),
            None => (None, authority),
        };
        if host.is_empty() || host.starts_with(':') {
            return Err(Problem::invalid("source", "the URL names no host"));
        }
        let Some(info) = info else {
            self.source = format!("{scheme}{rest}");
            return Ok(());
        };
        if self.user.is_some() || self.password.is_some() {
            return Err(Problem::invalid(
                "source",
                "give user and password either in the URL or in their own fields, not in both",
            ));
        }
        let (user, password) = match info.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (info, None),
        };
        let decode = |text: &str| {
            percent_decode(text).ok_or_else(|| {
                Problem::invalid(
                    "source",
                    "user or password in the URL is not properly percent-encoded",
                )
            })
        };
        let user = decode(user)?;
        let password = password.map(decode).transpose()?;
        self.source = format!("{scheme}{host}{}", &rest[authority.len()..]);
        self.user = Some(user).filter(|u| !u.is_empty());
        self.password = password.map(Secret::new);
        Ok(())
    }
}

impl fmt::Debug for NewCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The source may still carry a password before `checked`.
        f.debug_struct("NewCamera")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn starts_with_ignoring_case(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len())
        .is_some_and(|t| t.eq_ignore_ascii_case(prefix))
}

/// RFC 3986 section 2.1; `None` for a `%` without two hex digits, or bytes that are no UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let mut digit = || char::from(bytes.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            out.push((high * 16 + low) as u8);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|t| !t.is_empty()).map(Secret::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(source: &str) -> NewCamera {
        NewCamera {
            id: StreamId::new("c").unwrap(),
            name: " Yard ".to_owned(),
            source: source.to_owned(),
            user: None,
            password: None,
            transport: None,
            detector: None,
            group: None,
        }
    }

    #[test]
    fn a_password_leaves_the_url() {
        let c = camera("RTSP://admin:p%40ss@10.0.0.2:554/a@b?c=d")
            .checked()
            .unwrap();
        assert_eq!(c.source, "rtsp://10.0.0.2:554/a@b?c=d");
        assert_eq!(c.user.as_deref(), Some("admin"));
        assert_eq!(c.password_text(), Some("p@ss"));
        assert_eq!(c.name, "Yard");
        assert!(!format!("{c:?}").contains("p@ss"));
    }

    #[test]
    fn odd_sources_are_refused() {
        for bad in [
            "http://x/",
            "exec:ls",
            "rtsp://",
            "rtsp://:554/x",
            "rtsp://a b/",
            "rtsp://u:%zz@h/",
            "video0",
            "/data/../etc/shadow",
            "",
        ] {
            let problem = camera(bad).checked().unwrap_err();
            assert_eq!(
                (problem.status, problem.field.as_deref()),
                (422, Some("source")),
                "{bad}"
            );
        }
        let mut twice = camera("rtsp://u:p@h/");
        twice.user = Some("u".to_owned());
        assert!(twice.checked().is_err());
        for good in ["rtsps://[::1]:8554/x", "/dev/video0", "/data/clip.mp4"] {
            assert!(camera(good).checked().is_ok(), "{good}");
        }
    }
}
