//! rten: pure Rust, no library to install, agrees with onnxruntime to 1e-5 (docs/decisions/0003-rten.md).

use std::sync::Arc;

use rten::{Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensorView, Tensor};

use super::decode::Output;
use super::engine::Engine;

/// A model in rten.
pub(super) struct RtenEngine {
    model: Model,
    outputs: Vec<NodeId>,
    pool: Arc<ThreadPool>,
}

impl RtenEngine {
    /// Loads a model from the bytes of its file.
    pub(super) fn load(data: Vec<u8>, threads: usize) -> Result<RtenEngine, String> {
        let model = ModelOptions::with_all_ops()
            .prepack_weights(true)
            .load(data)
            .map_err(|e| e.to_string())?;
        Ok(RtenEngine {
            outputs: model.output_ids().to_vec(),
            pool: Arc::new(ThreadPool::with_num_threads(threads)),
            model,
        })
    }
}

impl Engine for RtenEngine {
    fn inputs(&self) -> Vec<Vec<Option<usize>>> {
        let side = |d: &Dimension| match d {
            Dimension::Fixed(n) => Some(*n),
            Dimension::Symbolic(_) => None,
        };
        let shape = |&id: &NodeId| {
            self.model
                .node_info(id)
                .and_then(|n| n.shape())
                .unwrap_or_default()
        };
        let ids = self.model.input_ids().iter();
        ids.map(|id| shape(id).iter().map(side).collect()).collect()
    }

    fn run(
        &mut self,
        input: usize,
        shape: [usize; 4],
        tensor: &[f32],
        read: &mut dyn FnMut(&[Output<'_>]) -> Result<(), String>,
    ) -> Result<(), String> {
        let view = NdTensorView::from_data(shape, tensor);
        let options = RunOptions::default().with_thread_pool(Some(self.pool.clone()));
        let id = self.model.input_ids()[input];
        let values = self
            .model
            .run(vec![(id, view.into())], &self.outputs, Some(options))
            .map_err(|e| e.to_string())?;
        let tensors = values
            .into_iter()
            .map(|v| v.into_tensor::<f32>().ok_or("an output is not of 32-bit floats"))
            .collect::<Result<Vec<Tensor<f32>>, _>>()?;
        // Borrowed where it lies in order; copied where the last operator was a transposition.
        let data: Vec<_> = tensors.iter().map(|t| t.to_contiguous()).collect();
        let outputs: Vec<_> = tensors
            .iter()
            .zip(&data)
            .map(|(tensor, data)| Output {
                shape: tensor.shape(),
                data: data.data(),
            })
            .collect();
        read(&outputs)
    }
}
