//! `POST /v1/completions`, as it is asked.

use super::forms::form;
use super::sampling::{Sent, common};
use crate::error::ApiError;
use crate::fields::{Fields, parse, wrong};
use crate::talk::read::{MAX_TOP, limit, tokens};
use crate::talk::{Infill, Input, MAX_ANSWERS, Text, Wanted};
use serde_json::Value;

/// The most prompts of a request.
const MAX_PROMPTS: usize = 32;
/// What OpenAI generates where nobody says how much.
const USUAL_TOKENS: u32 = 16;
/// The most answers that are tried for one.
const MAX_BEST_OF: u32 = 20;

/// Texts to be continued.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRequest {
    pub(super) wanted: Wanted,
    pub(super) shown: Shown,
}

/// What is shown of the answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shown {
    pub sent: Sent,
    /// The prompt before the answer.
    pub echo: bool,
    /// Log-probabilities.
    pub logprobs: bool,
    /// The best answers to each prompt; none: all in their order.
    pub best: Option<usize>,
}

impl CompletionRequest {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// 400: it is not JSON, or a field is wrong or asks for what is not done.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let body = parse(body)?;
        let fields = Fields::of_body(&body)?;
        let suffix = fields.str("suffix")?.filter(|suffix| !suffix.is_empty());
        let texts = prompts(&fields, suffix)?;
        let count = texts.len();
        let mut wanted = Wanted::new(Input::Texts(texts));
        let sent = common(&fields, &mut wanted)?;
        wanted.form = form(&fields)?;
        wanted.sampling.logprobs = fields.u32("logprobs", 0, MAX_TOP)?;
        wanted.max_tokens = Some(USUAL_TOKENS);
        if let Some(limit) = limit(&fields, &["max_tokens"])? {
            (wanted.max_tokens, wanted.prompt_alone) = (limit.tokens, limit.prompt_alone);
        }
        let logprobs = wanted.sampling.logprobs.is_some();
        let echo = fields.bool("echo")?.unwrap_or(false);
        if echo && logprobs {
            let message =
                "`echo` with `logprobs`: probabilities of the prompt are not computed yet";
            return Err(ApiError::unsupported("echo", message));
        }
        let best = best_of(&fields, &mut wanted, sent)?;
        if count * wanted.n as usize > MAX_ANSWERS {
            let message = format!("a request may have {MAX_ANSWERS} answers: prompts times `n`");
            return Err(ApiError::invalid("n", message));
        }
        let shown = Shown {
            sent,
            echo,
            logprobs,
            best,
        };
        Ok(Self { wanted, shown })
    }
}

/// How many of the answers are given, if more are tried.
fn best_of(
    fields: &Fields<'_>,
    wanted: &mut Wanted,
    sent: Sent,
) -> Result<Option<usize>, ApiError> {
    let given = wanted.n;
    let tried = fields.u32("best_of", 1, MAX_BEST_OF)?.unwrap_or(given);
    if tried < given {
        let message = "`best_of` must not be less than `n`";
        return Err(ApiError::invalid("best_of", message));
    }
    if tried == given {
        return Ok(None);
    }
    if sent.stream {
        let message = "`best_of`: which answer is best is known at the end; set `stream` to false";
        return Err(ApiError::invalid("best_of", message));
    }
    wanted.n = tried;
    wanted.sampling.logprobs.get_or_insert(0);
    Ok(Some(given as usize))
}

/// A text, tokens, or a list of either; with a suffix, texts with a hole.
fn prompts(fields: &Fields<'_>, suffix: Option<&str>) -> Result<Vec<Text>, ApiError> {
    let what = format!("a string, a list of at most {MAX_PROMPTS} of them, or token ids");
    let of_text = |text: &str| match suffix {
        None => Text::Plain(text.to_owned()),
        Some(suffix) => Text::Infill(Infill {
            prefix: text.to_owned(),
            suffix: suffix.to_owned(),
            ..Infill::default()
        }),
    };
    let of_tokens = |ids: &[Value], path: &str| match suffix {
        None => Ok(Text::Tokens(tokens(ids, path)?)),
        Some(_) => Err(ApiError::unsupported(
            "suffix",
            "`suffix` goes with texts, not with token ids",
        )),
    };
    let list = match fields.get("prompt") {
        None => {
            let message = "`prompt` is missing: give a text";
            return Err(ApiError::invalid("prompt", message));
        }
        Some(Value::String(text)) => return Ok(vec![of_text(text)]),
        Some(Value::Array(list)) => list,
        Some(other) => return Err(wrong("prompt", &what, other)),
    };
    if list.first().is_some_and(Value::is_number) {
        return Ok(vec![of_tokens(list, "prompt")?]);
    }
    if list.is_empty() || list.len() > MAX_PROMPTS {
        let message = format!("`prompt` must be {what}");
        return Err(ApiError::invalid("prompt", message));
    }
    let one = |(i, value): (usize, &Value)| match value {
        Value::String(text) => Ok(of_text(text)),
        Value::Array(ids) => of_tokens(ids, &format!("prompt[{i}]")),
        other => Err(wrong(
            &format!("prompt[{i}]"),
            "a string or token ids",
            other,
        )),
    };
    list.iter().enumerate().map(one).collect()
}
