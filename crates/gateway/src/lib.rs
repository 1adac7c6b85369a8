//! Floor 4: here or there.
//!
//! ```text
//! a request -> policy -> capability -> budget -> local attempt -> escalate when allowed and unsure
//! ```
//!
//! The gateway decides for each request whether this machine answers or a provider does, and writes down
//! why. Everything fails closed: no provider, no matching rule or no classification means `local-only`.
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing)]

pub mod chat;
pub mod confidence;
pub mod decide;
pub mod ledger;
pub mod policy;
pub mod provider;
