//! From what is wanted to a threshold: the accuracy, or the money.

use super::measure::{Judged, escalate};

/// What is wanted of routing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aim {
    /// Escalate as little as gives this share of right answers, where the other end is right in `cloud`
    /// of all (1 where that is not known).
    Accuracy {
        /// Wanted, 0 to 1.
        wanted: f64,
        /// How often the other end is right, 0 to 1.
        cloud: f64,
    },
    /// Escalate what so much money pays for, in the mean over requests.
    PerRequest {
        /// To be spent a request.
        money: f64,
        /// What an escalated request costs.
        price: f64,
    },
    /// Escalate what so much money pays for in a day.
    PerDay {
        /// To be spent in a day.
        money: f64,
        /// What an escalated request costs.
        price: f64,
        /// Requests expected in a day.
        requests: f64,
    },
}

/// Below which probability an answer is had from elsewhere, and what that is expected to give. Learned
/// from outcomes that the probabilities were not fitted to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Below it: escalate.
    pub probability: f64,
    /// Share of requests that are expected below it.
    pub escalated: f64,
    /// Share of right answers expected in the end.
    pub accuracy: f64,
    /// Whether the aim is expected to be met.
    pub met: bool,
}

impl Aim {
    /// The threshold that meets it on `outcomes`, or comes nearest. `None` of no outcomes, or of an aim
    /// that is no number.
    pub fn threshold(&self, outcomes: &[Judged]) -> Option<Threshold> {
        let mut levels: Vec<f64> = outcomes.iter().map(|j| j.probability).collect();
        levels.sort_by(f64::total_cmp);
        levels.dedup();
        // Nothing is below the lowest; everything is below what no probability reaches.
        levels.push(f64::from(f32::MAX));
        let n = outcomes.len() as f64;
        let at = |level: f64, cloud: f64| {
            let below = outcomes.iter().filter(|j| j.probability < level).count() as f64;
            (below / n, escalate(outcomes, below / n, cloud).accuracy)
        };
        let made = |probability: f64, escalated: f64, accuracy: f64, met: bool| Threshold {
            probability: probability.min(1.0 + f64::EPSILON),
            escalated,
            accuracy,
            met,
        };
        if outcomes.is_empty() {
            return None;
        }
        match *self {
            Self::Accuracy { wanted, cloud } if wanted.is_finite() && cloud.is_finite() => {
                let mut best: Option<Threshold> = None;
                for &level in &levels {
                    let (share, accuracy) = at(level, cloud);
                    if accuracy >= wanted {
                        return Some(made(level, share, accuracy, true));
                    }
                    if best.is_none_or(|b| accuracy > b.accuracy) {
                        best = Some(made(level, share, accuracy, false));
                    }
                }
                best
            }
            Self::PerRequest { money, price } if money.is_finite() && price > 0.0 => {
                let most = money / price;
                let fits = levels.iter().rev().map(|&level| (level, at(level, 1.0)));
                let mut fits = fits.filter(|(_, (share, _))| *share <= most);
                let found = fits.next();
                found.map(|(level, (share, accuracy))| made(level, share, accuracy, true))
            }
            Self::PerDay {
                money,
                price,
                requests,
            } if requests > 0.0 => Self::PerRequest {
                money: money / requests,
                price,
            }
            .threshold(outcomes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten answers with the probabilities 0.05 to 0.95; the lowest three are wrong.
    fn ten() -> Vec<Judged> {
        let one = |i: u32| Judged {
            probability: f64::from(i) / 10.0 + 0.05,
            right: i > 2,
        };
        (0..10).map(one).collect()
    }

    #[test]
    fn an_accuracy_costs_as_little_as_it_can() {
        let wanted = |wanted, cloud| Aim::Accuracy { wanted, cloud }.threshold(&ten()).unwrap();
        let t = wanted(0.9, 1.0);
        assert!((t.probability - 0.25).abs() < 1e-9 && t.met);
        assert!((t.escalated - 0.2).abs() < 1e-9 && (t.accuracy - 0.9).abs() < 1e-9);
        assert_eq!(wanted(0.5, 1.0).escalated, 0.0);
        let t = wanted(0.99, 0.5);
        assert!(!t.met && (t.escalated - 0.3).abs() < 1e-9 && (t.accuracy - 0.85).abs() < 1e-9);
    }

    #[test]
    fn money_is_never_overspent() {
        let aim = Aim::PerDay {
            money: 2.5,
            price: 0.1,
            requests: 100.0,
        };
        let t = aim.threshold(&ten()).unwrap();
        assert!((t.escalated - 0.2).abs() < 1e-9 && t.met);
        let all = Aim::PerRequest {
            money: 1.0,
            price: 0.5,
        }
        .threshold(&ten())
        .unwrap();
        assert!(all.escalated == 1.0 && all.probability > 1.0);
        let none = Aim::PerRequest {
            money: 0.0,
            price: 0.5,
        }
        .threshold(&ten())
        .unwrap();
        assert!(none.escalated == 0.0);
        assert_eq!(
            Aim::PerRequest {
                money: 1.0,
                price: 0.0
            }
            .threshold(&ten()),
            None
        );
        assert_eq!(
            Aim::PerRequest {
                money: 1.0,
                price: 1.0
            }
            .threshold(&[]),
            None
        );
        let nan = Aim::Accuracy {
            wanted: f64::NAN,
            cloud: 1.0,
        };
        assert_eq!(nan.threshold(&ten()), None);
    }
}
