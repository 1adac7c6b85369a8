//! `ingle quantize`: a model written in another precision.

mod progress;
mod report;
mod text;

use crate::interrupt::Interrupt;
use crate::load;
use crate::machine::MachineArgs;
use crate::{model_file, out};
use anyhow::Context;
use ingle::store::quantize::{Conversion, Recipe, Tools, read_imatrix, write_imatrix};
use ingle::store::{CachePolicy, ModelFiles};
use ingle::tensor::importance::Importance;
use ingle::tensor::quant::Encoder;
use rayon::ThreadPoolBuilder;
use report::Report;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;
use text::{Reader, Texts};

/// Write a model in another precision, as one .gguf file
///
/// TYPE names the file as elsewhere: f32, f16, bf16, q8_0, q6_k, q5_k_m, q5_k_s, q5_1, q5_0, q4_k_m, q4_k_s,
/// q4_1, q4_0, iq4_nl, iq4_xs, mxfp4_moe, q3_k_l, q3_k_m, q3_k_s, q2_k, q2_k_s. The k types are mixes: what
/// matters most is stored with more bits.
///
/// A text shows which columns of each matrix matter (--imatrix-text), and how much was lost (--eval-text):
/// perplexity before and after, how far the new model's predictions are from the old one's
/// (Kullback-Leibler divergence), and how often both find the same token most likely.
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
    /// A text like those the model will see: which columns matter is measured on it; its last quarter is
    /// kept for the evaluation unless --eval-text is given
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "imatrix",
        help_heading = "Texts"
    )]
    imatrix_text: Option<PathBuf>,
    /// An importance matrix that --save-imatrix or llama-imatrix wrote
    #[arg(long, value_name = "FILE", help_heading = "Texts")]
    imatrix: Option<PathBuf>,
    /// Write what --imatrix-text showed, to be used again
    #[arg(
        long,
        value_name = "FILE",
        requires = "imatrix_text",
        help_heading = "Texts"
    )]
    save_imatrix: Option<PathBuf>,
    /// A text on which the new model is compared with the old one
    #[arg(long, value_name = "FILE", help_heading = "Texts")]
    eval_text: Option<PathBuf>,
    /// Tokens of each text that are used, at most
    #[arg(long, value_name = "N", default_value_t = 16384, help_heading = "Texts",
          value_parser = clap::value_parser!(u32).range(16..=1 << 24))]
    tokens: u32,
    /// Memory that models may take while they read texts, as 6GiB or 800MB [default: what is free]
    #[arg(long, value_name = "SIZE", value_parser = load::size, help_heading = "Texts")]
    memory: Option<u64>,
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
    let reader = Reader::new(&args.machine, args.memory, &interrupt);
    let texts = Texts::read(
        &files,
        args.imatrix_text.as_deref(),
        args.eval_text.as_deref(),
        args.tokens as usize,
    )?;
    let importance = args.importance(&files, &reader, &texts)?;
    let conversion = args.plan(&files, importance.as_ref())?;
    if texts.eval.is_some() {
        reader.check_room(&files, &conversion)?;
    }
    let mut report = args.write(&files, &conversion, &interrupt)?;
    if let Some(windows) = &texts.eval {
        let written = ModelFiles::open(&args.out)?;
        report.comparison = Some(reader.compare(&files, &written, windows)?);
    }
    if args.json {
        out::json(&report.json())
    } else {
        out::answer(&report.text())
    }
}

impl Args {
    /// What the columns matter, from a file or from a text. All that can be refused is refused before a
    /// long reading.
    fn importance(
        &self,
        files: &ModelFiles,
        reader: &Reader<'_>,
        texts: &Texts,
    ) -> anyhow::Result<Option<Importance>> {
        if let Some(path) = &self.imatrix {
            let importance = read_imatrix(path)?;
            let conversion = self.plan(files, Some(&importance))?;
            let searched = self.recipe.main_type().block_len() > 1;
            if searched && conversion.weighted() == 0 {
                anyhow::bail!(
                    "{} knows none of the matrices that would be quantised; make one from this model",
                    path.display()
                );
            }
            return Ok(Some(importance));
        }
        let Some(windows) = &texts.importance else {
            return Ok(None);
        };
        let unknown = Importance::default();
        let conversion = self.plan(files, Some(&unknown))?;
        if texts.eval.is_some() {
            reader.check_room(files, &conversion)?;
        }
        let importance = reader.importance(files, windows)?;
        if let Some(out) = &self.save_imatrix {
            let text = self
                .imatrix_text
                .as_deref()
                .and_then(|path| path.file_name());
            let text = text.map(|name| name.to_string_lossy()).unwrap_or_default();
            write_imatrix(&importance, &text, windows.shape(), out, self.force)?;
        }
        Ok(Some(importance))
    }

    fn plan<'a>(
        &self,
        files: &'a ModelFiles,
        importance: Option<&'a Importance>,
    ) -> anyhow::Result<Conversion<'a>> {
        let conversion = Conversion::plan(files, self.recipe, self.allow_requantize, importance)?;
        conversion.check_target(&self.out, self.force)?;
        Ok(conversion)
    }

    fn write(
        &self,
        files: &ModelFiles,
        conversion: &Conversion<'_>,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Report> {
        let started = Instant::now();
        let isa = self.machine.isa().0;
        let encoder = Encoder::new(isa)
            .with_context(|| format!("this machine cannot run the {isa} kernels"))?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.machine.threads())
            .build()?;
        let tools = Tools {
            pool: &pool,
            encoder,
        };
        let bar = progress::bytes("writing", files.weight_bytes());
        let bytes = conversion.write(&self.out, self.force, tools, &mut |done| {
            bar.set_position(done);
            match interrupt.is_set() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        })?;
        bar.finish_and_clear();
        let time = started.elapsed();
        Ok(Report::new(files, conversion, &self.out, bytes, time))
    }
}
