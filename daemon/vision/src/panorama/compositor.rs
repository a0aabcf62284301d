//! The pictures of N cameras in, one picture out: `observe`, let a director decide, `render`.
//!
//! The canvas and the kind of output never change; what is missing is a matter of the plan's weights, and black
//! where nobody sees. Work is cut into bands of rows that threads take in turn; the result does not depend on how
//! many there are.

use std::sync::{Mutex, PoisonError};

use synoptic_base::{
    BBox, CameraWarp, CellSeen, InPanorama, Mono, PanoramaSeen, PixelFormat, Planes, Rig, STITCH_CELL, Size,
    SlotView, StitchDirector, StitchLayout, StitchPlan, Surface, SurfaceError, WarpTables,
};

use super::band::{self, Eye, Out, Scratch};
use super::field::Field;
use super::grid::NodeGrid;
use super::mesh::Mesh;
use super::multiband;
use super::observe::Looks;
use super::options::{Blend, ComposeError, ComposeOptions, ComposeReport, MAX_CAMERAS, StitchSlot};
use super::reach::{Reach, layout};
use super::shares::Shares;
use super::warp::{LUMA_RUN, Simd, Source};
use crate::PictureBuf;
use crate::picture::check;

/// Rows of a band: a multiple of the cells of mesh, weights, and of the coarsest level of the multi-band pyramid.
const BAND: usize = 128;
/// Rows of a band without pyramids: small ones are shared out more evenly.
const FEATHER_BAND: usize = 32;
/// Rows of cells that are looked at in one go.
const ROWS_AT_ONCE: usize = 8;
/// A mesh that errs more than this, in camera pixels, is warned of.
const MESH_ERROR_PX: f64 = 0.1;

struct Camera {
    name: String,
    size: Size,
    mesh: Mesh,
    reach: Reach,
    field: Field,
    /// Where its shared cells are looked at, once a picture was seen.
    looks: Option<Looks>,
    /// Chroma of an I420 picture, interleaved.
    chroma: Vec<u8>,
}

/// Composes the pictures of one rig.
pub struct Compositor {
    canvas: Size,
    cameras: Vec<Camera>,
    layout: StitchLayout,
    shared: Vec<bool>,
    seen: PanoramaSeen,
    options: ComposeOptions,
    simd: Simd,
    shares: Shares,
    revision: Option<u64>,
    gains: Vec<Vec<[f32; 3]>>,
    scratch: Vec<(Scratch, multiband::Scratch)>,
}

impl Compositor {
    /// Prepares meshes and reaches of `rig`; takes some 10 ms a megapixel of canvas and camera.
    ///
    /// # Errors
    /// [`ComposeError`] when the rig or an option is not possible.
    pub fn new(rig: &Rig, options: ComposeOptions) -> Result<Compositor, ComposeError> {
        let n = rig.cameras.len();
        if !(2..=MAX_CAMERAS).contains(&n) {
            return Err(ComposeError::Cameras(n));
        }
        let canvas = rig.canvas.size;
        let side = |v: u32| (16..=1 << 14).contains(&v) && v.is_multiple_of(2);
        if !side(canvas.width) || !side(canvas.height) {
            return Err(ComposeError::Canvas {
                width: canvas.width,
                height: canvas.height,
            });
        }
        if !(1..=64).contains(&options.threads) {
            return Err(ComposeError::Option(format!(
                "{} threads are not possible: give 1 to 64",
                options.threads
            )));
        }
        if let Blend::MultiBand(levels) = options.blend
            && !(2..=multiband::MAX_LEVELS).contains(&levels)
        {
            return Err(ComposeError::Option(format!(
                "{levels} levels of multi-band are not possible: give 2 to {}, or feather",
                multiband::MAX_LEVELS
            )));
        }
        let simd = options.simd.unwrap_or_else(Simd::detect);
        if !Simd::available().contains(&simd) {
            return Err(ComposeError::Option(format!(
                "this machine has no {}: leave the choice to it",
                simd.name()
            )));
        }
        let mut cameras = Vec::new();
        for camera in &rig.cameras {
            let name = camera.stream.to_string();
            let size = camera.intrinsics.size;
            if !(4..=1 << 14).contains(&size.width) || !(4..=1 << 14).contains(&size.height) {
                return Err(ComposeError::Picture {
                    camera: name,
                    width: size.width,
                    height: size.height,
                });
            }
            let mesh = Mesh::new(&rig.canvas, camera);
            if mesh.error_px > MESH_ERROR_PX {
                log::warn!(
                    "camera {name}: its mesh errs by up to {:.2} px at the edge of its view",
                    mesh.error_px
                );
            }
            let reach = Reach::new(&mesh, (size.width, size.height), (canvas.width, canvas.height));
            cameras.push(Camera {
                name,
                size,
                mesh,
                reach,
                field: Field::default(),
                looks: None,
                chroma: Vec::new(),
            });
        }
        let reaches: Vec<_> = cameras.iter().map(|c| c.reach.clone()).collect();
        let layout = layout(canvas, &reaches);
        let shared = (0..layout.columns * layout.rows)
            .map(|i| layout.shared(i))
            .collect();
        Ok(Compositor {
            canvas,
            cameras,
            layout,
            shared,
            seen: PanoramaSeen::default(),
            options,
            simd,
            shares: Shares::default(),
            revision: None,
            gains: Vec::new(),
            scratch: (0..options.threads).map(|_| Default::default()).collect(),
        })
    }

    /// What the cameras cover: a director starts from this.
    pub fn layout(&self) -> &StitchLayout {
        &self.layout
    }

    /// The meshes, for a compositor on a device.
    pub fn tables(&self) -> WarpTables {
        let (w, h) = (self.canvas.width as usize, self.canvas.height as usize);
        let cameras = self.cameras.iter().map(|c| CameraWarp {
            size: c.size,
            nodes: c.mesh.nodes().to_vec(),
        });
        WarpTables {
            canvas: self.canvas,
            columns: w.div_ceil(LUMA_RUN),
            rows: h.div_ceil(LUMA_RUN),
            cameras: cameras.collect(),
        }
    }

    /// Where canvas pixels come from now, by camera.
    pub fn grids(&self) -> Vec<NodeGrid> {
        self.cameras.iter().map(|c| c.mesh.grid()).collect()
    }

    /// Where in the picture of camera `k` the canvas pixel `p` comes from, as it is sampled.
    pub fn camera_from_canvas(&self, k: usize, p: [f64; 2]) -> Option<[f64; 2]> {
        self.cameras.get(k)?.mesh.camera_from_canvas(p)
    }

    /// Samples by `grids`, one for each camera, from now on; canvas, sizes and kind of output stay. What the cameras cover
    /// may be another then: give [`Compositor::layout`] to the director. Takes some 10 ms a megapixel of canvas.
    ///
    /// # Errors
    /// [`ComposeError::Count`] when there are not as many grids as cameras, or one is not of this canvas.
    pub fn rewarp(&mut self, grids: &[NodeGrid]) -> Result<(), ComposeError> {
        let fits = |c: &Camera, g: &NodeGrid| {
            let have = c.mesh.nodes().len();
            g.columns == c.mesh.columns && g.nodes.len() == have
        };
        if grids.len() != self.cameras.len() || !self.cameras.iter().zip(grids).all(|(c, g)| fits(c, g)) {
            return Err(ComposeError::Count {
                what: "grids of its canvas",
                have: grids.len(),
                want: self.cameras.len(),
            });
        }
        let canvas = (self.canvas.width, self.canvas.height);
        for (camera, grid) in self.cameras.iter_mut().zip(grids) {
            camera.mesh = Mesh::of_grid(grid);
            camera.looks = None;
            camera.reach = Reach::new(&camera.mesh, (camera.size.width, camera.size.height), canvas);
        }
        let reaches: Vec<_> = self.cameras.iter().map(|c| c.reach.clone()).collect();
        self.layout = layout(self.canvas, &reaches);
        let cells = 0..self.layout.columns * self.layout.rows;
        self.shared = cells.map(|i| self.layout.shared(i)).collect();
        Ok(())
    }

    /// What was seen when it last looked.
    pub fn seen(&self) -> &PanoramaSeen {
        &self.seen
    }

    /// Version of the pixel loops in use.
    pub fn simd(&self) -> Simd {
        self.simd
    }

    /// The largest distance of each camera's mesh to the exact projection, in its pixels.
    pub fn mesh_errors(&self) -> Vec<f64> {
        self.cameras.iter().map(|c| c.mesh.error_px).collect()
    }

    /// Observes, asks `director`, and renders: all that a frame takes.
    ///
    /// # Errors
    /// [`ComposeError`] when a picture or the output does not belong to this rig, or cannot be read.
    pub fn compose<'d>(
        &mut self,
        slots: &[StitchSlot<'_>],
        boxes: &[BBox<InPanorama>],
        director: &'d mut dyn StitchDirector,
        out: &mut PictureBuf,
        now: Mono,
    ) -> Result<ComposeReport<'d>, ComposeError> {
        self.observe(slots)?;
        let plan = director.decide(now, &self.seen, boxes);
        self.render(slots, plan, out)?;
        Ok(ComposeReport {
            slots: self.seen.slots.clone(),
            plan,
        })
    }

    /// What the live cameras see in shared cells.
    ///
    /// # Errors
    /// As [`Compositor::compose`].
    pub fn observe(&mut self, slots: &[StitchSlot<'_>]) -> Result<&PanoramaSeen, ComposeError> {
        let views = slots.iter().map(|s| match s {
            StitchSlot::Live(_) => SlotView::Live,
            StitchSlot::Held(_) => SlotView::Held,
            StitchSlot::Empty => SlotView::Empty,
        });
        let views: Vec<_> = views.collect();
        let columns = self.layout.columns;
        // Taken out and put back: its room is large and is kept from picture to picture.
        let mut cells = std::mem::take(&mut self.seen.cells);
        cells.resize_with(self.cameras.len(), Vec::new);
        for (view, cells) in views.iter().zip(&mut cells) {
            match view {
                SlotView::Live => cells.resize(self.shared.len(), CellSeen::UNSEEN),
                SlotView::Held | SlotView::Empty => cells.clear(),
            }
        }
        let mut threads = vec![(); self.options.threads];
        let looked = self.with_sources(slots, |compositor, sources| {
            let jobs = cells.iter_mut().enumerate().flat_map(|(k, cells)| {
                let lines = cells.chunks_mut(ROWS_AT_ONCE * columns).enumerate();
                lines.map(move |(i, rows)| (k, i * ROWS_AT_ONCE, rows))
            });
            compositor.find_looks(sources);
            let cameras = &compositor.cameras;
            share_out(jobs, &mut threads, |(), (k, first, rows)| {
                if let (Some(planes), Some(looks)) = (&sources[k], &cameras[k].looks) {
                    for (i, row) in rows.chunks_mut(columns).enumerate() {
                        looks.row(planes, first + i, row);
                    }
                }
            });
        });
        self.seen = PanoramaSeen { slots: views, cells };
        looked.map(|()| &self.seen)
    }

    /// Where to look, of cameras that were not seen yet or whose rows have another stride.
    fn find_looks(&mut self, sources: &[Option<(Source<'_>, Source<'_>)>]) {
        let (shared, layout) = (&self.shared, &self.layout);
        for ((camera, planes), cover) in self.cameras.iter_mut().zip(sources).zip(&layout.cover) {
            if let Some(planes) = planes
                && !camera.looks.as_ref().is_some_and(|l| l.fit(planes))
            {
                camera.looks = Some(Looks::new(&camera.mesh, planes, shared, cover, layout.columns));
            }
        }
    }

    /// Composes `slots` after `plan` into `out`, an NV12 picture of the canvas's size.
    ///
    /// # Errors
    /// As [`Compositor::compose`].
    pub fn render(
        &mut self,
        slots: &[StitchSlot<'_>],
        plan: &StitchPlan,
        out: &mut PictureBuf,
    ) -> Result<(), ComposeError> {
        self.follow(plan)?;
        if out.size() != self.canvas || out.format() != PixelFormat::Nv12 {
            return Err(ComposeError::Output {
                have: out.size(),
                format: out.format(),
                want: self.canvas,
            });
        }
        let (width, height) = (self.canvas.width as usize, self.canvas.height as usize);
        let mut scratch = std::mem::take(&mut self.scratch);
        let done = self.with_sources(slots, |compositor, sources| {
            let eyes: Vec<Eye<'_>> = compositor
                .cameras
                .iter()
                .zip(sources)
                .zip(&plan.weights)
                .map(|((camera, planes), weights)| Eye {
                    mesh: &camera.mesh,
                    reach: &camera.reach,
                    field: &camera.field,
                    weights,
                    planes: *planes,
                })
                .collect();
            let (luma, chroma) = out.nv12_mut();
            let tall = match compositor.options.blend {
                Blend::Feather => FEATHER_BAND,
                Blend::MultiBand(_) => BAND,
            };
            let bands = luma
                .chunks_mut(tall * width)
                .zip(chroma.chunks_mut(tall / 2 * width))
                .enumerate()
                .map(|(i, (luma, chroma))| Out {
                    rows: i * tall..((i + 1) * tall).min(height),
                    luma,
                    chroma,
                });
            let (simd, shares, blend) = (compositor.simd, &compositor.shares, compositor.options.blend);
            share_out(bands, &mut scratch, |(feather, pyramids), mut band| {
                band::compose(simd, &eyes, shares, width, &mut band, feather);
                if let Blend::MultiBand(levels) = blend {
                    multiband::compose(simd, &eyes, shares, (width, height), levels, &mut band, pyramids);
                }
            });
        });
        self.scratch = scratch;
        done
    }

    /// Takes over what changed in the plan.
    fn follow(&mut self, plan: &StitchPlan) -> Result<(), ComposeError> {
        let want = self.cameras.len();
        let cells = self.layout.columns * self.layout.rows;
        let (across, down) = self.layout.gain_nodes();
        let count = |what, have| ComposeError::Count { what, have, want };
        if plan.weights.len() != want || plan.weights.iter().any(|w| w.len() != cells) {
            return Err(count("weights", plan.weights.len()));
        }
        if plan.gains.len() != want || plan.gains.iter().any(|g| g.len() != across * down) {
            return Err(count("gain fields", plan.gains.len()));
        }
        if self.revision != Some(plan.revision) {
            let mesh_columns = (self.canvas.width as usize).div_ceil(LUMA_RUN);
            let small = (self.layout.columns, self.layout.rows);
            self.shares = Shares::new(&plan.weights, small, mesh_columns);
            self.revision = Some(plan.revision);
        }
        if self.gains != plan.gains {
            for (camera, gains) in self.cameras.iter_mut().zip(&plan.gains) {
                camera.field = Field::new(gains, across, self.layout.kr_kb);
            }
            self.gains.clone_from(&plan.gains);
        }
        Ok(())
    }

    /// Maps all pictures and calls `work` with what can be sampled of them.
    fn with_sources<T>(
        &mut self,
        slots: &[StitchSlot<'_>],
        work: impl FnOnce(&mut Compositor, &[Option<(Source<'_>, Source<'_>)>]) -> T,
    ) -> Result<T, ComposeError> {
        if slots.len() != self.cameras.len() {
            return Err(ComposeError::Count {
                what: "slots",
                have: slots.len(),
                want: self.cameras.len(),
            });
        }
        for (slot, camera) in slots.iter().zip(&self.cameras) {
            if let Some(have) = slot.surface().map(Surface::size).filter(|s| *s != camera.size) {
                return Err(ComposeError::Resized {
                    camera: camera.name.clone(),
                    have,
                    want: camera.size,
                });
            }
        }
        let mut result = None;
        let mut work = Some(work);
        let mapped = map(slots, 0, [None; MAX_CAMERAS], &mut |planes| {
            if let Some(work) = work.take() {
                result = Some(self.prepare(&planes[..slots.len()], work));
            }
        });
        if let Err((k, source)) = mapped {
            return Err(ComposeError::Surface {
                camera: self.cameras[k].name.clone(),
                source,
            });
        }
        result.unwrap_or_else(|| {
            Err(ComposeError::Surface {
                camera: self.cameras[0].name.clone(),
                source: SurfaceError("a surface gave no planes".to_owned()),
            })
        })
    }

    /// Checks planes, interleaves chroma where it is not, and calls `work`.
    fn prepare<T>(
        &mut self,
        planes: &[Option<Planes<'_>>],
        work: impl FnOnce(&mut Compositor, &[Option<(Source<'_>, Source<'_>)>]) -> T,
    ) -> Result<T, ComposeError> {
        let mut interleaved: Vec<Vec<u8>> = self
            .cameras
            .iter_mut()
            .map(|c| std::mem::take(&mut c.chroma))
            .collect();
        let result = self
            .sources(planes, &mut interleaved)
            .map(|sources| work(self, &sources));
        for (camera, chroma) in self.cameras.iter_mut().zip(interleaved) {
            camera.chroma = chroma;
        }
        result
    }

    fn sources<'a>(
        &self,
        planes: &[Option<Planes<'a>>],
        interleaved: &'a mut [Vec<u8>],
    ) -> Result<Vec<Option<(Source<'a>, Source<'a>)>>, ComposeError> {
        let mut sources = Vec::new();
        for ((camera, planes), buffer) in self.cameras.iter().zip(planes).zip(interleaved) {
            let Some(planes) = planes else {
                sources.push(None);
                continue;
            };
            check(planes, camera.size).map_err(|source| ComposeError::Planes {
                camera: camera.name.clone(),
                source,
            })?;
            let both = super::sources::sources(planes, camera.size, buffer).ok_or_else(|| {
                ComposeError::Picture {
                    camera: camera.name.clone(),
                    width: camera.size.width,
                    height: camera.size.height,
                }
            })?;
            sources.push(Some(both));
        }
        Ok(sources)
    }
}

/// Maps the surfaces from slot `k` on and calls `work` with the planes of all.
fn map<'a>(
    slots: &[StitchSlot<'_>],
    k: usize,
    planes: [Option<Planes<'a>>; MAX_CAMERAS],
    work: &mut dyn FnMut(&[Option<Planes<'_>>; MAX_CAMERAS]),
) -> Result<(), (usize, SurfaceError)> {
    let Some(slot) = slots.get(k) else {
        work(&planes);
        return Ok(());
    };
    let Some(surface) = slot.surface() else {
        return map(slots, k + 1, planes, work);
    };
    let mut inner = Ok(());
    surface
        .with_planes(&mut |own| {
            let mut planes: [Option<Planes<'_>>; MAX_CAMERAS] = planes;
            planes[k] = Some(own);
            inner = map(slots, k + 1, planes, work);
        })
        .map_err(|e| (k, e))?;
    inner
}

/// Does `jobs` on as many threads as there are `tools`, each with its own.
fn share_out<J: Send, T: Send>(
    jobs: impl Iterator<Item = J> + Send,
    tools: &mut [T],
    work: impl Fn(&mut T, J) + Sync,
) {
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    let toil = |tool: &mut T| {
        while let Some(job) = next() {
            work(tool, job);
        }
    };
    let Some((own, others)) = tools.split_first_mut() else {
        return;
    };
    std::thread::scope(|scope| {
        for tool in others {
            scope.spawn(|| toil(tool));
        }
        toil(own);
    });
}

/// Bytes of memory that composing a frame moves at least: each camera pixel shown read once, each canvas pixel
/// written once, 1.5 bytes each; for the report of a benchmark.
pub fn least_bytes(layout: &StitchLayout, plan: &StitchPlan) -> usize {
    let cell = STITCH_CELL * STITCH_CELL * 3 / 2;
    let read: usize = plan
        .weights
        .iter()
        .map(|w| w.iter().filter(|w| **w > 0).count())
        .sum();
    (read + layout.columns * layout.rows) * cell
}
