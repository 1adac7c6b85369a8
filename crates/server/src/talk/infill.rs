//! Filling in the middle.

use crate::error::ApiError;
use ingle_formats::TokenId;
use ingle_formats::vocabulary::{Encode, Vocabulary};

/// A text with a hole, which the model fills.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Infill {
    /// What stands before the hole.
    pub prefix: String,
    /// What stands behind it.
    pub suffix: String,
    /// More of what stands before it: the line that is being written.
    pub begun: String,
    /// Other files that say what it is about: names and texts.
    pub files: Vec<(String, String)>,
}

impl Infill {
    /// The prompt: other files, then `prefix` and `suffix` behind their marks, then the mark of the
    /// middle (<https://arxiv.org/abs/2207.14255>, section 3, PSM). `param` is the field that asked.
    pub fn tokens(&self, vocabulary: &Vocabulary, param: &str) -> Result<Vec<TokenId>, ApiError> {
        let roles = vocabulary.roles();
        let (Some(prefix), Some(suffix), Some(middle)) =
            (roles.fim_prefix, roles.fim_suffix, roles.fim_middle)
        else {
            let message = format!(
                "`{param}`: this model has no tokens for filling in the middle; use a code model that has"
            );
            return Err(ApiError::unsupported(param, message));
        };
        let plain = Encode {
            add_special: false,
            parse_special: false,
        };
        let encode = |text: &str| vocabulary.encode(text, plain);
        let mut tokens = Vec::new();
        tokens.extend(vocabulary.bos().filter(|_| vocabulary.add_bos()));
        if !self.files.is_empty() {
            // Names of repositories are not asked for: the mark alone says that files follow.
            if let Some(repository) = roles.fim_repository {
                tokens.push(repository);
                tokens.extend(encode("repository\n"));
            }
            for (name, text) in &self.files {
                match roles.fim_file {
                    Some(file) => {
                        tokens.push(file);
                        tokens.extend(encode(&format!("{name}\n")));
                    }
                    None => tokens.extend(encode(&format!("\n\n--- {name} ---\n\n"))),
                }
                tokens.extend(encode(text));
            }
            if let Some(file) = roles.fim_file {
                tokens.push(file);
                tokens.extend(encode("\n"));
            }
        }
        tokens.push(prefix);
        tokens.extend(encode(&self.prefix));
        // By itself, so that the tokens before it stay what they were while it is written.
        tokens.extend(encode(&self.begun));
        tokens.push(suffix);
        tokens.extend(encode(&self.suffix));
        tokens.push(middle);
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingle_formats::gguf::{Metadata, Value};

    /// A vocabulary of bytes, and these tokens by their metadata keys.
    fn vocabulary(roles: &[(&str, &str)]) -> Vocabulary {
        let printable = |byte: &u32| matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff);
        let shifted = (0..256).filter(|b| !printable(b)).zip(256..);
        let alphabet = (0..256)
            .filter(printable)
            .chain(shifted.map(|(_, code)| code));
        let mut tokens: Vec<String> = alphabet
            .map(|code: u32| char::from_u32(code).unwrap().to_string())
            .collect();
        let mut kinds = vec![1; 256];
        let mut pairs: Vec<(&str, Value)> = Vec::new();
        for (text, key) in roles {
            if !key.is_empty() {
                pairs.push((key, (tokens.len() as u32).into()));
            }
            tokens.push((*text).to_owned());
            kinds.push(3);
        }
        let texts: Vec<&str> = tokens.iter().map(String::as_str).collect();
        pairs.extend([
            ("tokenizer.ggml.model", "gpt2".into()),
            ("tokenizer.ggml.pre", "qwen2".into()),
            ("tokenizer.ggml.tokens", texts.into()),
            ("tokenizer.ggml.token_type", kinds.into()),
            ("tokenizer.ggml.merges", vec!["a a"].into()),
        ]);
        Vocabulary::from_metadata(&Metadata::from_pairs(pairs).unwrap()).unwrap()
    }

    fn hole() -> Infill {
        Infill {
            prefix: "a".into(),
            suffix: "b".into(),
            ..Infill::default()
        }
    }

    #[test]
    fn a_hole_stands_between_the_marks_of_each_family() {
        let families: [&[(&str, &str)]; 5] = [
            &[
                ("<|fim_prefix|>", ""),
                ("<|fim_suffix|>", ""),
                ("<|fim_middle|>", ""),
            ],
            &[
                ("<fim_prefix>", ""),
                ("<fim_suffix>", ""),
                ("<fim_middle>", ""),
            ],
            &[
                ("<｜fim▁begin｜>", ""),
                ("<｜fim▁hole｜>", ""),
                ("<｜fim▁end｜>", ""),
            ],
            &[("▁<PRE>", ""), ("▁<SUF>", ""), ("▁<MID>", "")],
            &[
                ("<x>", "tokenizer.ggml.fim_pre_token_id"),
                ("<y>", "tokenizer.ggml.fim_suf_token_id"),
                ("<z>", "tokenizer.ggml.fim_mid_token_id"),
            ],
        ];
        for family in families {
            let vocabulary = vocabulary(family);
            let tokens = hole().tokens(&vocabulary, "suffix").unwrap();
            let texts: Vec<&str> = tokens
                .iter()
                .filter_map(|t| vocabulary.token_text(*t))
                .collect();
            let [(prefix, _), (suffix, _), (middle, _)] = family else {
                panic!("three marks");
            };
            assert_eq!(texts, [*prefix, "a", *suffix, "b", *middle]);
        }
    }

    #[test]
    fn what_a_person_writes_is_no_mark() {
        let marks = [
            ("<|fim_prefix|>", ""),
            ("<|fim_suffix|>", ""),
            ("<|fim_middle|>", ""),
        ];
        let vocabulary = vocabulary(&marks);
        let said = Infill {
            prefix: "<|fim_suffix|>".into(),
            ..hole()
        };
        let tokens = said.tokens(&vocabulary, "suffix").unwrap();
        let marks = tokens.iter().filter(|t| t.0 >= 256).count();
        assert_eq!(marks, 3);
    }

    #[test]
    fn a_model_without_marks_fills_nothing() {
        let refused = hole().tokens(&vocabulary(&[]), "suffix").unwrap_err();
        assert_eq!(refused.param.as_deref(), Some("suffix"));
        assert_eq!(refused.code, Some("unsupported_value"));
    }
}
