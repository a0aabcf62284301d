//! From a detector's outputs on the GPU to boxes, without a copy of the outputs (`kernels/detect.cu`).

use crate::GpuError;
use crate::cuda::{Buffer, Gpu, KernelParams, Slice, Stream};
use crate::kernels::Kernels;

/// Boxes of one picture at most, as in vision's `nms.rs`.
pub const MAX_DETECTIONS: usize = 300;
/// Bins of NanoDet's distributions.
const BINS: usize = 8;
/// Strides of the grids of YOLOX and NanoDet.
const STRIDES: [u32; 3] = [8, 16, 32];

/// Family of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// One output, 5 + classes by rows by columns of stride 16.
    FastestDet,
    /// One output, cells of strides 8, 16, 32 by 5 + classes.
    Yolox,
    /// Six outputs: cells by classes of strides 8, 16, 32, then cells by 32 of the same.
    NanoDet,
}

/// How outputs are read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoding {
    /// Family of the outputs.
    pub family: Family,
    /// Columns of the input.
    pub width: u32,
    /// Rows of the input.
    pub height: u32,
    /// By class: whether it is kept.
    pub keep: Vec<bool>,
    /// Boxes below are dropped.
    pub threshold: f32,
    /// Of two boxes of a class with more IoU than this, the better stays.
    pub nms_iou: f32,
}

/// A box in pixels of the input.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DetectBox {
    /// Left, top, right, bottom.
    pub edges: [f32; 4],
    /// 0 to 1.
    pub score: f32,
    /// Index of its class.
    pub class: u32,
}

#[repr(C)]
struct DecodeParams {
    outputs: [u64; 6],
    keep: u64,
    boxes: u64,
    keys: u64,
    counts: u64,
    family: u32,
    width: u32,
    height: u32,
    classes: u32,
    cells: u32,
    capacity: u32,
    threshold: f32,
    reserved: u32,
}

#[repr(C)]
struct SuppressParams {
    boxes: u64,
    keys: u64,
    counts: u64,
    found: u64,
    found_count: u64,
    cells: u32,
    capacity: u32,
    most: f32,
    reserved: u32,
}

const _: () = assert!(size_of::<DetectBox>() == 24);
const _: () = assert!(size_of::<DecodeParams>() == 112);
const _: () = assert!(size_of::<SuppressParams>() == 56);

#[allow(unsafe_code)]
// SAFETY: numbers only, laid out as in detect.cu, which asserts the same sizes.
unsafe impl KernelParams for DecodeParams {}
#[allow(unsafe_code)]
// SAFETY: as above.
unsafe impl KernelParams for SuppressParams {}

/// Reads the outputs of batches of up to so many pictures.
pub struct Decoder {
    decoding: Decoding,
    most: usize,
    cells: usize,
    keep: Buffer,
    boxes: Buffer,
    keys: Buffer,
    counts: Buffer,
    found: Buffer,
    found_count: Buffer,
}

impl Decoding {
    /// Floats of each output, of one picture.
    pub fn output_lens(&self) -> Vec<usize> {
        let grid = |s: u32| (self.width / s) as usize * (self.height / s) as usize;
        let classes = self.keep.len();
        match self.family {
            Family::FastestDet => vec![(5 + classes) * grid(16)],
            Family::Yolox => vec![(5 + classes) * STRIDES.map(grid).iter().sum::<usize>()],
            Family::NanoDet => {
                let grids = STRIDES.map(grid);
                grids
                    .iter()
                    .map(|n| n * classes)
                    .chain(grids.iter().map(|n| n * 4 * BINS))
                    .collect()
            }
        }
    }

    fn cells(&self) -> usize {
        let grid = |s: u32| (self.width / s) as usize * (self.height / s) as usize;
        match self.family {
            Family::FastestDet => grid(16),
            Family::Yolox | Family::NanoDet => STRIDES.map(grid).iter().sum(),
        }
    }
}

impl Decoder {
    /// For batches of up to `most` pictures.
    ///
    /// # Errors
    /// When the numbers are impossible or the GPU's memory is full.
    pub fn new(gpu: &Gpu, stream: &Stream, decoding: Decoding, most: usize) -> Result<Decoder, GpuError> {
        let cells = decoding.cells();
        let sides = [decoding.width, decoding.height]
            .iter()
            .all(|s| (32..=4096).contains(s));
        if !sides || decoding.keep.is_empty() || !(1..=1024).contains(&most) {
            return Err(GpuError::Argument(format!(
                "{most} pictures of {}x{} with {} classes cannot be decoded: give 1 to 1024 pictures, sides of 32 to 4096, and classes",
                decoding.width,
                decoding.height,
                decoding.keep.len()
            )));
        }
        let capacity = capacity(cells);
        let keep = Buffer::new(gpu, decoding.keep.len())?;
        let bytes: Vec<u8> = decoding.keep.iter().map(|k| u8::from(*k)).collect();
        stream.upload(keep.slice(), &bytes)?;
        Ok(Decoder {
            most,
            cells,
            keep,
            boxes: Buffer::new(gpu, most * cells * size_of::<DetectBox>())?,
            keys: Buffer::new(gpu, most * capacity * 8)?,
            counts: Buffer::new(gpu, most * 4)?,
            found: Buffer::new(gpu, most * MAX_DETECTIONS * size_of::<DetectBox>())?,
            found_count: Buffer::new(gpu, most * 4)?,
            decoding,
        })
    }

    /// Queues the decoding and suppression of `outputs` of `pictures` pictures, in the order of
    /// [`Decoding::output_lens`].
    ///
    /// # Errors
    /// When an output is missing or too short, or the GPU fails.
    pub fn queue(
        &mut self,
        kernels: &Kernels,
        stream: &Stream,
        outputs: &[Slice<'_>],
        pictures: usize,
    ) -> Result<(), GpuError> {
        let lens = self.decoding.output_lens();
        if outputs.len() != lens.len() || !(1..=self.most).contains(&pictures) {
            return Err(GpuError::Argument(format!(
                "{} outputs of {pictures} pictures: give {} of 1 to {}",
                outputs.len(),
                lens.len(),
                self.most
            )));
        }
        let mut addresses = [0; 6];
        for ((output, len), to) in outputs.iter().zip(&lens).zip(&mut addresses) {
            *to = output.part(0..len * pictures * size_of::<f32>())?.address;
        }
        let d = &self.decoding;
        let capacity = capacity(self.cells) as u32;
        let cells = self.cells as u32;
        let params = DecodeParams {
            outputs: addresses,
            keep: self.keep.slice().address,
            boxes: self.boxes.slice().address,
            keys: self.keys.slice().address,
            counts: self.counts.slice().address,
            family: match d.family {
                Family::FastestDet => 0,
                Family::Yolox => 1,
                Family::NanoDet => 2,
            },
            width: d.width,
            height: d.height,
            classes: d.keep.len() as u32,
            cells,
            capacity,
            threshold: d.threshold,
            reserved: 0,
        };
        let suppress = SuppressParams {
            boxes: params.boxes,
            keys: params.keys,
            counts: params.counts,
            found: self.found.slice().address,
            found_count: self.found_count.slice().address,
            cells,
            capacity,
            most: d.nms_iou,
            reserved: 0,
        };
        stream.fill(&self.counts, 0)?;
        let count = pictures as u32;
        #[allow(unsafe_code)]
        // SAFETY: outputs were checked above; everything else is this value's own, sized in `new` for `most` pictures.
        unsafe {
            let grid = [cells.div_ceil(128), count, 1];
            kernels.decode.launch(stream, grid, [128, 1, 1], &params)?;
            kernels
                .suppress
                .launch(stream, [count, 1, 1], [256, 1, 1], &suppress)
        }
    }

    /// Waits for what was queued last and returns the boxes of each of its `pictures` pictures, best first.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn take(&mut self, stream: &Stream, pictures: usize) -> Result<Vec<Vec<DetectBox>>, GpuError> {
        let mut counts = vec![0; 4 * pictures];
        stream.download(&mut counts, self.found_count.slice())?;
        let mut bytes = vec![0; pictures * MAX_DETECTIONS * size_of::<DetectBox>()];
        stream.download(&mut bytes, self.found.slice())?;
        let number = |b: &[u8]| <[u8; 4]>::try_from(b).map_or(0, u32::from_ne_bytes);
        Ok(counts
            .chunks_exact(4)
            .zip(bytes.chunks_exact(MAX_DETECTIONS * size_of::<DetectBox>()))
            .map(|(count, boxes)| {
                let count = (number(count) as usize).min(MAX_DETECTIONS);
                boxes
                    .chunks_exact(size_of::<DetectBox>())
                    .take(count)
                    .map(|b| DetectBox {
                        edges: std::array::from_fn(|i| f32::from_bits(number(&b[4 * i..4 * i + 4]))),
                        score: f32::from_bits(number(&b[16..20])),
                        class: number(&b[20..24]),
                    })
                    .collect()
            })
            .collect())
    }
}

/// Keys of a picture: a power of two, as the sort wants.
fn capacity(cells: usize) -> usize {
    cells.next_power_of_two().max(2)
}
