//! From an ONNX model to a plan.

use std::ffi::{CString, c_char, c_int, c_void};

use super::abi::{self, Dims32, Dims64, MAX_DIMS, Object, delete, inner, method};
use super::slots::Table;
use super::{Factory, TensorRt};
use crate::GpuError;
use crate::cuda::Gpu;

/// NV_ONNX_PARSER_VERSION, the same in every version.
const PARSER_VERSION: c_int = 100;
/// NetworkDefinitionCreationFlag::kEXPLICIT_BATCH as a bit; TensorRT 8 only.
const EXPLICIT_BATCH: u32 = 1;
/// BuilderFlag::kFP16 and kINT8 of 8 and 10; gone in 11.
const FP16: c_int = 0;
const INT8: c_int = 1;
/// MemoryPoolType::kWORKSPACE.
const WORKSPACE: c_int = 0;

/// Precision of the arithmetic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// What the model says. TensorRT 11 and RTX know no other: there the model's own types decide.
    #[default]
    Model,
    /// 16-bit floats where TensorRT finds them faster.
    Half,
    /// 8-bit integers as the model's Q/DQ nodes say, 16-bit floats elsewhere.
    Int8,
}

/// Sizes of an input with open sides.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    /// Name of the input.
    pub input: String,
    /// Smallest shape.
    pub min: Vec<i64>,
    /// The one to be fast at.
    pub best: Vec<i64>,
    /// Largest shape.
    pub max: Vec<i64>,
}

/// How to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOptions {
    /// Precision of the arithmetic.
    pub precision: Precision,
    /// Of each input with open sides.
    pub ranges: Vec<Range>,
    /// Bytes of scratch memory at most.
    pub workspace: usize,
    /// Of TensorRT-RTX without a GPU: compute capabilities to build for (75, 80, 86, 89, 120); empty: its defaults.
    pub capabilities: Vec<i32>,
}

impl Default for BuildOptions {
    fn default() -> BuildOptions {
        BuildOptions {
            precision: Precision::Model,
            ranges: Vec::new(),
            // Small detectors need a few megabytes; a Jetson Orin Nano has 8 GB for everything.
            workspace: 512 << 20,
            capabilities: Vec::new(),
        }
    }
}

/// A model made ready for one TensorRT and one kind of GPU.
#[derive(Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is stored and loaded.
    pub bytes: Vec<u8>,
    /// Layers of the model.
    pub layers: usize,
    /// Names and shapes of its inputs.
    pub inputs: Vec<(String, Vec<i64>)>,
}

/// An object that is deleted when this goes.
pub(super) struct Owned(pub(super) Object);

impl Owned {
    /// `None`, where TensorRT gave none.
    pub(super) fn new(object: Object) -> Option<Owned> {
        // Only made when it is one: making it promises to delete it.
        abi::plausible(object).then(|| Owned(object))
    }

    pub(super) fn inner(&self) -> Object {
        // SAFETY: alive, and only objects that have an `mImpl` are kept in this type.
        unsafe { inner(self.0) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: made by a factory, deleted here only.
        unsafe { delete(self.0) }
    }
}

impl TensorRt {
    /// Builds a plan of the model `onnx` for `gpu`; takes seconds to minutes and up to some gigabytes. To be called in a
    /// process of its own: the ONNX parser is left to that process's end.
    ///
    /// # Errors
    /// When the model cannot be parsed or built, with TensorRT's words; when `gpu` is `None` and this is not
    /// TensorRT-RTX, which alone builds without one.
    pub fn build(&self, gpu: Option<&Gpu>, onnx: &[u8], options: &BuildOptions) -> Result<Plan, GpuError> {
        let (Some(create_builder), Some(parser)) = (self.0.create_builder, &self.0.parser) else {
            return Err(self.failed("build plans: this library has no builder or no ONNX parser beside it"));
        };
        match gpu {
            Some(gpu) => {
                gpu.bind()?;
            }
            None if self.0.table == Table::Rtx => {}
            None => return Err(self.failed("build plans without a GPU: only TensorRT-RTX does")),
        }
        if options.precision != Precision::Model && matches!(self.0.table, Table::V11 | Table::Rtx) {
            return Err(self.failed(
                "choose a precision: since version 11 the model's own types decide; convert the model to 16-bit floats or Q/DQ",
            ));
        }
        // SAFETY: its type in every version's NvOnnxParser.h: network, logger, version.
        let create_parser: unsafe extern "C" fn(*mut c_void, *const c_void, c_int) -> Object =
            unsafe { parser.function("createNvOnnxParser_INTERNAL")? };
        self.0.logger.take();
        let builder = self.create(create_builder, "make a builder")?;
        let slots = self.0.slots;
        let b = builder.inner();
        let flags = if self.0.table == Table::V8 {
            EXPLICIT_BATCH
        } else {
            0
        };
        // SAFETY: the table was chosen by the library's version; arguments as in VBuilder of NvInferImpl.h.
        let (network, config) = unsafe {
            let create: unsafe extern "C" fn(Object, u32) -> Object = method(b, slots.create_network);
            let configure: unsafe extern "C" fn(Object) -> Object = method(b, slots.create_config);
            (Owned::new(create(b, flags)), Owned::new(configure(b)))
        };
        let network = network.ok_or_else(|| self.failed("make a network"))?;
        let config = config.ok_or_else(|| self.failed("make a configuration"))?;
        self.parse(create_parser, &network, onnx)?;
        self.configure(b, &config, options)?;
        let (layers, inputs) = self.describe(&network);
        // SAFETY: as above; network and config are passed by reference, which is by address.
        let memory = unsafe {
            let build: unsafe extern "C" fn(Object, Object, Object) -> Object = method(b, slots.build);
            Owned::new(build(b, network.0, config.0))
        };
        let memory = memory.ok_or_else(|| self.failed("build the model"))?;
        // SAFETY: IHostMemory of NvInferRuntimeCommon.h; its bytes live as long as it does.
        let bytes = unsafe {
            let m = memory.inner();
            let data: unsafe extern "C" fn(Object) -> *const u8 = method(m, slots.memory_data);
            let size: unsafe extern "C" fn(Object) -> usize = method(m, slots.memory_size);
            std::slice::from_raw_parts(data(m), size(m)).to_vec()
        };
        Ok(Plan {
            bytes,
            layers,
            inputs,
        })
    }

    /// An object of a factory.
    pub(super) fn create(&self, factory: Factory, what: &str) -> Result<Owned, GpuError> {
        let logger = std::ptr::from_ref(self.0.logger).cast();
        // SAFETY: the logger has the shape that this version expects and lives for good; the number is the library's own.
        let object = unsafe { factory(logger, self.0.number) };
        Owned::new(object).ok_or_else(|| self.failed(what))
    }

    fn parse(
        &self,
        create: unsafe extern "C" fn(*mut c_void, *const c_void, c_int) -> Object,
        network: &Owned,
        onnx: &[u8],
    ) -> Result<(), GpuError> {
        let slots = self.0.slots;
        let logger = std::ptr::from_ref(self.0.logger).cast();
        // SAFETY: the network is alive; as in createParser of NvOnnxParser.h. The parser owns weights that the network
        // refers to and is never deleted: where its destructor lies was not compared.
        let parser = unsafe { create(network.0, logger, PARSER_VERSION) };
        if !abi::plausible(parser) {
            return Err(self.failed("make an ONNX parser"));
        }
        // SAFETY: IParser of NvOnnxParser.h, on the object itself; the model lies in memory throughout.
        unsafe {
            let parse: unsafe extern "C" fn(Object, *const u8, usize, *const c_char) -> bool =
                method(parser, slots.parse);
            if parse(parser, onnx.as_ptr(), onnx.len(), std::ptr::null()) {
                return Ok(());
            }
            let count: unsafe extern "C" fn(Object) -> c_int = method(parser, slots.parser_errors);
            let get: unsafe extern "C" fn(Object, c_int) -> Object = method(parser, slots.parser_error);
            let mut says = Vec::new();
            for i in 0..count(parser).min(5) {
                let error = get(parser, i);
                if abi::plausible(error) {
                    let text: unsafe extern "C" fn(Object) -> *const c_char = method(error, slots.error_text);
                    says.push(abi::text(text(error)));
                }
            }
            let log = self.0.logger.take();
            says.push(log);
            Err(GpuError::TensorRt {
                what: "parse the model".to_owned(),
                log: says.join("; "),
            })
        }
    }

    fn configure(&self, builder: Object, config: &Owned, options: &BuildOptions) -> Result<(), GpuError> {
        let slots = self.0.slots;
        let c = config.inner();
        // SAFETY: VBuilderConfig and VBuilder of NvInferImpl.h.
        unsafe {
            let limit: unsafe extern "C" fn(Object, c_int, usize) = method(c, slots.set_memory);
            limit(c, WORKSPACE, options.workspace);
            let flag: unsafe extern "C" fn(Object, c_int) = method(c, slots.set_flag);
            match options.precision {
                Precision::Model => {}
                Precision::Half => flag(c, FP16),
                Precision::Int8 => {
                    flag(c, FP16);
                    flag(c, INT8);
                }
            }
            if self.0.table == Table::Rtx && !options.capabilities.is_empty() {
                let count: unsafe extern "C" fn(Object, i32) -> bool = method(c, slots.set_capabilities);
                let set: unsafe extern "C" fn(Object, i32, i32) -> bool = method(c, slots.set_capability);
                let mut taken = count(c, options.capabilities.len() as i32);
                for (i, capability) in options.capabilities.iter().enumerate() {
                    taken &= set(c, *capability, i as i32);
                }
                if !taken {
                    return Err(self.failed(format!(
                        "build for compute capabilities {:?}",
                        options.capabilities
                    )));
                }
            }
            if options.ranges.is_empty() {
                return Ok(());
            }
            let create: unsafe extern "C" fn(Object) -> Object = method(builder, slots.create_profile);
            let profile = create(builder);
            if !abi::plausible(profile) {
                return Err(self.failed("make an optimization profile"));
            }
            for range in &options.ranges {
                self.set_range(profile, range)?;
            }
            let add: unsafe extern "C" fn(Object, Object) -> c_int = method(c, slots.add_profile);
            if add(c, profile) < 0 {
                return Err(self.failed("take the sizes given for its inputs"));
            }
        }
        Ok(())
    }

    /// # Safety
    /// `profile` must be an optimization profile of this library's.
    unsafe fn set_range(&self, profile: Object, range: &Range) -> Result<(), GpuError> {
        let name = CString::new(range.input.as_str())
            .map_err(|e| GpuError::Argument(format!("input {}: {e}", range.input)))?;
        // OptProfileSelector: kMIN, kOPT, kMAX.
        for (which, shape) in [(0, &range.min), (1, &range.best), (2, &range.max)] {
            // SAFETY: VOptimizationProfile of NvInferImpl.h; shapes by reference.
            let taken = unsafe {
                let p = inner(profile);
                if self.0.table == Table::V8 {
                    let set: unsafe extern "C" fn(Object, *const c_char, c_int, *const Dims32) -> bool =
                        method(p, self.0.slots.profile_shape);
                    set(p, name.as_ptr(), which, &dims32(shape)?)
                } else {
                    let set: unsafe extern "C" fn(Object, *const c_char, c_int, *const Dims64) -> bool =
                        method(p, self.0.slots.profile_shape);
                    set(p, name.as_ptr(), which, &dims64(shape)?)
                }
            };
            if !taken {
                return Err(self.failed(format!("take {shape:?} for input {}", range.input)));
            }
        }
        Ok(())
    }

    fn describe(&self, network: &Owned) -> (usize, Vec<(String, Vec<i64>)>) {
        let (slots, n) = (self.0.slots, network.inner());
        // SAFETY: VNetworkDefinition and VTensor of NvInferImpl.h; tensors belong to the network.
        unsafe {
            let layers: unsafe extern "C" fn(Object) -> c_int = method(n, slots.network_layers);
            let count: unsafe extern "C" fn(Object) -> c_int = method(n, slots.network_inputs);
            let get: unsafe extern "C" fn(Object, c_int) -> Object = method(n, slots.network_input);
            let mut inputs = Vec::new();
            for i in 0..count(n) {
                let tensor = get(n, i);
                if !abi::plausible(tensor) {
                    continue;
                }
                let t = inner(tensor);
                let name: unsafe extern "C" fn(Object) -> *const c_char = method(t, slots.tensor_name);
                let shape = if self.0.table == Table::V8 {
                    let get: unsafe extern "C" fn(Object) -> Dims32 = method(t, slots.tensor_shape);
                    let dims = get(t);
                    abi::sides(dims.count, dims.d.into_iter().map(i64::from))
                } else {
                    let get: unsafe extern "C" fn(Object) -> Dims64 = method(t, slots.tensor_shape);
                    let dims = get(t);
                    abi::sides(dims.count, dims.d.into_iter())
                };
                inputs.push((abi::text(name(t)), shape));
            }
            (usize::try_from(layers(n)).unwrap_or(0), inputs)
        }
    }
}

fn check(shape: &[i64]) -> Result<i32, GpuError> {
    if shape.len() > MAX_DIMS {
        return Err(GpuError::Argument(format!(
            "{shape:?} has more than {MAX_DIMS} sides"
        )));
    }
    Ok(shape.len() as i32)
}

/// A shape for TensorRT 8.
pub(super) fn dims32(shape: &[i64]) -> Result<Dims32, GpuError> {
    let mut dims = Dims32 {
        count: check(shape)?,
        ..Dims32::default()
    };
    for (to, side) in dims.d.iter_mut().zip(shape) {
        *to = i32::try_from(*side)
            .map_err(|_| GpuError::Argument(format!("{shape:?} is too large a shape")))?;
    }
    Ok(dims)
}

/// A shape for TensorRT 10 and later.
pub(super) fn dims64(shape: &[i64]) -> Result<Dims64, GpuError> {
    let mut dims = Dims64 {
        count: check(shape)?,
        ..Dims64::default()
    };
    dims.d[..shape.len()].copy_from_slice(shape);
    Ok(dims)
}
