//! `preprocess.cu` against `vision::onnx::reference::tensor`: every bit.

use synoptic_base::{PixelFormat, Size, Surface};
use synoptic_gpu::cuda::Buffer;
use synoptic_gpu::picture::{Layout, PictureMemory};
use synoptic_gpu::preprocess::{Fit, Input, preprocess};
use synoptic_vision::PictureBuf;
use synoptic_vision::manifest::{self, Order, Resize};
use synoptic_vision::onnx::reference;

use super::{Bench, stills, worst};
use crate::report::Check;
use crate::world::{Noise, noise_picture, on_gpu};

/// The three shapes that shipped models want.
fn inputs() -> [(&'static str, manifest::Input); 3] {
    let input = |side, order, resize, pad, scale, mean, std| manifest::Input {
        width: side,
        height: side,
        order,
        layout: manifest::Layout::Nchw,
        resize,
        pad,
        scale,
        mean,
        std,
    };
    let no = ([0.0; 3], [1.0; 3]);
    [
        (
            "stretched, 1/255, RGB",
            input(352, Order::Rgb, Resize::Stretch, 0, 1.0 / 255.0, no.0, no.1),
        ),
        (
            "letterboxed top left, BGR",
            input(416, Order::Bgr, Resize::LetterboxTopleft, 114, 1.0, no.0, no.1),
        ),
        (
            "letterboxed in the middle, normalised, BGR",
            input(
                320,
                Order::Bgr,
                Resize::LetterboxCenter,
                0,
                1.0,
                [103.53, 116.28, 123.675],
                [57.375, 57.12, 58.395],
            ),
        ),
    ]
}

/// The kernel's way of saying a manifest's input.
pub(crate) fn device_input(input: &manifest::Input) -> Input {
    Input {
        width: input.width as u32,
        height: input.height as u32,
        blue_first: input.order == Order::Bgr,
        pad: input.pad,
        scale: input.scale,
        mean: input.mean,
        std: input.std,
    }
}

/// Where a picture lies.
pub(crate) fn device_fit(input: &manifest::Input, size: Size) -> Fit {
    let [left, top, width, height] = reference::placement(input, size).map(|v| v as u32);
    Fit {
        left,
        top,
        width,
        height,
    }
}

pub(super) fn all(bench: &Bench<'_>) -> Vec<Check> {
    let mut noise = Noise(11);
    let sizes: &[(u32, u32)] = if bench.quick {
        &[(97, 61), (640, 360), (33, 200)]
    } else {
        &[
            (97, 61),
            (640, 360),
            (33, 200),
            (1920, 1080),
            (3840, 2160),
            (1280, 720),
        ]
    };
    let mut packet = Vec::new();
    for (i, (w, h)) in sizes.iter().enumerate() {
        let format = if i % 2 == 0 {
            PixelFormat::Nv12
        } else {
            PixelFormat::I420
        };
        match noise_picture(&mut noise, Size::new(*w, *h), format) {
            Ok(picture) => packet.push(picture),
            Err(e) => return vec![Check::broken("preprocess: noise", e)],
        }
    }
    let mut checks = Vec::new();
    for (name, input) in inputs() {
        checks.push(compare(
            bench,
            &format!("preprocess: noise, {name}"),
            &input,
            &packet,
        ));
    }
    let real: Vec<_> = stills(bench).into_iter().map(|(_, p)| p).collect();
    if !real.is_empty() {
        for (name, input) in inputs() {
            checks.push(compare(
                bench,
                &format!("preprocess: stills, {name}"),
                &input,
                &real,
            ));
        }
    }
    checks.push(rgba(bench, &mut noise).unwrap_or_else(|e| Check::broken("preprocess: RGBA", e)));
    checks
}

fn compare(bench: &Bench<'_>, name: &str, input: &manifest::Input, packet: &[PictureBuf]) -> Check {
    let run = || -> anyhow::Result<Check> {
        let memories = packet
            .iter()
            .map(|p| on_gpu(bench.gpu, bench.stream, p))
            .collect::<Result<Vec<_>, _>>()?;
        let mut pictures = Vec::new();
        for (memory, picture) in memories.iter().zip(packet) {
            pictures.push((memory.picture()?, device_fit(input, picture.size())));
        }
        let have = tensor(bench, input, &pictures)?;
        let mut want = Vec::new();
        for picture in packet {
            want.extend(reference::tensor(picture, input)?);
        }
        // In steps of the pixel's 0 to 255, whatever the normalisation.
        let step = f64::from(input.scale / input.std[0]);
        Ok(Check::compared(
            name,
            worst(&have, &want) / step,
            1e-4,
            "of 255",
            want.len(),
        ))
    };
    run().unwrap_or_else(|e| Check::broken(name, format!("{e:#}")))
}

fn tensor(
    bench: &Bench<'_>,
    input: &manifest::Input,
    pictures: &[(synoptic_gpu::picture::DevicePicture<'_>, Fit)],
) -> anyhow::Result<Vec<f32>> {
    let device = device_input(input);
    let buffer = Buffer::new(bench.gpu, device.bytes(pictures.len()))?;
    // Not a number anywhere, so that a value that nobody writes is seen.
    bench.stream.fill(&buffer, 0xff)?;
    preprocess(bench.kernels, bench.stream, pictures, &device, buffer.slice())?;
    floats(bench, &buffer)
}

/// What a buffer of floats holds.
pub(crate) fn floats(bench: &Bench<'_>, buffer: &Buffer) -> anyhow::Result<Vec<f32>> {
    let mut bytes = vec![0; buffer.len()];
    bench.stream.download(&mut bytes, buffer.slice())?;
    let floats = bytes.chunks_exact(4);
    Ok(floats
        .map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

/// RGBA has no reference in vision, which never meets it: the same bilinear sampling, in double precision.
fn rgba(bench: &Bench<'_>, noise: &mut Noise) -> anyhow::Result<Check> {
    let size = Size::new(150, 90);
    let (w, h) = (150_usize, 90_usize);
    let bytes = noise.bytes(4 * w * h);
    let memory = PictureMemory::new(bench.gpu, size, Layout::Rgba)?;
    memory.upload_rgba(bench.stream, &bytes)?;
    let [_, (_, mut input), _] = inputs();
    (input.width, input.height) = (96, 96);
    let fit = device_fit(&input, size);
    let have = tensor(bench, &input, &[(memory.picture()?, fit)])?;
    let mut want = vec![f32::from(input.pad); 3 * 96 * 96];
    let near = |out: u32, len: u32, source: usize| {
        let at =
            ((f64::from(out) + 0.5) * source as f64 / f64::from(len) - 0.5).clamp(0.0, (source - 1) as f64);
        let first = at as usize;
        (first, (first + 1).min(source - 1), at - first as f64)
    };
    for y in 0..fit.height {
        for x in 0..fit.width {
            let ((x0, x1, fx), (y0, y1, fy)) = (near(x, fit.width, w), near(y, fit.height, h));
            for colour in 0..3 {
                let p = |x: usize, y: usize| f64::from(bytes[4 * (y * w + x) + colour]);
                let above = p(x0, y0) * (1.0 - fx) + p(x1, y0) * fx;
                let below = p(x0, y1) * (1.0 - fx) + p(x1, y1) * fx;
                // Blue first.
                let plane = (2 - colour) * 96 * 96;
                want[plane + y as usize * 96 + x as usize] = (above * (1.0 - fy) + below * fy) as f32;
            }
        }
    }
    Ok(Check::compared(
        "preprocess: RGBA",
        worst(&have, &want),
        1e-2,
        "of 255",
        want.len(),
    ))
}
