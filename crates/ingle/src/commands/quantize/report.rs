//! What was done, for people and for machines.

use crate::out;
use ingle::engine::score::Comparison;
use ingle::formats::TensorType;
use ingle::store::ModelFiles;
use ingle::store::quantize::{Conversion, Recipe};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What was done.
pub struct Report {
    model: String,
    out: String,
    recipe: Recipe,
    parameters: u64,
    bytes_before: u64,
    weight_bytes_before: u64,
    bytes_after: u64,
    weight_bytes_after: u64,
    /// How many tensors have each type.
    types: BTreeMap<TensorType, u64>,
    fallbacks: usize,
    /// Tensors that were stored with their columns' importance in view; `None` where none was given.
    weighted: Option<usize>,
    time: Duration,
    pub comparison: Option<Comparison>,
}

impl Report {
    pub fn new(
        files: &ModelFiles,
        conversion: &Conversion<'_>,
        out: &Path,
        bytes_after: u64,
        time: Duration,
    ) -> Self {
        let mut types = BTreeMap::new();
        for (_, ty) in conversion.tensors() {
            *types.entry(ty).or_default() += 1;
        }
        Self {
            model: files.name().to_owned(),
            out: out.display().to_string(),
            recipe: conversion.recipe(),
            parameters: files.parameters(),
            bytes_before: files.file_bytes(),
            weight_bytes_before: files.weight_bytes(),
            bytes_after,
            weight_bytes_after: conversion.weight_bytes(),
            types,
            fallbacks: conversion.fallbacks(),
            weighted: conversion.has_importance().then(|| conversion.weighted()),
            time,
            comparison: None,
        }
    }

    fn bits(&self, bytes: u64) -> f64 {
        8.0 * bytes as f64 / self.parameters.max(1) as f64
    }

    pub fn json(&self) -> serde_json::Value {
        let types: serde_json::Map<_, _> = self
            .types
            .iter()
            .map(|(ty, n)| (ty.name().to_owned(), json!(n)))
            .collect();
        let evaluation = self.comparison.as_ref().map(|c| {
            json!({
                "predictions": c.predictions,
                "perplexity_before": c.perplexity, "perplexity_after": c.other_perplexity,
                "mean_kl": c.mean_kl, "kl_999": c.kl_999, "max_kl": c.max_kl,
                "same_top": c.same_top,
            })
        });
        json!({
            "in": self.model, "out": self.out, "type": self.recipe.name(),
            "parameters": self.parameters,
            "bytes_before": self.bytes_before, "bytes_after": self.bytes_after,
            "bits_per_weight_before": self.bits(self.weight_bytes_before),
            "bits_per_weight_after": self.bits(self.weight_bytes_after),
            "tensors": types, "fallbacks": self.fallbacks, "weighted": self.weighted,
            "seconds": self.time.as_secs_f64(), "evaluation": evaluation,
        })
    }

    pub fn text(&self) -> String {
        let size = |bytes, weights| {
            let bits = self.bits(weights);
            format!("{}, {bits:.2} bits a weight", out::bytes(bytes))
        };
        let types: Vec<String> = self
            .types
            .iter()
            .map(|(ty, n)| format!("{n} {ty}"))
            .collect();
        let mut rows = vec![
            ("written", out::plain(&self.out)),
            ("before", size(self.bytes_before, self.weight_bytes_before)),
            ("after", size(self.bytes_after, self.weight_bytes_after)),
            ("tensors", types.join(", ")),
        ];
        if self.fallbacks > 0 {
            let note = format!(
                "{} have rows that are not whole blocks of the type meant for them, and took another",
                self.fallbacks
            );
            rows.push(("of these", note));
        }
        if let Some(n) = self.weighted {
            rows.push(("importance", format!("of columns known for {n} tensors")));
        }
        if let Some(c) = &self.comparison {
            rows.extend(evaluation(c));
        }
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect();
        out::table(&rows)
    }
}

fn evaluation(c: &Comparison) -> [(&'static str, String); 3] {
    let (before, after) = (c.perplexity, c.other_perplexity);
    let change = 100.0 * (after / before - 1.0);
    [
        (
            "perplexity",
            format!(
                "{before:.4} before, {after:.4} after ({change:+.2}%), {} predictions",
                c.predictions
            ),
        ),
        (
            "divergence",
            format!(
                "mean {:.6}, 99.9% {:.6}, largest {:.6} nats",
                c.mean_kl, c.kl_999, c.max_kl
            ),
        ),
        (
            "same token",
            format!("most likely in {:.2}% of predictions", 100.0 * c.same_top),
        ),
    ]
}
