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
    /// How that which fills it begins.
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
        tokens.push(suffix);
        tokens.extend(encode(&self.suffix));
        tokens.push(middle);
        tokens.extend(encode(&self.begun));
        Ok(tokens)
    }
}
