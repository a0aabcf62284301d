//! From a packet's pictures to a model's input tensor, in one launch (`kernels/preprocess.cu`).

use synoptic_base::Size;

use crate::GpuError;
use crate::cuda::{KernelParams, Slice, Stream};
use crate::kernels::Kernels;
use crate::picture::{DevicePicture, Layout};

/// Pictures that one launch takes.
pub const MAX_PICTURES: usize = 32;

/// Where a picture lies in the input, in pixels of the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fit {
    /// Columns before it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// The input tensor: pictures x 3 x `height` x `width` of 32-bit floats, `(pixel * scale - mean) / std`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Input {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Whether blue is the first plane.
    pub blue_first: bool,
    /// Value of each colour around a letterboxed picture, 0 to 255.
    pub pad: u8,
    /// Factor of each pixel of 0 to 255.
    pub scale: f32,
    /// Taken from each plane.
    pub mean: [f32; 3],
    /// Divides each plane.
    pub std: [f32; 3],
}

impl Input {
    /// Bytes of the tensor of `pictures` pictures.
    pub fn bytes(&self, pictures: usize) -> usize {
        pictures * 3 * self.width as usize * self.height as usize * size_of::<f32>()
    }
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct PreprocessPicture {
    first: u64,
    second: u64,
    third: u64,
    first_stride: u32,
    chroma_stride: u32,
    width: u32,
    height: u32,
    format: u32,
    left: u32,
    top: u32,
    fit_width: u32,
    fit_height: u32,
    to_rgb: [f32; 5],
}

#[repr(C)]
struct PreprocessParams {
    tensor: u64,
    width: u32,
    height: u32,
    red: u32,
    reserved: u32,
    gain: [f32; 3],
    offset: [f32; 3],
    pad: [f32; 3],
    reserved_too: f32,
    pictures: [PreprocessPicture; MAX_PICTURES],
}

const _: () = assert!(size_of::<PreprocessPicture>() == 80);
const _: () = assert!(size_of::<PreprocessParams>() == 64 + 80 * MAX_PICTURES);

#[allow(unsafe_code)]
// SAFETY: numbers only, laid out as in preprocess.cu, which asserts the same sizes.
unsafe impl KernelParams for PreprocessParams {}

/// Lines from which video is taken as BT.709, as in vision's `Matrix::guess`.
const HD_LINES: u32 = 720;

/// Factors from limited range Y'CbCr to RGB of 0 to 255: vision's `Matrix::to_rgb`.
fn to_rgb(size: Size) -> [f32; 5] {
    let (kr, kb): (f32, f32) = if size.height < HD_LINES {
        (0.299, 0.114)
    } else {
        (0.2126, 0.0722)
    };
    let kg = 1.0 - kr - kb;
    let chroma = 255.0 / 224.0;
    [
        255.0 / 219.0,
        2.0 * (1.0 - kr) * chroma,
        -2.0 * (1.0 - kb) * kb / kg * chroma,
        -2.0 * (1.0 - kr) * kr / kg * chroma,
        2.0 * (1.0 - kb) * chroma,
    ]
}

/// Queues the writing of `pictures`, each where its [`Fit`] says, into `tensor`.
///
/// # Errors
/// [`GpuError::Argument`] when there are too many pictures, a fit lies outside of the input, or the tensor is too
/// small; else when the GPU fails.
pub fn preprocess(
    kernels: &Kernels,
    stream: &Stream,
    pictures: &[(DevicePicture<'_>, Fit)],
    input: &Input,
    tensor: Slice<'_>,
) -> Result<(), GpuError> {
    if pictures.is_empty() {
        return Ok(());
    }
    if pictures.len() > MAX_PICTURES {
        return Err(GpuError::Argument(format!(
            "{} pictures in one packet: give {MAX_PICTURES} at most",
            pictures.len()
        )));
    }
    let side = |v: u32| (1..=8192).contains(&v);
    if !side(input.width) || !side(input.height) {
        return Err(GpuError::Argument(format!(
            "an input of {}x{}: give sides of 1 to 8192",
            input.width, input.height
        )));
    }
    let tensor = tensor.part(0..input.bytes(pictures.len()))?;
    let gain = input.std.map(|std| input.scale / std);
    let offset: [f32; 3] = std::array::from_fn(|i| -input.mean[i] / input.std[i]);
    let mut params = PreprocessParams {
        tensor: tensor.address,
        width: input.width,
        height: input.height,
        red: if input.blue_first { 2 } else { 0 },
        reserved: 0,
        gain,
        offset,
        pad: std::array::from_fn(|i| f32::from(input.pad) * gain[i] + offset[i]),
        reserved_too: 0.0,
        pictures: [PreprocessPicture::default(); MAX_PICTURES],
    };
    for ((picture, fit), to) in pictures.iter().zip(&mut params.pictures) {
        let inside =
            |from: u32, len: u32, all: u32| len > 0 && from.checked_add(len).is_some_and(|end| end <= all);
        if !inside(fit.left, fit.width, input.width) || !inside(fit.top, fit.height, input.height) {
            return Err(GpuError::Argument(format!(
                "{fit:?} lies outside of an input of {}x{}",
                input.width, input.height
            )));
        }
        let ([first, second, third], [first_stride, chroma_stride]) =
            (picture.addresses(), picture.strides());
        *to = PreprocessPicture {
            first,
            second,
            third,
            first_stride,
            chroma_stride,
            width: picture.size().width,
            height: picture.size().height,
            format: match picture.layout() {
                Layout::Nv12 => 0,
                Layout::I420 => 1,
                Layout::Rgba => 2,
            },
            left: fit.left,
            top: fit.top,
            fit_width: fit.width,
            fit_height: fit.height,
            to_rgb: to_rgb(picture.size()),
        };
    }
    let grid = [
        input.width.div_ceil(32),
        input.height.div_ceil(8),
        pictures.len() as u32,
    ];
    #[allow(unsafe_code)]
    // SAFETY: the pictures were checked when they were made, fits and tensor above; freeing waits for the work.
    unsafe {
        kernels.preprocess.launch(stream, grid, [32, 8, 1], &params)
    }
}
