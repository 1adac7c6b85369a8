//! Answers to `/completion` and `/infill`.

use super::request::Shape;
use crate::body::with;
use crate::error::ApiError;
use crate::stream::{Events, data};
use crate::talk::{Answers, End, Heard, News, TokenLogprob, Usage};
use ingle_engine::sampler::Sampling;
use ingle_formats::vocabulary::Vocabulary;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

/// What was asked, as far as the answer repeats it.
#[derive(Debug)]
pub(super) struct Settings {
    pub sampling: Sampling,
    pub max_tokens: Option<u32>,
    pub stop: Vec<String>,
    pub several: bool,
    pub stream: bool,
    pub shape: Shape,
}

impl Settings {
    /// Under llama.cpp's names.
    pub fn to_json(&self, n_ctx: u32) -> Value {
        let s = &self.sampling;
        let last = |n: Option<u32>| n.map_or(-1, i64::from);
        let limit = last(self.max_tokens);
        json!({
            "n_ctx": n_ctx, "n_predict": limit, "max_tokens": limit, "seed": s.seed,
            "temperature": s.temperature, "top_k": s.top_k, "top_p": s.top_p, "min_p": s.min_p,
            "typical_p": s.typical, "repeat_penalty": s.repetition_penalty,
            "repeat_last_n": last(s.penalty_last_n), "presence_penalty": s.presence_penalty,
            "frequency_penalty": s.frequency_penalty, "dry_multiplier": s.dry.multiplier,
            "dry_base": s.dry.base, "dry_allowed_length": s.dry.allowed_length,
            "dry_penalty_last_n": last(s.dry.penalty_last_n),
            "dry_sequence_breakers": s.dry.sequence_breakers, "xtc_probability": 0.0, "mirostat": 0,
            "dynatemp_range": 0.0, "stop": self.stop, "stream": self.stream,
            "n_probs": s.logprobs.unwrap_or(0), "ignore_eos": false, "lora": [],
        })
    }
}

/// How an answer ended: llama.cpp's word, and the text that it stopped at.
fn stop_type(end: &End) -> (&'static str, &str) {
    match end {
        End::Stop | End::Calls => ("eos", ""),
        End::StopText(text) => ("word", text),
        End::Length => ("limit", ""),
    }
}

/// One answer so far.
#[derive(Debug, Default)]
struct Text {
    text: String,
    probabilities: Vec<Value>,
    began: Option<Instant>,
    /// Tokens that were told.
    told: usize,
    end: Option<End>,
}

/// The answers while they come.
#[derive(Debug)]
pub(super) struct Reply {
    answers: Answers,
    settings: Settings,
    texts: Vec<Text>,
    over: bool,
}

impl Reply {
    pub fn new(answers: Answers, settings: Settings) -> Self {
        let texts = (0..answers.choices()).map(|_| Text::default()).collect();
        Self {
            answers,
            settings,
            texts,
            over: false,
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// One could not be finished.
    pub async fn whole(mut self) -> Result<Value, ApiError> {
        while let Some(Heard { choice, news }) = self.answers.next().await {
            self.hear(choice, news)?;
        }
        let all = 0..self.texts.len();
        let all: Vec<Value> = all
            .map(|choice| self.shown(self.last(choice, true)))
            .collect();
        match (self.settings.several, all) {
            (true, all) => Ok(all.into()),
            (false, mut all) => all.pop().ok_or_else(|| ApiError::internal("no answer")),
        }
    }

    /// Takes what is new of an answer; gives its text.
    fn hear(&mut self, choice: usize, news: Vec<News>) -> Result<String, ApiError> {
        let vocabulary = self.answers.vocabulary();
        let shape = &self.settings.shape;
        let Some(text) = self.texts.get_mut(choice) else {
            return Ok(String::new());
        };
        if text.end.is_some() {
            return Ok(String::new());
        }
        let mut new = String::new();
        for news in news {
            match news {
                News::Content(more) | News::Reasoning(more) => new.push_str(&more),
                News::Logprob(logprob) => {
                    let shown = vocabulary.map(|v| probability(&logprob, v));
                    text.probabilities.extend(shown);
                }
                News::End(end) => text.end = Some(end),
                News::Failed(error) => return Err(error),
                News::CallBegin { .. } | News::CallArguments { .. } | News::CallEnd { .. } => {}
            }
        }
        text.text.push_str(&new);
        let began = *text.began.get_or_insert_with(Instant::now);
        if let Some(length) = outdented(&text.text, shape.indent) {
            text.text.truncate(length);
            text.end = Some(End::Length);
        } else if shape.time.is_some_and(|time| began.elapsed() > time) && text.text.contains('\n')
        {
            text.end.get_or_insert(End::Length);
        }
        if text.end.is_some() {
            // What was cut off here is not computed any further.
            self.answers.cancel(choice);
        }
        Ok(new)
    }

    /// What stands in every piece.
    fn piece(&self, choice: usize, content: &str, stop: bool) -> Value {
        json!({
            "index": choice, "content": content, "tokens": [], "stop": stop, "id_slot": -1,
            "tokens_predicted": self.answers.written(choice).len(),
            "tokens_evaluated": self.answers.prompt_tokens(choice).len(),
        })
    }

    /// The next piece of a stream.
    fn next_piece(&mut self, choice: usize, content: &str) -> Value {
        let mut piece = self.piece(choice, content, false);
        if let Some(text) = self.texts.get_mut(choice) {
            let written = self.answers.written(choice);
            let new = written.get(text.told..).unwrap_or_default();
            let tokens: Vec<u32> = new.iter().map(|token| token.0).collect();
            piece = with(piece, "tokens", tokens);
            text.told = written.len();
            if !text.probabilities.is_empty() {
                let probabilities = std::mem::take(&mut text.probabilities);
                piece = with(piece, "completion_probabilities", probabilities);
            }
        }
        piece
    }

    /// The answer in one piece, or without its content the last piece of a stream.
    fn last(&self, choice: usize, whole: bool) -> Value {
        let nothing = Text::default();
        let text = self.texts.get(choice).unwrap_or(&nothing);
        let content = if whole { text.text.as_str() } else { "" };
        let mut last = self.piece(choice, content, true);
        if whole && self.settings.shape.return_tokens {
            let written = self.answers.written(choice).iter();
            let tokens: Vec<u32> = written.map(|token| token.0).collect();
            last = with(last, "tokens", tokens);
        }
        if whole && !text.probabilities.is_empty() {
            last = with(last, "completion_probabilities", text.probabilities.clone());
        }
        let end = text.end.clone().unwrap_or(End::Length);
        let (stop_type, stopping_word) = stop_type(&end);
        let usage = self.answers.usage_of(choice);
        let prompt = self.answers.prompt(choice);
        for (name, value) in [
            ("model", json!(self.answers.model())),
            (
                "generation_settings",
                self.settings.to_json(self.answers.context()),
            ),
            ("prompt", json!(prompt)),
            ("has_new_line", json!(text.text.contains('\n'))),
            ("truncated", json!(false)),
            ("stop_type", json!(stop_type)),
            ("stopping_word", json!(stopping_word)),
            ("tokens_cached", json!(usage.cached)),
            ("timings", timings(&usage)),
        ] {
            last = with(last, name, value);
        }
        last
    }

    /// The fields that were asked for; one within another has its whole path as its name.
    fn shown(&self, answer: Value) -> Value {
        let fields = &self.settings.shape.fields;
        if fields.is_empty() {
            return answer;
        }
        let mut shown = Map::new();
        for field in fields {
            let pointer = format!("/{field}");
            if let Some(value) = answer.pointer(&pointer) {
                shown.insert(field.clone(), value.clone());
            }
        }
        shown.into()
    }
}

/// Where the first line begins that has less white space before it than `indent`; nothing counts before
/// the first line break.
fn outdented(text: &str, indent: usize) -> Option<usize> {
    if indent == 0 {
        return None;
    }
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find('\n') {
        let line = from + at + 1;
        let rest = text.get(line..)?;
        let solid = rest.find(|c: char| c != ' ' && c != '\t')?;
        let empty = rest.get(solid..)?.starts_with(['\n', '\r']);
        if solid < indent && !empty {
            return Some(line - 1);
        }
        from = line;
    }
    None
}

/// How long prompt and answer took.
fn timings(usage: &Usage) -> Value {
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1000.0;
    let per = |ms: f64, n: u64| if n > 0 { ms / n as f64 } else { 0.0 };
    let rate = |ms: f64, n: u64| {
        if ms > 0.0 {
            n as f64 * 1000.0 / ms
        } else {
            0.0
        }
    };
    let (prompt, new) = (ms(usage.first), usage.prompt.saturating_sub(usage.cached));
    let (rest, n) = (ms(usage.rest), usage.generated);
    json!({
        "cache_n": usage.cached, "prompt_n": new, "prompt_ms": prompt,
        "prompt_per_token_ms": per(prompt, new), "prompt_per_second": rate(prompt, new),
        "predicted_n": n, "predicted_ms": rest, "predicted_per_token_ms": per(rest, n),
        "predicted_per_second": rate(rest, n),
    })
}

fn probability(logprob: &TokenLogprob, vocabulary: &Vocabulary) -> Value {
    let one = |token: ingle_formats::TokenId, logprob: f32| {
        let mut bytes = Vec::new();
        vocabulary.piece(token, true, &mut bytes);
        // JSON has no infinity.
        let logprob = f64::from(logprob.max(-9999.0));
        json!({
            "id": token.0, "token": String::from_utf8_lossy(&bytes), "bytes": bytes,
            "logprob": logprob,
        })
    };
    let top = logprob
        .top
        .iter()
        .map(|&(token, logprob)| one(token, logprob));
    let top: Vec<Value> = top.collect();
    with(one(logprob.token, logprob.logprob), "top_logprobs", top)
}

impl Events for Reply {
    async fn next(&mut self) -> Option<String> {
        while !self.over {
            let Some(Heard { choice, news }) = self.answers.next().await else {
                self.over = true;
                break;
            };
            let was_over = self.texts.get(choice).is_none_or(|text| text.end.is_some());
            let content = match self.hear(choice, news) {
                Ok(content) => content,
                Err(error) => {
                    self.over = true;
                    return Some(data(&super::error(&error)));
                }
            };
            if was_over {
                continue;
            }
            let mut out = String::new();
            if !content.is_empty() {
                out = data(&self.next_piece(choice, &content));
            }
            if self
                .texts
                .get(choice)
                .is_some_and(|text| text.end.is_some())
            {
                out += &data(&self.last(choice, false));
            }
            if !out.is_empty() {
                return Some(out);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_further_left_ends_the_answer() {
        let cut = |text: &'static str, indent| outdented(text, indent).map(|at| &text[..at]);
        assert_eq!(cut("a\n    b\n\n    c\nd", 4), Some("a\n    b\n\n    c"));
        assert_eq!(cut("a\n    b\n  ", 4), None);
        assert_eq!(cut("a\nb", 0), None);
        assert_eq!(cut("  a\n\tb", 1), None);
        assert_eq!(cut("a\n b\n\nc", 1), Some("a\n b\n"));
    }

    #[test]
    fn the_ends_have_their_words() {
        assert_eq!(stop_type(&End::Stop), ("eos", ""));
        assert_eq!(stop_type(&End::Length), ("limit", ""));
        assert_eq!(stop_type(&End::StopText("x".into())), ("word", "x"));
    }

    #[test]
    fn timings_look_like_llama_cpps() {
        let usage = Usage {
            prompt: 12,
            cached: 2,
            generated: 8,
            first: std::time::Duration::from_millis(100),
            rest: std::time::Duration::from_millis(400),
            ..Usage::default()
        };
        insta::assert_snapshot!(timings(&usage).to_string());
    }
}
