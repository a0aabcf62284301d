//! Calibrations for tests.

use synoptic_base::{Canvas, Intrinsics, Lens, Projection, Rig, RigCamera, Size, StreamId};
use synoptic_vision::panorama::calibrate::{Calibration, CalibrationFile, Report};

/// Two cameras of 160 x 90 that see 60 pixels of the same, on a plane far away.
pub(crate) fn rig() -> Rig {
    let size = Size::new(160, 90);
    let focal = 400.0;
    let camera = |name: &str, turn: f64| {
        let (s, c) = turn.sin_cos();
        RigCamera {
            stream: StreamId::new(name).unwrap(),
            intrinsics: Intrinsics {
                size,
                fx: focal,
                fy: focal,
                cx: 79.5,
                cy: 44.5,
                lens: Lens::PINHOLE,
            },
            rotation: [[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]],
            centre: [0.0; 3],
        }
    };
    Rig {
        cameras: vec![camera("cam0", -0.125), camera("cam1", 0.125)],
        canvas: Canvas {
            size: Size::new(260, 90),
            projection: Projection::Cylindrical,
            focal,
            cx: 129.5,
            cy: 44.5,
        },
    }
}

/// A file of [`rig`].
pub(crate) fn file(created: &str) -> CalibrationFile {
    CalibrationFile {
        created: created.to_owned(),
        calibration: Calibration {
            rig: rig(),
            report: Report::imported("test"),
        },
        control_points: Vec::new(),
    }
}
