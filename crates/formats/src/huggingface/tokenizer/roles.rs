//! Which tokens begin and end texts: tokenizer_config.json and its kin, by text; config.json, by number.

use serde_json::Value as J;

use super::super::json::{Json, whole};
use super::super::{HuggingFaceError, Texts};
use super::{Rules, Table, kind};
use crate::gguf::Value;

/// The names in files, and the keys of GGUF.
const ROLES: &[(&str, &str)] = &[
    ("bos", "bos_token_id"),
    ("eos", "eos_token_id"),
    ("unk", "unknown_token_id"),
    ("sep", "seperator_token_id"), // spelt so in the format
    ("pad", "padding_token_id"),
    ("cls", "cls_token_id"),
    ("mask", "mask_token_id"),
];

/// What the files say.
#[derive(Debug)]
pub(super) struct Said {
    /// For each of [`ROLES`], the token's text.
    texts: Vec<Option<String>>,
    /// For each of [`ROLES`], the token's number in config.json.
    numbers: Vec<Option<u32>>,
    /// All tokens that end an answer, by number.
    ends: Vec<u32>,
    add_bos: Option<bool>,
    add_eos: Option<bool>,
    /// `added_tokens_decoder`: number, text, special.
    added: Vec<(u32, String, bool)>,
    lower_case: Option<bool>,
}

impl Said {
    pub(super) fn read(texts: &Texts, config: &Json) -> Result<Self, HuggingFaceError> {
        let parse = |file: &'static str, text: &Option<Vec<u8>>| match text {
            Some(text) => Json::parse(file, text),
            None => Ok(Json::empty(file)),
        };
        let own = parse("tokenizer_config.json", &texts.tokenizer_config)?;
        let map = parse("special_tokens_map.json", &texts.special_tokens_map)?;
        let generation = parse("generation_config.json", &texts.generation_config)?;
        let by_text = |(role, _): &(&str, &str)| {
            let key = format!("{role}_token");
            own.get(&key).or_else(|| map.get(&key)).and_then(content)
        };
        let by_number = |(role, _): &(&str, &str)| {
            let key = format!("{role}_token_id");
            let found = config.get(&key).or_else(|| generation.get(&key));
            found.and_then(|value| whole(value).or_else(|| whole(value.get(0)?)))
        };
        let mut ends = Vec::new();
        for json in [&generation, config] {
            match json.get("eos_token_id") {
                Some(J::Array(ids)) => ends.extend(ids.iter().filter_map(whole)),
                Some(id) => ends.extend(whole(id)),
                None => {}
            }
        }
        let added = own
            .entries("added_tokens_decoder")
            .filter_map(|(id, token)| {
                let special = token.get("special").and_then(J::as_bool).unwrap_or(false);
                Some((id.parse().ok()?, content(token)?, special))
            });
        Ok(Self {
            texts: ROLES.iter().map(by_text).collect(),
            numbers: ROLES.iter().map(by_number).collect(),
            ends,
            // Some files hold texts here: only true and false count.
            add_bos: own.get("add_bos_token").and_then(J::as_bool),
            add_eos: own.get("add_eos_token").and_then(J::as_bool),
            added: added.collect(),
            lower_case: own.get("do_lower_case").and_then(J::as_bool),
        })
    }

    /// Names the added tokens that tokenizer_config.json holds, where no tokenizer.json does.
    pub(super) fn add_tokens(
        &self,
        table: &mut Table,
        rules: &mut Rules,
    ) -> Result<(), HuggingFaceError> {
        for (id, text, special) in &self.added {
            if usize::try_from(*id).is_ok_and(|index| index < table.len()) {
                let unknown = self.text("unk") == Some(text);
                let kind = match (special, unknown) {
                    (true, true) => kind::UNKNOWN,
                    (true, false) => kind::CONTROL,
                    (false, _) => kind::USER_DEFINED,
                };
                table.set("tokenizer_config.json", *id, text, kind)?;
            }
        }
        let has_case = rules
            .pairs
            .iter()
            .any(|(key, _)| *key == "normalizer.lowercase");
        if let Some(lower_case) = self.lower_case.filter(|_| has_case) {
            rules
                .pairs
                .retain(|(key, _)| *key != "normalizer.lowercase");
            rules
                .pairs
                .push(("normalizer.lowercase", lower_case.into()));
        }
        Ok(())
    }

    fn text(&self, role: &str) -> Option<&String> {
        let index = ROLES.iter().position(|(name, _)| *name == role)?;
        self.texts.get(index)?.as_ref()
    }

    /// The token of a role: by its text, else by its number.
    fn id(&self, role: &str, table: &Table) -> Option<u32> {
        let index = ROLES.iter().position(|(name, _)| *name == role)?;
        let named = self.text(role).and_then(|text| table.find(text));
        let number = self.numbers.get(index).copied().flatten();
        let has_row = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < table.len());
        named.or(number.filter(has_row))
    }

    /// Writes the keys of roles, and whether a text gets a beginning and an end.
    pub(super) fn write(&self, table: &Table, rules: &mut Rules) {
        let around = rules.around.clone();
        let (first, last) = (around.before.first().copied(), around.after.last().copied());
        let is_bert = rules
            .pairs
            .iter()
            .any(|(_, value)| *value == Value::from("bert"));
        let unknown = rules.unknown.as_deref().and_then(|text| table.find(text));
        for &(role, key) in ROLES {
            let found = match role {
                // BERT calls the beginning `[CLS]` and the end `[SEP]`.
                "bos" if is_bert => first
                    .or(self.id("cls", table))
                    .or_else(|| table.find("[CLS]")),
                "sep" if is_bert => last
                    .or(self.id("sep", table))
                    .or_else(|| table.find("[SEP]")),
                "unk" => unknown.or(self.id("unk", table)),
                // What is put around a text is what a text begins and ends with.
                "bos" => first.or(self.id("bos", table)),
                "eos" => last.or(self.id("eos", table)),
                _ => self.id(role, table),
            };
            if let Some(id) = found {
                rules.pairs.push((key, id.into()));
            }
        }
        if is_bert {
            return;
        }
        let eos = last.or(self.id("eos", table));
        let said = around.is_said;
        let add_bos = self.add_bos.or(said.then_some(first.is_some()));
        let add_eos = self
            .add_eos
            .or(said.then_some(last.is_some() && last == eos));
        let has_bos = first.or(self.id("bos", table)).is_some();
        rules.pairs.push((
            "add_bos_token",
            (add_bos.unwrap_or(false) && has_bos).into(),
        ));
        rules.pairs.push((
            "add_eos_token",
            (add_eos.unwrap_or(false) && eos.is_some()).into(),
        ));
        self.write_other_ends(table, eos, rules);
    }

    /// GGUF has room for two more tokens that end an answer.
    fn write_other_ends(&self, table: &Table, eos: Option<u32>, rules: &mut Rules) {
        let has_row = |id: &u32| usize::try_from(*id).is_ok_and(|id| id < table.len());
        let ends = self.ends.iter().copied().filter(has_row);
        let mut others: Vec<u32> = ends.chain(self.id("eos", table)).collect();
        others.sort_unstable();
        others.dedup();
        others.retain(|id| Some(*id) != eos);
        for (key, id) in ["eot_token_id", "eom_token_id"].into_iter().zip(others) {
            rules.pairs.push((key, id.into()));
        }
    }
}

/// A token is a text, or an object with its text.
fn content(value: &J) -> Option<String> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
    Some(text.to_owned())
}
