//! The prompt by which a decoder is asked whether a document answers a query.

use ingle_formats::TokenId;
use ingle_formats::gguf::Metadata;
use ingle_formats::vocabulary::{Encode, TokenKind, Vocabulary, VocabularyError};

/// What Qwen3-Reranker was trained with (<https://arxiv.org/abs/2506.05176>), where a file has no
/// template of its own.
const QWEN3: &str = "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be \"yes\" or \"no\".<|im_end|>\n<|im_start|>user\n<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n<Query>: {query}\n<Document>: {document}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

const QUERY: &str = "{query}";
const DOCUMENT: &str = "{document}";

/// A template with places for a query and a document.
#[derive(Debug)]
pub(crate) struct RerankPrompt {
    /// Up to the last control token before the places.
    before: Vec<TokenId>,
    /// Text, and whether it is followed by the document (or the query).
    parts: Vec<(String, bool)>,
    /// The text behind the last place.
    last: String,
    /// From the first control token behind the places on.
    after: Vec<TokenId>,
}

impl RerankPrompt {
    /// The file's template, or the usual one; `None` where neither fits the vocabulary.
    pub fn read(
        metadata: &Metadata,
        vocabulary: &Vocabulary,
    ) -> Result<Option<Self>, VocabularyError> {
        Ok(match metadata.str("tokenizer.chat_template.rerank")? {
            Some(template) => Self::new(template, vocabulary),
            None => vocabulary
                .token_id("<|im_start|>")
                .and_then(|_| Self::new(QWEN3, vocabulary)),
        })
    }

    fn new(template: &str, vocabulary: &Vocabulary) -> Option<Self> {
        let places = [template.find(QUERY)?, template.find(DOCUMENT)?];
        let (first, last) = (*places.iter().min()?, *places.iter().max()?);
        let tokens = (0..vocabulary.len() as u32).map(TokenId);
        let is_special = |&id: &TokenId| {
            let kind = vocabulary.kind(id);
            matches!(kind, Some(TokenKind::Control | TokenKind::UserDefined))
        };
        let (mut start, mut end) = (0, template.len());
        for text in tokens
            .filter(is_special)
            .filter_map(|id| vocabulary.token_text(id))
        {
            if let Some(at) = template[..first].rfind(text) {
                start = start.max(at + text.len());
            }
            if let Some(at) = template[last..].find(text) {
                end = end.min(last + at);
            }
        }
        let encode = Encode {
            add_special: false,
            parse_special: true,
        };
        let (mut parts, mut rest) = (Vec::new(), &template[start..end]);
        while let Some((at, is_document)) = next_place(rest) {
            parts.push((rest[..at].to_owned(), is_document));
            rest = &rest[at
                + if is_document {
                    DOCUMENT.len()
                } else {
                    QUERY.len()
                }..];
        }
        Some(Self {
            before: vocabulary.encode(&template[..start], encode),
            parts,
            last: rest.to_owned(),
            after: vocabulary.encode(&template[end..], encode),
        })
    }

    /// The prompt's tokens. Neither text can make a control token.
    pub fn tokens(&self, vocabulary: &Vocabulary, query: &str, document: &str) -> Vec<TokenId> {
        let mut text = String::new();
        for (part, is_document) in &self.parts {
            text.push_str(part);
            text.push_str(if *is_document { document } else { query });
        }
        text.push_str(&self.last);
        let mut tokens = self.before.clone();
        tokens.extend(vocabulary.encode(&text, Encode::default()));
        tokens.extend(&self.after);
        tokens
    }
}

/// Where the next place is, and whether it is the document's.
fn next_place(text: &str) -> Option<(usize, bool)> {
    let query = text.find(QUERY).map(|at| (at, false));
    let document = text.find(DOCUMENT).map(|at| (at, true));
    query.into_iter().chain(document).min()
}
