//! Which columns of a weight matrix matter: the mean squares of what they are multiplied by.
//!
//! The output of a linear layer changes by `sum of dW[j] x[j]`, so that, over a text, an error in column
//! `j` costs `dW[j]^2` times the mean of `x[j]^2`. An encoder that knows that mean makes the sum small
//! and not each error. (llama.cpp calls the collection an importance matrix, or imatrix.)

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Sums of squares over a text, for each matrix of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Importance {
    tensors: BTreeMap<String, ColumnSums>,
}

/// Sums of squares of the columns of the matrices in one tensor: one matrix, or one an expert.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnSums {
    columns: usize,
    /// `[matrices, columns]`
    sums: Vec<f64>,
    /// Rows of activations that each matrix was multiplied with.
    counts: Vec<u64>,
}

/// A column that was never used counts as this share of the mean one: other texts may use it.
const FLOOR: f64 = 1e-3;

impl Importance {
    /// The tensors, by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &ColumnSums)> {
        self.tensors
            .iter()
            .map(|(name, sums)| (name.as_str(), sums))
    }

    /// What is known of a tensor.
    pub fn get(&self, name: &str) -> Option<&ColumnSums> {
        self.tensors.get(name)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Sets what is known of a tensor.
    pub fn insert(&mut self, name: impl Into<String>, sums: ColumnSums) {
        self.tensors.insert(name.into(), sums);
    }
}

impl ColumnSums {
    /// Sums `[matrices, columns]` over as many rows of activations as `counts` says for each matrix.
    ///
    /// `None` where a sum is negative or not finite, or the lengths do not fit each other.
    pub fn new(columns: usize, sums: Vec<f64>, counts: Vec<u64>) -> Option<Self> {
        let whole = columns > 0 && counts.len().checked_mul(columns) == Some(sums.len());
        let fine = sums.iter().all(|sum| sum.is_finite() && *sum >= 0.0);
        (whole && fine).then_some(Self {
            columns,
            sums,
            counts,
        })
    }

    /// Nothing known yet.
    fn empty(columns: usize, matrices: usize) -> Self {
        Self {
            columns,
            sums: vec![0.0; columns * matrices],
            counts: vec![0; matrices],
        }
    }

    /// Columns of each matrix.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Rows of activations that each matrix was multiplied with.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Sums of squares, `[matrices, columns]`.
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// How much each column of a matrix matters, the mean being 1; `None` where the matrix was not used,
    /// so that nothing is known.
    pub fn weights(&self, matrix: usize) -> Option<Vec<f32>> {
        let sums = self.sums.chunks_exact(self.columns).nth(matrix)?;
        let mean = sums.iter().sum::<f64>() / self.columns as f64;
        let known = mean > 0.0 && mean.is_finite();
        known.then(|| sums.iter().map(|s| (s / mean + FLOOR) as f32).collect())
    }

    fn add(&mut self, matrix: usize, squares: &[f64], rows: u64) {
        let sums = &mut self.sums[matrix * self.columns..][..self.columns];
        for (sum, square) in sums.iter_mut().zip(squares) {
            *sum += square;
        }
        self.counts[matrix] += rows;
    }
}

/// Where a matrix stands in its file.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub name: Arc<str>,
    /// Which matrix of the tensor, of how many.
    pub index: usize,
    pub of: usize,
}

impl Place {
    /// The one matrix of a tensor, or a part of its rows.
    pub fn whole(name: &str) -> Self {
        Self {
            name: name.into(),
            index: 0,
            of: 1,
        }
    }

    /// The `of` matrices of a tensor.
    pub fn each(name: &str, of: usize) -> impl Iterator<Item = Self> {
        let name: Arc<str> = name.into();
        (0..of).map(move |index| Self {
            name: Arc::clone(&name),
            index,
            of,
        })
    }
}

/// Collects an [`Importance`] while a network runs. Clones collect into the same.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    collected: Arc<Mutex<Importance>>,
    squares: Vec<f64>,
}

impl Recorder {
    /// Nothing collected yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What has been collected so far, rounded to f32: files hold no more, and one that is made with a
    /// matrix from a file shall be the same as one made with the matrix just measured.
    pub fn collected(&self) -> Importance {
        let collected = self.collected.lock();
        let mut collected = collected.unwrap_or_else(PoisonError::into_inner).clone();
        for sum in collected.tensors.values_mut().flat_map(|t| &mut t.sums) {
            *sum = f64::from(*sum as f32);
        }
        collected
    }

    /// Adds the rows by which the matrices at `places` are multiplied, each `columns` wide.
    pub(crate) fn add<'a>(
        &mut self,
        places: &[&Place],
        columns: usize,
        rows: impl Iterator<Item = &'a [f32]>,
    ) {
        self.squares.clear();
        self.squares.resize(columns, 0.0);
        let mut n = 0;
        for row in rows {
            for (square, x) in self.squares.iter_mut().zip(row) {
                *square += f64::from(*x) * f64::from(*x);
            }
            n += 1;
        }
        let mut collected = self
            .collected
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (i, place) in places.iter().enumerate() {
            // Parts of one matrix have the same columns.
            let same = |p: &&Place| p.index == place.index && p.name == place.name;
            if places[..i].iter().any(same) {
                continue;
            }
            // The name is copied the first time only.
            if !collected.tensors.contains_key(&*place.name) {
                let empty = ColumnSums::empty(columns, place.of);
                collected.tensors.insert(place.name.to_string(), empty);
            }
            if let Some(sums) = collected.tensors.get_mut(&*place.name) {
                sums.add(place.index, &self.squares, n);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_about_one_and_never_zero() {
        let sums = ColumnSums::new(4, vec![0.0, 2.0, 4.0, 2.0, 0.0, 0.0, 0.0, 0.0], vec![2, 0]);
        let sums = sums.unwrap();
        assert_eq!(sums.weights(0), Some(vec![0.001, 1.001, 2.001, 1.001]));
        assert_eq!(sums.weights(1), None);
        assert_eq!(sums.weights(2), None);
        assert_eq!(ColumnSums::new(2, vec![1.0, f64::NAN], vec![1]), None);
        assert_eq!(ColumnSums::new(2, vec![1.0, -1.0], vec![1]), None);
        assert_eq!(ColumnSums::new(2, vec![1.0], vec![1]), None);
    }

    #[test]
    fn clones_collect_into_one() {
        let mut recorder = Recorder::new();
        let place = |index| Place {
            name: "a".into(),
            index,
            of: 2,
        };
        let rows: [&[f32]; 2] = [&[1.0, 2.0], &[3.0, 0.0]];
        recorder.clone().add(&[&place(1)], 2, rows.into_iter());
        recorder.add(&[&place(1)], 2, rows[..1].iter().copied());
        let collected = recorder.collected();
        let sums = collected.get("a").unwrap();
        assert_eq!(sums.sums(), [0.0, 0.0, 11.0, 8.0]);
        assert_eq!(sums.counts(), [0, 3]);
    }
}
