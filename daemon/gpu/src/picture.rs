//! Pictures in device memory, checked once: what reads them cannot run over their end.

use synoptic_base::{PixelFormat, Planes, Size};

use crate::GpuError;
use crate::cuda::{Buffer, Gpu, Slice, Stream};

/// Layout of a picture's pixels on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Luma, then Cb and Cr in turn.
    Nv12,
    /// Luma, Cb, Cr.
    I420,
    /// R, G, B, A in turn.
    Rgba,
}

/// A plane in device memory.
#[derive(Clone, Copy, Debug)]
pub struct DevicePlane<'a> {
    /// Its bytes, at least `stride * (rows - 1) + row bytes`.
    pub data: Slice<'a>,
    /// Bytes from row to row.
    pub stride: usize,
}

/// A picture in device memory.
#[derive(Clone, Copy, Debug)]
pub struct DevicePicture<'a> {
    size: Size,
    layout: Layout,
    planes: [DevicePlane<'a>; 3],
}

/// Width and height of the chroma planes.
pub(crate) fn chroma_size(size: Size) -> (usize, usize) {
    (size.width.div_ceil(2) as usize, size.height.div_ceil(2) as usize)
}

impl<'a> DevicePicture<'a> {
    /// A picture of `size` in as many `planes` as `layout` has.
    ///
    /// # Errors
    /// [`GpuError::Argument`] when a plane is missing or too small.
    pub fn new(
        size: Size,
        layout: Layout,
        planes: &[DevicePlane<'a>],
    ) -> Result<DevicePicture<'a>, GpuError> {
        let (w, h) = (size.width as usize, size.height as usize);
        let (cw, ch) = chroma_size(size);
        let wants: &[(usize, usize)] = match layout {
            Layout::Nv12 => &[(w, h), (2 * cw, ch)],
            Layout::I420 => &[(w, h), (cw, ch), (cw, ch)],
            Layout::Rgba => &[(4 * w, h)],
        };
        if w == 0 || h == 0 || w > 1 << 14 || h > 1 << 14 {
            return Err(GpuError::Argument(format!(
                "a picture of {w}x{h}: give sides of 1 to 16384 pixels"
            )));
        }
        if wants.len() != planes.len() {
            return Err(GpuError::Argument(format!(
                "{} planes for {layout:?}: give {}",
                planes.len(),
                wants.len()
            )));
        }
        for (i, (plane, (row, rows))) in planes.iter().zip(wants).enumerate() {
            let need = plane.stride.saturating_mul(rows - 1).saturating_add(*row);
            if plane.stride < *row || plane.data.len < need || plane.stride > u32::MAX as usize {
                return Err(GpuError::Argument(format!(
                    "plane {i} of a {w}x{h} {layout:?} picture has {} bytes at a stride of {}: it takes {need}, rows of {row}",
                    plane.data.len, plane.stride
                )));
            }
        }
        if layout == Layout::I420 && planes[1].stride != planes[2].stride {
            return Err(GpuError::Argument(
                "Cb and Cr have different strides: give them the same".to_owned(),
            ));
        }
        let first = planes[0];
        Ok(DevicePicture {
            size,
            layout,
            planes: [
                first,
                *planes.get(1).unwrap_or(&first),
                *planes.get(2).unwrap_or(&first),
            ],
        })
    }

    /// Pixels across and down.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Its layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Addresses of the first plane, of Cb, of Cr.
    pub(crate) fn addresses(&self) -> [u64; 3] {
        let [first, second, third] = self.planes.map(|p| p.data.address);
        match self.layout {
            Layout::Nv12 => [first, second, second + 1],
            Layout::I420 | Layout::Rgba => [first, second, third],
        }
    }

    /// Strides of the first plane and of chroma.
    pub(crate) fn strides(&self) -> [u32; 2] {
        // Checked in `new`.
        [self.planes[0].stride as u32, self.planes[1].stride as u32]
    }
}

/// A picture that owns its device memory; rows are padded to 256 bytes.
pub struct PictureMemory {
    size: Size,
    layout: Layout,
    /// Offset and stride of each plane.
    planes: Vec<(usize, usize)>,
    memory: Buffer,
}

impl PictureMemory {
    /// Room for a picture of `size`.
    ///
    /// # Errors
    /// When the GPU's memory is full, or the size is impossible.
    pub fn new(gpu: &Gpu, size: Size, layout: Layout) -> Result<PictureMemory, GpuError> {
        let (w, h) = (size.width as usize, size.height as usize);
        if w == 0 || h == 0 || w > 1 << 14 || h > 1 << 14 {
            return Err(GpuError::Argument(format!(
                "a picture of {w}x{h}: give sides of 1 to 16384 pixels"
            )));
        }
        let (cw, ch) = chroma_size(size);
        let rows: &[(usize, usize)] = match layout {
            Layout::Nv12 => &[(w, h), (2 * cw, ch)],
            Layout::I420 => &[(w, h), (cw, ch), (cw, ch)],
            Layout::Rgba => &[(4 * w, h)],
        };
        let mut planes = Vec::new();
        let mut len = 0;
        for (row, rows) in rows {
            let stride = row.next_multiple_of(256);
            planes.push((len, stride));
            len += stride * rows;
        }
        Ok(PictureMemory {
            size,
            layout,
            planes,
            memory: Buffer::new(gpu, len)?,
        })
    }

    /// The picture.
    ///
    /// # Errors
    /// Never for memory that `new` made.
    pub fn picture(&self) -> Result<DevicePicture<'_>, GpuError> {
        let all = self.memory.slice();
        let planes = self.planes.iter().map(|(offset, stride)| {
            Ok(DevicePlane {
                data: all.part(*offset..self.memory.len())?,
                stride: *stride,
            })
        });
        DevicePicture::new(
            self.size,
            self.layout,
            &planes.collect::<Result<Vec<_>, GpuError>>()?,
        )
    }

    /// Copies a host picture of the same size and layout here.
    ///
    /// # Errors
    /// When it is another picture, or the GPU fails.
    pub fn upload(&self, stream: &Stream, from: &Planes<'_>) -> Result<(), GpuError> {
        let (format, sources) = match *from {
            Planes::Nv12 { y, uv } => (PixelFormat::Nv12, vec![y, uv]),
            Planes::I420 { y, u, v } => (PixelFormat::I420, vec![y, u, v]),
        };
        let fits = matches!(
            (format, self.layout),
            (PixelFormat::Nv12, Layout::Nv12) | (PixelFormat::I420, Layout::I420)
        );
        if !fits {
            return Err(GpuError::Argument(format!(
                "a picture of {format:?} for memory of {:?}: make room for its own layout",
                self.layout
            )));
        }
        let (w, h) = (self.size.width as usize, self.size.height as usize);
        let (cw, ch) = chroma_size(self.size);
        for (i, (source, (offset, stride))) in sources.iter().zip(&self.planes).enumerate() {
            let (row, rows) = match (i, self.layout) {
                (0, _) => (w, h),
                (_, Layout::Nv12) => (2 * cw, ch),
                _ => (cw, ch),
            };
            let need = source.stride * (rows - 1) + row;
            if source.stride < row || source.data.len() < need {
                return Err(GpuError::Argument(format!(
                    "plane {i} ends before its picture of {w}x{h} does"
                )));
            }
            // One copy of rows at the memory's stride: many small copies cost more than one on the host.
            let mut padded = vec![0; stride * (rows - 1) + row];
            for y in 0..rows {
                padded[y * stride..][..row].copy_from_slice(&source.data[y * source.stride..][..row]);
            }
            stream.upload(self.memory.slice().part(*offset..self.memory.len())?, &padded)?;
        }
        Ok(())
    }

    /// Copies R, G, B, A bytes, rows without padding, here.
    ///
    /// # Errors
    /// When they are too few, this is no RGBA picture, or the GPU fails.
    pub fn upload_rgba(&self, stream: &Stream, from: &[u8]) -> Result<(), GpuError> {
        let (row, rows) = (4 * self.size.width as usize, self.size.height as usize);
        if self.layout != Layout::Rgba || from.len() < row * rows {
            return Err(GpuError::Argument(format!(
                "{} bytes for a {:?} picture",
                from.len(),
                self.layout
            )));
        }
        let stride = self.planes[0].1;
        let mut padded = vec![0; stride * rows];
        for (to, from) in padded.chunks_exact_mut(stride).zip(from.chunks_exact(row)) {
            to[..row].copy_from_slice(from);
        }
        stream.upload(self.memory.slice(), &padded)
    }

    /// Copies the picture to the host, planes one after the other, rows without padding; waits for it.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn download(&self, stream: &Stream) -> Result<Vec<u8>, GpuError> {
        let mut whole = vec![0; self.memory.len()];
        stream.download(&mut whole, self.memory.slice())?;
        let (w, h) = (self.size.width as usize, self.size.height as usize);
        let (cw, ch) = chroma_size(self.size);
        let mut packed = Vec::new();
        for (i, (offset, stride)) in self.planes.iter().enumerate() {
            let (row, rows) = match (i, self.layout) {
                (_, Layout::Rgba) => (4 * w, h),
                (0, _) => (w, h),
                (_, Layout::Nv12) => (2 * cw, ch),
                (_, Layout::I420) => (cw, ch),
            };
            for y in 0..rows {
                packed.extend_from_slice(&whole[offset + y * stride..][..row]);
            }
        }
        Ok(packed)
    }
}
