//! `ingle run --route`: an answer from here or from a provider, and a line that says which and why.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests may fail")]

#[path = "support/cloud.rs"]
mod cloud;
#[path = "support/person.rs"]
mod person;
#[path = "support/server.rs"]
mod server;
mod support;

use cloud::{ALLOW, Cloud, Does};
use person::Person;
use server::{Server, at_home, home};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use support::Done;
use tempfile::TempDir;

const STORY: &str = "Tell me a story about a fox";

/// A person's machine, with what ingle.toml says there.
struct Desk {
    home: TempDir,
}

impl Desk {
    fn new(settings: &str) -> Self {
        let home = home();
        std::fs::write(home.path().join("ingle.toml"), settings).unwrap();
        Self { home }
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    fn command(&self) -> Command {
        let mut command = at_home(self.path());
        command.arg("--config").arg(self.path().join("ingle.toml"));
        command
    }

    /// `ingle run ARGS`, with something on standard input.
    fn run(&self, args: &[&str], input: &str) -> Done {
        let mut command = self.command();
        command.arg("run").args(args);
        done(command, input)
    }

    /// What one of the commands that read the ledger says.
    fn says(&self, args: &[&str]) -> String {
        let mut command = self.command();
        command.args(args);
        let done = done(command, "");
        assert_eq!(done.code, 0, "{}", done.err);
        done.out
    }
}

fn done(mut command: Command, input: &str) -> Done {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The line that says who answered.
fn told(done: &Done) -> &str {
    assert_eq!(done.code, 0, "{}", done.err);
    let line = done.err.lines().rfind(|line| line.starts_with('['));
    line.unwrap_or_else(|| panic!("no line says who answered: {}", done.err))
}

/// The name in that line.
fn name(told: &str) -> &str {
    let (_, rest) = told.split_once("`ingle why ").unwrap();
    rest.split_once('`').unwrap().0
}

#[test]
fn an_answer_from_here_and_one_from_there() {
    let cloud = Cloud::new(Does::Says("From far away."));
    let desk = Desk::new(&(cloud.settings() + ALLOW));
    let here = desk.run(&[STORY, "--route", "local", "-n", "8", "--seed", "1"], "");
    assert!(
        told(&here).starts_with("[local, ingle-mini, 0.00 USD: "),
        "{}",
        here.err
    );
    assert!(here.out.split_whitespace().count() > 3, "{}", here.out);
    // What is loaded here answers the same.
    let plain = desk.run(&[STORY, "-n", "8", "--seed", "1"], "");
    assert_eq!((here.out, plain.code), (plain.out, 0));
    assert!(cloud.asked().is_empty());
    let there = desk.run(&[STORY, "--route", "cloud"], "");
    assert_eq!(there.out, "From far away.\n");
    let line = told(&there);
    assert!(
        line.starts_with("[cloud, cloud/big, 0.00002 USD: "),
        "{line}"
    );
    assert!(line.contains("to be answered by a provider"), "{line}");
    let asked = cloud.asked();
    // Nothing is said of sampling that nobody asked for.
    for field in ["temperature", "top_p", "seed", "presence_penalty"] {
        assert!(asked[0][field].is_null(), "{asked:?}");
    }
    assert_eq!(asked[0]["messages"][0]["content"], STORY);
    let why = desk.says(&["why", name(line)]);
    assert!(why.contains("cloud/big") || why.contains("big"), "{why}");
    let cost = desk.says(&["cost", "--json"]);
    assert!(cost.contains("0.00002"), "{cost}");
}

#[test]
fn what_comes_through_a_pipe_leaves_too() {
    let cloud = Cloud::new(Does::Says("It is about a hen."));
    let desk = Desk::new(&(cloud.settings() + ALLOW));
    let args = [
        "Sum up:",
        "--route",
        "cloud",
        "--system",
        "Be brief.",
        "--temp",
        "0.5",
        "-n",
        "50",
    ];
    let there = desk.run(&args, "A hen sat on a wall.");
    assert_eq!(there.out, "It is about a hen.\n");
    let asked = &cloud.asked()[0];
    assert_eq!(asked["messages"][0]["content"], "Be brief.");
    assert_eq!(
        asked["messages"][1]["content"],
        "Sum up:\n\nA hen sat on a wall."
    );
    assert_eq!(asked["temperature"], 0.5);
    let limit = asked["max_completion_tokens"]
        .as_u64()
        .or(asked["max_tokens"].as_u64());
    assert_eq!(limit, Some(50));
    // What only this machine does stays here, and that is said.
    let here = desk.run(
        &[STORY, "--route", "cloud", "--min-p", "0.2", "-n", "4"],
        "",
    );
    assert!(
        told(&here).contains("a way of sampling, which is done only here"),
        "{}",
        here.err
    );
    let empty = desk.run(&["--route", "cloud"], "");
    assert_eq!(empty.code, 2, "{}", empty.err);
    assert_eq!(cloud.asked().len(), 1);
}

#[test]
fn a_preset_says_what_it_says_and_how_its_model_samples() {
    let cloud = Cloud::new(Does::Says("Il y avait un renard."));
    let preset = "[models.french]\nsystem = \"Answer in French.\"\nmax_tokens = 7\n[models.french.parameters]\nmin_p = 0.2\ntemp = 0.4\nseed = 5\n";
    let desk = Desk::new(&(cloud.settings() + ALLOW + preset));
    let there = desk.run(&["french", STORY, "--route", "cloud", "--top-p", "0.9"], "");
    assert!(
        told(&there).starts_with("[cloud, cloud/big"),
        "{}",
        there.err
    );
    assert_eq!(there.out, "Il y avait un renard.\n");
    let asked = cloud.asked();
    let messages = &asked[0]["messages"];
    assert_eq!(messages[0]["content"], "Answer in French.");
    assert_eq!(messages[1]["content"], STORY);
    // What was typed is asked for; how the preset samples is its model's way, and no wish.
    assert_eq!(asked[0]["top_p"], 0.9);
    for field in ["temperature", "min_p", "seed"] {
        assert!(asked[0][field].is_null(), "{asked:?}");
    }
    let limit = asked[0]["max_completion_tokens"].as_u64();
    assert_eq!(limit.or(asked[0]["max_tokens"].as_u64()), Some(7));
    // Here it answers as without --route.
    let here = desk.run(&["french", STORY, "--route", "local", "--seed", "3"], "");
    assert!(told(&here).starts_with("[local, "), "{}", here.err);
    let plain = desk.run(&["french", STORY, "--seed", "3"], "");
    assert_eq!((here.out, plain.code), (plain.out, 0));
    assert_eq!(cloud.asked().len(), 1);
}

#[test]
fn where_it_may_not_leave_it_is_answered_here() {
    let cloud = Cloud::new(Does::Says("From far away."));
    let spent = "[budget]\nday = \"0.00001\"\n";
    for (settings, why) in [
        // No rule lets it go.
        (cloud.settings(), "no rule"),
        (cloud.settings() + ALLOW + spent, "would be passed"),
    ] {
        let desk = Desk::new(&settings);
        for route in ["auto", "cloud"] {
            let here = desk.run(&[STORY, "--route", route, "-n", "4"], "");
            let line = told(&here);
            assert!(line.starts_with("[local, ingle-mini, 0.00 USD: "), "{line}");
            if route == "cloud" || why == "no rule" {
                assert!(line.contains(why), "{line}");
            }
        }
    }
    let desk = Desk::new(&(cloud.settings() + ALLOW));
    let here = desk.run(
        &[
            "My card is 4539 1488 0343 6467.",
            "--route",
            "cloud",
            "-n",
            "4",
        ],
        "",
    );
    assert!(told(&here).contains("card"), "{}", here.err);
    let mut offline = desk.command();
    offline.args(["--offline", "run", STORY, "--route", "cloud", "-n", "4"]);
    let here = done(offline, "");
    assert!(told(&here).contains("--offline was given"), "{}", here.err);
    assert!(cloud.asked().is_empty());
    let here = Desk::new("").run(&[STORY, "--route", "cloud", "-n", "4"], "");
    assert_eq!(told(&here), "[local: no provider is configured]");
}

#[test]
fn a_provider_that_fails_leaves_the_local_answer() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let busy = Cloud::new(Does::Refuses(503));
    for settings in [cloud::settings(address), busy.settings()] {
        let desk = Desk::new(&(settings + ALLOW));
        let here = desk.run(&[STORY, "--route", "cloud", "-n", "4"], "");
        let line = told(&here);
        assert!(
            line.contains("this is the local answer: cloud/big"),
            "{line}"
        );
        assert!(line.starts_with("[local, ingle-mini, 0.00 USD: "), "{line}");
        assert!(!here.out.trim().is_empty());
    }
    assert_eq!(busy.asked().len(), 1);
}

#[test]
fn another_server_answers_as_this_process_would() {
    let cloud = Cloud::new(Does::Says("From far away."));
    let desk = Desk::new(&(cloud.settings() + ALLOW + "[route]\ndefault = \"cloud\"\n"));
    let server = Server::serve(desk.command(), &[]);
    let run = |args: &[&str]| {
        let mut command = at_home(desk.path());
        command.args(args);
        done(command, "")
    };
    // Without --route nothing leaves, whatever that server does with others.
    let here = run(&["run", STORY, "-n", "4"]);
    assert!(here.err.contains("Answered by the server"), "{}", here.err);
    assert!(cloud.asked().is_empty());
    let there = run(&["run", STORY, "--route", "auto", "--no-server", "-n", "4"]);
    assert_eq!(told(&there), "[local: no provider is configured]");
    let there = run(&["run", STORY, "--route", "cloud"]);
    assert!(
        there.err.contains("Answered by the server"),
        "{}",
        there.err
    );
    assert_eq!(there.out, "From far away.\n");
    // Offline means here: that server's door is open.
    let here = run(&["--offline", "run", STORY, "--route", "cloud", "-n", "4"]);
    assert_eq!(told(&here), "[local: no provider is configured]");
    assert_eq!(cloud.asked().len(), 1);
    drop(server);
}

#[test]
fn a_conversation_leaves_whole_and_stays_whole() {
    const PROMPT: &str = ">>> ";
    let cloud = Cloud::new(Does::Says("It was a red fox."));
    let desk = Desk::new(&(cloud.settings() + ALLOW));
    let mut person = Person::sits_down(desk.command(), &["run", "--route", "cloud"]);
    person.waits_for(PROMPT);
    person.types("What was it?\r");
    person.waits_for("It was a red fox.");
    person.waits_for("[cloud, cloud/big, 0.00002 USD:");
    person.waits_for(PROMPT);
    person.types("/set think on\r");
    person.waits_for("no meaning with --route");
    person.types("/set temp 0.25\r");
    person.waits_for("temp 0.25");
    person.waits_for(PROMPT);
    person.types("And then?\r");
    person.waits_for("[cloud, cloud/big");
    person.waits_for(PROMPT);
    let asked = cloud.asked();
    let said: Vec<&str> = asked[1]["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["content"].as_str().unwrap())
        .collect();
    assert_eq!(said, ["What was it?", "It was a red fox.", "And then?"]);
    assert!(asked[0]["temperature"].is_null());
    assert_eq!(asked[1]["temperature"], 0.25);
    // Ctrl-C stops an answer, and not the conversation.
    cloud.does(Does::Stops("It was "));
    person.types("Go on.\r");
    person.waits_for("It was ");
    person.interrupts();
    person.waits_for("(stopped)");
    person.waits_for(PROMPT);
    cloud.does(Does::Says("No."));
    person.types("My mail is anna@example.org, my card 4539 1488 0343 6467.\r");
    person.waits_for("[local, ingle-mini, 0.00 USD:");
    person.waits_for(PROMPT);
    // It has held something that stays, and stays to its end.
    person.types("What is two and two?\r");
    person.waits_for("[local, ingle-mini, 0.00 USD:");
    person.waits_for(PROMPT);
    assert_eq!(cloud.asked().len(), 3);
    assert_eq!(person.leaves(), 0);
    let rows = desk.says(&["cost", "--json"]);
    assert!(rows.contains("local") && rows.contains("cloud"), "{rows}");
}
