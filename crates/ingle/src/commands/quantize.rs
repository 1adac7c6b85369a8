//! `ingle quantize`: a model written in another precision.

use crate::interrupt::Interrupt;
use crate::machine::MachineArgs;
use crate::{model_file, out};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ingle::formats::TensorType;
use ingle::store::quantize::{Conversion, Recipe};
use ingle::store::{CachePolicy, ModelFiles};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::json;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Write a model in another precision, as one .gguf file
///
/// TYPE names the file as elsewhere: f32, f16, bf16, q8_0, q6_k, q5_k_m, q5_k_s, q5_1, q5_0, q4_k_m, q4_k_s,
/// q4_1, q4_0, iq4_nl, iq4_xs, mxfp4_moe, q3_k_l, q3_k_m, q3_k_s, q2_k. The k types are mixes: what matters
/// most is stored with more bits.
///
/// The new file is written under another name beside it and takes its own when it is whole.
#[derive(clap::Args)]
pub struct Args {
    /// The model to read: a .gguf file, or any one of the files of a split model
    #[arg(value_name = "IN")]
    model: String,
    /// The file to write
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// How to store the weights
    #[arg(value_name = "TYPE", value_parser = recipe)]
    recipe: Recipe,
    /// Replace OUT where it is there
    #[arg(long)]
    force: bool,
    /// Allow weights that are quantised already to be quantised again, which loses twice
    #[arg(long)]
    allow_requantize: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    machine: MachineArgs,
}

fn recipe(name: &str) -> Result<Recipe, String> {
    Recipe::from_name(name).ok_or_else(|| {
        let names = Recipe::ALL.map(Recipe::name).join(", ");
        format!("there is no such type; choose one of {names}")
    })
}

pub fn run(args: &Args) -> anyhow::Result<()> {
    let interrupt = Interrupt::listen()?;
    // A model is read once from end to end: it need not stay in the page cache.
    let files = model_file::open_with(&args.model, CachePolicy::Release)?;
    let pool = ThreadPoolBuilder::new()
        .num_threads(args.machine.threads())
        .build()?;
    let conversion = Conversion::plan(&files, args.recipe, args.allow_requantize)?;
    let report = Report::write(args, &files, &conversion, &pool, &interrupt)?;
    if args.json {
        out::json(&report.json())
    } else {
        out::answer(&report.text())
    }
}

/// What was done.
struct Report {
    model: String,
    out: String,
    recipe: Recipe,
    parameters: u64,
    bytes_before: u64,
    weight_bytes_before: u64,
    bytes_after: u64,
    weight_bytes_after: u64,
    /// Tensors of each type, and their bytes.
    types: BTreeMap<TensorType, u64>,
    fallbacks: usize,
    time: Duration,
}

impl Report {
    fn write(
        args: &Args,
        files: &ModelFiles,
        conversion: &Conversion<'_>,
        pool: &ThreadPool,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Self> {
        let started = Instant::now();
        let bar = progress_bar("writing", files.weight_bytes());
        let bytes_after = conversion.write(&args.out, args.force, pool, &mut |done| {
            bar.set_position(done);
            match interrupt.is_set() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        bar.finish_and_clear();
        let mut types = BTreeMap::new();
        for (_, ty) in conversion.tensors() {
            *types.entry(ty).or_default() += 1;
        }
        Ok(Self {
            model: files.name().to_owned(),
            out: args.out.display().to_string(),
            recipe: args.recipe,
            parameters: files.parameters(),
            bytes_before: files.file_bytes(),
            weight_bytes_before: files.weight_bytes(),
            bytes_after,
            weight_bytes_after: conversion.weight_bytes(),
            types,
            fallbacks: conversion.fallbacks(),
            time: started.elapsed(),
        })
    }

    fn bits(&self, bytes: u64) -> f64 {
        8.0 * bytes as f64 / self.parameters.max(1) as f64
    }

    fn json(&self) -> serde_json::Value {
        let types: serde_json::Map<_, _> = self
            .types
            .iter()
            .map(|(ty, n)| (ty.name().to_owned(), json!(n)))
            .collect();
        json!({
            "in": self.model, "out": self.out, "type": self.recipe.name(),
            "parameters": self.parameters,
            "bytes_before": self.bytes_before, "bytes_after": self.bytes_after,
            "bits_per_weight_before": self.bits(self.weight_bytes_before),
            "bits_per_weight_after": self.bits(self.weight_bytes_after),
            "tensors": types, "fallbacks": self.fallbacks,
            "seconds": self.time.as_secs_f64(),
        })
    }

    fn text(&self) -> String {
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
                "{} have rows that are not whole blocks of the type meant for them, and took a wider one",
                self.fallbacks
            );
            rows.push(("of these", note));
        }
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(name, value)| vec![name.to_owned(), value])
            .collect();
        out::table(&rows)
    }
}

/// Shown where the work takes so long that a person would wonder.
fn progress_bar(what: &str, total: u64) -> ProgressBar {
    /// Done in a second or so.
    const SOON: u64 = 16 << 20;
    let target = if total < SOON {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let template = format!(
        "{what} {{wide_bar}} {{binary_bytes}}/{{binary_total_bytes}} {{binary_bytes_per_sec}}"
    );
    match ProgressStyle::with_template(&template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
