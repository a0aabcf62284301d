//! The demo's panorama beside the truth: where the scene's places lie on it, by the daemon and by the scene.

use std::fmt::Write;

use serde::Deserialize;
use synoptic_base::Size;

use super::look::{Api, Status};

/// Id of the demo's panorama.
pub(super) const ID: &str = "panorama";
/// Rows of places that are compared, in parts of the picture's height, and columns in parts of the overlap.
const DOWN: [f64; 3] = [0.2, 0.5, 0.8];
const ACROSS: [f64; 3] = [0.15, 0.5, 0.85];
/// Side of the box around a place, in pixels: its middle is the place.
const SIDE: f64 = 4.0;

/// What is read of a panorama in the daemon's status.
#[derive(Debug, Deserialize)]
pub(super) struct PanoramaStatus {
    pub id: String,
    pub status: Stitch,
}

#[derive(Debug, Deserialize)]
pub(super) struct Stitch {
    pub state: String,
    pub reason: Option<String>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fps: f64,
    pub calibration: Option<u32>,
}

/// Cameras of a scene, and where their views begin in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Truth {
    /// Id and left edge in pixels, from left to right.
    pub cameras: Vec<(String, f64)>,
    pub size: Size,
}

/// Watches the panorama. The error of a calibration is asked for once.
#[derive(Debug, Default)]
pub(super) struct Watch {
    truth: Truth,
    known: Option<(Option<u32>, f64)>,
    newest: String,
}

impl Watch {
    pub(super) fn new(truth: Truth) -> Watch {
        Watch {
            truth,
            ..Watch::default()
        }
    }

    /// The panorama in a few words; empty without one.
    pub(super) fn look(&mut self, api: &Api, status: &Status) -> anyhow::Result<&str> {
        self.newest.clear();
        let Some(panorama) = status.panoramas.iter().find(|p| p.id == ID) else {
            return Ok(&self.newest);
        };
        let stitch = &panorama.status;
        let _ = write!(self.newest, "panorama {}", stitch.state);
        let (Some(width), Some(height)) = (stitch.width, stitch.height) else {
            if let Some(reason) = &stitch.reason {
                let _ = write!(self.newest, " ({})", reason.chars().take(60).collect::<String>());
            }
            return Ok(&self.newest);
        };
        if self
            .known
            .is_none_or(|(version, _)| version != stitch.calibration)
        {
            let error = self.error(api, Size::new(width, height))?;
            self.known = Some((stitch.calibration, error));
        }
        let error = self.known.map_or(f64::NAN, |(_, error)| error);
        let _ = write!(
            self.newest,
            " {width}x{height} {:.1} fps, true error {error:.2} px",
            stitch.fps
        );
        Ok(&self.newest)
    }

    /// What was seen last.
    pub(super) fn newest(&self) -> &str {
        &self.newest
    }

    /// How far apart on the canvas the two cameras of each overlap put the same places of the scene: root mean square,
    /// canvas pixels.
    fn error(&self, api: &Api, canvas: Size) -> anyhow::Result<f64> {
        let (w, h) = (
            f64::from(self.truth.size.width),
            f64::from(self.truth.size.height),
        );
        let place = |camera: &str, x: f64, y: f64| {
            let half = SIDE / 2.0;
            let bbox = [(x - half) / w, (y - half) / h, SIDE / w, SIDE / h];
            let found = api.map(ID, camera, bbox)?;
            let middle = |at: f64, side: f64, whole: u32| (at + side / 2.0) * f64::from(whole);
            anyhow::Ok([
                middle(found[0], found[2], canvas.width),
                middle(found[1], found[3], canvas.height),
            ])
        };
        let (mut sum, mut n) = (0.0, 0.0);
        for pair in self.truth.cameras.windows(2) {
            let ((one, left), (two, right)) = (&pair[0], &pair[1]);
            let shift = right - left;
            for down in DOWN {
                for across in ACROSS {
                    let x = shift + across * (w - shift);
                    let (a, b) = (place(one, x, down * h)?, place(two, x - shift, down * h)?);
                    sum += (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
                    n += 1.0;
                }
            }
        }
        Ok((sum / f64::max(n, 1.0)).sqrt())
    }
}
