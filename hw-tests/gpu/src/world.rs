//! What the checks work on: noise that is the same everywhere, pictures, a rig, plans.

use synoptic_base::{
    Canvas, Intrinsics, Lens, PixelFormat, Projection, Rig, RigCamera, Size, StitchLayout, StitchPlan,
    StreamId,
};
use synoptic_gpu::GpuError;
use synoptic_gpu::cuda::{Gpu, Stream};
use synoptic_gpu::picture::{Layout, PictureMemory};
use synoptic_vision::PictureBuf;

/// A small generator (Knuth's MMIX), the same on every machine.
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    /// 0 to `below` - 1.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    /// 0 to 1.
    pub(crate) fn unit(&mut self) -> f32 {
        self.below(1 << 24) as f32 / (1 << 24) as f32
    }

    /// Bytes, every value.
    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}

/// A picture of noise: no two neighbours alike, so that a wrong index is seen.
pub(crate) fn noise_picture(
    noise: &mut Noise,
    size: Size,
    format: PixelFormat,
) -> anyhow::Result<PictureBuf> {
    Ok(PictureBuf::new(
        size,
        format,
        noise.bytes(PictureBuf::bytes(size)),
    )?)
}

/// The picture on the GPU.
pub(crate) fn on_gpu(gpu: &Gpu, stream: &Stream, picture: &PictureBuf) -> Result<PictureMemory, GpuError> {
    let planes = picture.planes();
    let layout = match planes {
        synoptic_base::Planes::Nv12 { .. } => Layout::Nv12,
        synoptic_base::Planes::I420 { .. } => Layout::I420,
    };
    let memory = PictureMemory::new(gpu, synoptic_base::Surface::size(picture), layout)?;
    memory.upload(stream, &planes)?;
    Ok(memory)
}

/// `n` cameras of `size` side by side, a third of each shared with the next, on a cylinder.
pub(crate) fn rig(n: usize, size: Size, canvas: Size) -> anyhow::Result<Rig> {
    let focal = f64::from(size.width) * 0.9;
    let view = 2.0 * (f64::from(size.width) / 2.0 / focal).atan();
    let mut cameras = Vec::new();
    for i in 0..n {
        let yaw = (i as f64 - (n - 1) as f64 / 2.0) * view * 0.7;
        let (s, c) = yaw.sin_cos();
        cameras.push(RigCamera {
            stream: StreamId::new(&format!("cam{i}"))?,
            intrinsics: Intrinsics {
                size,
                fx: focal,
                fy: focal,
                cx: f64::from(size.width) / 2.0 - 0.3,
                cy: f64::from(size.height) / 2.0 + 0.2,
                lens: Lens::Radial([-0.05, 0.01, 0.0, 0.0]),
            },
            rotation: [[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]],
            centre: [0.0; 3],
        });
    }
    let all = view * (0.7 * (n - 1) as f64 + 1.0);
    Ok(Rig {
        cameras,
        canvas: Canvas {
            size: canvas,
            projection: Projection::Cylindrical,
            // A little more than the cameras see, so that there is an edge.
            focal: f64::from(canvas.width) / (all * 1.04),
            cx: f64::from(canvas.width) / 2.0,
            cy: f64::from(canvas.height) / 2.0,
        },
    })
}

/// Cameras in stripes with seams of a few cells between, wavy; gains of up to a third.
pub(crate) fn plan(noise: &mut Noise, layout: &StitchLayout, revision: u64) -> StitchPlan {
    let n = layout.cover.len();
    let mut weights = vec![vec![0_u8; layout.columns * layout.rows]; n];
    let wide = 2.0 + noise.unit() * 4.0;
    let phase = noise.unit() * 6.0;
    for r in 0..layout.rows {
        for c in 0..layout.columns {
            let wave = (r as f32 * 0.4 + phase).sin() * 2.0;
            let at = (c as f32 + wave) / layout.columns as f32 * n as f32;
            let mut left = 255_u32;
            for (k, weights) in weights.iter_mut().enumerate() {
                let cells = (at - k as f32 - 1.0) * layout.columns as f32 / n as f32;
                let share = if k + 1 == n {
                    1.0
                } else {
                    (0.5 - cells / wide).clamp(0.0, 1.0)
                };
                let own = ((share * 255.0) as u32).min(left);
                weights[r * layout.columns + c] = own as u8;
                left -= own;
            }
        }
    }
    let (across, down) = layout.gain_nodes();
    let mut gain = || std::array::from_fn(|_| (noise.unit() - 0.5) * 0.6);
    StitchPlan {
        revision,
        weights,
        gains: (0..n)
            .map(|_| (0..across * down).map(|_| gain()).collect())
            .collect(),
        seams: Vec::new(),
    }
}
