//! OpenAI's dialect.

pub mod chat;
pub mod chat_request;
pub mod completions;
pub mod embeddings;
mod generate;
mod logprobs;
mod messages;
mod numbers;
pub mod rerank;
mod sampling;
mod tools;

use crate::App;

/// A name that no other answer has.
fn new_id(app: &App, prefix: &str) -> String {
    format!("{prefix}-{:016x}", (app.config.random)())
}
