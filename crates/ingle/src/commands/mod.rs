//! One file a command: its flags, what it does, what it prints.

pub mod doctor;
pub mod list;
pub mod show;
pub mod tokenize;
