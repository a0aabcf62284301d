//! A textured sphere around the rig, cameras that look at it, and the canvas it should become.

use synoptic_base::{BBox, Canvas, InCamera, Intrinsics, Lens, Projection, Rig, RigCamera, Size, StreamId};
use synoptic_vision::PictureBuf;
use synoptic_vision::color::Matrix;
use synoptic_vision::panorama::geometry::{canvas_from_camera, mul_transposed, surface_point, unproject};

/// Something that stands before the sphere: by angles right of and below +z, in radians.
#[derive(Clone, Copy)]
pub(crate) struct Mover {
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
    pub(crate) rgb: [f64; 3],
}

/// What there is to see.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) movers: Vec<Mover>,
}

impl World {
    /// R, G, B of 0 to 255 in a direction.
    pub(crate) fn colour(&self, d: [f64; 3]) -> [f64; 3] {
        let (u, v) = (d[0].atan2(d[2]), d[1].atan2(d[0].hypot(d[2])));
        for m in &self.movers {
            if (m.left..m.right).contains(&u) && (m.top..m.bottom).contains(&v) {
                return m.rgb;
            }
        }
        // Waves of 15 to 300 pixels at 600 pixels a radian, no two alike, so that no two places are.
        let wave = |a: f64, b: f64, phase: f64| (u * a + v * b + phase).sin();
        let coarse = wave(13.0, 7.0, 0.3) + wave(-9.0, 17.0, 1.1) + wave(31.0, -22.0, 2.0);
        let fine = wave(97.0, 61.0, 0.0) + wave(-71.0, 113.0, 0.7) + wave(150.0, -190.0, 1.9);
        [
            115.0 + 20.0 * coarse + 8.0 * fine,
            110.0 + 16.0 * coarse + 9.0 * fine + 12.0 * wave(5.0, -11.0, 0.0),
            105.0 + 14.0 * coarse + 8.0 * fine + 16.0 * wave(-7.0, 3.0, 2.0),
        ]
    }

    fn picture(
        &self,
        size: Size,
        gain: [f64; 3],
        direction: impl Fn([f64; 2]) -> Option<[f64; 3]>,
    ) -> PictureBuf {
        let mut rgb = Vec::new();
        for y in 0..size.height {
            for x in 0..size.width {
                let seen = direction([f64::from(x), f64::from(y)]).map_or([0.0; 3], |d| self.colour(d));
                rgb.extend([0, 1, 2].map(|k| (seen[k] * gain[k]).round().clamp(0.0, 255.0) as u8));
            }
        }
        PictureBuf::from_rgb8(size, &rgb, Matrix::guess(size))
            .unwrap()
            .to_nv12()
    }

    /// What camera `k` of `rig` sees, under a gain of R, G, B.
    pub(crate) fn seen_by(&self, rig: &Rig, k: usize, gain: [f64; 3]) -> PictureBuf {
        let camera = &rig.cameras[k];
        self.picture(camera.intrinsics.size, gain, |p| {
            Some(mul_transposed(
                &camera.rotation,
                unproject(&camera.intrinsics, p)?,
            ))
        })
    }

    /// What the canvas should show.
    pub(crate) fn truth(&self, rig: &Rig) -> PictureBuf {
        self.picture(rig.canvas.size, [1.0; 3], |p| Some(surface_point(&rig.canvas, p)))
    }

    /// The box of mover `m` in camera `k`; `None` when it does not see it.
    pub(crate) fn bbox(&self, rig: &Rig, k: usize, m: usize) -> Option<BBox<InCamera>> {
        let (mover, camera) = (&self.movers[m], &rig.cameras[k]);
        let size = camera.intrinsics.size;
        let (mut low, mut high) = ([f64::MAX; 2], [f64::MIN; 2]);
        for i in 0..=8 {
            for j in 0..=8 {
                let u = mover.left + (mover.right - mover.left) * f64::from(i) / 8.0;
                let v = mover.top + (mover.bottom - mover.top) * f64::from(j) / 8.0;
                let d = [u.sin() * v.cos(), v.sin(), u.cos() * v.cos()];
                let d = synoptic_vision::panorama::geometry::mul(&camera.rotation, d);
                let p = synoptic_vision::panorama::geometry::project(&camera.intrinsics, d)?;
                for k in 0..2 {
                    low[k] = low[k].min(p[k]);
                    high[k] = high[k].max(p[k]);
                }
            }
        }
        let (w, h) = (f64::from(size.width), f64::from(size.height));
        let f = |v: f64, n: f64| ((v + 0.5) / n) as f32;
        let found = BBox::from_edges(f(low[0], w), f(low[1], h), f(high[0], w), f(high[1], h)).clamped();
        (found.w > 0.0 && found.h > 0.0).then_some(found)
    }
}

/// A turn to the right, then down, then clockwise about the axis.
pub(crate) fn turned(yaw: f64, pitch: f64, roll: f64) -> [[f64; 3]; 3] {
    let ((sy, cy), (sp, cp), (sr, cr)) = (yaw.sin_cos(), pitch.sin_cos(), roll.sin_cos());
    let r = [[cy, 0.0, -sy], [-sy * sp, cp, -cy * sp], [sy * cp, sp, cy * cp]];
    let row = |a: f64, b: f64| [0, 1, 2].map(|k| a * r[0][k] + b * r[1][k]);
    [row(cr, sr), row(-sr, cr), r[2]]
}

/// `n` cameras of `size` in a row, 60 degrees wide each, that overlap by 30 %.
pub(crate) fn row(n: usize, size: Size, lens: Lens, projection: Projection) -> Rig {
    let half = 30.0_f64.to_radians();
    let focal = f64::from(size.width) / 2.0 / half.tan();
    let pitch = 2.0 * half * 0.7;
    let cameras = (0..n).map(|k| {
        let yaw = (k as f64 - (n as f64 - 1.0) / 2.0) * pitch;
        RigCamera {
            stream: StreamId::new(&format!("cam{k}")).unwrap(),
            intrinsics: Intrinsics {
                size,
                fx: focal,
                fy: focal,
                cx: f64::from(size.width) / 2.0 - 0.5,
                cy: f64::from(size.height) / 2.0 - 0.5,
                lens,
            },
            rotation: turned(yaw, 0.01 * k as f64, 0.015 - 0.01 * k as f64),
            centre: [0.0; 3],
        }
    });
    let cameras: Vec<_> = cameras.collect();
    fitted(cameras, projection, focal)
}

/// The rig of `cameras` with a canvas just around all they see.
pub(crate) fn fitted(cameras: Vec<RigCamera>, projection: Projection, focal: f64) -> Rig {
    let mut canvas = Canvas {
        size: Size::new(16, 16),
        projection,
        focal,
        cx: 0.0,
        cy: 0.0,
    };
    let (mut low, mut high) = ([f64::MAX; 2], [f64::MIN; 2]);
    for camera in &cameras {
        let size = camera.intrinsics.size;
        for i in 0..=16 {
            for (u, v) in [
                (f64::from(i) / 16.0, 0.0),
                (f64::from(i) / 16.0, 1.0),
                (0.0, f64::from(i) / 16.0),
                (1.0, f64::from(i) / 16.0),
            ] {
                let p = [u * f64::from(size.width - 1), v * f64::from(size.height - 1)];
                if let Some(p) = canvas_from_camera(&canvas, camera, p) {
                    for k in 0..2 {
                        low[k] = low[k].min(p[k]);
                        high[k] = high[k].max(p[k]);
                    }
                }
            }
        }
    }
    let even = |v: f64| (v.ceil() as u32 + 1) & !1;
    canvas.size = Size::new(even(high[0] - low[0]), even(high[1] - low[1]));
    (canvas.cx, canvas.cy) = (-low[0], -low[1]);
    Rig { cameras, canvas }
}

/// Peak signal to noise ratio of luma, in dB, over pixels that `counts`.
pub(crate) fn psnr(one: &PictureBuf, two: &PictureBuf, counts: impl Fn(usize, usize) -> bool) -> f64 {
    let (a, b) = (one.planes().luma(), two.planes().luma());
    let (mut sum, mut n) = (0.0, 0.0);
    for (y, (a, b)) in a.data.chunks(a.stride).zip(b.data.chunks(b.stride)).enumerate() {
        for (x, (a, b)) in a.iter().zip(b).enumerate() {
            if counts(x, y) {
                sum += (f64::from(*a) - f64::from(*b)).powi(2);
                n += 1.0;
            }
        }
    }
    assert!(n > 0.0, "nothing to compare");
    10.0 * (255.0_f64.powi(2) / (sum / n).max(1e-9)).log10()
}
