//! The decision before anybody is asked: a pure function.

use super::judge::{Verdict, judge};
use super::situation::{Able, Asked, Door, Home, Mode, Situation};
use crate::chat::Leave;
use crate::ledger::Step;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// It is answered here, whatever comes of it. Nothing leaves.
    Home,
    /// It is answered here, and [`judge`] looks at the answer, or at so many tokens of its beginning,
    /// before anything of it is shown.
    Attempt {
        /// Tokens to look at; none: the whole answer.
        prefix: Option<u32>,
    },
    /// A provider is asked.
    Cloud {
        /// Where that fails it is answered here.
        or_home: bool,
    },
    /// Nobody may or can answer it.
    Refuse(Refusal),
}

/// Why nobody answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The local model cannot, which its own error says, and nobody else may or can for this reason.
    Home(String),
    /// It names a provider's model, and the request may not leave.
    Policy(String),
    /// It names a provider's model, and that one cannot answer it.
    Unable(String),
    /// It names a provider's model, and there is no money for it.
    Budget(String),
}

/// Decides, and says what was looked at.
pub fn plan(situation: &Situation) -> (Plan, Vec<Step>) {
    let mut steps = Vec::new();
    let plan = match leave(situation, &mut steps) {
        Err(refusal) => stay(situation, refusal),
        Ok(prefers) => go(situation, prefers, &mut steps),
    };
    (plan, steps)
}

/// Whether it may leave at all, and is rather to. The error says why not.
fn leave(situation: &Situation, steps: &mut Vec<Step>) -> Result<bool, Refusal> {
    let ruling = &situation.ruling;
    let mut step = |about: &str, verdict: &str, why: &str| {
        steps.push(Step {
            about: about.into(),
            verdict: verdict.into(),
            why: why.into(),
            ..Step::default()
        });
    };
    let because = match &situation.door {
        Door::NoProvider => Some("no provider is configured".to_owned()),
        Door::Shut(why) => Some(why.clone()),
        Door::Open if ruling.leave == Leave::LocalOnly => Some(ruling.why.clone()),
        Door::Open => None,
    };
    if let Some(why) = because {
        step("policy", "stays here", &why);
        return Err(Refusal::Policy(why));
    }
    step("policy", ruling.leave.word(), &ruling.why);
    if situation.asked == Asked::Local {
        let why = "the request is to be answered here";
        step("route", "stays here", why);
        return Err(Refusal::Policy(why.into()));
    }
    if let Some(what) = &situation.only_here {
        let why = format!("it asks for {what}, which is done only here");
        step("capability", "stays here", &why);
        return Err(Refusal::Unable(why));
    }
    match &situation.able {
        Able::No(why) => {
            step("capability", "stays here", why);
            return Err(Refusal::Unable(why.clone()));
        }
        Able::Yes(who) => {
            let why = format!("{who} can answer it");
            step("capability", "may be asked", &why);
        }
    }
    if let Err(why) = &situation.budget {
        step("budget", "stays here", why);
        return Err(Refusal::Budget(why.clone()));
    }
    step(
        "budget",
        "within the caps",
        "the most that it can cost is free",
    );
    Ok(ruling.leave == Leave::PreferCloud)
}

/// It does not leave.
fn stay(situation: &Situation, refusal: Refusal) -> Plan {
    match (&situation.home, situation.named) {
        (_, true) => Plan::Refuse(refusal),
        (Home::Can, false) => Plan::Home,
        (Home::Cannot(_), false) => Plan::Refuse(Refusal::Home(match refusal {
            Refusal::Home(why)
            | Refusal::Policy(why)
            | Refusal::Unable(why)
            | Refusal::Budget(why) => why,
        })),
    }
}

/// It may leave.
fn go(situation: &Situation, prefers: bool, steps: &mut Vec<Step>) -> Plan {
    let mut step = |about: &str, verdict: &str, why: &str| {
        steps.push(Step {
            about: about.into(),
            verdict: verdict.into(),
            why: why.into(),
            ..Step::default()
        });
    };
    if let Home::Cannot(why) = &situation.home {
        step("capability", "goes out", why);
        return Plan::Cloud { or_home: false };
    }
    if situation.named || situation.asked == Asked::Cloud {
        let why = match situation.named {
            true => "the request names a provider's model",
            false => "the request is to be answered by a provider",
        };
        step("route", "goes out", why);
        let or_home = !situation.named;
        return Plan::Cloud { or_home };
    }
    if prefers {
        let why = "the policy prefers a provider for this request";
        step("route", "goes out", why);
        return Plan::Cloud { or_home: true };
    }
    match (situation.streams, situation.mode) {
        (false, _) => Plan::Attempt { prefix: None },
        (true, Mode::Prefix(tokens)) => Plan::Attempt {
            prefix: Some(tokens),
        },
        (true, Mode::LocalOnly) => {
            let why = "answers that are streamed are given here, by setting";
            step("route", "stays here", why);
            Plan::Home
        }
        (true, Mode::Before) => {
            let (verdict, step) = judge(
                "an answer to this request",
                situation.before.as_ref(),
                &situation.escalation,
            );
            steps.push(step);
            match verdict {
                Verdict::Keep => Plan::Home,
                Verdict::Escalate => Plan::Cloud { or_home: true },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::judge::Escalation;
    use super::super::situation::Ruling;
    use super::*;
    use crate::confidence::Confidence;
    use proptest::prelude::*;

    /// A request that may leave, can be answered anywhere, and is streamed or not.
    fn free() -> Situation {
        Situation {
            asked: Asked::Auto,
            named: false,
            streams: false,
            mode: Mode::Prefix(16),
            ruling: Ruling {
                leave: Leave::Allow,
                rule: "rule 1".into(),
                why: "rule 1 allows it".into(),
            },
            door: Door::Open,
            only_here: None,
            able: Able::Yes("a/b".into()),
            budget: Ok(()),
            home: Home::Can,
            before: None,
            escalation: Escalation::default(),
        }
    }

    fn asked() -> impl Strategy<Value = Asked> {
        prop_oneof![Just(Asked::Local), Just(Asked::Auto), Just(Asked::Cloud)]
    }

    fn mode() -> impl Strategy<Value = Mode> {
        prop_oneof![
            Just(Mode::Before),
            (1u32..64).prop_map(Mode::Prefix),
            Just(Mode::LocalOnly)
        ]
    }

    fn ruled() -> impl Strategy<Value = Ruling> {
        let leave = prop_oneof![
            Just(Leave::LocalOnly),
            Just(Leave::Allow),
            Just(Leave::PreferCloud)
        ];
        leave.prop_map(|leave| Ruling {
            leave,
            ..free().ruling
        })
    }

    fn door() -> impl Strategy<Value = Door> {
        prop_oneof![
            3 => Just(Door::Open),
            1 => Just(Door::NoProvider),
            1 => Just(Door::Shut("--offline".into()))
        ]
    }

    fn confidence() -> impl Strategy<Value = Option<Confidence>> {
        prop::option::of(
            (any::<f64>(), any::<bool>()).prop_map(|(probability, calibrated)| Confidence {
                probability,
                calibrated,
                sample_size: 10,
                error: 0.1,
            }),
        )
    }

    fn situation() -> impl Strategy<Value = Situation> {
        let flags = any::<(bool, bool, bool, bool, bool, bool, bool)>();
        let threshold = prop::option::of(any::<f64>());
        (
            asked(),
            mode(),
            ruled(),
            door(),
            confidence(),
            threshold,
            flags,
        )
            .prop_map(|(asked, mode, ruling, door, before, threshold, flags)| {
                let (named, streams, here, able, money, home, uncalibrated) = flags;
                Situation {
                    asked,
                    named,
                    streams,
                    mode,
                    ruling,
                    door,
                    only_here: here.then(|| "a grammar".into()),
                    able: match able {
                        true => Able::Yes("a/b".into()),
                        false => Able::No("the context is too short".into()),
                    },
                    budget: money.then_some(()).ok_or_else(|| "spent".into()),
                    home: match home {
                        true => Home::Can,
                        false => Home::Cannot("the prompt is too long".into()),
                    },
                    before,
                    escalation: Escalation {
                        threshold,
                        uncalibrated,
                    },
                }
            })
    }

    fn leaves(plan: &Plan) -> bool {
        matches!(plan, Plan::Cloud { .. } | Plan::Attempt { .. })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// Whatever else is asked for, configured or known.
        #[test]
        fn local_only_never_leads_to_a_provider(mut situation in situation()) {
            situation.ruling.leave = Leave::LocalOnly;
            let (plan, steps) = plan(&situation);
            prop_assert!(!leaves(&plan), "{:?}", plan);
            prop_assert_eq!(steps.len(), 1);
            prop_assert_eq!(steps[0].verdict.as_str(), "stays here");
        }

        #[test]
        fn each_reason_alone_keeps_it_here(situation in situation()) {
            let stays = situation.asked == Asked::Local
                || situation.ruling.leave == Leave::LocalOnly
                || situation.door != Door::Open
                || situation.only_here.is_some()
                || matches!(situation.able, Able::No(_))
                || situation.budget.is_err();
            let (plan, _) = plan(&situation);
            if stays {
                prop_assert!(!leaves(&plan), "{:?}", plan);
            } else if situation.home != Home::Can {
                prop_assert_eq!(plan, Plan::Cloud { or_home: false });
            }
        }

        #[test]
        fn what_cannot_be_answered_here_is_not_planned_here(mut situation in situation()) {
            situation.home = Home::Cannot("no".into());
            let (plan, _) = plan(&situation);
            let ends = matches!(plan, Plan::Cloud { or_home: false } | Plan::Refuse(_));
            prop_assert!(ends, "{:?}", plan);
        }

        #[test]
        fn a_model_that_is_named_is_asked_or_nobody(mut situation in situation()) {
            situation.named = true;
            let (plan, _) = plan(&situation);
            let ends = matches!(plan, Plan::Cloud { or_home: false } | Plan::Refuse(_));
            prop_assert!(ends, "{:?}", plan);
        }

        #[test]
        fn what_is_streamed_locally_by_setting_stays(mut situation in situation()) {
            situation.streams = true;
            situation.mode = Mode::LocalOnly;
            situation.asked = Asked::Auto;
            situation.named = false;
            situation.home = Home::Can;
            situation.ruling.leave = situation.ruling.leave.min(Leave::Allow);
            prop_assert_eq!(plan(&situation).0, Plan::Home);
        }
    }

    #[test]
    fn in_this_order() {
        let about = |situation: &Situation| {
            let (plan, steps) = plan(situation);
            let steps: Vec<String> = steps
                .iter()
                .map(|s| format!("{}: {}: {}", s.about, s.verdict, s.why))
                .collect();
            format!("{}\n=> {plan:?}", steps.join("\n"))
        };
        let mut all = vec![about(&free())];
        let mut no_money = free();
        no_money.budget = Err("the cap of 1.00 USD a day is spent".into());
        all.push(about(&no_money));
        let mut streamed = free();
        streamed.streams = true;
        all.push(about(&streamed));
        streamed.mode = Mode::Before;
        streamed.escalation.threshold = Some(0.8);
        streamed.before = Some(Confidence {
            probability: 0.4,
            calibrated: true,
            sample_size: 900,
            error: 0.02,
        });
        all.push(about(&streamed));
        let mut long = free();
        long.home = Home::Cannot("the prompt has 9000 tokens, the context 512".into());
        all.push(about(&long));
        long.ruling.leave = Leave::LocalOnly;
        long.ruling.why = "no rule allows it".into();
        all.push(about(&long));
        insta::assert_snapshot!(all.join("\n\n"));
    }
}
