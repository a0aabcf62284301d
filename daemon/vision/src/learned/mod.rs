//! The learned warp: two cameras that move, put together by the three networks of StabStitch++ (Nie et al., 2024;
//! nie-lang/StabStitch2) or StabStitch, truly online.
//!
//! Terms: a *control mesh* is 7 x 9 points of a picture; the *plane* is where the spatial network shows both pictures,
//! half-way between the cameras; a *path* is how a control point wanders on the plane. All are in pixels of the
//! networks' input, whose picture reaches from 0 to its width and height inclusive.
//!
//! * [`model`] is what the three ONNX files must be, and how they come onto the box;
//! * [`nets`] runs them, [`window`] keeps the last seven frames: one frame of latency, six to start, none looked ahead;
//! * [`thin_plate`] bends pictures; [`warp`] turns control meshes into what the compositor samples by, on a canvas that
//!   never changes.
pub mod model;
pub mod nets;
#[cfg(test)]
mod tests;
pub mod thin_plate;
pub mod warp;
pub mod window;

/// Control points down.
pub const ROWS: usize = 7;
/// Control points across.
pub const COLUMNS: usize = 9;
/// Control points of a mesh.
pub const POINTS: usize = ROWS * COLUMNS;
/// Frames that the smoothing network looks at; 5, 9 and 11 were found worse (facts on StabStitch++).
pub const WINDOW: usize = 7;

/// Control points, row by row: x and y in pixels of the networks' input.
pub type ControlMesh = [[f64; 2]; POINTS];

/// The mesh of a picture that is not warped.
pub fn rigid(width: usize, height: usize) -> ControlMesh {
    std::array::from_fn(|i| {
        let (column, row) = (i % COLUMNS, i / COLUMNS);
        [
            width as f64 * column as f64 / (COLUMNS - 1) as f64,
            height as f64 * row as f64 / (ROWS - 1) as f64,
        ]
    })
}
