//! How the rows of a text become one vector.

use crate::ModelError;
use crate::keys::Keys;

/// How the hidden rows of a text become one vector (`{arch}.pooling_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The mean of all rows.
    Mean,
    /// The first row, that of the beginning token.
    First,
    /// The last row.
    Last,
    /// None: the model scores a text, or a pair of texts, by its classification head.
    Rank,
}

impl Pooling {
    /// All of them, by the names under which a person asks for them.
    pub const NAMES: [(&str, Self); 4] = [
        ("mean", Self::Mean),
        ("cls", Self::First),
        ("last", Self::Last),
        ("rank", Self::Rank),
    ];

    /// What the file says; `None` where it says nothing, or that rows stay as they are.
    pub(crate) fn read(keys: &Keys<'_>) -> Result<Option<Self>, ModelError> {
        let key = "pooling_type";
        match keys.u32(key)? {
            None | Some(0) => Ok(None),
            Some(1) => Ok(Some(Self::Mean)),
            Some(2) => Ok(Some(Self::First)),
            Some(3) => Ok(Some(Self::Last)),
            Some(4) => Ok(Some(Self::Rank)),
            Some(n) => Err(keys.unsupported(
                key,
                n,
                "mean (1), first (2), last (3) and rank (4) are known",
            )),
        }
    }
}
