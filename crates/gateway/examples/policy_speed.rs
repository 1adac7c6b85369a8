//! How long the policy looks at a request: of a conversation the first time, and with one more turn.
//!
//! ```text
//! cargo run --release -p ingle-gateway --example policy_speed -- [TOKENS]
//! ```
//!
//! The texts are this repository's pages, cut into turns; four bytes count as a token. Prints milliseconds, the median
//! and the 95th percentile of many conversations: with no conversation that stays in the store, with a thousand, and
//! where this one stays itself (its marks are then written to disk).

use ingle_gateway::chat::{Message, Request, Role, Tool};
use ingle_gateway::policy::{Action, Bounds, Limits, Policy, Rule, Scanner, Taint};
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

const PAGES: [&str; 4] = [
    include_str!("../../../docs/streaming.md"),
    include_str!("../../../docs/prefixes.md"),
    include_str!("../../../docs/routing.md"),
    include_str!("../../../docs/ledger.md"),
];
const BYTES_OF_A_TOKEN: usize = 4;
/// Bytes of one turn.
const TURN: usize = 1600;
const TIMES: usize = 40;

/// Conversation number `which`, of so many bytes.
fn conversation(which: usize, bytes: usize, card: bool) -> Vec<Message> {
    let mut messages = vec![Message::text(Role::System, "You help with a program.")];
    let all: String = PAGES.concat();
    let chars: Vec<char> = all.chars().collect();
    let mut left = bytes;
    for (i, turn) in chars.chunks(TURN).cycle().enumerate() {
        let role = if i % 2 == 0 {
            Role::User
        } else {
            Role::Assistant
        };
        let text: String = turn.iter().take(left).collect();
        let card = if card && i == 1 {
            "4111 1111 1111 1111"
        } else {
            ""
        };
        left = left.saturating_sub(text.len());
        messages.push(Message::text(role, format!("{which}.{i}: {text} {card}")));
        if left == 0 {
            break;
        }
    }
    messages
}

fn request(messages: Vec<Message>) -> Request {
    let tool = |i: usize| Tool {
        name: format!("tool_{i}"),
        description: Some(format!(
            "Does thing number {i} with a file and says what came of it."
        )),
        parameters: Some(serde_json::json!({
            "type": "object", "required": ["path"],
            "properties": { "path": { "type": "string", "description": "where it lies" } },
        })),
        strict: false,
    };
    Request {
        tools: (0..8).map(tool).collect(),
        ..Request::new("speed", messages)
    }
}

/// Median and 95th percentile, in milliseconds.
fn figures(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied();
    let (median, late) = (at(0.5).unwrap_or_default(), at(0.95).unwrap_or_default());
    format!("{median:.2} | {late:.2}")
}

fn main() -> Result<(), Box<dyn Error>> {
    let tokens: usize = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 8000,
    };
    let scanner = Arc::new(Scanner::new(&[], Limits::default())?);
    println!(
        "request of about {tokens} tokens, ms | first: median | 95th | one more turn: median | 95th"
    );
    println!("--- | ---: | ---: | ---: | ---:");
    for (name, others, card) in [
        ("nothing stays", 0, false),
        ("1,000 others stay", 1000, false),
        ("it stays", 1000, true),
    ] {
        let folder = tempfile::tempdir()?;
        let taint = Taint::open(&folder.path().join("stays.db"), &[1; 32], Bounds::default())?;
        let judge = |policy: &Policy, request: &Request| {
            let begun = Instant::now();
            let verdict = policy.judge(request, true, &taint, 1_000, &|| false);
            (begun.elapsed().as_secs_f64() * 1e3, verdict)
        };
        let policy = Policy::new(vec![Rule::new("all", Action::Allow)], Arc::clone(&scanner));
        for i in 0..others {
            let text = format!("Write to person.{i}@example{i}.org, thing {i}.");
            judge(&policy, &request(vec![Message::text(Role::User, text)]));
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for which in 0..TIMES {
            let mut messages = conversation(which, tokens * BYTES_OF_A_TOKEN, card);
            let (time, verdict) = judge(&policy, &request(messages.clone()));
            first.push(time);
            let stays = card == verdict.held.is_some();
            assert!(stays, "{}", verdict.reason);
            messages.push(Message::text(
                Role::Assistant,
                format!("That was answer {which}."),
            ));
            messages.push(Message::text(
                Role::User,
                format!("And what of {which}, then?"),
            ));
            second.push(judge(&policy, &request(messages)).0);
        }
        println!("{name} | {} | {}", figures(first), figures(second));
    }
    Ok(())
}
