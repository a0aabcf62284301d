//! Queues of work, and marks in them.

use super::device::Gpu;
use super::memory::{Buffer, Slice};
use super::sys::Handle;
use crate::GpuError;

/// CU_STREAM_NON_BLOCKING: no order with the default stream.
const NON_BLOCKING: u32 = 1;

/// A queue of work of one GPU.
pub struct Stream {
    gpu: Gpu,
    raw: Handle,
}

// SAFETY: streams may be used from any thread; every call binds the context first.
unsafe impl Send for Stream {}
// SAFETY: the driver locks a stream that several threads use.
unsafe impl Sync for Stream {}

impl Stream {
    /// A new one.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn new(gpu: &Gpu) -> Result<Stream, GpuError> {
        let d = gpu.bind()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes one handle, which is destroyed once, in `drop`.
        d.check("cuStreamCreate", unsafe {
            (d.stream_create)(&mut raw, NON_BLOCKING)
        })?;
        Ok(Stream {
            gpu: gpu.clone(),
            raw,
        })
    }

    /// The GPU it belongs to.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The CUstream, which is a cudaStream_t too.
    pub(crate) fn raw(&self) -> Handle {
        self.raw
    }

    /// Returns when everything queued is done.
    ///
    /// # Errors
    /// What failed of the work queued, too.
    pub fn wait(&self) -> Result<(), GpuError> {
        let d = self.gpu.bind()?;
        // SAFETY: the stream is alive.
        d.check("cuStreamSynchronize", unsafe { (d.stream_wait)(self.raw) })
    }

    /// Whether everything queued is done. Never waits.
    ///
    /// # Errors
    /// What failed of the work queued, too.
    pub fn is_done(&self) -> Result<bool, GpuError> {
        const NOT_READY: i32 = 600;
        let d = self.gpu.bind()?;
        // SAFETY: the stream is alive.
        match unsafe { (d.stream_query)(self.raw) } {
            NOT_READY => Ok(false),
            code => d.check("cuStreamQuery", code).map(|()| true),
        }
    }

    /// Lets what is queued from now on begin after `event`.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn after(&self, event: &Event) -> Result<(), GpuError> {
        let d = self.gpu.bind()?;
        // SAFETY: both are alive.
        let code = unsafe { (d.stream_wait_event)(self.raw, event.raw, 0) };
        d.check("cuStreamWaitEvent", code)
    }

    /// Copies `from` to the beginning of `to`. `from` may be changed as soon as this returns.
    ///
    /// # Errors
    /// When `to` is too small, or the GPU fails.
    pub fn upload(&self, to: Slice<'_>, from: &[u8]) -> Result<(), GpuError> {
        let to = to.part(0..from.len())?;
        let d = self.gpu.bind()?;
        // SAFETY: `to` has as many bytes. Pageable memory is read before the call returns (CUDA driver API, "API
        // synchronization behavior"); pinned memory of this crate is behind `Staging` and never comes here.
        let code = unsafe { (d.to_device)(to.address, from.as_ptr().cast(), from.len(), self.raw) };
        d.check("cuMemcpyHtoDAsync", code)
    }

    /// Copies the beginning of `from` to `to` and waits until it is there.
    ///
    /// # Errors
    /// When `from` is too small, or the GPU fails, or work queued before did.
    pub fn download(&self, to: &mut [u8], from: Slice<'_>) -> Result<(), GpuError> {
        let from = from.part(0..to.len())?;
        let d = self.gpu.bind()?;
        // SAFETY: both have as many bytes, and `to` is held until the copy is done.
        let code = unsafe { (d.to_host)(to.as_mut_ptr().cast(), from.address, to.len(), self.raw) };
        let queued = d.check("cuMemcpyDtoHAsync", code);
        self.wait()?;
        queued
    }

    /// Copies `from` to the beginning of `to`, on the GPU.
    ///
    /// # Errors
    /// When `to` is too small, or the GPU fails.
    pub fn copy(&self, to: Slice<'_>, from: Slice<'_>) -> Result<(), GpuError> {
        let to = to.part(0..from.len)?;
        let d = self.gpu.bind()?;
        // SAFETY: both have as many bytes; freeing them waits for this copy.
        let code = unsafe { (d.on_device)(to.address, from.address, from.len, self.raw) };
        d.check("cuMemcpyDtoDAsync", code)
    }

    /// Sets every byte of `to`.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn fill(&self, to: &Buffer, value: u8) -> Result<(), GpuError> {
        let to = to.slice();
        let d = self.gpu.bind()?;
        // SAFETY: `to` has as many bytes.
        let code = unsafe { (d.set_bytes)(to.address, value, to.len, self.raw) };
        d.check("cuMemsetD8Async", code)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: created in `new` and destroyed here only; CUDA finishes what is queued first.
        self.gpu
            .last_rites("cuStreamDestroy", |d| unsafe { (d.stream_destroy)(self.raw) });
    }
}

/// A mark in a stream: when the work before it was done.
pub struct Event {
    gpu: Gpu,
    raw: Handle,
}

// SAFETY: events may be used from any thread; every call binds the context first.
unsafe impl Send for Event {}
// SAFETY: the driver locks an event that several threads use.
unsafe impl Sync for Event {}

impl Event {
    /// A mark that is nowhere yet.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn new(gpu: &Gpu) -> Result<Event, GpuError> {
        let d = gpu.bind()?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: writes one handle, which is destroyed once, in `drop`.
        d.check("cuEventCreate", unsafe { (d.event_create)(&mut raw, 0) })?;
        Ok(Event {
            gpu: gpu.clone(),
            raw,
        })
    }

    /// Marks the end of what `stream` has queued.
    ///
    /// # Errors
    /// When the GPU fails.
    pub fn record(&self, stream: &Stream) -> Result<(), GpuError> {
        let d = self.gpu.bind()?;
        // SAFETY: both are alive.
        d.check("cuEventRecord", unsafe { (d.event_record)(self.raw, stream.raw) })
    }

    /// Returns when the work before the mark is done.
    ///
    /// # Errors
    /// What failed of that work, too.
    pub fn wait(&self) -> Result<(), GpuError> {
        let d = self.gpu.bind()?;
        // SAFETY: the event is alive.
        d.check("cuEventSynchronize", unsafe { (d.event_wait)(self.raw) })
    }

    /// Milliseconds from `earlier` to this mark, by the GPU's clock; both must be done.
    ///
    /// # Errors
    /// When either was not recorded or is not done.
    pub fn ms_since(&self, earlier: &Event) -> Result<f32, GpuError> {
        let d = self.gpu.bind()?;
        let mut ms = 0.0;
        // SAFETY: writes one number; both events are alive.
        let code = unsafe { (d.event_elapsed)(&mut ms, earlier.raw, self.raw) };
        d.check("cuEventElapsedTime", code)?;
        Ok(ms)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: created in `new` and destroyed here only.
        self.gpu
            .last_rites("cuEventDestroy", |d| unsafe { (d.event_destroy)(self.raw) });
    }
}
