//! Two models and one of them for each question: the measures of RouteLLM (Ong et al., 2024,
//! arXiv:2406.18665, section 3.2).
//!
//! A router gives each question a score; the strong model gets those with the highest. *Performance gap
//! recovered* is how far the accuracy then lies from the weak model's (0) to the strong one's (1). APGR is
//! its mean over all shares of calls, by the trapezoid rule over eleven cut-offs at the deciles of the
//! scores, as their program computes it. CPT(50%) is the share of calls to the strong model at which half
//! of the gap is recovered, in a straight line between cut-offs.

/// A question: the score for the strong model, and who was right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question {
    /// Higher: rather to the strong model.
    pub score: f64,
    /// Whether the weak model was right.
    pub weak: bool,
    /// Whether the strong model was.
    pub strong: bool,
}

/// What a router does on a set of questions.
#[derive(Debug, Clone, PartialEq)]
pub struct Routed {
    /// Share right of the weak model.
    pub weak: f64,
    /// Share right of the strong model.
    pub strong: f64,
    /// (share of calls to the strong model, gap recovered), at the deciles.
    pub curve: Vec<(f64, f64)>,
    /// Mean gap recovered.
    pub apgr: f64,
    /// Share of calls for half of the gap; 1 where it is never reached.
    pub cpt50: f64,
    /// Share of calls for four fifths of it.
    pub cpt80: f64,
}

/// Cut-offs: one more.
const DECILES: usize = 10;

/// Measures a router. `None` where the strong model is no better than the weak one: there is no gap.
pub fn measure(questions: &[Question]) -> Option<Routed> {
    let n = questions.len() as f64;
    let share =
        |right: fn(&Question) -> bool| questions.iter().filter(|q| right(q)).count() as f64 / n;
    let (weak, strong) = (share(|q| q.weak), share(|q| q.strong));
    if questions.is_empty() || strong <= weak {
        return None;
    }
    let curve = curve(questions, |accuracy| (accuracy - weak) / (strong - weak));
    let area = |((x0, y0), (x1, y1)): (&(f64, f64), &(f64, f64))| (x1 - x0) * (y0 + y1) / 2.0;
    let apgr = curve.iter().zip(curve.iter().skip(1)).map(area).sum();
    Some(Routed {
        weak,
        strong,
        apgr,
        cpt50: calls_for(&curve, 0.5),
        cpt80: calls_for(&curve, 0.8),
        curve,
    })
}

/// Shares of calls and what they recover, questions with equal scores to the strong model in part.
fn curve(questions: &[Question], recovered: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut sorted = questions.to_vec();
    sorted.sort_by(|a, b| b.score.total_cmp(&a.score));
    let n = sorted.len() as f64;
    let count = |right: bool| f64::from(u8::from(right));
    let mut right: f64 = sorted.iter().map(|q| count(q.weak)).sum();
    // Accuracy by calls, from none to all: in a straight line through questions with equal scores.
    let mut points = vec![(0.0, right)];
    let mut calls = 0.0;
    for ties in sorted.chunk_by(|a, b| a.score == b.score) {
        calls += ties.len() as f64;
        right += ties
            .iter()
            .map(|q| count(q.strong) - count(q.weak))
            .sum::<f64>();
        points.push((calls, right));
    }
    let at = |calls: f64| {
        let above = points.partition_point(|p| p.0 < calls);
        let before = above.checked_sub(1).and_then(|i| points.get(i));
        match (before, points.get(above)) {
            (Some(a), Some(b)) => a.1 + (b.1 - a.1) * (calls - a.0) / (b.0 - a.0),
            (Some(p), None) | (None, Some(p)) => p.1,
            (None, None) => 0.0,
        }
    };
    let cuts = (0..=DECILES).map(|i| i as f64 / DECILES as f64);
    cuts.map(|share| (share, recovered(at(share * n) / n)))
        .collect()
}

/// The first share of calls at which so much is recovered.
fn calls_for(curve: &[(f64, f64)], wanted: f64) -> f64 {
    let steps = curve.iter().zip(curve.iter().skip(1));
    let mut reached = steps.filter(|(a, b)| a.1 <= wanted && b.1 >= wanted);
    reached.next().map_or(1.0, |(a, b)| {
        let rise = b.1 - a.1;
        let part = if rise > 0.0 {
            (wanted - a.1) / rise
        } else {
            0.0
        };
        a.0 + part * (b.0 - a.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(score: impl Fn(usize) -> f64) -> Vec<Question> {
        // Of 100, the weak model misses 0 to 39 and the strong one 0 to 9.
        let one = |i| Question {
            score: score(i),
            weak: i >= 40,
            strong: i >= 10,
        };
        (0..100).map(one).collect()
    }

    #[test]
    fn one_score_for_all_is_routing_at_random() {
        let r = measure(&questions(|_| 0.5)).unwrap();
        assert_eq!((r.weak, r.strong), (0.6, 0.9));
        assert!((r.apgr - 0.5).abs() < 1e-9, "{r:?}");
        assert!((r.cpt50 - 0.5).abs() < 1e-9 && (r.cpt80 - 0.8).abs() < 1e-9);
    }

    #[test]
    fn who_knows_needs_few_calls_and_who_is_wrong_many() {
        let gains = |i: usize| f64::from(u8::from((10..40).contains(&i)));
        let r = measure(&questions(gains)).unwrap();
        assert!(
            (r.cpt50 - 0.15).abs() < 1e-9 && (r.cpt80 - 0.24).abs() < 1e-9,
            "{r:?}"
        );
        assert!((r.apgr - 0.85).abs() < 1e-9, "{r:?}");
        let r = measure(&questions(|i| -gains(i))).unwrap();
        assert!(
            (r.apgr - 0.15).abs() < 1e-9 && (r.cpt50 - 0.85).abs() < 1e-9,
            "{r:?}"
        );
    }

    #[test]
    fn without_a_gap_there_is_nothing_to_measure() {
        let same = [Question {
            score: 0.0,
            weak: true,
            strong: true,
        }];
        assert_eq!(measure(&same), None);
        assert_eq!(measure(&[]), None);
    }
}
