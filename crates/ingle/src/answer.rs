//! One answer: streamed as it is computed, measured, and stopped when a person asks.

use crate::interrupt::Interrupt;
use crate::out;
use ingle::engine::Speculated;
use ingle::engine::reasoning::{Part, Splitter};
use ingle::formats::vocabulary::Vocabulary;
use ingle::{Event, FinishReason, Model, Request, TokenId};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A token with its log-probability and the most probable ones of its place.
type Logprobs = (TokenId, f32, Vec<(TokenId, f32)>);

/// An answer that is over.
#[derive(Debug)]
pub struct Answer {
    /// What it says.
    pub text: String,
    /// What the model thought before.
    pub reasoning: String,
    pub reason: FinishReason,
    pub prompt_tokens: u32,
    pub generated_tokens: u32,
    /// From the request to the first token.
    pub prompt_time: Duration,
    /// From the first token to the last.
    pub generate_time: Duration,
    /// What came of guesses.
    speculated: Speculated,
    logprobs: Vec<Logprobs>,
}

/// Where the parts of an answer go while it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// The answer to stdout, reasoning to stderr.
    Stream,
    /// Nothing yet: all of it comes as JSON at the end.
    Nothing,
}

/// How the text of an answer is read.
#[derive(Clone, Copy, Debug)]
pub enum Reading<'a> {
    /// An answer to this prompt; it may begin with reasoning.
    Chat(&'a str),
    /// A text that is continued.
    Raw,
}

/// Computes one answer.
///
/// # Errors
/// The request is refused, or stdout cannot be written. That it fails on the way is in the
/// answer's reason.
pub fn answer(
    model: &mut Model,
    request: Request,
    reading: Reading<'_>,
    show: Show,
    interrupt: &Interrupt,
) -> anyhow::Result<Answer> {
    let start = Instant::now();
    let mut printer = Printer::new(show);
    let mut splitter = match reading {
        Reading::Chat(prompt) => Some(Splitter::new(prompt)),
        Reading::Raw => None,
    };
    let mut take = |answer: &mut Answer, parts: Vec<Part>| -> anyhow::Result<()> {
        for part in parts {
            printer.part(&part)?;
            match part {
                Part::Answer(text) => answer.text.push_str(&text),
                Part::Reasoning(text) => answer.reasoning.push_str(&text),
            }
        }
        Ok(())
    };
    let mut done = Answer::new(request.prompt.len());
    let (mut first, mut last) = (None, start);
    interrupt.clear();
    let before = model.engine().speculated();
    let mut events = model.generate(request)?.until(|| interrupt.is_set());
    while !interrupt.is_set()
        && let Some(event) = events.next()
    {
        match event {
            Event::Token {
                token,
                text,
                logprob,
                top,
                ..
            } => {
                last = Instant::now();
                first.get_or_insert(last);
                done.generated_tokens += 1;
                done.logprobs
                    .extend(logprob.map(|logprob| (token, logprob, top)));
                let parts = match &mut splitter {
                    Some(splitter) => splitter.push(&text),
                    None if text.is_empty() => Vec::new(),
                    None => vec![Part::Answer(text)],
                };
                take(&mut done, parts)?;
            }
            Event::Embedded { .. } => {} // nobody asked for one
            Event::Finished { reason, .. } => done.reason = reason,
        }
    }
    drop(events);
    let after = model.engine().speculated();
    done.speculated = Speculated {
        proposed: after.proposed - before.proposed,
        accepted: after.accepted - before.accepted,
    };
    take(
        &mut done,
        splitter.map_or_else(Vec::new, |mut s| s.finish()),
    )?;
    printer.finish(&done)?;
    done.prompt_time = first.unwrap_or(last) - start;
    done.generate_time = last - first.unwrap_or(last);
    Ok(done)
}

impl Answer {
    fn new(prompt_tokens: usize) -> Self {
        Self {
            text: String::new(),
            reasoning: String::new(),
            // Until the engine says otherwise: it was stopped.
            reason: FinishReason::Cancelled,
            prompt_tokens: u32::try_from(prompt_tokens).unwrap_or(u32::MAX),
            generated_tokens: 0,
            prompt_time: Duration::ZERO,
            generate_time: Duration::ZERO,
            speculated: Speculated::default(),
            logprobs: Vec::new(),
        }
    }

    /// Tokens of the prompt a second.
    fn prompt_tps(&self) -> f64 {
        f64::from(self.prompt_tokens) / self.prompt_time.as_secs_f64().max(1e-9)
    }

    /// Tokens a second after the first; `None` where there is no second one.
    fn generate_tps(&self) -> Option<f64> {
        let more = self.generated_tokens.checked_sub(1).filter(|n| *n > 0)?;
        Some(f64::from(more) / self.generate_time.as_secs_f64().max(1e-9))
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        let speed = self
            .generate_tps()
            .map_or_else(String::new, |tps| format!(" at {tps:.1} a second"));
        format!(
            "[{} tokens of prompt in {:.2} s, {} written{speed}]",
            self.prompt_tokens,
            self.prompt_time.as_secs_f64(),
            self.generated_tokens,
        )
    }

    /// `usage`, `timings`, text and the rest, for `--json`.
    pub fn to_json(&self, vocabulary: &Vocabulary) -> Value {
        let (reason, detail) = reason(&self.reason, vocabulary);
        let mut json = json!({
            "text": self.text, "finish_reason": reason, "finish_detail": detail,
            "usage": {
                "prompt_tokens": self.prompt_tokens, "generated_tokens": self.generated_tokens,
                "total_tokens": self.prompt_tokens + self.generated_tokens,
            },
            "timings": {
                "prompt_s": self.prompt_time.as_secs_f64(), "prompt_tps": self.prompt_tps(),
                "generate_s": self.generate_time.as_secs_f64(), "generate_tps": self.generate_tps(),
            },
        });
        let Speculated { proposed, accepted } = self.speculated;
        if proposed > 0 {
            json["speculation"] = json!({ "proposed": proposed, "accepted": accepted });
        }
        if !self.reasoning.is_empty() {
            json["reasoning"] = self.reasoning.clone().into();
        }
        if !self.logprobs.is_empty() {
            let token = |(id, logprob): &(TokenId, f32)| {
                let mut piece = Vec::new();
                vocabulary.piece(*id, true, &mut piece);
                json!({ "id": id.0, "text": String::from_utf8_lossy(&piece), "logprob": logprob })
            };
            let tokens = self.logprobs.iter().map(|(id, logprob, top)| {
                let mut json = token(&(*id, *logprob));
                json["top"] = top.iter().map(token).collect();
                json
            });
            json["logprobs"] = tokens.collect();
        }
        json
    }
}

/// A word for programs, and what exactly happened.
fn reason(reason: &FinishReason, vocabulary: &Vocabulary) -> (&'static str, Option<String>) {
    let token = |t: &TokenId| {
        vocabulary
            .token_text(*t)
            .map_or_else(|| t.to_string(), str::to_owned)
    };
    match reason {
        FinishReason::End(t) | FinishReason::StopToken(t) => ("stop", Some(token(t))),
        FinishReason::StopText(text) => ("stop", Some(text.clone())),
        FinishReason::Length => ("length", None),
        FinishReason::Embedded => ("embedded", None),
        FinishReason::Cancelled => ("cancelled", None),
        FinishReason::Unreadable(why) => ("unreadable", Some(why.clone())),
        FinishReason::Failed(why) => ("failed", Some(why.clone())),
    }
}

/// Writes parts as they come.
struct Printer {
    show: Show,
    /// stdout is a terminal: what a model says must not move its cursor.
    terminal: bool,
    /// Reasoning is being shown.
    thinking: bool,
}

/// Faint, and back: reasoning on a terminal.
const FAINT: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

impl Printer {
    fn new(show: Show) -> Self {
        Self {
            show,
            terminal: std::io::stdout().is_terminal(),
            thinking: false,
        }
    }

    fn part(&mut self, part: &Part) -> anyhow::Result<()> {
        if self.show == Show::Nothing {
            return Ok(());
        }
        match part {
            Part::Reasoning(text) => {
                self.thinking = true;
                let text = out::without_control(text);
                match std::io::stderr().is_terminal() {
                    true => out::part_of_note(format!("{FAINT}{text}{PLAIN}")),
                    false => out::part_of_note(text),
                }
            }
            Part::Answer(text) => {
                if std::mem::take(&mut self.thinking) {
                    out::note("\n");
                }
                match self.terminal {
                    true => out::answer(&out::without_control(text))?,
                    false => out::answer(text)?,
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self, answer: &Answer) -> anyhow::Result<()> {
        if self.show == Show::Stream && !answer.text.ends_with('\n') {
            out::answer("\n")?;
        }
        Ok(())
    }
}
