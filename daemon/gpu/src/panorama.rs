//! Panoramas on the GPU: what vision's `Compositor` does, from device memory to device memory
//! (`kernels/panorama.cu`, `multiband.cu`). The picture is the CPU's in every bit.

mod factors;
mod multiband;
mod patches;

use synoptic_base::{CellSeen, Cover, StitchLayout, StitchPlan, WarpTables};

use crate::GpuError;
use crate::cuda::{Buffer, KernelParams, Stream};
use crate::kernels::Kernels;
use crate::picture::{DevicePicture, Layout, PictureMemory};
use multiband::MultiBand;

/// Cameras at most, as in vision.
pub const MAX_CAMERAS: usize = 8;
/// What stands in a node's x where the lens does not see.
const UNSEEN: i32 = i32::MIN;

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PanoramaCamera {
    nodes: u64,
    weights: u64,
    shares: u64,
    factors: u64,
    luma: u64,
    cb: u64,
    cr: u64,
    luma_stride: u32,
    chroma_stride: u32,
    chroma_step: u32,
    width: u32,
    height: u32,
    present: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct PanoramaParams {
    luma: u64,
    chroma: u64,
    mixed: u64,
    luma_stride: u32,
    chroma_stride: u32,
    width: u32,
    height: u32,
    columns: u32,
    small_columns: u32,
    small_rows: u32,
    gain_across: u32,
    gain_down: u32,
    cameras: u32,
    camera: [PanoramaCamera; MAX_CAMERAS],
}

#[repr(C)]
struct ObserveParams {
    cells: u64,
    looked: u64,
    columns: u32,
    small_columns: u32,
    small_rows: u32,
    reserved: u32,
    camera: [PanoramaCamera; MAX_CAMERAS],
}

const _: () = assert!(size_of::<PanoramaCamera>() == 80);
const _: () = assert!(size_of::<PanoramaParams>() == 64 + 80 * MAX_CAMERAS);
const _: () = assert!(size_of::<ObserveParams>() == 32 + 80 * MAX_CAMERAS);

#[allow(unsafe_code)]
// SAFETY: numbers only, laid out as in panorama.cu, which asserts the same sizes.
unsafe impl KernelParams for PanoramaParams {}
#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl KernelParams for ObserveParams {}

struct Camera {
    size: synoptic_base::Size,
    nodes: Buffer,
    weights: Buffer,
    shares: Buffer,
    factors: Buffer,
}

/// How two pictures meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blend {
    /// By the plan's weights alone: one launch, each pixel read and written once.
    Feather,
    /// Laplacian pyramids of so many levels (2 to 5) about the seams.
    MultiBand(u32),
}

/// Composes the pictures of one rig on one GPU.
pub struct Composer {
    kernels: Kernels,
    layout: StitchLayout,
    columns: usize,
    cameras: Vec<Camera>,
    mixed: Buffer,
    looked: Buffer,
    cells: Buffer,
    revision: Option<u64>,
    gains: Vec<Vec<[f32; 3]>>,
    multiband: Option<MultiBand>,
}

impl Composer {
    /// For the rig of `tables`, whose cameras cover what `layout` says.
    ///
    /// # Errors
    /// [`GpuError::Argument`] when the two do not belong together; else when the GPU fails.
    pub fn new(
        kernels: &Kernels,
        stream: &Stream,
        tables: &WarpTables,
        layout: &StitchLayout,
        blend: Blend,
    ) -> Result<Composer, GpuError> {
        let n = tables.cameras.len();
        let multiband = match blend {
            Blend::Feather => None,
            Blend::MultiBand(levels) if (2..=multiband::MAX_LEVELS).contains(&levels) => {
                Some(MultiBand::new(levels))
            }
            Blend::MultiBand(levels) => {
                return Err(GpuError::Argument(format!(
                    "{levels} levels of multi-band are not possible: give 2 to {}, or feather",
                    multiband::MAX_LEVELS
                )));
            }
        };
        let (columns, rows) = (
            tables.canvas.width.div_ceil(16) as usize,
            tables.canvas.height.div_ceil(16) as usize,
        );
        let even = tables.canvas.width.is_multiple_of(2) && tables.canvas.height.is_multiple_of(2);
        let fits = (tables.columns, tables.rows) == (columns, rows)
            && layout.size == tables.canvas
            && (layout.columns, layout.rows)
                == (
                    tables.canvas.width.div_ceil(8) as usize,
                    tables.canvas.height.div_ceil(8) as usize,
                )
            && layout.cover.len() == n
            && layout
                .cover
                .iter()
                .all(|c| c.len() == layout.columns * layout.rows)
            && tables
                .cameras
                .iter()
                .all(|c| c.nodes.len() == (columns + 1) * (rows + 1));
        if !fits
            || !even
            || !(1..=MAX_CAMERAS).contains(&n)
            || columns > 1024
            || rows > 1024
            || columns * rows == 0
        {
            return Err(GpuError::Argument(format!(
                "tables of {n} cameras on a canvas of {:?} and a layout of {:?} do not belong together: make both from one rig",
                tables.canvas, layout.size
            )));
        }
        let side = |v: u32| (4..=1 << 14).contains(&v);
        if let Some(camera) = tables
            .cameras
            .iter()
            .find(|c| !side(c.size.width) || !side(c.size.height))
        {
            return Err(GpuError::Argument(format!(
                "a camera of {:?} cannot be sampled: give sides of 4 to 16384 pixels",
                camera.size
            )));
        }
        let gpu = stream.gpu();
        let small = layout.columns * layout.rows;
        let (across, down) = layout.gain_nodes();
        let cells = columns * layout.rows;
        let cameras = tables.cameras.iter().map(|camera| {
            let nodes = camera.nodes.iter().flat_map(|n| n.unwrap_or([UNSEEN, 0]));
            let bytes: Vec<u8> = nodes.flat_map(i32::to_ne_bytes).collect();
            let nodes = Buffer::new(gpu, bytes.len())?;
            stream.upload(nodes.slice(), &bytes)?;
            Ok(Camera {
                size: camera.size,
                nodes,
                weights: Buffer::new(gpu, small)?,
                shares: Buffer::new(gpu, cells)?,
                factors: Buffer::new(gpu, across * down * factors::FACTORS * size_of::<f32>())?,
            })
        });
        let cameras = cameras.collect::<Result<Vec<_>, GpuError>>()?;
        let looked: Vec<u8> = layout
            .cover
            .iter()
            .flat_map(|cover| {
                let shared = |i: usize| layout.shared(i);
                cover
                    .iter()
                    .enumerate()
                    .map(move |(i, c)| u8::from(*c >= Cover::Whole && shared(i)))
            })
            .collect();
        let on_gpu = Buffer::new(gpu, looked.len())?;
        stream.upload(on_gpu.slice(), &looked)?;
        Ok(Composer {
            kernels: kernels.clone(),
            columns,
            mixed: Buffer::new(gpu, cells)?,
            looked: on_gpu,
            cells: Buffer::new(gpu, n * small * 16)?,
            cameras,
            layout: layout.clone(),
            revision: None,
            gains: Vec::new(),
            multiband,
        })
    }

    /// What the cameras cover.
    pub fn layout(&self) -> &StitchLayout {
        &self.layout
    }

    /// What each camera with a picture sees in shared cells, as vision's `Compositor::observe`; waits for it. Empty for
    /// a camera without a picture.
    ///
    /// # Errors
    /// When a picture is not of this rig, or the GPU fails.
    pub fn observe(
        &mut self,
        stream: &Stream,
        pictures: &[Option<DevicePicture<'_>>],
    ) -> Result<Vec<Vec<CellSeen>>, GpuError> {
        let params = ObserveParams {
            cells: self.cells.slice().address,
            looked: self.looked.slice().address,
            columns: self.columns as u32,
            small_columns: self.layout.columns as u32,
            small_rows: self.layout.rows as u32,
            reserved: 0,
            camera: self.params(pictures)?,
        };
        let grid = [
            params.small_columns.div_ceil(128),
            params.small_rows,
            self.cameras.len() as u32,
        ];
        #[allow(unsafe_code)]
        // SAFETY: pictures were checked by `params`, tables are this value's own, sized in `new`.
        unsafe {
            self.kernels.observe.launch(stream, grid, [128, 1, 1], &params)?;
        }
        let small = self.layout.columns * self.layout.rows;
        let mut bytes = vec![0; self.cameras.len() * small * 16];
        stream.download(&mut bytes, self.cells.slice())?;
        let float = |b: &[u8]| <[u8; 4]>::try_from(b).map_or(0.0, f32::from_ne_bytes);
        let seen = bytes
            .chunks_exact(small * 16)
            .zip(pictures)
            .map(|(bytes, picture)| {
                if picture.is_none() {
                    return Vec::new();
                }
                bytes
                    .chunks_exact(16)
                    .map(|b| CellSeen {
                        luma: float(&b[..4]),
                        cb: float(&b[4..8]),
                        cr: float(&b[8..12]),
                        detail: float(&b[12..]),
                    })
                    .collect()
            });
        Ok(seen.collect())
    }

    /// Queues the composing of `pictures` after `plan` into `out`, NV12 of the canvas's size.
    ///
    /// # Errors
    /// When a picture, the plan or the output is not of this rig, or the GPU fails.
    pub fn compose(
        &mut self,
        stream: &Stream,
        pictures: &[Option<DevicePicture<'_>>],
        plan: &StitchPlan,
        out: &PictureMemory,
    ) -> Result<(), GpuError> {
        let target = out.picture()?;
        let strides = target.strides();
        if target.layout() != Layout::Nv12
            || target.size() != self.layout.size
            || strides.iter().any(|s| !s.is_multiple_of(4))
        {
            return Err(GpuError::Argument(format!(
                "an output of {:?} {:?} where the canvas wants {:?} Nv12",
                target.size(),
                target.layout(),
                self.layout.size
            )));
        }
        let (across, down) = self.layout.gain_nodes();
        let small = self.layout.columns * self.layout.rows;
        let n = self.cameras.len();
        if plan.weights.len() != n
            || plan.weights.iter().any(|w| w.len() != small)
            || plan.gains.len() != n
            || plan.gains.iter().any(|g| g.len() != across * down)
        {
            return Err(GpuError::Argument("the plan is another rig's".to_owned()));
        }
        let camera = self.params(pictures)?;
        let [luma, chroma, _] = target.addresses();
        let params = PanoramaParams {
            luma,
            chroma,
            mixed: self.mixed.slice().address,
            luma_stride: strides[0],
            chroma_stride: strides[1],
            width: self.layout.size.width,
            height: self.layout.size.height,
            columns: self.columns as u32,
            small_columns: self.layout.columns as u32,
            small_rows: self.layout.rows as u32,
            gain_across: across as u32,
            gain_down: down as u32,
            cameras: n as u32,
            camera,
        };
        self.follow(stream, plan, &params)?;
        let grid = [params.width.div_ceil(64), params.height.div_ceil(16), 1];
        #[allow(unsafe_code)]
        // SAFETY: pictures and output were checked above, tables are this value's own, sized in `new`.
        unsafe {
            self.kernels.compose.launch(stream, grid, [16, 8, 1], &params)?;
        }
        let small = (self.layout.columns, self.layout.rows);
        match &mut self.multiband {
            None => Ok(()),
            Some(blend) => blend.queue(&self.kernels, stream, plan, small, self.layout.size, params),
        }
    }

    /// Takes over what changed in the plan.
    fn follow(
        &mut self,
        stream: &Stream,
        plan: &StitchPlan,
        params: &PanoramaParams,
    ) -> Result<(), GpuError> {
        if self.revision != Some(plan.revision) {
            self.revision = None;
            for (camera, weights) in self.cameras.iter().zip(&plan.weights) {
                stream.upload(camera.weights.slice(), weights)?;
            }
            let grid = [params.columns.div_ceil(128), params.small_rows, 1];
            #[allow(unsafe_code)]
            // SAFETY: tables are this value's own, sized in `new`.
            unsafe {
                self.kernels.shares.launch(stream, grid, [128, 1, 1], params)?;
            }
            self.revision = Some(plan.revision);
        }
        if self.gains != plan.gains {
            self.gains.clear();
            for (camera, gains) in self.cameras.iter().zip(&plan.gains) {
                let factors = gains.iter().flat_map(|g| factors::factors(*g, self.layout.kr_kb));
                let bytes: Vec<u8> = factors.flat_map(f32::to_ne_bytes).collect();
                stream.upload(camera.factors.slice(), &bytes)?;
            }
            self.gains.clone_from(&plan.gains);
        }
        Ok(())
    }

    fn params(
        &self,
        pictures: &[Option<DevicePicture<'_>>],
    ) -> Result<[PanoramaCamera; MAX_CAMERAS], GpuError> {
        if pictures.len() != self.cameras.len() {
            return Err(GpuError::Argument(format!(
                "{} slots where the rig has {} cameras",
                pictures.len(),
                self.cameras.len()
            )));
        }
        let mut params = [PanoramaCamera::default(); MAX_CAMERAS];
        for (i, ((camera, picture), to)) in self.cameras.iter().zip(pictures).zip(&mut params).enumerate() {
            *to = PanoramaCamera {
                nodes: camera.nodes.slice().address,
                weights: camera.weights.slice().address,
                shares: camera.shares.slice().address,
                factors: camera.factors.slice().address,
                width: camera.size.width,
                height: camera.size.height,
                ..PanoramaCamera::default()
            };
            let Some(picture) = picture else { continue };
            if picture.size() != camera.size || picture.layout() == Layout::Rgba {
                return Err(GpuError::Argument(format!(
                    "camera {i} gives {:?} {:?} where the rig was calibrated for {:?}: scale it or calibrate again",
                    picture.size(),
                    picture.layout(),
                    camera.size
                )));
            }
            [to.luma, to.cb, to.cr] = picture.addresses();
            [to.luma_stride, to.chroma_stride] = picture.strides();
            to.chroma_step = if picture.layout() == Layout::Nv12 { 2 } else { 1 };
            to.present = 1;
        }
        Ok(params)
    }
}
