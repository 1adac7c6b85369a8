//! Floor 3: tokens in, tokens out.
//!
//! ```text
//! Plan::new(metadata, source, ops, options, free)           what it will take, before it is loaded
//! Engine::load(metadata, source, ops, plan, budget, progress)
//! engine.submit(request, now) -> RequestId, or a Refusal
//! engine.submit_embed(request, now) -> RequestId, or a Refusal
//! engine.step(now) -> events                                while !engine.is_idle()
//! ```
#![forbid(unsafe_code)]

mod budget;
mod checks;
mod chunk;
mod compute;
pub mod constrain;
mod embed;
mod engine;
mod fair;
mod generation;
mod guess;
mod handle;
mod mailbox;
mod memory;
mod pace;
mod pass;
mod plan;
pub mod reasoning;
mod request;
mod rerank;
pub mod sampler;
mod schedule;
pub mod score;
mod sequence;
mod signals;
mod speculate;
mod stats;
mod step;
mod stop;
mod streamed;
#[cfg(test)]
mod tests;
mod thinking;
pub mod tools;
mod turns;
mod warm;
mod writer;

pub use budget::{Budget, Lease, OverBudget};
pub use embed::{EmbedRequest, Want};
pub use engine::{Engine, EngineError, Pages};
pub use generation::Generation;
pub use guess::Guesser;
pub use handle::{Answer, Asked, EngineHandle, Patience};
pub use ingle_model::Pooling;
pub use ingle_tensor::NUMERICS_CLASS;
pub use ingle_tensor::pages::{Done, Outcome, PageKey, PageStore};
pub use plan::{DEFAULT_CONTEXT, LoadOptions, Plan, PlanError, size};
pub use request::{
    Event, FinishReason, MAX_STOP_LEN, MAX_STOPS, Refusal, Request, RequestId, Times, Usage,
};
pub use signals::{Signals, Spread, TokenSignals, Watch};
pub use speculate::{Draft, Speculated};
pub use stats::{Histogram, Stats};
pub use streamed::{ReadBuffers, StreamPlan};
pub use thinking::Thinking;
pub use turns::Turns;
pub use warm::namespace;
