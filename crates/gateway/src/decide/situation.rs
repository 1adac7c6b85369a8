//! What is known of a request before anybody is asked.

use super::judge::Escalation;
use crate::chat::Leave;
use crate::confidence::Confidence;
use serde::Serialize;

/// Where a request is to be answered. Of a smaller one less leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked {
    /// Here.
    Local,
    /// Here, unless that is not good enough.
    Auto,
    /// At a provider's, if that may be.
    Cloud,
}

impl Asked {
    /// As requests, headers and ingle.toml spell it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Auto => "auto",
            Self::Cloud => "cloud",
        }
    }

    /// The value of that name.
    pub fn of_word(word: &str) -> Option<Self> {
        let all = [Self::Local, Self::Auto, Self::Cloud];
        all.into_iter().find(|asked| asked.word() == word)
    }
}

/// When it is decided about an answer that is streamed. One that is sent whole is decided about when it is
/// there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// By the request alone, before the first token: costs no time, and knows least.
    Before,
    /// By the first tokens of the local answer, of which nothing is shown until then: costs their time.
    Prefix(u32),
    /// Not at all: what is streamed is answered here.
    LocalOnly,
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// Whether it may leave.
    pub leave: Leave,
    /// Which rule says so, as `rule 2 (ingle.toml:14)`.
    pub rule: String,
    /// Why, in words, none of which stands in the request.
    pub why: String,
}

/// Whether anybody can be asked at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Door {
    /// Somebody can.
    Open,
    /// Nobody is configured.
    NoProvider,
    /// Nobody may be, as this says: `--offline`, a key that may not.
    Shut(String),
}

/// Whether a provider can answer this request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Able {
    /// This one can, as `PROVIDER/MODEL`.
    Yes(String),
    /// None can, for this reason.
    No(String),
}

/// Whether the local model can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// As far as is known.
    Can,
    /// It has been tried: it cannot, for this reason.
    Cannot(String),
}

/// What is known of a request before anybody is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Situation {
    /// Where it is to be answered.
    pub asked: Asked,
    /// A provider's model was asked for by its own name: no other may answer in its place.
    pub named: bool,
    /// The answer is sent while it comes.
    pub streams: bool,
    /// When is decided about those.
    pub mode: Mode,
    /// What the policy says.
    pub ruling: Ruling,
    /// Whether anybody can be asked.
    pub door: Door,
    /// Something that it asks for and that only this machine does.
    pub only_here: Option<String>,
    /// Whether a provider can answer it.
    pub able: Able,
    /// Whether there is money for the most that it can cost; why not.
    pub budget: Result<(), String>,
    /// Whether the local model can answer it.
    pub home: Home,
    /// How likely the local answer is right, by the request alone.
    pub before: Option<Confidence>,
    /// How likely it has to be.
    pub escalation: Escalation,
}
