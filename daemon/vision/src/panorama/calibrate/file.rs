//! The calibration file: what composing needs and how good it is, under a hash.
//!
//! A TOML text. The first line is a comment with the format's version and the SHA-256 of everything after that line, so
//! that a file that was cut short or changed is never used. Every calibration is a file of its own,
//! `NAME.000007.toml`; the highest number is the one in use, and to roll back is to write an old one anew.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use synoptic_base::{Canvas, Intrinsics, Lens, Projection, Rig, RigCamera, Size, StreamId};

use super::model::orthonormal;
use super::{Calibration, ControlPoint, MAX_CAMERAS, Report};

/// The version of the format that this program writes and reads.
pub const VERSION: u32 = 1;
/// What the first line begins with.
const HEAD: &str = "# synoptic calibration";
/// An element of a rotation may be off that of a true one by this: more than text rounding, less than anything seen.
const SQUARE: f64 = 1e-6;

/// Why a file is no calibration.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FileError {
    /// Something else altogether.
    #[error(
        "this is no calibration file: its first line must be `{HEAD} version=1 sha256=...`; calibrate again"
    )]
    Head,
    /// Written by a newer program.
    #[error(
        "the calibration has format version {0}, this program knows {VERSION}: update the program or calibrate again"
    )]
    Version(u32),
    /// Cut short or edited.
    #[error(
        "the calibration was changed or cut short (its hash is {found}, its first line says {said}): roll back to an earlier one or calibrate again"
    )]
    Hash {
        /// Of the text.
        found: String,
        /// In the first line.
        said: String,
    },
    /// Not the TOML that belongs here.
    #[error("the calibration cannot be read: {0}")]
    Text(String),
    /// A value that cannot be.
    #[error("{place}: {what}; calibrate again")]
    Value {
        /// Key path.
        place: String,
        /// What is wrong.
        what: &'static str,
    },
}

/// A calibration with when and of what it was made.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationFile {
    /// When, as the caller writes time (RFC 3339).
    pub created: String,
    /// The geometry and its figures.
    pub calibration: Calibration,
    /// Places set by hand that entered it, kept for the next time.
    pub control_points: Vec<ControlPoint>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    created: String,
    canvas: RawCanvas,
    camera: Vec<RawCamera>,
    #[serde(default)]
    control_point: Vec<RawPoint>,
    report: Report,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCanvas {
    projection: RawProjection,
    width: u32,
    height: u32,
    focal: f64,
    cx: f64,
    cy: f64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawProjection {
    Rectilinear,
    Plane,
    Cylindrical,
    Spherical,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCamera {
    stream: StreamId,
    width: u32,
    height: u32,
    fx: f64,
    fy: f64,
    cx: f64,
    cy: f64,
    lens: RawLens,
    k: [f64; 4],
    rotation: [[f64; 3]; 3],
    centre: [f64; 3],
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawLens {
    Radial,
    Fisheye,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPoint {
    cameras: [StreamId; 2],
    at: [[f64; 2]; 2],
}

impl CalibrationFile {
    /// The text of the file.
    ///
    /// # Errors
    ///
    /// [`FileError::Text`] when a value cannot be written, such as a number that is none.
    pub fn to_text(&self) -> Result<String, FileError> {
        let raw = Raw {
            created: self.created.clone(),
            canvas: raw_canvas(&self.calibration.rig.canvas),
            camera: self.calibration.rig.cameras.iter().map(raw_camera).collect(),
            control_point: self
                .control_points
                .iter()
                .map(|p| RawPoint {
                    cameras: p.cameras,
                    at: p.at,
                })
                .collect(),
            report: self.calibration.report.clone(),
        };
        let body = toml::to_string(&raw).map_err(|e| FileError::Text(e.to_string()))?;
        Ok(format!("{HEAD} version={VERSION} sha256={}\n{body}", hash(&body)))
    }

    /// Reads a file's text and checks every value.
    ///
    /// # Errors
    ///
    /// [`FileError`] says what is wrong and where.
    pub fn from_text(text: &str) -> Result<CalibrationFile, FileError> {
        let (head, body) = text.split_once('\n').ok_or(FileError::Head)?;
        let fields = head.trim_end().strip_prefix(HEAD).ok_or(FileError::Head)?;
        let field = |name: &str| {
            fields
                .split(' ')
                .find_map(|f| f.strip_prefix(name)?.strip_prefix('='))
        };
        let version: u32 = field("version")
            .and_then(|v| v.parse().ok())
            .ok_or(FileError::Head)?;
        if version != VERSION {
            return Err(FileError::Version(version));
        }
        let (said, found) = (field("sha256").ok_or(FileError::Head)?, hash(body));
        if said != found {
            return Err(FileError::Hash {
                found,
                said: said.to_owned(),
            });
        }
        let raw: Raw = toml::from_str(body).map_err(|e| FileError::Text(e.to_string()))?;
        raw.checked()
    }
}

fn hash(body: &str) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(body.as_bytes()) {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn raw_canvas(canvas: &Canvas) -> RawCanvas {
    RawCanvas {
        projection: match canvas.projection {
            Projection::Rectilinear => RawProjection::Rectilinear,
            Projection::Plane => RawProjection::Plane,
            Projection::Cylindrical => RawProjection::Cylindrical,
            Projection::Spherical => RawProjection::Spherical,
        },
        width: canvas.size.width,
        height: canvas.size.height,
        focal: canvas.focal,
        cx: canvas.cx,
        cy: canvas.cy,
    }
}

fn raw_camera(camera: &RigCamera) -> RawCamera {
    let optics = &camera.intrinsics;
    let (lens, k) = match optics.lens {
        Lens::Radial(k) => (RawLens::Radial, k),
        Lens::Fisheye(k) => (RawLens::Fisheye, k),
    };
    RawCamera {
        stream: camera.stream,
        width: optics.size.width,
        height: optics.size.height,
        fx: optics.fx,
        fy: optics.fy,
        cx: optics.cx,
        cy: optics.cy,
        lens,
        k,
        rotation: camera.rotation,
        centre: camera.centre,
    }
}

impl Raw {
    fn checked(self) -> Result<CalibrationFile, FileError> {
        let wrong = |place: String, what| Err(FileError::Value { place, what });
        if !(2..=MAX_CAMERAS).contains(&self.camera.len()) {
            return wrong("camera".to_owned(), "a panorama has 2 to 8 cameras");
        }
        let canvas = &self.canvas;
        let even = |v: u32| v.is_multiple_of(2) && (16..=16384).contains(&v);
        if !even(canvas.width) || !even(canvas.height) {
            return wrong("canvas".to_owned(), "its sides must be even, 16 to 16384");
        }
        let finite = [canvas.focal, canvas.cx, canvas.cy].iter().all(|v| v.is_finite());
        if !finite || canvas.focal <= 0.0 {
            return wrong(
                "canvas".to_owned(),
                "focal, cx and cy must be numbers, focal above 0",
            );
        }
        for (i, camera) in self.camera.iter().enumerate() {
            let place = || format!("camera[{i}] ({})", camera.stream);
            if self.camera[..i].iter().any(|c| c.stream == camera.stream) {
                return wrong(place(), "is there twice");
            }
            if !(1..=16384).contains(&camera.width) || !(1..=16384).contains(&camera.height) {
                return wrong(place(), "its sides must be 1 to 16384");
            }
            let numbers = [camera.fx, camera.fy, camera.cx, camera.cy];
            let all = numbers
                .iter()
                .chain(&camera.k)
                .chain(&camera.centre)
                .chain(camera.rotation.as_flattened());
            let finite = all.into_iter().all(|v| v.is_finite());
            if !finite || camera.fx <= 0.0 || camera.fy <= 0.0 {
                return wrong(place(), "its values must be numbers, fx and fy above 0");
            }
            let square = orthonormal(&camera.rotation);
            let off = (0..9).map(|n| (square[n / 3][n % 3] - camera.rotation[n / 3][n % 3]).abs());
            if off.fold(0.0, f64::max) > SQUARE {
                return wrong(
                    place(),
                    "its rotation is none: rows must be of length 1 and at right angles",
                );
            }
        }
        let cameras = self.camera.iter().map(RawCamera::checked).collect();
        let canvas = Canvas {
            size: Size::new(canvas.width, canvas.height),
            projection: match canvas.projection {
                RawProjection::Rectilinear => Projection::Rectilinear,
                RawProjection::Plane => Projection::Plane,
                RawProjection::Cylindrical => Projection::Cylindrical,
                RawProjection::Spherical => Projection::Spherical,
            },
            focal: canvas.focal,
            cx: canvas.cx,
            cy: canvas.cy,
        };
        let control_points = self.control_point.iter().map(|p| ControlPoint {
            cameras: p.cameras,
            at: p.at,
        });
        Ok(CalibrationFile {
            created: self.created,
            control_points: control_points.collect(),
            calibration: Calibration {
                rig: Rig { cameras, canvas },
                report: self.report,
            },
        })
    }
}

impl RawCamera {
    fn checked(&self) -> RigCamera {
        RigCamera {
            stream: self.stream,
            intrinsics: Intrinsics {
                size: Size::new(self.width, self.height),
                fx: self.fx,
                fy: self.fy,
                cx: self.cx,
                cy: self.cy,
                lens: match self.lens {
                    RawLens::Radial => Lens::Radial(self.k),
                    RawLens::Fisheye => Lens::Fisheye(self.k),
                },
            },
            rotation: self.rotation,
            centre: self.centre,
        }
    }
}

/// The file name of a calibration's version.
pub fn version_name(name: &str, version: u32) -> String {
    format!("{name}.{version:06}.toml")
}

/// The version that a file name says, if it is one of calibration `name`.
pub fn version_in_name(name: &str, file: &str) -> Option<u32> {
    let digits = file
        .strip_prefix(name)?
        .strip_prefix('.')?
        .strip_suffix(".toml")?;
    let plain = digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit());
    let version = plain.then(|| digits.parse().ok()).flatten()?;
    // One name a version: 0000007 is not 000007.
    (version_name(name, version) == file).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{row, small};
    use super::super::{CameraReport, SeamReport};
    use super::*;

    fn example() -> CalibrationFile {
        let model = row(2, 34.0, small(-0.123_456_789_012_345_67));
        let names = [StreamId::new("east").unwrap(), StreamId::new("west").unwrap()];
        let cameras = (0..2)
            .map(|i| RigCamera {
                stream: names[i],
                intrinsics: *model.of(i),
                rotation: model.rotations[i],
                centre: [0.0; 3],
            })
            .collect();
        let canvas = Canvas {
            size: Size::new(800, 300),
            projection: Projection::Cylindrical,
            focal: 415.2,
            cx: 399.5,
            cy: 150.1,
        };
        let camera = |stream| CameraReport {
            stream,
            frames: 25,
            steady: 0.98,
            ties: 400,
            focal_sd_percent: 0.01,
            corner_sd_px: 0.1,
            confidence: 0.97,
        };
        CalibrationFile {
            created: "2026-11-21T10:00:00Z".to_owned(),
            calibration: Calibration {
                rig: Rig { cameras, canvas },
                report: Report {
                    method: "sift+patches+bundle".to_owned(),
                    rms_px: 0.07,
                    inliers: 400,
                    lens_coefficients: 1,
                    principal_point: true,
                    cameras: names.map(camera).to_vec(),
                    seams: vec![SeamReport {
                        cameras: names,
                        ties: 400,
                        rms_px: 0.07,
                    }],
                },
            },
            control_points: vec![ControlPoint {
                cameras: names,
                at: [[1.0, 2.5], [3.0, 4.0]],
            }],
        }
    }

    /// The text with a line's beginning replaced and its hash made right again.
    fn edited(from: &str, to: &str) -> String {
        let text = example().to_text().unwrap();
        let body = text.split_once('\n').unwrap().1;
        assert!(body.contains(from), "{body}");
        let body = body.replacen(from, to, 1);
        format!("{HEAD} version=1 sha256={}\n{body}", hash(&body))
    }

    #[test]
    fn comes_back_to_the_last_bit() {
        let file = example();
        assert_eq!(CalibrationFile::from_text(&file.to_text().unwrap()), Ok(file));
    }

    #[test]
    fn what_was_changed_cut_or_foreign_is_refused() {
        let text = example().to_text().unwrap();
        let cut = &text[..text.len() - 10];
        assert!(matches!(
            CalibrationFile::from_text(cut),
            Err(FileError::Hash { .. })
        ));
        let changed = text.replace("415.2", "415.3");
        assert!(matches!(
            CalibrationFile::from_text(&changed),
            Err(FileError::Hash { .. })
        ));
        let newer = text.replace("version=1", "version=2");
        assert_eq!(CalibrationFile::from_text(&newer), Err(FileError::Version(2)));
        for foreign in ["", "hello\nworld", "# synoptic calibration\n"] {
            assert_eq!(CalibrationFile::from_text(foreign), Err(FileError::Head));
        }
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        let cases = [
            ("focal = 415.2", "focal = -1.0", "canvas: focal, cx and cy"),
            ("width = 800", "width = 801", "canvas: its sides must be even"),
            (
                "stream = \"west\"",
                "stream = \"east\"",
                "camera[1] (east): is there twice",
            ),
            (
                "fx = 415.0",
                "fx = nan",
                "camera[0] (east): its values must be numbers",
            ),
            (
                "rotation = [[0.9",
                "rotation = [[0.8",
                "camera[0] (east): its rotation is none",
            ),
            ("lens = \"radial\"", "lens = \"magic\"", "cannot be read"),
            ("created", "surprise = 1\ncreated", "surprise"),
        ];
        for (from, to, says) in cases {
            let error = CalibrationFile::from_text(&edited(from, to)).unwrap_err();
            assert!(error.to_string().contains(says), "{from} to {to}: {error}");
        }
    }

    #[test]
    fn file_names_carry_the_version() {
        assert_eq!(version_name("yard", 7), "yard.000007.toml");
        assert_eq!(version_in_name("yard", "yard.000007.toml"), Some(7));
        assert_eq!(
            version_in_name("yard", &version_name("yard", 12_345_678)),
            Some(12_345_678)
        );
        for other in [
            "yard.toml",
            "yard.7.toml",
            "yard.0000007.toml",
            "yard.000007.toml.tmp",
            "yards.000007.toml",
        ] {
            assert_eq!(version_in_name("yard", other), None, "{other}");
        }
    }
}
