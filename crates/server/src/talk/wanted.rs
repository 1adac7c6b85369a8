//! A request.

use super::conversation::Conversation;
use super::infill::Infill;
use ingle_engine::sampler::Sampling;
use ingle_formats::TokenId;
use ingle_gateway::decide::Asked;
use serde_json::Value;

/// A request, whoever asked in whatever words.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Which model; none: the only one.
    pub model: Option<String>,
    /// What is to be answered or continued.
    pub input: Input,
    /// What the answer must look like.
    pub form: Form,
    /// Whether and how long the model thinks first.
    pub reasoning: Reasoning,
    /// How tokens are chosen, and which log-probabilities are told; the seed means nothing where `seeded`
    /// is false.
    pub sampling: Sampling,
    /// Whether a seed was given.
    pub seeded: bool,
    /// Texts at which an answer ends.
    pub stop: Vec<String>,
    /// Tokens of an answer at most, those of its reasoning included; none: until the context is full.
    pub max_tokens: Option<u32>,
    /// Nothing is to be said: the prompt is computed, so that the next request finds it done. `max_tokens` is 1.
    pub prompt_alone: bool,
    /// Where `max_tokens` are more than the context has room for, the answer ends when it is full; else
    /// that is an error.
    pub ends_with_context: bool,
    /// Positions that prompt and answer may take together, where that is less than the model has.
    pub context: Option<u32>,
    /// Answers to each prompt.
    pub n: u32,
    /// How tokens are chosen in this dialect where a request says nothing.
    pub usual: Sampling,
    /// Fields of sampling that the request has itself, also where they say what is usual: see [`super::read::said`].
    pub said: Vec<&'static str>,
    /// The answer is sent while it comes.
    pub streams: bool,
    /// Where it is to be answered, if the request says.
    pub route: Option<Asked>,
    /// The response that it follows.
    pub previous: Option<String>,
    /// The name that its own response has.
    pub response: Option<String>,
}

impl Wanted {
    /// A request with nothing but its input.
    pub fn new(input: Input) -> Self {
        Self {
            model: None,
            input,
            form: Form::Text,
            reasoning: Reasoning::default(),
            sampling: Sampling::default(),
            seeded: false,
            stop: Vec::new(),
            max_tokens: None,
            prompt_alone: false,
            ends_with_context: false,
            context: None,
            n: 1,
            usual: Sampling::default(),
            said: Vec::new(),
            streams: false,
            route: None,
            previous: None,
            response: None,
        }
    }
}

/// What is to be answered or continued.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A conversation, which the model's template makes a prompt of.
    Chat(Conversation),
    /// Texts to be continued as they stand, each by itself.
    Texts(Vec<Text>),
}

/// A text to be continued.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    /// Words; the text of a control token becomes that token.
    Plain(String),
    /// Tokens as they are.
    Tokens(Vec<TokenId>),
    /// A text with a hole.
    Infill(Infill),
}

/// What an answer must look like.
#[derive(Debug, Clone, PartialEq)]
pub enum Form {
    /// Anything.
    Text,
    /// A JSON object.
    JsonObject,
    /// JSON that this schema validates.
    JsonSchema(Value),
    /// A text that this regular expression matches as a whole.
    Regex(String),
    /// A text of this grammar.
    Grammar(Grammar),
    /// One of these texts.
    Choice(Vec<String>),
}

/// A grammar, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grammar {
    /// Lark's notation.
    Lark(String),
    /// llama.cpp's notation (GBNF).
    Gbnf(String),
}

/// Whether and how long a model thinks before it answers. Where nothing is said the template decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reasoning {
    /// Whether it thinks.
    pub on: Option<bool>,
    /// How hard, in a word that the model's template knows: `low`, `medium`, `high` and the like.
    pub effort: Option<String>,
    /// Tokens that it may think at most.
    pub budget: Option<u32>,
    /// Where the model's template has no switch for `on` or `effort`, it is as if nothing had been said;
    /// else that is an error.
    pub lenient: bool,
}
