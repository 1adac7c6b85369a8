//! The chat of `ingle run`: history, lines of input, commands that begin with a slash.

use super::run::{Session, full};
use crate::answer::Show;
use crate::chat_input::{Entry, Lines};
use crate::interrupt::Interrupt;
use crate::load::Loaded;
use crate::through::Through;
use crate::{clock, out};
use ingle::formats::prompt::Prompt;
use ingle::{FinishReason, Sampling};
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Behavior, Config, Editor};

const HELP: &str = r#"
  /help               this text
  /clear              forget the conversation
  /system TEXT        what the model is told first (and forget the conversation); none: /system
  /set NAME VALUE     temp, top_k, top_p, min_p, typical, repeat_penalty, presence_penalty,
                      frequency_penalty, seed, max_tokens (0: no limit), think (on, off)
  /set                what these are now
  /exit               leave; Ctrl-D does too
A line that ends in \ goes on in the next; """ alone opens and closes a block of lines.
Ctrl-C stops an answer, or gives up what is typed.
"#;

/// Who answers.
pub enum Voice<'a> {
    /// A model that is loaded here.
    Here(&'a mut Loaded),
    /// A server, which may ask a provider.
    Server(&'a Through),
}

/// A conversation and what it is held with.
struct Talk<'a> {
    session: Session,
    voice: Voice<'a>,
    interrupt: &'a Interrupt,
    /// (role, content), without the system message.
    messages: Vec<(&'static str, String)>,
}

/// Whether the chat goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Line,
    Leave,
}

/// Talks until the person leaves.
///
/// # Errors
/// The terminal cannot be used.
pub fn chat(session: Session, voice: Voice<'_>, interrupt: &Interrupt) -> anyhow::Result<()> {
    // On the terminal itself: stdout carries answers and nothing else.
    let config = Config::builder()
        .behavior(Behavior::PreferTerm)
        .auto_add_history(true)
        .build();
    let history = MemHistory::with_config(&config);
    let mut editor = Editor::<(), _>::with_history(config, history)?;
    let mut talk = Talk {
        session,
        voice,
        interrupt,
        messages: Vec::new(),
    };
    let mut lines = Lines::default();
    out::note("Type a message, or /help.");
    loop {
        match editor.readline(if lines.pending() { "... " } else { ">>> " }) {
            Ok(line) => {
                if let Some(entry) = lines.push(&line)
                    && talk.entry(entry)? == Next::Leave
                {
                    return Ok(());
                }
            }
            Err(ReadlineError::Interrupted) => {
                lines.clear();
                out::note("(Ctrl-D or /exit leaves)");
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

impl Talk<'_> {
    fn entry(&mut self, entry: Entry) -> anyhow::Result<Next> {
        match entry {
            Entry::Nothing => {}
            Entry::Message(text) => self.message(text)?,
            Entry::Command { name, rest } => match name.as_str() {
                "help" | "?" => out::note(HELP.trim_matches('\n')),
                "exit" | "quit" | "bye" => return Ok(Next::Leave),
                "clear" => {
                    self.messages.clear();
                    out::note("(the conversation is forgotten)");
                }
                "system" => self.system(rest),
                "set" => out::note(self.set(&rest).unwrap_or_else(|problem| problem)),
                _ => out::note(format!(
                    "there is no command /{}; /help shows them",
                    out::plain(&name)
                )),
            },
        }
        Ok(Next::Line)
    }

    fn system(&mut self, text: String) {
        if self.session.raw {
            return out::note("there is no system message without a chat template");
        }
        self.session.system = (!text.is_empty()).then_some(text);
        self.messages.clear();
        out::note("(noted; the conversation begins anew)");
    }

    /// Answers a message. What goes wrong with it is said, and the chat goes on.
    fn message(&mut self, text: String) -> anyhow::Result<()> {
        self.messages.push(("user", text));
        self.session.reseed();
        match self.answer() {
            Ok(text) => self.messages.push(("assistant", text)),
            Err(e) if e.is::<out::ReaderGone>() => return Err(e),
            Err(e) => {
                self.messages.pop();
                out::note(format!("{e:#}\n(/clear forgets the conversation)"));
            }
        }
        Ok(())
    }

    /// What is answered, as far as it came.
    fn answer(&mut self) -> anyhow::Result<String> {
        let loaded = match &mut self.voice {
            Voice::Here(loaded) => loaded,
            Voice::Server(through) => {
                let said = through.say(&self.session, &self.messages, self.interrupt)?;
                return Ok(said.text);
            }
        };
        let prompt = prompt(&self.session, loaded, &self.messages)?;
        let answer = self
            .session
            .answer(loaded, prompt, Show::Stream, self.interrupt)?;
        match &answer.reason {
            FinishReason::Cancelled => out::note("(stopped)"),
            FinishReason::Unreadable(why) | FinishReason::Failed(why) => out::note(why),
            FinishReason::Length if self.session.max_tokens.is_none() => out::note(full(loaded)),
            _ => {}
        }
        Ok(answer.text)
    }

    /// `/set`: as the session does, but for what a provider has no word for.
    fn set(&mut self, arguments: &str) -> Result<String, String> {
        let name = arguments.split_whitespace().next();
        if name == Some("think") && matches!(self.voice, Voice::Server(_)) {
            return Err(
                "think is a switch of a model that is loaded here; it has no meaning with --route"
                    .into(),
            );
        }
        self.session.set(arguments)
    }
}

/// What the model is to go on from.
fn prompt(
    session: &Session,
    loaded: &Loaded,
    messages: &[(&'static str, String)],
) -> anyhow::Result<Prompt> {
    if session.raw {
        let text = messages.iter().map(|(_, text)| text.as_str());
        return Ok(Session::raw_prompt(loaded, text.collect()));
    }
    let said = |chat: ingle::Chat, (role, text): &(&'static str, String)| chat.message(role, text);
    let chat = messages.iter().fold(session.conversation(), said);
    Ok(loaded.model.chat(&chat, clock::now())?)
}

impl Session {
    /// `/set NAME VALUE`: changes a parameter and says so, or says what is wrong.
    fn set(&mut self, arguments: &str) -> Result<String, String> {
        let Some((name, value)) = arguments.split_once(char::is_whitespace) else {
            return match arguments {
                "" => Ok(self.describe()),
                name => Err(format!("give a value, as /set {} 1", out::plain(name))),
            };
        };
        let value = value.trim();
        let mut sampling = self.sampling.clone();
        let name = if name == "temperature" { "temp" } else { name };
        match name {
            "temp" => sampling.temperature = parsed(value)?,
            "top_k" => sampling.top_k = parsed(value)?,
            "top_p" => sampling.top_p = parsed(value)?,
            "min_p" => sampling.min_p = parsed(value)?,
            "typical" => sampling.typical = parsed(value)?,
            "repeat_penalty" => sampling.repetition_penalty = parsed(value)?,
            "presence_penalty" => sampling.presence_penalty = parsed(value)?,
            "frequency_penalty" => sampling.frequency_penalty = parsed(value)?,
            "seed" => {
                sampling.seed = parsed(value)?;
                self.new_seeds = false;
            }
            "max_tokens" => self.max_tokens = Some(parsed(value)?).filter(|n| *n > 0),
            "think" => match value {
                "on" => self.think = Some(true),
                "off" => self.think = Some(false),
                _ => return Err("/set think takes on or off".into()),
            },
            _ => {
                return Err(format!(
                    "there is no parameter {}; /help shows them",
                    out::plain(name)
                ));
            }
        }
        sampling.validate().map_err(|e| e.to_string())?;
        self.sampling = sampling;
        self.said.insert(name.to_owned());
        Ok(self.describe())
    }

    fn describe(&self) -> String {
        let Sampling {
            temperature,
            top_k,
            top_p,
            min_p,
            typical,
            seed,
            ..
        } = &self.sampling;
        let s = &self.sampling;
        let seed = if self.new_seeds {
            "new each time".into()
        } else {
            seed.to_string()
        };
        let limit = self
            .max_tokens
            .map_or_else(|| "no limit".into(), |n| n.to_string());
        let think = self
            .think
            .map_or("as the model likes", |on| if on { "on" } else { "off" });
        format!(
            "temp {temperature}, top_k {top_k}, top_p {top_p}, min_p {min_p}, typical {typical}, \
             repeat_penalty {}, presence_penalty {}, frequency_penalty {}, seed {seed}, \
             max_tokens {limit}, think {think}",
            s.repetition_penalty, s.presence_penalty, s.frequency_penalty,
        )
    }
}

fn parsed<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("`{}` is not a number that fits", out::plain(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            sampling: Sampling::default(),
            new_seeds: true,
            system: None,
            max_tokens: None,
            stop: Vec::new(),
            think: None,
            raw: false,
            said: std::collections::BTreeSet::new(),
        }
    }

    #[test]
    fn set_changes_one_thing() {
        let mut s = session();
        for line in [
            "temp 0.5",
            "top_k  3",
            "seed 7",
            "max_tokens 9",
            "think off",
            "typical 0.9",
        ] {
            s.set(line).unwrap();
        }
        let described = s.set("").unwrap();
        insta::assert_snapshot!(described);
        assert_eq!(
            (s.sampling.top_k, s.max_tokens, s.think),
            (3, Some(9), Some(false))
        );
        s.set("max_tokens 0").unwrap();
        assert_eq!(s.max_tokens, None);
    }

    #[test]
    fn what_is_wrong_changes_nothing() {
        let mut s = session();
        let problems: Vec<String> = ["temp", "temp hot", "temp -1", "mood good", "think maybe"]
            .iter()
            .map(|line| s.set(line).unwrap_err())
            .collect();
        insta::assert_snapshot!(problems.join("\n"));
        assert_eq!(s.sampling, Sampling::default());
    }
}
