//! `ingle show`: what a model file says of itself.

use crate::{metadata_view, model_file, out};
use ingle::formats::TensorType;
use ingle::formats::gguf::TensorInfo;
use ingle::store::{CachePolicy, Layers, ModelFiles, Summary};
use ingle::tensor::WeightSource;
use serde_json::{Map, json};
use std::collections::BTreeMap;

/// What a model file holds: architecture, weights, vocabulary, chat template, metadata
#[derive(clap::Args)]
pub struct Args {
    /// A .gguf file, any one of the files of a split model, or the name of a model
    model: String,
    /// List every tensor too
    #[arg(long)]
    tensors: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let (files, found) = model_file::open_found(&args.model, CachePolicy::Keep)?;
    if args.json {
        let mut json = as_json(&files, args.tensors);
        if let Some(layers) = &found.layers {
            json["ollama"] = layers_json(layers);
        }
        out::json(&json)
    } else {
        let ollama = found.layers.as_ref().map(layers_text);
        out::answer(&(text(&files, args.tensors) + &ollama.unwrap_or_default()))
    }
}

/// How much of a model is stored in one way.
#[derive(Clone, Copy, Default)]
struct Part {
    tensors: u64,
    elements: u64,
    bytes: u64,
}

/// By type, the type with most bytes first.
fn parts(files: &ModelFiles) -> Vec<(TensorType, Part)> {
    let mut parts: BTreeMap<TensorType, Part> = BTreeMap::new();
    for tensor in files.tensors() {
        let part = parts.entry(tensor.ty).or_default();
        part.tensors += 1;
        part.elements = part.elements.saturating_add(tensor.shape.iter().product());
        part.bytes = part.bytes.saturating_add(tensor.byte_len);
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_key(|(_, part)| std::cmp::Reverse(part.bytes));
    parts
}

/// A text or a number of the metadata; a key of another type is shown among the metadata.
fn fact(files: &ModelFiles, key: &str) -> Option<String> {
    files.metadata().get(key).map(metadata_view::text)
}

fn vocabulary_size(files: &ModelFiles) -> Option<usize> {
    files
        .metadata()
        .strings("tokenizer.ggml.tokens")
        .ok()
        .flatten()
        .map(|tokens| tokens.len())
}

fn template_bytes(files: &ModelFiles) -> Option<usize> {
    files
        .metadata()
        .str("tokenizer.chat_template")
        .ok()
        .flatten()
        .map(str::len)
}

fn text(files: &ModelFiles, with_tensors: bool) -> String {
    let mut text = out::table(&facts(files));
    let types = type_rows(files);
    if types.len() > 1 {
        text += &format!("\n{}", out::table(&types));
    }
    let pairs = files.metadata().iter();
    let pairs: Vec<_> = pairs
        .map(|(k, v)| vec![out::plain(k), metadata_view::text(v)])
        .collect();
    text += &format!("\nMETADATA\n{}", out::table(&pairs));
    if with_tensors {
        let row = |t: &TensorInfo| {
            let shape = format!("{:?}", t.shape);
            vec![
                out::plain(&t.name),
                t.ty.to_string(),
                shape,
                out::bytes(t.byte_len),
            ]
        };
        let tensors: Vec<_> = files.tensors().iter().map(row).collect();
        text += &format!("\nTENSORS\n{}", out::table(&tensors));
    }
    text
}

/// What one wants to know first: name and value.
fn facts(files: &ModelFiles) -> Vec<Vec<String>> {
    let s = files.summary();
    let title = s
        .title
        .as_deref()
        .map_or_else(|| "(no name)".into(), out::plain);
    let context = s
        .context_length
        .map_or_else(|| "not said".into(), |n| format!("{n} tokens"));
    let template = template_bytes(files).map_or_else(|| "no".into(), |n| format!("yes, {n} bytes"));
    [
        ("model", title),
        ("file", describe_file(files, &s)),
        ("architecture", out::plain(&s.architecture)),
        (
            "parameters",
            format!("{} ({})", out::count(s.parameters), s.parameters),
        ),
        (
            "weights",
            format!("{}, {}", s.quantisation, out::bytes(files.weight_bytes())),
        ),
        ("context", context),
        ("layers", describe_layers(files, &s.architecture)),
        ("vocabulary", describe_vocabulary(files)),
        ("chat template", template),
    ]
    .map(|(name, value)| vec![name.to_owned(), value])
    .to_vec()
}

/// How the weights are stored, by type, under a line of headings.
fn type_rows(files: &ModelFiles) -> Vec<Vec<String>> {
    let headings = ["TYPE", "TENSORS", "PARAMETERS", "BYTES", "SHARE"];
    let mut rows = vec![headings.map(String::from).to_vec()];
    for (ty, part) in parts(files) {
        let share = 100.0 * part.bytes as f64 / files.weight_bytes().max(1) as f64;
        rows.push(vec![
            ty.to_string(),
            part.tensors.to_string(),
            out::count(part.elements),
            out::bytes(part.bytes),
            format!("{share:.1}%"),
        ]);
    }
    rows
}

fn describe_file(files: &ModelFiles, s: &Summary) -> String {
    let many = if s.n_files > 1 {
        format!(", {} files", s.n_files)
    } else {
        String::new()
    };
    format!(
        "{} ({}, {}{many})",
        out::plain(files.name()),
        files.format(),
        out::bytes(s.file_bytes)
    )
}

fn describe_layers(files: &ModelFiles, architecture: &str) -> String {
    let get = |key: &str| fact(files, &format!("{architecture}.{key}"));
    let parts = [
        (get("block_count"), ""),
        (get("embedding_length"), " wide"),
        (get("attention.head_count"), " heads"),
        (get("attention.head_count_kv"), " key-value heads"),
        (get("expert_count"), " experts"),
        (get("expert_used_count"), " used a token"),
    ];
    let said: Vec<String> = parts
        .into_iter()
        .filter_map(|(value, unit)| Some(value? + unit))
        .collect();
    if said.is_empty() {
        "not said".into()
    } else {
        said.join(", ")
    }
}

fn describe_vocabulary(files: &ModelFiles) -> String {
    let Some(size) = vocabulary_size(files) else {
        return "none".into();
    };
    let kind = fact(files, "tokenizer.ggml.model").unwrap_or_else(|| "kind not said".into());
    let pre = fact(files, "tokenizer.ggml.pre").map_or_else(String::new, |pre| format!(", {pre}"));
    format!("{size} tokens ({kind}{pre})")
}

/// What Ollama keeps beside the weights: name and value.
fn layers_text(layers: &Layers) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    if let Some(system) = &layers.system {
        row("system prompt", out::plain(system));
    }
    for (name, value) in &layers.parameters {
        row(&out::plain(name), out::plain(&value.to_string()));
    }
    if let Some(template) = &layers.template {
        let bytes = template.len();
        row(
            "template",
            format!("{bytes} bytes in Go's language; not run, the file's own is"),
        );
    }
    for licence in &layers.licences {
        row("licence", out::plain(licence));
    }
    if !layers.unused.is_empty() {
        row("not used", out::plain(&layers.unused.join(", ")));
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("\nOLLAMA\n{}", out::table(&rows))
}

fn layers_json(layers: &Layers) -> serde_json::Value {
    json!({
        "system": layers.system, "parameters": layers.parameters, "template": layers.template,
        "licences": layers.licences, "not_used": layers.unused,
    })
}

fn as_json(files: &ModelFiles, with_tensors: bool) -> serde_json::Value {
    let s = files.summary();
    let types: Vec<_> = parts(files)
        .into_iter()
        .map(|(ty, p)| {
            json!({ "type": ty.name(), "tensors": p.tensors, "parameters": p.elements, "bytes": p.bytes })
        })
        .collect();
    let metadata: Map<_, _> = files
        .metadata()
        .iter()
        .map(|(k, v)| (k.to_owned(), metadata_view::json(v)))
        .collect();
    let mut json = json!({
        "title": s.title, "file": files.name(), "n_files": s.n_files, "file_bytes": s.file_bytes,
        "format": files.format().to_string(), "architecture": s.architecture,
        "parameters": s.parameters, "quantisation": s.quantisation,
        "weight_bytes": files.weight_bytes(), "context_length": s.context_length,
        "vocabulary_size": vocabulary_size(files),
        "has_chat_template": template_bytes(files).is_some(),
        "types": types, "metadata": metadata,
    });
    if with_tensors {
        let tensors: Vec<_> = files
            .tensors()
            .iter()
            .map(|t| json!({ "name": t.name, "type": t.ty.name(), "shape": t.shape, "offset": t.offset, "bytes": t.byte_len }))
            .collect();
        json["tensors"] = tensors.into();
    }
    json
}
