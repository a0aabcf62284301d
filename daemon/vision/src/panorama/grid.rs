//! Where canvas pixels come from, on a coarse grid: what a compositor can be given in place of a rig's geometry.

use synoptic_base::Size;

use super::mesh::{FRACTION_BITS, PITCH};

/// Canvas pixels from node to node of a [`NodeGrid`].
pub const WARP_PITCH: usize = PITCH;
/// Places are kept within this many pixels of the origin.
const LIMIT: f64 = 16_000.0;

/// One camera's places at the nodes, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeGrid {
    /// Cells across; there is one node more.
    pub columns: usize,
    /// Cells down.
    pub rows: usize,
    /// In 1/65536 pixel of the camera's picture; `None` where the camera does not see.
    pub nodes: Vec<Option<[i32; 2]>>,
}

/// The place of a node in pixels.
pub fn node_place(node: [i32; 2]) -> [f64; 2] {
    node.map(|v| f64::from(v) / f64::from(1 << FRACTION_BITS))
}

impl NodeGrid {
    /// For a canvas of `canvas`; `camera_from_canvas` says where a canvas pixel comes from.
    pub fn new(canvas: Size, camera_from_canvas: impl Fn([f64; 2]) -> Option<[f64; 2]>) -> NodeGrid {
        let columns = (canvas.width as usize).div_ceil(PITCH);
        let rows = (canvas.height as usize).div_ceil(PITCH);
        let scale = f64::from(1 << FRACTION_BITS);
        let node = |i: usize| {
            let (c, r) = (i % (columns + 1), i / (columns + 1));
            let place = camera_from_canvas([(c * PITCH) as f64, (r * PITCH) as f64])?;
            // Not a number is not below the limit either.
            let near = place.iter().all(|v| v.abs() < LIMIT);
            near.then(|| place.map(|v| (v * scale).round() as i32))
        };
        NodeGrid {
            nodes: (0..(columns + 1) * (rows + 1)).map(node).collect(),
            columns,
            rows,
        }
    }

    /// `part` of the way from this grid to `other`, 0 to 1. A node that only one of them sees is of that one, so that a
    /// picture's edge is never short of the two.
    #[must_use]
    pub fn towards(&self, other: &NodeGrid, part: f64) -> NodeGrid {
        let mix = |a: i32, b: i32| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as i32;
        let nodes = self.nodes.iter().zip(&other.nodes).map(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => Some([mix(a[0], b[0]), mix(a[1], b[1])]),
            (Some(a), None) if part < 1.0 => Some(*a),
            (_, b) => *b,
        });
        NodeGrid {
            nodes: nodes.collect(),
            ..*self
        }
    }

    /// The farthest that a node moves to `other`, in pixels of the camera.
    pub fn farthest(&self, other: &NodeGrid) -> f64 {
        let both = self.nodes.iter().zip(&other.nodes);
        both.filter_map(|(a, b)| Some((node_place((*a)?), node_place((*b)?))))
            .map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]))
            .fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_glides_and_never_loses_an_edge_on_the_way() {
        let canvas = Size::new(40, 20);
        let from = NodeGrid::new(canvas, |p| (p[0] < 30.0).then_some(p));
        let to = NodeGrid::new(canvas, |p| Some([p[0] + 8.0, p[1] - 4.0]));
        assert_eq!((from.columns, from.rows, from.nodes.len()), (3, 2, 12));
        let half = from.towards(&to, 0.5);
        assert_eq!(node_place(half.nodes[1].unwrap()), [20.0, -2.0]);
        assert_eq!(half.nodes[2], to.nodes[2]);
        assert_eq!(from.towards(&to, 1.0), to);
        assert_eq!(to.towards(&from, 0.5).nodes[2], to.nodes[2]);
        assert_eq!(to.towards(&from, 1.0), from);
        assert!((from.farthest(&to) - 80.0_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn places_out_of_bounds_are_not_seen() {
        let grid = NodeGrid::new(Size::new(32, 16), |p| Some([p[0] * 1e4, f64::NAN * p[1]]));
        assert!(grid.nodes.iter().all(Option::is_none), "{grid:?}");
    }
}
