//! How good probabilities are, once it is known what was right.

use std::collections::BTreeMap;

/// A probability that was given, and whether the answer was right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// The probability that it is right.
    pub probability: f64,
    /// Whether it was.
    pub right: bool,
}

impl Judged {
    fn hit(&self) -> f64 {
        f64::from(u8::from(self.right))
    }
}

/// Bins of [`ece`].
pub const BINS: usize = 15;

/// A number and where it lies in 95 of 100 samples drawn from the same outcomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The number.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The share that was right; 0 of nothing.
pub fn accuracy(all: &[Judged]) -> f64 {
    let right: f64 = all.iter().map(Judged::hit).sum();
    right / (all.len().max(1) as f64)
}

/// The mean squared distance of the probability from what happened.
pub fn brier(all: &[Judged]) -> f64 {
    let sum: f64 = all.iter().map(|j| (j.probability - j.hit()).powi(2)).sum();
    sum / (all.len().max(1) as f64)
}

/// The Brier score of the share that was right, as everyone's probability.
pub fn brier_of_base(all: &[Judged]) -> f64 {
    let share = accuracy(all);
    share * (1.0 - share)
}

/// By how much the Brier score is better than that of the base rate: 1 is perfect, 0 no better.
pub fn skill(all: &[Judged]) -> f64 {
    let base = brier_of_base(all);
    match base > 0.0 {
        true => 1.0 - brier(all) / base,
        false => 0.0,
    }
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// Mean probability in it.
    pub said: f64,
    /// Share that was right.
    pub was: f64,
    /// Outcomes in it.
    pub count: usize,
}

/// Bins of as many outcomes each, by rising probability.
pub fn bins(all: &[Judged], bins: usize) -> Vec<Bin> {
    let mut sorted = all.to_vec();
    sorted.sort_by(|a, b| a.probability.total_cmp(&b.probability));
    let mut rest = &sorted[..];
    let mut out = Vec::with_capacity(bins);
    for left in (1..=bins.min(sorted.len())).rev() {
        let (bin, behind) = rest.split_at(rest.len().div_ceil(left).min(rest.len()));
        rest = behind;
        let said: f64 = bin.iter().map(|j| j.probability).sum();
        out.push(Bin {
            said: said / bin.len() as f64,
            was: accuracy(bin),
            count: bin.len(),
        });
    }
    out
}

/// Expected calibration error: how far the mean probability of a bin is from the share that was right,
/// in the mean over [`BINS`] bins of as many outcomes each (Naeini, Cooper and Hauskrecht, AAAI 2015).
pub fn ece(all: &[Judged]) -> f64 {
    let sum: f64 = bins(all, BINS)
        .iter()
        .map(|b| (b.said - b.was).abs() * b.count as f64)
        .sum();
    sum / (all.len().max(1) as f64)
}

/// What [`ece`] would be by chance alone if every probability were exactly true: the mean over samples in
/// which answers are right as often as they say. No calibration can be expected to measure below it on so
/// few outcomes.
pub fn ece_of_chance(all: &[Judged], samples: usize) -> f64 {
    let mut noise = Noise(7);
    let mut sum = 0.0;
    for _ in 0..samples {
        let drawn: Vec<Judged> = all
            .iter()
            .map(|j| Judged {
                right: noise.unit() < j.probability,
                ..*j
            })
            .collect();
        sum += ece(&drawn);
    }
    sum / (samples.max(1) as f64)
}

/// A measure with its bootstrap interval (percentiles of `samples` samples; Efron, 1979).
pub fn bootstrap(all: &[Judged], samples: usize, measure: impl Fn(&[Judged]) -> f64) -> Interval {
    let each: Vec<Vec<Judged>> = all.iter().map(|j| vec![*j]).collect();
    bootstrap_of(&each, samples, measure)
}

/// The same where outcomes hang together, those of one text say: such a cluster is drawn as a whole.
pub fn bootstrap_of<T: Copy>(
    clusters: &[Vec<T>],
    samples: usize,
    measure: impl Fn(&[T]) -> f64,
) -> Interval {
    let mut noise = Noise(1);
    let mut drawn: Vec<T> = Vec::new();
    let mut found: Vec<f64> = (0..samples)
        .map(|_| {
            drawn.clear();
            for _ in clusters {
                drawn.extend(
                    clusters
                        .get(noise.below(clusters.len()))
                        .into_iter()
                        .flatten(),
                );
            }
            measure(&drawn)
        })
        .collect();
    found.sort_by(f64::total_cmp);
    let at = |share: f64| found.get((share * found.len() as f64) as usize).copied();
    let value = measure(&clusters.concat());
    Interval {
        value,
        low: at(0.025).unwrap_or(value),
        high: at(0.975).unwrap_or(value),
    }
}

/// Outcomes with the same key stand together, in the order of the keys.
pub fn clusters<T: Copy>(all: &[T], keys: &[u32]) -> Vec<Vec<T>> {
    let mut by_key: BTreeMap<u32, Vec<T>> = BTreeMap::new();
    for (one, key) in all.iter().zip(keys) {
        by_key.entry(*key).or_default().push(*one);
    }
    by_key.into_values().collect()
}

/// How likely a right answer has a higher probability than a wrong one, ties counted as half: the area
/// under the ROC curve. 0.5 where there is only one kind.
pub fn auroc(all: &[Judged]) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(|a, b| a.probability.total_cmp(&b.probability));
    let (mut wrong_below, mut wins) = (0.0, 0.0);
    for ties in sorted.chunk_by(|a, b| a.probability == b.probability) {
        let right = ties.iter().filter(|j| j.right).count() as f64;
        let wrong = ties.len() as f64 - right;
        wins += right * (wrong_below + wrong / 2.0);
        wrong_below += wrong;
    }
    let right = sorted.len() as f64 - wrong_below;
    match right * wrong_below > 0.0 {
        true => wins / (right * wrong_below),
        false => 0.5,
    }
}

/// What escalating the least sure share does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Escalated {
    /// Share escalated, 0 to 1.
    pub share: f64,
    /// Of the errors, how many went along.
    pub errors: f64,
    /// The same over the smaller of errors and escalations: 1 is as good as can be.
    pub captured: f64,
    /// What [`Self::captured`] is when the same share is escalated at random.
    pub captured_at_random: f64,
    /// Share right in the end, where the other end is right in `cloud` of all.
    pub accuracy: f64,
    /// Share of the answers that stay which is wrong: the risk at this coverage.
    pub risk: f64,
}

/// Escalates the share `share` with the lowest probabilities; of those with equal ones the mean over all
/// ways to choose. `cloud` is how often the other end is right.
pub fn escalate(all: &[Judged], share: f64, cloud: f64) -> Escalated {
    let n = all.len() as f64;
    let wanted = (share.clamp(0.0, 1.0) * n).round();
    let mut sorted = all.to_vec();
    sorted.sort_by(|a, b| a.probability.total_cmp(&b.probability));
    let (mut left, mut errors) = (wanted, 0.0);
    for ties in sorted.chunk_by(|a, b| a.probability == b.probability) {
        let wrong = ties.iter().filter(|j| !j.right).count() as f64;
        let taken = left.min(ties.len() as f64);
        errors += wrong * taken / ties.len() as f64;
        left -= taken;
    }
    let wrong = all.iter().filter(|j| !j.right).count() as f64;
    let most = wrong.min(wanted);
    let of = |x: f64| if most > 0.0 { x / most } else { 0.0 };
    let kept = n - wanted;
    Escalated {
        share: wanted / n.max(1.0),
        errors,
        captured: of(errors),
        captured_at_random: of(wrong * wanted / n.max(1.0)),
        accuracy: (kept - (wrong - errors) + cloud * wanted) / n.max(1.0),
        risk: if kept > 0.0 {
            (wrong - errors) / kept
        } else {
            0.0
        },
    }
}

/// Counted noise, the same everywhere (SplitMix64; Steele, Lea and Flood, OOPSLA 2014).
#[derive(Debug, Clone)]
pub struct Noise(pub u64);

impl Noise {
    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// From 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 to below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(all: &[(f64, bool)]) -> Vec<Judged> {
        let judged = |&(probability, right)| Judged { probability, right };
        all.iter().map(judged).collect()
    }

    #[test]
    fn figures_by_hand() {
        let all = judged(&[
            (0.9, true),
            (0.8, true),
            (0.6, false),
            (0.3, true),
            (0.2, false),
        ]);
        assert!((brier(&all) - (0.01 + 0.04 + 0.36 + 0.49 + 0.04) / 5.0).abs() < 1e-12);
        assert!((brier_of_base(&all) - 0.24).abs() < 1e-12);
        // Right 0.9 and 0.8 beat both wrong ones, 0.3 beats one of two.
        assert!((auroc(&all) - 5.0 / 6.0).abs() < 1e-12);
        let e = escalate(&all, 0.4, 1.0);
        assert_eq!((e.errors, e.captured, e.accuracy), (1.0, 0.5, 0.8));
        assert!((e.risk - 1.0 / 3.0).abs() < 1e-12);
        assert!((e.captured_at_random - 0.4).abs() < 1e-12);
        assert_eq!(escalate(&all, 1.0, 0.9).accuracy, 0.9);
    }

    #[test]
    fn ties_count_as_their_mean() {
        let all = judged(&[(0.5, true), (0.5, false), (0.5, false), (0.5, true)]);
        assert_eq!((auroc(&all), escalate(&all, 0.5, 1.0).errors), (0.5, 1.0));
        let right = judged(&[(0.3, true), (0.5, true)]);
        assert_eq!((auroc(&right), skill(&right)), (0.5, 0.0));
        assert_eq!(escalate(&right, 0.5, 1.0).captured, 0.0);
    }

    #[test]
    fn what_is_true_has_an_error_of_chance_alone() {
        let mut noise = Noise(3);
        let all: Vec<Judged> = (0..3000)
            .map(|_| {
                let probability = noise.unit();
                Judged {
                    probability,
                    right: noise.unit() < probability,
                }
            })
            .collect();
        let (found, chance) = (ece(&all), ece_of_chance(&all, 20));
        assert!(
            found < 0.035 && (found - chance).abs() < 0.012,
            "{found} {chance}"
        );
        let i = bootstrap(&all, 100, auroc);
        assert!(
            i.low < i.value && i.value < i.high && i.high - i.low < 0.06,
            "{i:?}"
        );
        // Each outcome twice, as one cluster: no more is known than from half of them.
        let keys: Vec<u32> = (0..3000).map(|n| n / 2).collect();
        let twice: Vec<Judged> = all.iter().flat_map(|j| [*j; 2]).take(3000).collect();
        let (apart, together) = (
            bootstrap(&twice, 100, auroc),
            bootstrap_of(&clusters(&twice, &keys), 100, auroc),
        );
        assert!((together.value - apart.value).abs() < 1e-12);
        assert!(together.high - together.low > 1.2 * (apart.high - apart.low));
        let sure = judged(&[(0.9, false), (0.9, true)]);
        assert!(
            (ece(&sure) - 0.5).abs() < 1e-9,
            "two bins of one: {}",
            ece(&sure)
        );
    }

    proptest! {
        #[test]
        fn bins_hold_all(n in 0_usize..100) {
            let all: Vec<Judged> = (0..n)
                .map(|i| Judged { probability: i as f64 / 100.0, right: i % 3 > 0 })
                .collect();
            let bins = bins(&all, BINS);
            prop_assert_eq!(bins.iter().map(|b| b.count).sum::<usize>(), n);
            let counts: Vec<usize> = bins.iter().map(|b| b.count).collect();
            let (least, most) = (counts.iter().min(), counts.iter().max());
            prop_assert!(most.copied().unwrap_or(0) - least.copied().unwrap_or(0) <= 1);
        }

        #[test]
        fn no_figure_leaves_its_range(
            all in prop::collection::vec((0.0_f64..=1.0, any::<bool>()), 0..40), share in 0.0_f64..=1.0,
        ) {
            let all = judged(&all);
            let e = escalate(&all, share, 1.0);
            for x in [ece(&all), brier(&all), auroc(&all), accuracy(&all), e.captured, e.accuracy, e.risk] {
                prop_assert!((-1e-9..=1.0 + 1e-9).contains(&x), "{x}");
            }
        }
    }
}
