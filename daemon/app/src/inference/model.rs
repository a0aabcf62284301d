//! A model on the GPU: from a picture to boxes by CUDA and TensorRT. Everything here may hang or fail: it is called by a
//! worker thread or in a process of its own only.

use std::collections::HashMap;

use synoptic_base::{BBox, Detection, PixelFormat, Size, Surface};
use synoptic_gpu::cuda::{Buffer, Cuda, Gpu, Slice, Stream};
use synoptic_gpu::detect::{Decoder, Decoding, DetectBox, Family};
use synoptic_gpu::nvrtc::Nvrtc;
use synoptic_gpu::picture::{Layout, PictureMemory};
use synoptic_gpu::plans::{PlanKey, PlanStore};
use synoptic_gpu::preprocess::{self, Fit, preprocess};
use synoptic_gpu::trt::{BuildOptions, Context, DataType, Engine, TensorRt};
use synoptic_gpu::{GpuError, Kernels};
use synoptic_vision::PictureBuf;
use synoptic_vision::fetch::check_bytes;
use synoptic_vision::manifest::{self, DecoderKind, ModelManifest, Order};
use synoptic_vision::onnx::reference::{self, RawOutput};

use super::{EngineRoom, Fault, ModelSpec, golden, precision_name, trial};

/// Sizes of pictures whose memory is kept: cameras of one detector rarely have more.
const MAX_SIZES: usize = 16;

/// Driver, GPU and TensorRT, open, and where a model's plan belongs.
pub struct Opened {
    /// The GPU.
    pub gpu: Gpu,
    /// TensorRT.
    pub trt: TensorRt,
    /// The model's file.
    pub onnx: Vec<u8>,
    /// How its plan is built.
    pub options: BuildOptions,
    /// The plan's name.
    pub key: PlanKey,
    /// Where plans are.
    pub store: PlanStore,
}

/// Opens the GPU and TensorRT for a model.
///
/// # Errors
/// [`Fault::Absent`] when they are not there, [`Fault::Model`] when the model's file is not.
pub fn open(room: &EngineRoom, spec: &ModelSpec) -> Result<Opened, Fault> {
    let libraries = &room.libraries;
    let cuda = match &libraries.cuda {
        Some(path) => Cuda::load_file(path),
        None => Cuda::load(),
    };
    let gpu = cuda.and_then(|c| c.open(spec.device)).map_err(Fault::Absent)?;
    let trt = match &libraries.tensorrt {
        Some(path) => TensorRt::load_file(path),
        None => TensorRt::load(),
    };
    let trt = trt.map_err(Fault::Absent)?;
    let path = &spec.onnx;
    let onnx =
        std::fs::read(path).map_err(|e| Fault::Model(format!("cannot read {}: {e}", path.display())))?;
    check_bytes(path, &spec.manifest, &onnx).map_err(|e| Fault::Model(e.to_string()))?;
    let options = BuildOptions {
        precision: spec.precision,
        ..BuildOptions::default()
    };
    let key = PlanKey::new(&spec.manifest.name, &onnx, trt.version(), gpu.info(), &options);
    Ok(Opened {
        gpu,
        trt,
        onnx,
        options,
        key,
        store: PlanStore::new(&room.folder),
    })
}

/// A plan, loaded and tested.
pub struct GpuModel {
    manifest: ModelManifest,
    input: preprocess::Input,
    kernels: Kernels,
    stream: Stream,
    gpu: Gpu,
    /// Memory of each tensor, by name, in the engine's order.
    memory: Vec<(String, Buffer)>,
    /// Number of the picture's tensor in `memory`, and of the outputs in the decoder's order.
    picture: usize,
    outputs: Vec<usize>,
    decoder: Decoder,
    context: Context,
    pictures: HashMap<(Size, PixelFormat), PictureMemory>,
    /// `TensorRT 10.3.0, fp16, on Orin`.
    description: String,
}

impl GpuModel {
    /// Loads the plan of a model and holds it to the CPU. Without `even_if_suspect` a plan that processes died of is
    /// refused.
    ///
    /// # Errors
    /// [`Fault::NoPlan`] when one is to be built: there is none, or it was refused and is removed.
    pub fn load(room: &EngineRoom, spec: &ModelSpec, even_if_suspect: bool) -> Result<GpuModel, Fault> {
        let opened = open(room, spec)?;
        let key = &opened.key;
        let Some(plan) = opened.store.read(key).map_err(Fault::Failed)? else {
            return Err(Fault::NoPlan(format!("{key} was never built here")));
        };
        let _trial = trial::begin(&room.folder, &key.to_string(), even_if_suspect)?;
        let mut runtime = opened.trt.runtime(&opened.gpu).map_err(Fault::Failed)?;
        let engine = match runtime.engine(&plan) {
            Ok(engine) => engine,
            Err(refused) => {
                // Another driver, a damaged file: it is of no use to anybody.
                opened.store.remove(key).map_err(Fault::Failed)?;
                return Err(Fault::NoPlan(format!(
                    "{key} was refused and is removed: {refused}"
                )));
            }
        };
        let mut model = GpuModel::new(room, spec, &opened, &engine)?;
        model.test(spec)?;
        Ok(model)
    }

    fn new(room: &EngineRoom, spec: &ModelSpec, opened: &Opened, engine: &Engine) -> Result<GpuModel, Fault> {
        let manifest = spec.manifest.clone();
        let wanted = [1, 3, manifest.input.height as i64, manifest.input.width as i64];
        if let Some(odd) = engine
            .tensors()
            .iter()
            .find(|t| t.data_type != DataType::Float || t.shape.iter().any(|s| *s <= 0))
        {
            return Err(Fault::Model(format!(
                "tensor {} is {:?} {:?}: export the model with fixed sizes, and inputs and outputs of 32-bit floats",
                odd.name, odd.data_type, odd.shape
            )));
        }
        let picture = engine.tensors().iter().position(|t| t.input && t.shape == wanted);
        let picture = picture.ok_or_else(|| {
            Fault::Model(format!(
                "no input of {wanted:?} among {:?}: check `input` of the manifest",
                engine.tensors()
            ))
        })?;
        let gpu = &opened.gpu;
        let load = || -> Result<GpuModel, GpuError> {
            let stream = Stream::new(gpu)?;
            let kernels = match &room.libraries.nvrtc {
                Some(path) => Kernels::compile_with(gpu, &Nvrtc::load_file(path)?, Some(&room.folder))?,
                None => Kernels::compile(gpu, Some(&room.folder))?,
            };
            let mut memory = Vec::new();
            for tensor in engine.tensors() {
                let bytes = 4 * tensor.shape.iter().product::<i64>() as usize;
                memory.push((tensor.name.clone(), Buffer::new(gpu, bytes)?));
            }
            let shapes: Vec<Vec<usize>> = engine
                .tensors()
                .iter()
                .map(|t| t.shape.iter().map(|s| *s as usize).collect())
                .collect();
            let outputs = (0..shapes.len())
                .filter(|i| !engine.tensors()[*i].input)
                .collect();
            let outputs = golden::in_order(&manifest, outputs, |i| shapes[*i].clone());
            let decoding = Decoding {
                family: match manifest.decoder {
                    DecoderKind::FastestDet => Family::FastestDet,
                    DecoderKind::Yolox => Family::Yolox,
                    DecoderKind::NanoDet => Family::NanoDet,
                },
                width: manifest.input.width as u32,
                height: manifest.input.height as u32,
                keep: spec.keep.clone(),
                threshold: spec.threshold,
                nms_iou: manifest.nms_iou,
            };
            Ok(GpuModel {
                input: device_input(&manifest.input),
                decoder: Decoder::new(gpu, &stream, decoding, 1)?,
                context: engine.context()?,
                gpu: gpu.clone(),
                kernels,
                stream,
                memory,
                picture,
                outputs,
                pictures: HashMap::new(),
                description: format!(
                    "{}, {}, on {}",
                    opened.trt.version(),
                    precision_name(spec.precision),
                    gpu.info().name
                ),
                manifest,
            })
        };
        load().map_err(Fault::Failed)
    }

    /// What runs the model, for people.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Holds the plan to the CPU on a generated picture.
    fn test(&mut self, spec: &ModelSpec) -> Result<(), Fault> {
        let picture = golden::picture();
        let tensor = reference::tensor(&picture, &self.manifest.input)
            .map_err(|e| Fault::Model(format!("the self-test's picture: {e}")))?;
        let want = reference::infer(&spec.onnx, &self.manifest, &tensor)
            .map_err(|e| Fault::Model(format!("no golden answer from the CPU: {e}")))?;
        let want = golden::in_order(&self.manifest, want, |o| o.0.clone());
        let have = self.raw(&picture).map_err(Fault::Failed)?;
        let have: Vec<RawOutput> = have
            .into_iter()
            .zip(&want)
            .map(|(data, (shape, _))| (shape.clone(), data))
            .collect();
        let apart = golden::compare(&have, &want, spec.precision).map_err(Fault::Wrong)?;
        log::info!(
            "{}: {}: self-test passed, {:.3} % from the CPU",
            self.manifest.name,
            self.description,
            apart * 100.0
        );
        Ok(())
    }

    /// The outputs for a picture, in the decoder's order.
    fn raw(&mut self, picture: &PictureBuf) -> Result<Vec<Vec<f32>>, GpuError> {
        self.queue(picture)?;
        let mut outputs = Vec::new();
        for i in &self.outputs {
            let memory = &self.memory[*i].1;
            let mut bytes = vec![0; memory.len()];
            self.stream.download(&mut bytes, memory.slice())?;
            let float = |b: &[u8]| <[u8; 4]>::try_from(b).map_or(f32::NAN, f32::from_ne_bytes);
            outputs.push(bytes.chunks_exact(4).map(float).collect());
        }
        Ok(outputs)
    }

    /// What is in a picture.
    ///
    /// # Errors
    /// When the GPU or TensorRT fails.
    pub fn look(&mut self, picture: &PictureBuf) -> Result<Vec<Detection>, GpuError> {
        self.queue(picture)?;
        let outputs: Vec<Slice<'_>> = self.outputs.iter().map(|i| self.memory[*i].1.slice()).collect();
        self.decoder.queue(&self.kernels, &self.stream, &outputs, 1)?;
        let found = self.decoder.take(&self.stream, 1)?;
        let place = reference::placement(&self.manifest.input, picture.size());
        let detections = found.into_iter().flatten().map(|b| self.detection(&b, place));
        Ok(detections.filter(|d| d.bbox.area() > 0.0).collect())
    }

    /// Queues everything up to the outputs.
    fn queue(&mut self, picture: &PictureBuf) -> Result<(), GpuError> {
        let (size, format) = (picture.size(), picture.format());
        if !self.pictures.contains_key(&(size, format)) {
            if self.pictures.len() == MAX_SIZES {
                self.pictures.clear();
            }
            let layout = match format {
                PixelFormat::Nv12 => Layout::Nv12,
                PixelFormat::I420 => Layout::I420,
            };
            let memory = PictureMemory::new(&self.gpu, size, layout)?;
            self.pictures.insert((size, format), memory);
        }
        let source = &self.pictures[&(size, format)];
        source.upload(&self.stream, &picture.planes())?;
        let [left, top, width, height] = reference::placement(&self.manifest.input, size).map(|v| v as u32);
        let fit = Fit {
            left,
            top,
            width,
            height,
        };
        let tensor = self.memory[self.picture].1.slice();
        preprocess(
            &self.kernels,
            &self.stream,
            &[(source.picture()?, fit)],
            &self.input,
            tensor,
        )?;
        let bound: Vec<(&str, Slice<'_>)> =
            self.memory.iter().map(|(n, m)| (n.as_str(), m.slice())).collect();
        self.context.run(&self.stream, &bound)
    }

    fn detection(&self, found: &DetectBox, [left, top, width, height]: [usize; 4]) -> Detection {
        let x = |v: f32| (v - left as f32) / width as f32;
        let y = |v: f32| (v - top as f32) / height as f32;
        let [l, t, r, b] = found.edges;
        Detection {
            bbox: BBox::from_edges(x(l), y(t), x(r), y(b)).clamped(),
            // `keep`, by which the decoder counts classes, has one entry a label.
            label: self.manifest.labels[found.class as usize].clone(),
            score: found.score,
        }
    }
}

/// The kernel's way of saying a manifest's input.
fn device_input(input: &manifest::Input) -> preprocess::Input {
    preprocess::Input {
        width: input.width as u32,
        height: input.height as u32,
        blue_first: input.order == Order::Bgr,
        pad: input.pad,
        scale: input.scale,
        mean: input.mean,
        std: input.std,
    }
}
