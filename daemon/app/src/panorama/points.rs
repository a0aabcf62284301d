//! Control points: places that a person found in the pictures of two cameras. They are kept beside the calibrations, in
//! fractions of the pictures, and every later calibration holds on to them.

use anyhow::{Context, Result};
use synoptic_base::StreamId;
use synoptic_vision::panorama::calibrate::{ControlPoint, Still};

use super::library::{Library, replace};
use crate::documents::ControlPointDoc;

/// More than a person sets, and as many as the adjustment takes without growing slow.
pub(super) const MOST: usize = 200;

/// What is wrong with a list of points for these cameras; `None`: nothing.
pub(super) fn wrong(points: &[ControlPointDoc], cameras: &[StreamId]) -> Option<String> {
    if points.len() > MOST {
        return Some(format!(
            "{} points are more than {MOST}: leave some out",
            points.len()
        ));
    }
    let one = |(index, point): (usize, &ControlPointDoc)| {
        let [a, b] = &point.cameras;
        let stranger = point
            .cameras
            .iter()
            .find(|c| !cameras.iter().any(|k| k.as_str() == **c));
        let inside = point.at.iter().flatten().all(|v| (0.0..1.0).contains(v));
        match stranger {
            Some(camera) => Some(format!("point {index}: `{camera}` is no camera of this panorama")),
            None if a == b => Some(format!("point {index}: names camera `{a}` twice")),
            None if !inside => Some(format!(
                "point {index}: lies outside of a picture: give fractions, 0 to below 1"
            )),
            None => None,
        }
    };
    points.iter().enumerate().find_map(one)
}

/// In pixels of these pictures. Points of cameras that are not there are left out.
pub(super) fn in_pixels(points: &[ControlPointDoc], stills: &[Still]) -> Vec<ControlPoint> {
    let find = |camera: &str| stills.iter().find(|s| s.stream.as_str() == camera);
    let place = |still: &Still, [x, y]: [f64; 2]| [x * still.luma.width as f64, y * still.luma.height as f64];
    let one = |point: &ControlPointDoc| {
        let [a, b] = [find(&point.cameras[0])?, find(&point.cameras[1])?];
        Some(ControlPoint {
            cameras: [a.stream, b.stream],
            at: [place(a, point.at[0]), place(b, point.at[1])],
        })
    };
    points.iter().filter_map(one).collect()
}

impl Library {
    /// The control points.
    ///
    /// # Errors
    /// When their file cannot be read.
    pub(crate) fn points(&self) -> Result<Vec<ControlPointDoc>> {
        let path = self.points_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
        };
        serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: set the control points anew", path.display()))
    }

    /// Keeps these, and no others.
    ///
    /// # Errors
    /// When their file cannot be written.
    pub(crate) fn put_points(&self, points: &[ControlPointDoc]) -> Result<()> {
        self.make_folder()?;
        replace(
            &self.points_path(),
            serde_json::to_string_pretty(points)?.as_bytes(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synoptic_vision::panorama::calibrate::Gray;

    fn point(cameras: [&str; 2], at: [[f64; 2]; 2]) -> ControlPointDoc {
        ControlPointDoc {
            cameras: cameras.map(str::to_owned),
            at,
        }
    }

    #[test]
    fn points_are_checked_kept_and_scaled_to_the_pictures() {
        let cameras = ["a", "b"].map(|c| StreamId::new(c).unwrap());
        let good = point(["a", "b"], [[0.5, 0.25], [0.0, 0.75]]);
        assert_eq!(wrong(std::slice::from_ref(&good), &cameras), None);
        for (bad, part) in [
            (point(["a", "c"], good.at), "`c` is no camera"),
            (point(["a", "a"], good.at), "twice"),
            (point(["a", "b"], [[0.5, 1.0], [0.0, 0.0]]), "outside"),
            (point(["a", "b"], [[0.5, f64::NAN], [0.0, 0.0]]), "outside"),
        ] {
            let why = wrong(&[good.clone(), bad], &cameras).unwrap();
            assert!(why.starts_with("point 1") && why.contains(part), "{why}");
        }
        assert!(wrong(&vec![good.clone(); MOST + 1], &cameras).is_some());

        let folder = tempfile::tempdir().unwrap();
        let library = Library::new(folder.path().join("whole"), StreamId::new("whole").unwrap());
        assert_eq!(library.points().unwrap(), []);
        library.put_points(std::slice::from_ref(&good)).unwrap();
        assert_eq!(library.points().unwrap(), std::slice::from_ref(&good));
        assert_eq!(library.versions().unwrap(), [0_u32; 0], "they are no calibration");

        let stills = [(640, 360), (320, 240)].iter().zip(cameras);
        let stills: Vec<Still> = stills
            .map(|((w, h), camera)| Still::single(camera, Gray::flat(*w, *h, 0.0)))
            .collect();
        let placed = in_pixels(&[good, point(["a", "gone"], [[0.0; 2]; 2])], &stills);
        assert_eq!(placed.len(), 1);
        assert_eq!(placed[0].at, [[320.0, 90.0], [0.0, 180.0]]);
    }
}
