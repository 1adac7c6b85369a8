//! How a request was decided, as plain values: written by `decide`, read by `ingle why`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole decision. Nothing in it is a word of the request or the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What was asked for (`local`, `auto`, `cloud`), and by what: the request, a rule, the setting.
    pub wanted: String,
    /// What was looked at, in order.
    pub steps: Vec<Step>,
}

/// One question and its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was looked at: `policy`, `capability`, `budget`, `local attempt`, `confidence`, `cloud`.
    pub about: String,
    /// What came of it, short: `stays here`, `within the caps`, `failed: timed out`.
    pub verdict: String,
    /// Why, in a sentence.
    pub why: String,
    /// Figures and names: `threshold` -> `0.80`, `rule` -> `ingle.toml:12`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}
