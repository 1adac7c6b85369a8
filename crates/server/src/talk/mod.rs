//! What any dialect asks, and what it is answered, in no dialect's words.
//!
//! ```text
//! body --dialect--> Wanted --ask--> Answers --dialect--> bytes
//! ```
//!
//! A dialect reads its own shapes into a [`Wanted`], hands it to [`ask`], and writes what the
//! [`Answers`] tell, as they come or as a [`Whole`]. What a field is called in that dialect stands in
//! [`Names`], for errors. No JSON of a client is read or written here, but what a template or a tool's
//! schema is made of.

mod answers;
mod ask;
mod computed;
mod conversation;
mod end;
mod grammars;
mod infill;
mod leaving;
mod likeliest;
mod names;
pub(crate) mod numbers;
pub(crate) mod picture;
mod prepare;
pub(crate) mod read;
mod routed;
mod switches;
mod usage;
mod voice;
mod wanted;
mod whole;

pub use answers::{Answers, Heard, News, TokenLogprob};
pub(crate) use ask::ask;
pub use conversation::{Call, Conversation, Message, Picture, Role, Tool, ToolChoice, check_tools};
pub use end::End;
pub use grammars::Grammars;
pub use infill::Infill;
pub use names::Names;
pub use prepare::Ready;
pub(crate) use prepare::prepare;
pub use usage::Usage;
pub use wanted::{Form, Grammar, Input, Reasoning, Text, Wanted};
pub use whole::{Choice, Said, Whole};

/// The most answers to one prompt.
pub const MAX_CHOICES: u32 = 16;
/// The most answers of a request: prompts times answers to each.
pub const MAX_ANSWERS: usize = 64;
