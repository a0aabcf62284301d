//! What passes between the pixels of a panorama and the decisions about it: small grids over the canvas.
//!
//! The side with the pixels (CPU or GPU) says once what the cameras cover ([`StitchLayout`]) and for each picture
//! what it sees in a cell ([`PanoramaSeen`]); the side that decides answers with a [`StitchPlan`], which says all
//! that composing needs beside geometry. Neither side knows the other. Cells are numbered row by row.

use crate::{BBox, InPanorama, Mono, Size};

/// Side of a cell of the small grids, in canvas pixels.
pub const STITCH_CELL: usize = 8;
/// Distance between two nodes of a gain field, in canvas pixels. Node (i, j) lies at the pixel (64 i, 64 j).
pub const GAIN_PITCH: usize = 64;

/// How much of a cell a camera sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cover {
    /// Nothing.
    None,
    /// A part.
    Part,
    /// All of it.
    Whole,
    /// All of it and of the eight cells around it: weights may run out here without showing an edge.
    Inner,
}

/// What the cameras of a panorama cover, made once from a rig.
#[derive(Clone, Debug, PartialEq)]
pub struct StitchLayout {
    /// The canvas, in pixels.
    pub size: Size,
    /// Cells across: the width over [`STITCH_CELL`], rounded up.
    pub columns: usize,
    /// Cells down.
    pub rows: usize,
    /// Of each camera, of each cell.
    pub cover: Vec<Vec<Cover>>,
    /// Weights of red and blue in luma (ITU-R BT.601 or BT.709), to turn cells into R'G'B'.
    pub kr_kb: (f32, f32),
}

impl StitchLayout {
    /// Nodes of a gain field across and down.
    pub fn gain_nodes(&self) -> (usize, usize) {
        let nodes = |pixels: u32| (pixels as usize).div_ceil(GAIN_PITCH) + 1;
        (nodes(self.size.width), nodes(self.size.height))
    }

    /// Whether two cameras or more see all of a cell: only such cells are looked at.
    pub fn shared(&self, cell: usize) -> bool {
        self.cover.iter().filter(|c| c[cell] >= Cover::Whole).count() >= 2
    }
}

/// What a camera sees in a cell: means over samples spread over it, as the camera gives them, without gain.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CellSeen {
    /// Mean luma, 0 to 255.
    pub luma: f32,
    /// Mean Cb, 0 to 255.
    pub cb: f32,
    /// Mean Cr, 0 to 255.
    pub cr: f32,
    /// Standard deviation of luma in the cell; below zero when the cell was not looked at.
    pub detail: f32,
}

impl CellSeen {
    /// A cell that was not looked at.
    pub const UNSEEN: CellSeen = CellSeen {
        luma: 0.0,
        cb: 128.0,
        cr: 128.0,
        detail: -1.0,
    };
}

/// What stands in the slot of a camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlotView {
    /// A picture of now.
    Live,
    /// The last picture of a camera that gives none now.
    Held,
    /// Nothing.
    Empty,
}

/// What the cameras see at one instant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PanoramaSeen {
    /// Of each camera.
    pub slots: Vec<SlotView>,
    /// Of each camera, of each cell; only shared cells of live cameras are looked at. Empty for a camera that is not
    /// live.
    pub cells: Vec<Vec<CellSeen>>,
}

/// A seam, for those who draw or watch it.
#[derive(Clone, Debug, PartialEq)]
pub struct SeamLine {
    /// Cameras before it (left or above).
    pub before: Vec<usize>,
    /// Cameras after it.
    pub after: Vec<usize>,
    /// Whether it runs down the canvas (one place a row of cells), or across it (one place a column).
    pub runs_down: bool,
    /// Of each row or column of cells, where it crosses, in canvas pixels; `None` where the two do not overlap.
    pub at: Vec<Option<f32>>,
    /// Cells of the line that lie in a box which must not be cut.
    pub cut_cells: usize,
}

/// How a panorama is to be composed: all that changes from picture to picture.
#[derive(Clone, Debug, PartialEq)]
pub struct StitchPlan {
    /// Another number when `weights` changed.
    pub revision: u64,
    /// Of each camera, of each cell: its share at the middle of the cell, 0 to 255, bilinear between. Shares of a
    /// cell sum to 255 where any camera is shown.
    pub weights: Vec<Vec<u8>>,
    /// Of each camera, of each node of [`StitchLayout::gain_nodes`], row by row: what to add to the natural logarithm
    /// of R', G', B'; bilinear between.
    pub gains: Vec<Vec<[f32; 3]>>,
    /// The seams.
    pub seams: Vec<SeamLine>,
}

/// Who decides how a panorama is composed.
pub trait StitchDirector {
    /// The plan for the pictures of `seen`, whose canvas shows `boxes` that no seam should cut.
    fn decide(&mut self, now: Mono, seen: &PanoramaSeen, boxes: &[BBox<InPanorama>]) -> &StitchPlan;
}

/// Side of a patch that is compared between two cameras, in canvas pixels.
pub const PATCH: usize = 32;

/// The same square of the canvas as two cameras see it.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchPair {
    /// Its number among the patches of its pair: the same place at every look.
    pub number: usize,
    /// Its middle, in canvas pixels.
    pub at: [f32; 2],
    /// Luma as the first camera gives it, [`PATCH`] rows of [`PATCH`] values, without gain.
    pub one: Vec<f32>,
    /// The same of the second camera.
    pub two: Vec<f32>,
}

/// A look at what two cameras share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeamLook {
    /// The two cameras, by their numbers in the rig, the lower first.
    pub cameras: [usize; 2],
    /// Patches spread over the overlap.
    pub patches: Vec<PatchPair>,
    /// Median colour difference of the patches with gain, CIEDE2000; `None` without patches.
    pub delta_e00: Option<f64>,
}
