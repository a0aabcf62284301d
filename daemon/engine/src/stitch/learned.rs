//! Whether the learned warp may be shown: it must fit where both cameras see, bend nothing out of shape, and be no worse
//! than the calibrated warp. Two looks in a row that agree decide, so that the picture does not go to and fro.

/// Worse than this, in dB, two pictures do not fit (16 to 18 dB in others' use of StabStitch++).
const LEAST_PSNR_DB: f64 = 16.0;
/// The learned warp may be this much worse than the calibrated one, in dB: both jitter from look to look.
const WORSE_DB: f64 = 1.0;
/// Two successive edges of a mesh may turn by 60 degrees: 1 - cos.
const MOST_BEND: f64 = 0.5;
/// A picture may be shown so many times larger or smaller than the calibration shows it, by area.
const MOST_GROWTH: f64 = 5.0;
/// Looks that must agree.
const AGREE: u32 = 2;

/// What one look says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearnedLook {
    /// PSNR where both cameras see, by the learned warp, in dB; `None` where they share too little of the canvas.
    pub psnr_db: Option<f64>,
    /// The same by the calibrated warp, of the same pictures.
    pub calibrated_psnr_db: Option<f64>,
    /// Shape of the meshes; `None` when no mesh came out.
    pub shape: Option<MeshShape>,
}

/// How a mesh is bent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeshShape {
    /// The sharpest turn between two successive edges, 1 - cos.
    pub bend: f64,
    /// Whether a cell is turned inside out.
    pub folded: bool,
    /// Area over the area that the calibration gives the same picture.
    pub growth: f64,
}

impl MeshShape {
    /// Of a mesh of `columns` points a row; `area` is what the calibration gives the picture, in the same unit squared.
    /// `None` when there are fewer than 2 x 2 points or they do not fill their rows.
    pub fn of(mesh: &[[f64; 2]], columns: usize, area: f64) -> Option<MeshShape> {
        if columns < 2 || !mesh.len().is_multiple_of(columns) || mesh.len() < 2 * columns {
            return None;
        }
        let rows = mesh.len() / columns;
        let point = |c: usize, r: usize| mesh[r * columns + c];
        let way = |a: [f64; 2], b: [f64; 2]| [b[0] - a[0], b[1] - a[1]];
        let turn = |a: [f64; 2], b: [f64; 2], c: [f64; 2]| {
            let (p, q) = (way(a, b), way(b, c));
            let lengths = p[0].hypot(p[1]) * q[0].hypot(q[1]);
            1.0 - (p[0] * q[0] + p[1] * q[1]) / lengths.max(f64::MIN_POSITIVE)
        };
        let cross = |a: [f64; 2], b: [f64; 2], c: [f64; 2]| {
            let (p, q) = (way(a, b), way(a, c));
            p[0] * q[1] - p[1] * q[0]
        };
        let (mut bend, mut folded, mut sum) = (0.0_f64, false, 0.0);
        for r in 0..rows {
            for c in 0..columns {
                if c + 2 < columns {
                    bend = bend.max(turn(point(c, r), point(c + 1, r), point(c + 2, r)));
                }
                if r + 2 < rows {
                    bend = bend.max(turn(point(c, r), point(c, r + 1), point(c, r + 2)));
                }
                if c + 1 < columns && r + 1 < rows {
                    let (a, b) = (point(c, r), point(c + 1, r));
                    let (d, e) = (point(c, r + 1), point(c + 1, r + 1));
                    // Every corner of a cell turns the same way.
                    let corners = [cross(a, b, d), cross(b, e, a), cross(e, d, b), cross(d, a, e)];
                    folded |= corners.iter().any(|v| v.is_nan() || *v <= 0.0);
                    sum += (corners[0] + corners[2]) / 2.0;
                }
            }
        }
        Some(MeshShape {
            bend,
            folded,
            growth: sum / area.max(f64::MIN_POSITIVE),
        })
    }
}

/// The gate. It begins closed: the calibrated warp is shown.
#[derive(Clone, Debug, Default)]
pub struct LearnedGate {
    open: bool,
    /// Looks in a row that speak against what is.
    against: u32,
    reason: Option<String>,
}

impl LearnedGate {
    /// Takes in one look; returns whether the learned warp is to be shown.
    pub fn look(&mut self, look: &LearnedLook) -> bool {
        let objection = objection(look);
        let good = objection.is_none();
        self.against = if good == self.open { 0 } else { self.against + 1 };
        if self.against >= AGREE {
            self.open = good;
            self.against = 0;
        }
        if self.open {
            self.reason = None;
        } else if objection.is_some() {
            self.reason = objection;
        }
        self.open
    }

    /// Whether the learned warp is shown.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Why it is not; `None` while it is, or before the first look.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

fn objection(look: &LearnedLook) -> Option<String> {
    let Some(shape) = look.shape else {
        return Some("the networks gave no mesh".to_owned());
    };
    if shape.folded {
        return Some("its mesh is folded".to_owned());
    }
    // Not a number is no better than too much.
    if shape.bend.is_nan() || shape.bend > MOST_BEND {
        return Some(format!(
            "its mesh is bent by {:.0} degrees",
            (1.0 - shape.bend).clamp(-1.0, 1.0).acos().to_degrees()
        ));
    }
    if !(1.0 / MOST_GROWTH..=MOST_GROWTH).contains(&shape.growth) {
        return Some(format!(
            "it shows a picture {:.2} times as large as the calibration does",
            shape.growth
        ));
    }
    let Some(psnr) = look.psnr_db else {
        return Some("there is too little that both cameras see to judge it by".to_owned());
    };
    if psnr.is_nan() || psnr < LEAST_PSNR_DB {
        return Some(format!("the pictures fit by {psnr:.1} dB only where both see"));
    }
    match look.calibrated_psnr_db {
        Some(calibrated) if psnr < calibrated - WORSE_DB => Some(format!(
            "the pictures fit by {psnr:.1} dB where both see, and by {calibrated:.1} dB as calibrated"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(bend: impl Fn(usize, usize) -> [f64; 2]) -> Vec<[f64; 2]> {
        (0..63)
            .map(|i| {
                let [x, y] = bend(i % 9, i / 9);
                [(i % 9) as f64 * 60.0 + x, (i / 9) as f64 * 60.0 + y]
            })
            .collect()
    }

    fn look(psnr: f64, calibrated: f64) -> LearnedLook {
        LearnedLook {
            psnr_db: Some(psnr),
            calibrated_psnr_db: Some(calibrated),
            shape: MeshShape::of(&square(|_, _| [0.0; 2]), 9, 480.0 * 360.0),
        }
    }

    #[test]
    fn the_shape_of_a_mesh_is_measured() {
        let plain = MeshShape::of(&square(|_, _| [0.0; 2]), 9, 480.0 * 360.0).unwrap();
        assert!(plain.bend.abs() < 1e-9 && !plain.folded && (plain.growth - 1.0).abs() < 1e-9);
        let kinked = square(|c, r| if (c, r) == (4, 3) { [0.0, 50.0] } else { [0.0; 2] });
        let kinked = MeshShape::of(&kinked, 9, 480.0 * 360.0).unwrap();
        assert!(kinked.bend > 0.5 && !kinked.folded, "{kinked:?}");
        let folded = square(|c, r| if (c, r) == (4, 3) { [-130.0, 0.0] } else { [0.0; 2] });
        assert!(MeshShape::of(&folded, 9, 1.0).unwrap().folded);
        let mirrored: Vec<_> = square(|_, _| [0.0; 2]).iter().map(|p| [-p[0], p[1]]).collect();
        assert!(MeshShape::of(&mirrored, 9, 1.0).unwrap().folded);
        assert_eq!(MeshShape::of(&[[0.0; 2]; 10], 9, 1.0), None);
    }

    #[test]
    fn two_looks_open_and_two_close() {
        let mut gate = LearnedGate::default();
        assert!(!gate.look(&look(25.0, 20.0)) && gate.look(&look(25.0, 20.0)));
        assert_eq!(gate.reason(), None);
        assert!(gate.look(&look(12.0, 20.0)), "one bad look is an accident");
        assert!(gate.look(&look(25.0, 20.0)));
        assert!(gate.look(&look(12.0, 20.0)) && !gate.look(&look(12.0, 20.0)));
        assert!(gate.reason().unwrap().contains("12.0 dB"));
        assert!(!gate.look(&look(25.0, 20.0)) && gate.look(&look(25.0, 20.0)) && gate.is_open());
    }

    #[test]
    fn every_objection_closes_the_gate_with_its_reason() {
        let good = look(30.0, 20.0);
        let shape = good.shape.unwrap();
        for (bad, says) in [
            (LearnedLook { shape: None, ..good }, "no mesh"),
            (
                LearnedLook {
                    shape: Some(MeshShape {
                        folded: true,
                        ..shape
                    }),
                    ..good
                },
                "folded",
            ),
            (
                LearnedLook {
                    shape: Some(MeshShape { bend: 1.0, ..shape }),
                    ..good
                },
                "90 degrees",
            ),
            (
                LearnedLook {
                    shape: Some(MeshShape {
                        bend: f64::NAN,
                        ..shape
                    }),
                    ..good
                },
                "bent",
            ),
            (
                LearnedLook {
                    shape: Some(MeshShape { growth: 6.0, ..shape }),
                    ..good
                },
                "6.00 times",
            ),
            (
                LearnedLook {
                    shape: Some(MeshShape { growth: 0.1, ..shape }),
                    ..good
                },
                "0.10 times",
            ),
            (
                LearnedLook {
                    psnr_db: None,
                    ..good
                },
                "too little",
            ),
            (
                LearnedLook {
                    psnr_db: Some(f64::NAN),
                    ..good
                },
                "fit by",
            ),
            (look(22.0, 24.0), "24.0 dB as calibrated"),
        ] {
            let mut gate = LearnedGate::default();
            gate.look(&good);
            assert!(gate.look(&good));
            gate.look(&bad);
            assert!(!gate.look(&bad), "{says}");
            assert!(
                gate.reason().unwrap().contains(says),
                "{says}: {:?}",
                gate.reason()
            );
        }
        let mut gate = LearnedGate::default();
        // Where the calibration shows no overlap at all there is nothing to be worse than.
        let alone = LearnedLook {
            calibrated_psnr_db: None,
            ..good
        };
        assert!(!gate.look(&alone) && gate.look(&alone));
    }
}
