//! `ingle bench --force-text`: what guessing how a text goes on is worth on a text that is known.

use crate::load::Loaded;
use crate::{Usage, out};
use anyhow::Context;
use ingle::formats::vocabulary::Encode;
use ingle::{Event, FinishReason, Request, Sampling, TokenId};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// The line between prompt and answer.
const SEPARATOR: &str = "=== answer ===";
/// The largest file that is read.
const MOST: u64 = 16 << 20;

/// A prompt and the answer that the model is made to give.
pub struct ForcedText {
    name: String,
    prompt: String,
    answer: String,
}

impl ForcedText {
    /// Reads a file: the prompt, a line `=== answer ===`, the answer.
    ///
    /// # Errors
    /// It cannot be read, has no such line, or nothing before or behind it.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = out::plain(&path.display().to_string());
        let size = std::fs::metadata(path).with_context(|| format!("{shown} cannot be read"))?;
        if size.len() > MOST {
            return Err(Usage(format!("{shown} is larger than {}", out::bytes(MOST))).into());
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("{shown} cannot be read as text"))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let (prompt, answer) = split(&text).ok_or_else(|| {
            Usage(format!(
                "{shown} must hold a prompt, a line `{SEPARATOR}`, and the answer behind it"
            ))
        })?;
        Ok(Self {
            name: out::plain(&name),
            prompt: prompt.to_owned(),
            answer: answer.to_owned(),
        })
    }

    /// Positions that it may take in the context; a token is a byte at least.
    pub fn positions(&self) -> u32 {
        u32::try_from(self.prompt.len() + self.answer.len() + 8).unwrap_or(u32::MAX)
    }

    /// Measures it without guesses and with them, in turns, and prints what came of it.
    ///
    /// # Errors
    /// The model does not take the text, or guesses are switched off.
    pub fn measure(
        &self,
        loaded: &mut Loaded,
        repeat: u32,
        draft: bool,
        json: bool,
    ) -> anyhow::Result<()> {
        let prompt = loaded.model.encode(&self.prompt);
        let plain = Encode {
            add_special: false,
            parse_special: false,
        };
        let answer = loaded.model.vocabulary().encode(&self.answer, plain);
        if answer.len() < 2 {
            return Err(Usage("the answer must have two tokens at least".into()).into());
        }
        out::note("measuring the model ...");
        let guesser = loaded.model.engine().set_guesser(None);
        if guesser.is_none() {
            let message = "--force-text measures guesses, and --speculate off switches them off";
            return Err(Usage(message.into()).into());
        }
        // To warm up, and to have the prompt computed.
        run(loaded, &prompt, answer.get(..16).unwrap_or(&answer), false)?;
        let (mut without, mut with, mut always) = (Vec::new(), Vec::new(), Vec::new());
        let mut guesser = guesser;
        for _ in 0..repeat {
            without.push(run(loaded, &prompt, &answer, false)?);
            loaded.model.engine().set_guesser(guesser);
            with.push(run(loaded, &prompt, &answer, false)?);
            if draft {
                always.push(run(loaded, &prompt, &answer, true)?);
            }
            guesser = loaded.model.engine().set_guesser(None);
        }
        loaded.model.engine().set_guesser(guesser);
        let figures = Figures {
            without: median(&without, |run| run.tps),
            with: median(&with, |run| run.tps),
            always: draft.then(|| median(&always, |run| run.tps)),
            run: with.pop().unwrap_or_default(),
        };
        let sizes = [prompt.len(), answer.len(), self.answer.len()];
        if json {
            out::json(&figures.json(self, loaded, sizes, repeat))
        } else {
            out::answer(&figures.text(self, sizes))
        }
    }
}

/// Prompt and answer, of which neither is empty.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if line.trim_end() == SEPARATOR {
            let (prompt, answer) = (text.get(..at)?, text.get(end..)?);
            return (!prompt.is_empty() && !answer.is_empty()).then_some((prompt, answer));
        }
        at = end;
    }
    None
}

/// One run of the answer.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    /// Tokens a second behind the first step.
    tps: f64,
    tokens: u64,
    steps: u64,
    proposed: u64,
    accepted: u64,
}

fn run(
    loaded: &mut Loaded,
    prompt: &[TokenId],
    answer: &[TokenId],
    forced_draft: bool,
) -> anyhow::Result<Run> {
    let request = Request {
        max_tokens: Some(u32::try_from(answer.len())?),
        sampling: Sampling::greedy(),
        ignore_end: true,
        forced: answer.to_vec(),
        forced_draft,
        ..Request::new(prompt.to_vec())
    };
    let (mut first, mut last) = (None, Instant::now());
    let mut run = Run::default();
    let mut events = loaded.model.generate(request)?;
    while let Some(event) = events.next() {
        match event {
            Event::Token { .. } => {
                last = Instant::now();
                let engine = events.engine();
                let now = (last, engine.steps(), engine.speculated());
                // The step of the first token belongs to the prompt, whatever else it gave.
                let (_, steps, before) = *first.get_or_insert(now);
                run.steps = now.1 - steps;
                run.tokens += u64::from(run.steps > 0);
                run.proposed = now.2.proposed - before.proposed;
                run.accepted = now.2.accepted - before.accepted;
            }
            Event::Finished {
                reason: FinishReason::Length,
                ..
            }
            | Event::Embedded { .. } => {}
            Event::Finished { reason, .. } => anyhow::bail!("the run ended early: {reason:?}"),
        }
    }
    let took = last - first.map_or(last, |first| first.0);
    run.tps = run.tokens as f64 / took.as_secs_f64().max(1e-9);
    Ok(run)
}

/// What was measured.
struct Figures {
    without: f64,
    with: f64,
    /// With a draft model that is made to guess right.
    always: Option<f64>,
    /// The last run with guesses.
    run: Run,
}

impl Figures {
    fn ratio(&self) -> f64 {
        self.with / self.without
    }

    fn acceptance(&self) -> f64 {
        self.run.accepted as f64 / (self.run.proposed as f64).max(1.0)
    }

    /// Rows of a batch: the last known token and the guesses behind it.
    fn rows_per_step(&self) -> f64 {
        1.0 + self.run.proposed as f64 / (self.run.steps as f64).max(1.0)
    }

    fn tokens_per_step(&self) -> f64 {
        self.run.tokens as f64 / (self.run.steps as f64).max(1.0)
    }

    fn json(
        &self,
        text: &ForcedText,
        loaded: &Loaded,
        [prompt, answer, bytes]: [usize; 3],
        repeat: u32,
    ) -> serde_json::Value {
        json!({
            "model": loaded.name, "threads": loaded.threads, "isa": loaded.isa,
            "text": text.name, "prompt": prompt, "answer": answer, "answer_bytes": bytes,
            "repeat": repeat,
            "tps": self.without, "speculative_tps": self.with, "ratio": self.ratio(),
            "draft_always_right_tps": self.always, "steps": self.run.steps, "proposed": self.run.proposed, "accepted": self.run.accepted,
            "acceptance": self.acceptance(), "rows_per_step": self.rows_per_step(),
            "tokens_per_step": self.tokens_per_step(),
        })
    }

    fn text(&self, text: &ForcedText, [prompt, answer, bytes]: [usize; 3]) -> String {
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let mut rows = vec![
            row(
                "text",
                format!(
                    "{}: {prompt} tokens of prompt, {answer} of answer ({:.1} bytes each)",
                    text.name,
                    bytes as f64 / answer as f64
                ),
            ),
            row("one by one", format!("{:.1} tokens a second", self.without)),
            row(
                "with guesses",
                format!(
                    "{:.1} tokens a second, {:.2} times as many",
                    self.with,
                    self.ratio()
                ),
            ),
            row(
                "guesses",
                format!(
                    "{} of {} right ({:.0}%)",
                    self.run.accepted,
                    self.run.proposed,
                    100.0 * self.acceptance()
                ),
            ),
            row(
                "steps",
                format!(
                    "{}, each of {:.1} rows for {:.1} tokens",
                    self.run.steps,
                    self.rows_per_step(),
                    self.tokens_per_step()
                ),
            ),
        ];
        if let Some(always) = self.always {
            let times = always / self.without;
            rows.push(row(
                "draft always right",
                format!("{always:.1} tokens a second, {times:.2} times as many"),
            ));
        }
        out::table(&rows)
    }
}

/// The middle one; of an even number the larger of the two.
fn median(runs: &[Run], value: impl Fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_parts_prompt_and_answer() {
        assert_eq!(split("a\n=== answer ===\nb\n"), Some(("a\n", "b\n")));
        assert_eq!(split("a\r\n=== answer ===\r\nb"), Some(("a\r\n", "b")));
        for wrong in [
            "",
            "a\nb\n",
            "=== answer ===\nb",
            "a\n=== answer ===\n",
            "a === answer ===\nb",
        ] {
            assert_eq!(split(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_committed_texts_can_be_read() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/edits");
        let mut texts = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "txt") {
                let text = ForcedText::read(&path).unwrap();
                assert!(
                    text.prompt.len() > 1_000 && text.answer.len() > 1_000,
                    "{}",
                    text.name
                );
                texts += 1;
            }
        }
        assert_eq!(texts, 4);
    }
}
