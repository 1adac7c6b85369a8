//! Which ranges of which stored tensors make each tensor of the GGUF file, and how.

use std::collections::BTreeMap;

use super::HuggingFaceError;
use super::architecture::{Architecture, Family, Head};
use super::hparams::Shape;
use super::json::Json;
use super::names::{Target, target};
use crate::TensorType;
use crate::gguf::TensorInfo;
use crate::safetensors::{Dtype, Tensor};

/// More experts than any model has in a layer.
const MAX_EXPERTS: u32 = 1 << 16;

/// More tokens than any vocabulary has.
const MAX_ROWS: u64 = 1 << 22;

/// A tensor of the GGUF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// Its name, shape and type; the offset means nothing.
    pub info: TensorInfo,
    /// What it is made of, end to end.
    pub parts: Vec<Part>,
}

/// A piece of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Elements of a stored tensor.
    Stored {
        /// Index into the list of stored tensors.
        tensor: usize,
        /// How its elements are stored; where it is not the type of the whole, they are converted.
        ty: TensorType,
        /// The first element.
        first: u64,
        /// How many elements; at least 1.
        elements: u64,
        /// In which order rows come.
        order: Order,
        /// Whether 1 is added to each element, in 32 bits.
        add_one: bool,
    },
    /// These bytes.
    Made(Vec<u8>),
}

/// The order of rows against that in which they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The same.
    Same,
    /// Within each head, the rows of its second half between those of its first: row `2i` is row
    /// `i`, and row `2i + 1` is row `head / 2 + i`. Queries and keys, whose elements are then turned
    /// in neighbouring pairs instead of halves.
    Interleaved {
        /// Elements of a row.
        row: u64,
        /// Rows of a head; even.
        head: u64,
    },
}

impl Recipe {
    /// A vector that no file holds.
    pub(super) fn made(name: &str, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let len = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Self {
            info: TensorInfo {
                name: name.to_owned(),
                shape: vec![len(values.len())],
                ty: TensorType::F32,
                offset: 0,
                byte_len: len(bytes.len()),
            },
            parts: vec![Part::Made(bytes)],
        }
    }
}

/// The recipes of all tensors that the files hold.
pub(super) fn recipes(
    architecture: &Architecture,
    config: &Json,
    shape: &Shape,
    tensors: &[Tensor],
) -> Result<Vec<Recipe>, HuggingFaceError> {
    let tied = config.bool("tie_word_embeddings")?;
    let kitchen = Kitchen {
        architecture,
        shape,
        tied: tied.unwrap_or(architecture.norms_are_less_one()),
    };
    let mut made: Vec<Recipe> = Vec::new();
    let mut sources: BTreeMap<String, &str> = BTreeMap::new();
    let mut stacks: BTreeMap<String, BTreeMap<u32, usize>> = BTreeMap::new();
    let mut unknown: Vec<&str> = Vec::new();
    for (index, tensor) in tensors.iter().enumerate() {
        let recipes = match target(architecture, &tensor.name) {
            None => {
                unknown.push(&tensor.name);
                continue;
            }
            Some(Target::Left) => continue,
            Some(Target::Whole(name)) if name == "output.weight" && kitchen.tied => continue,
            Some(Target::Whole(name)) => vec![kitchen.whole(name, index, tensor)?],
            Some(Target::GateUp(gate, up)) => kitchen.gate_and_up([gate, up], index, tensor)?,
            Some(Target::Expert(name, number)) => {
                let stack = stacks.entry(name.clone()).or_default();
                if let Some(before) = stack.insert(number, index) {
                    let first = tensors.get(before).map_or("", |tensor| &tensor.name);
                    return Err(same(name, first, &tensor.name));
                }
                continue;
            }
        };
        for recipe in recipes {
            let name = recipe.info.name.clone();
            if let Some(first) = sources.insert(name.clone(), &tensor.name) {
                return Err(same(name, first, &tensor.name));
            }
            made.push(recipe);
        }
    }
    refuse_unknown(&unknown)?;
    for (name, experts) in stacks {
        if let Some(first) = sources.get(&name) {
            return Err(same(name, first, "the experts one by one"));
        }
        made.push(kitchen.stack(name, &experts, tensors)?);
    }
    let has_output = made
        .iter()
        .any(|recipe| recipe.info.name == "output.weight");
    if architecture.head == Head::Causal && !kitchen.tied && !has_output {
        let name = "lm_head.weight".to_owned();
        return Err(HuggingFaceError::MissingTensor { name });
    }
    Ok(made)
}

/// Rows of the embedding, which are the tokens of the vocabulary.
pub(super) fn vocabulary_rows(recipes: &[Recipe], config: &Json) -> Result<u32, HuggingFaceError> {
    let found = recipes
        .iter()
        .find(|recipe| recipe.info.name == "token_embd.weight");
    let Some(info) = found.map(|recipe| &recipe.info) else {
        let name = "embed_tokens.weight".to_owned();
        return Err(HuggingFaceError::MissingTensor { name });
    };
    let rows = match *info.shape.as_slice() {
        [_, rows @ ..=MAX_ROWS] => u32::try_from(rows).ok(),
        _ => None,
    };
    let said = config.u32("vocab_size")?;
    match rows {
        Some(rows) if said.is_none_or(|said| said == rows) => Ok(rows),
        _ => Err(HuggingFaceError::Shape {
            name: info.name.clone(),
            shape: info.shape.iter().rev().copied().collect(),
            rule: match said {
                Some(said) => format!("and `vocab_size` in config.json is {said}"),
                None => "which is no matrix of a row a token".to_owned(),
            },
        }),
    }
}

fn same(name: String, first: &str, second: &str) -> HuggingFaceError {
    HuggingFaceError::SameTensor {
        name,
        first: first.to_owned(),
        second: second.to_owned(),
    }
}

fn refuse_unknown(unknown: &[&str]) -> Result<(), HuggingFaceError> {
    if unknown.is_empty() {
        return Ok(());
    }
    let quoted = |name: &&str| format!("`{}`", name.escape_debug());
    let mut some: Vec<String> = unknown.iter().take(3).map(quoted).collect();
    if unknown.len() > some.len() {
        some.push("...".to_owned());
    }
    Err(HuggingFaceError::UnknownTensors {
        count: unknown.len(),
        some: some.join(", "),
    })
}

/// What all recipes of a model have in common.
struct Kitchen<'a> {
    architecture: &'a Architecture,
    shape: &'a Shape,
    tied: bool,
}

impl Kitchen<'_> {
    /// A stored tensor as one of the file.
    fn whole(
        &self,
        name: String,
        index: usize,
        tensor: &Tensor,
    ) -> Result<Recipe, HuggingFaceError> {
        let mut shape = gguf_shape(tensor)?;
        let ty = stored_type(tensor)?;
        let (mut first, mut elements) = (0, count(&shape));
        if name == "position_embd.weight" && self.architecture.family == Family::Roberta {
            let unused = u64::from(self.shape.first_position);
            let [columns, rows] = shape.as_mut_slice() else {
                return Err(wrong(tensor, "and a table of positions has two axes"));
            };
            let Some(left @ 1..) = rows.checked_sub(unused) else {
                return Err(wrong(
                    tensor,
                    "and positions begin behind the padding token",
                ));
            };
            *rows = left;
            first = columns.saturating_mul(unused);
            elements = columns.saturating_mul(left);
        }
        let add_one = self.architecture.norms_are_less_one() && name.ends_with("norm.weight");
        let part = Part::Stored {
            tensor: index,
            ty,
            first,
            elements,
            order: self.order(&name, tensor, &shape)?,
            add_one,
        };
        let ty = match is_kept_in_f32(&name, &shape) {
            true => TensorType::F32,
            false => ty,
        };
        recipe(name, shape, ty, vec![part])
    }

    /// Queries and keys are reordered where the GGUF file turns other pairs.
    fn order(&self, name: &str, tensor: &Tensor, shape: &[u64]) -> Result<Order, HuggingFaceError> {
        let of = |part: &str| {
            let layer = name
                .strip_prefix("blk.")
                .and_then(|rest| rest.split_once('.'));
            layer.is_some_and(|(_, rest)| rest.split_once('.').is_some_and(|(n, _)| n == part))
        };
        let heads = match (of("attn_q"), of("attn_k")) {
            (true, _) => self.shape.n_heads,
            (_, true) => self.shape.n_kv_heads,
            _ => return Ok(Order::Same),
        };
        if !self.architecture.turns_neighbours() {
            return Ok(Order::Same);
        }
        let (row, rows) = match *shape {
            [row, rows] => (row, rows),
            [rows] => (1, rows),
            _ => return Err(wrong(tensor, "and queries and keys have two axes")),
        };
        let head = u64::from(self.shape.head_dim);
        if !head.is_multiple_of(2) || u64::from(heads).saturating_mul(head) != rows {
            let head_dim = self.shape.head_dim;
            let rule = format!("and config.json says {heads} heads of {head_dim} rows each");
            return Err(wrong(tensor, rule));
        }
        Ok(Order::Interleaved { row, head })
    }

    /// `[experts, 2 * ffn, width]`, the gate's rows first in each expert, as two tensors.
    fn gate_and_up(
        &self,
        names: [String; 2],
        index: usize,
        tensor: &Tensor,
    ) -> Result<Vec<Recipe>, HuggingFaceError> {
        let shape = gguf_shape(tensor)?;
        let ty = stored_type(tensor)?;
        let (columns, rows, experts) = match *shape {
            [columns, rows, experts] if rows.is_multiple_of(2) => (columns, rows, experts),
            _ => {
                return Err(wrong(
                    tensor,
                    "and not `[experts, 2 * width of an expert, width]`",
                ));
            }
        };
        self.check_experts(tensor, experts)?;
        let half = (columns.saturating_mul(rows)) / 2;
        (0_u64..)
            .zip(names)
            .map(|(second, name)| {
                let part = |expert: u64| Part::Stored {
                    tensor: index,
                    ty,
                    first: half.saturating_mul(expert.saturating_mul(2).saturating_add(second)),
                    elements: half,
                    order: Order::Same,
                    add_one: false,
                };
                let parts = (0..experts).map(part).collect();
                recipe(name, vec![columns, rows / 2, experts], ty, parts)
            })
            .collect()
    }

    fn check_experts(&self, tensor: &Tensor, experts: u64) -> Result<(), HuggingFaceError> {
        let wanted = self.shape.n_experts.unwrap_or(0);
        match experts == u64::from(wanted) && wanted <= MAX_EXPERTS {
            true => Ok(()),
            false => Err(wrong(
                tensor,
                format!("and config.json says {wanted} experts"),
            )),
        }
    }

    /// Matrices of single experts as one tensor.
    fn stack(
        &self,
        name: String,
        experts: &BTreeMap<u32, usize>,
        tensors: &[Tensor],
    ) -> Result<Recipe, HuggingFaceError> {
        let n = self.shape.n_experts.unwrap_or(0);
        let mut parts = Vec::new();
        let mut all: Option<(Vec<u64>, TensorType)> = None;
        for (wanted, (&number, &index)) in (0..).zip(experts) {
            if number != wanted {
                let name = format!("{name}, expert {wanted}");
                return Err(HuggingFaceError::MissingTensor { name });
            }
            let Some(tensor) = tensors.get(index) else {
                continue;
            };
            let (shape, ty) = (gguf_shape(tensor)?, stored_type(tensor)?);
            if shape.len() != 2 {
                return Err(wrong(tensor, "and the matrix of an expert has two axes"));
            }
            let first = all.get_or_insert_with(|| (shape.clone(), ty));
            if *first != (shape, ty) {
                return Err(wrong(
                    tensor,
                    "and other experts have another shape or type",
                ));
            }
            parts.push(Part::Stored {
                tensor: index,
                ty,
                first: 0,
                elements: count(&first.0),
                order: Order::Same,
                add_one: false,
            });
        }
        let found = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let (mut shape, ty) = match all {
            Some(all) if found == n => all,
            _ => {
                let name = format!("{name}, expert {found} of {n}");
                return Err(HuggingFaceError::MissingTensor { name });
            }
        };
        shape.push(u64::from(n));
        recipe(name, shape, ty, parts)
    }
}

/// Vectors and small tables are F32 in GGUF files, whatever the rest is.
fn is_kept_in_f32(name: &str, shape: &[u64]) -> bool {
    shape.len() == 1
        || ["ffn_gate_inp.", "position_embd.", "token_types."]
            .iter()
            .any(|part| name.contains(part))
}

fn recipe(
    name: String,
    shape: Vec<u64>,
    ty: TensorType,
    parts: Vec<Part>,
) -> Result<Recipe, HuggingFaceError> {
    match ty.byte_len(count(&shape)) {
        Some(byte_len) => Ok(Recipe {
            info: TensorInfo {
                name,
                shape,
                ty,
                offset: 0,
                byte_len,
            },
            parts,
        }),
        None => Err(HuggingFaceError::Shape {
            name,
            shape,
            rule: "too many elements to count".to_owned(),
        }),
    }
}

/// The product; shapes come from checked headers, where it fits.
fn count(shape: &[u64]) -> u64 {
    shape.iter().fold(1, |n, &axis| n.saturating_mul(axis))
}

/// The contiguous axis first; 1 to 4 axes, none empty.
fn gguf_shape(tensor: &Tensor) -> Result<Vec<u64>, HuggingFaceError> {
    let shape: Vec<u64> = tensor.shape.iter().rev().copied().collect();
    match shape.len() {
        1..=4 if !shape.contains(&0) => Ok(shape),
        _ => Err(wrong(
            tensor,
            "and weights have one to four axes, none of them empty",
        )),
    }
}

fn stored_type(tensor: &Tensor) -> Result<TensorType, HuggingFaceError> {
    match tensor.dtype {
        Dtype::F32 => Ok(TensorType::F32),
        Dtype::F16 => Ok(TensorType::F16),
        Dtype::Bf16 => Ok(TensorType::Bf16),
        dtype => Err(HuggingFaceError::Dtype {
            name: tensor.name.clone(),
            dtype,
        }),
    }
}

fn wrong(tensor: &Tensor, rule: impl Into<String>) -> HuggingFaceError {
    HuggingFaceError::Shape {
        name: tensor.name.clone(),
        shape: tensor.shape.clone(),
        rule: rule.into(),
    }
}
