//! Rules: the strictest wins, nothing leaves without one, a header only narrows.

use super::*;
use ingle_gateway::policy::{Class, Kind, TaintError};
use proptest::prelude::*;

fn leave() -> impl Strategy<Value = Leave> {
    prop::sample::select(ALL.to_vec())
}

fn action() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![
        Action::LocalOnly,
        Action::Redact,
        Action::Allow,
        Action::PreferCloud,
    ])
}

fn patterns(of: &'static [&'static str]) -> impl Strategy<Value = Vec<Pattern>> {
    prop::collection::vec(prop::sample::select(of).prop_map(pattern), 0..2)
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        Just(Content::Class(Class::Personal)),
        Just(Content::Class(Class::Secret)),
        Just(Content::Kind(Kind::Email)),
        Just(Content::Term("projects".into())),
    ]
}

prop_compose! {
    fn rules()(all in prop::collection::vec(
        (patterns(&["small", "big*", "*"]), patterns(&["anna", "b*"]), patterns(&["law*"]),
         prop::collection::vec(leave(), 0..2), prop::collection::vec(content(), 0..2), action()), 0..6)
    ) -> Vec<Rule> {
        all.into_iter().enumerate().map(|(i, (models, users, labels, headers, content, then))| Rule {
            name: format!("r{i}"), models, users, labels, paths: Vec::new(), headers, content, then,
        }).collect()
    }
}

prop_compose! {
    fn request()(
        text in prop::sample::select(vec!["What is a fjord?", "Write to anna@rhyta.com", "About Project Falcon", "password: Tr0ub4dor&3"]),
        model in prop::option::of(prop::sample::select(vec!["small", "big-7b"])),
        user in prop::sample::select(vec!["-", "anna", "bert"]),
        label in prop::option::of(prop::sample::select(vec!["law/x", "blog"])),
        leave in prop::option::of(leave()),
    ) -> Request {
        Request { model: model.map(String::from), user: user.into(), label: label.map(String::from), leave, ..asked(&[text]) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_leaves_without_a_provider(rules in rules(), request in request()) {
        let verdict = policy(rules).judge(&request, false, &taint(), 0, &|| false);
        prop_assert_eq!(verdict.leave, Leave::LocalOnly);
    }

    #[test]
    fn nothing_leaves_without_a_rule_that_matches(mut rules in rules(), request in request()) {
        for rule in &mut rules {
            rule.users = vec![pattern("nobody")];
        }
        prop_assert_eq!(judge(&policy(rules), &request, &taint()).leave, Leave::LocalOnly);
    }

    #[test]
    fn a_header_only_narrows(rules in rules(), request in request()) {
        let policy = policy(rules);
        let without = Request { leave: None, ..request.clone() };
        let (with, without) = (judge(&policy, &request, &taint()), judge(&policy, &without, &taint()));
        prop_assert!(with.leave <= without.leave, "{:?} {:?}", with, without);
        // What leaves as it is with the header would without it.
        if with.leave > Leave::LocalOnly && with.redacted.is_none() {
            prop_assert!(without.redacted.is_none());
        }
        if let Some(asked) = request.leave {
            prop_assert!(with.leave <= asked);
        }
    }

    #[test]
    fn another_rule_that_says_local_only_never_widens(mut rules in rules(), request in request()) {
        let before = judge(&policy(rules.clone()), &request, &taint());
        rules.push(rule("strict", Action::LocalOnly));
        let after = judge(&policy(rules), &request, &taint());
        prop_assert!(before.leave >= after.leave);
        prop_assert_eq!(after.leave, Leave::LocalOnly);
    }

    #[test]
    fn order_means_nothing(mut rules in rules(), request in request()) {
        let before = judge(&policy(rules.clone()), &request, &taint());
        rules.reverse();
        let after = judge(&policy(rules), &request, &taint());
        prop_assert_eq!(before.leave, after.leave);
        prop_assert_eq!(before.redacted.is_some(), after.redacted.is_some());
    }
}

#[test]
fn what_leaves_and_why() {
    let policy = policy(vec![
        rule("usual", Action::Allow),
        Rule {
            models: vec![pattern("big*")],
            ..rule("big", Action::PreferCloud)
        },
        Rule {
            labels: vec![pattern("law*")],
            ..rule("law", Action::LocalOnly)
        },
        of_content("mail", &[Content::Kind(Kind::Email)], Action::Redact),
    ]);
    let on = |request: Request| judge(&policy, &request, &taint());
    let plain = asked(&["What is a fjord?"]);
    let verdict = on(plain.clone());
    assert_eq!(
        (verdict.leave, verdict.rule.as_str()),
        (Leave::Allow, "usual")
    );
    let verdict = on(Request {
        model: Some("big-7b".into()),
        ..plain.clone()
    });
    assert_eq!(
        (verdict.leave, verdict.rule.as_str()),
        (Leave::PreferCloud, "big")
    );
    let verdict = on(Request {
        label: Some("law/smith".into()),
        ..plain.clone()
    });
    assert_eq!(
        (verdict.leave, verdict.rule.as_str()),
        (Leave::LocalOnly, "law")
    );
    let verdict = on(asked(&["Write to anna@rhyta.com"]));
    assert_eq!(verdict.leave, Leave::Allow);
    let redacted = verdict.redacted.unwrap();
    assert_eq!(redacted.request.messages[0].content(), "Write to [EMAIL_1]");
    let verdict = on(asked(&["My SSN is 308-63-0237"]));
    assert_eq!(verdict.leave, Leave::LocalOnly);
    assert!(verdict.reason.contains("national-id"), "{}", verdict.reason);
    assert!(!verdict.reason.contains("308"));
    assert!(verdict.held.is_some());
}

#[test]
fn what_cannot_be_classified_stays() {
    use ingle_gateway::chat::{Image, Part};
    let small = Limits {
        text: 100,
        request: 150,
        finds: 3,
    };
    let small = Policy::new(
        vec![rule("all", Action::Allow)],
        Scanner::new(&[], small).unwrap(),
    );
    let long = "a ".repeat(60);
    let many = "a@rhyta.com b@rhyta.com c@rhyta.com d@rhyta.com e@rhyta.com";
    let open = policy(vec![
        rule("all", Action::Allow),
        of_content("any", &[Content::Class(Class::Personal)], Action::Allow),
    ]);
    for request in [
        asked(&[&long]),
        asked(&[many]),
        asked(&["a ".repeat(40).as_str(), "b ".repeat(40).as_str()]),
    ] {
        let verdict = judge(&small, &request, &taint());
        assert_eq!(verdict.leave, Leave::LocalOnly);
        assert!(verdict.reason.contains("classified"), "{}", verdict.reason);
    }
    let late = open.judge(&asked(&["hello"]), true, &taint(), 0, &|| true);
    assert_eq!(late.leave, Leave::LocalOnly);
    let mut picture = asked(&["What is this?"]);
    picture.messages[0]
        .parts
        .push(Part::Image(Image::Url("https://x.org/a.png".into())));
    assert_eq!(judge(&open, &picture, &taint()).leave, Leave::LocalOnly);
    let closed = Taint::closed(TaintError::Unusable("no such folder".into()));
    let verdict = judge(&open, &asked(&["hello"]), &closed);
    assert_eq!(verdict.leave, Leave::LocalOnly);
    assert_eq!(
        Policy::local_only()
            .unwrap()
            .judge(&asked(&["hello"]), true, &taint(), 0, &|| false)
            .leave,
        Leave::LocalOnly
    );
}
