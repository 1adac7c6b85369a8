//! Any text is looked through or refused. What is found stands in the text, in order, on characters; what is
//! replaced is found no more, and comes back to the letter, however it is cut.
#![no_main]

use ingle_gateway::policy::{Class, Find, Limits, Mapping, Scanner, Term, Writing, apart};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static SCANNER: LazyLock<Scanner> = LazyLock::new(|| {
    let term = Term {
        label: "projects".into(),
        words: vec!["Falcon".into(), "守谷".into()],
        whole: true,
    };
    let limits = Limits {
        text: 1 << 16,
        ..Limits::default()
    };
    Scanner::new(&[term], limits).unwrap()
});

fuzz_target!(|text: &str| {
    let Ok(all) = SCANNER.scan(text, &|| false) else {
        return;
    };
    for find in &all {
        assert!(find.start < find.end);
        assert!(text.get(find.start..find.end).is_some(), "{find:?}");
    }
    let apart = apart(all.clone());
    assert!(apart.windows(2).all(|pair| pair[0].end <= pair[1].start));
    let sensitive = |find: &Find| find.kind.class() != Class::Harmless;
    for find in all.iter().filter(|find| sensitive(find)) {
        // Every byte that was found is part of something that is kept apart.
        let covered = |at: usize| apart.iter().any(|f| f.start <= at && at < f.end);
        assert!((find.start..find.end).all(covered), "{find:?} {apart:?}");
    }
    let finds: Vec<Find> = apart.into_iter().filter(sensitive).collect();
    let mut mapping = Mapping::default();
    let sent = mapping.redact(text, &finds, Writing::Text);
    for step in [1, 3, 7] {
        let mut restorer = mapping.restorer(Writing::Text);
        let mut back = String::new();
        let chars: Vec<char> = sent.chars().collect();
        for piece in chars.chunks(step) {
            back.push_str(&restorer.push(&piece.iter().collect::<String>()));
        }
        back.push_str(&restorer.finish());
        assert_eq!(back, text);
    }
});
