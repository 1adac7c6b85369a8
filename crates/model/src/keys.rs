//! Metadata of one architecture, with the tensors' shapes.

use crate::ModelError;
use ingle_formats::gguf::{Metadata, Value};
use ingle_tensor::WeightSource;
use ingle_tensor::ops::LoadError;

/// Looks keys up under the architecture's name: `block_count` is `llama.block_count`.
pub(crate) struct Keys<'a> {
    arch: &'a str,
    metadata: &'a Metadata,
    /// Where the tensors lie.
    pub source: &'a dyn WeightSource,
    /// Positions of the longest sequence that the network will be asked for.
    pub context: u32,
}

impl<'a> Keys<'a> {
    pub fn new(
        metadata: &'a Metadata,
        source: &'a dyn WeightSource,
        context: u32,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            arch: metadata.require_str("general.architecture")?,
            metadata,
            source,
            context,
        })
    }

    /// `general.architecture`.
    pub fn arch(&self) -> &'a str {
        self.arch
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.arch)
    }

    pub fn u32(&self, key: &str) -> Result<Option<u32>, ModelError> {
        Ok(self.metadata.u32(&self.key(key))?)
    }

    pub fn require_u32(&self, key: &str) -> Result<u32, ModelError> {
        Ok(self.metadata.require_u32(&self.key(key))?)
    }

    pub fn f32(&self, key: &str) -> Result<Option<f32>, ModelError> {
        Ok(self.metadata.f32(&self.key(key))?)
    }

    pub fn require_f32(&self, key: &str) -> Result<f32, ModelError> {
        Ok(self.metadata.require_f32(&self.key(key))?)
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>, ModelError> {
        Ok(self.metadata.bool(&self.key(key))?)
    }

    pub fn bools(&self, key: &str) -> Result<Option<&'a [bool]>, ModelError> {
        Ok(self.metadata.bools(&self.key(key))?)
    }

    /// Whether the key is there and holds one number.
    pub fn is_number(&self, key: &str) -> bool {
        let value = self.metadata.get(&self.key(key));
        !matches!(value, None | Some(Value::Array(_)))
    }

    pub fn str(&self, key: &str) -> Result<Option<&'a str>, ModelError> {
        Ok(self.metadata.str(&self.key(key))?)
    }

    /// A count from 1 to `most`.
    pub fn count(&self, key: &str, most: usize) -> Result<usize, ModelError> {
        self.metadata.require_u32(&self.key(key))?;
        self.optional_count(key, most)
            .map(Option::unwrap_or_default)
    }

    /// A count from 1 to `most`, if it is there.
    pub fn optional_count(&self, key: &str, most: usize) -> Result<Option<usize>, ModelError> {
        match self.u32(key)? {
            Some(n) if n == 0 || n as usize > most => {
                Err(self.bad_value(key, n, "it must be at least 1 and of a believable size"))
            }
            n => Ok(n.map(|n| n as usize)),
        }
    }

    /// A count that the file may give for each layer; all must be the same.
    pub fn same_in_every_layer(
        &self,
        key: &str,
        n_layers: usize,
        absent: Option<usize>,
    ) -> Result<usize, ModelError> {
        let full = self.key(key);
        let Some(values) = self.metadata.u32_per_layer(&full, n_layers)? else {
            return match absent {
                Some(n) => Ok(n),
                None => self.count(key, 1), // an error: the key is absent
            };
        };
        let first = values.first().copied().unwrap_or(0);
        if values.iter().any(|&v| v != first) {
            return Err(self.unsupported(
                key,
                format!("{values:?}"),
                "layers of different shapes are not supported",
            ));
        }
        if first == 0 || first > 1 << 20 {
            return Err(self.bad_value(
                key,
                first,
                "it must be at least 1 and of a believable size",
            ));
        }
        Ok(first as usize)
    }

    /// The shape of a tensor that must be there, columns first.
    pub fn shape(&self, name: &str) -> Result<&'a [u64], ModelError> {
        match self.source.tensor(name) {
            Some(info) => Ok(&info.shape),
            None => Err(LoadError::Missing(name.to_owned()).into()),
        }
    }

    /// The error that a value makes no sense.
    pub fn bad_value(&self, key: &str, value: impl ToString, rule: &'static str) -> ModelError {
        ModelError::Value {
            key: self.key(key),
            value: value.to_string(),
            rule,
        }
    }

    /// The error that a value asks for something not done here.
    pub fn unsupported(&self, key: &str, value: impl ToString, what: &'static str) -> ModelError {
        ModelError::Unsupported {
            key: self.key(key),
            value: value.to_string(),
            what,
        }
    }

    /// What a person should know: keys of this architecture that nothing here reads.
    pub fn warnings(&self) -> Vec<String> {
        let prefix = self.key("");
        let unknown = |(key, value): (&str, &Value)| {
            let short = key.strip_prefix(&prefix)?;
            (!KNOWN.contains(&short)).then(|| {
                format!(
                    "the file has `{}` ({}), which this version does not know and does not use; answers may differ from the model's",
                    key.escape_debug(),
                    value.kind()
                )
            })
        };
        self.metadata.iter().filter_map(unknown).take(16).collect()
    }
}

/// Keys that a network reads or refuses, and those that change nothing it computes.
const KNOWN: &[&str] = &[
    "attention.causal",
    "attention.clamp_kqv",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.max_alibi_bias",
    "attention.output_scale",
    "attention.scale",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "attention.temperature_scale",
    "attention.value_length",
    "attn_logit_softcapping",
    "block_count",
    "classifier.output_labels",
    "context_length",
    "embedding_length",
    "embedding_scale",
    "expert_count",
    "expert_feed_forward_length",
    "expert_gating_func",
    "expert_used_count",
    "expert_weights_norm",
    "expert_weights_scale",
    "feed_forward_length",
    "final_logit_softcapping",
    "logit_scale",
    "pooling_type",
    "residual_scale",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.local.freq_base",
    "rope.scale_linear",
    "rope.scaling.attn_factor",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "rope.scaling.yarn_attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
    "rope.scaling.yarn_ext_factor",
    "rope.scaling.yarn_log_multiplier",
    "tensor_data_layout",
    "vocab_size",
];
