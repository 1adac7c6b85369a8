//! The whole engine, from inside.

mod company;
mod cut;
mod fake;
mod fake_store;
mod real;
mod simulation;
