//! `tokenizer.model`: a protocol buffer of SentencePiece.
//!
//! `sentencepiece_model.proto`: field 1 of the model is a piece (1 text, 2 score, 3 type), field 2 the
//! trainer (3 model type), field 3 the normaliser (2 character map, 3 dummy prefix, 4 extra spaces).

use super::super::HuggingFaceError;
use super::{Rules, Table, kind};

const FILE: &str = "tokenizer.model";

/// A field of a message: its number and its value.
enum Field<'a> {
    Number(u32, u64),
    /// 32 bits, as floats are.
    Fixed(u32, [u8; 4]),
    Bytes(u32, &'a [u8]),
    Other,
}

fn damaged(what: &str) -> HuggingFaceError {
    HuggingFaceError::Vocabulary {
        file: FILE,
        what: what.to_owned(),
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Takes the next field off the front.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<Field<'a>> {
    let key = varint(bytes)?;
    let number = u32::try_from(key >> 3).ok()?;
    let mut take = |len: u64| {
        let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
        *bytes = rest;
        Some(taken)
    };
    match key & 7 {
        0 => Some(Field::Number(number, varint(bytes)?)),
        1 => take(8).map(|_| Field::Other),
        2 => {
            let len = varint(bytes)?;
            let (taken, rest) = bytes.split_at_checked(usize::try_from(len).ok()?)?;
            *bytes = rest;
            Some(Field::Bytes(number, taken))
        }
        5 => Some(Field::Fixed(number, *take(4)?.first_chunk()?)),
        _ => None,
    }
}

/// All fields of a message.
fn fields(mut bytes: &[u8]) -> Result<Vec<Field<'_>>, HuggingFaceError> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let next = field(&mut bytes);
        all.push(next.ok_or_else(|| damaged("it is no protocol buffer, or cut short"))?);
    }
    Ok(all)
}

/// What is beside the pieces.
struct Settings {
    /// 1 unigram, 2 byte pairs.
    model: u64,
    prefix: bool,
    merge_spaces: bool,
    charsmap: Vec<u8>,
}

/// Reads the vocabulary for an embedding of `rows` rows.
pub(super) fn read(bytes: &[u8], rows: u32) -> Result<(Table, Rules), HuggingFaceError> {
    let mut table = Table::new(rows);
    let mut settings = Settings {
        model: 1,
        prefix: true,
        merge_spaces: true,
        charsmap: Vec::new(),
    };
    let mut rules = Rules::default();
    table.scores = vec![0.0; table.len()];
    let mut id = 0_u32;
    for field in fields(bytes)? {
        match field {
            Field::Bytes(1, piece) => {
                read_piece(piece, id, &mut table, &mut rules)?;
                id = id.saturating_add(1);
            }
            Field::Bytes(2, trainer) => {
                for field in fields(trainer)? {
                    if let Field::Number(3, model) = field {
                        settings.model = model;
                    }
                }
            }
            Field::Bytes(3, normaliser) => read_normaliser(normaliser, &mut settings)?,
            _ => {}
        }
    }
    if id == 0 {
        return Err(damaged("it holds no tokens"));
    }
    let model = match settings.model {
        1 => "t5",
        2 => "llama",
        _ => {
            return Err(damaged(
                "it is a model of words or characters, which is not read",
            ));
        }
    };
    rules.pairs.push(("model", model.into()));
    rules.pairs.push(("pre", "default".into()));
    rules
        .pairs
        .push(("add_space_prefix", settings.prefix.into()));
    if model == "t5" {
        rules
            .pairs
            .push(("remove_extra_whitespaces", settings.merge_spaces.into()));
        if !settings.charsmap.is_empty() {
            rules
                .pairs
                .push(("precompiled_charsmap", settings.charsmap.into()));
        }
    } else if settings.merge_spaces || !settings.charsmap.is_empty() {
        let changes = settings.merge_spaces || has_rules(&settings.charsmap);
        if changes {
            return Err(damaged(
                "it changes text before merging, which is not supported here",
            ));
        }
    }
    Ok((table, rules))
}

/// A map of four bytes or fewer holds no rules.
fn has_rules(charsmap: &[u8]) -> bool {
    charsmap.len() > 4
}

fn read_piece(
    piece: &[u8],
    id: u32,
    table: &mut Table,
    rules: &mut Rules,
) -> Result<(), HuggingFaceError> {
    let (mut text, mut score, mut kind) = ("", 0.0, 1);
    for field in fields(piece)? {
        match field {
            Field::Bytes(1, bytes) => {
                text = std::str::from_utf8(bytes).map_err(|_| damaged("a token is not UTF-8"))?;
            }
            Field::Fixed(2, bytes) => score = f32::from_le_bytes(bytes),
            Field::Number(3, number) => kind = number,
            _ => {}
        }
    }
    // The numbers of types are those that GGUF took over.
    let kind = match kind {
        1 => kind::NORMAL,
        2 => kind::UNKNOWN,
        3 => kind::CONTROL,
        4 => kind::USER_DEFINED,
        5 => kind::UNUSED,
        6 => kind::BYTE,
        _ => return Err(damaged("a token is of an unknown type")),
    };
    if kind == kind::UNKNOWN {
        rules.unknown = Some(text.to_owned());
    }
    table.set(FILE, id, text, kind)?;
    let index = usize::try_from(id).unwrap_or(usize::MAX);
    if let Some(slot) = table.scores.get_mut(index) {
        *slot = score;
    }
    Ok(())
}

fn read_normaliser(bytes: &[u8], settings: &mut Settings) -> Result<(), HuggingFaceError> {
    for field in fields(bytes)? {
        match field {
            Field::Bytes(2, charsmap) => settings.charsmap = charsmap.to_vec(),
            Field::Number(3, flag) => settings.prefix = flag != 0,
            Field::Number(4, flag) => settings.merge_spaces = flag != 0,
            _ => {}
        }
    }
    Ok(())
}
