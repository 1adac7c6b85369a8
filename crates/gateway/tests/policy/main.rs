//! What the policy promises: fail-closed, a header only narrows, a conversation stays to its end, placeholders
//! lead back.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../examples/policy/corpus.rs"]
mod corpus;
#[path = "../../examples/policy/figures.rs"]
mod figures;

mod content;
mod measured;
mod people;
mod placeholders;
mod ruled;
mod stays;

use ingle_gateway::chat::{Leave, Message, Request, Role};
use ingle_gateway::policy::{
    Action, Bounds, Content, Limits, Pattern, Policy, Rule, Scanner, Taint, Term, Verdict, apart,
};

use std::sync::{Arc, LazyLock};

/// A rule without conditions.
fn rule(name: &str, then: Action) -> Rule {
    Rule::new(name, then)
}

fn scanner() -> Scanner {
    let falcon = Term {
        label: "projects".into(),
        words: vec!["Project Falcon".into(), "Überflieger".into(), "守谷".into()],
        whole: true,
    };
    Scanner::new(&[falcon], Limits::default()).unwrap()
}

/// One for all tests: it takes longer to make than a text to be read.
static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| Arc::new(scanner()));

fn policy(rules: Vec<Rule>) -> Policy {
    Policy::new(rules, Arc::clone(&SCANNER))
}

fn taint() -> Taint {
    Taint::in_memory(&[7; 32], Bounds::default()).unwrap()
}

fn asked(texts: &[&str]) -> Request {
    let turns = texts.iter().enumerate().map(|(i, text)| {
        let role = if i % 2 == 0 {
            Role::User
        } else {
            Role::Assistant
        };
        Message::text(role, *text)
    });
    Request::new("id", turns.collect())
}

fn judge(policy: &Policy, request: &Request, taint: &Taint) -> Verdict {
    policy.judge(request, true, taint, 1_000, &|| false)
}

fn pattern(text: &str) -> Pattern {
    Pattern::new(text).unwrap()
}

/// Kinds in a text, with which of them.
fn kinds(scanner: &Scanner, text: &str) -> Vec<String> {
    let finds = apart(scanner.scan(text, &|| false).unwrap());
    let name = |kind: &str, detail: &str| match detail {
        "" => kind.to_owned(),
        detail => format!("{kind}/{detail}"),
    };
    finds
        .iter()
        .map(|f| name(f.kind.name(), &f.detail))
        .collect()
}

fn of_content(name: &str, content: &[Content], then: Action) -> Rule {
    Rule {
        content: content.to_vec(),
        ..rule(name, then)
    }
}

const ALL: [Leave; 3] = [Leave::LocalOnly, Leave::Allow, Leave::PreferCloud];
