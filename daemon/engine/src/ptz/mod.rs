//! Where a virtual camera looks from moment to moment: what it is told, what it follows, and how it gets there.
//!
//! [`Planner`] glides to a target with bounded speed and acceleration; [`Follow`] makes targets of what was detected, and
//! leaves the picture at rest while that is in its middle. Angles are degrees: pan to the right, tilt up.

mod follow;
mod planner;

pub use follow::{Follow, FollowConfig, Subject};
pub use planner::{Limits, Planner};

/// Degrees across a rectilinear view that has `fov_deg` at zoom 1.
pub fn zoomed_fov_deg(fov_deg: f64, zoom: f64) -> f64 {
    2.0 * ((fov_deg.to_radians() / 2.0).tan() / zoom).atan().to_degrees()
}

/// The zoom at which a view of `fov_deg` at zoom 1 is `wanted_deg` across; the other way round.
pub fn zoom_for_deg(fov_deg: f64, wanted_deg: f64) -> f64 {
    (fov_deg.to_radians() / 2.0).tan() / (wanted_deg.to_radians() / 2.0).tan()
}
