//! Tokens that are found before text is cut: `added_tokens`.

use super::super::HuggingFaceError;
use super::file::{File, NAME};
use super::{Rules, Table, kind};

/// Names them in the table. A token that the embedding has no row for is left out: it can be neither read
/// nor written by the network (Gemma 3 has one, which stands for pictures).
pub(super) fn add(
    file: &File,
    table: &mut Table,
    rules: &mut Rules,
) -> Result<(), HuggingFaceError> {
    for token in &file.added_tokens {
        let index = usize::try_from(token.id).unwrap_or(usize::MAX);
        let Some(&before) = table.kinds.get(index) else {
            continue;
        };
        let is_unknown = rules.unknown.as_deref() == Some(token.content.as_str());
        let kind = match token.special {
            // The unknown token of BERT is a control token like its others.
            true if is_unknown && before != kind::CONTROL => kind::UNKNOWN,
            true => kind::CONTROL,
            false if before == kind::BYTE => kind::BYTE,
            false => kind::USER_DEFINED,
        };
        table.set(NAME, token.id, &token.content, kind)?;
        if token.rstrip {
            rules.right_strip.push(token.id);
        }
        if token.lstrip {
            rules.left_strip.push(token.id);
        }
    }
    Ok(())
}
