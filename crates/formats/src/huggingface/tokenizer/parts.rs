//! The parts of the pipeline: sequences flattened, fields by name.

use serde_json::Value;

use super::super::HuggingFaceError;
use super::file::File;
use super::{Around, Table, unknown_part};

/// Parts that are believed; the longest pipeline of a known model has seven.
const MAX_PARTS: usize = 64;

/// One part, of a kind that its field `type` names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'a>(&'a Value);

impl<'a> Part<'a> {
    pub(super) fn kind(self) -> &'a str {
        self.0.get("type").and_then(Value::as_str).unwrap_or("")
    }

    pub(super) fn str(self, key: &str) -> Option<&'a str> {
        self.0.get(key)?.as_str()
    }

    pub(super) fn bool(self, key: &str) -> Option<bool> {
        self.0.get(key)?.as_bool()
    }

    /// A pattern is a regular expression or the text itself.
    pub(super) fn pattern(self, key: &str) -> Option<Pattern<'a>> {
        let pattern = self.0.get(key)?;
        let of = |kind: &str| pattern.get(kind).and_then(Value::as_str);
        of("Regex")
            .map(Pattern::Regex)
            .or_else(|| of("String").map(Pattern::Text))
    }

    /// The error that this part is not known here.
    pub(super) fn unknown(self) -> HuggingFaceError {
        let shown: String = self.0.to_string().chars().take(200).collect();
        unknown_part(format!("the part {shown} is not known here"))
    }
}

/// What a part looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    Regex(&'a str),
    Text(&'a str),
}

/// The parts in order; a sequence is its parts. None where there is nothing.
pub(super) fn flat(value: Option<&Value>) -> Result<Vec<Part<'_>>, HuggingFaceError> {
    let mut parts = Vec::new();
    // Nesting is bounded by the JSON parser.
    let mut waiting: Vec<&Value> = value.into_iter().collect();
    while let Some(value) = waiting.pop() {
        if parts.len() > MAX_PARTS || waiting.len() > MAX_PARTS {
            return Err(unknown_part(format!(
                "there are more than {MAX_PARTS} parts"
            )));
        }
        if Part(value).kind() != "Sequence" {
            parts.push(Part(value));
            continue;
        }
        let inner = ["normalizers", "pretokenizers", "processors", "decoders"]
            .iter()
            .find_map(|key| value.get(key)?.as_array());
        waiting.extend(inner.into_iter().flatten().rev());
    }
    Ok(parts)
}

/// The tokens that the post-processor puts around one text.
pub(super) fn around(file: &File, table: &Table) -> Result<Around, HuggingFaceError> {
    let mut around = Around::default();
    for part in flat(file.post_processor.as_ref())? {
        match part.kind() {
            "TemplateProcessing" => {
                around = template(part, table)?;
            }
            "BertProcessing" | "RobertaProcessing" => {
                let id = |key: &str| {
                    let id = part.0.get(key)?.get(1)?.as_u64()?;
                    u32::try_from(id).ok()
                };
                around.before = id("cls").into_iter().collect();
                around.after = id("sep").into_iter().collect();
                around.is_said = true;
            }
            "ByteLevel" => {}
            _ => return Err(part.unknown()),
        }
    }
    match around.before.len().max(around.after.len()) {
        0 | 1 => Ok(around),
        _ => Err(unknown_part(
            "the post-processor puts several tokens before or after a text",
        )),
    }
}

/// `[{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}, ...]`
fn template(part: Part<'_>, table: &Table) -> Result<Around, HuggingFaceError> {
    let mut around = Around {
        is_said: true,
        ..Around::default()
    };
    let mut behind = false;
    let pieces = part.0.get("single").and_then(Value::as_array);
    for piece in pieces.into_iter().flatten().take(MAX_PARTS) {
        if piece.get("Sequence").is_some() {
            behind = true;
            continue;
        }
        let text = piece
            .get("SpecialToken")
            .and_then(|t| t.get("id")?.as_str());
        let Some(id) = text.and_then(|text| table.find(text)) else {
            return Err(unknown_part(
                "the post-processor names a token that is not there",
            ));
        };
        match behind {
            false => around.before.push(id),
            true => around.after.push(id),
        }
    }
    Ok(around)
}
