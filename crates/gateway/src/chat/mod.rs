//! What is asked, and the pieces that come back, in no dialect's words.
//!
//! ```text
//! server: a client's body -> talk::Wanted -> chat::Request -> provider: an upstream's body
//! provider: an upstream's events -> chat::Piece -> talk::News -> a client's events :server
//! ```
//!
//! A [`Request`] holds all that would leave the machine if a provider were asked, and nothing else of it
//! would: [`Request::texts`] names every text of it, so that a policy which has read those has read
//! everything.

mod digest;
mod texts;

pub use digest::{Digest, message_digest, prefix_digests, prefixes_of};
pub use texts::{Place, Text};

use serde::Serialize;
use serde_json::Value;

/// A request, whoever asked in whatever words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    /// The request's name, which its answer has as `x-request-id`: for rows and logs, not sent on.
    pub id: String,
    /// The name of the caller's key; `-` for nobody in particular. Not sent on.
    pub user: String,
    /// The client's session (header `x-ingle-session`), where it has one. Not sent on.
    pub session: Option<String>,
    /// What kind of work it is (header `x-ingle-label`), as rules know it. Not sent on.
    pub label: Option<String>,
    /// The path it came by, as `/v1/chat/completions`. Not sent on.
    pub path: String,
    /// What the client would let happen to it (header `x-ingle-policy`): can only narrow what the
    /// configuration allows. Not sent on.
    pub leave: Option<Leave>,
    /// The response that it follows (`previous_response_id`), whose messages are among `messages`. Not sent on.
    pub previous: Option<String>,
    /// The name that its own response will have, by which others may follow it. Not sent on.
    pub response: Option<String>,
    /// Name of the model that is asked for, as the client wrote it.
    pub model: Option<String>,
    /// What was said, in order. System texts are messages of [`Role::System`], anywhere.
    pub messages: Vec<Message>,
    /// How the answer begins: it goes on from there.
    pub prefill: Option<String>,
    /// What may be called.
    pub tools: Vec<Tool>,
    /// Whether something is to be called.
    pub tool_choice: ToolChoice,
    /// Only one call in an answer.
    pub one_call: bool,
    /// What the answer must look like.
    pub format: Format,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Whether and how long the model thinks first.
    pub reasoning: Reasoning,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// Tokens of the answer at most, its reasoning included; none: nothing was said.
    pub max_tokens: Option<u32>,
}

impl Request {
    /// A request with nothing but its messages.
    pub fn new(id: impl Into<String>, messages: Vec<Message>) -> Self {
        Self {
            id: id.into(),
            user: "-".into(),
            session: None,
            label: None,
            path: String::new(),
            leave: None,
            previous: None,
            response: None,
            model: None,
            messages,
            prefill: None,
            tools: Vec::new(),
            tool_choice: ToolChoice::Auto,
            one_call: false,
            format: Format::Text,
            sampling: Sampling::default(),
            reasoning: Reasoning::default(),
            stop: Vec::new(),
            max_tokens: None,
        }
    }

    /// Whether an image is in it.
    pub fn has_images(&self) -> bool {
        let mut parts = self.messages.iter().flat_map(|message| &message.parts);
        parts.any(|part| matches!(part, Part::Image(_)))
    }

    /// Whether tools may be called in the answer.
    pub fn wants_tools(&self) -> bool {
        !self.tools.is_empty() && self.tool_choice != ToolChoice::None
    }
}

/// Whether a request may leave this machine. The smaller one of two is the narrower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leave {
    /// It is answered here or not at all.
    LocalOnly,
    /// It may be sent to a provider where the local answer is not good enough.
    Allow,
    /// It is sent to a provider where that can be; here else.
    PreferCloud,
}

impl Leave {
    /// As headers and ingle.toml spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::LocalOnly => "local-only",
            Self::Allow => "allow",
            Self::PreferCloud => "prefer-cloud",
        }
    }

    /// The value of that name.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::LocalOnly, Self::Allow, Self::PreferCloud];
        all.into_iter().find(|leave| leave.word() == word)
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Whoever set the model up.
    System,
    /// A person.
    User,
    /// The model.
    Assistant,
    /// What a tool answered.
    Tool,
}

impl Role {
    /// As most dialects spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// By whom.
    pub role: Role,
    /// Texts and images, in order; empty where a message has nothing but calls.
    pub parts: Vec<Part>,
    /// What the model thought before it.
    pub reasoning: Option<String>,
    /// What the model called.
    pub calls: Vec<ToolCall>,
    /// Which call a tool answers.
    pub call_id: Option<String>,
    /// A name: of the tool that answers, or of one speaker among several.
    pub name: Option<String>,
}

impl Message {
    /// A text.
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self {
            role,
            parts: vec![Part::Text(text.into())],
            reasoning: None,
            calls: Vec::new(),
            call_id: None,
            name: None,
        }
    }

    /// All its texts, one behind the other.
    pub fn content(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Image(_) => None,
        });
        texts.collect()
    }
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Words.
    Text(String),
    /// A picture.
    Image(Image),
}

/// A picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Image {
    /// The file itself.
    Inline {
        /// As `image/png`.
        media_type: String,
        /// Its bytes in base64, as they came.
        base64: String,
    },
    /// Where it lies: for the provider to fetch, never for us.
    Url(String),
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolCall {
    /// What its answer refers to.
    pub id: String,
    /// Which tool.
    pub name: String,
    /// A JSON object, as text.
    pub arguments: String,
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tool {
    /// What the model calls it.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// A JSON schema of its arguments; none: an object of any kind.
    pub parameters: Option<Value>,
    /// Whether the whole schema has to be kept to.
    pub strict: bool,
}

/// Whether something is to be called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ToolChoice {
    /// The model decides.
    #[default]
    Auto,
    /// Nothing is called.
    None,
    /// Something is called.
    Required,
    /// This tool is called.
    Named(String),
}

/// What an answer must look like.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Anything.
    #[default]
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that this schema validates.
    JsonSchema(Value),
}

/// How tokens are chosen; none: nothing was said, and whoever answers does as it usually does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Sampling {
    /// Divides the logits.
    pub temperature: Option<f64>,
    /// Keep the fewest most probable tokens whose mass is at least this.
    pub top_p: Option<f64>,
    /// Keep the `top_k` most probable tokens.
    pub top_k: Option<u32>,
    /// Subtracted once from tokens that occurred.
    pub presence_penalty: Option<f64>,
    /// Subtracted for each time that a token occurred.
    pub frequency_penalty: Option<f64>,
    /// The same seed is to give the same tokens.
    pub seed: Option<u64>,
}

/// Whether and how long a model thinks before it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reasoning {
    /// Whether it thinks.
    pub on: Option<bool>,
    /// How hard: `minimal`, `low`, `medium`, `high` and the like.
    pub effort: Option<String>,
    /// Tokens that it may think at most.
    pub budget: Option<u32>,
}

/// What is new of an answer. [`Piece::Finish`] comes once in an answer that is complete; nothing but
/// [`Piece::Usage`] comes behind it. A stream that is over without it was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// The model thinks on.
    Reasoning(String),
    /// More text for the reader.
    Text(String),
    /// A tool is to be called; its arguments follow.
    CallBegin {
        /// Calls before it in this answer: 0, 1, 2 ...
        index: u32,
        /// What the tool's answer refers to.
        id: String,
        /// Which tool.
        name: String,
    },
    /// More of the arguments of a call: all of these together are a JSON object.
    CallArguments {
        /// Which call of this answer; the last that began.
        index: u32,
        /// The next characters of it.
        text: String,
    },
    /// The answer is complete.
    Finish(Finish),
    /// What it took so far, all of it together: the last one counts.
    Usage(Usage),
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model had said all.
    Stop,
    /// This text came at which it was to stop.
    StopText(String),
    /// It was as long as it may be.
    Length,
    /// Tools are to be called.
    Calls,
    /// The provider would not go on (a filter of contents, a refusal).
    Refused,
}

/// Tokens that an answer took, as whoever answered counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Tokens of the prompt, those of `cached` and `cache_writes` included.
    pub input: u64,
    /// Tokens of the prompt that were read from a cache.
    pub cached: u64,
    /// Tokens of the prompt that were written to a cache, where that is priced apart.
    pub cache_writes: u64,
    /// Tokens of the answer, its reasoning included.
    pub output: u64,
    /// Tokens of its reasoning.
    pub reasoning: u64,
}
