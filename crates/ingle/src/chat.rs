//! A conversation.

use ingle_formats::vocabulary::Vocabulary;
use ingle_formats::{TokenId, template};
use serde_json::{Value, json};

/// A conversation and the switches of its template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chat {
    inner: template::Chat,
}

impl Chat {
    /// An empty conversation whose prompt will end where the assistant's answer begins.
    pub fn new() -> Self {
        Self {
            inner: template::Chat {
                add_generation_prompt: true,
                ..template::Chat::default()
            },
        }
    }

    /// Adds a message of `system`, `user` or `assistant`, or of another role that the template knows.
    #[must_use]
    pub fn message(mut self, role: &str, content: &str) -> Self {
        self.inner
            .messages
            .push(json!({ "role": role, "content": content }));
        self
    }

    /// Sets a variable that the template may read, as `enable_thinking`.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.inner.variables.insert(name.to_owned(), value.into());
        self
    }

    /// The chat as a template sees it: with the texts of the beginning and end tokens, unless they
    /// were set by hand.
    pub fn for_vocabulary(&self, vocabulary: &Vocabulary) -> template::Chat {
        let mut chat = self.inner.clone();
        for (name, value) in token_variables(vocabulary) {
            chat.variables.entry(name).or_insert_with(|| value.into());
        }
        chat
    }
}

impl From<template::Chat> for Chat {
    fn from(inner: template::Chat) -> Self {
        Self { inner }
    }
}

/// `bos_token` and `eos_token`, as templates know them.
fn token_variables(vocabulary: &Vocabulary) -> impl Iterator<Item = (&'static str, &str)> {
    let text = |token: Option<TokenId>| token.and_then(|t| vocabulary.token_text(t)).unwrap_or("");
    [
        ("bos_token", text(vocabulary.bos())),
        ("eos_token", text(vocabulary.eos())),
    ]
    .into_iter()
}
