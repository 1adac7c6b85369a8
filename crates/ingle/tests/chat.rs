//! The chat, on a pseudo-terminal.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

#[path = "support/person.rs"]
mod person;
mod support;

use person::Person;

const PROMPT: &str = ">>> ";

#[test]
fn a_conversation() {
    let mut person = Person::sits_down(support::ingle(), &["run", "--temp", "0", "-n", "8"]);
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
    let mut person = Person::sits_down(support::ingle(), &[&["run", model][..], &flags].concat());
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
    let mut person = Person::sits_down(support::ingle(), &["run", "--ctx", "64", "--temp", "0"]);
    person.waits_for(PROMPT);
    person.types(&format!("{}\r", "fox ".repeat(100)));
    person.waits_for("the context of 64 leaves no room");
    person.waits_for("/clear forgets");
    person.waits_for(PROMPT);
    person.types("fox\r");
    person.waits_for(PROMPT);
    assert_eq!(person.leaves(), 0);
}
