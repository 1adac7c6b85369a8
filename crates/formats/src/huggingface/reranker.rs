//! Rerankers that are language models: their score is how likely they say `yes` against `no`.
//!
//! Qwen3-Reranker's config.json is that of any Qwen3, so its name has to tell, as it does llama.cpp's
//! converter. The GGUF file has the head's rows of the two words as a classifier.

use super::architecture::{Architecture, Family, Head};
use super::recipe::{Order, Part, Recipe};
use crate::gguf::{Array, Value};

/// Adds the classifier, the kind of pooling and the labels, where the model is such a reranker.
pub(super) fn add(
    name: &str,
    architecture: &Architecture,
    pairs: &mut Vec<(String, Value)>,
    recipes: &mut Vec<Recipe>,
) {
    let is_reranker = architecture.family == Family::Qwen3
        && architecture.head == Head::Causal
        && name.to_ascii_lowercase().contains("reranker");
    if !is_reranker {
        return;
    }
    let tokens = pairs.iter().find_map(|(key, value)| match value {
        Value::Array(Array::Strings(tokens)) if key == "tokenizer.ggml.tokens" => Some(tokens),
        _ => None,
    });
    let row = |word: &str| {
        let at = tokens?
            .iter()
            .position(|token| token.trim_start_matches('▁') == word)?;
        u64::try_from(at).ok()
    };
    let rows = [row("yes"), row("no")];
    let ([Some(yes), Some(no)], Some(classifier)) = (rows, head(recipes)) else {
        return;
    };
    let Some(recipe) = classifier([yes, no]) else {
        return;
    };
    recipes.push(recipe);
    let key = |key: &str| format!("{}.{key}", architecture.gguf());
    pairs.retain(|(name, _)| *name != key("pooling_type"));
    pairs.push((key("pooling_type"), 4_u32.into()));
    pairs.push((key("classifier.output_labels"), vec!["yes", "no"].into()));
}

/// How rows of the head become a classifier. Where the head is the embedding, of that.
fn head(recipes: &[Recipe]) -> Option<impl Fn([u64; 2]) -> Option<Recipe> + use<>> {
    let find = |name: &str| recipes.iter().find(|recipe| recipe.info.name == name);
    let head = find("output.weight").or_else(|| find("token_embd.weight"))?;
    let (&columns, info) = (head.info.shape.first()?, head.info.clone());
    let &[
        Part::Stored {
            tensor, ty, first, ..
        },
    ] = head.parts.as_slice()
    else {
        return None;
    };
    Some(move |rows: [u64; 2]| {
        let part = |row: u64| {
            Some(Part::Stored {
                tensor,
                ty,
                first: row.checked_mul(columns)?.checked_add(first)?,
                elements: columns,
                order: Order::Same,
                add_one: false,
            })
        };
        let mut info = info.clone();
        info.name = "cls.output.weight".to_owned();
        info.shape = vec![columns, 2];
        info.byte_len = ty.byte_len(columns.checked_mul(2)?)?;
        let parts = rows.into_iter().map(part).collect::<Option<_>>()?;
        Some(Recipe { info, parts })
    })
}
