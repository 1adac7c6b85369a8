//! What the ledger keeps of one answered request, as plain values.

use serde::{Deserialize, Serialize};

use super::{Decision, Money, Tokens};

/// Where the answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// This machine.
    Local,
    /// A provider.
    Cloud,
    /// Nobody: it was refused or failed before there was one.
    None,
}

impl Route {
    /// As it stands in the ledger.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Cloud => "cloud",
            Self::None => "none",
        }
    }

    pub(super) fn of_word(word: &str) -> Self {
        match word {
            "local" => Self::Local,
            "cloud" => Self::Cloud,
            _ => Self::None,
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// With an answer.
    Completed,
    /// With a refusal that says why.
    Refused,
    /// With a fault.
    Failed,
    /// The client went.
    Cancelled,
}

impl Outcome {
    /// As it stands in the ledger.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(super) fn of_word(word: &str) -> Self {
        match word {
            "completed" => Self::Completed,
            "refused" => Self::Refused,
            "cancelled" => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

/// A provider and what it asked, or would have asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Priced {
    /// Its name in ingle.toml.
    pub provider: String,
    /// Its model.
    pub model: String,
    /// What these tokens cost there.
    pub cost: Money,
    /// The day of the prices, as `2026-11-01`; empty where the user gave none.
    pub dated: String,
}

/// One request that was answered, refused, failed or given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// When it came, in milliseconds since 1970.
    pub at: u64,
    /// Its name, as its answer has it in `x-request-id`; also that of the door's rows. A client may
    /// choose it, so two rows may have the same.
    pub request: String,
    /// Whose key asked; none: the owner of the machine.
    pub user: Option<String>,
    /// The model that was asked for.
    pub asked_model: String,
    /// The model that answered; empty where none did.
    pub model: String,
    /// Where the answer came from.
    pub route: Route,
    /// Why, in words.
    pub reason: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Tokens of the answer that was given, as counted here.
    pub tokens: Tokens,
    /// The same as the provider counted them.
    pub provider_tokens: Option<Tokens>,
    /// Until the first piece of the answer, in milliseconds.
    pub first_ms: Option<u64>,
    /// Until its end.
    pub total_ms: u64,
    /// Its share of what this machine drew meanwhile, in microjoules, where the machine says.
    pub energy_uj: Option<u64>,
    /// What it cost, at the provider that answered (or was asked and failed).
    pub cost: Option<Priced>,
    /// What the same tokens would have cost at the provider that `auto` would have chosen: for answers
    /// that stayed at home.
    pub instead: Option<Priced>,
    /// The reservation out of which it was paid.
    pub reservation: Option<u64>,
    /// How it was decided.
    pub decision: Decision,
    /// The text of the request; dropped unless the ledger was opened to keep texts.
    pub prompt: Option<String>,
    /// That of the answer; the same.
    pub answer: Option<String>,
}

impl Row {
    /// The row of a request that has come and of which nothing more is known.
    #[must_use]
    pub fn new(request: &str, at: u64) -> Self {
        Self {
            at,
            request: request.to_owned(),
            user: None,
            asked_model: String::new(),
            model: String::new(),
            route: Route::None,
            reason: String::new(),
            outcome: Outcome::Cancelled,
            tokens: Tokens::default(),
            provider_tokens: None,
            first_ms: None,
            total_ms: 0,
            energy_uj: None,
            cost: None,
            instead: None,
            reservation: None,
            decision: Decision::default(),
            prompt: None,
            answer: None,
        }
    }
}
