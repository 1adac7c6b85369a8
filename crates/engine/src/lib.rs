//! Floor 3: tokens in, tokens out.
//!
//! ```text
//! Plan::new(metadata, source, ops, options, free)           what it will take, before it is loaded
//! Engine::load(metadata, source, ops, plan, budget, progress)
//! engine.submit(request, now) -> RequestId, or a Refusal
//! engine.step(now) -> events                                while !engine.is_idle()
//! ```
#![forbid(unsafe_code)]

mod budget;
mod engine;
mod handle;
mod kept;
mod mailbox;
mod pages;
mod plan;
pub mod reasoning;
mod request;
pub mod sampler;
mod schedule;
mod sequence;
mod stop;

pub use budget::{Budget, Lease, OverBudget};
pub use engine::{Engine, EngineError, Generation};
pub use handle::{Answer, EngineHandle, Patience, Stats};
pub use plan::{DEFAULT_CONTEXT, LoadOptions, Plan, PlanError, size};
pub use request::{
    Event, FinishReason, MAX_STOP_LEN, MAX_STOPS, Refusal, Request, RequestId, Usage,
};
