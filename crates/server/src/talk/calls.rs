//! Calls of tools in an answer: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, as
//! Hermes and Qwen models write them.

use serde_json::{Value, json};

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text for the reader.
    Text(String),
    /// A tool to be called.
    Call {
        /// Which one.
        name: String,
        /// A JSON object, as text.
        arguments: String,
    },
}

/// Whether a template asks for calls in this form and no other.
pub fn understands(mentions: impl Fn(&str) -> bool) -> bool {
    mentions(OPEN) && !mentions("<function=") && !mentions("<arg_key>")
}

/// Tells calls from text while it streams in. What looks like a call and is none stays text; white
/// space beside a call is no part of the text.
#[derive(Debug, Default)]
pub struct Splitter {
    held: String,
    /// Inside what may be a call: the white space before it.
    inside: Option<String>,
    /// Nothing but white space came since the last call.
    after_call: bool,
}

impl Splitter {
    /// Takes the next text and gives back what is known of it.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        self.held.push_str(text);
        let mut parts = Vec::new();
        while self.step(&mut parts) {}
        parts
    }

    /// Ends the answer: what was held is what it looks like.
    pub fn finish(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        let rest = std::mem::take(&mut self.held);
        let rest = match self.inside.take() {
            Some(space) => space + OPEN + &rest,
            None => rest,
        };
        self.text(&rest, &mut parts);
        parts
    }

    /// One change of state; whether there is more to do.
    fn step(&mut self, parts: &mut Vec<Part>) -> bool {
        let mark = if self.inside.is_some() { CLOSE } else { OPEN };
        let Some((before, after)) = self.held.split_once(mark) else {
            if self.inside.is_none() {
                self.certain_text(parts);
            }
            return false;
        };
        let (before, after) = (before.to_owned(), after.to_owned());
        self.held = after;
        match self.inside.take() {
            None => {
                let text = before.trim_end();
                self.inside = before.strip_prefix(text).map(str::to_owned);
                self.text(text, parts);
            }
            Some(space) => match call(&before) {
                Some(call) => {
                    parts.push(call);
                    self.after_call = true;
                }
                None => self.text(&(space + OPEN + &before + CLOSE), parts),
            },
        }
        true
    }

    /// Hands out what cannot be the beginning of a call, nor white space before one.
    fn certain_text(&mut self, parts: &mut Vec<Part>) {
        let solid = self.held.len() - begun(&self.held);
        let solid = self
            .held
            .get(..solid)
            .map_or(0, |text| text.trim_end().len());
        let rest = self.held.split_off(solid);
        let text = std::mem::replace(&mut self.held, rest);
        self.text(&text, parts);
    }

    fn text(&mut self, text: &str, parts: &mut Vec<Part>) {
        let text = if self.after_call {
            text.trim_start()
        } else {
            text
        };
        if !text.is_empty() {
            self.after_call = false;
            parts.push(Part::Text(text.to_owned()));
        }
    }
}

/// Bytes at the end of `text` that are the beginning of a call's mark.
fn begun(text: &str) -> usize {
    let lengths = (1..OPEN.len()).rev();
    let found = lengths.map(|n| OPEN.get(..n).unwrap_or_default());
    found
        .into_iter()
        .find(|start| text.ends_with(start))
        .map_or(0, str::len)
}

fn call(text: &str) -> Option<Part> {
    let call: Value = serde_json::from_str(text.trim()).ok()?;
    let name = call.get("name")?.as_str()?.to_owned();
    let arguments = match call.get("arguments").or_else(|| call.get("parameters")) {
        None | Some(Value::Null) => json!({}),
        Some(Value::String(text)) => serde_json::from_str(text).ok()?,
        Some(other) => other.clone(),
    };
    arguments.is_object().then(|| Part::Call {
        name,
        arguments: arguments.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(text: &str, size: usize) -> (String, Vec<(String, String)>) {
        let mut splitter = Splitter::default();
        let chars: Vec<char> = text.chars().collect();
        let mut parts = Vec::new();
        for piece in chars.chunks(size) {
            parts.extend(splitter.push(&piece.iter().collect::<String>()));
        }
        parts.extend(splitter.finish());
        let (mut all, mut calls) = (String::new(), Vec::new());
        for part in parts {
            match part {
                Part::Text(text) => all += &text,
                Part::Call { name, arguments } => calls.push((name, arguments)),
            }
        }
        (all, calls)
    }

    #[test]
    fn calls_and_text() {
        let call = |name: &str, arguments: &str| (name.to_owned(), arguments.to_owned());
        let cases = [
            ("Hi < there\n", "Hi < there\n", vec![]),
            (
                "\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
                "",
                vec![call("f", "{\"a\":1}")],
            ),
            (
                "Let me see.\n<tool_call>{\"name\":\"f\"}</tool_call>\n<tool_call>{\"name\":\"g\",\"arguments\":\"{}\"}</tool_call>\n",
                "Let me see.",
                vec![call("f", "{}"), call("g", "{}")],
            ),
            (
                "<tool_call>{\"name\": 1}</tool_call> x",
                "<tool_call>{\"name\": 1}</tool_call> x",
                vec![],
            ),
            ("a <tool_call>{\"na", "a <tool_call>{\"na", vec![]),
        ];
        for size in 1..20 {
            for (text, want, calls) in &cases {
                assert_eq!(
                    split(text, size),
                    ((*want).to_owned(), calls.clone()),
                    "{text} by {size}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_cut_does_not_matter(text in "([ a\n<]{0,4}(<tool_call>)?(\\{\"name\":\"f\"\\})?(</tool_call>)?){0,3}", size in 1_usize..9) {
            prop_assert_eq!(split(&text, size), split(&text, 1000));
        }
    }
}
