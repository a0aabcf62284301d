//! The background: a street painted once from a seed, wide enough for all cameras.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use synoptic_base::Size;

use super::picture::{Colour, Picture};

/// Where things stand, in heights of the view from its top.
const SKYLINE: f32 = 0.56;
const ROAD: f32 = 0.80;

const SKY: Colour = Colour(170, 145, 118);
const GROUND: Colour = Colour(112, 122, 126);
const TARMAC: Colour = Colour(78, 128, 128);
const PAINT: Colour = Colour(190, 126, 130);

/// Paints the street: sky with clouds, buildings with windows, pavement and a road, all of it textured.
///
/// The same for the same arguments. `size` is even in both directions.
pub(super) fn paint(seed: u64, size: Size) -> Picture {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut picture = Picture::new(size);
    let (width, unit) = (size.width as f32, size.height as f32);
    picture.fill_rect(0.0, 0.0, width, SKYLINE * unit, SKY);
    picture.fill_rect(0.0, SKYLINE * unit, width, ROAD * unit, GROUND);
    picture.fill_rect(0.0, ROAD * unit, width, unit, TARMAC);
    let mut x = -0.1 * unit;
    while x < width {
        let house = unit * rng.random_range(0.28..0.6);
        building(&mut picture, &mut rng, x, house, unit);
        x += house + unit * rng.random_range(0.0..0.12);
    }
    let mut x = 0.0;
    while x < width {
        picture.fill_rect(x, 0.89 * unit, x + 0.14 * unit, 0.905 * unit, PAINT);
        x += 0.3 * unit;
    }
    picture.fill_rect(0.0, (ROAD - 0.012) * unit, width, ROAD * unit, PAINT);
    texture(&mut picture, rng.random());
    picture
}

fn building(picture: &mut Picture, rng: &mut ChaCha8Rng, left: f32, width: f32, unit: f32) {
    let top = unit * rng.random_range(0.1..0.34);
    let bottom = SKYLINE * unit;
    let wall = Colour(
        rng.random_range(80..160),
        rng.random_range(112..132),
        rng.random_range(122..150),
    );
    picture.fill_rect(left, top, left + width, bottom, wall);
    let (step_x, step_y) = (unit * rng.random_range(0.06..0.09), unit * 0.075);
    let mut y = top + step_y * 0.4;
    while y + step_y * 0.6 < bottom {
        let mut x = left + step_x * 0.3;
        while x + step_x * 0.6 < left + width {
            let pane = if rng.random_bool(0.3) {
                Colour(205, 110, 140)
            } else {
                Colour(48, 132, 124)
            };
            picture.fill_rect(x, y, x + step_x * 0.55, y + step_y * 0.6, pane);
            x += step_x;
        }
        y += step_y;
    }
}

/// Adds value noise of two sizes to the luma, so that no region is flat: ± 15 steps, and ± 5 fine ones.
fn texture(picture: &mut Picture, seed: u64) {
    let size = picture.size();
    let width = size.width as usize;
    for (i, value) in picture.luma_mut().iter_mut().enumerate() {
        let (x, y) = (i % width, i / width);
        let noise = smooth_noise(seed, x, y, 24) * 15.0 + smooth_noise(!seed, x, y, 3) * 5.0;
        *value = (f32::from(*value) + noise).clamp(16.0, 235.0) as u8;
    }
}

/// Noise of -1 to 1 on a grid of `cell` pixels, bilinear in between.
fn smooth_noise(seed: u64, x: usize, y: usize, cell: usize) -> f32 {
    let (gx, gy) = (x / cell, y / cell);
    let (fx, fy) = ((x % cell) as f32 / cell as f32, (y % cell) as f32 / cell as f32);
    let at = |dx: usize, dy: usize| hash(seed, (gx + dx) as u64, (gy + dy) as u64);
    let top = at(0, 0) * (1.0 - fx) + at(1, 0) * fx;
    let bottom = at(0, 1) * (1.0 - fx) + at(1, 1) * fx;
    top * (1.0 - fy) + bottom * fy
}

/// -1 to 1 from a grid point: the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn hash(seed: u64, x: u64, y: u64) -> f32 {
    let mut z = seed ^ x.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ y.wrapping_mul(0xd1b5_4a32_d192_ed03);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    (z >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
}
