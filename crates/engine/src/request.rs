//! What is asked of an engine, and what it answers.

use crate::constrain::Grammar;
use crate::sampler::{Sampling, SamplingError};
use crate::signals::{Signals, TokenSignals};
use crate::thinking::Thinking;
use ingle_formats::TokenId;
use std::time::Duration;

/// The most stop texts of a request.
pub const MAX_STOPS: usize = 64;
/// The most bytes of a stop text.
pub const MAX_STOP_LEN: usize = 1024;

/// A text to continue.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The tokens to continue, the beginning-of-text token included where the model wants one.
    pub prompt: Vec<TokenId>,
    /// Tokens to generate at most; `None`: until the context is full.
    pub max_tokens: Option<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts at which the answer ends; they are not part of it.
    pub stop: Vec<String>,
    /// Tokens at which the answer ends, beside those that end it in the model's vocabulary.
    pub stop_tokens: Vec<TokenId>,
    /// Go on behind the tokens that end an answer (for measuring speed).
    pub ignore_end: bool,
    /// Control tokens appear in the text.
    pub show_control: bool,
    /// Control tokens that appear in the text although others do not: the marks by which a
    /// [`crate::tools::Reader`] finds calls and reasoning.
    pub shown: Vec<TokenId>,
    /// What the answer must be. Without an end that it allows the answer ends by its length.
    pub grammar: Option<Grammar>,
    /// How long the model may think, and how its reasoning is ended.
    pub thinking: Option<Thinking>,
    /// Compute the whole prompt, also what another request has computed (for measuring speed).
    /// The answer is the same to the last bit either way.
    pub fresh: bool,
    /// The tenant: only what was computed for requests of the same namespace is used again, so that
    /// nobody learns from the time an answer takes what others have asked. See [`crate::namespace`].
    pub namespace: u64,
    /// Whose request it is: places and rows are shared out evenly among users, whatever the number
    /// of their requests.
    pub user: u64,
    /// What is computed of this text may be kept in the engine's [`crate::PageStore`], if it has one.
    pub store: bool,
    /// Say how sure the model was, of each token and of the answer: see [`Signals`].
    pub signals: bool,
    /// Tokens of the answer, whatever the model would choose (for measuring speed on a text that is
    /// known, or how sure the model is of it). All the work of choosing is done; behind them the model chooses again.
    pub forced: Vec<TokenId>,
    /// A draft model guesses just these (for measuring what it takes when it is always right).
    pub forced_draft: bool,
}

impl Request {
    /// A request with the default sampling and no limit but the context.
    pub fn new(prompt: Vec<TokenId>) -> Self {
        Self {
            prompt,
            max_tokens: None,
            sampling: Sampling::default(),
            stop: Vec::new(),
            stop_tokens: Vec::new(),
            ignore_end: false,
            show_control: false,
            shown: Vec::new(),
            grammar: None,
            thinking: None,
            fresh: false,
            namespace: 0,
            user: 0,
            store: false,
            signals: false,
            forced: Vec::new(),
            forced_draft: false,
        }
    }
}

/// Names a request in its engine; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// There is nothing to continue.
    #[error("the prompt has no token; begin with the beginning-of-text token, or some text")]
    EmptyPrompt,
    /// A token that the model does not have.
    #[error("token {token} is not in the vocabulary, whose tokens are 0 to {}", n_vocab.saturating_sub(1))]
    NoSuchToken {
        /// Which.
        token: TokenId,
        /// Tokens of the vocabulary.
        n_vocab: usize,
    },
    /// The prompt alone fills the context.
    #[error(
        "the prompt has {prompt_tokens} tokens, and the context of {context} leaves no room for an answer; shorten the prompt or load the model with a larger context"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Positions of a sequence.
        context: u32,
    },
    /// Prompt and answer together are longer than the context.
    #[error(
        "the prompt has {prompt_tokens} tokens and {max_tokens} more are asked for, together {} where the context is {context}; ask for at most {}, shorten the prompt, or load the model with a larger context",
        *prompt_tokens as u64 + u64::from(*max_tokens),
        u64::from(*context).saturating_sub(*prompt_tokens as u64)
    )]
    ContextOverflow {
        /// Tokens of the prompt.
        prompt_tokens: usize,
        /// Tokens that may be generated.
        max_tokens: u32,
        /// Positions of a sequence.
        context: u32,
    },
    /// No token may be generated.
    #[error("`max_tokens` is 0; ask for at least 1 token")]
    NothingToDo,
    /// Too many stop texts, or one that is empty or too long.
    #[error(
        "a request may have {MAX_STOPS} stop texts of 1 to {MAX_STOP_LEN} bytes; this one has {count}, the longest of {longest} bytes and the shortest of {shortest}"
    )]
    Stops {
        /// How many there are.
        count: usize,
        /// Bytes of the longest.
        longest: usize,
        /// Bytes of the shortest.
        shortest: usize,
    },
    /// The text is longer than the context.
    #[error(
        "the text has {tokens} tokens and the context is {context}; shorten or divide the text, or load the model with a larger context if it has one"
    )]
    TextTooLong {
        /// Tokens of the text.
        tokens: usize,
        /// Positions of a sequence.
        context: u32,
    },
    /// The model writes nothing.
    #[error(
        "this model (`{architecture}`) reads texts and writes none; ask it for embeddings or scores (`ingle embed`), or load a model that generates"
    )]
    WritesNothing {
        /// `general.architecture`.
        architecture: String,
    },
    /// The model gives scores only.
    #[error(
        "this model scores texts and gives no embeddings; ask it for scores, or load an embedding model"
    )]
    NoEmbedding,
    /// The model gives no scores.
    #[error(
        "this model has no head that scores texts; compare embeddings by their cosine, or load a reranker"
    )]
    NoScore,
    /// Too many requests are waiting.
    #[error("{waiting} requests are waiting already; try again later")]
    Busy {
        /// How many are waiting.
        waiting: usize,
    },
    /// The engine takes nothing any more.
    #[error(
        "the engine is stopping and takes no requests; try again when it has been started again"
    )]
    Stopped,
    /// A sampling parameter is out of its range.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
}

/// Something that happened to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was generated.
    Token {
        /// For which request.
        request: RequestId,
        /// The token; the one that ends an answer comes too.
        token: TokenId,
        /// Text that became certain: whole characters; empty where a character or perhaps a stop
        /// text has only begun. All these together are the answer.
        text: String,
        /// Log-probability of the token (nats), if asked for.
        logprob: Option<f32>,
        /// The most probable tokens, if asked for.
        top: Vec<(TokenId, f32)>,
        /// How sure the model was of it, if asked for and if there was a choice.
        signals: Option<TokenSignals>,
    },
    /// The numbers that an [`crate::EmbedRequest`] asked for.
    Embedded {
        /// For which request.
        request: RequestId,
        /// The embedding, or a score for each label: see [`crate::Want`].
        values: Vec<f32>,
    },
    /// The request is over; no event follows.
    Finished {
        /// Which request.
        request: RequestId,
        /// Why.
        reason: FinishReason,
        /// Tokens in and out.
        usage: Usage,
        /// How long it took.
        times: Times,
        /// How sure the model was of the answer, if asked for.
        signals: Option<Box<Signals>>,
    },
}

impl Event {
    /// The text that it adds to the answer.
    pub fn text(&self) -> &str {
        match self {
            Self::Token { text, .. } => text,
            Self::Embedded { .. } | Self::Finished { .. } => "",
        }
    }

    /// The request that it is about.
    pub fn request(&self) -> RequestId {
        match self {
            Self::Token { request, .. }
            | Self::Embedded { request, .. }
            | Self::Finished { request, .. } => *request,
        }
    }
}

/// Why a request is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its answer with this token.
    End(TokenId),
    /// One of [`Request::stop_tokens`] came.
    StopToken(TokenId),
    /// One of [`Request::stop`] came.
    StopText(String),
    /// [`Request::max_tokens`] were generated, or, where that is `None`, the context is full.
    Length,
    /// The numbers asked for are there.
    Embedded,
    /// Somebody called `cancel`.
    Cancelled,
    /// Weights that it needs could not be read; the text names the file and the place in it. Other
    /// requests go on.
    Unreadable(String),
    /// It could not go on; the text says why and what to do.
    Failed(String),
}

/// Tokens in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// How many of them another request had computed.
    pub cached_tokens: u32,
    /// How many of those came back from disk.
    pub disk_tokens: u32,
    /// Tokens generated, the one that ended the answer included.
    pub generated_tokens: u32,
}

/// How long the parts of a request took. An [`crate::EngineHandle`] measures when events were there; an
/// [`crate::Engine`] by itself knows only when its steps began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// From `submit` to the first step that computed a row of it.
    pub queued: Duration,
    /// From there to the first token, or to the end where none came.
    pub prompt: Duration,
    /// From there to the end.
    pub generation: Duration,
}
