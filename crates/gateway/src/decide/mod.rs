//! Here or there: policy, capability, budget, local attempt, escalation, in this order.
//!
//! ```text
//! Situation --plan--> Home | Attempt | Cloud | Refuse          before anything is asked
//! Attempt   --judge-> keep | escalate                          when there is an answer, or its beginning
//! ```
//!
//! `plan` is a pure function of plain values, and the only place where it is said that something may
//! leave. `drive` carries it out with parts that are traits (`parts`): what may leave, who can be asked, what
//! it costs, how sure the local answer is.

mod account;
mod cloud;
mod drive;
mod home;
mod judge;
mod nobody;
mod parts;
mod plan;
mod real;
mod situation;
#[cfg(test)]
mod tests;

pub use account::{Account, Note, Since};
pub use cloud::CloudAnswer;
pub use drive::{Ask, Denied, Gateway, Routed, Settings};
pub use home::HomeAnswer;
pub use judge::{Escalation, Verdict, judge};
pub use nobody::Nobody;
pub use parts::{
    AtHome, Books, Coming, Fault, Grant, Hearth, Hold, Looked, Offer, Ruled, Rules, Soon, Stays,
    Sureness, Unable, Upstreams,
};
pub use plan::{Plan, Refusal, plan};
pub use real::{AimSetting, Feedback, Judged, JudgedSettings, Ledgered, Policies, Remote};
pub use situation::{Able, Asked, Door, Home, Mode, Ruling, Situation};
