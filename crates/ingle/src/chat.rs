//! A conversation.

use ingle_formats::template;
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

    /// As a template sees it.
    pub fn as_template(&self) -> &template::Chat {
        &self.inner
    }
}

impl From<template::Chat> for Chat {
    fn from(inner: template::Chat) -> Self {
        Self { inner }
    }
}
