//! What a person types in a chat: lines become messages and commands.

/// A whole entry of a chat.
#[derive(Debug, PartialEq)]
pub enum Entry {
    /// Something to say to the model.
    Message(String),
    /// `/name rest`
    Command {
        /// Without the slash.
        name: String,
        /// What stands behind it, trimmed.
        rest: String,
    },
    /// Nothing but white space.
    Nothing,
}

/// Puts lines together: a `\` at the end of a line continues it, `"""` alone opens and closes a
/// block of lines that are taken as they are.
#[derive(Debug, Default)]
pub struct Lines {
    text: String,
    /// Inside `"""`.
    block: bool,
    /// After a `\`.
    continued: bool,
}

/// The mark around a block of lines.
const FENCE: &str = "\"\"\"";

impl Lines {
    /// Whether the next line belongs to an entry that has begun.
    pub fn pending(&self) -> bool {
        self.block || self.continued
    }

    /// Takes a line without its end; gives the entry that is complete with it.
    pub fn push(&mut self, line: &str) -> Option<Entry> {
        if self.block {
            return self.in_block(line);
        }
        if !self.continued
            && let Some(first) = line.trim_start().strip_prefix(FENCE)
        {
            self.block = true;
            return if first.is_empty() {
                None
            } else {
                self.in_block(first)
            };
        }
        if let Some(start) = line.strip_suffix('\\') {
            self.continued = true;
            self.text.push_str(start);
            self.text.push('\n');
            return None;
        }
        self.text.push_str(line);
        let was_one_line = !std::mem::take(&mut self.continued);
        Some(entry(std::mem::take(&mut self.text), was_one_line))
    }

    /// Gives up an entry that has begun.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    fn in_block(&mut self, line: &str) -> Option<Entry> {
        let Some(last) = line.trim_end().strip_suffix(FENCE) else {
            self.text.push_str(line);
            self.text.push('\n');
            return None;
        };
        self.text.push_str(last);
        self.block = false;
        let text = std::mem::take(&mut self.text);
        Some(entry(
            text.strip_suffix('\n').unwrap_or(&text).to_owned(),
            false,
        ))
    }
}

fn entry(text: String, may_be_command: bool) -> Entry {
    if text.trim().is_empty() {
        return Entry::Nothing;
    }
    match text.trim().strip_prefix('/') {
        Some(command) if may_be_command => {
            let (name, rest) = command
                .split_once(char::is_whitespace)
                .unwrap_or((command, ""));
            Entry::Command {
                name: name.to_owned(),
                rest: rest.trim().to_owned(),
            }
        }
        _ => Entry::Message(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(lines: &[&str]) -> Vec<Entry> {
        let mut all = Lines::default();
        let entries = lines.iter().filter_map(|line| all.push(line)).collect();
        assert!(!all.pending(), "{lines:?}");
        entries
    }

    fn message(text: &str) -> Entry {
        Entry::Message(text.into())
    }

    #[test]
    fn one_line_is_one_message() {
        assert_eq!(
            entries(&["Hello", " there "]),
            [message("Hello"), message(" there ")]
        );
        assert_eq!(entries(&["", "  "]), [Entry::Nothing, Entry::Nothing]);
    }

    #[test]
    fn a_backslash_continues() {
        assert_eq!(
            entries(&["one\\", "two\\", "three", "four"]),
            [message("one\ntwo\nthree"), message("four")]
        );
        assert_eq!(entries(&["say\\", "/help"]), [message("say\n/help")]);
    }

    #[test]
    fn a_block_is_taken_as_it_is() {
        assert_eq!(
            entries(&["\"\"\"", "a\\", "", "/b", "\"\"\"", "c"]),
            [message("a\\\n\n/b"), message("c")]
        );
        assert_eq!(entries(&["\"\"\"a", "b\"\"\""]), [message("a\nb")]);
        assert_eq!(entries(&["\"\"\"a\"\"\""]), [message("a")]);
    }

    #[test]
    fn commands() {
        let command = |name: &str, rest: &str| Entry::Command {
            name: name.into(),
            rest: rest.into(),
        };
        assert_eq!(
            entries(&["/help", "/set temp  0.5 ", "/"]),
            [
                command("help", ""),
                command("set", "temp  0.5"),
                command("", "")
            ]
        );
    }

    #[test]
    fn an_entry_can_be_given_up() {
        let mut lines = Lines::default();
        assert_eq!(lines.push("\"\"\""), None);
        assert_eq!(lines.push("x"), None);
        assert!(lines.pending());
        lines.clear();
        assert_eq!(lines.push("y"), Some(message("y")));
    }
}
