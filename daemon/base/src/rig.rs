//! Where the cameras of a panorama stand and look, and what its canvas shows.
//!
//! Conventions, as in Hartley and Zisserman, *Multiple View Geometry*, 2nd ed., chapter 6: a camera looks along its
//! +z, x goes right and y goes down; a pixel's centre has whole coordinates, so the first pixel is (0, 0). A point X
//! of the world is seen by a camera in the direction R (X - C).

use crate::{Size, StreamId};

/// How a lens bends a ray away from the pinhole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lens {
    /// r' = r (1 + k1 r^2 + k2 r^4 + k3 r^6 + k4 r^8), r = tan of the angle to the axis (Brown 1966, radial part).
    Radial([f64; 4]),
    /// r' = a + k1 a^3 + k2 a^5 + k3 a^7 + k4 a^9, a = the angle to the axis in radians (Kannala and Brandt 2006).
    Fisheye([f64; 4]),
}

impl Lens {
    /// A pinhole.
    pub const PINHOLE: Lens = Lens::Radial([0.0; 4]);
}

/// From directions in a camera to its pixels: x = fx x' + cx, y = fy y' + cy, with (x', y') after the lens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intrinsics {
    /// The picture these belong to, in pixels.
    pub size: Size,
    /// Focal length across, in pixels.
    pub fx: f64,
    /// Focal length down, in pixels.
    pub fy: f64,
    /// Principal point across, in pixels.
    pub cx: f64,
    /// Principal point down, in pixels.
    pub cy: f64,
    /// The lens.
    pub lens: Lens,
}

/// A camera of a panorama.
#[derive(Clone, Debug, PartialEq)]
pub struct RigCamera {
    /// Whose frames these are.
    pub stream: StreamId,
    /// Its optics.
    pub intrinsics: Intrinsics,
    /// R: rows are the camera's axes in the world, so that it turns a direction of the world into the camera's.
    pub rotation: [[f64; 3]; 3],
    /// C: where it stands, in units of the distance of the surface that the canvas unrolls. Zero for cameras that
    /// stand close together before a far scene.
    pub centre: [f64; 3],
}

/// The surface that a canvas unrolls. Its distance from the world's origin is the unit of length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Projection {
    /// The plane z = 1, infinitely far: lines stay straight, below 180 degrees. Where cameras stand is left out.
    Rectilinear,
    /// The plane z = 1, near: a facade, a floor, a table. Where cameras stand counts.
    Plane,
    /// A cylinder about y with radius 1: uprights stay straight.
    Cylindrical,
    /// A sphere with radius 1, longitude and latitude (equirectangular).
    Spherical,
}

/// The picture that a panorama makes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canvas {
    /// Its size in pixels; even both ways, as 4:2:0 wants.
    pub size: Size,
    /// The surface it unrolls.
    pub projection: Projection,
    /// Pixels per unit of length on the plane, or per radian on the cylinder and the sphere.
    pub focal: f64,
    /// The canvas pixel that shows the direction +z, across.
    pub cx: f64,
    /// The canvas pixel that shows the direction +z, down.
    pub cy: f64,
}

/// The cameras of a panorama and its canvas: all that composing needs to know of geometry.
#[derive(Clone, Debug, PartialEq)]
pub struct Rig {
    /// 2 to 8 cameras.
    pub cameras: Vec<RigCamera>,
    /// What they become.
    pub canvas: Canvas,
}
