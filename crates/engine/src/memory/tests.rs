//! The verbs, on pages without keys and values.

use super::*;

/// The text 1 2 3 … with `last` at its end.
fn text(n: u32, last: u32) -> Vec<TokenId> {
    (1..n).chain([last]).map(TokenId).collect()
}

/// A sequence that has computed all of a text, from what there is of it.
fn computed(memory: &mut Memory, namespace: u64, text: &[TokenId]) -> (Held, usize) {
    let mut held = Held::default();
    let taken = memory.take(&mut held, namespace, text, false);
    assert!(memory.extend(&mut held, text.len()) >= text.len());
    memory.keep(&mut held, namespace, text);
    let all = [(&held, Some(namespace), text, text.len())];
    assert_eq!(memory.check(all.into_iter()), Ok(()));
    (held, taken.positions)
}

fn over(memory: &mut Memory, namespace: u64, text: &[TokenId]) -> usize {
    let (mut held, taken) = computed(memory, namespace, text);
    memory.release(&mut held, Some((namespace, text)));
    assert_eq!(memory.check(std::iter::empty()), Ok(()));
    taken
}

#[test]
fn a_text_is_continued_where_it_leaves_another_one() {
    let mut memory = Memory::new(20);
    assert_eq!(over(&mut memory, 0, &text(210, 0)), 0);
    assert_eq!(over(&mut memory, 0, &text(210, 0)), 210);
    assert_eq!(over(&mut memory, 0, &text(300, 0)), 209);
    assert_eq!(over(&mut memory, 0, &text(150, 9)), 149);
    assert_eq!(over(&mut memory, 0, &text(64, 9)), 63);
    assert_eq!(over(&mut memory, 0, &text(7, 9)), 0);
    assert_eq!(over(&mut memory, 1, &text(300, 0)), 0);
    // In namespace 0 five pages of the longest and one of each fork that is worth keeping.
    assert_eq!(memory.free.len(), 20 - 5 - 3 - 5);
}

#[test]
fn sequences_share_pages_and_the_slower_gives_its_own_back() {
    let (mut memory, text) = (Memory::new(9), text(130, 0));
    let mut slow = Held::default();
    memory.extend(&mut slow, 130);
    let (fast, _) = computed_beside(&mut memory, &slow, &text);
    assert_eq!(memory.free.len(), 3);
    memory.keep(&mut slow, 0, &text);
    assert_eq!(memory.free.len(), 5);
    assert_eq!(slow.pages[..2], fast.pages[..2]);
    assert_ne!(slow.pages[2], fast.pages[2]);
    let both = [&slow, &fast].map(|held| (held, Some(0), &text[..], text.len()));
    assert_eq!(memory.check(both.into_iter()), Ok(()));
    assert!(!memory.evict(), "all are in use");
}

fn computed_beside(memory: &mut Memory, _: &Held, text: &[TokenId]) -> (Held, usize) {
    let mut held = Held::default();
    let taken = memory.take(&mut held, 0, text, false);
    memory.extend(&mut held, text.len());
    memory.keep(&mut held, 0, text);
    (held, taken.positions)
}

#[test]
fn a_sequence_is_cut_back() {
    let (mut memory, text) = (Memory::new(9), text(200, 0));
    let (mut held, _) = computed(&mut memory, 0, &text);
    // 192 positions are in the tree. Behind them any position will do, before them whole pages.
    for (to, left, pages) in [(195, 195, 4), (192, 192, 3), (191, 128, 2), (10, 0, 0)] {
        assert_eq!(memory.rewind(&mut held, to), left);
        assert_eq!(held.pages.len(), pages);
        let sequence = [(&held, Some(0), &text[..left], left)];
        assert_eq!(memory.check(sequence.into_iter()), Ok(()));
    }
    // What it left is still in the tree.
    assert_eq!(memory.take(&mut held, 0, &text, false).positions, 192);
}

#[test]
fn the_oldest_leaf_goes_first_and_last_what_is_copied() {
    let mut memory = Memory::new(5);
    over(&mut memory, 0, &text(100, 0));
    over(&mut memory, 1, &text(100, 0));
    assert_eq!(memory.free.len(), 1);
    over(&mut memory, 0, &text(100, 0));
    assert!(memory.evict() && memory.evict());
    let left = [0, 1].map(|namespace| memory.matched(namespace, &text(64, 64)).count());
    assert_eq!(left, [1, 0]);
    // Where there is no other page, the one to be copied is taken.
    let mut memory = Memory::new(2);
    over(&mut memory, 0, &text(100, 0));
    let mut held = Held::default();
    let taken = memory.take(&mut held, 0, &text(99, 9), false);
    assert_eq!((taken.positions, taken.copy), (98, None));
    assert_eq!(memory.extend(&mut held, 129), 128);
}

#[test]
fn a_fault_is_found() {
    let (mut memory, text) = (Memory::new(4), text(100, 0));
    let (held, _) = computed(&mut memory, 0, &text);
    let check = |memory: &Memory, held: &Held, text: &[TokenId]| {
        memory
            .check([(held, Some(0), text, text.len())].into_iter())
            .unwrap_err()
    };
    let stray = Held {
        pages: vec![held.pages[0], PageId(9)],
        ..held
    };
    let faults = [
        check(&memory, &Held::default(), &[]),
        check(&memory, &held, &text[..64]),
        check(&memory, &held, &[TokenId(3); 100]),
        check(&memory, &stray, &text),
        {
            memory.free.push(held.pages[1]);
            check(&memory, &held, &text)
        },
    ];
    insta::assert_snapshot!(faults.join("\n"));
}
