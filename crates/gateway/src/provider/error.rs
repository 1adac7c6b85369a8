//! Why a provider gave no answer, and whether it was paid for.

use std::time::Duration;

use ingle_egress::EgressError;

use crate::chat::Usage;

/// Whether a provider may ask for money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charged {
    /// No: nothing was sent, or it was turned away.
    No,
    /// Perhaps: it may have been answered, and nobody knows with how many tokens. To be reckoned with the
    /// most that it can have cost.
    Unknown,
    /// Yes, for so many tokens.
    Yes(Usage),
}

/// What a request wants and a model cannot do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Too long.
    #[error("the request may have {needed} tokens and the model takes {context}")]
    Context {
        /// Tokens that it may have, with those of the answer.
        needed: u64,
        /// Tokens that the model takes.
        context: u64,
    },
    /// More of an answer than it gives.
    #[error("an answer of {wanted} tokens is asked for and the model gives {most}")]
    Output {
        /// Tokens asked for.
        wanted: u32,
        /// Tokens it gives.
        most: u32,
    },
    /// It calls no tools.
    #[error("tools are offered and the model calls none")]
    Tools,
    /// It sees no images.
    #[error("there is an image and the model sees none")]
    Images,
    /// Its dialect has no words for something.
    #[error("{0}, which the provider's dialect cannot say")]
    Dialect(&'static str),
}

/// What went wrong.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The door refused, or the network failed.
    #[error(transparent)]
    Door(#[from] EgressError),
    /// A key is wanted and not there.
    #[error("it wants a key: {0}")]
    NoKey(String),
    /// The key is not accepted.
    #[error(
        "it does not accept the key (status {status}); check that it is right and allowed to use the model"
    )]
    KeyRefused {
        /// 401 or 403.
        status: u16,
    },
    /// It sends elsewhere, which is not followed.
    #[error(
        "it redirects to {to} (status {status}), where nothing was sent; if that is its address now, set base_url"
    )]
    Redirected {
        /// 301 to 308.
        status: u16,
        /// Scheme, host and port.
        to: String,
    },
    /// Too many requests, or it is overloaded or broken: later it may do better.
    #[error("it cannot answer now (status {status}{}): {message}", after.map(|t| format!(", try again in {} s", t.as_secs_f32())).unwrap_or_default())]
    Busy {
        /// 408, 429 or 500 and above.
        status: u16,
        /// How long it wants to be left alone.
        after: Option<Duration>,
        /// What it says, cut and without the key.
        message: String,
    },
    /// It will not answer this request.
    #[error("it refuses the request (status {status}): {message}")]
    Refused {
        /// The status.
        status: u16,
        /// What it says, cut and without the key.
        message: String,
    },
    /// It was too slow.
    #[error("it was silent for {} s while {wait} was awaited", limit.as_secs_f32())]
    Late {
        /// What was awaited.
        wait: &'static str,
        /// How long.
        limit: Duration,
    },
    /// What came cannot be understood.
    #[error("its answer cannot be understood: {0}")]
    BadAnswer(String),
    /// The answer has no end.
    #[error("its answer is longer than {limit} bytes, more than so many tokens can have")]
    TooLarge {
        /// Bytes that are read.
        limit: u64,
    },
    /// The answer ended before its end.
    #[error("its answer was cut off")]
    Cut,
    /// It gave up while it answered.
    #[error("it gave up while it answered: {0}")]
    GaveUp(String),
    /// It failed again and again and is left alone for a while.
    #[error("it failed again and again and is left alone for {} s more", left.as_secs_f32().ceil())]
    Resting {
        /// For so long.
        left: Duration,
    },
    /// Too many requests of ours are there already.
    #[error("{most} requests are there already, and no more are sent at a time")]
    Full {
        /// Requests at a time.
        most: u32,
    },
    /// None of that name.
    #[error("there is no provider's model and no pool of that name in ingle.toml")]
    Unknown,
    /// It cannot do what is asked.
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

impl Fault {
    /// Whether the same request may be answered a little later, or by another upstream.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Door(error) => error.is_transient(),
            Self::Busy { .. } | Self::Late { .. } | Self::BadAnswer(_) => true,
            Self::TooLarge { .. } | Self::Cut | Self::GaveUp(_) => true,
            Self::Resting { .. } | Self::Full { .. } => true,
            Self::NoKey(_) | Self::KeyRefused { .. } | Self::Redirected { .. } => false,
            Self::Refused { .. } | Self::Unknown | Self::Misfit(_) => false,
        }
    }

    /// Whether it tells against the upstream, and not against the request or us.
    pub(super) fn is_its_own(&self) -> bool {
        match self {
            Self::Door(error) => !matches!(
                error,
                EgressError::Offline { .. }
                    | EgressError::Cancelled
                    | EgressError::Log { .. }
                    | EgressError::Runtime { .. }
                    | EgressError::NoCause
            ),
            // To be asked to wait is not to fail.
            Self::Busy { status, .. } => *status != 429,
            Self::KeyRefused { .. } | Self::Redirected { .. } | Self::Late { .. } => true,
            Self::BadAnswer(_) | Self::TooLarge { .. } | Self::Cut | Self::GaveUp(_) => true,
            Self::NoKey(_) | Self::Refused { .. } | Self::Resting { .. } => false,
            Self::Full { .. } | Self::Unknown | Self::Misfit(_) => false,
        }
    }

    /// Whether money may be asked for, where nothing more is known.
    pub(super) fn charged(&self) -> Charged {
        let perhaps = match self {
            Self::Door(error) => error.may_have_arrived(),
            // Something before the server gave up waiting for it: it may be at work.
            Self::Busy { status, .. } => matches!(status, 504 | 520 | 524),
            Self::Late { .. } | Self::BadAnswer(_) | Self::TooLarge { .. } => true,
            Self::Cut | Self::GaveUp(_) => true,
            Self::NoKey(_) | Self::KeyRefused { .. } | Self::Redirected { .. } => false,
            Self::Refused { .. } | Self::Resting { .. } | Self::Full { .. } => false,
            Self::Unknown | Self::Misfit(_) => false,
        };
        match perhaps {
            true => Charged::Unknown,
            false => Charged::No,
        }
    }
}

/// A request that a provider did not answer, or not to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{target}: {fault}")]
pub struct CallError {
    /// Who was asked last: `PROVIDER/MODEL`, or the name that was asked for.
    pub target: String,
    /// What went wrong there.
    pub fault: Fault,
    /// Whether money may be asked for.
    pub charged: Charged,
    /// Whether a piece of the answer was handed out before.
    pub began: bool,
    /// How often it was sent, or tried to be.
    pub tries: u32,
}
