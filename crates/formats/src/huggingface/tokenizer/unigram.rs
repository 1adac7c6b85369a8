//! Unigram models, as those of XLM-R and T5: `t5` in GGUF.

use super::super::HuggingFaceError;
use super::bpe::is_byte;
use super::file::{File, NAME, Vocab};
use super::spaces::{Prefix, Spaces};
use super::{Rules, Table, kind, unknown_part};

pub(super) fn read(file: &File, table: &mut Table) -> Result<Rules, HuggingFaceError> {
    let spaces = Spaces::read(file)?;
    let Vocab::List(tokens) = &file.model.vocab else {
        return Err(unknown_part("the vocabulary has no scores"));
    };
    let unknown = file.model.unk_id;
    table.scores = vec![0.0; table.len()];
    for (id, (text, score)) in (0_u32..).zip(tokens) {
        let kind = match () {
            () if unknown == Some(id) => kind::UNKNOWN,
            () if file.model.byte_fallback == Some(true) && is_byte(text) => kind::BYTE,
            () => kind::NORMAL,
        };
        table.set(NAME, id, text, kind)?;
        let index = usize::try_from(id).unwrap_or(usize::MAX);
        if let Some(slot) = table.scores.get_mut(index) {
            *slot = *score;
        }
    }
    let name = |id| {
        tokens
            .get(usize::try_from(id).ok()?)
            .map(|(text, _)| text.clone())
    };
    let mut rules = Rules {
        unknown: unknown.and_then(name),
        ..Rules::default()
    };
    rules.pairs.push(("model", "t5".into()));
    rules.pairs.push(("pre", "default".into()));
    rules
        .pairs
        .push(("add_space_prefix", (spaces.prefix != Prefix::None).into()));
    rules
        .pairs
        .push(("remove_extra_whitespaces", spaces.merge.into()));
    if let Some(charsmap) = spaces.charsmap.filter(|bytes| !bytes.is_empty()) {
        rules.pairs.push(("precompiled_charsmap", charsmap.into()));
    }
    Ok(rules)
}
