//! Multi-band blending: the order of its kernels (`kernels/multiband.cu`), and their memory.

use synoptic_base::{Size, StitchPlan};

use super::PanoramaParams;
use super::patches::{Patch, Patches};
use crate::GpuError;
use crate::cuda::{Buffer, Function, KernelParams, Slice, Stream};
use crate::kernels::Kernels;

/// Levels at most, as in vision.
pub(super) const MAX_LEVELS: u32 = 5;

#[repr(C)]
struct MultiBandParams {
    of: PanoramaParams,
    patches: u64,
    picture: u64,
    weights: u64,
    sums: u64,
    reached: u64,
    levels: u32,
    level: u32,
    camera: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<MultiBandParams>() == size_of::<PanoramaParams>() + 56);

#[allow(unsafe_code)]
// SAFETY: numbers only, laid out as in multiband.cu, which asserts the same size.
unsafe impl KernelParams for MultiBandParams {}

/// The patches of a plan, and room for their pyramids.
pub(super) struct MultiBand {
    levels: u32,
    /// What the patches were made for.
    made_for: Option<(u64, Vec<bool>)>,
    patches: Patches,
    table: Option<Buffer>,
    /// Pictures, weights, sums.
    pyramids: Option<[Buffer; 3]>,
    reached: Option<Buffer>,
}

/// A buffer of at least so many bytes: the one there is, or another.
fn room<'a>(stream: &Stream, buffer: &'a mut Option<Buffer>, bytes: usize) -> Result<Slice<'a>, GpuError> {
    let enough = buffer.take().filter(|b| b.len() >= bytes);
    let enough = match enough {
        Some(enough) => enough,
        None => Buffer::new(stream.gpu(), bytes)?,
    };
    Ok(buffer.insert(enough).slice())
}

impl MultiBand {
    /// With so many levels.
    pub(super) fn new(levels: u32) -> MultiBand {
        MultiBand {
            levels,
            made_for: None,
            patches: Patches::default(),
            table: None,
            pyramids: None,
            reached: None,
        }
    }

    /// Queues the blending of what `params` says, over a picture that was composed.
    pub(super) fn queue(
        &mut self,
        kernels: &Kernels,
        stream: &Stream,
        plan: &StitchPlan,
        small: (usize, usize),
        size: Size,
        params: PanoramaParams,
    ) -> Result<(), GpuError> {
        let cameras = params.cameras as usize;
        let present: Vec<bool> = params.camera[..cameras].iter().map(|c| c.present != 0).collect();
        let wanted = Some((plan.revision, present.clone()));
        if self.made_for != wanted {
            self.made_for = None;
            let size = (size.width as usize, size.height as usize);
            self.patches = Patches::new(&plan.weights, small, size, &present, self.levels);
            let bytes: Vec<u8> = self.patches.all.iter().flat_map(Patch::bytes).collect();
            let table = room(stream, &mut self.table, bytes.len())?;
            stream.upload(table, &bytes)?;
            let bytes = 2 * self.patches.values;
            if self.pyramids.as_ref().is_none_or(|p| p[0].len() < bytes) {
                self.pyramids = None;
                let new = || Buffer::new(stream.gpu(), bytes);
                self.pyramids = Some([new()?, new()?, new()?]);
            }
            room(stream, &mut self.reached, self.patches.flags)?;
            self.made_for = wanted;
        }
        let (Some(table), Some([picture, weights, sums]), Some(reached)) =
            (&self.table, &self.pyramids, &self.reached)
        else {
            return Ok(());
        };
        let count = self.patches.all.len() as u32;
        if count == 0 {
            return Ok(());
        }
        stream.fill(sums, 0)?;
        stream.fill(reached, 0)?;
        let mut params = MultiBandParams {
            of: params,
            patches: table.slice().address,
            picture: picture.slice().address,
            weights: weights.slice().address,
            sums: sums.slice().address,
            reached: reached.slice().address,
            levels: self.levels,
            level: 0,
            camera: 0,
            reserved: 0,
        };
        let (width, height) = self.patches.most;
        let launch = |function: &Function, params: &MultiBandParams, (w, h): (u32, u32), depth: u32| {
            let grid = [w.div_ceil(32), h.div_ceil(8), depth];
            #[allow(unsafe_code)]
            // SAFETY: pyramids, flags and table are this value's own, sized for these patches above; the pictures and
            // the output were checked by `Composer::compose`.
            unsafe {
                function.launch(stream, grid, [32, 8, 1], params)
            }
        };
        let at = |level: u32| (width.div_ceil(1 << level), height.div_ceil(1 << level));
        for (camera, _) in present.iter().enumerate().filter(|(_, here)| **here) {
            params.camera = camera as u32;
            launch(&kernels.multiband_fill, &params, at(1), count)?;
            for level in 1..=self.levels {
                params.level = level;
                launch(&kernels.multiband_reduce, &params, at(level), 2 * count)?;
            }
            for level in 0..=self.levels {
                params.level = level;
                launch(&kernels.multiband_add, &params, at(level), 2 * count)?;
            }
        }
        for level in (0..self.levels).rev() {
            params.level = level;
            launch(&kernels.multiband_collapse, &params, at(level), 2 * count)?;
        }
        launch(&kernels.multiband_write, &params, at(0), 2 * count)
    }
}
