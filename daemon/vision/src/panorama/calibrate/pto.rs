//! Hugin's project file (.pto) as a rig: for those who have calibrated there.
//!
//! What each line means is in PanoTools' and Hugin's documentation (`Stitcher.txt`, "PTStitcher script"):
//! * `i`: a picture; `w h` its size, `f` its lens (0 rectilinear, 2 and 3 fisheye), `v` degrees across, `y p r` yaw to
//!   the right, pitch up and roll clockwise in degrees, `a b c` the lens, `d e` the axis in pixels off the middle. A
//!   value `=N` is that of picture N.
//! * `c`: a control point, `n N` the pictures and `x y X Y` the places.
//! * `p`: the panorama; only its projection is taken (0 rectilinear, 1 cylindrical, 2 spherical): the canvas is fitted
//!   to the cameras as after our own calibration.
//!
//! Hugin's lens takes the radius r of the ideal picture, in units of half the shorter side, to a r^4 + b r^3 + c r^2 +
//! (1 - a - b - c) r. Ours has odd powers only: with a = c = 0 it is the same lens, else ours is fitted over the
//! picture by least squares, and refused when that is off by half a pixel.

use std::collections::BTreeMap;

use nalgebra::{DMatrix, DVector};
use synoptic_base::{Intrinsics, Lens, Projection, Rig, RigCamera, Size, StreamId};

use super::level::directions;
use super::model::{Model, rotation, times, transposed};
use super::{ControlPoint, Crop, MAX_CAMERAS, canvas, run};

/// Radii at which lenses are compared.
const RADII: usize = 200;
/// A fitted lens may be off by this, pixels.
const MAX_OFF: f64 = 0.5;

/// Why a project cannot be taken over.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PtoError {
    /// A value that is missing or no number.
    #[error("line {line}: {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Not as many pictures as cameras.
    #[error("the project has {pictures} pictures for {cameras} cameras: give a camera for each, 2 to 8")]
    Count {
        /// `i` lines.
        pictures: usize,
        /// Cameras given.
        cameras: usize,
    },
    /// A lens that cannot be said in our terms.
    #[error(
        "picture {picture}: its lens (a, c) is off by {off:.1} px when written as ours; optimise only b in Hugin"
    )]
    Lens {
        /// From 0.
        picture: usize,
        /// Pixels.
        off: f64,
    },
    /// The canvas does not fit.
    #[error(
        "the cameras do not fit the panorama's projection {0}: choose cylindrical or equirectangular in Hugin"
    )]
    Projection(&'static str),
}

/// What a project says.
#[derive(Clone, Debug, PartialEq)]
pub struct Pto {
    /// Its cameras, and a canvas fitted to them.
    pub rig: Rig,
    /// Its control points.
    pub control_points: Vec<ControlPoint>,
}

/// Reads a project; `streams` are the cameras of its pictures, in order.
///
/// # Errors
///
/// [`PtoError`] says which line, and why.
pub fn from_pto(text: &str, streams: &[StreamId], crop: Crop) -> Result<Pto, PtoError> {
    let mut pictures: Vec<Fields> = Vec::new();
    let mut points = Vec::new();
    let mut projection = Projection::Cylindrical;
    for (index, line) in text.lines().enumerate() {
        let fields = Fields::read(index + 1, line);
        match line.split_whitespace().next() {
            Some("i") => pictures.push(fields),
            Some("c") => points.push(fields),
            Some("p") => {
                projection = match fields.number("f", &[])? as i64 {
                    0 => Projection::Rectilinear,
                    1 => Projection::Cylindrical,
                    2 => Projection::Spherical,
                    other => {
                        return Err(fields.wrong(&format!(
                            "projection f{other} is not known here: use f0, f1 or f2"
                        )));
                    }
                };
            }
            _ => {}
        }
    }
    if pictures.len() != streams.len() || !(2..=MAX_CAMERAS).contains(&pictures.len()) {
        return Err(PtoError::Count {
            pictures: pictures.len(),
            cameras: streams.len(),
        });
    }
    let cameras = (0..pictures.len())
        .map(|i| camera(i, &pictures, streams[i]))
        .collect::<Result<Vec<_>, _>>()?;
    let mut control_points = Vec::new();
    for point in &points {
        // `t` 1 and 2 mark lines that shall be upright or level: they tie no place to another.
        if point.number("t", &[]).is_ok_and(|t| t != 0.0) {
            continue;
        }
        let camera = |key| {
            let n = point.number(key, &[])?;
            streams
                .get(n as usize)
                .copied()
                .ok_or_else(|| point.wrong(&format!("there is no picture {n}")))
        };
        let place = |x, y| Ok([point.number(x, &[])?, point.number(y, &[])?]);
        control_points.push(ControlPoint {
            cameras: [camera("n")?, camera("N")?],
            at: [place("x", "y")?, place("X", "Y")?],
        });
    }
    let model = Model {
        rotations: cameras.iter().map(|c| c.rotation).collect(),
        optics: cameras.iter().map(|c| c.intrinsics).collect(),
        set: (0..cameras.len()).collect(),
    };
    let focal = cameras.iter().map(|c| c.intrinsics.fx).sum::<f64>() / cameras.len() as f64;
    let canvas = canvas::fit(&directions(&model), projection, focal, crop, &cameras)
        .ok_or(PtoError::Projection(run::name(projection)))?;
    Ok(Pto {
        rig: Rig { cameras, canvas },
        control_points,
    })
}

/// The values of a line by their letters.
struct Fields {
    line: usize,
    values: BTreeMap<String, String>,
}

impl Fields {
    fn read(line: usize, text: &str) -> Fields {
        let mut values = BTreeMap::new();
        for word in text.split_whitespace().skip(1) {
            let split = word
                .find(|c: char| !c.is_ascii_alphabetic())
                .unwrap_or(word.len());
            let (key, value) = word.split_at(split);
            values.insert(key.to_owned(), value.to_owned());
        }
        Fields { line, values }
    }

    fn wrong(&self, what: &str) -> PtoError {
        PtoError::Line {
            line: self.line,
            what: what.to_owned(),
        }
    }

    /// A number, looked up in another picture where it says `=N`.
    fn number(&self, key: &str, pictures: &[Fields]) -> Result<f64, PtoError> {
        let text = self
            .values
            .get(key)
            .ok_or_else(|| self.wrong(&format!("{key} is missing")))?;
        let text = match text.strip_prefix('=') {
            Some(other) => other
                .parse::<usize>()
                .ok()
                .and_then(|n| pictures.get(n)?.values.get(key))
                .ok_or_else(|| self.wrong(&format!("{key}{text} points to nothing")))?,
            None => text,
        };
        let value: Option<f64> = text.parse().ok().filter(|v: &f64| v.is_finite());
        value.ok_or_else(|| self.wrong(&format!("{key}{text} is no number")))
    }

    /// A number that is 0 where it is not given.
    fn or_zero(&self, key: &str, pictures: &[Fields]) -> Result<f64, PtoError> {
        if self.values.contains_key(key) {
            self.number(key, pictures)
        } else {
            Ok(0.0)
        }
    }
}

fn camera(index: usize, pictures: &[Fields], stream: StreamId) -> Result<RigCamera, PtoError> {
    let fields = &pictures[index];
    let of = |key: &str| fields.number(key, pictures);
    let extra = |key: &str| fields.or_zero(key, pictures);
    let (width, height, view) = (of("w")?, of("h")?, of("v")?.to_radians());
    if !(2.0..=16384.0).contains(&width) || !(2.0..=16384.0).contains(&height) {
        return Err(fields.wrong("w and h must be 2 to 16384"));
    }
    for key in ["TrX", "TrY", "TrZ", "g", "t"] {
        if extra(key)? != 0.0 {
            return Err(fields.wrong(&format!(
                "{key} is not 0: moved or sheared pictures cannot be taken over"
            )));
        }
    }
    let fisheye = match of("f")? as i64 {
        0 => false,
        2 | 3 => true,
        other => {
            return Err(fields.wrong(&format!(
                "a picture with lens f{other} is none of a camera: use f0, f2 or f3"
            )));
        }
    };
    let most = if fisheye {
        std::f64::consts::TAU
    } else {
        std::f64::consts::PI
    };
    if view <= 0.0 || view >= most {
        return Err(fields.wrong("v is not possible for this lens"));
    }
    let focal = if fisheye {
        width / view
    } else {
        width / 2.0 / (view / 2.0).tan()
    };
    let unit = width.min(height) / 2.0;
    let (a, b, c) = (extra("a")?, extra("b")?, extra("c")?);
    let bent = |ideal: f64| {
        let r = ideal / unit;
        unit * r * (1.0 - a - b - c + r * (c + r * (b + r * a)))
    };
    let (focal, k, off) = fitted(
        focal,
        (width / 2.0).hypot(height / 2.0) / focal,
        bent,
        a == 0.0 && c == 0.0,
    );
    if off > MAX_OFF {
        return Err(PtoError::Lens { picture: index, off });
    }
    let (yaw, pitch, roll) = (
        of("y")?.to_radians(),
        of("p")?.to_radians(),
        of("r")?.to_radians(),
    );
    let world_from_camera = times(
        &times(&rotation([0.0, yaw, 0.0]), &rotation([pitch, 0.0, 0.0])),
        &rotation([0.0, 0.0, roll]),
    );
    Ok(RigCamera {
        stream,
        intrinsics: Intrinsics {
            size: Size::new(width as u32, height as u32),
            fx: focal,
            fy: focal,
            cx: (width - 1.0) / 2.0 + extra("d")?,
            cy: (height - 1.0) / 2.0 + extra("e")?,
            lens: if fisheye {
                Lens::Fisheye(k)
            } else {
                Lens::Radial(k)
            },
        },
        rotation: transposed(&world_from_camera),
        centre: [0.0; 3],
    })
}

/// Our focal length and coefficients for a lens that puts the ideal radius `focal * t` at `bent` of it, t up to `reach`;
/// and how far it is off, pixels.
fn fitted(focal: f64, reach: f64, bent: impl Fn(f64) -> f64, cubic: bool) -> (f64, [f64; 4], f64) {
    // With b alone two terms are exact.
    let terms = if cubic { 2 } else { 5 };
    let at = |i: usize| reach * (i + 1) as f64 / RADII as f64;
    // Scaled by the reach, powers up to the ninth stay comparable.
    let matrix = DMatrix::from_fn(RADII, terms, |i, n| (at(i) / reach).powi(2 * n as i32 + 1));
    let right = DVector::from_fn(RADII, |i, _| bent(focal * at(i)));
    let solved = matrix.clone().svd(true, true).solve(&right, 1e-12);
    let Ok(solved) = solved else {
        return (focal, [0.0; 4], f64::INFINITY);
    };
    let off = (&matrix * &solved - &right).amax();
    let linear = solved[0] / reach;
    let mut k = [0.0; 4];
    for n in 1..terms {
        k[n - 1] = solved[n] / reach.powi(2 * n as i32 + 1) / linear;
    }
    (linear, k, if linear > 0.0 { off } else { f64::INFINITY })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::panorama::geometry::{canvas_from_camera, mul_transposed, project};

    /// As Hugin 2022 writes it, less what it repeats.
    const PROJECT: &str = r#"# hugin project file
#hugin_ptoversion 2
p f1 w4000 h1500 v110  k0 E11.2 R0 S100,3900,120,1400 n"TIFF_m c:LZW r:CROP"
m i0

# image lines
#-hugin  cropFactor=1
i w1280 h720 f0 v64 Ra0 Rb0 Rc0 Rd0 Re0 Eev11 Er1 Eb1 r0.5 p1.2 y-22 TrX0 TrY0 TrZ0 Tpy0 Tpp0 j0 a0 b-0.02 c0 d3.5 e-2 g0 t0 Va1 Vb0 Vc0 Vd0 Vx0 Vy0  Vm5 n"left.png"
i w1280 h720 f0 v=0 Ra=0 Rb=0 Rc=0 Rd=0 Re=0 Eev11 Er1 Eb1 r-0.25 p0 y22 TrX0 TrY0 TrZ0 Tpy0 Tpp0 j0 a=0 b=0 c=0 d=0 e=0 g=0 t=0 Va=0 Vb=0 Vc=0 Vd=0 Vx=0 Vy=0  Vm5 n"right.png"

v y1
v

# control points
c n0 N1 x1200.5 y300 X240.25 Y310.75 t0
c n0 N0 x10 y20 X10 Y600 t1
"#;

    fn streams() -> Vec<StreamId> {
        ["left", "right"].map(|s| StreamId::new(s).unwrap()).to_vec()
    }

    #[test]
    fn a_project_becomes_the_rig_that_hugin_shows() {
        let pto = from_pto(PROJECT, &streams(), Crop::All).unwrap();
        let [left, right] = [&pto.rig.cameras[0], &pto.rig.cameras[1]];
        assert_eq!(left.intrinsics, right.intrinsics);
        assert_eq!((left.intrinsics.cx, left.intrinsics.cy), (643.0, 357.5));
        assert_eq!(pto.rig.canvas.projection, Projection::Cylindrical);
        // Pitch 1.2 degrees up: the axis of the left camera points above the horizon and to the left.
        let axis = mul_transposed(&left.rotation, [0.0, 0.0, 1.0]);
        assert!(
            (axis[1] + 1.2_f64.to_radians().sin()).abs() < 1e-9 && axis[0] < 0.0,
            "{axis:?}"
        );
        // Rolled clockwise by half a degree: what lies right in the picture lies lower in the panorama.
        let side = mul_transposed(&left.rotation, [1.0, 0.0, 0.0]);
        assert!(side[1] > 0.0, "{side:?}");
        let right_axis = canvas_from_camera(&pto.rig.canvas, right, [643.0, 357.5]).unwrap();
        let expected = pto.rig.canvas.cx + pto.rig.canvas.focal * 22_f64.to_radians();
        assert!((right_axis[0] - expected).abs() < 1e-6);
        assert_eq!(pto.control_points.len(), 1);
        assert_eq!(pto.control_points[0].at, [[1200.5, 300.0], [240.25, 310.75]]);
    }

    /// PanoTools' own chain: ideal radius, polynomial, shift.
    fn panotools(d: [f64; 3], abc: [f64; 3], shift: [f64; 2]) -> [f64; 2] {
        let focal = 640.0 / 32_f64.to_radians().tan();
        let (x, y) = (focal * d[0] / d[2], focal * d[1] / d[2]);
        let r = x.hypot(y) / 360.0;
        let [a, b, c] = abc;
        let scale = a * r.powi(3) + b * r.powi(2) + c * r + 1.0 - a - b - c;
        [x * scale + 639.5 + shift[0], y * scale + 359.5 + shift[1]]
    }

    #[test]
    fn the_lens_is_hugins() {
        for (abc, line, most) in [
            ([0.0, -0.02, 0.0], "a0 b-0.02 c0", 1e-6),
            ([0.006, -0.021, 0.004], "a0.006 b-0.021 c0.004", 0.5),
        ] {
            let text = PROJECT.replace("a0 b-0.02 c0", line);
            let pto = from_pto(&text, &streams(), Crop::All).unwrap();
            for y in [-0.35, -0.2, 0.0, 0.3] {
                for x in [-0.6, -0.3, 0.1, 0.62] {
                    let ours = project(&pto.rig.cameras[0].intrinsics, [x, y, 1.0]).unwrap();
                    let theirs = panotools([x, y, 1.0], abc, [3.5, -2.0]);
                    let off = (ours[0] - theirs[0]).hypot(ours[1] - theirs[1]);
                    assert!(off < most, "{abc:?} at {x}, {y}: off by {off} px");
                }
            }
        }
    }

    #[test]
    fn a_fisheye_is_equidistant() {
        let text = PROJECT
            .replace("f0 v64", "f3 v120")
            .replace("f0 v=0", "f3 v=0")
            .replace("b-0.02", "b0");
        let pto = from_pto(&text, &streams(), Crop::All).unwrap();
        let optics = pto.rig.cameras[0].intrinsics;
        assert!(matches!(optics.lens, Lens::Fisheye(_)));
        assert!(
            (optics.fx - 1280.0 / 120_f64.to_radians()).abs() < 1e-6,
            "{optics:?}"
        );
    }

    #[test]
    fn what_cannot_be_taken_over_is_said_by_line() {
        let cases = [
            ("v64", "v6-4", "line 8: v6-4 is no number"),
            ("v=0", "v=7", "line 9: v=7 points to nothing"),
            ("TrX0 ", "TrX0.5 ", "line 8: TrX is not 0"),
            ("p f1", "p f9", "line 3: projection f9"),
            ("f0 v64", "f4 v64", "line 8: a picture with lens f4"),
            ("N1 x1200.5", "N5 x1200.5", "line 15: there is no picture 5"),
            ("a0 b-0.02 c0", "a0.5 b-0.02 c-0.9", "picture 0: its lens"),
        ];
        for (from, to, says) in cases {
            let error = from_pto(&PROJECT.replacen(from, to, 1), &streams(), Crop::All).unwrap_err();
            assert!(error.to_string().contains(says), "{from} to {to}: {error}");
        }
        assert_eq!(
            from_pto("", &streams(), Crop::All),
            Err(PtoError::Count {
                pictures: 0,
                cameras: 2
            })
        );
    }
}
