//! How far a panorama on request is: read off the status of the box.

use super::extras::Names;
use crate::documents::{CameraState, JobState, PanoramaState, StatusDoc};

/// How far it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Progress {
    /// Not all streams give pictures: what is known of those that do not.
    Reading(String),
    /// A stream can never be read.
    Locked(String),
    /// All give pictures, and it is found out where they look. `why` is what stands in the way, if anything.
    Calibrating { part: f64, why: Option<String> },
    /// Where they look could not be found out by the calibration that began then.
    Refused { begun: String, why: String },
    /// Pictures of the panorama come.
    Running,
}

/// Of the request of these names, whose streams are shown as `urls`.
pub(super) fn judge(names: &Names, urls: &[String; 2], doc: &StatusDoc) -> Progress {
    let panorama = doc.panoramas.iter().find(|p| p.id == names.panorama.as_str());
    if let Some(panorama) = panorama {
        let status = &panorama.status;
        let composed = matches!(status.state, PanoramaState::Running | PanoramaState::Degraded);
        if composed && status.fps > 0.0 {
            return Progress::Running;
        }
    }
    let mut missing = Vec::new();
    for (k, (id, url)) in names.cameras.iter().zip(urls).enumerate() {
        let camera = doc.cameras.iter().find(|c| c.id == id.as_str());
        let state = camera.map_or(CameraState::Connecting, |c| c.status.state);
        if state == CameraState::Online {
            continue;
        }
        let why = camera.and_then(|c| c.status.reason.clone());
        let why = why.unwrap_or_else(|| "it has given no picture yet".to_owned());
        let line = format!("url{} ({url}): {why}", k + 1);
        if state == CameraState::AuthFailed {
            return Progress::Locked(line);
        }
        missing.push(line);
    }
    if !missing.is_empty() {
        return Progress::Reading(missing.join("; "));
    }
    let job = panorama.and_then(|p| p.job.as_ref());
    match job {
        Some(job) if job.state == JobState::Refused => Progress::Refused {
            begun: job.begun.clone(),
            why: job
                .reason
                .clone()
                .unwrap_or_else(|| "no reason was given".to_owned()),
        },
        Some(job) => Progress::Calibrating {
            part: job.progress,
            why: None,
        },
        None => Progress::Calibrating {
            part: 0.0,
            why: panorama.and_then(|p| p.status.reason.clone()),
        },
    }
}
