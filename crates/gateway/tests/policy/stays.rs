//! A conversation that once held something sensitive stays, whatever a client does with its history.

use super::*;
use ingle_gateway::policy::TaintError;
use proptest::prelude::*;

const SECRET: &str = "My SSN is 308-63-0237, what can I deduct?";
const ANSWER: &str = "You can deduct the costs of your home office and of your way to work.";

fn open() -> Policy {
    policy(vec![rule("all", Action::Allow)])
}

/// A store in which the conversation of `SECRET` and `ANSWER` stays.
fn tainted() -> Taint {
    let taint = taint();
    let mut first = asked(&[SECRET]);
    first.session = Some("s1".into());
    first.response = Some("resp_1".into());
    let held = judge(&open(), &first, &taint).held.unwrap();
    taint
        .answered(&held, &Message::text(Role::Assistant, ANSWER), 1_001)
        .unwrap();
    taint
}

fn stays(request: &Request) -> bool {
    judge(&open(), request, &tainted()).leave == Leave::LocalOnly
}

#[test]
fn whatever_is_left_out_or_changed() {
    let next = "And what about my garden?";
    assert!(stays(&asked(&[SECRET, ANSWER, next])));
    // The number is blacked out, the answer kept.
    assert!(stays(&asked(&[
        "My SSN is ***, what can I deduct?",
        ANSWER,
        next
    ])));
    // Only the answer is left, as the user's own words or the assistant's.
    let mut alone = asked(&[next]);
    alone
        .messages
        .insert(0, Message::text(Role::Assistant, ANSWER));
    assert!(stays(&alone));
    // The span alone, in another form and without its word.
    assert!(stays(&asked(&["what is 308 63 0237 again"])));
    let by_session = Request {
        session: Some("s1".into()),
        ..asked(&["hello"])
    };
    assert!(stays(&by_session));
    let by_response = Request {
        previous: Some("resp_1".into()),
        ..asked(&["hello"])
    };
    assert!(stays(&by_response));
    // Somebody else's, and another conversation.
    assert!(!stays(&asked(&["What is a fjord?"])));
    assert!(!stays(&Request {
        user: "bert".into(),
        ..by_session
    }));
}

#[test]
fn whatever_is_written_otherwise() {
    let (spaced, curly) = (
        ANSWER.replace(' ', "  \r\n"),
        ANSWER.replace("your", "\u{79}\u{200b}our"),
    );
    let decomposed =
        "You\u{301} can deduct the costs of your home office and of your way to work".to_owned();
    for answer in [
        spaced,
        curly,
        decomposed,
        ANSWER.to_uppercase(),
        format!("**{}**", ANSWER.trim_end_matches('.')),
        ANSWER.replace(' ', "\u{a0}"),
    ] {
        let mut cut = asked(&["And what about my garden?"]);
        cut.messages
            .insert(0, Message::text(Role::Assistant, answer.clone()));
        assert!(stays(&cut), "{answer}");
    }
    // Another answer is another.
    let mut other = asked(&["And what about my garden?"]);
    let answer = ANSWER.replace("home", "summer");
    other
        .messages
        .insert(0, Message::text(Role::Assistant, answer));
    assert!(!stays(&other));
    // The secret in other clothes, where nothing says what it is.
    for text in [
        "what is ３０８６３０２３７ again",
        "308\u{2010}63\u{2010}0237 again",
        "MzA4LTYzLTAyMzc= again",
    ] {
        let verdict = judge(&open(), &asked(&[text]), &tainted());
        assert_eq!(verdict.leave, Leave::LocalOnly, "{text}");
    }
}

#[test]
fn what_follows_is_remembered_too() {
    let taint = tainted();
    let later = asked(&[
        SECRET,
        ANSWER,
        "And what about my garden?",
        "No, a garden is no office, so it cannot be deducted.",
    ]);
    assert_eq!(judge(&open(), &later, &taint).leave, Leave::LocalOnly);
    let cut = &later.messages[3..];
    let mut cut = Request::new("id", cut.to_vec());
    cut.messages.push(Message::text(Role::User, "Why?"));
    assert_eq!(judge(&open(), &cut, &taint).leave, Leave::LocalOnly);
}

#[test]
fn what_a_client_kept_here_itself_stays_too() {
    let taint = taint();
    let kept = Request {
        leave: Some(Leave::LocalOnly),
        ..asked(&[SECRET])
    };
    let verdict = judge(&open(), &kept, &taint);
    assert_eq!(verdict.rule, "x-ingle-policy");
    let answer = Message::text(Role::Assistant, ANSWER);
    taint
        .answered(&verdict.held.unwrap(), &answer, 1_001)
        .unwrap();
    let cut = asked(&["My SSN is ***", ANSWER, "And my garden?"]);
    assert_eq!(judge(&open(), &cut, &taint).leave, Leave::LocalOnly);
}

#[test]
fn a_system_text_alone_is_no_conversation() {
    let taint = taint();
    let with = |text: &str| {
        let mut request = asked(&[text]);
        request.messages.insert(
            0,
            Message::text(Role::System, "You are a helpful assistant."),
        );
        request
    };
    assert_eq!(
        judge(&open(), &with(SECRET), &taint).leave,
        Leave::LocalOnly
    );
    assert_eq!(
        judge(&open(), &with("What is a fjord?"), &taint).leave,
        Leave::Allow
    );
}

#[test]
fn it_survives_a_restart_and_holds_nothing_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stays.db");
    let secret = [9; 32];
    let taint = Taint::open(&path, &secret, Bounds::default()).unwrap();
    assert_eq!(
        judge(&open(), &asked(&[SECRET]), &taint).leave,
        Leave::LocalOnly
    );
    // As after a kill: nothing is closed.
    let again = Taint::open(&path, &secret, Bounds::default()).unwrap();
    assert_eq!(
        judge(&open(), &asked(&["308-63-0237?"]), &again).leave,
        Leave::LocalOnly
    );
    assert_eq!(
        judge(&open(), &asked(&["hello"]), &again).leave,
        Leave::Allow
    );
    drop((taint, again));
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        let bytes = std::fs::read(file.path()).unwrap();
        for text in ["308-63", "308630237", "deduct"] {
            assert!(
                !bytes.windows(text.len()).any(|w| w == text.as_bytes()),
                "{text}"
            );
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o077, 0);
        }
    }
    let other = Taint::open(&path, &[1; 32], Bounds::default());
    assert_eq!(other.unwrap_err(), TaintError::OtherSecret);
    std::fs::write(
        &path,
        b"not a database, and long enough to be looked at as one ............",
    )
    .unwrap();
    let broken = Taint::open(&path, &secret, Bounds::default());
    assert!(matches!(broken, Err(TaintError::Unusable(_))), "{broken:?}");
}

#[test]
fn full_means_closed_until_something_is_old() {
    let bounds = Bounds {
        most: 6,
        seconds: 100,
    };
    let taint = Taint::in_memory(&[7; 32], bounds).unwrap();
    let policy = open();
    let mut now = 0;
    let say = |text: &str, now: u64| {
        policy
            .judge(&asked(&[text]), true, &taint, now, &|| false)
            .leave
    };
    for i in 0..4 {
        now += 1;
        let text = format!("My SSN is 308-63-{:04}", 1000 + i);
        assert_eq!(say(&text, now), Leave::LocalOnly);
    }
    assert_eq!(
        say("hello", now),
        Leave::LocalOnly,
        "a conversation could not be kept"
    );
    // Time passes, one more can be kept, and others leave again.
    assert_eq!(say("My SSN is 308-63-2000", 1_000), Leave::LocalOnly);
    assert_eq!(say("hello", 1_000), Leave::Allow);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any of the messages from the sensitive one on is dropped, moved or said again: what is left of the
    /// answer, or the sensitive message itself, keeps it here.
    #[test]
    fn no_selection_launders(keep in prop::collection::vec(0usize..6, 1..6)) {
        let taint = tainted();
        let whole = asked(&[
            SECRET, ANSWER, "And what about my garden shed?",
            "A garden shed is no office, so it cannot be deducted from your income.",
            "My sister said that it can be", "It depends on whether she works in it every day of the week.",
        ]);
        prop_assert_eq!(judge(&open(), &whole, &taint).leave, Leave::LocalOnly);
        let picked: Vec<Message> = keep.iter().map(|i| whole.messages[*i].clone()).collect();
        let answers = picked.iter().any(|m| m.role == Role::Assistant);
        let mut words: Vec<String> = picked.iter().map(Message::content).collect();
        words.sort();
        words.dedup();
        if answers || keep.contains(&0) || words.len() > 1 {
            let verdict = judge(&open(), &Request::new("id", picked), &taint);
            prop_assert_eq!(verdict.leave, Leave::LocalOnly);
        }
    }
}
