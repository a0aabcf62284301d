//! How good a calibration is.

use serde::{Deserialize, Serialize};
use synoptic_base::StreamId;

use super::model::{Model, Tie};
use super::solve::{Solution, corner_sd, focal_sd};

/// A corner known to this part of the longer side halves a camera's confidence, and so do ties that miss by it: 2 px
/// of 1280.
const HALF_SURE: f64 = 0.0016;
/// So many ties make a camera's confidence full as far as their number goes.
const MANY_TIES: f64 = 60.0;

/// The figures of a calibration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// How it was found.
    pub method: String,
    /// Root mean square by which ties miss each other, pixels.
    pub rms_px: f64,
    /// Ties that agree.
    pub inliers: u64,
    /// Coefficients of the lens that the pictures determined.
    pub lens_coefficients: u8,
    /// Did they determine the principal point?
    pub principal_point: bool,
    /// Per camera, in the order of the rig; empty for an import.
    pub cameras: Vec<CameraReport>,
    /// Per pair of cameras that share ties.
    pub seams: Vec<SeamReport>,
}

impl Report {
    /// Of a calibration that was made elsewhere: nothing is known of how good it is.
    pub fn imported(method: &str) -> Report {
        Report {
            method: method.to_owned(),
            rms_px: 0.0,
            inliers: 0,
            lens_coefficients: 0,
            principal_point: false,
            cameras: Vec::new(),
            seams: Vec::new(),
        }
    }
}

/// The figures of one camera.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraReport {
    /// Which.
    pub stream: StreamId,
    /// Frames its still was made of.
    pub frames: u32,
    /// Part of its picture that stays in place, 0 to 1.
    pub steady: f64,
    /// Ties that it takes part in.
    pub ties: u64,
    /// Standard deviation of its focal length, percent.
    pub focal_sd_percent: f64,
    /// Standard deviation of its least sure corner against the others, pixels.
    pub corner_sd_px: f64,
    /// 0 to 1: a half when its ties miss by 2 px of 1280 or its least sure corner is known to that, less when it has
    /// few ties.
    pub confidence: f64,
}

/// The figures of two cameras that overlap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeamReport {
    /// The cameras.
    pub cameras: [StreamId; 2],
    /// Ties between them.
    pub ties: u64,
    /// Root mean square by which they miss each other, pixels.
    pub rms_px: f64,
}

/// Root mean square miss of ties, pixels.
pub(super) fn rms<'a>(model: &Model, ties: impl Iterator<Item = &'a Tie>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for tie in ties {
        if let Some(miss) = model.miss(tie) {
            sum += miss * miss;
            count += 1.0;
        }
    }
    if count > 0.0 { f64::sqrt(sum / count) } else { 0.0 }
}

/// The figures of a solution; `cameras` says stream, frames and steady part of each.
pub(super) fn report(solution: &Solution, cameras: &[(StreamId, usize, f64)]) -> Report {
    let (corners, focals) = (corner_sd(solution), focal_sd(solution));
    let model = &solution.model;
    let per_camera = cameras.iter().enumerate().map(|(i, (stream, frames, steady))| {
        let ties = solution.ties.iter().filter(|t| t.cameras.contains(&i)).count();
        let own = rms(model, solution.ties.iter().filter(|t| t.cameras.contains(&i)));
        let size = model.of(i).size;
        let half = HALF_SURE * f64::from(size.width.max(size.height));
        CameraReport {
            stream: *stream,
            frames: *frames as u32,
            steady: *steady,
            ties: ties as u64,
            focal_sd_percent: 100.0 * focals[i],
            corner_sd_px: corners[i],
            confidence: (-((corners[i] + own) / half) * std::f64::consts::LN_2).exp()
                * (ties as f64 / MANY_TIES).min(1.0),
        }
    });
    let mut seams = Vec::new();
    for a in 0..cameras.len() {
        for b in a + 1..cameras.len() {
            let between = |t: &&Tie| t.cameras == [a, b] || t.cameras == [b, a];
            let ties = solution.ties.iter().filter(between).count();
            if ties > 0 {
                seams.push(SeamReport {
                    cameras: [cameras[a].0, cameras[b].0],
                    ties: ties as u64,
                    rms_px: rms(model, solution.ties.iter().filter(between)),
                });
            }
        }
    }
    Report {
        method: "sift+patches+bundle".to_owned(),
        rms_px: rms(model, solution.ties.iter()),
        inliers: solution.ties.len() as u64,
        lens_coefficients: solution.free.lens as u8,
        principal_point: solution.free.centre,
        cameras: per_camera.collect(),
        seams,
    }
}
