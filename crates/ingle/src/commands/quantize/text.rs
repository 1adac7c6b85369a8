//! Texts: what they say of the columns of a model, and of how far two models are apart.

use super::progress;
use crate::interrupt::Interrupt;
use crate::machine::{MachineArgs, Memory};
use crate::out;
use anyhow::Context;
use ingle::TokenId;
use ingle::engine::score::{Comparison, MIN_TOKENS, Scorer, Windows, compare, plan};
use ingle::engine::{Budget, Plan};
use ingle::formats::TensorType;
use ingle::formats::gguf::{Metadata, TensorInfo};
use ingle::formats::vocabulary::{Encode, Vocabulary};
use ingle::networks::Head;
use ingle::store::ModelFiles;
use ingle::store::quantize::{Conversion, QuantizeError};
use ingle::tensor::cpu::Cpu;
use ingle::tensor::importance::{Importance, Recorder};
use ingle::tensor::team::Team;
use ingle::tensor::{SourceError, WeightSource};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Beyond this a text is not read: more than any number of tokens that is asked for.
const TEXT_BYTES: u64 = 64 << 20;

/// The tokens of the texts that were given.
pub struct Texts {
    pub importance: Option<Windows>,
    pub eval: Option<Windows>,
}

impl Texts {
    /// Reads both texts; where only one for the importance is given, its last quarter is kept for the
    /// evaluation.
    ///
    /// # Errors
    /// A text cannot be read, or is too short to say anything.
    pub fn read(
        files: &ModelFiles,
        importance: Option<&Path>,
        eval: Option<&Path>,
        most: usize,
    ) -> anyhow::Result<Self> {
        if importance.is_none() && eval.is_none() {
            return Ok(Self {
                importance: None,
                eval: None,
            });
        }
        let vocabulary = Vocabulary::from_metadata(files.metadata())?;
        let tokens = |path: Option<&Path>| path.map(|path| read(path, &vocabulary)).transpose();
        let (importance, mut held_out) = match tokens(importance)? {
            Some(mut all) if eval.is_none() => {
                let tail = all.split_off(all.len() - all.len() / 4);
                (Some(all), Some(tail))
            }
            all => (all, None),
        };
        if let Some(eval) = tokens(eval)? {
            held_out = Some(eval);
        }
        let beginning = vocabulary.bos().filter(|_| vocabulary.add_bos());
        let context = files
            .summary()
            .context_length
            .unwrap_or(u64::from(u32::MAX));
        let context = u32::try_from(context).unwrap_or(u32::MAX);
        let windows = |tokens: Option<Vec<TokenId>>| {
            let cut = |tokens: Vec<TokenId>| {
                let tokens = &tokens[..tokens.len().min(most)];
                Windows::new(tokens, beginning, context).with_context(|| {
                    let n = tokens.len();
                    format!("a text of {n} tokens says nothing; at least {MIN_TOKENS} are needed, some thousands are better")
                })
            };
            tokens.map(cut).transpose()
        };
        Ok(Self {
            importance: windows(importance)?,
            eval: windows(held_out)?,
        })
    }
}

fn read(path: &Path, vocabulary: &Vocabulary) -> anyhow::Result<Vec<TokenId>> {
    let unread = || format!("the text {} could not be read", path.display());
    let mut text = Vec::new();
    let file = std::fs::File::open(path).with_context(unread)?;
    file.take(TEXT_BYTES)
        .read_to_end(&mut text)
        .with_context(unread)?;
    // A text cut at the bound may end inside a character.
    let text = String::from_utf8_lossy(&text);
    let options = Encode {
        add_special: true,
        parse_special: false,
    };
    Ok(vocabulary.encode(&text, options))
}

/// Runs models over texts.
pub struct Reader<'a> {
    machine: &'a MachineArgs,
    team: Arc<Team>,
    free: u64,
    interrupt: &'a Interrupt,
}

impl<'a> Reader<'a> {
    pub fn new(machine: &'a MachineArgs, limit: Option<u64>, interrupt: &'a Interrupt) -> Self {
        let free = Memory::measure().map_or(u64::MAX, |m| m.available);
        Self {
            machine,
            team: machine.team(),
            free: limit.unwrap_or(u64::MAX).min(free),
            interrupt,
        }
    }

    fn cpu(&self) -> anyhow::Result<Cpu> {
        let isa = self.machine.isa().0;
        Cpu::new(isa, Arc::clone(&self.team))
            .with_context(|| format!("this machine cannot run the {isa} kernels"))
    }

    fn plan(
        &self,
        metadata: &Metadata,
        source: &dyn WeightSource,
        cpu: &Cpu,
    ) -> anyhow::Result<Plan> {
        let plan = plan(metadata, source, cpu, self.free)?;
        if plan.needs.head != Head::Vocabulary {
            anyhow::bail!(
                "this model writes no text, so that a text cannot be used to measure it; leave --imatrix-text and --eval-text out"
            );
        }
        Ok(plan)
    }

    fn go_on(&self) -> ControlFlow<()> {
        match self.interrupt.is_set() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// What the columns of a model are multiplied by on the way through a text.
    ///
    /// # Errors
    /// The model cannot be run or does not fit.
    pub fn importance(&self, files: &ModelFiles, windows: &Windows) -> anyhow::Result<Importance> {
        let recorder = Recorder::new();
        let cpu = self.cpu()?.recording(recorder.clone());
        let plan = self.plan(files.metadata(), files, &cpu)?;
        let mut scorer = self.load(files, cpu, &plan, &Budget::new(self.free))?;
        let bar = progress::tokens("reading", windows.tokens());
        let flow = scorer.read_all(windows, &mut |done| {
            bar.set_position(done as u64);
            self.go_on()
        });
        bar.finish_and_clear();
        match flow? {
            ControlFlow::Break(()) => Err(QuantizeError::Stopped.into()),
            ControlFlow::Continue(()) => Ok(recorder.collected()),
        }
    }

    /// Whether the model and what becomes of it can be in memory together, which a comparison needs.
    ///
    /// # Errors
    /// They cannot, and what they would take.
    pub fn check_room(
        &self,
        files: &ModelFiles,
        conversion: &Conversion<'_>,
    ) -> anyhow::Result<()> {
        let cpu = self.cpu()?;
        let before = self.plan(files.metadata(), files, &cpu)?.total();
        let after = self
            .plan(files.metadata(), &Retyped::new(conversion), &cpu)?
            .total();
        let needed = before.saturating_add(after);
        if needed <= self.free {
            return Ok(());
        }
        anyhow::bail!(
            "the two models do not fit in memory together, as a comparison needs: {} and {}, and {} is free; leave --eval-text and --imatrix-text \
             out (an importance matrix can come from a file, with --imatrix), or work where more is free",
            out::bytes(before),
            out::bytes(after),
            out::bytes(self.free)
        )
    }

    /// How far the model `after` is from `before`, over a text.
    ///
    /// # Errors
    /// One of them cannot be run, or they do not fit together.
    pub fn compare(
        &self,
        before: &ModelFiles,
        after: &ModelFiles,
        windows: &Windows,
    ) -> anyhow::Result<Comparison> {
        let budget = Budget::new(self.free);
        let load = |files: &ModelFiles| {
            let cpu = self.cpu()?;
            let plan = self.plan(files.metadata(), files, &cpu)?;
            self.load(files, cpu, &plan, &budget)
        };
        let (mut first, mut second) = (load(before)?, load(after)?);
        let bar = progress::tokens("comparing", windows.tokens());
        let compared = compare(&mut first, &mut second, windows, &mut |done| {
            bar.set_position(done as u64);
            self.go_on()
        });
        bar.finish_and_clear();
        compared?.context("the new file is whole; the comparison was stopped")
    }

    fn load(
        &self,
        files: &ModelFiles,
        cpu: Cpu,
        plan: &Plan,
        budget: &Budget,
    ) -> anyhow::Result<Scorer<Cpu>> {
        let bar = progress::bytes("loading", plan.needs.file_bytes);
        let scorer = Scorer::load(
            files.metadata(),
            files,
            cpu,
            plan,
            budget,
            &mut |done, _| {
                bar.set_position(done);
            },
        )?;
        bar.finish_and_clear();
        Ok(scorer)
    }
}

/// The tensors of a model as they will be, to be measured and not to be read.
struct Retyped(Vec<TensorInfo>);

impl Retyped {
    fn new(conversion: &Conversion<'_>) -> Self {
        let retyped = |(tensor, ty): (&TensorInfo, TensorType)| TensorInfo {
            ty,
            byte_len: ty
                .byte_len(tensor.shape.iter().product())
                .unwrap_or(u64::MAX),
            ..tensor.clone()
        };
        Self(conversion.tensors().map(retyped).collect())
    }
}

impl WeightSource for Retyped {
    fn tensors(&self) -> &[TensorInfo] {
        &self.0
    }

    fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.0.iter().find(|tensor| tensor.name == name)
    }

    fn read(&self, name: &str, _: u64, _: &mut [u8]) -> Result<(), SourceError> {
        Err(SourceError::Missing {
            name: name.to_owned(),
        })
    }
}
