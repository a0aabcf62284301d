//! Pictures of a virtual camera: one pass from the source's picture, bilinear, by the compositor's own samplers.

use synoptic_base::{Canvas, PixelFormat, Planes, Ptz, Size, Surface, SurfaceError};

use super::grid::NodeGrid;
use super::mesh::{Mesh, Run, RunRow, chroma_runs};
use super::reach::Reach;
use super::rows;
use super::sources::sources;
use super::view::{View, ViewOptics};
use super::warp::{self, LUMA_RUN, Simd};
use crate::PictureBuf;
use crate::picture::{PictureError, check};

/// Nodes are kept within this many pixels of the view around the source: several cells of the mesh.
const MARGIN: f64 = 64.0;

/// Why a view cannot be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ViewError {
    /// A size that cannot be.
    #[error("{what} of {width}x{height} is not possible: give even sides of 16 to 16384 pixels")]
    Size {
        /// `a view` or `a source`.
        what: &'static str,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
    },
    /// The field of view.
    #[error("a view of {0} degrees is not possible: give 1 to 170, and to 360 on a cylinder and of a crop")]
    Angle(f64),
    /// The source's picture is of another size than its geometry.
    #[error("the source gives {have:?} where its geometry is of {want:?}: make the view anew")]
    Resized {
        /// Its size now.
        have: Size,
        /// The size of its geometry.
        want: Size,
    },
    /// The output is no NV12 picture of the view's size.
    #[error("the output is {have:?} {format:?} where the view wants {want:?} NV12")]
    Output {
        /// Its size.
        have: Size,
        /// Its format.
        format: PixelFormat,
        /// The view.
        want: Size,
    },
    /// The pixels cannot be mapped.
    #[error("the source's picture: {0}")]
    Surface(#[from] SurfaceError),
    /// The planes are not what the size says.
    #[error("the source's picture: {0}")]
    Planes(#[from] PictureError),
}

/// Rows that are worked on.
#[derive(Default)]
struct Scratch {
    rows: [RunRow; 2],
    chroma_runs: Vec<Run>,
    samples: Vec<i16>,
}

/// Draws one virtual camera.
pub struct ViewWarp {
    source: Canvas,
    optics: ViewOptics,
    simd: Simd,
    /// Where it looks, once it was aimed.
    aimed: Option<(Ptz, Mesh, Reach)>,
    /// Chroma of an I420 picture, interleaved.
    room: Vec<u8>,
    scratch: Scratch,
}

impl ViewWarp {
    /// A virtual camera of `optics` on pictures of `source`; `simd`: which pixel loops, else the best there are.
    ///
    /// # Errors
    /// [`ViewError`] when a size or the angle is not possible.
    pub fn new(source: Canvas, optics: ViewOptics, simd: Option<Simd>) -> Result<ViewWarp, ViewError> {
        let side = |v: u32| (16..=1 << 14).contains(&v);
        for (what, size, even) in [("a view", optics.size, true), ("a source", source.size, false)] {
            let right = |v: u32| side(v) && (!even || v.is_multiple_of(2));
            if !right(size.width) || !right(size.height) {
                return Err(ViewError::Size {
                    what,
                    width: size.width,
                    height: size.height,
                });
            }
        }
        let most = match optics.shape {
            super::ViewShape::Rectilinear => 170.0,
            super::ViewShape::Cylindrical | super::ViewShape::Crop => 360.0,
        };
        if !(1.0..=most).contains(&optics.hfov_deg) {
            return Err(ViewError::Angle(optics.hfov_deg));
        }
        let wanted = simd.filter(|s| Simd::available().contains(s));
        Ok(ViewWarp {
            source,
            optics,
            simd: wanted.unwrap_or_else(Simd::detect),
            aimed: None,
            room: Vec::new(),
            scratch: Scratch::default(),
        })
    }

    /// What the source's pictures show.
    pub fn source(&self) -> &Canvas {
        &self.source
    }

    /// What the view is.
    pub fn optics(&self) -> &ViewOptics {
        &self.optics
    }

    /// Looks there from now on. Costs about 1 ms for 1280x720, and nothing where it looks already.
    pub fn aim(&mut self, ptz: Ptz) {
        if self.aimed.as_ref().is_some_and(|(now, ..)| *now == ptz) {
            return;
        }
        let view = View::new(&self.source, &self.optics, ptz);
        let size = self.optics.size;
        // A node far outside is none: on a cylinder what lies behind would come round from the other side.
        let margin = MARGIN * view.scale().max(1.0);
        let (w, h) = (
            f64::from(self.source.size.width),
            f64::from(self.source.size.height),
        );
        let near =
            |p: &[f64; 2]| (-margin..=w + margin).contains(&p[0]) && (-margin..=h + margin).contains(&p[1]);
        let grid = NodeGrid::new(size, |p| view.source_from_view(p).filter(near));
        let mesh = Mesh::of_grid(&grid);
        let from = (self.source.size.width, self.source.size.height);
        let reach = Reach::new(&mesh, from, (size.width, size.height));
        self.aimed = Some((ptz, mesh, reach));
    }

    /// Where it looks.
    pub fn view(&self) -> Option<View> {
        let (ptz, ..) = self.aimed.as_ref()?;
        Some(View::new(&self.source, &self.optics, *ptz))
    }

    /// Draws the view of `picture` into `out`, an NV12 picture of the view's size; straight ahead where it was never aimed.
    /// Black where the source shows nothing.
    ///
    /// # Errors
    /// [`ViewError`] when the picture is not the source's or cannot be read, or `out` is of another size.
    pub fn render(&mut self, picture: &dyn Surface, out: &mut PictureBuf) -> Result<(), ViewError> {
        let want = self.optics.size;
        if out.size() != want || out.format() != PixelFormat::Nv12 {
            return Err(ViewError::Output {
                have: out.size(),
                format: out.format(),
                want,
            });
        }
        if picture.size() != self.source.size {
            return Err(ViewError::Resized {
                have: picture.size(),
                want: self.source.size,
            });
        }
        if self.aimed.is_none() {
            self.aim(Ptz::AHEAD);
        }
        let mut outcome = Ok(());
        picture.with_planes(&mut |planes| outcome = self.draw(&planes, out))?;
        outcome
    }

    fn draw(&mut self, planes: &Planes<'_>, out: &mut PictureBuf) -> Result<(), ViewError> {
        let Some((_, mesh, reach)) = &self.aimed else {
            return Ok(());
        };
        let size = self.source.size;
        check(planes, size)?;
        let (luma, chroma) = sources(planes, size, &mut self.room).ok_or(ViewError::Size {
            what: "a source",
            width: size.width,
            height: size.height,
        })?;
        let (width, height) = (self.optics.size.width as usize, self.optics.size.height as usize);
        let simd = self.simd;
        let Scratch {
            rows: runs,
            chroma_runs: pairs,
            samples,
        } = &mut self.scratch;
        pairs.resize(mesh.columns, Run::default());
        samples.resize(mesh.columns * LUMA_RUN, 0);
        let (luma_out, chroma_out) = out.nv12_mut();
        let lines = luma_out.chunks_mut(2 * width).zip(chroma_out.chunks_mut(width));
        for (i, (both, chroma_row)) in lines.enumerate().take(height / 2) {
            let y = 2 * i;
            for (k, row) in both.chunks_mut(width).enumerate() {
                mesh.luma_runs(simd, 0..mesh.columns, y + k, &mut runs[k]);
                warp::sample(simd, &luma, &runs[k].runs, samples);
                rows::plain_bytes(simd, &samples[..width], row);
                reach.gaps(y + k, &(0..width), |gap| row[gap].fill(16));
            }
            chroma_runs(simd, &runs[0].runs, &runs[1].runs, pairs);
            warp::sample(simd, &chroma, pairs, samples);
            rows::plain_bytes(simd, &samples[..width], chroma_row);
            reach.gaps(y, &(0..width), |gap| {
                chroma_row[gap.start & !1..((gap.end + 1) & !1).min(width)].fill(128);
            });
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
