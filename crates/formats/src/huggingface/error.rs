//! What can be wrong with a Hugging Face folder.

use crate::safetensors::Dtype;

/// Why a folder cannot be used. Every message names the file or the tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are what the messages print")]
pub enum HuggingFaceError {
    #[error("{file} is not JSON that can be read: {reason}; get the file again")]
    Json { file: &'static str, reason: String },
    #[error(
        "{file} has no `{key}`; get the file again, or convert the model with a current program"
    )]
    MissingKey { file: &'static str, key: String },
    #[error("`{key}` in {file} is {found}, and {wanted} is needed; get the file again")]
    WrongType {
        file: &'static str,
        key: String,
        found: String,
        wanted: &'static str,
    },
    #[error("`{key}` in {file} is {value}, {rule}; get the file again")]
    Value {
        file: &'static str,
        key: String,
        value: String,
        rule: String,
    },
    #[error(
        "`{key}` in {file} is {}, which is not supported; choose another model",
        value.escape_debug()
    )]
    Unsupported {
        file: &'static str,
        key: String,
        value: String,
    },
    #[error(
        "config.json names the architecture `{}`, which is not known; known are {known}",
        found.escape_debug()
    )]
    Architecture { found: String, known: String },
    #[error(
        "these weights were quantised by `{}`, which is not read; get the model in BF16 or F16, or as a .gguf file",
        method.escape_debug()
    )]
    Quantised { method: String },
    #[error("there is no tensor `{name}`; the model is incomplete: get all its files")]
    MissingTensor { name: String },
    #[error(
        "{count} tensors would not be used ({some}), so this is not the model that config.json describes; get the folder again"
    )]
    UnknownTensors { count: usize, some: String },
    #[error(
        "tensor `{}` is stored as {dtype}, and F32, F16 and BF16 are read; get the model in one of these, or as a .gguf file",
        name.escape_debug()
    )]
    Dtype { name: String, dtype: Dtype },
    #[error(
        "tensor `{}` has the shape {shape:?}, {rule}; config.json and the weights do not belong together: get both again",
        name.escape_debug()
    )]
    Shape {
        name: String,
        shape: Vec<u64>,
        rule: String,
    },
    #[error("`{first}` and `{second}` would both become `{name}`; get the folder again")]
    SameTensor {
        name: String,
        first: String,
        second: String,
    },
    #[error("tokenizer.json: {what}; {remedy}")]
    Tokenizer { what: String, remedy: &'static str },
    #[error("{file}: {what}; get the file again")]
    Vocabulary { file: &'static str, what: String },
    #[error(
        "the folder has no vocabulary; put tokenizer.json, tokenizer.model or vocab.txt beside config.json"
    )]
    NoVocabulary,
    #[error("the folder's entries contradict each other: {reason}")]
    Metadata { reason: String },
}
