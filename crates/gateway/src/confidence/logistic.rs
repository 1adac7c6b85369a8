//! Regularised logistic regression: a weighted sum of features as the logarithm of the odds.
//!
//! Newton's method; each step is solved by conjugate gradients, which need only products with the rows,
//! so that rows may be short lists of what is not 0. Deterministic: the same rows give the same weights.

use serde::{Deserialize, Serialize};

/// Newton steps at most.
const STEPS: usize = 30;
/// Products in a Newton step at most.
const PRODUCTS: usize = 60;

/// The features of one outcome.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Numbers that all rows have, as many in each.
    pub dense: Vec<f64>,
    /// (index, value) of the others that are not 0; indices are below the `width` of [`Logistic::fit`].
    pub sparse: Vec<(u32, f32)>,
}

/// Weights of features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logistic {
    /// The logarithm of the odds where all features are 0.
    pub bias: f64,
    /// Of dense features.
    pub dense: Vec<f64>,
    /// Of sparse ones, by index.
    pub sparse: Vec<f32>,
}

/// How strongly weights are held to 0: the `l2` of `l2 / 2 * weight^2`, for a loss that is a sum over
/// outcomes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ridge {
    /// Of dense features, which should be of variance 1.
    pub dense: f64,
    /// Of sparse ones.
    pub sparse: f64,
}

/// 1 / (1 + exp(-x)).
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

impl Logistic {
    /// The weights of no feature: the base rate.
    fn start(rows: &[Row], targets: &[f64], width: usize) -> Self {
        let n = targets.len() as f64;
        let share = (targets.iter().sum::<f64>() + 0.5) / (n + 1.0);
        Self {
            bias: libm::log(share / (1.0 - share)),
            dense: vec![0.0; rows.first().map_or(0, |row| row.dense.len())],
            sparse: vec![0.0; width],
        }
    }

    /// Learns from rows and their targets, each 0 to 1. `width` is how many sparse features there are.
    pub fn fit(rows: &[Row], targets: &[f64], width: usize, ridge: Ridge) -> Self {
        let mut model = Self::start(rows, targets, width);
        let mut before = f64::INFINITY;
        for _ in 0..STEPS {
            let odds: Vec<f64> = rows.iter().map(|row| model.log_odds(row)).collect();
            let loss = model.loss(&odds, targets, ridge);
            if before - loss < 1e-7 * (1.0 + loss) {
                break;
            }
            before = loss;
            let chances: Vec<f64> = odds.iter().map(|&x| sigmoid(x)).collect();
            let errors = chances.iter().zip(targets).map(|(p, t)| t - p);
            let mut slope = model.weighted(rows, errors);
            slope.add(&model, -1.0, ridge);
            let curves: Vec<f64> = chances.iter().map(|p| (p * (1.0 - p)).max(1e-6)).collect();
            let step = solve(rows, &curves, slope, ridge);
            model.walk(&step, rows, targets, ridge, loss);
        }
        model
    }

    /// The logarithm of the odds of a row.
    pub fn log_odds(&self, row: &Row) -> f64 {
        let dense: f64 = self.dense.iter().zip(&row.dense).map(|(w, x)| w * x).sum();
        let weight = |i: u32| self.sparse.get(i as usize).copied().unwrap_or(0.0);
        let sparse = row.sparse.iter().map(|&(i, x)| f64::from(weight(i) * x));
        self.bias + dense + sparse.sum::<f64>()
    }

    fn loss(&self, odds: &[f64], targets: &[f64], ridge: Ridge) -> f64 {
        // ln(1 + exp(x)) - t x, without overflow
        let each = odds.iter().zip(targets).map(|(&x, t)| {
            let softplus = x.max(0.0) + libm::log1p(libm::exp(-x.abs()));
            softplus - t * x
        });
        let dense: f64 = self.dense.iter().map(|w| w * w).sum();
        let sparse: f64 = self.sparse.iter().map(|w| f64::from(w * w)).sum();
        each.sum::<f64>() + (ridge.dense * dense + ridge.sparse * sparse) / 2.0
    }

    /// The sum of all rows, each as often as its number says.
    fn weighted(&self, rows: &[Row], numbers: impl Iterator<Item = f64>) -> Self {
        let mut sum = Self {
            bias: 0.0,
            dense: vec![0.0; self.dense.len()],
            sparse: vec![0.0; self.sparse.len()],
        };
        for (row, number) in rows.iter().zip(numbers) {
            sum.bias += number;
            let dense = sum.dense.iter_mut().zip(&row.dense);
            dense.for_each(|(s, x)| *s += number * x);
            for &(i, x) in &row.sparse {
                if let Some(s) = sum.sparse.get_mut(i as usize) {
                    *s += number as f32 * x;
                }
            }
        }
        sum
    }

    /// Adds `factor` times `ridge` times another's weights; the bias has no ridge.
    fn add(&mut self, other: &Self, factor: f64, ridge: Ridge) {
        let dense = self.dense.iter_mut().zip(&other.dense);
        dense.for_each(|(a, b)| *a += factor * ridge.dense * b);
        let f = (factor * ridge.sparse) as f32;
        let sparse = self.sparse.iter_mut().zip(&other.sparse);
        sparse.for_each(|(a, b)| *a += f * b);
    }

    /// Adds `factor` times another's weights.
    fn go(&mut self, other: &Self, factor: f64) {
        self.bias += factor * other.bias;
        self.add(
            other,
            factor,
            Ridge {
                dense: 1.0,
                sparse: 1.0,
            },
        );
    }

    fn dot(&self, other: &Self) -> f64 {
        let dense: f64 = self
            .dense
            .iter()
            .zip(&other.dense)
            .map(|(a, b)| a * b)
            .sum();
        let sparse = self
            .sparse
            .iter()
            .zip(&other.sparse)
            .map(|(a, b)| f64::from(a * b));
        self.bias * other.bias + dense + sparse.sum::<f64>()
    }

    /// Goes a step, or a half or a quarter of it ..., as long as that does not lead up.
    fn walk(&mut self, step: &Self, rows: &[Row], targets: &[f64], ridge: Ridge, loss: f64) {
        let mut factor = 1.0;
        for _ in 0..20 {
            let mut next = self.clone();
            next.go(step, factor);
            let odds: Vec<f64> = rows.iter().map(|row| next.log_odds(row)).collect();
            if next.loss(&odds, targets, ridge) <= loss {
                *self = next;
                return;
            }
            factor /= 2.0;
        }
    }

    /// Whether all weights are numbers.
    pub fn is_finite(&self) -> bool {
        let dense = self.dense.iter().all(|w| w.is_finite());
        self.bias.is_finite() && dense && self.sparse.iter().all(|w| w.is_finite())
    }
}

/// The step whose curvature is the slope: conjugate gradients.
fn solve(rows: &[Row], curves: &[f64], slope: Logistic, ridge: Ridge) -> Logistic {
    let mut residual = slope;
    let mut x = residual.weighted(&[], std::iter::empty());
    let mut direction = residual.clone();
    let mut size = residual.dot(&residual);
    let enough = size * 1e-8;
    for _ in 0..PRODUCTS {
        if size <= enough || size == 0.0 {
            break;
        }
        let along = rows.iter().zip(curves);
        let along = along.map(|(row, c)| c * direction.log_odds(row));
        let mut curved = direction.weighted(rows, along);
        curved.add(&direction, 1.0, ridge);
        let bend = direction.dot(&curved);
        if bend <= 0.0 {
            break;
        }
        let length = size / bend;
        x.go(&direction, length);
        residual.go(&curved, -length);
        let next = residual.dot(&residual);
        let mut turned = residual.clone();
        turned.go(&direction, next / size);
        direction = turned;
        size = next;
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIDGE: Ridge = Ridge {
        dense: 1e-3,
        sparse: 1e-3,
    };

    fn row(x: f64, sparse: &[(u32, f32)]) -> Row {
        Row {
            dense: vec![x],
            sparse: sparse.to_vec(),
        }
    }

    #[test]
    fn it_finds_the_odds() {
        // Half right at 0, three of four at 1: the weight is ln 3.
        let rows: Vec<Row> = [0.0, 0.0, 1.0, 1.0, 1.0, 1.0].map(|x| row(x, &[])).to_vec();
        let targets = [0.0, 1.0, 1.0, 1.0, 1.0, 0.0];
        let rows: Vec<Row> = rows.iter().cycle().take(6000).cloned().collect();
        let targets: Vec<f64> = targets.iter().cycle().take(6000).copied().collect();
        let model = Logistic::fit(&rows, &targets, 0, RIDGE);
        assert!(model.bias.abs() < 1e-3, "{model:?}");
        assert!((model.dense[0] - libm::log(3.0)).abs() < 1e-3, "{model:?}");
    }

    #[test]
    fn sparse_and_dense_features_are_the_same() {
        let values = [0.5, -1.0, 2.0, 0.1, -0.7, 1.4, -2.0, 0.3];
        let targets = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.0];
        let dense: Vec<Row> = values.map(|x| row(x, &[])).to_vec();
        let sparse: Vec<Row> = values.map(|x| row(0.0, &[(3, x as f32)])).to_vec();
        let ridge = Ridge {
            dense: 0.5,
            sparse: 0.5,
        };
        let a = Logistic::fit(&dense, &targets, 0, ridge);
        let b = Logistic::fit(&sparse, &targets, 5, ridge);
        assert!(
            (a.dense[0] - f64::from(b.sparse[3])).abs() < 1e-4,
            "{a:?} {b:?}"
        );
        assert_eq!(b.sparse[0], 0.0);
    }

    #[test]
    fn what_can_be_told_apart_stays_bounded() {
        let rows: Vec<Row> = [-1.0, 1.0].map(|x| row(x, &[])).to_vec();
        let model = Logistic::fit(
            &rows,
            &[0.0, 1.0],
            0,
            Ridge {
                dense: 1.0,
                sparse: 1.0,
            },
        );
        assert!(model.is_finite() && model.dense[0] > 0.3 && model.dense[0] < 2.0);
        let model = Logistic::fit(&[], &[], 4, RIDGE);
        assert_eq!((model.bias, model.sparse.len()), (0.0, 4));
    }
}
