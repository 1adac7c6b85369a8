//! A Hugging Face model folder as the GGUF file that it would be converted to.
//!
//! [`convert`] takes the folder's small files and the descriptions of its tensors, and gives metadata
//! under GGUF's keys and, for each tensor of such a file, a [`Recipe`]: which ranges of which stored
//! tensors make it, and how. Nothing is read here and no weight is touched; who reads the weights
//! follows the recipes (`ingle-store`). So networks, vocabularies, templates and everything that
//! shows or writes models know one form.
//!
//! Keys, names and the order of rows are those of llama.cpp's converter, so that what is written
//! from them is a file for other programs too. Where that converter leaves something out that
//! changes answers, it is here: the attention scale of Gemma 2, the pattern of sliding windows, the
//! pooler of BERT's cross-encoders.

mod architecture;
mod error;
mod hparams;
mod json;
mod names;
mod recipe;
mod reranker;
mod rope;
mod tokenizer;

pub use error::HuggingFaceError;
pub use recipe::{Order, Part, Recipe};

use crate::gguf::{Metadata, Value};
use crate::safetensors::Tensor;
use architecture::{Architecture, Head};
use json::Json;

/// The small files of a folder, as bytes; all but `config` may be absent.
#[derive(Debug, Clone, Default)]
pub struct Texts {
    /// `config.json`
    pub config: Vec<u8>,
    /// `generation_config.json`
    pub generation_config: Option<Vec<u8>>,
    /// `tokenizer.json`
    pub tokenizer: Option<Vec<u8>>,
    /// `tokenizer_config.json`
    pub tokenizer_config: Option<Vec<u8>>,
    /// `special_tokens_map.json`
    pub special_tokens_map: Option<Vec<u8>>,
    /// `vocab.txt`, the vocabulary of BERT
    pub vocab: Option<Vec<u8>>,
    /// `tokenizer.model`, a vocabulary of SentencePiece
    pub sentencepiece: Option<Vec<u8>>,
    /// `chat_template.jinja`
    pub chat_template: Option<Vec<u8>>,
    /// `modules.json` of sentence-transformers
    pub modules: Option<Vec<u8>>,
    /// `config.json` of its pooling module
    pub pooling: Option<Vec<u8>>,
}

/// What a folder becomes.
#[derive(Debug)]
pub struct Converted {
    /// Under GGUF's keys.
    pub metadata: Metadata,
    /// One for each tensor that a GGUF file would have, under its name there.
    pub tensors: Vec<Recipe>,
}

/// Converts a folder of this name, whose files hold `tensors` (all files together).
///
/// # Errors
/// [`HuggingFaceError`] names the file and the entry: an architecture or a setting that is not
/// known, entries that are missing or contradict each other or the tensors, tensors that nothing
/// would use, and types of numbers that are not read.
pub fn convert(
    name: &str,
    texts: &Texts,
    tensors: &[Tensor],
) -> Result<Converted, HuggingFaceError> {
    let outer = Json::parse("config.json", &texts.config)?;
    let architecture = Architecture::of(&outer)?;
    let config = architecture.text_config(&outer)?;
    refuse_quantised(&outer)?;
    let mut pairs: Vec<(String, Value)> = vec![
        ("general.architecture".into(), architecture.gguf().into()),
        ("general.name".into(), name.into()),
        ("general.type".into(), "model".into()),
    ];
    let shape = hparams::Shape::read(&architecture, &config)?;
    let mut recipes = recipe::recipes(&architecture, &config, &shape, tensors)?;
    hparams::write(&architecture, &config, &shape, &mut pairs)?;
    let rope = rope::read(&architecture, &config, &shape)?;
    rope.write(architecture.gguf(), &mut pairs);
    recipes.extend(rope.tensors());
    if let Some(pooling) = pooling(&architecture, texts)? {
        pairs.push((
            format!("{}.pooling_type", architecture.gguf()),
            pooling.into(),
        ));
    }
    if architecture.head == Head::Classifier {
        let labels = labels(&outer);
        pairs.push((
            format!("{}.classifier.output_labels", architecture.gguf()),
            labels.into(),
        ));
    }
    pairs.push(("general.file_type".into(), file_type(&recipes).into()));
    let rows = recipe::vocabulary_rows(&recipes, &config)?;
    pairs.push((format!("{}.vocab_size", architecture.gguf()), rows.into()));
    pairs.extend(tokenizer::metadata(texts, &architecture, &config, rows)?);
    reranker::add(name, &architecture, &mut pairs, &mut recipes);
    let metadata = Metadata::from_pairs(pairs).map_err(|error| HuggingFaceError::Metadata {
        reason: error.to_string(),
    })?;
    Ok(Converted {
        metadata,
        tensors: recipes,
    })
}

/// Weights that another program has quantised are packed in that program's own way.
fn refuse_quantised(config: &Json) -> Result<(), HuggingFaceError> {
    let Some(quantised) = config.object("quantization_config")? else {
        return Ok(());
    };
    let method = quantised.str("quant_method")?.unwrap_or("unknown");
    Err(HuggingFaceError::Quantised {
        method: method.to_owned(),
    })
}

/// The number of the type that most bytes have, as `general.file_type` counts.
fn file_type(recipes: &[Recipe]) -> u32 {
    use crate::TensorType;
    let bytes = |ty| {
        let of_type = recipes.iter().filter(|recipe| recipe.info.ty == ty);
        of_type.fold(0_u64, |sum, recipe| {
            sum.saturating_add(recipe.info.byte_len)
        })
    };
    let types = [
        (TensorType::F32, 0),
        (TensorType::F16, 1),
        (TensorType::Bf16, 32),
    ];
    let most = types.into_iter().max_by_key(|&(ty, _)| bytes(ty));
    most.map_or(0, |(_, number)| number)
}

/// How rows become one vector, as GGUF numbers it: 1 mean, 2 the first, 3 the last, 4 a rank.
fn pooling(architecture: &Architecture, texts: &Texts) -> Result<Option<u32>, HuggingFaceError> {
    if architecture.head == Head::Classifier {
        return Ok(Some(4));
    }
    let Some(text) = &texts.pooling else {
        return Ok(None);
    };
    let pooling = Json::parse("1_Pooling/config.json", text)?;
    // Written by name since sentence-transformers 5, by switches before.
    if let Some(mode) = pooling.str("pooling_mode")? {
        let number = match mode {
            "mean" => 1,
            "cls" => 2,
            "lasttoken" => 3,
            _ => return Err(pooling.unsupported("pooling_mode", mode)),
        };
        return Ok(Some(number));
    }
    let switches = [
        ("pooling_mode_mean_tokens", Some(1)),
        ("pooling_mode_cls_token", Some(2)),
        ("pooling_mode_lasttoken", Some(3)),
        ("pooling_mode_max_tokens", None),
        ("pooling_mode_mean_sqrt_len_tokens", None),
        ("pooling_mode_weightedmean_tokens", None),
    ];
    let mut found = None;
    for (key, number) in switches {
        if pooling.bool(key)? != Some(true) {
            continue;
        }
        match (number, found) {
            (Some(number), None) => found = Some(number),
            _ => return Err(pooling.unsupported(key, "true")),
        }
    }
    Ok(found)
}

/// The names of the classes, in the order of their numbers.
fn labels(config: &Json) -> Vec<String> {
    let mut labels: Vec<(u64, String)> = config
        .entries("id2label")
        .filter_map(|(id, label)| Some((id.parse().ok()?, label.as_str()?.to_owned())))
        .collect();
    labels.sort_unstable();
    labels.into_iter().map(|(_, label)| label).collect()
}
