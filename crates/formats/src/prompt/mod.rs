//! Prompts: from a conversation or a text to the tokens that a model reads.
//!
//! A [`Prompter`] joins what a model file says of both: its vocabulary and its chat template.

mod guard;
#[cfg(test)]
mod tests;

pub(crate) use guard::MARK;

use crate::TokenId;
use crate::template::{Chat, ChatTemplate, LocalTime, TemplateError};
use crate::vocabulary::{Encode, Vocabulary, VocabularyError};
use guard::Guard;
use std::sync::Arc;

/// Why a conversation does not become a prompt.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// There is no chat template.
    #[error("this model has no chat template; give it a text to continue instead")]
    NoTemplate,
    /// The template cannot be read, or refuses the conversation.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// A conversation as a model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// What the template wrote.
    pub text: String,
    /// Its tokens, the beginning token included where the model wants one.
    pub tokens: Vec<TokenId>,
}

/// Makes the prompts of one model.
#[derive(Debug)]
pub struct Prompter {
    vocabulary: Arc<Vocabulary>,
    /// The template's text.
    source: Option<String>,
    template: Option<Result<ChatTemplate, TemplateError>>,
    guard: Guard,
}

impl Prompter {
    /// Reads the chat template of a vocabulary; one that cannot be read is no error until it is
    /// used.
    ///
    /// # Errors
    /// [`VocabularyError::SpecialTokens`]: there are too many control tokens.
    pub fn new(vocabulary: Arc<Vocabulary>) -> Result<Self, VocabularyError> {
        Ok(Self {
            source: vocabulary.chat_template().map(str::to_owned),
            template: vocabulary.chat_template().map(ChatTemplate::new),
            guard: Guard::new(&vocabulary)?,
            vocabulary,
        })
    }

    /// With another template than the model's own, which whoever runs the model has chosen.
    ///
    /// # Errors
    /// [`PromptError::Template`]: it cannot be read.
    pub fn with_template(mut self, source: &str) -> Result<Self, PromptError> {
        self.template = Some(Ok(ChatTemplate::new(source)?));
        self.source = Some(source.to_owned());
        Ok(self)
    }

    /// The template's text.
    pub fn template(&self) -> Option<&str> {
        self.source.as_deref()
    }

    /// The vocabulary.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The vocabulary, to be kept.
    pub fn shared_vocabulary(&self) -> Arc<Vocabulary> {
        Arc::clone(&self.vocabulary)
    }

    /// Whether there is a chat template.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// Whether the template speaks of `name`: a variable that it never reads changes nothing.
    pub fn template_mentions(&self, name: &str) -> bool {
        let source = self.source.as_deref();
        source.is_some_and(|source| source.contains(name))
    }

    /// The prompt that a conversation becomes. `now` is what a template that shows the date shows.
    ///
    /// The text of a control token in the conversation never becomes that token: only the template
    /// writes those. (The marks of reasoning in the messages of the assistant are left to the
    /// template.) A template may or may not write the beginning token; there is exactly one where
    /// the model wants one.
    ///
    /// # Errors
    /// [`PromptError`].
    pub fn chat(&self, chat: &Chat, now: LocalTime) -> Result<Prompt, PromptError> {
        let template = match &self.template {
            None => return Err(PromptError::NoTemplate),
            Some(Err(e)) => return Err(e.clone().into()),
            Some(Ok(template)) => template,
        };
        let guarded = Chat {
            messages: self.guard.messages(&chat.messages),
            tools: chat.tools.as_deref().map(|t| self.guard.values(t)),
            documents: chat.documents.as_deref().map(|d| self.guard.values(d)),
            add_generation_prompt: chat.add_generation_prompt,
            variables: self.guard.object(&chat.variables),
        };
        let rendered = template.render(&with_token_texts(guarded, &self.vocabulary), now)?;
        let mut tokens = self.vocabulary.encode_guarded(&rendered);
        if let Some(bos) = self.vocabulary.bos().filter(|_| self.vocabulary.add_bos())
            && tokens.first() != Some(&bos)
        {
            tokens.insert(0, bos);
        }
        Ok(Prompt {
            text: rendered.replace(MARK, ""),
            tokens,
        })
    }

    /// The tokens of a text to continue, with the beginning token where the model wants one; the
    /// text of a control token becomes that token. An empty text becomes the beginning token.
    pub fn text(&self, text: &str) -> Vec<TokenId> {
        let vocabulary = self.vocabulary();
        let options = Encode {
            add_special: true,
            parse_special: true,
        };
        let mut tokens = vocabulary.encode(text, options);
        // The end token of a text that is to go on would end it.
        if vocabulary.add_eos() && tokens.len() > 1 && tokens.last() == vocabulary.eos().as_ref() {
            tokens.pop();
        }
        if tokens.is_empty() {
            tokens.extend(vocabulary.bos());
        }
        tokens
    }
}

/// The chat as a template sees it: with the texts of the beginning and end tokens, `bos_token` and
/// `eos_token`, unless they were set by hand.
#[must_use]
pub fn with_token_texts(mut chat: Chat, vocabulary: &Vocabulary) -> Chat {
    for (name, token) in [
        ("bos_token", vocabulary.bos()),
        ("eos_token", vocabulary.eos()),
    ] {
        let text = token.and_then(|t| vocabulary.token_text(t)).unwrap_or("");
        let variable = chat.variables.entry(name);
        variable.or_insert_with(|| text.into());
    }
    chat
}
