//! Cameras whose truth is known: a procedural world far away, seen through any lens.

use synoptic_base::{Intrinsics, Lens, Size, StreamId};

use super::Still;
use super::collect::splitmix;
use super::image::Gray;
use super::model::{Model, plain_optics, rotation, times};
use crate::panorama::geometry::{Vec3, mul_transposed, unproject};

/// Smooth noise of the direction: a lattice of random values on the sphere's x, y, z, mixed by cubic steps.
fn noise(p: Vec3, frequency: f64, seed: u64) -> f64 {
    let q = p.map(|v| v * frequency);
    let base = q.map(f64::floor);
    let t = [0, 1, 2].map(|i| {
        let t = q[i] - base[i];
        t * t * (3.0 - 2.0 * t)
    });
    let mut sum = 0.0;
    for corner in 0..8_u64 {
        let mut weight = 1.0;
        let mut hash = seed;
        for i in 0..3 {
            let up = (corner >> i) & 1;
            weight *= if up == 1 { t[i] } else { 1.0 - t[i] };
            hash = splitmix(hash ^ ((base[i] as i64 + up as i64) as u64).wrapping_mul(0x9e37_79b9));
        }
        sum += weight * (hash % 1024) as f64 / 1023.0;
    }
    sum
}

/// What is seen in a direction, 16 to 235.
pub(super) fn world(d: Vec3) -> f32 {
    let octaves = [(9.0, 0.4), (23.0, 0.3), (61.0, 0.3)];
    let value: f64 = octaves
        .iter()
        .enumerate()
        .map(|(i, (frequency, share))| share * noise(d, *frequency, i as u64 + 1))
        .sum();
    (16.0 + 219.0 * value) as f32
}

/// What a camera sees; `gain` is its exposure, `speck` its noise in levels.
pub(super) fn picture(model: &Model, camera: usize, gain: f32, speck: f32) -> Gray {
    let optics = model.of(camera);
    let (width, height) = (optics.size.width as usize, optics.size.height as usize);
    let mut gray = Gray::flat(width, height, 0.0);
    for (i, value) in gray.data.iter_mut().enumerate() {
        let pixel = [(i % width) as f64, (i / width) as f64];
        if let Some(ray) = unproject(optics, pixel) {
            let random = (splitmix((camera as u64) << 32 | i as u64) % 2048) as f32 / 1024.0 - 1.0;
            let seen = gain * world(mul_transposed(&model.rotations[camera], ray)) + speck * random;
            *value = seen.round().clamp(0.0, 255.0);
        }
    }
    gray
}

/// Level cameras side by side, `step` degrees apart, each a little askew.
pub(super) fn row(count: usize, step: f64, optics: Intrinsics) -> Model {
    let rotations = (0..count)
        .map(|i| {
            let yaw = (i as f64 - (count as f64 - 1.0) / 2.0) * step.to_radians();
            let askew = rotation([0.01 * (i as f64 - 0.7), 0.0, 0.008 * (0.4 - i as f64)]);
            times(&askew, &rotation([0.0, -yaw, 0.0]))
        })
        .collect();
    Model {
        rotations,
        optics: vec![optics],
        set: vec![0; count],
    }
}

/// Optics of a small picture: 60 degrees across.
pub(super) fn small(k1: f64) -> Intrinsics {
    let mut optics = plain_optics(Size::new(480, 270), 415.0, false);
    optics.lens = Lens::Radial([k1, 0.0, 0.0, 0.0]);
    optics
}

/// The stills of a model's cameras, called cam0, cam1, ...
pub(super) fn stills(model: &Model) -> Vec<Still> {
    (0..model.rotations.len())
        .map(|i| {
            let stream = StreamId::new(&format!("cam{i}")).unwrap();
            Still::single(stream, picture(model, i, 1.0 - 0.08 * i as f32, 1.5))
        })
        .collect()
}
