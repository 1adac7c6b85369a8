//! WordPiece, as BERT has it: `bert` in GGUF, where what begins a word is marked and not what continues it.

use super::super::HuggingFaceError;
use super::file::{File, NAME};
use super::parts::flat;
use super::spaces::SPACE;
use super::{Rules, Table, kind, unknown_part};

/// The mark of what continues a word.
const CONTINUES: &str = "##";

pub(super) fn read(file: &File, table: &mut Table) -> Result<Rules, HuggingFaceError> {
    let model = &file.model;
    if model
        .continuing_subword_prefix
        .as_deref()
        .is_some_and(|mark| mark != CONTINUES)
    {
        return Err(unknown_part("parts of words are not marked by `##`"));
    }
    let mut rules = Rules {
        unknown: model.unk_token.clone(),
        ..Rules::default()
    };
    rules.pairs.push(("model", "bert".into()));
    rules.pairs.push(("pre", "default".into()));
    normalizer(file, &mut rules)?;
    for part in flat(file.pre_tokenizer.as_ref())? {
        if part.kind() != "BertPreTokenizer" {
            return Err(part.unknown());
        }
    }
    for (text, id) in model.vocab.numbered() {
        let is_added = file.added_tokens.iter().any(|added| added.content == text);
        put(table, NAME, id, text, is_added)?;
    }
    Ok(rules)
}

fn normalizer(file: &File, rules: &mut Rules) -> Result<(), HuggingFaceError> {
    for part in flat(file.normalizer.as_ref())? {
        let cleans = part.bool("clean_text").unwrap_or(true);
        let chinese = part.bool("handle_chinese_chars").unwrap_or(true);
        if part.kind() != "BertNormalizer" || !cleans || !chinese {
            return Err(part.unknown());
        }
        let lower_case = part.bool("lowercase").unwrap_or(true);
        rules
            .pairs
            .push(("normalizer.lowercase", lower_case.into()));
        let strip = part.bool("strip_accents").unwrap_or(lower_case);
        rules.pairs.push(("normalizer.strip_accents", strip.into()));
    }
    match rules
        .pairs
        .iter()
        .any(|(key, _)| *key == "normalizer.lowercase")
    {
        true => Ok(()),
        false => Err(unknown_part("it has no normalizer")),
    }
}

/// A special token keeps its text; of another the mark changes sides.
fn put(
    table: &mut Table,
    file: &'static str,
    id: u32,
    text: &str,
    special: bool,
) -> Result<(), HuggingFaceError> {
    if special {
        return table.set(file, id, text, kind::CONTROL);
    }
    match text.strip_prefix(CONTINUES) {
        Some(rest) if !rest.is_empty() => table.set(file, id, rest, kind::NORMAL),
        _ => table.set(file, id, &format!("{SPACE}{text}"), kind::NORMAL),
    }
}

/// A token a line, as in `vocab.txt`.
pub(super) fn from_lines(text: &[u8], rows: u32) -> Result<(Table, Rules), HuggingFaceError> {
    const FILE: &str = "vocab.txt";
    const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let text = std::str::from_utf8(text).map_err(|_| HuggingFaceError::Vocabulary {
        file: FILE,
        what: "it is not UTF-8 text".to_owned(),
    })?;
    let mut table = Table::new(rows);
    for (id, line) in (0_u32..).zip(text.lines()) {
        put(&mut table, FILE, id, line, SPECIAL.contains(&line))?;
    }
    let rules = Rules {
        pairs: vec![
            ("model", "bert".into()),
            ("pre", "default".into()),
            ("normalizer.lowercase", true.into()),
        ],
        unknown: Some("[UNK]".to_owned()),
        ..Rules::default()
    };
    Ok((table, rules))
}
