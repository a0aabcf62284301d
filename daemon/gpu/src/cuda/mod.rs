//! CUDA's driver interface, as far as it is used: devices, memory, streams, events, modules.
//!
//! Every handle keeps what it depends on alive. Work is queued on a [`Stream`] in order; what a stream has queued is
//! done when [`Stream::wait`] returns. Freed memory is given back by `cuMemFree`, which waits for work that uses it.
#[allow(unsafe_code)]
mod device;
#[allow(unsafe_code)]
mod memory;
#[allow(unsafe_code)]
mod module;
#[allow(unsafe_code)]
mod stream;
#[allow(unsafe_code)]
mod sys;

pub use device::{Cuda, DeviceInfo, Gpu};
pub use memory::{Buffer, Slice, Staging};
pub(crate) use module::{Function, KernelParams, Module};
pub use stream::{Event, Stream};
