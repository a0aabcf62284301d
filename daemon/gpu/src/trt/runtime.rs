//! Running plans.

use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::Arc;

use super::TensorRt;
use super::abi::{self, Dims32, Dims64, Object, method};
use super::builder::{Owned, dims32, dims64};
use super::slots::Table;
use crate::GpuError;
use crate::cuda::{Gpu, Slice, Stream};

/// Type of a tensor's values, `nvinfer1::DataType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// 32-bit floats.
    Float,
    /// 16-bit floats.
    Half,
    /// 8-bit integers.
    Int8,
    /// 32-bit integers.
    Int32,
    /// Bytes that are 0 or 1.
    Bool,
    /// Bytes.
    Uint8,
    /// Another, by TensorRT's number.
    Other(i32),
}

impl DataType {
    fn new(number: c_int) -> DataType {
        match number {
            0 => DataType::Float,
            1 => DataType::Half,
            2 => DataType::Int8,
            3 => DataType::Int32,
            4 => DataType::Bool,
            5 => DataType::Uint8,
            other => DataType::Other(other),
        }
    }

    /// Bytes of one value; `None` of a type that is not known.
    pub fn bytes(self) -> Option<usize> {
        match self {
            DataType::Float | DataType::Int32 => Some(4),
            DataType::Half => Some(2),
            DataType::Int8 | DataType::Bool | DataType::Uint8 => Some(1),
            DataType::Other(_) => None,
        }
    }
}

/// An input or output of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its name in the model.
    pub name: String,
    /// Whether it is an input.
    pub input: bool,
    /// Type of its values.
    pub data_type: DataType,
    /// Its shape; -1 is a side left open.
    pub shape: Vec<i64>,
}

/// What plans are loaded with.
pub struct Runtime {
    trt: TensorRt,
    gpu: Gpu,
    object: Owned,
}

// SAFETY: TensorRT's runtimes may be used from any thread (NvInferRuntime.h, "thread-safe" of IRuntime's creation and
// deserialization); `&mut` is asked for where it is not said.
unsafe impl Send for Runtime {}

impl TensorRt {
    /// A runtime on `gpu`.
    ///
    /// # Errors
    /// When TensorRT makes none.
    pub fn runtime(&self, gpu: &Gpu) -> Result<Runtime, GpuError> {
        gpu.bind()?;
        self.0.logger.take();
        Ok(Runtime {
            object: self.create(self.0.create_runtime, "make a runtime")?,
            trt: self.clone(),
            gpu: gpu.clone(),
        })
    }
}

impl Runtime {
    /// Loads a plan.
    ///
    /// # Errors
    /// When the plan is of another TensorRT or another GPU, or no plan: it is to be built anew.
    pub fn engine(&mut self, plan: &[u8]) -> Result<Engine, GpuError> {
        self.gpu.bind()?;
        let (slots, r) = (self.trt.0.slots, self.object.inner());
        self.trt.0.logger.take();
        // SAFETY: VRuntime of NvInferImpl.h; the plan is copied. TensorRT 8 has a third argument, a plugin factory that
        // must be null; the others ignore what is in its register.
        let object = unsafe {
            let load: unsafe extern "C" fn(Object, *const u8, usize, *const c_void) -> Object =
                method(r, slots.deserialize);
            Owned::new(load(r, plan.as_ptr(), plan.len(), std::ptr::null()))
        };
        let object = object.ok_or_else(|| self.trt.failed("load the plan; build it anew"))?;
        let tensors = self.tensors(&object)?;
        Ok(Engine(Arc::new(EngineInner {
            object,
            tensors,
            trt: self.trt.clone(),
            gpu: self.gpu.clone(),
        })))
    }

    fn tensors(&self, engine: &Owned) -> Result<Vec<Tensor>, GpuError> {
        let (slots, e) = (self.trt.0.slots, engine.inner());
        // SAFETY: VCudaEngine of NvInferImpl.h; names belong to the engine.
        unsafe {
            let count: unsafe extern "C" fn(Object) -> c_int = method(e, slots.engine_tensors);
            let name: unsafe extern "C" fn(Object, c_int) -> *const c_char = method(e, slots.engine_name);
            let mode: unsafe extern "C" fn(Object, *const c_char) -> c_int = method(e, slots.engine_mode);
            let kind: unsafe extern "C" fn(Object, *const c_char) -> c_int = method(e, slots.engine_type);
            let mut tensors = Vec::new();
            for i in 0..count(e) {
                let raw = name(e, i);
                if raw.is_null() {
                    return Err(self.trt.failed(format!("name tensor {i} of the plan")));
                }
                tensors.push(Tensor {
                    name: abi::text(raw),
                    // TensorIOMode: kINPUT is 1, kOUTPUT 2.
                    input: mode(e, raw) == 1,
                    data_type: DataType::new(kind(e, raw)),
                    shape: shape(&self.trt, e, slots.engine_shape, raw),
                });
            }
            Ok(tensors)
        }
    }
}

/// The shape of a named tensor, of an engine or a context.
///
/// # Safety
/// At `slot` of `object` must be `Dims getTensorShape(char const*) const`.
unsafe fn shape(trt: &TensorRt, object: Object, slot: usize, name: *const c_char) -> Vec<i64> {
    // SAFETY: Dims is larger than two registers, so both sides pass it by a hidden pointer (System V x86-64 3.2.3,
    // AAPCS64 6.9).
    unsafe {
        if trt.0.table == Table::V8 {
            let get: unsafe extern "C" fn(Object, *const c_char) -> Dims32 = method(object, slot);
            let dims = get(object, name);
            abi::sides(dims.count, dims.d.into_iter().map(i64::from))
        } else {
            let get: unsafe extern "C" fn(Object, *const c_char) -> Dims64 = method(object, slot);
            let dims = get(object, name);
            abi::sides(dims.count, dims.d.into_iter())
        }
    }
}

/// A loaded plan; clones are the same one.
#[derive(Clone)]
pub struct Engine(Arc<EngineInner>);

struct EngineInner {
    object: Owned,
    tensors: Vec<Tensor>,
    trt: TensorRt,
    gpu: Gpu,
}

// SAFETY: engines may be used from several threads (TensorRT developer guide, "Thread Safety").
unsafe impl Send for EngineInner {}
// SAFETY: as above.
unsafe impl Sync for EngineInner {}

impl Engine {
    /// Inputs and outputs.
    pub fn tensors(&self) -> &[Tensor] {
        &self.0.tensors
    }

    /// What runs it: one a thread.
    ///
    /// # Errors
    /// When the GPU's memory is full.
    pub fn context(&self) -> Result<Context, GpuError> {
        self.0.gpu.bind()?;
        let e = self.0.object.inner();
        self.0.trt.0.logger.take();
        // SAFETY: VCudaEngine of NvInferImpl.h; since 10 it takes ExecutionContextAllocationStrategy, kSTATIC is 0; 8
        // ignores what is in that register.
        let object = unsafe {
            let create: unsafe extern "C" fn(Object, c_int) -> Object =
                method(e, self.0.trt.0.slots.create_context);
            Owned::new(create(e, 0))
        };
        let object = object.ok_or_else(|| self.0.trt.failed("make an execution context"))?;
        Ok(Context {
            object,
            engine: self.clone(),
        })
    }
}

/// Runs an engine.
pub struct Context {
    /// Deleted before the engine, which is the last field.
    object: Owned,
    engine: Engine,
}

// SAFETY: a context may move between threads; it is used by one at a time, which `&mut` holds.
unsafe impl Send for Context {}

impl Context {
    /// Gives an input with open sides its shape.
    ///
    /// # Errors
    /// When there is no such input or the shape is outside of what the plan was built for.
    pub fn set_shape(&mut self, input: &str, shape: &[i64]) -> Result<(), GpuError> {
        let name = self.named(input)?;
        let (trt, c) = (&self.engine.0.trt, self.object.inner());
        // SAFETY: VExecutionContext of NvInferImpl.h; shapes by reference.
        let taken = unsafe {
            if trt.0.table == Table::V8 {
                let set: unsafe extern "C" fn(Object, *const c_char, *const Dims32) -> bool =
                    method(c, trt.0.slots.set_input_shape);
                set(c, name.as_ptr(), &dims32(shape)?)
            } else {
                let set: unsafe extern "C" fn(Object, *const c_char, *const Dims64) -> bool =
                    method(c, trt.0.slots.set_input_shape);
                set(c, name.as_ptr(), &dims64(shape)?)
            }
        };
        if taken {
            Ok(())
        } else {
            Err(trt.failed(format!("take {shape:?} for input {input}")))
        }
    }

    /// The shape of a tensor now; -1 where it is still open.
    ///
    /// # Errors
    /// When there is no such tensor.
    pub fn shape(&self, tensor: &str) -> Result<Vec<i64>, GpuError> {
        let name = self.named(tensor)?;
        let trt = &self.engine.0.trt;
        // SAFETY: VExecutionContext of NvInferImpl.h.
        Ok(unsafe { shape(trt, self.object.inner(), trt.0.slots.context_shape, name.as_ptr()) })
    }

    /// Queues one inference on `stream`, from and to `memory`, by name: every input and output of the engine.
    ///
    /// # Errors
    /// When one is missing, too small, of open shape or of an unknown type, or TensorRT fails.
    pub fn run(&mut self, stream: &Stream, memory: &[(&str, Slice<'_>)]) -> Result<(), GpuError> {
        self.engine.0.gpu.bind()?;
        let engine = self.engine.clone();
        for tensor in engine.tensors() {
            let Some((_, slice)) = memory.iter().find(|(name, _)| *name == tensor.name) else {
                return Err(GpuError::Argument(format!(
                    "no memory for tensor {}",
                    tensor.name
                )));
            };
            let shape = self.shape(&tensor.name)?;
            let need = shape
                .iter()
                .try_fold(tensor.data_type.bytes().unwrap_or(0), |bytes, side| {
                    bytes.checked_mul(usize::try_from(*side).ok()?)
                })
                .filter(|bytes| *bytes > 0);
            if need.is_none_or(|n| n > slice.len()) {
                return Err(GpuError::Argument(format!(
                    "tensor {} of shape {shape:?} and {:?} does not fit {} bytes: give every input its shape and enough memory",
                    tensor.name,
                    tensor.data_type,
                    slice.len()
                )));
            }
            self.bind(&tensor.name, *slice)?;
        }
        let (trt, c) = (&self.engine.0.trt, self.object.inner());
        // SAFETY: VExecutionContext of NvInferImpl.h; every tensor has memory of its size, freeing which waits for the
        // work; a CUstream is a cudaStream_t (CUDA runtime API, "Interactions with the CUDA Driver API").
        let queued = unsafe {
            let enqueue: unsafe extern "C" fn(Object, *mut c_void) -> bool = method(c, trt.0.slots.enqueue);
            enqueue(c, stream.raw())
        };
        if queued {
            Ok(())
        } else {
            Err(trt.failed("run the plan"))
        }
    }

    fn bind(&mut self, tensor: &str, slice: Slice<'_>) -> Result<(), GpuError> {
        let name = self.named(tensor)?;
        let (trt, c) = (&self.engine.0.trt, self.object.inner());
        // SAFETY: VExecutionContext of NvInferImpl.h; the name is copied or compared only.
        let taken = unsafe {
            let set: unsafe extern "C" fn(Object, *const c_char, *mut c_void) -> bool =
                method(c, trt.0.slots.set_address);
            set(c, name.as_ptr(), slice.address() as *mut c_void)
        };
        if taken {
            Ok(())
        } else {
            Err(trt.failed(format!("bind tensor {tensor}")))
        }
    }

    fn named(&self, tensor: &str) -> Result<CString, GpuError> {
        if !self.engine.tensors().iter().any(|t| t.name == tensor) {
            let known: Vec<_> = self.engine.tensors().iter().map(|t| t.name.as_str()).collect();
            return Err(GpuError::Argument(format!(
                "the plan has no tensor {tensor}; it has {}",
                known.join(", ")
            )));
        }
        CString::new(tensor).map_err(|e| GpuError::Argument(format!("tensor {tensor}: {e}")))
    }
}
