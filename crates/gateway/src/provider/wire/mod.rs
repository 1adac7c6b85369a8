//! The words of upstreams: a request in their dialect, and what they answer as pieces.

mod anthropic;
mod calls;
mod events;
mod openai;
mod reader;
mod write_anthropic;
mod write_openai;

pub(super) use events::Events;
pub(super) use reader::{Reader, Wrong, error_message};

use serde_json::Value;

use super::settings::{Dialect, Provider, RemoteModel};
use crate::chat::Request;
use crate::provider::Misfit;

/// The body of a request to `model`, whose answer may have `limit` tokens.
pub(super) fn body(
    provider: &Provider,
    model: &RemoteModel,
    request: &Request,
    limit: u32,
) -> Result<Value, Misfit> {
    match provider.dialect() {
        Dialect::Anthropic => write_anthropic::body(provider, model, request, limit),
        Dialect::OpenAi | Dialect::Ingle | Dialect::Vllm => {
            write_openai::body(provider, model, request, limit)
        }
    }
}
