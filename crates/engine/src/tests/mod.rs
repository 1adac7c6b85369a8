//! The whole engine, from inside.

mod cut;
mod fake;
mod real;
mod simulation;
