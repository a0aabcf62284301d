//! Sizes and boxes. A box knows by its type in which picture it lies.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

/// Width and height of a picture, in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Size {
    /// A size of `width` x `height` pixels.
    pub const fn new(width: u32, height: u32) -> Size {
        Size { width, height }
    }
}

/// How a camera's picture is turned before anything looks at it, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Rotation {
    /// As it comes.
    #[default]
    #[serde(rename = "0")]
    None,
    /// A quarter turn.
    #[serde(rename = "90")]
    Quarter,
    /// Upside down.
    #[serde(rename = "180")]
    Half,
    /// Three quarter turns.
    #[serde(rename = "270")]
    ThreeQuarter,
}

/// Marks a box as lying in the picture of one camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InCamera;

/// Marks a box as lying in a panorama.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InPanorama;

/// An axis-aligned box in fractions of its picture: (0, 0) is the top left corner, (1, 1) the bottom right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BBox<S = InCamera> {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
    #[serde(skip)]
    space: PhantomData<S>,
}

impl<S> BBox<S> {
    /// A box by its top left corner and its size.
    pub const fn new(x: f32, y: f32, w: f32, h: f32) -> BBox<S> {
        BBox {
            x,
            y,
            w,
            h,
            space: PhantomData,
        }
    }

    /// A box by its edges.
    pub fn from_edges(left: f32, top: f32, right: f32, bottom: f32) -> BBox<S> {
        BBox::new(left, top, right - left, bottom - top)
    }

    /// Right edge.
    pub fn right(&self) -> f32 {
        self.x + self.w
    }
    /// Bottom edge.
    pub fn bottom(&self) -> f32 {
        self.y + self.h
    }
    /// The centre.
    pub fn center(&self) -> (f32, f32) {
        (self.x + self.w / 2.0, self.y + self.h / 2.0)
    }
    /// Area, as a fraction of the picture; 0 for an inverted box.
    pub fn area(&self) -> f32 {
        self.w.max(0.0) * self.h.max(0.0)
    }

    /// The part inside the picture.
    pub fn clamped(&self) -> BBox<S> {
        let c = |v: f32| v.clamp(0.0, 1.0);
        BBox::from_edges(c(self.x), c(self.y), c(self.right()), c(self.bottom()))
    }

    /// Area of the common part, as a fraction of the picture.
    pub fn intersection(&self, other: &BBox<S>) -> f32 {
        let w = self.right().min(other.right()) - self.x.max(other.x);
        let h = self.bottom().min(other.bottom()) - self.y.max(other.y);
        w.max(0.0) * h.max(0.0)
    }

    /// Intersection over union, 0 to 1; 0 for boxes without area.
    pub fn iou(&self, other: &BBox<S>) -> f32 {
        let inter = self.intersection(other);
        let union = self.area() + other.area() - inter;
        if union > 0.0 { inter / union } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_known_boxes() {
        let a = BBox::<InCamera>::new(0.0, 0.0, 0.5, 0.5);
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&BBox::new(0.5, 0.5, 0.5, 0.5)), 0.0);
        assert!((a.iou(&BBox::new(0.25, 0.0, 0.5, 0.5)) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(BBox::<InCamera>::new(0.0, 0.0, 0.0, 0.0).iou(&a), 0.0);
    }
}
