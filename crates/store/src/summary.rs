//! What a person wants to know of a model at a glance.

use std::collections::BTreeMap;

use ingle_formats::TensorType;
use ingle_formats::gguf::Metadata;
use ingle_tensor::WeightSource;

use crate::ModelFiles;

/// The facts of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// `general.name`, if the file has one.
    pub title: Option<String>,
    /// `general.architecture`, as `qwen3`; `unknown` where the file does not say.
    pub architecture: String,
    /// Elements of all tensors.
    pub parameters: u64,
    /// How the weights are stored: the name of the mixture where the file says (`Q4_K_M`), else the
    /// type that most bytes have; `none` where there are no tensors.
    pub quantisation: String,
    /// Bytes of all files.
    pub file_bytes: u64,
    /// How many files the model lies in.
    pub n_files: usize,
    /// The longest context that the model was trained for, in tokens, if the file says.
    pub context_length: Option<u64>,
}

impl ModelFiles {
    /// The model at a glance.
    pub fn summary(&self) -> Summary {
        let metadata = self.metadata();
        // A key of the wrong type is as good as none here; loading the model will name it.
        let text = |key: &str| metadata.str(key).ok().flatten().map(str::to_owned);
        let architecture = text("general.architecture").unwrap_or_else(|| "unknown".to_owned());
        let context_key = format!("{architecture}.context_length");
        Summary {
            title: text("general.name"),
            parameters: self.parameters(),
            quantisation: self.quantisation(metadata),
            file_bytes: self.file_bytes(),
            n_files: self.paths().count().max(1),
            context_length: metadata.u64(&context_key).ok().flatten(),
            architecture,
        }
    }

    fn quantisation(&self, metadata: &Metadata) -> String {
        let mut bytes: BTreeMap<TensorType, u64> = BTreeMap::new();
        for tensor in self.tensors() {
            let sum = bytes.entry(tensor.ty).or_default();
            *sum = sum.saturating_add(tensor.byte_len);
        }
        let Some((most, _)) = bytes.into_iter().max_by_key(|&(_, bytes)| bytes) else {
            return "none".to_owned();
        };
        let number = metadata.u32("general.file_type").ok().flatten();
        number.and_then(mixture).unwrap_or(most.name()).to_owned()
    }
}

/// The name of a `general.file_type`: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>
/// and, for the newer ones, the `llama_ftype` of llama.cpp.
fn mixture(file_type: u32) -> Option<&'static str> {
    Some(match file_type {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4",
        _ => return None,
    })
}
