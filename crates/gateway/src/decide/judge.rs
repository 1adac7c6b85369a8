//! Whether a local answer is good enough.

use crate::confidence::Confidence;
use crate::ledger::Step;
use serde::Serialize;
use std::collections::BTreeMap;

/// When a local answer is not good enough.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Escalation {
    /// Below this probability of being right; none: no aim was stated, or nothing is calibrated from which
    /// the probability that it needs could be told.
    pub threshold: Option<f64>,
    /// Answers of which nothing is known but an uncalibrated figure are escalated too.
    pub uncalibrated: bool,
}

/// What becomes of a local answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the answer.
    Keep,
    /// A provider is asked.
    Escalate,
}

/// Holds a confidence against the threshold. `what` is being judged: the answer, its beginning, the
/// request.
pub fn judge(
    what: &str,
    confidence: Option<&Confidence>,
    escalation: &Escalation,
) -> (Verdict, Step) {
    let calibrated = confidence.filter(|confidence| confidence.calibrated);
    let (verdict, why) = match (calibrated, escalation.threshold) {
        (Some(_), None) => (
            Verdict::Keep,
            format!("{what} has a confidence, and no aim says which one is needed"),
        ),
        (Some(Confidence { probability, .. }), Some(needed)) if *probability < needed => (
            Verdict::Escalate,
            format!("{what} is right with probability {probability:.2}, and {needed:.2} is needed"),
        ),
        (Some(Confidence { probability, .. }), Some(needed)) => (
            Verdict::Keep,
            format!("{what} is right with probability {probability:.2}; {needed:.2} is enough"),
        ),
        (None, _) if escalation.uncalibrated => (
            Verdict::Escalate,
            format!(
                "nothing calibrated is known of {what}, and the setting sends such requests out"
            ),
        ),
        (None, _) if confidence.is_none() => (
            Verdict::Keep,
            format!("nothing is known of how likely {what} is right"),
        ),
        (None, _) => (
            Verdict::Keep,
            format!("the confidence of {what} is not calibrated, and escalates nothing"),
        ),
    };
    let step = Step {
        about: "confidence".into(),
        verdict: match verdict {
            Verdict::Keep => "good enough".into(),
            Verdict::Escalate => "escalate".into(),
        },
        why,
        facts: facts(confidence, escalation),
    };
    (verdict, step)
}

fn facts(confidence: Option<&Confidence>, escalation: &Escalation) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut put = |name: &str, value: String| drop(facts.insert(name.to_owned(), value));
    if let Some(confidence) = confidence {
        put("confidence", format!("{:.3}", confidence.probability));
        put("calibrated", confidence.calibrated.to_string());
        if confidence.calibrated {
            put("outcomes", confidence.sample_size.to_string());
            put("calibration error", format!("{:.3}", confidence.error));
        }
    }
    if let Some(threshold) = escalation.threshold {
        put("threshold", format!("{threshold:.3}"));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(probability: f64, calibrated: bool, threshold: Option<f64>, sends: bool) -> Verdict {
        let confidence = Confidence {
            probability,
            calibrated,
            sample_size: 100,
            error: 0.02,
        };
        let escalation = Escalation {
            threshold,
            uncalibrated: sends,
        };
        judge("the answer", Some(&confidence), &escalation).0
    }

    #[test]
    fn what_is_not_calibrated_escalates_nothing_by_default() {
        for raw in [0.0, 0.05, 0.99] {
            assert_eq!(verdict(raw, false, Some(0.9), false), Verdict::Keep);
            assert_eq!(verdict(raw, false, Some(0.9), true), Verdict::Escalate);
        }
        let aim = Escalation {
            threshold: Some(0.9),
            uncalibrated: false,
        };
        assert_eq!(judge("the answer", None, &aim).0, Verdict::Keep);
    }

    #[test]
    fn a_probability_is_held_against_the_threshold() {
        assert_eq!(verdict(0.79, true, Some(0.8), false), Verdict::Escalate);
        assert_eq!(verdict(0.8, true, Some(0.8), false), Verdict::Keep);
        assert_eq!(verdict(0.01, true, None, false), Verdict::Keep);
        assert_eq!(verdict(f64::NAN, true, Some(0.8), false), Verdict::Keep);
    }
}
