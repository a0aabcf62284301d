//! What the daemon claims, beside the truth in the picture.

use anyhow::Context;
use serde::Deserialize;
use synoptic_base::{Plane, Size, Span, Utc};

use super::panorama::PanoramaStatus;
use crate::barcode;

/// Header of a picture that holds the frame's document as JSON.
const FRAME_HEADER: &str = "synoptic-frame";
/// Longest wait for an answer of the daemon on this machine.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);

/// What is read of the daemon's `GET /api/v1/status`.
#[derive(Debug, Deserialize)]
pub(super) struct Status {
    pub cameras: Vec<CameraStatus>,
    pub groups: Vec<GroupStatus>,
    #[serde(default)]
    pub panoramas: Vec<PanoramaStatus>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CameraStatus {
    pub id: String,
    pub status: State,
    pub time: Time,
}

#[derive(Debug, Deserialize)]
pub(super) struct State {
    pub state: String,
    pub reason: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Time {
    pub offset_ms: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GroupStatus {
    pub state: String,
    pub spread_ms: Option<Spread>,
    pub complete_ratio: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Spread {
    pub p50: f64,
}

#[derive(Debug, Deserialize)]
struct FrameDoc {
    key: String,
    capture: Capture,
}

#[derive(Debug, Deserialize)]
struct Capture {
    utc: String,
    rel_error_ms: f64,
}

/// One picture with its claimed and its true capture time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Look {
    /// Key of the frame.
    pub key: String,
    /// The claim: the truth lies within ± this. The bound towards the box's own clock, which the simulator's
    /// truth is read from.
    pub bound: Span,
    /// Claimed minus true capture time; `None` where the picture has no barcode.
    pub error: Option<Span>,
}

impl Look {
    /// Whether the truth lies where it is claimed; `None` when the truth is not known.
    pub(super) fn holds(&self) -> Option<bool> {
        self.error.map(|e| e.abs() <= self.bound)
    }
}

/// The daemon's API.
pub(super) struct Api {
    agent: ureq::Agent,
    base: String,
}

impl Api {
    pub(super) fn new(port: u16) -> Api {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            // The daemon is on this machine: a proxy of the environment is none of its business.
            .proxy(None)
            .build();
        Api {
            agent: config.into(),
            base: format!("http://127.0.0.1:{port}/api/v1"),
        }
    }

    /// Where a box of a camera's picture is in a panorama: `[x, y, w, h]` in fractions.
    pub(super) fn map(&self, panorama: &str, camera: &str, bbox: [f64; 4]) -> anyhow::Result<[f64; 4]> {
        #[derive(Deserialize)]
        struct Mapped {
            boxes: Vec<Box>,
        }
        #[derive(Deserialize)]
        struct Box {
            bbox: [f64; 4],
        }
        let url = format!("{}/panoramas/{panorama}/map", self.base);
        let body = serde_json::json!({ "camera": camera, "bbox": bbox });
        let mut answer = self
            .agent
            .post(&url)
            .send_json(body)
            .with_context(|| url.clone())?;
        let mapped: Mapped = answer.body_mut().read_json().context("the mapped boxes")?;
        let first = mapped.boxes.first().context("a place outside of the panorama")?;
        Ok(first.bbox)
    }

    /// State of everything.
    pub(super) fn status(&self) -> anyhow::Result<Status> {
        let url = format!("{}/status", self.base);
        let mut answer = self.agent.get(&url).call().with_context(|| url.clone())?;
        answer
            .body_mut()
            .read_json()
            .with_context(|| format!("{url}: not the expected document"))
    }

    /// The newest picture of a camera; `None` when the daemon has none.
    pub(super) fn look(&self, camera: &str) -> anyhow::Result<Option<Look>> {
        let url = format!("{}/cameras/{camera}/picture", self.base);
        let mut answer = match self.agent.get(&url).call() {
            // No content: the camera is there, but has given no picture yet.
            Ok(answer) if answer.status() == 204 => return Ok(None),
            Ok(answer) => answer,
            Err(ureq::Error::StatusCode(404 | 503)) => return Ok(None),
            Err(e) => return Err(e).with_context(|| url.clone()),
        };
        let header = answer.headers().get(FRAME_HEADER).cloned();
        let header = header.with_context(|| format!("{url}: no header {FRAME_HEADER}"))?;
        let jpeg = answer.body_mut().read_to_vec().with_context(|| url.clone())?;
        compare(header.as_bytes(), &jpeg)
            .with_context(|| url.clone())
            .map(Some)
    }
}

fn compare(document: &[u8], jpeg: &[u8]) -> anyhow::Result<Look> {
    let frame: FrameDoc = serde_json::from_slice(document).context("the frame's document")?;
    let claimed = Utc::from_rfc3339(&frame.capture.utc)
        .with_context(|| format!("`{}` is no time", frame.capture.utc))?;
    let (luma, size) = decode_luma(jpeg)?;
    let stride = size.width as usize;
    let code = barcode::read(Plane { data: &luma, stride }, size);
    Ok(Look {
        key: frame.key,
        bound: Span::from_secs_f64(frame.capture.rel_error_ms / 1e3),
        error: code.map(|c| claimed - c.utc),
    })
}

/// Luma of a JPEG file, one byte a pixel.
fn decode_luma(jpeg: &[u8]) -> anyhow::Result<(Vec<u8>, Size)> {
    let mut decoder = jpeg_decoder::Decoder::new(jpeg);
    let pixels = decoder.decode().context("the picture is no JPEG")?;
    let info = decoder.info().context("a JPEG without a header")?;
    let size = Size::new(u32::from(info.width), u32::from(info.height));
    let luma = match info.pixel_format {
        jpeg_decoder::PixelFormat::L8 => pixels,
        // Weights of BT.601 in 1/256.
        jpeg_decoder::PixelFormat::RGB24 => pixels
            .chunks_exact(3)
            .map(|p| ((77 * u32::from(p[0]) + 150 * u32::from(p[1]) + 29 * u32::from(p[2])) >> 8) as u8)
            .collect(),
        other => anyhow::bail!("a JPEG of {other:?}: only grey and colour are read"),
    };
    Ok((luma, size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::barcode::Code;
    use crate::scene::Scene;

    fn jpeg(at: Utc, quality: u8) -> Vec<u8> {
        let scene = Scene::new(3, Size::new(640, 360), 1).unwrap();
        let picture = scene.render(0, at, "x");
        let luma = picture.planes().luma().data.to_vec();
        let mut out = Vec::new();
        jpeg_encoder::Encoder::new(&mut out, quality)
            .encode(&luma, 640, 360, jpeg_encoder::ColorType::Luma)
            .unwrap();
        out
    }

    #[test]
    fn claim_and_truth_side_by_side_through_jpeg() {
        let truth = Code::new(Utc::from_nanos(1_795_000_000_123_000_000), 0).utc;
        for quality in [30, 75, 95] {
            let claimed = truth + Span::from_micros(2_500);
            let document = format!(
                r#"{{"key":"a/1/2","seq":1,"capture":{{"utc":"{claimed}","error_ms":null,
                   "rel_error_ms":3.0,"source":"sender_report"}}}}"#
            );
            let look = compare(document.as_bytes(), &jpeg(truth, quality)).unwrap();
            assert_eq!(look.error, Some(Span::from_micros(2_500)), "quality {quality}");
            assert_eq!(look.holds(), Some(true));
            let late = Look {
                bound: Span::from_millis(2),
                ..look
            };
            assert_eq!(late.holds(), Some(false));
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(compare(b"{}", &[]).is_err());
        let document = br#"{"key":"a/1/2","capture":{"utc":"2026-11-21T10:00:00Z","rel_error_ms":3.0}}"#;
        assert!(compare(document, b"no jpeg").is_err());
    }
}
