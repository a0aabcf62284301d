//! `panorama.cu` against `vision::panorama::Compositor`: every byte of the picture, every figure of what is observed.

use synoptic_base::{PixelFormat, Rig, Size, Surface};
use synoptic_gpu::panorama::{self, Composer};
use synoptic_gpu::picture::{Layout, PictureMemory};
use synoptic_vision::PictureBuf;
use synoptic_vision::panorama::{Blend, ComposeOptions, Compositor, StitchSlot};

use super::Bench;
use crate::report::Check;
use crate::world::{Noise, noise_picture, on_gpu, plan, rig};

pub(super) fn all(bench: &Bench<'_>) -> Vec<Check> {
    let mut cases = vec![
        ("2 cameras", 2, Size::new(320, 180), Size::new(510, 182)),
        (
            "3 cameras of odd sides",
            3,
            Size::new(211, 161),
            Size::new(640, 200),
        ),
    ];
    if !bench.quick {
        cases.push((
            "2 cameras of 1080p",
            2,
            Size::new(1920, 1080),
            Size::new(3264, 1080),
        ));
        cases.push(("8 cameras of 720p", 8, Size::new(1280, 720), Size::new(7000, 900)));
    }
    let mut checks = Vec::new();
    for (name, n, size, canvas) in cases {
        for (kind, blends) in [
            ("feathered", (Blend::Feather, panorama::Blend::Feather)),
            ("3 bands", (Blend::MultiBand(3), panorama::Blend::MultiBand(3))),
            ("5 bands", (Blend::MultiBand(5), panorama::Blend::MultiBand(5))),
        ] {
            let name = format!("panorama: {name}, {kind}");
            let found = rig(n, size, canvas).and_then(|rig| case(bench, &name, &rig, blends));
            checks.extend(found.unwrap_or_else(|e| vec![Check::broken(name, format!("{e:#}"))]));
        }
    }
    checks
}

fn case(
    bench: &Bench<'_>,
    name: &str,
    rig: &Rig,
    (blend, device_blend): (Blend, panorama::Blend),
) -> anyhow::Result<Vec<Check>> {
    let options = ComposeOptions {
        threads: 1,
        blend,
        simd: None,
    };
    let mut cpu = Compositor::new(rig, options)?;
    let layout = cpu.layout().clone();
    let mut gpu = Composer::new(bench.kernels, bench.stream, &cpu.tables(), &layout, device_blend)?;
    let mut noise = Noise(23);
    let mut pictures = Vec::new();
    for (k, camera) in rig.cameras.iter().enumerate() {
        let format = if k % 2 == 0 {
            PixelFormat::Nv12
        } else {
            PixelFormat::I420
        };
        pictures.push(noise_picture(&mut noise, camera.intrinsics.size, format)?);
    }
    let mut checks = Vec::new();
    // Twice, with another plan, and without a camera.
    for (round, missing) in [(1, None), (2, None), (3, Some(1))] {
        let plan = plan(&mut noise, &layout, round);
        let slot = |k: usize, p| {
            if Some(k) == missing {
                StitchSlot::Empty
            } else {
                StitchSlot::Live(p)
            }
        };
        let slots: Vec<_> = pictures
            .iter()
            .enumerate()
            .map(|(k, p)| slot(k, p as &dyn Surface))
            .collect();
        let mut want = PictureBuf::black(rig.canvas.size)?;
        cpu.render(&slots, &plan, &mut want)?;
        let seen = cpu.observe(&slots)?.clone();

        let memories = pictures
            .iter()
            .map(|p| on_gpu(bench.gpu, bench.stream, p))
            .collect::<Result<Vec<_>, _>>()?;
        let mut device = Vec::new();
        for (k, memory) in memories.iter().enumerate() {
            device.push(if Some(k) == missing {
                None
            } else {
                Some(memory.picture()?)
            });
        }
        let out = PictureMemory::new(bench.gpu, rig.canvas.size, Layout::Nv12)?;
        gpu.compose(bench.stream, &device, &plan, &out)?;
        let have = out.download(bench.stream)?;
        let want = bytes(&want);
        let worst = have
            .iter()
            .zip(&want)
            .map(|(a, b)| a.abs_diff(*b))
            .max()
            .unwrap_or(255);
        let worst = if have.len() == want.len() {
            f64::from(worst)
        } else {
            f64::INFINITY
        };
        let what = if missing.is_some() { ", one missing" } else { "" };
        checks.push(Check::compared(
            format!("{name}, plan {round}{what}, bytes of the picture"),
            worst,
            0.0,
            "of 255",
            want.len(),
        ));

        if blend != Blend::Feather {
            continue; // What is observed does not depend on it.
        }
        let cells = gpu.observe(bench.stream, &device)?;
        let (mut worst, mut compared) = (0.0_f64, 0);
        for (have, want) in cells.iter().zip(&seen.cells) {
            if have.len() != want.len() {
                worst = f64::INFINITY;
            }
            for (h, w) in have.iter().zip(want) {
                let figures = [(h.luma, w.luma), (h.cb, w.cb), (h.cr, w.cr), (h.detail, w.detail)];
                for (a, b) in figures {
                    worst = worst.max(f64::from((a - b).abs()));
                    compared += usize::from(w.detail >= 0.0);
                }
            }
        }
        checks.push(Check::compared(
            format!("{name}{what}, what is observed"),
            worst,
            1e-5,
            "of 255",
            compared,
        ));
    }
    Ok(checks)
}

/// The planes of an NV12 picture without padding, one after the other.
fn bytes(picture: &PictureBuf) -> Vec<u8> {
    match picture.planes() {
        synoptic_base::Planes::Nv12 { y, uv } => [y.data, uv.data].concat(),
        synoptic_base::Planes::I420 { y, u, v } => [y.data, u.data, v.data].concat(),
    }
}
