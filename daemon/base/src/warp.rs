//! What composing a panorama needs of geometry, worked out: one table a camera, for those who compose on a device.

use crate::Size;

/// From canvas to camera, by a mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct CameraWarp {
    /// The camera's picture.
    pub size: Size,
    /// Of each node, row by row, `columns + 1` a row: the camera's pixel in 1/65536, x and y; `None` where the lens does
    /// not see. Bilinear between nodes.
    pub nodes: Vec<Option<[i32; 2]>>,
}

/// The meshes of a rig's cameras. Node (i, j) lies at the canvas pixel (16 i, 16 j).
#[derive(Clone, Debug, PartialEq)]
pub struct WarpTables {
    /// The canvas, in pixels.
    pub canvas: Size,
    /// Cells of 16 pixels across: the width over 16, rounded up.
    pub columns: usize,
    /// Cells of 16 pixels down.
    pub rows: usize,
    /// Of each camera.
    pub cameras: Vec<CameraWarp>,
}
