//! One file a command: its flags, what it does, what it prints.

pub mod audit;
pub mod bench;
pub mod cache;
pub mod calibrate;
mod chat;
pub mod config;
pub mod cost;
pub mod doctor;
pub mod embed;
pub mod key;
pub mod ledger;
pub mod list;
pub mod plan;
pub mod policy;
pub mod providers;
pub mod ps;
pub mod pull;
pub mod quantize;
pub mod run;
pub mod serve;
pub mod show;
pub mod stop;
pub mod template;
pub mod tokenize;
pub mod why;
