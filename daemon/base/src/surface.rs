//! Pictures without their owner: what `media` makes, `vision` reads and `gpu` looks inside.

use std::any::Any;

use crate::Size;

/// Layout of the pixels of a surface. 8 bits, 4:2:0, BT.601 or BT.709 limited range as the stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// A luma plane and a plane of interleaved Cb Cr.
    Nv12,
    /// Three planes: luma, Cb, Cr.
    I420,
}

/// One plane in host memory.
#[derive(Clone, Copy, Debug)]
pub struct Plane<'a> {
    /// The bytes, at least `stride * (rows - 1) + row bytes`.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// The planes of a picture in host memory.
#[derive(Clone, Copy, Debug)]
pub enum Planes<'a> {
    /// Luma, interleaved chroma.
    Nv12 {
        /// `height` rows of `width` bytes.
        y: Plane<'a>,
        /// `ceil(height / 2)` rows of `2 * ceil(width / 2)` bytes, Cb first.
        uv: Plane<'a>,
    },
    /// Luma and two planes of chroma.
    I420 {
        /// `height` rows of `width` bytes.
        y: Plane<'a>,
        /// Cb: `ceil(height / 2)` rows of `ceil(width / 2)` bytes.
        u: Plane<'a>,
        /// Cr, as `u`.
        v: Plane<'a>,
    },
}

impl<'a> Planes<'a> {
    /// The luma plane.
    pub fn luma(&self) -> Plane<'a> {
        match *self {
            Planes::Nv12 { y, .. } | Planes::I420 { y, .. } => y,
        }
    }
}

/// Where a surface's pixels live, with the guard that keeps them alive. Only `gpu` looks inside.
#[derive(Clone, Copy)]
pub enum Native<'a> {
    /// Host memory; use [`Surface::with_planes`].
    Host,
    /// A CUDA allocation.
    Cuda(&'a (dyn Any + Send + Sync)),
    /// A Jetson NvBufSurface.
    NvBufSurface(&'a (dyn Any + Send + Sync)),
}

/// Why a surface's pixels cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot map the picture to host memory: {0}")]
pub struct SurfaceError(pub String);

/// A picture that somebody else owns: decoded video in host or device memory. Immutable.
pub trait Surface: Send + Sync {
    /// Size in pixels.
    fn size(&self) -> Size;
    /// Layout of the pixels.
    fn format(&self) -> PixelFormat;
    /// Calls `read` with the planes in host memory, downloading them first where they are on a device.
    fn with_planes(&self, read: &mut dyn FnMut(Planes<'_>)) -> Result<(), SurfaceError>;
    /// Where the pixels live.
    fn native(&self) -> Native<'_> {
        Native::Host
    }
}
