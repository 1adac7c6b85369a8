//! How an answer is generated: what chat and text completions have in common.

use crate::error::ApiError;
use crate::fields::Fields;
use crate::talk::{MAX_CHOICES, Wanted, read};
use ingle_engine::sampler::Sampling;
use serde_json::Value;

/// How the answer is sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// It comes in pieces.
    pub stream: bool,
    /// The last piece says how many tokens there were.
    pub include_usage: bool,
}

/// Reads what both kinds of completions have.
pub fn common(fields: &Fields<'_>, wanted: &mut Wanted) -> Result<Sent, ApiError> {
    // The whole text counts, as OpenAI has it.
    let usual = Sampling {
        penalty_last_n: None,
        ..Sampling::default()
    };
    wanted.usual = usual.clone();
    (wanted.sampling, wanted.seeded) = read::sampling(fields, usual)?;
    wanted.said = read::said(fields);
    read::samplers(fields, &mut wanted.sampling)?;
    wanted.route = read::route(fields)?;
    wanted.model = fields.str("model")?.map(str::to_owned);
    wanted.stop = read::stop(fields, "stop")?;
    wanted.n = fields.u32("n", 1, MAX_CHOICES)?.unwrap_or(1);
    let usual = |v: &Value| matches!(v.as_str(), Some("auto" | "default"));
    fields.refuse(
        "service_tier",
        usual,
        "there is one tier here: leave it out",
    )?;
    let sent = sent(fields)?;
    wanted.streams = sent.stream;
    Ok(sent)
}

/// Whether and how it is streamed.
fn sent(fields: &Fields<'_>) -> Result<Sent, ApiError> {
    let stream = fields.bool("stream")?.unwrap_or(false);
    let options = fields.object("stream_options")?;
    if options.is_some() && !stream {
        let message = "`stream_options` is for answers that are streamed: set `stream` to true";
        return Err(ApiError::invalid("stream_options", message));
    }
    let include_usage = match &options {
        Some(options) => options.bool("include_usage")?.unwrap_or(false),
        None => false,
    };
    if let Some(options) = &options {
        // Padding against those who guess words from the lengths of packets: there is none.
        let no = |v: &Value| v.as_bool() == Some(false);
        options.refuse("include_obfuscation", no, "pieces are not padded")?;
    }
    Ok(Sent {
        stream,
        include_usage,
    })
}
