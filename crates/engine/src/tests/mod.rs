//! The whole engine, from inside.

mod fake;
mod simulation;
