//! Byte pair encoding: over bytes as GPT-2 writes them, or over characters as SentencePiece does.

use std::collections::{BTreeMap, BTreeSet};

use super::super::HuggingFaceError;
use super::file::{File, Merge, NAME};
use super::parts::{Part, flat};
use super::spaces::{Prefix, SPACE, Spaces};
use super::{Rules, Table, kind, pre, unknown_part};

/// Whether text is cut into bytes: then a part called `ByteLevel` says so.
pub(super) fn is_byte_level(file: &File) -> bool {
    [&file.pre_tokenizer, &file.decoder]
        .into_iter()
        .any(|value| {
            let parts = flat(value.as_ref()).unwrap_or_default();
            parts
                .iter()
                .any(|part: &Part<'_>| part.kind() == "ByteLevel")
        })
}

fn refuse_variants(file: &File) -> Result<(), HuggingFaceError> {
    let model = &file.model;
    if model.dropout.is_some_and(|rate| rate > 0.0) {
        return Err(unknown_part("merges are left out at random (`dropout`)"));
    }
    for (name, text) in [
        (
            "continuing_subword_prefix",
            &model.continuing_subword_prefix,
        ),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if text.as_deref().is_some_and(|text| !text.is_empty()) {
            return Err(unknown_part(format!("words are marked by `{name}`")));
        }
    }
    Ok(())
}

/// `gpt2` in GGUF.
pub(super) fn byte_level(file: &File, table: &mut Table) -> Result<Rules, HuggingFaceError> {
    refuse_variants(file)?;
    for (text, id) in file.model.vocab.numbered() {
        table.set(NAME, id, text, kind::NORMAL)?;
    }
    let mut rules = Rules {
        unknown: file.model.unk_token.clone(),
        ..Rules::default()
    };
    rules.pairs.push(("model", "gpt2".into()));
    rules.pairs.extend(pre::pairs(file)?);
    // A space inside a token would be taken for the one between two tokens.
    let whole = |text: &str| text.replace(' ', "\u{120}");
    let merges = merges(file)?.iter();
    let merges: Vec<String> = merges
        .map(|Merge(left, right)| format!("{} {}", whole(left), whole(right)))
        .collect();
    rules.pairs.push(("merges", merges.into()));
    Ok(rules)
}

fn merges(file: &File) -> Result<&[Merge], HuggingFaceError> {
    match &file.model.merges {
        Some(merges) => Ok(merges),
        None => Err(HuggingFaceError::MissingKey {
            file: NAME,
            key: "model.merges".to_owned(),
        }),
    }
}

/// `llama` in GGUF: a merge is as good as what it makes, which has a score.
pub(super) fn sentencepiece(file: &File, table: &mut Table) -> Result<Rules, HuggingFaceError> {
    refuse_variants(file)?;
    let spaces = Spaces::read(file)?;
    if spaces.charsmap.is_some() || spaces.merge {
        return Err(unknown_part(
            "characters are replaced before merges are made",
        ));
    }
    if file.model.byte_fallback != Some(true) {
        return Err(unknown_part(
            "it knows characters alone (no `byte_fallback`)",
        ));
    }
    let unknown = file.model.unk_token.clone();
    for (text, id) in file.model.vocab.numbered() {
        let kind = match () {
            () if unknown.as_deref() == Some(text) => kind::UNKNOWN,
            () if is_byte(text) => kind::BYTE,
            () => kind::NORMAL,
        };
        table.set(NAME, id, text, kind)?;
    }
    table.scores = scores(merges(file)?, table, spaces.split)?;
    let mut rules = Rules {
        unknown,
        ..Rules::default()
    };
    rules.pairs.push(("model", "llama".into()));
    rules.pairs.push(("pre", "default".into()));
    rules
        .pairs
        .push(("add_space_prefix", (spaces.prefix != Prefix::None).into()));
    if let Some(prefix) = prefix_name(spaces.prefix) {
        rules.pairs.push(("ingle.space_prefix", prefix.into()));
    }
    Ok(rules)
}

/// What `tokenizer.ingle.space_prefix` holds; nothing where GGUF's own meaning is the right one.
fn prefix_name(prefix: Prefix) -> Option<&'static str> {
    match prefix {
        Prefix::None | Prefix::Always => None,
        Prefix::Missing => Some("missing"),
        Prefix::First => Some("first"),
    }
}

/// `<0x0A>`
pub(super) fn is_byte(text: &str) -> bool {
    let digits = text
        .strip_prefix("<0x")
        .and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|d| d.len() == 2 && d.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The score of a token is the negative rank of the first merge that makes it. This is the tokenizer of
/// SentencePiece where any two neighbours whose joined text is a token may be merged: the list must hold
/// all such pairs, as lists that were made from SentencePiece's files do.
fn scores(merges: &[Merge], table: &Table, split: bool) -> Result<Vec<f32>, HuggingFaceError> {
    let mut ranks: BTreeMap<u32, usize> = BTreeMap::new();
    let mut pairs: BTreeSet<(u32, u32)> = BTreeSet::new();
    for (rank, Merge(left, right)) in merges.iter().enumerate() {
        let joined = format!("{left}{right}");
        let ids = (table.find(left), table.find(right), table.find(&joined));
        let (Some(left), Some(right), Some(joined)) = ids else {
            return Err(unknown_part(format!(
                "merge {rank} is of texts that are no tokens"
            )));
        };
        ranks.entry(joined).or_insert(rank);
        pairs.insert((left, right));
    }
    for (text, id) in table
        .by_text
        .iter()
        .filter(|&(_, id)| is_normal(table, *id))
    {
        if split
            && text
                .char_indices()
                .skip(1)
                .any(|(at, _)| text.get(at..).is_some_and(|rest| rest.starts_with(SPACE)))
        {
            return Err(unknown_part(format!(
                "token {id} reaches over a space, and text is cut at spaces"
            )));
        }
        for (at, _) in text.char_indices().skip(1) {
            let parts = text.split_at_checked(at);
            let found =
                parts.and_then(|(left, right)| Some((table.find(left)?, table.find(right)?)));
            if let Some((left, right)) = found
                && is_normal(table, left)
                && is_normal(table, right)
                && !pairs.contains(&(left, right))
            {
                return Err(unknown_part(format!(
                    "tokens {left} and {right} together are token {id}, and no merge makes it of them"
                )));
            }
        }
    }
    let score = |id: usize| {
        let rank = u32::try_from(id)
            .ok()
            .and_then(|id| ranks.get(&id))
            .copied();
        // Below a million, so exact in 32 bits; a token that no merge makes is never compared.
        rank.and_then(|rank| rank.to_string().parse::<f32>().ok())
            .map_or(0.0, |rank| -rank)
    };
    Ok((0..table.len()).map(score).collect())
}

fn is_normal(table: &Table, id: u32) -> bool {
    let index = usize::try_from(id).unwrap_or(usize::MAX);
    table.kinds.get(index) == Some(&kind::NORMAL)
}
