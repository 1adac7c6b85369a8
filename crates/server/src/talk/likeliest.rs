//! Answers that must be one of a few: the likeliest as a whole.
//!
//! Token by token a model begins as what it would rather say and may not, and must then end as something that begins
//! alike. So where tokens are not drawn and the answers that are allowed are few, each is weighed as a whole, and the
//! likeliest is the only one that is allowed then.

use super::numbers;
use super::prepare::Ready;
use super::wanted::{Form, Input, Wanted};
use crate::call::Call;
use crate::error::ApiError;
use ingle_engine::constrain::{Constrainer, Constraint, Grammar, end_token, few};
use ingle_engine::sampler::Sampling;
use ingle_engine::{Asked, Request};
use ingle_formats::TokenId;
use ingle_formats::vocabulary::Encode;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};
use std::io::{self, Write};

/// More answers than this are not weighed.
const MOST: usize = 32;

/// An answer that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Allowed {
    text: String,
    /// Its tokens, and the one that ends it.
    tokens: Vec<TokenId>,
}

/// The answers to weigh: none where tokens are drawn, where more may be said than one of a few texts, where one of them
/// would be cut, or where there is no choice.
pub(super) fn allowed(wanted: &Wanted, ready: &Ready) -> Vec<Allowed> {
    let grammar = ready
        .grammar
        .as_ref()
        .filter(|_| is_plain(&wanted.sampling));
    let (Some(grammar), false) = (grammar, says_more(wanted, ready)) else {
        return Vec::new();
    };
    let vocabulary = ready.model.prompter.vocabulary();
    let tokens = |text: &String| {
        let mut tokens = vocabulary.encode(text, Encode::default());
        let fits = grammar.accepts(&tokens);
        tokens.extend(end_token(vocabulary));
        fits.then_some(tokens)
    };
    let mut texts = texts(&wanted.form);
    texts.dedup();
    let all = texts.into_iter().map(|text| {
        let tokens = tokens(&text)?;
        Some(Allowed { text, tokens })
    });
    let all: Option<Vec<Allowed>> = all.collect();
    let room = room(wanted, ready);
    let whole =
        |all: &Vec<Allowed>| all.len() > 1 && all.iter().all(|one| one.tokens.len() <= room);
    all.filter(whole).unwrap_or_default()
}

/// Tokens that an answer may have.
fn room(wanted: &Wanted, ready: &Ready) -> usize {
    let context = ready.model.context.min(wanted.context.unwrap_or(u32::MAX));
    let prompt = ready.prompts.first().map_or(0, |p| p.tokens.len());
    let most = wanted.max_tokens.map_or(usize::MAX, |most| most as usize);
    (context as usize).saturating_sub(prompt).min(most)
}

/// Whether the most probable token is always taken, as the model has it.
fn is_plain(sampling: &Sampling) -> bool {
    let plain = Sampling {
        seed: sampling.seed,
        logprobs: sampling.logprobs,
        top_k: sampling.top_k,
        top_p: sampling.top_p,
        min_p: sampling.min_p,
        typical: sampling.typical,
        penalty_last_n: sampling.penalty_last_n,
        ..Sampling::greedy()
    };
    *sampling == plain
}

/// Whether an answer may be reasoning or calls too, or end early.
fn says_more(wanted: &Wanted, ready: &Ready) -> bool {
    let [prompt] = &ready.prompts[..] else {
        return true;
    };
    let vocabulary = ready.model.prompter.vocabulary();
    let thinks = |style: &ingle_engine::tools::Style| style.may_think(vocabulary, &prompt.text);
    wanted.prompt_alone
        || !wanted.stop.is_empty()
        || ready.style.as_ref().is_some_and(thinks)
        || matches!(&wanted.input, Input::Chat(_) if !ready.tools.is_empty())
}

/// The texts that a form allows, where they are few.
fn texts(form: &Form) -> Vec<String> {
    match form {
        Form::Choice(texts) if texts.len() <= MOST => texts.clone(),
        Form::JsonSchema(schema) => {
            let all = few(schema, MOST).unwrap_or_default();
            all.iter().filter_map(spaced).collect()
        }
        _ => Vec::new(),
    }
}

/// JSON with spaces behind commas and colons, as models write it.
fn spaced(value: &Value) -> Option<String> {
    let mut out = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut out, Spaced))
        .ok()?;
    String::from_utf8(out).ok()
}

struct Spaced;

impl Spaced {
    fn comma<W: ?Sized + Write>(out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b", " })
    }
}

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        Self::comma(out, first)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        Self::comma(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// Weighs the answers of [`allowed`], if there are any, and makes the grammar that allows the likeliest alone.
///
/// # Errors
/// The engine does not take the prompt with an answer behind it; `param` is the field that it came from.
pub(super) async fn likeliest(
    call: &Call,
    ready: &Ready,
    param: &'static str,
) -> Result<Option<Grammar>, ApiError> {
    let all = &ready.allowed;
    let (Some(first), [prompt]) = (all.first(), &ready.prompts[..]) else {
        return Ok(None);
    };
    let same = |other: &Allowed| {
        let pairs = first.tokens.iter().zip(&other.tokens);
        pairs.take_while(|(a, b)| a == b).count()
    };
    let common = all.iter().skip(1).map(same).min().unwrap_or(0);
    // What all have in common is the same for all.
    let asked = all.iter().map(|one| {
        let (before, own) = one.tokens.split_at(common);
        Asked::from(Request {
            max_tokens: u32::try_from(own.len()).ok(),
            sampling: Sampling {
                logprobs: Some(0),
                ..Sampling::greedy()
            },
            forced: own.to_vec(),
            ..Request::new([&prompt.tokens, before].concat())
        })
    });
    let weighed = numbers::all(call, &ready.model, asked.collect(), param).await?;
    let sums = weighed.values.iter().map(|logprobs| {
        let wide = logprobs.iter().copied().map(f64::from);
        wide.sum::<f64>()
    });
    // Of equal ones the first.
    let best = sums.zip(all).reduce(|a, b| if b.0 > a.0 { b } else { a });
    let Some((_, best)) = best else {
        return Ok(None);
    };
    let (prompter, text) = (ready.model.prompter.clone(), best.text.clone());
    let constrainer = ready.model.grammars.of(&prompter).ok().cloned();
    let made = tokio::task::spawn_blocking(move || only(&constrainer?, text));
    Ok(made.await.ok().flatten())
}

/// The grammar of one text.
fn only(constrainer: &Constrainer, text: String) -> Option<Grammar> {
    constrainer.compile(&Constraint::Choice(vec![text])).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_texts_of_a_form_are_those_that_models_write() {
        let schema = json!({
            "type": "object", "additionalProperties": false, "required": ["a", "b"],
            "properties": {"a": {"enum": ["x, y", null]}, "b": {"const": [1, {"c": []}]}},
        });
        let both = [
            r#"{"a": "x, y", "b": [1, {"c": []}]}"#,
            r#"{"a": null, "b": [1, {"c": []}]}"#,
        ];
        assert_eq!(texts(&Form::JsonSchema(schema)), both);
        let many = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
        assert_eq!(texts(&Form::Choice(many(MOST))).len(), MOST);
        for open in [
            Form::Choice(many(MOST + 1)),
            Form::JsonSchema(json!({"type": "string"})),
            Form::JsonObject,
            Form::Text,
        ] {
            assert!(texts(&open).is_empty(), "{open:?}");
        }
    }

    #[test]
    fn what_draws_or_weighs_by_itself_is_not_plain() {
        let greedy = || Sampling {
            seed: 5,
            top_k: 40,
            top_p: 0.9,
            logprobs: Some(3),
            ..Sampling::greedy()
        };
        assert!(is_plain(&greedy()));
        for other in [
            Sampling {
                temperature: 0.1,
                ..greedy()
            },
            Sampling {
                presence_penalty: 1.0,
                ..greedy()
            },
            Sampling {
                logit_bias: vec![(TokenId(1), 1.0)],
                ..greedy()
            },
        ] {
            assert!(!is_plain(&other), "{other:?}");
        }
    }
}
