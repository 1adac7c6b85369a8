//! A pass over the layers, whole or in parts.
//!
//! Between two parts of a long pass a short one may go through all layers: each has rows of its own
//! in a lane of its own. Which bits come does not depend on where a pass is cut, because nothing but
//! the residual stream goes from one layer to the next, and keys and values are stored by position.

use crate::loader::Loader;
use ingle_tensor::ops::Ops;
use std::ops::Range;

/// Where the rows of a pass are between its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// That of [`Rows::main`].
    #[default]
    Main,
    /// That of [`Rows::side`].
    Side,
}

/// The most rows that a batch has, by its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// Of those in the main lane.
    pub main: usize,
    /// Of those that go through all layers between two parts of a pass in the main lane; 0: there
    /// are none, and no memory is taken for them.
    pub side: usize,
}

impl From<usize> for Rows {
    fn from(main: usize) -> Self {
        Self { main, side: 0 }
    }
}

/// A part of a pass over the layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part<'a> {
    /// The layers to compute. The first part begins at 0, each of the others where the one before it
    /// ended, and the last ends with the last layer.
    pub layers: Range<usize>,
    /// Where its rows are. The main lane's stay while a pass goes through the side lane.
    pub lane: Lane,
    /// Where rows have left since the part before: the index in that part's batch of each row that
    /// is in this one's, ascending.
    pub kept: Option<&'a [u32]>,
}

impl Part<'_> {
    /// All layers at once, in the main lane.
    pub const fn whole(n_layers: usize) -> Self {
        Self {
            layers: 0..n_layers,
            lane: Lane::Main,
            kept: None,
        }
    }

    /// Whether the rows are still to be embedded.
    pub const fn begins(&self) -> bool {
        self.layers.start == 0
    }

    /// Lets go, of the residual stream, the rows that have left. `spare` is as wide as `x`.
    pub(crate) fn resume<O: Ops>(&self, ops: &mut O, x: &mut O::Buf, spare: &mut O::Buf) {
        if let Some(kept) = self.kept {
            ops.select(x, kept, spare);
            std::mem::swap(x, spare);
        }
    }
}

/// A network's scratch, for each lane.
pub(crate) struct Lanes<S> {
    main: S,
    side: Option<S>,
    latest: Lane,
}

impl<S> Lanes<S> {
    pub fn new<O: Ops>(loader: &mut Loader<'_, O>, make: impl Fn(&Loader<'_, O>) -> S) -> Self {
        let (main, rows) = (make(loader), loader.max_batch_rows);
        let side = (loader.side_rows > 0).then(|| {
            loader.max_batch_rows = loader.side_rows;
            make(loader)
        });
        loader.max_batch_rows = rows;
        Self {
            main,
            side,
            latest: Lane::Main,
        }
    }

    /// The scratch for a part of a pass in `lane`; the main one where there is no other.
    pub fn of(&mut self, lane: Lane) -> &mut S {
        self.latest = lane;
        match (lane, &mut self.side) {
            (Lane::Side, Some(side)) => side,
            _ => &mut self.main,
        }
    }

    /// That of the latest part.
    pub fn latest(&self) -> &S {
        match (self.latest, &self.side) {
            (Lane::Side, Some(side)) => side,
            _ => &self.main,
        }
    }
}
