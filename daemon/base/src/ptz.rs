//! Where a virtual camera looks. The terms are ONVIF's: pan, tilt, zoom.

/// A direction and a zoom, against the source's own middle: the panorama's or the camera's direction +z.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ptz {
    /// Degrees to the right.
    pub pan_deg: f64,
    /// Degrees up.
    pub tilt_deg: f64,
    /// How much longer the focal length is than at zoom 1; at 2 things are twice as large.
    pub zoom: f64,
}

impl Ptz {
    /// Straight ahead, not zoomed.
    pub const AHEAD: Ptz = Ptz {
        pan_deg: 0.0,
        tilt_deg: 0.0,
        zoom: 1.0,
    };
}
