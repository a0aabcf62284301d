//! rten: pure Rust, no library to install, agrees with onnxruntime to 1e-5 (docs/decisions/0003-rten.md).

use std::sync::Arc;

use rten::{Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::{Tensor, TensorView};

use super::decode::Output;
use super::engine::{Engine, Feed, Read};

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

    fn names(&self, ids: &[NodeId]) -> Vec<String> {
        let name = |id: &NodeId| {
            self.model
                .node_info(*id)
                .and_then(|n| n.name().map(str::to_owned))
        };
        ids.iter().map(|id| name(id).unwrap_or_default()).collect()
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

    fn input_names(&self) -> Vec<String> {
        self.names(self.model.input_ids())
    }

    fn output_names(&self) -> Vec<String> {
        self.names(&self.outputs)
    }

    fn run_all(&mut self, feeds: &[Feed<'_>], read: &mut Read<'_>) -> Result<(), String> {
        let mut inputs = Vec::new();
        for feed in feeds {
            let view = TensorView::try_from_data(feed.shape, feed.data)
                .map_err(|e| format!("a tensor is not of its shape {:?}: {e}", feed.shape))?;
            inputs.push((self.model.input_ids()[feed.input], view.into()));
        }
        let options = RunOptions::default().with_thread_pool(Some(self.pool.clone()));
        let values = self
            .model
            .run(inputs, &self.outputs, Some(options))
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
