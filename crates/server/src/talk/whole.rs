//! Answers in one piece.

use super::answers::{Answers, News, TokenLogprob};
use super::conversation::Call;
use super::end::End;
use super::usage::Usage;
use crate::error::ApiError;

/// All answers to a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Whole {
    /// Each of them: `n` to the first prompt, `n` to the second and so on.
    pub choices: Vec<Choice>,
    /// What they took.
    pub usage: Usage,
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Choice {
    /// What it says, in order; texts of a kind that follow each other are one.
    pub said: Vec<Said>,
    /// Log-probabilities of its tokens, if asked for.
    pub logprobs: Vec<TokenLogprob>,
    /// How it ended; none while it has not.
    pub end: Option<End>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// What the model thinks.
    Reasoning(String),
    /// Text for the reader.
    Content(String),
    /// A tool is to be called.
    Call(Call),
}

impl Choice {
    /// Takes what is new.
    pub fn add(&mut self, news: News) {
        match (news, self.said.last_mut()) {
            (News::Reasoning(more), Some(Said::Reasoning(text)))
            | (News::Content(more), Some(Said::Content(text))) => text.push_str(&more),
            (News::Reasoning(text), _) => self.said.push(Said::Reasoning(text)),
            (News::Content(text), _) => self.said.push(Said::Content(text)),
            (News::CallBegin { id, name, .. }, _) => self.said.push(Said::Call(Call {
                id,
                name,
                arguments: String::new(),
            })),
            (News::CallArguments { text, .. }, Some(Said::Call(call))) => {
                call.arguments.push_str(&text);
            }
            // What it wrote was no call; all of it follows as text.
            (News::CallEnd { whole: false, .. }, Some(Said::Call(_))) => drop(self.said.pop()),
            (News::CallArguments { .. } | News::CallEnd { .. }, _) => {}
            (News::Logprob(logprob), _) => self.logprobs.push(logprob),
            (News::End(end), _) => self.end = Some(end),
            (News::Failed(_), _) => {}
        }
    }

    /// All text for the reader.
    pub fn content(&self) -> String {
        let texts = self.said.iter().filter_map(|said| match said {
            Said::Content(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// All that the model thought.
    pub fn reasoning(&self) -> String {
        let texts = self.said.iter().filter_map(|said| match said {
            Said::Reasoning(text) => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    }

    /// What is to be called.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.said.iter().filter_map(|said| match said {
            Said::Call(call) => Some(call),
            _ => None,
        })
    }
}

impl Answers {
    /// Waits for all of it.
    ///
    /// # Errors
    /// One of the answers could not be finished.
    pub async fn whole(mut self) -> Result<(Whole, Self), ApiError> {
        let mut choices = vec![Choice::default(); self.choices()];
        while let Some(heard) = self.next().await {
            let Some(choice) = choices.get_mut(heard.choice) else {
                continue;
            };
            for news in heard.news {
                match news {
                    News::Failed(error) => return Err(error),
                    news => choice.add(news),
                }
            }
        }
        let usage = self.usage();
        Ok((Whole { choices, usage }, self))
    }
}
