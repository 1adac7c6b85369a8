//! Placeholders: nothing sensitive leaves, everything comes back.

use super::*;
use ingle_gateway::chat::{Finish, Piece, ToolCall};
use ingle_gateway::policy::{Mapping, Writing};
use proptest::prelude::*;

fn redact(text: &str, mapping: &mut Mapping, writing: Writing) -> String {
    let finds = apart(SCANNER.scan(text, &|| false).unwrap());
    let finds: Vec<_> = finds
        .into_iter()
        .filter(|f| f.kind.class() != ingle_gateway::policy::Class::Harmless)
        .collect();
    mapping.redact(text, &finds, writing)
}

#[test]
fn a_value_has_one_placeholder() {
    let mut mapping = Mapping::default();
    let text =
        "anna@rhyta.com wrote to bert@rhyta.com; anna@rhyta.com waits. [EMAIL_2] is what I typed.";
    let sent = redact(text, &mut mapping, Writing::Text);
    assert_eq!(
        sent,
        "[EMAIL_1] wrote to [EMAIL_2]; [EMAIL_1] waits. [TEXT_1] is what I typed."
    );
    assert_eq!(mapping.restore(&sent, Writing::Text), text);
    for (said, want) in [
        ("mail [email_1]!", "mail anna@rhyta.com!"),
        ("mail [Email 1]", "mail anna@rhyta.com"),
        ("mail \\[EMAIL\\_1\\]", "mail anna@rhyta.com"),
        ("**[EMAIL-2]**", "**bert@rhyta.com**"),
        ("[EMAIL_3] [EMAIL_", "[EMAIL_3] [EMAIL_"),
        ("a[0][EMAIL_1]", "a[0]anna@rhyta.com"),
        ("[[EMAIL_1]](x)", "[anna@rhyta.com](x)"),
    ] {
        assert_eq!(mapping.restore(said, Writing::Text), want);
    }
    assert!(!format!("{mapping:?}").contains("anna"));
}

#[test]
fn arguments_of_calls_stay_json() {
    let mut mapping = Mapping::default();
    let text = r#"{"to": "anna@rhyta.com", "card": 4539148803436467, "note": "pin \"4\", IBAN GB69 PMNJ 1891 3943 4307 45"}"#;
    let sent = redact(text, &mut mapping, Writing::Json);
    let value: serde_json::Value = serde_json::from_str(&sent).unwrap();
    assert_eq!(value["to"], "[EMAIL_1]");
    assert_eq!(value["card"], "[CARD_1]");
    let back: serde_json::Value =
        serde_json::from_str(&mapping.restore(&sent, Writing::Json)).unwrap();
    assert_eq!(back["to"], "anna@rhyta.com");
    assert_eq!(back["card"], "4539148803436467");
    assert_eq!(back["note"], "pin \"4\", IBAN GB69 PMNJ 1891 3943 4307 45");
}

#[test]
fn pieces_of_an_answer() {
    let open = policy(vec![rule("all", Action::Redact)]);
    let mut request = asked(&["Mail anna@rhyta.com about the \"offer\""]);
    request.messages[0].calls.push(ToolCall {
        id: "c".into(),
        name: "mail".into(),
        arguments: r#"{"to":"anna@rhyta.com"}"#.into(),
    });
    let redacted = judge(&open, &request, &taint()).redacted.unwrap();
    let sent = serde_json::to_string(&redacted.request).unwrap();
    assert!(!sent.contains("anna"), "{sent}");
    let mut pieces = redacted.mapping.pieces();
    let mut out = Vec::new();
    let text = |t: &str| Piece::Text(t.into());
    let arguments = |t: &str| Piece::CallArguments {
        index: 0,
        text: t.into(),
    };
    for piece in [
        Piece::Reasoning("I write to [EMA".into()),
        text("To [em"),
        text("ail_1"),
        text("]: done ["),
        Piece::CallBegin {
            index: 0,
            id: "c".into(),
            name: "mail".into(),
        },
        arguments("{\"to\":\"[EMAIL"),
        arguments("_1]\"}"),
        Piece::Finish(Finish::Calls),
    ] {
        out.extend(pieces.push(piece));
    }
    let of = |kind: fn(&Piece) -> Option<&str>| out.iter().filter_map(kind).collect::<String>();
    assert_eq!(
        of(|p| match p {
            Piece::Text(t) => Some(t),
            _ => None,
        }),
        "To anna@rhyta.com: done ["
    );
    assert_eq!(
        of(|p| match p {
            Piece::CallArguments { text, .. } => Some(text),
            _ => None,
        }),
        "{\"to\":\"anna@rhyta.com\"}"
    );
    assert_eq!(
        of(|p| match p {
            Piece::Reasoning(t) => Some(t),
            _ => None,
        }),
        "I write to [EMA"
    );
    assert_eq!(out.last(), Some(&Piece::Finish(Finish::Calls)));
}

#[test]
fn what_cannot_be_replaced_stays() {
    use ingle_gateway::chat::{Part, Tool};
    let open = policy(vec![rule("all", Action::Redact)]);
    let mut named = asked(&["hello"]);
    named.tools.push(Tool {
        name: "mail_anna@rhyta.com".into(),
        description: None,
        parameters: None,
        strict: false,
    });
    assert_eq!(judge(&open, &named, &taint()).leave, Leave::LocalOnly);
    let mut cut = asked(&["card 4539 1488 "]);
    cut.messages[0].parts.push(Part::Text("0343 6467".into()));
    assert_eq!(judge(&open, &cut, &taint()).leave, Leave::LocalOnly);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_sent_leads_back(
        words in prop::collection::vec(prop::sample::select(vec![
            "hello", "anna@rhyta.com", "[EMAIL_1]", "\\[EMAIL\\_1\\]", "[", "]", "\\", "4539 1488 0343 6467", "[email_2", "GB69PMNJ18913943430745",
            "é", "\n", "[TEXT_1]", "[[CARD_1]", "password: Tr0ub4dor&3", "308-63-0237", "守谷",
        ]), 0..12),
        glue in prop::sample::select(vec![" ", "", "-"]),
        cuts in prop::collection::vec(1usize..9, 1..40),
    ) {
        let text = words.join(glue);
        let mut mapping = Mapping::default();
        let sent = redact(&text, &mut mapping, Writing::Text);
        let mut restorer = mapping.restorer(Writing::Text);
        let mut back = String::new();
        let mut chars = sent.chars();
        for cut in cuts.iter().cycle() {
            let piece: String = chars.by_ref().take(*cut).collect();
            if piece.is_empty() {
                break;
            }
            back.push_str(&restorer.push(&piece));
        }
        back.push_str(&restorer.finish());
        prop_assert_eq!(back, text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What the fuzz target `policy` asserts, over pieces that detectors look at.
    #[test]
    fn any_text_is_found_on_characters_and_comes_back(
        pieces in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                "password=", "key: ", "\"", "'", "AKIA", "ghp_", "-----BEGIN PRIVATE KEY-----", "-----END", "eyJ", "sk-ant-api03-",
                "postgres://u:", "@", ".com", "%40", "%C3%A9", "&#64;", "&amp;", "\\u0040", "\\n", "YW5uYUByaHl0YS5jb20=", "GB69", "DE89",
                "4539", " 1488 ", "0343-6467", "308-63-0237", "+49 ", "(0)", "x12", "born ", "passport ", "Street", "12 Baker ", "::", "1.2.3.4",
                "\u{200B}", "é", "e\u{301}", "４５", "٤", "раssword", "𝟒", "[", "]", "\\", "_", "EMAIL_1", "[EMAIL_1]", "Falcon", "Project ", "守谷",
                "\n", " ", "-", ".", "0", "7",
            ]).prop_map(str::to_owned),
            "[ -~]{0,6}",
            "\\PC{0,4}",
        ], 0..24),
    ) {
        let text = pieces.concat();
        let all = SCANNER.scan(&text, &|| false).unwrap();
        for find in &all {
            prop_assert!(find.start < find.end && text.get(find.start..find.end).is_some(), "{:?}", find);
        }
        let finds = apart(all.clone());
        prop_assert!(finds.windows(2).all(|pair| pair[0].end <= pair[1].start));
        let sensitive = |find: &&ingle_gateway::policy::Find| find.kind.class() != ingle_gateway::policy::Class::Harmless;
        for find in all.iter().filter(sensitive) {
            let covered = |at: usize| finds.iter().any(|f| f.start <= at && at < f.end);
            prop_assert!((find.start..find.end).all(covered), "{:?} {:?}", find, finds);
        }
        let mut mapping = Mapping::default();
        let sent = redact(&text, &mut mapping, Writing::Text);
        prop_assert_eq!(mapping.restore(&sent, Writing::Text), text);
    }
}
