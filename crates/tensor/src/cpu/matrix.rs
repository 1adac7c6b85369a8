//! Weight matrices on the CPU: read, packed and multiplied by the panel.

use super::stream::{Group, Stream};
use crate::importance::Place;
use crate::kernel::Leaf;
use crate::kernel::choice::Choice;
use crate::kernel::matmul::{Activations, Column, PANEL, many};
use crate::memory::{Arena, Piece, Shared};
use crate::ops::LoadError;
use crate::pack::Layout;
use crate::team::Team;
use crate::{SourceError, WeightSource};
use ingle_formats::TensorType;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// About how many bytes a thread reads at once: they are packed while they are in its cache.
const READ_BYTES: usize = 256 << 10;

/// Parts of a panel that are multiplied with some columns before others come: the columns' activations
/// stay in the second-level cache.
const PARTS: usize = 8;

/// Where a matrix, or some of its rows, lies in a file.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub place: Place,
    pub ty: TensorType,
    /// Bytes from the tensor's start.
    pub offset: u64,
    pub rows: usize,
    pub columns: usize,
}

/// Bytes of the parts in which a matrix is read that is not held, about.
const PART_BYTES: usize = 2 << 20;

impl Spot {
    /// Its rows in parts of whole panels, and how many rows each part but the last has.
    fn parts(&self) -> (usize, Vec<Self>) {
        let row_bytes = Layout::new(self.ty).row_bytes(self.columns);
        let panels = (PART_BYTES / (row_bytes * PANEL).max(1)).max(1);
        let each = (panels * PANEL).min(self.rows.next_multiple_of(PANEL));
        let part = |first: usize| Self {
            offset: self.offset + (first * row_bytes) as u64,
            rows: each.min(self.rows - first),
            ..self.clone()
        };
        (each, (0..self.rows).step_by(each).map(part).collect())
    }
}

/// Where the rows of a matrix are that is not held in memory.
#[derive(Debug)]
pub(super) struct Parts {
    pub spot: Spot,
    /// The units of the stream, unless single rows are all that is ever read.
    pub group: Option<Group>,
    /// Rows of each unit but the last.
    pub rows: usize,
}

/// A matrix `[rows, columns]` in panels of sixteen rows; rows beyond the last are zero.
#[derive(Debug)]
pub struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    ty: TensorType,
    layout: Layout,
    panel_bytes: usize,
    data: Piece,
    pub(super) place: Place,
    /// From so many columns on weights are unpacked first.
    unpack_from: usize,
    /// `data` is empty, and its rows are read while they are used.
    pub(super) on_disk: Option<Parts>,
}

impl Matrix {
    /// Bytes of a packed matrix.
    pub(super) fn bytes(ty: TensorType, rows: usize, columns: usize) -> usize {
        rows.div_ceil(PANEL) * Layout::new(ty).panel_bytes(columns)
    }

    /// Reads rows from byte `offset` of the tensor at `place` on and packs them as they come, shared
    /// among the team.
    pub(super) fn load(
        source: &dyn WeightSource,
        spot: Spot,
        (arena, team): (&Arena, &Team),
    ) -> Result<Self, SourceError> {
        let Spot {
            place,
            ty,
            offset,
            rows,
            columns,
        } = spot;
        let layout = Layout::new(ty);
        let panel_bytes = layout.panel_bytes(columns);
        let mut data = arena.take(Self::bytes(ty, rows, columns));
        let out = Shared::new(data.bytes_mut());
        let row_bytes = layout.row_bytes(columns);
        let rows_a_read = (READ_BYTES / (row_bytes * PANEL).max(1)).max(1) * PANEL;
        let read = |buffer: &mut [u8], first: usize| {
            let n = (rows - first).min(rows_a_read);
            let buffer = &mut buffer[..n * row_bytes];
            source.read(&place.name, offset + (first * row_bytes) as u64, buffer)?;
            for (p, rows) in buffer.chunks((PANEL * row_bytes).max(1)).enumerate() {
                // SAFETY: each panel is packed by one thread, and lies in `data`.
                let panel = unsafe { out.slice((first / PANEL + p) * panel_bytes, panel_bytes) };
                layout.pack(rows, columns, panel);
            }
            Ok(())
        };
        let failed = Mutex::new(None);
        let reads = rows.div_ceil(rows_a_read);
        let grain = reads.div_ceil(team.threads() * 4);
        team.share(reads, grain, &|_, range| {
            let mut buffer = vec![0; rows_a_read.min(rows) * row_bytes];
            let mut firsts = range.map(|i| i * rows_a_read);
            if let Err(error) = firsts.try_for_each(|first| read(&mut buffer, first)) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
            }
        });
        if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        Ok(Self {
            rows,
            columns,
            ty,
            layout,
            panel_bytes,
            data,
            place,
            unpack_from: usize::MAX,
            on_disk: None,
        })
    }

    /// Room for a matrix: see [`Matrix::fill`].
    pub(super) fn empty(ty: TensorType, (rows, columns): (usize, usize), arena: &Arena) -> Self {
        let layout = Layout::new(ty);
        Self {
            rows,
            columns,
            ty,
            panel_bytes: layout.panel_bytes(columns),
            layout,
            data: arena.take(Self::bytes(ty, rows, columns)),
            place: Place::whole(""),
            unpack_from: usize::MAX,
            on_disk: None,
        }
    }

    /// A matrix whose rows stay on disk. Unless it is only a table, from which single rows are taken,
    /// its parts are units of the stream.
    pub(super) fn on_disk(spot: Spot, stream: &Stream, table: bool, arena: &Arena) -> Self {
        let (rows, parts) = spot.parts();
        let group = (!table).then(|| stream.register(parts.into_iter().map(|part| vec![part])));
        Self {
            rows: spot.rows,
            place: spot.place.clone(),
            ..Self::empty(spot.ty, (0, spot.columns), arena)
        }
        .lying_at(Parts { spot, group, rows })
    }

    fn lying_at(mut self, parts: Parts) -> Self {
        self.on_disk = Some(parts);
        self
    }

    /// Packs rows as they stand in a file into the room that [`Matrix::empty`] made.
    ///
    /// # Safety
    /// Nobody reads or fills this matrix meanwhile.
    pub(super) unsafe fn fill(&self, rows: &[u8]) {
        let row_bytes = self.layout.row_bytes(self.columns);
        let panels = rows.chunks((PANEL * row_bytes).max(1)).take(self.panels());
        for (p, rows) in panels.enumerate() {
            // SAFETY: the panel lies in the data, and the caller has it for himself.
            let panel = unsafe {
                let at = self.data.as_mut_ptr().add(p * self.panel_bytes);
                std::slice::from_raw_parts_mut(at, self.panel_bytes)
            };
            self.layout.pack(rows, self.columns, panel);
        }
    }

    /// Has the system find memory for it now. False: this system cannot.
    pub(super) fn populate(&self) -> bool {
        self.data.populate()
    }

    /// The same matrix, multiplied as was chosen for its type.
    pub(super) fn choosing(mut self, choice: &Choice) -> Self {
        self.unpack_from = choice.unpack_from(self.ty);
        self
    }

    pub(super) fn activations(&self) -> Activations {
        Activations::of(self.ty)
    }

    pub(super) fn packed_bytes(&self) -> usize {
        self.data.len()
    }

    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Decodes one row to f32.
    pub(super) fn decode_row(&self, row: usize, out: &mut [f32]) {
        let panel = &self.data.bytes()[row / PANEL * self.panel_bytes..][..self.panel_bytes];
        self.layout
            .decode_row(panel, row % PANEL, self.columns, &mut out[..self.columns]);
    }

    /// As [`Matrix::multiply`], for a range of panels.
    ///
    /// # Safety
    /// As [`Matrix::multiply`].
    pub(super) unsafe fn multiply_panels(
        &self,
        leaf: &Leaf,
        panels: Range<usize>,
        columns: &[Column],
    ) {
        let many = leaf.many(self.ty);
        let many = many.filter(|_| columns.len() >= self.unpack_from);
        assert!(panels.end * self.panel_bytes <= self.data.len());
        let parts = self.columns.div_ceil(many::PART);
        for columns in columns.chunks(leaf.columns_together()) {
            let Some(many) = many else {
                for panel in panels.clone() {
                    // SAFETY: passed on from the caller.
                    unsafe { self.multiply(leaf, panel, columns) }
                }
                continue;
            };
            for first in (0..parts).step_by(PARTS) {
                for panel in panels.clone() {
                    let parts = first..(first + PARTS).min(parts);
                    // SAFETY: the panel lies in the data; the caller's columns; the leaf's features
                    // are there.
                    unsafe {
                        let data = self.data.as_ptr().add(panel * self.panel_bytes);
                        many(data, parts, self.columns, columns, panel * PANEL);
                    }
                }
            }
        }
    }

    /// The products of one panel with each column go to the column's sixteen outputs of that
    /// panel.
    ///
    /// # Safety
    /// Columns hold activations of this matrix' form and width, and room for its outputs, which no
    /// other thread touches meanwhile.
    #[inline]
    unsafe fn multiply(&self, leaf: &Leaf, panel: usize, columns: &[Column]) {
        let Some(kernel) = leaf.matmul(self.ty) else {
            let panel_data = &self.data.bytes()[panel * self.panel_bytes..][..self.panel_bytes];
            // SAFETY: the caller's columns; the leaf's features are there.
            return unsafe {
                (leaf.decoded)(panel_data, self.ty, self.columns, columns, panel * PANEL)
            };
        };
        let at = panel * self.panel_bytes;
        assert!(at + self.panel_bytes <= self.data.len());
        // SAFETY: the panel lies in the data; the caller's columns; the leaf's features are there.
        unsafe {
            kernel(
                self.data.as_ptr().add(at),
                self.columns,
                columns,
                panel * PANEL,
            )
        }
    }
}

/// Looks a tensor up and checks its shape (`[columns, rows, n]`, trailing ones left out or not).
pub(super) fn checked(
    source: &dyn WeightSource,
    name: &str,
    expected: &[usize],
) -> Result<TensorType, LoadError> {
    let info = source
        .tensor(name)
        .ok_or_else(|| LoadError::Missing(name.to_owned()))?;
    let trim = |shape: &[u64]| {
        let end = shape.iter().rposition(|n| *n != 1).map_or(0, |i| i + 1);
        shape[..end].to_vec()
    };
    let expected: Vec<u64> = expected.iter().map(|n| *n as u64).collect();
    let whole_blocks = expected
        .first()
        .is_none_or(|n| n % u64::from(info.ty.block_len()) == 0);
    if trim(&info.shape) != trim(&expected) || !whole_blocks {
        return Err(LoadError::Shape {
            name: name.to_owned(),
            found: info.shape.clone(),
            expected,
        });
    }
    Ok(info.ty)
}
