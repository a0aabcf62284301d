//! From control meshes to what the compositor samples by. The canvas is the calibration's and never changes: how the
//! networks' plane lies on it is found once, by the similarity that brings both cameras' points nearest to where the
//! calibration shows them, and is kept.

use synoptic_base::{Rig, Size};

use super::thin_plate::{Bend, Plate};
use super::{ControlMesh, POINTS, rigid};
use crate::panorama::geometry::canvas_from_camera;
use crate::panorama::{NodeGrid, WARP_PITCH, node_place};

/// A spline is trusted this far beyond its mesh, in parts of the mesh's extent: enough for the cells at a picture's edge.
const BEYOND: f64 = 0.08;
/// Points of both cameras that the plane is laid by, at least.
const ENOUGH: usize = 32;
/// Nodes that two cameras share before their difference says anything.
const SHARED: usize = 48;
/// Variance of luma that is texture: below a standard deviation of 3 levels any warp fits.
const TEXTURE: f64 = 9.0;

/// How the networks' plane lies on the canvas: turned, scaled, moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// Scale times cosine, and scale times sine, of the turn.
    turn: [f64; 2],
    shift: [f64; 2],
    /// Root mean square miss of the points it was found by, canvas pixels.
    pub miss_px: f64,
}

/// Canvas pixels a point of the plane moves by: pixels of the networks' input as pixels of the first camera.
fn camera_scale(net: [usize; 2], camera: Size) -> [f64; 2] {
    [
        f64::from(camera.width) / net[0] as f64,
        f64::from(camera.height) / net[1] as f64,
    ]
}

/// A control point of a picture in the camera's pixels, whose centres have whole numbers.
fn in_camera(point: [f64; 2], net: [usize; 2], camera: Size) -> [f64; 2] {
    let scale = camera_scale(net, camera);
    [0, 1].map(|k| point[k] * scale[k] - 0.5)
}

/// A point of the plane, and where it belongs on the canvas.
type Pair = ([f64; 2], [f64; 2]);

impl Placement {
    /// For the two cameras of `rig`, whose points stand at `meshes` on the plane of a network with input `net` (width,
    /// height). `None` when too few points have a place on the canvas.
    pub fn fit(rig: &Rig, net: [usize; 2], meshes: &[ControlMesh; 2]) -> Option<Placement> {
        let scale = camera_scale(net, rig.cameras.first()?.intrinsics.size);
        let still = rigid(net[0], net[1]);
        let mut pairs: Vec<Pair> = Vec::new();
        for (camera, mesh) in rig.cameras.iter().zip(meshes) {
            for (point, shown) in still.iter().zip(mesh) {
                let pixel = in_camera(*point, net, camera.intrinsics.size);
                let Some(wanted) = canvas_from_camera(&rig.canvas, camera, pixel) else {
                    continue;
                };
                pairs.push(([shown[0] * scale[0], shown[1] * scale[1]], wanted));
            }
        }
        if pairs.len() < ENOUGH {
            return None;
        }
        // Umeyama, "Least-squares estimation of transformation parameters", 1991, in the plane.
        let n = pairs.len() as f64;
        let mean = |of: fn(&Pair) -> [f64; 2]| {
            let sum = pairs
                .iter()
                .map(of)
                .fold([0.0; 2], |s, p| [s[0] + p[0], s[1] + p[1]]);
            sum.map(|v| v / n)
        };
        let (from, to) = (mean(|p| p.0), mean(|p| p.1));
        let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
        for (a, b) in &pairs {
            let (a, b) = ([a[0] - from[0], a[1] - from[1]], [b[0] - to[0], b[1] - to[1]]);
            along += a[0] * b[0] + a[1] * b[1];
            across += a[0] * b[1] - a[1] * b[0];
            spread += a[0] * a[0] + a[1] * a[1];
        }
        if !(spread > 0.0 && along.is_finite() && across.is_finite()) {
            return None;
        }
        let turn = [along / spread, across / spread];
        let mut found = Placement {
            turn,
            shift: [
                to[0] - turn[0] * from[0] + turn[1] * from[1],
                to[1] - turn[1] * from[0] - turn[0] * from[1],
            ],
            miss_px: 0.0,
        };
        let missed: f64 = pairs
            .iter()
            .map(|(a, b)| {
                let at = found.on_canvas(*a);
                (at[0] - b[0]).powi(2) + (at[1] - b[1]).powi(2)
            })
            .sum();
        found.miss_px = (missed / n).sqrt();
        Some(found)
    }

    fn on_canvas(&self, p: [f64; 2]) -> [f64; 2] {
        let [c, s] = self.turn;
        [
            c * p[0] - s * p[1] + self.shift[0],
            s * p[0] + c * p[1] + self.shift[1],
        ]
    }
}

/// One camera's picture bent onto the canvas.
#[derive(Clone, Debug)]
pub struct LearnedWarp {
    /// Control points on the canvas.
    mesh: [[f64; 2]; POINTS],
    middle: [f64; 2],
    extent: f64,
    /// From the canvas (scaled about its middle) to the camera's pixels.
    back: Bend,
    /// From the camera's pixels (-1 to 1) to the canvas.
    forth: Bend,
    camera: Size,
}

impl LearnedWarp {
    /// Of the camera with pictures of `camera`, whose points stand at `mesh` on the plane of a network with input `net`
    /// (width, height); `first` is the size of the first camera's pictures, which the placement is by. `None` where the
    /// mesh is so bent that no spline goes through it.
    pub fn new(
        mesh: &ControlMesh,
        net: [usize; 2],
        (first, camera): (Size, Size),
        placement: &Placement,
    ) -> Option<LearnedWarp> {
        let scale = camera_scale(net, first);
        let mesh = mesh.map(|p| placement.on_canvas([p[0] * scale[0], p[1] * scale[1]]));
        let (low, high) = bounds(&mesh);
        let middle = [0, 1].map(|k| (low[k] + high[k]) / 2.0);
        let extent = (high[0] - low[0]).max(high[1] - low[1]) / 2.0;
        if !(extent.is_finite() && extent >= 1.0) {
            return None;
        }
        let still = rigid(net[0], net[1]);
        let pixels = still.map(|p| in_camera(p, net, camera));
        let sources = mesh.map(|p| [0, 1].map(|k| (p[k] - middle[k]) / extent));
        let unit = still.map(|p| [0, 1].map(|k| p[k] * 2.0 / net[k] as f64 - 1.0));
        Some(LearnedWarp {
            back: Plate::new(&sources)?.bend(&pixels)?,
            forth: Plate::new(&unit)?.bend(&mesh)?,
            mesh,
            middle,
            extent,
            camera,
        })
    }

    /// Where in the camera's picture the canvas pixel `p` comes from; `None` too far beyond the mesh.
    pub fn camera_from_canvas(&self, p: [f64; 2]) -> Option<[f64; 2]> {
        let (low, high) = bounds(&self.mesh);
        let near = (0..2).all(|k| {
            let margin = (high[k] - low[k]) * BEYOND + WARP_PITCH as f64;
            (low[k] - margin..=high[k] + margin).contains(&p[k])
        });
        near.then(|| {
            self.back
                .at([0, 1].map(|k| (p[k] - self.middle[k]) / self.extent))
        })
    }

    /// Where on the canvas the pixel `p` of the camera is shown.
    pub fn canvas_from_camera(&self, p: [f64; 2]) -> [f64; 2] {
        let size = [self.camera.width, self.camera.height].map(f64::from);
        self.forth.at([0, 1].map(|k| (p[k] + 0.5) * 2.0 / size[k] - 1.0))
    }

    /// What the compositor samples by on a canvas of `canvas`; takes some 10 ms for 3 megapixels.
    pub fn grid(&self, canvas: Size) -> NodeGrid {
        NodeGrid::new(canvas, |p| self.camera_from_canvas(p))
    }

    /// Control points on the canvas, row by row.
    pub fn mesh(&self) -> &[[f64; 2]; POINTS] {
        &self.mesh
    }
}

fn bounds(mesh: &[[f64; 2]]) -> ([f64; 2], [f64; 2]) {
    mesh.iter()
        .fold(([f64::MAX; 2], [f64::MIN; 2]), |(low, high), p| {
            (
                [low[0].min(p[0]), low[1].min(p[1])],
                [high[0].max(p[0]), high[1].max(p[1])],
            )
        })
}

/// A small grey picture that stands for a camera's.
#[derive(Clone, Copy, Debug)]
pub struct Small<'a> {
    /// Luma, row by row, 0 to 255.
    pub luma: &'a [f32],
    /// Columns and rows.
    pub size: [usize; 2],
    /// The picture it stands for.
    pub camera: Size,
}

impl Small<'_> {
    fn at(&self, p: [f64; 2]) -> Option<f64> {
        let scale = camera_scale(self.size, self.camera);
        let [x, y] = [0, 1].map(|k| (p[k] + 0.5) / scale[k] - 0.5);
        let [w, h] = self.size;
        let inside = x >= 0.0 && y >= 0.0 && x < (w - 1) as f64 && y < (h - 1) as f64;
        if !inside {
            return None;
        }
        let (c, r) = (x as usize, y as usize);
        let (u, v) = (x - c as f64, y - r as f64);
        let pixel = |c: usize, r: usize| f64::from(self.luma[r * w + c]);
        let row = |r: usize| pixel(c, r) * (1.0 - u) + pixel(c + 1, r) * u;
        Some(row(r) * (1.0 - v) + row(r + 1) * v)
    }
}

/// How alike two pictures are where both are shown, as PSNR in dB with their mean difference taken out; `None` where they
/// share too little of the canvas or it has no texture. The grids may be of a learned warp or of a calibration: both are judged alike.
pub fn overlap_psnr(grids: [&NodeGrid; 2], smalls: [Small<'_>; 2]) -> Option<f64> {
    let mut shared = Vec::new();
    for (a, b) in grids[0].nodes.iter().zip(&grids[1].nodes) {
        let (Some(a), Some(b)) = (*a, *b) else { continue };
        if let (Some(a), Some(b)) = (smalls[0].at(node_place(a)), smalls[1].at(node_place(b))) {
            shared.push([a, b]);
        }
    }
    let variance = |of: fn(&[f64; 2]) -> f64| {
        let n = shared.len() as f64;
        let mean = shared.iter().map(of).sum::<f64>() / n;
        shared.iter().map(|s| (of(s) - mean).powi(2)).sum::<f64>() / n
    };
    if shared.len() < SHARED || variance(|s| s[0]) < TEXTURE || variance(|s| s[1]) < TEXTURE {
        return None;
    }
    // A tenth of a level: equal pictures are no better than that.
    Some(10.0 * (255.0_f64.powi(2) / variance(|s| s[0] - s[1]).max(0.01)).log10())
}
