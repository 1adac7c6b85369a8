//! What the sampler promises, against slow and plain versions of itself.

use super::*;
use proptest::prelude::*;

fn sampler(sampling: &Sampling, n_vocab: usize) -> Sampler {
    Sampler::new(sampling, n_vocab).unwrap()
}

fn choose(sampling: &Sampling, logits: &[f32], position: u32) -> u32 {
    sampler(sampling, logits.len())
        .choose(&mut logits.to_vec(), position)
        .unwrap()
        .token
        .0
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|&l| f64::from(l - max).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// Ids that a sampling keeps, ascending.
fn kept(sampling: &Sampling, logits: &[f32]) -> Vec<u32> {
    let mut sampler = sampler(sampling, logits.len());
    sampler.truncate(logits);
    let mut ids: Vec<u32> = sampler.candidates.iter().map(|c| c.id).collect();
    ids.sort_unstable();
    ids
}

/// Ids by falling logit, rising id.
fn ranked(logits: &[f32]) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    ids.sort_by(|&a, &b| {
        logits[b as usize]
            .total_cmp(&logits[a as usize])
            .then(a.cmp(&b))
    });
    ids
}

fn logits() -> impl Strategy<Value = Vec<f32>> {
    prop_oneof![
        prop::collection::vec(-12.0_f32..12.0, 1..700),
        // Many equal logits.
        prop::collection::vec((-3_i8..3).prop_map(f32::from), 1..700),
    ]
}

proptest! {
    #[test]
    fn temperature_zero_is_the_first_of_the_largest(logits in logits(), seed: u64, at: u32) {
        let sampling = Sampling { seed, ..Sampling::greedy() };
        prop_assert_eq!(choose(&sampling, &logits, at), ranked(&logits)[0]);
    }

    #[test]
    fn top_k_keeps_the_k_first(logits in logits(), k in 1_u32..300) {
        let mut want = ranked(&logits);
        want.truncate(k as usize);
        want.sort_unstable();
        prop_assert_eq!(kept(&Sampling { top_k: k, ..Sampling::default() }, &logits), want);
    }

    #[test]
    fn top_p_keeps_the_fewest_that_reach_p(logits in logits(), p in 0.0_f32..0.999) {
        let got = kept(&Sampling { top_p: p, ..Sampling::default() }, &logits);
        let probabilities = softmax(&logits);
        let order = ranked(&logits);
        let mut head = order[..got.len()].to_vec();
        head.sort_unstable();
        prop_assert_eq!(&got, &head, "the most probable ones");
        let mass = |n: usize| order[..n].iter().map(|&i| probabilities[i as usize]).sum::<f64>();
        prop_assert!(mass(got.len()) >= f64::from(p) - 1e-6, "enough");
        prop_assert!(got.len() == 1 || mass(got.len() - 1) < f64::from(p) + 1e-6, "not more");
    }

    #[test]
    fn min_p_keeps_what_is_probable_enough(logits in logits(), min_p in 0.001_f32..1.0) {
        let got = kept(&Sampling { min_p, ..Sampling::default() }, &logits);
        let probabilities = softmax(&logits);
        let max = probabilities.iter().copied().fold(0.0, f64::max);
        for (id, p) in probabilities.iter().enumerate() {
            let ratio = p / max / f64::from(min_p);
            // Logits on the edge may fall either way by rounding.
            if (ratio - 1.0).abs() > 1e-4 {
                prop_assert_eq!(got.contains(&(id as u32)), ratio > 1.0, "token {}", id);
            }
        }
    }

    #[test]
    fn typical_keeps_what_is_nearest_to_the_entropy(logits in logits(), p in 0.01_f32..0.999) {
        let got = kept(&Sampling { typical: p, ..Sampling::default() }, &logits);
        let probabilities = softmax(&logits);
        let entropy: f64 = probabilities.iter().map(|p| if *p > 0.0 { -p * p.ln() } else { 0.0 }).sum();
        let distance = |id: u32| (-probabilities[id as usize].ln() - entropy).abs();
        let furthest = got.iter().map(|&id| distance(id)).fold(0.0, f64::max);
        for id in 0..logits.len() as u32 {
            prop_assert!(got.contains(&id) || distance(id) >= furthest - 1e-4);
        }
        let mass: f64 = got.iter().map(|&id| probabilities[id as usize]).sum();
        prop_assert!(mass >= f64::from(p) - 1e-6);
    }

    #[test]
    fn a_draw_from_all_is_a_draw_from_all_candidates(
        logits in prop_oneof![
            logits(),
            prop::collection::vec(prop_oneof![
                9 => -40.0_f32..40.0, 1 => Just(f32::NEG_INFINITY), 1 => Just(f32::MIN), 1 => Just(f32::MAX),
            ], 1..700),
        ],
        temperature in prop_oneof![Just(1e-45_f32), Just(1e-30), 0.01_f32..3.0, Just(100.0)],
        key: u64,
    ) {
        let mut all = Vec::new();
        truncate::top_k(&logits, usize::MAX, &mut all);
        let found = noise::draw_any(key, temperature, &logits);
        prop_assert_eq!(found, noise::draw(key, temperature, &all));
        prop_assert_eq!(found, noise::plain_draw(key, temperature, &logits));
    }

    #[test]
    fn what_is_likely_is_what_the_stages_keep(
        logits in logits(),
        scale in prop_oneof![Just(1.0_f32), Just(1e-3), Just(1e30)],
        p in prop_oneof![Just(1.0_f32), Just(0.0), 0.0_f32..1.0],
        min_p in prop_oneof![Just(0.0_f32), Just(1.0), 0.0_f32..1.0],
    ) {
        let logits: Vec<f32> = logits.iter().map(|l| l * scale).collect();
        let (mut likely, mut staged) = (Vec::new(), Vec::new());
        truncate::likely(&logits, p, min_p, &mut likely);
        truncate::top_k(&logits, usize::MAX, &mut staged);
        if p < 1.0 {
            truncate::top_p(&mut staged, p);
        }
        if min_p > 0.0 {
            truncate::min_p(&mut staged, min_p);
        }
        truncate::sort_by_logit(&mut likely);
        truncate::sort_by_logit(&mut staged);
        let ids = |all: &[Candidate]| all.iter().map(|c| c.id).collect::<Vec<_>>();
        let (likely, staged) = (ids(&likely), ids(&staged));
        // The sums are rounded differently: one more or less at the edge.
        let edge = likely.len().abs_diff(staged.len());
        prop_assert!(edge <= usize::from(p < 1.0), "{likely:?} {staged:?}");
        prop_assert!(likely.starts_with(&staged) || staged.starts_with(&likely));
    }

    #[test]
    fn anything_in_is_no_panic(
        logits in prop::collection::vec(prop_oneof![
            any::<f32>(), Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), -5.0_f32..5.0,
        ], 1..300),
        known in prop::collection::vec(0_u32..400, 0..60),
        temperature in prop_oneof![Just(0.0), Just(1e-30_f32), 0.01_f32..3.0],
        (top_k, top_p, min_p, typical) in (0_u32..20, 0.0_f32..=1.0, 0.0_f32..=1.0, 0.0_f32..=1.0),
        repetition_penalty in 0.01_f32..100.0,
        multiplier in 0.0_f32..100.0,
    ) {
        let sampling = Sampling {
            temperature, top_k, top_p, min_p, typical, repetition_penalty,
            frequency_penalty: -2.0,
            dry: Dry { multiplier, allowed_length: 1, ..Dry::default() },
            logprobs: Some(3),
            ..Sampling::default()
        };
        let mut s = sampler(&sampling, logits.len());
        known.iter().for_each(|&t| s.accept(TokenId(t)));
        let possible = logits.iter().any(|l| *l > f32::NEG_INFINITY);
        match s.choose(&mut logits.clone(), 5) {
            Ok(choice) => prop_assert!(logits[choice.token.0 as usize] > f32::NEG_INFINITY),
            // A penalty may take the smallest finite logits below what f32 holds.
            Err(e) => {
                prop_assert!(!possible || logits.iter().all(|l| l.is_nan() || *l < -1e30), "{e}");
                prop_assert_eq!(e, SamplingError::NothingLeft { position: 5 });
            }
        }
    }

    #[test]
    fn what_is_retracted_was_never_known(
        known in prop::collection::vec(0_u32..9, 0..40),
        guessed in prop::collection::vec(0_u32..9, 0..12),
        last_n in prop::option::of(0_u32..20),
    ) {
        let sampling = Sampling {
            repetition_penalty: 1.5,
            frequency_penalty: 0.5,
            penalty_last_n: last_n,
            ..Sampling::default()
        };
        let mut s = sampler(&sampling, 9);
        known.iter().for_each(|&t| s.accept(TokenId(t)));
        let mut expected = [0.5; 9];
        s.clone().choose(&mut expected, 0).unwrap();
        guessed.iter().for_each(|&t| s.accept(TokenId(t)));
        s.retract(guessed.len());
        let mut found = [0.5; 9];
        s.choose(&mut found, 0).unwrap();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn dry_equals_its_definition(
        text in prop::collection::vec(0_u32..4, 0..60),
        allowed_length in 1_u32..5,
        last_n in prop::option::of(0_u32..70),
        breakers in prop::collection::vec(0_u32..4, 0..2),
    ) {
        let dry = Dry { multiplier: 0.5, allowed_length, penalty_last_n: last_n, ..Dry::default() };
        let sampling = Sampling { dry: dry.clone(), ..Sampling::greedy() };
        let breakers: Vec<TokenId> = breakers.into_iter().map(TokenId).collect();
        let mut s = sampler(&sampling, 4).with_breakers(breakers.clone());
        text.iter().for_each(|&t| s.accept(TokenId(t)));
        let mut got = [0.0; 4];
        s.choose(&mut got, 0).unwrap();

        let text: Vec<TokenId> = text.into_iter().map(TokenId).collect();
        let text = &text[text.len().saturating_sub(last_n.map_or(usize::MAX, |n| n as usize))..];
        let mut want = [0.0_f32; 4];
        for end in 1..text.len() {
            let repeat = (1..=end)
                .take_while(|&n| text[end - n] == text[text.len() - n] && !breakers.contains(&text[end - n]))
                .count() as u32;
            if repeat >= allowed_length && !breakers.contains(&text[end]) {
                let penalty = 0.5 * 1.75_f64.powi((repeat - allowed_length).min(50) as i32);
                let at = &mut want[text[end].0 as usize];
                *at = at.min(-penalty as f32);
            }
        }
        for (got, want) in got.iter().zip(want) {
            prop_assert!((got - want).abs() <= want.abs() * 1e-6, "{got} {want}");
        }
    }
}

/// Chi-square of 20,000 draws over positions and over seeds against softmax at temperature 0.7.
#[test]
fn draws_follow_softmax() {
    const DRAWS: u32 = 20_000;
    let logits: Vec<f32> = (0..16).map(|i| ((i * 7) % 16) as f32 / 5.0).collect();
    let heated: Vec<f32> = logits.iter().map(|l| l / 0.7).collect();
    let want = softmax(&heated);
    for over_seeds in [false, true] {
        let mut counts = [0_u32; 16];
        for i in 0..DRAWS {
            let (seed, position) = if over_seeds {
                (u64::from(i), 3)
            } else {
                (11, i)
            };
            let sampling = Sampling {
                temperature: 0.7,
                seed,
                ..Sampling::default()
            };
            counts[choose(&sampling, &logits, position) as usize] += 1;
        }
        let chi_square: f64 = counts
            .iter()
            .zip(&want)
            .map(|(&n, p)| (f64::from(n) - p * f64::from(DRAWS)).powi(2) / (p * f64::from(DRAWS)))
            .sum();
        // 15 degrees of freedom: 37.7 is passed once in a thousand.
        assert!(
            chi_square < 37.7,
            "over seeds: {over_seeds}, chi-square {chi_square}"
        );
    }
}

#[test]
fn neighbouring_draws_are_independent() {
    let sampling = Sampling {
        seed: 5,
        ..Sampling::default()
    };
    let mut pairs = [[0_u32; 2]; 2];
    for position in 0..20_000 {
        let draw = |p| choose(&sampling, &[0.0, 0.0], p) as usize;
        pairs[draw(position)][draw(position + 1)] += 1;
    }
    for n in pairs.iter().flatten() {
        // 5,000 expected, standard deviation about 61.
        assert!((4_700..5_300).contains(n), "{pairs:?}");
    }
}

#[test]
fn a_draw_does_not_depend_on_what_was_drawn_before() {
    let sampling = Sampling {
        seed: 9,
        ..Sampling::default()
    };
    let logits: Vec<f32> = (0..100).map(|i| (i % 13) as f32 / 4.0).collect();
    let mut s = sampler(&sampling, 100);
    let in_turn: Vec<u32> = (0..20)
        .map(|p| s.choose(&mut logits.clone(), p).unwrap().token.0)
        .collect();
    let alone: Vec<u32> = (0..20).map(|p| choose(&sampling, &logits, p)).collect();
    assert_eq!(in_turn, alone);
}

#[test]
fn truncation_keeps_the_winner_that_it_keeps() {
    let logits: Vec<f32> = (0..500).map(|i| ((i * 37) % 101) as f32 / 10.0).collect();
    for seed in 0..200 {
        let all = Sampling {
            seed,
            ..Sampling::default()
        };
        let some = Sampling {
            top_k: 60,
            ..all.clone()
        };
        let winner = choose(&all, &logits, 0);
        if kept(&some, &logits).contains(&winner) {
            assert_eq!(choose(&some, &logits, 0), winner);
        }
    }
}

/// Each case gives another token if two steps change places.
#[test]
fn the_order_is_as_documented() {
    // Bias before the repetition penalty: (1 + 1) / 2 = 1.0, not 1 / 2 + 1 = 1.5.
    let sampling = Sampling {
        logit_bias: vec![(TokenId(0), 1.0)],
        repetition_penalty: 2.0,
        ..Sampling::greedy()
    };
    let mut s = sampler(&sampling, 2);
    s.accept(TokenId(0));
    assert_eq!(s.choose(&mut [1.0, 1.2], 0).unwrap().token, TokenId(1));

    // Repetition before presence: 2 / 2 - 1 = 0, not (2 - 1) / 2 = 0.5.
    let sampling = Sampling {
        repetition_penalty: 2.0,
        presence_penalty: 1.0,
        ..Sampling::greedy()
    };
    let mut s = sampler(&sampling, 2);
    s.accept(TokenId(0));
    assert_eq!(s.choose(&mut [2.0, 0.2], 0).unwrap().token, TokenId(1));

    // Top-k before top-p: of two tokens one has two thirds, of all four less than half.
    let logits = [1.0_f32, 0.3, 0.2, 0.1];
    let both = Sampling {
        top_k: 2,
        top_p: 0.6,
        ..Sampling::default()
    };
    assert_eq!(kept(&both, &logits), [0]);
    assert_eq!(kept(&Sampling { top_k: 0, ..both }, &logits), [0, 1]);

    // Top-p before temperature: a flat distribution at temperature 100 would keep all.
    let hot = Sampling {
        temperature: 100.0,
        top_p: 0.4,
        ..Sampling::default()
    };
    assert_eq!(kept(&hot, &logits), [0]);

    // Penalties before top-k: the token that was first is no longer among the first two.
    let sampling = Sampling {
        top_k: 2,
        frequency_penalty: 2.0,
        ..Sampling::default()
    };
    let mut s = sampler(&sampling, 4);
    s.accept(TokenId(0));
    s.choose(&mut logits.to_vec(), 0).unwrap();
    let mut ids: Vec<u32> = s.candidates.iter().map(|c| c.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn logprobs_are_of_the_models_own_distribution() {
    let logits = [1.0_f32, 3.0, 2.0, -1.0];
    let sampling = Sampling {
        logit_bias: vec![(TokenId(1), f32::NEG_INFINITY), (TokenId(0), 9.0)],
        frequency_penalty: 1.0,
        logprobs: Some(2),
        ..Sampling::greedy()
    };
    let mut s = sampler(&sampling, 4);
    s.accept(TokenId(0));
    let choice = s.choose(&mut logits.to_vec(), 0).unwrap();
    let want = softmax(&logits);
    assert_eq!(choice.token, TokenId(0));
    assert!((f64::from(choice.logprob.unwrap()) - want[0].ln()).abs() < 1e-6);
    let ids: Vec<u32> = choice.top.iter().map(|(t, _)| t.0).collect();
    assert_eq!(ids, [1, 2]);
    assert!((f64::from(choice.top[0].1) - want[1].ln()).abs() < 1e-6);
}

#[test]
fn penalties_forget_what_left_the_window() {
    let sampling = Sampling {
        presence_penalty: 2.0,
        penalty_last_n: Some(2),
        ..Sampling::greedy()
    };
    let mut s = sampler(&sampling, 3);
    for token in [0, 1, 2] {
        s.accept(TokenId(token));
    }
    assert_eq!(s.choose(&mut [0.0, 1.0, 1.0], 0).unwrap().token, TokenId(0));
}

#[test]
fn nothing_to_choose_is_an_error() {
    for bad in [f32::NAN, f32::NEG_INFINITY] {
        let mut s = sampler(&Sampling::default(), 3);
        assert_eq!(
            s.choose(&mut [bad; 3], 8),
            Err(SamplingError::NothingLeft { position: 8 })
        );
    }
    let mut s = sampler(&Sampling::default(), 3);
    let wrong = SamplingError::WrongWidth {
        found: 2,
        n_vocab: 3,
    };
    assert_eq!(s.choose(&mut [0.0; 2], 0), Err(wrong));
    assert_eq!(
        choose(&Sampling::default(), &[f32::NAN, -1.0, f32::NAN], 0),
        1
    );
    assert_eq!(
        choose(&Sampling::default(), &[0.0, f32::INFINITY, 9.0], 0),
        1
    );
}

#[test]
fn breakers_are_the_tokens_that_contain_them() {
    let pieces: [&[u8]; 4] = [b"a\n", b"b", b"\n\n", b": "];
    let tokens = || {
        pieces
            .iter()
            .enumerate()
            .map(|(i, p)| (TokenId(i as u32), *p))
    };
    let found = breaker_tokens(&["\n".into(), ":".into()], tokens()).unwrap();
    assert_eq!(found, [TokenId(0), TokenId(2), TokenId(3)]);
    let missing = breaker_tokens(&["\n".into(), "##".into()], tokens());
    assert_eq!(
        missing,
        Err(SamplingError::NoSuchBreaker {
            breaker: "##".into()
        })
    );
}

#[test]
fn messages() {
    let default = Sampling::default();
    let bad = [
        Sampling {
            temperature: -0.5,
            ..default.clone()
        },
        Sampling {
            top_p: 1.5,
            ..default.clone()
        },
        Sampling {
            min_p: f32::NAN,
            ..default.clone()
        },
        Sampling {
            repetition_penalty: 0.0,
            ..default.clone()
        },
        Sampling {
            frequency_penalty: 3.0,
            ..default.clone()
        },
        Sampling {
            dry: Dry {
                allowed_length: 0,
                ..Dry::default()
            },
            ..default.clone()
        },
        Sampling {
            logit_bias: vec![(TokenId(3), f32::INFINITY)],
            ..default.clone()
        },
        Sampling {
            logit_bias: vec![(TokenId(10), 1.0)],
            ..default.clone()
        },
        Sampling {
            logprobs: Some(5000),
            ..default
        },
    ];
    let mut messages: Vec<String> = bad
        .iter()
        .map(|s| Sampler::new(s, 10).unwrap_err().to_string())
        .collect();
    messages.push(SamplingError::NothingLeft { position: 3 }.to_string());
    messages.push(
        SamplingError::NoSuchBreaker {
            breaker: "\n#".into(),
        }
        .to_string(),
    );
    insta::assert_snapshot!(messages.join("\n"));
}
