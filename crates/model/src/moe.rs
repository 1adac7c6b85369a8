//! Mixtures of experts: what several networks read and load in the same way.

use crate::ModelError;
use crate::keys::Keys;
use crate::loader::Loader;
use ingle_tensor::ops::{ExpertWorkload, Ops, Routing};

/// The shape of a layer's experts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mixture {
    /// Experts of a layer.
    pub n_experts: usize,
    /// Hidden width of an expert.
    pub ffn: usize,
    /// Width of what goes in and comes out.
    pub width: usize,
    /// How rows find their experts.
    pub routing: Routing,
}

impl Mixture {
    /// Reads and checks the metadata. `absent` gives an expert's hidden width from the dense one
    /// and the experts per row, where the file does not say it.
    pub fn read(
        keys: &Keys<'_>,
        width: usize,
        absent: fn(usize, usize) -> usize,
    ) -> Result<Self, ModelError> {
        let n_experts = keys.count("expert_count", 1 << 16)?;
        let top_k = keys.count("expert_used_count", n_experts)?;
        let ffn = match keys.optional_count("expert_feed_forward_length", 1 << 20)? {
            Some(ffn) => ffn,
            None => absent(keys.count("feed_forward_length", 1 << 20)?, top_k),
        };
        // 1 is softmax, the only one that these architectures were trained with.
        if let Some(gating) = keys.u32("expert_gating_func")?.filter(|&f| f > 1) {
            return Err(keys.unsupported(
                "expert_gating_func",
                gating,
                "only routing by softmax is supported",
            ));
        }
        if let Some(scale) = keys.f32("expert_weights_scale")?
            && scale != 0.0
            && scale != 1.0
        {
            return Err(keys.unsupported(
                "expert_weights_scale",
                scale,
                "scaled expert weights are not supported",
            ));
        }
        let routing = Routing {
            top_k,
            // Converters leave it out: every published model of these architectures does it.
            renormalise: keys.bool("expert_weights_norm")?.unwrap_or(true),
        };
        Ok(Self {
            n_experts,
            ffn,
            width,
            routing,
        })
    }

    /// What the operations need for it.
    pub fn workload(&self) -> ExpertWorkload {
        ExpertWorkload {
            n_experts: self.n_experts,
            top_k: self.routing.top_k,
            ffn: self.ffn,
            width: self.width,
        }
    }

    /// The router and the experts of the layer whose tensors begin with `b`.
    pub fn load<O: Ops>(
        &self,
        loader: &mut Loader<'_, O>,
        b: &str,
    ) -> Result<(O::Matrix, O::Experts), ModelError> {
        let (n, ffn, width) = (self.n_experts, self.ffn, self.width);
        let router = loader.matrix(&format!("{b}.ffn_gate_inp.weight"), n, width)?;
        Ok((router, loader.experts(b, n, ffn, width)?))
    }
}
