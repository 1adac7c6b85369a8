//! What is remembered of texts changes no verdict.

use super::{Action, Bounds, Content, Kind, Limits, Policy, Rule, Scanner, Taint, Term};
use crate::chat::{Message, Part, Request, Role, Tool, ToolCall};
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};

static SCANNER: LazyLock<Arc<Scanner>> = LazyLock::new(|| {
    let falcon = Term {
        label: "projects".into(),
        words: vec!["Project Falcon".into()],
        whole: true,
    };
    Arc::new(Scanner::new(&[falcon], Limits::default()).unwrap())
});

fn rule(name: &str, content: &[Content], then: Action) -> Rule {
    Rule {
        content: content.to_vec(),
        ..Rule::new(name, then)
    }
}

/// Rules by which some things stay, some are replaced, and the rest goes.
fn rules() -> Vec<Rule> {
    vec![
        rule("all", &[], Action::Allow),
        rule("mail", &[Content::Kind(Kind::Email)], Action::Redact),
    ]
}

/// Pieces of texts: harmless, sensitive, and halves that are sensitive together.
const PIECES: [&str; 14] = [
    "Go on.",
    "What is the weather like in Bern?",
    "I do not know, but it rains often there at this time of the year.",
    "4111 1111 ",
    "1111 1111",
    "My card is 4111 1111 1111 1111.",
    "anna@example.org",
    "anna@exam",
    "ple.org",
    "Project ",
    "Falcon",
    "DE89 3704 0044 ",
    "0532 0130 00",
    "password: hunter2-Xk9!pq",
];

fn text() -> impl Strategy<Value = String> {
    let some = prop::collection::vec(prop::sample::select(&PIECES[..]), 1..4);
    // Some are long: of those the ends are read together with their neighbours.
    (some, prop::bool::weighted(0.3)).prop_map(|(pieces, long)| match long {
        false => pieces.concat(),
        true => format!(
            "{}{}{}",
            pieces.concat(),
            "word ".repeat(120),
            pieces.concat()
        ),
    })
}

fn message() -> impl Strategy<Value = Message> {
    let role = prop_oneof![
        6 => Just(Role::User),
        5 => Just(Role::Assistant),
        1 => Just(Role::System),
        1 => Just(Role::Tool),
    ];
    let call = prop::option::weighted(0.1, text());
    (role, prop::collection::vec(text(), 1..3), call).prop_map(|(role, parts, call)| Message {
        parts: parts.into_iter().map(Part::Text).collect(),
        calls: call
            .map(|text| ToolCall {
                id: "c1".into(),
                name: "look".into(),
                arguments: serde_json::json!({ "text": text }).to_string(),
            })
            .into_iter()
            .collect(),
        ..Message::text(role, "")
    })
}

/// What a client does next with a conversation.
#[derive(Debug, Clone)]
enum Step {
    Says(usize, Message),
    Forgets(usize, usize),
    Repeats(usize, usize),
    HasTool(usize, String),
    Sends(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0usize..3;
    prop_oneof![
        6 => (which.clone(), message()).prop_map(|(i, message)| Step::Says(i, message)),
        1 => (which.clone(), 0usize..6).prop_map(|(i, n)| Step::Forgets(i, n)),
        1 => (which.clone(), 0usize..6).prop_map(|(i, n)| Step::Repeats(i, n)),
        1 => (which.clone(), text()).prop_map(|(i, text)| Step::HasTool(i, text)),
        3 => which.prop_map(Step::Sends),
    ]
}

fn changed(request: &mut Request, step: Step) {
    match step {
        Step::Says(_, message) => request.messages.push(message),
        Step::Forgets(_, n) => drop(request.messages.drain(..n.min(request.messages.len()))),
        Step::Repeats(_, n) => {
            let again = request.messages.get(n).cloned();
            request.messages.extend(again);
        }
        Step::HasTool(_, text) => {
            request.tools = vec![Tool {
                name: "look".into(),
                description: Some(text),
                parameters: None,
                strict: false,
            }]
        }
        Step::Sends(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_remembered_changes_no_verdict(steps in prop::collection::vec(step(), 1..24)) {
        let taint = || Taint::in_memory(&[3; 32], Bounds::default()).unwrap();
        let (knows, kept) = (Policy::new(rules(), Arc::clone(&SCANNER)), taint());
        let (forgets, anew) = (Policy::forgetful(rules(), Arc::clone(&SCANNER)), taint().forgetful());
        let mut requests: Vec<Request> = (0..3).map(|i| Request::new(format!("r{i}"), Vec::new())).collect();
        for (now, step) in (1_000_u64..).step_by(1_300).zip(steps) {
            let (Step::Says(i, _) | Step::Forgets(i, _) | Step::Repeats(i, _) | Step::HasTool(i, _) | Step::Sends(i)) = &step;
            let request = &mut requests[*i];
            changed(request, step);
            let one = knows.judge(request, true, &kept, now, &|| false);
            let other = forgets.judge(request, true, &anew, now, &|| false);
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(kept.kept(), anew.kept());
            if let (Some(one), Some(other)) = (&one.held, &other.held) {
                let answer = Message::text(Role::Assistant, format!("This is what I say to that, {now}."));
                kept.answered(one, &answer, now).unwrap();
                anew.answered(other, &answer, now).unwrap();
            }
        }
    }

    /// What is cut in two between messages is found wherever in a conversation it stands, however many short
    /// ones there are.
    #[test]
    fn what_is_cut_is_found_in_any_window(before in 0usize..400, length in 1usize..60) {
        let policy = Policy::new(rules(), Arc::clone(&SCANNER));
        let taint = Taint::in_memory(&[3; 32], Bounds::default()).unwrap();
        let user = |text: String| Message::text(Role::User, text);
        let mut messages: Vec<Message> = (0..before).map(|i| user("x".repeat(1 + (i + length) % length))).collect();
        messages.push(user("The number is 4111 1111 ".into()));
        messages.push(user("1111 1111, and no other.".into()));
        messages.extend((0..before / 3).map(|_| user("ok".into())));
        let verdict = policy.judge(&Request::new("id", messages), true, &taint, 1_000, &|| false);
        prop_assert_eq!(verdict.leave, crate::chat::Leave::LocalOnly);
        prop_assert!(verdict.found.iter().any(|found| found.kind == Kind::Card));
    }
}
