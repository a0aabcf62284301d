//! From a pixel of the canvas to a pixel of a camera and back. Conventions: [`synoptic_base::Rig`].

use synoptic_base::{Canvas, Intrinsics, Lens, Projection, RigCamera};

/// A point of the world or a direction.
pub type Vec3 = [f64; 3];
/// A matrix, rows first.
pub type Mat3 = [[f64; 3]; 3];

/// Below this cosine a ray comes from the side or from behind, where a radial polynomial means nothing.
const MIN_FORWARD: f64 = 1e-6;
/// Newton's steps when a lens is inverted; it doubles the digits each step, and 1e-12 ends it early.
const NEWTON_STEPS: usize = 20;

/// `m v`.
pub fn mul(m: &Mat3, v: Vec3) -> Vec3 {
    m.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

/// `m^T v`: for a rotation, the way back.
pub fn mul_transposed(m: &Mat3, v: Vec3) -> Vec3 {
    [0, 1, 2].map(|c| m[0][c] * v[0] + m[1][c] * v[1] + m[2][c] * v[2])
}

/// A polynomial 1 + k1 s + k2 s^2 + k3 s^3 + k4 s^4 and its derivative by s.
fn polynomial(k: &[f64; 4], s: f64) -> (f64, f64) {
    let value = 1.0 + s * (k[0] + s * (k[1] + s * (k[2] + s * k[3])));
    let slope = k[0] + s * (2.0 * k[1] + s * (3.0 * k[2] + s * 4.0 * k[3]));
    (value, slope)
}

/// Where a camera sees the direction `d` of its own frame, in pixels; `None` from behind, or from beyond the angle
/// at which the lens polynomial turns back on itself.
pub fn project(camera: &Intrinsics, d: Vec3) -> Option<[f64; 2]> {
    let across = d[0].hypot(d[1]);
    let (scale, monotonic) = match &camera.lens {
        Lens::Radial(k) => {
            if d[2] < MIN_FORWARD * across.max(1e-300) || d[2] <= 0.0 {
                return None;
            }
            let s = (across / d[2]).powi(2);
            let (value, slope) = polynomial(k, s);
            (value / d[2], value + 2.0 * s * slope > 0.0)
        }
        Lens::Fisheye(k) => {
            let angle = across.atan2(d[2]);
            let s = angle * angle;
            let (value, slope) = polynomial(k, s);
            // On the axis angle / across tends to 1 / z.
            let per_across = if across > 1e-12 * d[2].abs() {
                angle / across
            } else {
                1.0 / d[2]
            };
            (value * per_across, value + 2.0 * s * slope > 0.0)
        }
    };
    if !monotonic || !scale.is_finite() {
        return None;
    }
    Some([
        camera.fx * d[0] * scale + camera.cx,
        camera.fy * d[1] * scale + camera.cy,
    ])
}

/// The direction that a pixel of a camera looks in, of length 1, in the camera's frame; `None` where the lens
/// polynomial never reaches that far out.
pub fn unproject(camera: &Intrinsics, pixel: [f64; 2]) -> Option<Vec3> {
    let x = (pixel[0] - camera.cx) / camera.fx;
    let y = (pixel[1] - camera.cy) / camera.fy;
    let bent = x.hypot(y);
    if bent < 1e-14 {
        return Some([0.0, 0.0, 1.0]);
    }
    let k = match &camera.lens {
        Lens::Radial(k) | Lens::Fisheye(k) => k,
    };
    let straight = invert(k, bent)?;
    let (sine, cosine) = match camera.lens {
        Lens::Radial(_) => {
            let length = straight.hypot(1.0);
            (straight / length, 1.0 / length)
        }
        Lens::Fisheye(_) => straight.sin_cos(),
    };
    Some([x / bent * sine, y / bent * sine, cosine])
}

/// Solves r (1 + k1 r^2 + ...) = `bent` on the branch that begins at zero, by Newton with a bisecting guard.
fn invert(k: &[f64; 4], bent: f64) -> Option<f64> {
    let mut r = bent;
    for _ in 0..NEWTON_STEPS {
        let (value, slope) = polynomial(k, r * r);
        let derivative = value + 2.0 * r * r * slope;
        let step = if derivative > 1e-9 {
            (r * value - bent) / derivative
        } else {
            // Beyond the turning point: come back towards the axis.
            r / 2.0
        };
        let next = (r - step).max(0.0);
        if (next - r).abs() < 1e-13 * (1.0 + r) {
            r = next;
            break;
        }
        r = next;
    }
    let (value, slope) = polynomial(k, r * r);
    let found = (r * value - bent).abs() < 1e-9 * (1.0 + bent) && value + 2.0 * r * r * slope > 0.0;
    found.then_some(r)
}

/// The point of the world that a canvas pixel shows, on the surface that the canvas unrolls.
pub fn surface_point(canvas: &Canvas, pixel: [f64; 2]) -> Vec3 {
    let u = (pixel[0] - canvas.cx) / canvas.focal;
    let v = (pixel[1] - canvas.cy) / canvas.focal;
    match canvas.projection {
        Projection::Rectilinear | Projection::Plane => [u, v, 1.0],
        Projection::Cylindrical => [u.sin(), v, u.cos()],
        Projection::Spherical => [u.sin() * v.cos(), v.sin(), u.cos() * v.cos()],
    }
}

/// The canvas pixel that shows the point `p` of the world, as seen from the world's origin; `None` where the
/// projection cannot show it. May lie outside of the canvas.
pub fn canvas_pixel(canvas: &Canvas, p: Vec3) -> Option<[f64; 2]> {
    let (u, v) = match canvas.projection {
        Projection::Rectilinear | Projection::Plane => {
            if p[2] <= MIN_FORWARD * p[0].hypot(p[1]) {
                return None;
            }
            (p[0] / p[2], p[1] / p[2])
        }
        Projection::Cylindrical => {
            let radius = p[0].hypot(p[2]);
            if radius <= MIN_FORWARD * p[1].abs() {
                return None;
            }
            (p[0].atan2(p[2]), p[1] / radius)
        }
        Projection::Spherical => (p[0].atan2(p[2]), p[1].atan2(p[0].hypot(p[2]))),
    };
    let pixel = [canvas.focal * u + canvas.cx, canvas.focal * v + canvas.cy];
    pixel[0].is_finite().then_some(pixel)
}

/// Where a camera stands for this projection: nowhere but the origin when the surface is infinitely far.
fn centre(projection: Projection, camera: &RigCamera) -> Vec3 {
    match projection {
        Projection::Rectilinear => [0.0; 3],
        Projection::Plane | Projection::Cylindrical | Projection::Spherical => camera.centre,
    }
}

/// The camera pixel that belongs at a canvas pixel; `None` when the camera cannot see it. May lie outside of the
/// camera's picture.
pub fn camera_from_canvas(canvas: &Canvas, camera: &RigCamera, pixel: [f64; 2]) -> Option<[f64; 2]> {
    let point = surface_point(canvas, pixel);
    let from = centre(canvas.projection, camera);
    let ray = [0, 1, 2].map(|i| point[i] - from[i]);
    project(&camera.intrinsics, mul(&camera.rotation, ray))
}

/// The canvas pixel where a camera pixel goes; `None` when the canvas cannot show that direction.
pub fn canvas_from_camera(canvas: &Canvas, camera: &RigCamera, pixel: [f64; 2]) -> Option<[f64; 2]> {
    let ray = mul_transposed(&camera.rotation, unproject(&camera.intrinsics, pixel)?);
    let from = centre(canvas.projection, camera);
    canvas_pixel(canvas, meet(canvas.projection, from, ray)?)
}

/// Where a ray meets the surface, going forward from `from`; the nearest such point.
fn meet(projection: Projection, from: Vec3, ray: Vec3) -> Option<Vec3> {
    // a t^2 + 2 b t + c = 0 for the cylinder (without y) and the sphere.
    let quadratic = |a: f64, b: f64, c: f64| {
        let root = b * b - a * c;
        (a > 0.0 && root >= 0.0).then(|| {
            let root = root.sqrt();
            // From within, c < 0 and the one forward solution is the larger.
            if c <= 0.0 { (root - b) / a } else { (-b - root) / a }
        })
    };
    let dot = |f: Vec3, g: Vec3| f[0] * g[0] + f[1] * g[1] + f[2] * g[2];
    let t = match projection {
        Projection::Rectilinear => return Some(ray),
        Projection::Plane => (ray[2] > MIN_FORWARD).then(|| (1.0 - from[2]) / ray[2]),
        Projection::Cylindrical => {
            let flat = |v: Vec3| [v[0], 0.0, v[2]];
            let (f, r) = (flat(from), flat(ray));
            quadratic(dot(r, r), dot(f, r), dot(f, f) - 1.0)
        }
        Projection::Spherical => quadratic(dot(ray, ray), dot(from, ray), dot(from, from) - 1.0),
    }?;
    (t > 0.0).then(|| [0, 1, 2].map(|i| from[i] + t * ray[i]))
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Size, StreamId};

    use super::*;

    /// A turn about y (to the right), then about x (down), as rows of the camera's axes.
    fn turned(yaw: f64, pitch: f64) -> Mat3 {
        let (sy, cy) = yaw.sin_cos();
        let (sp, cp) = pitch.sin_cos();
        [[cy, 0.0, -sy], [-sy * sp, cp, -cy * sp], [sy * cp, sp, cy * cp]]
    }

    fn camera(lens: Lens, rotation: Mat3, centre: Vec3) -> RigCamera {
        RigCamera {
            stream: StreamId::new("east").unwrap(),
            intrinsics: Intrinsics {
                size: Size {
                    width: 1280,
                    height: 720,
                },
                fx: 900.0,
                fy: 905.0,
                cx: 640.3,
                cy: 358.9,
                lens,
            },
            rotation,
            centre,
        }
    }

    fn close(a: [f64; 2], b: [f64; 2]) -> bool {
        (a[0] - b[0]).hypot(a[1] - b[1]) < 1e-6
    }

    #[test]
    fn every_pixel_comes_back_through_every_lens_and_projection() {
        let lenses = [
            Lens::PINHOLE,
            Lens::Radial([-0.21, 0.06, 0.0, 0.001]),
            Lens::Radial([0.12, 0.0, 0.0, 0.0]),
            Lens::Fisheye([-0.02, 0.004, 0.0, 0.0]),
        ];
        let projections = [
            Projection::Rectilinear,
            Projection::Plane,
            Projection::Cylindrical,
            Projection::Spherical,
        ];
        for lens in lenses {
            for projection in projections {
                let camera = camera(lens, turned(0.4, -0.1), [0.05, -0.02, 0.03]);
                let canvas = Canvas {
                    size: Size {
                        width: 3000,
                        height: 1200,
                    },
                    projection,
                    focal: 880.0,
                    cx: 1500.0,
                    cy: 600.0,
                };
                for y in (0..720).step_by(90) {
                    for x in (0..1280).step_by(80) {
                        let pixel = [f64::from(x), f64::from(y)];
                        let on_canvas = canvas_from_camera(&canvas, &camera, pixel).unwrap();
                        let back = camera_from_canvas(&canvas, &camera, on_canvas).unwrap();
                        assert!(
                            close(back, pixel),
                            "{lens:?} {projection:?} {pixel:?} came back as {back:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_turn_to_the_right_goes_right_on_the_canvas_by_the_angle() {
        let camera = camera(Lens::PINHOLE, turned(0.3, 0.0), [0.0; 3]);
        let canvas = Canvas {
            size: Size {
                width: 3000,
                height: 1200,
            },
            projection: Projection::Cylindrical,
            focal: 1000.0,
            cx: 1500.0,
            cy: 600.0,
        };
        let middle = [camera.intrinsics.cx, camera.intrinsics.cy];
        assert!(close(
            canvas_from_camera(&canvas, &camera, middle).unwrap(),
            [1800.0, 600.0]
        ));
    }

    #[test]
    fn what_lies_behind_or_beyond_the_lens_is_not_seen() {
        let pinhole = camera(Lens::PINHOLE, turned(0.0, 0.0), [0.0; 3]).intrinsics;
        assert_eq!(project(&pinhole, [0.1, 0.0, -1.0]), None);
        // k1 = -1: r (1 - r^2) turns back at r = 0.577 and never exceeds 0.385.
        let strong = Intrinsics {
            lens: Lens::Radial([-1.0, 0.0, 0.0, 0.0]),
            ..pinhole
        };
        assert_eq!(project(&strong, [0.7, 0.0, 1.0]), None);
        assert_eq!(unproject(&strong, [640.3 + 900.0 * 0.5, 358.9]), None);
        // A fisheye sees beyond 90 degrees.
        let wide = Intrinsics {
            lens: Lens::Fisheye([0.0; 4]),
            ..pinhole
        };
        let seen = project(&wide, [1.0, 0.0, -0.2]).unwrap();
        assert!(close(seen, [640.3 + 900.0 * (1.0_f64.atan2(-0.2)), 358.9]));
    }
}
