//! The follower on texts of every kind.

use super::follow::Follower;
use ingle_formats::TokenId;
use proptest::prelude::*;
use std::time::Instant;

fn tokens(ids: impl IntoIterator<Item = u32>) -> Vec<TokenId> {
    ids.into_iter().map(TokenId).collect()
}

/// Guesses that are right, of those that are at least `least` likely, over a whole answer.
fn followed(prompt: &[TokenId], answer: &[TokenId], least: f32) -> (usize, usize) {
    let (mut text, mut follower) = (prompt.to_vec(), Follower::new());
    let (mut guesses, mut made, mut right) = (Vec::new(), 0, 0);
    for token in answer {
        follower.read(&text, prompt.len());
        follower.guess(&text, 1, &mut guesses);
        if let Some((guess, _)) = guesses.first().filter(|g| g.1 >= least) {
            made += 1;
            right += usize::from(guess == token);
        }
        text.push(*token);
    }
    (made, right)
}

#[test]
fn a_copy_is_followed_from_its_third_token_on() {
    let prompt = tokens(100..400);
    let (made, right) = followed(&prompt, &prompt, 0.1);
    assert_eq!((made, right), (298, 298));
}

#[test]
fn a_replaced_name_is_expected_where_it_stands_again() {
    // The name 7 becomes 8 9, between stretches that differ.
    let stretch = |i: u32| (0..12).map(move |k| 100 + 20 * i + k);
    let prompt = tokens((0..20).flat_map(|i| stretch(i).chain([7])));
    let answer = tokens((0..20).flat_map(|i| stretch(i).chain([8, 9])));
    let (_, right) = followed(&prompt, &answer, 0.3);
    // Two at the beginning, three at the first name, two at the second, which is doubted.
    assert!(right >= answer.len() - 10, "{right} of {}", answer.len());
}

#[test]
fn an_added_argument_is_expected_too_and_only_once() {
    let stretch = |i: u32| (0..12).map(move |k| 100 + 20 * i + k);
    let prompt = tokens((0..20).flat_map(|i| stretch(i).chain([7, 5])));
    let answer = tokens((0..20).flat_map(|i| stretch(i).chain([7, 6, 8, 5])));
    let (_, right) = followed(&prompt, &answer, 0.3);
    assert!(right >= answer.len() - 12, "{right} of {}", answer.len());
}

#[test]
fn what_never_goes_on_as_before_is_soon_not_guessed() {
    // Every pair of tokens comes again and again, each time with another one behind it.
    let mut text = vec![0_u32, 1];
    for i in 0..3_000_u32 {
        text.push(2 * (i / 16 % 97) + 200);
        text.extend([i % 16, (i / 16 + i) % 16]);
    }
    let text = tokens(text);
    let (made, right) = followed(&text[..100], &text[100..], 0.25);
    assert!(made - right < text.len() / 20, "{right} right of {made}");
}

#[test]
fn a_text_of_one_token_costs_no_more_than_any_other() {
    let time = |text: &[TokenId]| {
        let start = Instant::now();
        let mut follower = Follower::new();
        let mut guesses = Vec::new();
        for end in 1..=text.len() {
            follower.read(&text[..end], 1);
            follower.guess(&text[..end], 32, &mut guesses);
        }
        start.elapsed()
    };
    // 100,000 tokens: were it quadratic, this would take hours. No time is checked but that bound.
    for text in [
        tokens(vec![3; 100_000]),
        tokens((0..100_000_u32).map(|i| i.wrapping_mul(i) % 7)),
    ] {
        assert!(time(&text).as_secs() < 60);
    }
}

#[test]
fn memory_is_bounded() {
    let text = tokens((0..200_000_u32).map(|i| i.wrapping_mul(2_654_435_761) >> 12));
    let mut follower = Follower::new();
    follower.read(&text, 1);
    let counted = Follower::FIXED_BYTES + Follower::TOKEN_BYTES * text.len() as u64;
    assert!(follower.held_bytes() as u64 <= counted);
    // However long the text is.
    let text = tokens((0..3_000_000_u32).map(|i| i % 100_003));
    follower.read(&text, 1);
    assert!(follower.held_bytes() < 17 << 20);
}

proptest! {
    /// Whatever the text: no panic, as many guesses as asked for at most, all of tokens that are in
    /// it, probabilities that never grow, and the same however it is cut into pieces.
    #[test]
    fn guesses_are_sensible(
        text in prop::collection::vec(0..6_u32, 1..400),
        prompt_len in 0..200_usize,
        most in 0..40_usize,
        cut in 1..400_usize,
    ) {
        let text = tokens(text);
        let (mut follower, mut guesses) = (Follower::new(), Vec::new());
        for end in 1..=text.len() {
            follower.read(&text[..end], prompt_len);
            follower.guess(&text[..end], most, &mut guesses);
            prop_assert!(guesses.len() <= most);
            prop_assert!(guesses.iter().all(|(t, _)| text[..end].contains(t)));
            prop_assert!(guesses.iter().all(|(_, p)| (0.0..=1.0).contains(p)));
            prop_assert!(guesses.is_sorted_by(|a, b| a.1 >= b.1));
        }
        let mut pieces = Follower::new();
        pieces.read(&text[..cut.min(text.len())], prompt_len);
        pieces.read(&text, prompt_len);
        let mut same = Vec::new();
        pieces.guess(&text, most, &mut same);
        prop_assert_eq!(same, guesses);
    }
}
