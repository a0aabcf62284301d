//! A machine-readable capture time in the pixels: a strip of black and white blocks at the top of the picture.
//!
//! Two rows of [`COLUMNS`] blocks from the top left corner, [`BARCODE_REGION`] of the picture. The first two
//! and the last two blocks of each row are guards (black white .. white black in row 0, inverted in row 1):
//! they tell the reader what black and white are after coding, and that a code is there at all. Between them
//! 88 bits, the most significant first: 64 bits UTC in µs (two's complement), 8 bits camera index, CRC-16 of
//! those nine bytes (CRC-16/IBM-3740: polynomial 0x1021, start 0xffff).
//!
//! The layout is in fractions of the picture, so a scaled picture reads the same. Blocks are 8x8 pixels at
//! [`MIN_SIZE`], the smallest size at which reading after H.264 or JPEG is promised. The strip changes with
//! every frame: a detector sees it unless the region is masked.

use synoptic_base::{BBox, Plane, Size, Utc};

/// Blocks across.
pub const COLUMNS: usize = 48;
/// Blocks down.
pub const ROWS: usize = 2;
/// The part of the picture that the code covers.
pub const BARCODE_REGION: BBox = BBox::new(0.0, 0.0, 0.6, 16.0 / 360.0);
/// The smallest picture in which a block still covers 8x8 pixels.
pub const MIN_SIZE: Size = Size::new(640, 360);

/// Guard blocks at each end of a row.
const GUARDS: usize = 2;
const BITS_A_ROW: usize = COLUMNS - 2 * GUARDS;
const BYTES: usize = 11;
const _: () = assert!(BITS_A_ROW * ROWS == BYTES * 8);

/// Limited-range black and white (BT.601).
const BLACK: u8 = 16;
const WHITE: u8 = 235;
/// Least difference of the guards' means, in luma steps, to believe that there is a code.
const MIN_CONTRAST: u32 = 60;

/// What a barcode says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// True capture time, floored to a microsecond.
    pub utc: Utc,
    /// Index of the camera.
    pub camera: u8,
}

impl Code {
    /// The code of a capture time.
    pub fn new(utc: Utc, camera: u8) -> Code {
        let us = utc.as_nanos().div_euclid(1_000);
        Code {
            utc: Utc::from_nanos(us * 1_000),
            camera,
        }
    }

    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.utc.as_nanos().div_euclid(1_000).to_be_bytes());
        bytes[8] = self.camera;
        let crc = crc16(&bytes[..9]);
        bytes[9..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; BYTES]) -> Option<Code> {
        let (body, crc) = bytes.split_at(9);
        if crc16(body).to_be_bytes() != *crc {
            return None;
        }
        let us = i64::from_be_bytes(body[..8].try_into().ok()?);
        Some(Code {
            utc: Utc::from_nanos(us.checked_mul(1_000)?),
            camera: body[8],
        })
    }
}

/// Paints `code` into a luma plane of `size` pixels, `stride` bytes from row to row.
///
/// Rows that the plane lacks are left out. Chroma is the caller's: neutral is best.
pub fn write(luma: &mut [u8], stride: usize, size: Size, code: Code) {
    let bits = block_values(code);
    for (row, values) in bits.iter().enumerate() {
        for y in row_range(row, size) {
            let Some(line) = luma.get_mut(y * stride..y * stride + size.width as usize) else {
                return;
            };
            for (column, &white) in values.iter().enumerate() {
                line[column_range(column, size)].fill(if white { WHITE } else { BLACK });
            }
        }
    }
}

/// Reads the code from a luma plane of `size` pixels; `None` when there is none or it is damaged.
///
/// A damaged code passes for another one in at most 1 of 2^16 cases (the CRC).
pub fn read(luma: Plane<'_>, size: Size) -> Option<Code> {
    let needed = luma.stride.checked_mul(size.height.checked_sub(1)? as usize)? + size.width as usize;
    if luma.data.len() < needed || luma.stride < size.width as usize {
        return None;
    }
    let mut means = [[0_u32; COLUMNS]; ROWS];
    for (row, means) in means.iter_mut().enumerate() {
        for (column, mean) in means.iter_mut().enumerate() {
            *mean = mean_of_block(luma, row, column, size)?;
        }
    }
    let (mut black, mut white) = (0, 0);
    for (row, means) in means.iter().enumerate() {
        for (column, mean) in guards(row).zip(guard_columns().map(|c| means[c])) {
            *(if column { &mut white } else { &mut black }) += mean;
        }
    }
    let each = (GUARDS * ROWS) as u32;
    let (black, white) = (black / each, white / each);
    if white < black + MIN_CONTRAST {
        return None;
    }
    let threshold = black.midpoint(white);
    let mut bytes = [0; BYTES];
    for (row, means) in means.iter().enumerate() {
        if !guards(row).eq(guard_columns().map(|c| means[c] > threshold)) {
            return None;
        }
        for (i, mean) in means[GUARDS..COLUMNS - GUARDS].iter().enumerate() {
            let bit = row * BITS_A_ROW + i;
            bytes[bit / 8] |= u8::from(*mean > threshold) << (7 - bit % 8);
        }
    }
    Code::from_bytes(&bytes)
}

fn block_values(code: Code) -> [[bool; COLUMNS]; ROWS] {
    let bytes = code.to_bytes();
    let mut blocks = [[false; COLUMNS]; ROWS];
    for (row, blocks) in blocks.iter_mut().enumerate() {
        for (column, value) in guard_columns().zip(guards(row)) {
            blocks[column] = value;
        }
        for (i, block) in blocks[GUARDS..COLUMNS - GUARDS].iter_mut().enumerate() {
            let bit = row * BITS_A_ROW + i;
            *block = bytes[bit / 8] >> (7 - bit % 8) & 1 == 1;
        }
    }
    blocks
}

fn guard_columns() -> impl Iterator<Item = usize> {
    (0..GUARDS).chain(COLUMNS - GUARDS..COLUMNS)
}

/// Values of a row's guards, in the order of [`guard_columns`].
fn guards(row: usize) -> impl Iterator<Item = bool> {
    let invert = row % 2 == 1;
    [false, true, true, false].into_iter().map(move |v| v != invert)
}

fn column_range(column: usize, size: Size) -> std::ops::Range<usize> {
    let edge = |i: usize| (i as f32 * BARCODE_REGION.w * size.width as f32 / COLUMNS as f32).round() as usize;
    edge(column)..edge(column + 1)
}

fn row_range(row: usize, size: Size) -> std::ops::Range<usize> {
    let edge = |i: usize| (i as f32 * BARCODE_REGION.h * size.height as f32 / ROWS as f32).round() as usize;
    edge(row)..edge(row + 1)
}

/// Mean of the middle half of a block: its edges are where coding and scaling blur.
fn mean_of_block(luma: Plane<'_>, row: usize, column: usize, size: Size) -> Option<u32> {
    let (xs, ys) = (middle(column_range(column, size)), middle(row_range(row, size)));
    let (mut sum, mut count) = (0, 0);
    for y in ys {
        for &value in luma
            .data
            .get(y * luma.stride + xs.start..y * luma.stride + xs.end)?
        {
            sum += u32::from(value);
            count += 1;
        }
    }
    (count > 0).then(|| sum / count)
}

fn middle(range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let quarter = range.len() / 4;
    range.start + quarter..range.end - quarter
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const SIZE: Size = MIN_SIZE;

    fn code() -> Code {
        Code::new(Utc::from_nanos(1_795_123_456_789_012_345), 2)
    }

    fn painted(size: Size, code: Code) -> Vec<u8> {
        let mut luma = vec![120; (size.width * size.height) as usize];
        write(&mut luma, size.width as usize, size, code);
        luma
    }

    fn read_back(luma: &[u8], size: Size) -> Option<Code> {
        let stride = size.width as usize;
        read(Plane { data: luma, stride }, size)
    }

    #[test]
    fn crc_gives_the_published_check_value() {
        assert_eq!(crc16(b"123456789"), 0x29b1);
    }

    #[test]
    fn blocks_are_8x8_at_the_least_size() {
        assert!((0..COLUMNS).all(|c| column_range(c, MIN_SIZE).len() == 8));
        assert!((0..ROWS).all(|r| row_range(r, MIN_SIZE).len() == 8));
    }

    #[test]
    fn reads_what_was_written_at_any_common_size() {
        for (w, h) in [
            (640, 360),
            (1280, 720),
            (1920, 1080),
            (800, 600),
            (320, 240),
            (352, 288),
        ] {
            let size = Size::new(w, h);
            assert_eq!(read_back(&painted(size, code()), size), Some(code()), "{w}x{h}");
        }
        let before_1970 = Code::new(Utc::from_nanos(-1_500), 255);
        assert_eq!(read_back(&painted(SIZE, before_1970), SIZE), Some(before_1970));
    }

    #[test]
    fn survives_noise_dark_exposure_and_a_dct_quantised_coarsely() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        for round in 0..50 {
            let code = Code::new(Utc::from_nanos(rng.random_range(0..i64::MAX / 2)), round);
            let mut luma = painted(SIZE, code);
            for value in &mut luma {
                let noisy = i32::from(*value) * 6 / 10 + rng.random_range(-30..=30) + 10;
                *value = noisy.clamp(0, 255) as u8;
            }
            quantise_8x8(&mut luma, SIZE, 60.0);
            assert_eq!(read_back(&luma, SIZE), Some(code));
        }
    }

    #[test]
    fn survives_scaling() {
        let luma = painted(Size::new(1280, 720), code());
        for (w, h) in [(640_u32, 360_u32), (960, 540), (900, 500), (1600, 900)] {
            let mut small = Vec::new();
            for y in 0..h {
                for x in 0..w {
                    small.push(luma[(y * 720 / h * 1280 + x * 1280 / w) as usize]);
                }
            }
            assert_eq!(read_back(&small, Size::new(w, h)), Some(code()), "{w}x{h}");
        }
    }

    #[test]
    fn refuses_what_is_no_code_or_damaged() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let noise: Vec<u8> = (0..SIZE.width * SIZE.height).map(|_| rng.random()).collect();
        assert_eq!(read_back(&noise, SIZE), None);
        assert_eq!(read_back(&vec![90; noise.len()], SIZE), None);
        let mut damaged = painted(SIZE, code());
        let block = column_range(20, SIZE);
        for y in row_range(0, SIZE) {
            for value in &mut damaged[y * SIZE.width as usize..][block.clone()] {
                *value = 251 - *value;
            }
        }
        assert_eq!(read_back(&damaged, SIZE), None);
        assert_eq!(read_back(&damaged[..100], SIZE), None);
        assert_eq!(read_back(&[], Size::new(0, 0)), None);
    }

    /// What a coder does to a block: DCT, coefficients rounded to multiples of `step`, back.
    fn quantise_8x8(luma: &mut [u8], size: Size, step: f32) {
        let basis = |k: usize, n: usize| {
            let scale = if k == 0 { (1.0_f32 / 8.0).sqrt() } else { 0.5 };
            scale * (std::f32::consts::PI * (2 * n + 1) as f32 * k as f32 / 16.0).cos()
        };
        let w = size.width as usize;
        for by in (0..16).step_by(8) {
            for bx in (0..w - 7).step_by(8) {
                let mut coefficients = [[0.0_f32; 8]; 8];
                for (v, row) in coefficients.iter_mut().enumerate() {
                    for (u, c) in row.iter_mut().enumerate() {
                        let sum: f32 = (0..64)
                            .map(|i| {
                                let (x, y) = (i % 8, i / 8);
                                f32::from(luma[(by + y) * w + bx + x]) * basis(u, x) * basis(v, y)
                            })
                            .sum();
                        *c = (sum / step).round() * step;
                    }
                }
                for i in 0..64 {
                    let (x, y) = (i % 8, i / 8);
                    let value: f32 = (0..64)
                        .map(|j| coefficients[j / 8][j % 8] * basis(j % 8, x) * basis(j / 8, y))
                        .sum();
                    luma[(by + y) * w + bx + x] = value.round().clamp(0.0, 255.0) as u8;
                }
            }
        }
    }
}
