//! The chat, on a pseudo-terminal.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

mod support;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Long enough for a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// A person at a terminal.
struct Person {
    child: Child,
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    /// What came since the last wait.
    seen: String,
}

impl Person {
    /// Starts the program with a terminal of its own on all three streams.
    fn sits_down(args: &[&str]) -> Self {
        let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        let stream = || Stdio::from(terminal.try_clone().unwrap());
        let mut command = support::ingle();
        command.args(args).env("TERM", "xterm");
        let child = command
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let keyboard = File::from(controller);
        let mut screen = keyboard.try_clone().unwrap();
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(n) = screen.read(&mut part) {
                if n == 0 || send.send(part[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keyboard,
            screen: receive,
            seen: String::new(),
        }
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for a text, and gives back what came up to it.
    fn waits_for(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let left = end.saturating_duration_since(Instant::now());
            let part = self.screen.recv_timeout(left);
            let part = part.unwrap_or_else(|_| panic!("no {text:?} in {:?}", self.seen));
            self.seen.push_str(&String::from_utf8_lossy(&part));
        }
    }

    /// Ctrl-C, while the program is not reading keys.
    fn interrupts(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).unwrap();
    }

    fn leaves(&mut self) -> i32 {
        self.types("\x04");
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

const PROMPT: &str = ">>> ";

#[test]
fn a_conversation() {
    let mut person = Person::sits_down(&["run", "--temp", "0", "-n", "8"]);
    person.waits_for("Type a message, or /help.");
    person.waits_for(PROMPT);
    person.types("/help\r");
    assert!(
        person
            .waits_for("gives up what is typed")
            .contains("/system TEXT")
    );
    person.waits_for(PROMPT);
    person.types("Tell me about\\\r");
    person.waits_for("... ");
    person.types("a fox\r");
    let answer = person.waits_for(PROMPT);
    assert!(answer.split_whitespace().count() > 3, "{answer:?}");
    person.types("/set max_tokens 3\r");
    person.waits_for("max_tokens 3");
    person.types("/set temp -1\r");
    person.waits_for("it must be from 0 to 100");
    person.types("/dance\r");
    person.waits_for("there is no command /dance");
    person.types("/clear\r");
    person.waits_for("forgotten");
    person.waits_for(PROMPT);
    assert_eq!(person.leaves(), 0);
}

#[test]
fn ctrl_c_stops_the_answer_and_not_the_program() {
    let Some(model) = support::shared("models/stories260K/stories260K.gguf") else {
        return;
    };
    // One slow thread and a long way to go.
    let model = model.to_str().unwrap();
    let flags = [
        "--raw",
        "--ctx",
        "100000",
        "--threads",
        "1",
        "--isa",
        "scalar",
    ];
    let mut person = Person::sits_down(&[&["run", model][..], &flags].concat());
    person.waits_for(PROMPT);
    person.types("Once upon a time\r");
    person.waits_for("there");
    person.interrupts();
    person.waits_for("(stopped)");
    person.waits_for(PROMPT);
    // On an empty line it is no end either.
    person.types("\x03");
    person.waits_for("/exit leaves");
    person.waits_for(PROMPT);
    person.types("/set max_tokens 4\r");
    person.waits_for("max_tokens 4");
    person.waits_for(PROMPT);
    person.types("One day\r");
    person.waits_for(PROMPT);
    assert_eq!(person.leaves(), 0);
}

#[test]
fn a_conversation_that_is_too_long_is_said_and_the_chat_goes_on() {
    let mut person = Person::sits_down(&["run", "--ctx", "64", "--temp", "0"]);
    person.waits_for(PROMPT);
    person.types(&format!("{}\r", "fox ".repeat(100)));
    person.waits_for("the context of 64 leaves no room");
    person.waits_for("/clear forgets");
    person.waits_for(PROMPT);
    person.types("fox\r");
    person.waits_for(PROMPT);
    assert_eq!(person.leaves(), 0);
}
