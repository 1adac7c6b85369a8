//! Lines of JSON: questions whose answers are known, or answers of which it is known whether they were
//! right.

use anyhow::{Context, ensure};
use ingle::Chat;
use ingle::engine::constrain::Constraint;
use ingle::gateway::confidence::recall;
use ingle::trial::{Trial, is_same};
use serde::Deserialize;
use serde_json::Value;
use std::io::Read;
use std::path::Path;

/// The largest file that is read.
const MOST_BYTES: u64 = 1 << 30;
/// Tokens of an answer where a line says nothing else.
const MAX_TOKENS: u32 = 512;

/// A line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    /// Texts that are right.
    answers: Option<Vec<String>>,
    /// An answer that was given.
    answer: Option<String>,
    /// Whether that was right.
    right: Option<bool>,
    /// What the splits go by, where not the prompt.
    text: Option<String>,
    choices: Option<Vec<String>>,
    schema: Option<Value>,
    max_tokens: Option<u32>,
    /// A part of the questions that a report shows by itself.
    group: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    role: String,
    content: String,
}

/// A question, and how to tell whether an answer is right.
pub struct Question {
    pub trial: Trial,
    /// What a gateway looks at before the request runs: what the person wrote last.
    pub prompt: String,
    /// What says in which part of a split it is.
    pub text: String,
    /// Hashes of the answers that its form allows, where they are few.
    pub choices: Vec<u32>,
    /// The part of the questions that it belongs to.
    pub group: Option<String>,
    accepted: Accepted,
}

enum Accepted {
    Answers(Vec<String>),
    Known(bool),
}

impl Question {
    /// The hash of the answer that is right, where that is known.
    pub fn right(&self, given: &str) -> Option<u32> {
        match &self.accepted {
            Accepted::Answers(_) if self.is_right(given) => Some(recall::answer(given)),
            Accepted::Answers(all) => all.first().map(|right| recall::answer(right)),
            Accepted::Known(right) => right.then(|| recall::answer(given)),
        }
    }

    /// Whether an answer is right.
    pub fn is_right(&self, answer: &str) -> bool {
        match &self.accepted {
            Accepted::Answers(all) => all.iter().any(|right| is_same(right, answer)),
            Accepted::Known(right) => *right,
        }
    }
}

/// All questions of a file, or of standard input by the name `-`.
///
/// # Errors
/// It cannot be read, or a line is no question; the message has its number.
pub fn read(path: &Path) -> anyhow::Result<Vec<Question>> {
    let shown = path.display();
    let mut text = String::new();
    let mut source: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => {
            Box::new(std::fs::File::open(path).with_context(|| format!("{shown} cannot be read"))?)
        }
    };
    let n = source
        .by_ref()
        .take(MOST_BYTES + 1)
        .read_to_string(&mut text);
    let n = n.with_context(|| format!("{shown} cannot be read as text"))?;
    ensure!(
        n as u64 <= MOST_BYTES,
        "{shown} has more than {MOST_BYTES} bytes; give less"
    );
    let mut all = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if !line.trim().is_empty() {
            all.push(question(line).with_context(|| format!("{shown}, line {}", i + 1))?);
        }
    }
    ensure!(
        !all.is_empty(),
        "{shown} has no line; give one question a line"
    );
    Ok(all)
}

fn question(line: &str) -> anyhow::Result<Question> {
    let line: Line = serde_json::from_str(line)
        .context("this is no JSON object as `ingle calibrate` reads it")?;
    let messages = match (line.prompt, line.messages) {
        (Some(prompt), None) => vec![Message {
            role: "user".into(),
            content: prompt,
        }],
        (None, Some(messages)) => messages,
        _ => anyhow::bail!("give either `prompt` or `messages`"),
    };
    let last = messages.iter().rev().find(|m| m.role == "user");
    let prompt = last
        .context("there is no message of a user")?
        .content
        .clone();
    let (accepted, given) = match (line.answers, line.answer, line.right) {
        (Some(answers), None, None) if !answers.is_empty() => (Accepted::Answers(answers), None),
        (None, Some(answer), Some(right)) if !answer.is_empty() => {
            (Accepted::Known(right), Some(answer))
        }
        _ => anyhow::bail!(
            "give either `answers`, a list of texts that are right, or an `answer` and whether it was `right`"
        ),
    };
    let form = match (line.choices, line.schema) {
        (None, None) => None,
        (Some(choices), None) => Some(Constraint::Choice(choices)),
        (None, Some(schema)) => Some(Constraint::JsonSchema(schema)),
        _ => anyhow::bail!("give `choices` or `schema`, not both"),
    };
    let choices = match &form {
        Some(Constraint::Choice(all)) => all.iter().map(|one| recall::answer(one)).collect(),
        Some(Constraint::JsonSchema(schema)) => recall::choices(schema),
        _ => Vec::new(),
    };
    let chat = messages
        .iter()
        .fold(Chat::new(), |chat, m| chat.message(&m.role, &m.content));
    Ok(Question {
        text: line.text.unwrap_or_else(|| prompt.clone()),
        trial: Trial {
            chat,
            form,
            max_tokens: given
                .is_none()
                .then(|| line.max_tokens.unwrap_or(MAX_TOKENS)),
            given,
        },
        prompt,
        choices,
        group: line.group,
        accepted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_kinds() {
        let q = question(r#"{"prompt": "2+2?", "answers": ["4", "four"], "choices": ["4", "5"]}"#)
            .unwrap();
        assert!(q.is_right(" Four\n") && !q.is_right("5"));
        assert!(q.trial.given.is_none() && q.trial.max_tokens == Some(MAX_TOKENS));
        let q = question(
            r#"{"messages": [{"role": "system", "content": "x"}, {"role": "user", "content": "hi"}],
                "answer": "hello", "right": false, "text": "t"}"#,
        )
        .unwrap();
        assert_eq!((q.prompt.as_str(), q.text.as_str()), ("hi", "t"));
        assert!(!q.is_right("hello") && q.trial.given.as_deref() == Some("hello"));
    }

    #[test]
    fn what_is_no_question_is_told() {
        for (line, why) in [
            ("[]", "no JSON object"),
            (r#"{"prompt": "a"}"#, "give either `answers`"),
            (r#"{"answers": ["a"]}"#, "give either `prompt`"),
            (r#"{"prompt": "a", "answers": []}"#, "give either `answers`"),
            (
                r#"{"prompt": "a", "answers": ["b"], "answer": "c"}"#,
                "give either `answers`",
            ),
            (
                r#"{"prompt": "a", "answers": ["b"], "extra": 1}"#,
                "no JSON object",
            ),
            (
                r#"{"prompt": "a", "answers": ["b"], "choices": ["b"], "schema": {}}"#,
                "not both",
            ),
            (
                r#"{"messages": [], "answers": ["b"]}"#,
                "no message of a user",
            ),
        ] {
            let error = question(line).err().unwrap();
            assert!(format!("{error:#}").contains(why), "{line}: {error:#}");
        }
    }
}
