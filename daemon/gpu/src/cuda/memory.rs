//! Memory of the GPU, and pinned memory of the host.

use std::marker::PhantomData;
use std::ops::Range;

use super::device::Gpu;
use super::stream::{Event, Stream};
use super::sys::{DeviceAddress, Handle};
use crate::GpuError;

/// Bytes on the GPU. What they hold before something was written is undefined.
pub struct Buffer {
    gpu: Gpu,
    address: DeviceAddress,
    len: usize,
}

impl Buffer {
    /// `len` bytes, at least 1.
    ///
    /// # Errors
    /// When the GPU's memory is full.
    pub fn new(gpu: &Gpu, len: usize) -> Result<Buffer, GpuError> {
        let mut address = 0;
        let d = gpu.bind()?;
        let len = len.max(1);
        // SAFETY: writes one address, which is freed once, in `drop`.
        d.check("cuMemAlloc", unsafe { (d.alloc)(&mut address, len) })?;
        Ok(Buffer {
            gpu: gpu.clone(),
            address,
            len,
        })
    }

    /// Bytes.
    #[allow(clippy::len_without_is_empty)] // Never empty.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The GPU that holds it.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// All of it.
    pub fn slice(&self) -> Slice<'_> {
        Slice {
            address: self.address,
            len: self.len,
            of: PhantomData,
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` and freed here only; cuMemFree waits for work that uses it.
        self.gpu
            .last_rites("cuMemFree", |d| unsafe { (d.free)(self.address) });
    }
}

/// A part of device memory that stays while this does.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    pub(crate) address: DeviceAddress,
    pub(crate) len: usize,
    of: PhantomData<&'a Buffer>,
}

impl<'a> Slice<'a> {
    /// Bytes.
    #[allow(clippy::len_without_is_empty)] // Emptiness is of no interest.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Where it lies, for libraries that are given addresses.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// The bytes `range` of it.
    ///
    /// # Errors
    /// [`GpuError::Argument`] when they are not within.
    pub fn part(&self, range: Range<usize>) -> Result<Slice<'a>, GpuError> {
        if range.start > range.end || range.end > self.len {
            return Err(GpuError::Argument(format!(
                "bytes {range:?} of a device memory of {} bytes: give a part of it",
                self.len
            )));
        }
        Ok(Slice {
            address: self.address + range.start as u64,
            len: range.len(),
            of: PhantomData,
        })
    }
}

/// Pinned host memory with its twin on the GPU: written on the host, sent without another copy.
pub struct Staging {
    device: Buffer,
    host: Handle,
    len: usize,
    sent: Event,
    in_flight: bool,
}

// SAFETY: the pinned memory belongs to this value alone.
unsafe impl Send for Staging {}

impl Staging {
    /// `len` bytes on both sides, at least 1.
    ///
    /// # Errors
    /// When either memory is full.
    pub fn new(gpu: &Gpu, len: usize) -> Result<Staging, GpuError> {
        let len = len.max(1);
        let (device, sent) = (Buffer::new(gpu, len)?, Event::new(gpu)?);
        let d = gpu.bind()?;
        let mut host = std::ptr::null_mut();
        // SAFETY: writes one pointer, which is freed once, in `drop`.
        d.check("cuMemAllocHost", unsafe { (d.alloc_host)(&mut host, len) })?;
        // SAFETY: `len` bytes that are this value's own; zeroed, so that no slice of undefined bytes is ever made.
        unsafe { std::ptr::write_bytes(host.cast::<u8>(), 0, len) };
        Ok(Staging {
            device,
            host,
            len,
            sent,
            in_flight: false,
        })
    }

    /// Lets `write` fill the host's side and queues its copy to the GPU; waits first until the last copy is done.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn send<T>(&mut self, stream: &Stream, write: impl FnOnce(&mut [u8]) -> T) -> Result<T, GpuError> {
        if std::mem::take(&mut self.in_flight) {
            self.sent.wait()?;
        }
        // SAFETY: `len` initialised bytes, which no copy reads now and no one else holds.
        let host = unsafe { std::slice::from_raw_parts_mut(self.host.cast::<u8>(), self.len) };
        let result = write(host);
        let d = stream.gpu().bind()?;
        // SAFETY: both sides are of `len` bytes and stay until `sent` says the copy is done.
        let code = unsafe { (d.to_device)(self.device.address, self.host, self.len, stream.raw()) };
        self.in_flight = true;
        d.check("cuMemcpyHtoDAsync", code)?;
        self.sent.record(stream)?;
        Ok(result)
    }

    /// The GPU's side.
    pub fn device(&self) -> &Buffer {
        &self.device
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.in_flight
            && let Err(e) = self.sent.wait()
        {
            log::warn!("while waiting for a copy to the GPU: {e}");
        }
        // SAFETY: allocated in `new` and freed here only; no copy uses it any more.
        self.device
            .gpu
            .last_rites("cuMemFreeHost", |d| unsafe { (d.free_host)(self.host) });
    }
}
