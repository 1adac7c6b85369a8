//! Weights by name, checked against the shape that the metadata imply.

use crate::ModelError;
use crate::keys::Keys;
use crate::pass::Rows;
use crate::rope;
use ingle_formats::gguf::TensorInfo;
use ingle_tensor::ops::{ExpertStack, ExpertTensors, Linear, LoadError, Ops};
use std::collections::BTreeSet;

/// Loads the weights of one network and remembers which tensors it used.
pub(crate) struct Loader<'a, O: Ops> {
    pub ops: &'a O,
    pub keys: &'a Keys<'a>,
    /// Rows of the largest batch: buffers are made for so many.
    pub max_batch_rows: usize,
    /// Rows of the largest batch in the side lane; 0: there is none.
    pub side_rows: usize,
    progress: &'a mut dyn FnMut(u64),
    used: BTreeSet<String>,
    used_bytes: u64,
}

impl<'a, O: Ops> Loader<'a, O> {
    /// `progress` is told the bytes of tensors loaded so far, after each tensor.
    pub fn new(
        ops: &'a O,
        keys: &'a Keys<'a>,
        rows: Rows,
        progress: &'a mut dyn FnMut(u64),
    ) -> Self {
        Self {
            ops,
            keys,
            max_batch_rows: rows.main,
            side_rows: rows.side,
            progress,
            used: BTreeSet::new(),
            used_bytes: 0,
        }
    }

    /// The matrix `name` of shape `[rows, columns]`.
    pub fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<O::Matrix, ModelError> {
        self.check(name, &[columns, rows])?;
        let matrix = self
            .ops
            .load_matrix(self.keys.source, name, rows, columns)?;
        self.done(name);
        Ok(matrix)
    }

    /// `{name}.weight` of shape `[rows, columns]` and `{name}.bias`, which is used where it is
    /// there: a bias left out would change every answer.
    pub fn linear(
        &mut self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Linear<O>, ModelError> {
        let weight = self.matrix(&format!("{name}.weight"), rows, columns)?;
        let bias = format!("{name}.bias");
        let bias = match self.has(&bias) {
            true => Some(self.vector(&bias, rows)?),
            false => None,
        };
        Ok(Linear { weight, bias })
    }

    /// The experts of the layer whose tensors begin with `b`.
    pub fn experts(
        &mut self,
        b: &str,
        n_experts: usize,
        ffn: usize,
        width: usize,
    ) -> Result<O::Experts, ModelError> {
        let tensors = ExpertTensors {
            n_experts,
            ffn,
            width,
            gate: self.expert_stack(&format!("{b}.ffn_gate"), n_experts),
            up: self.expert_stack(&format!("{b}.ffn_up"), n_experts),
            down: self.expert_stack(&format!("{b}.ffn_down"), n_experts),
        };
        let mut names = Vec::new();
        for (stack, rows, columns) in tensors.stacks() {
            let (of, shape) = match stack {
                ExpertStack::One(name) => {
                    (std::slice::from_ref(name), vec![columns, rows, n_experts])
                }
                ExpertStack::Each(names) => (&names[..], vec![columns, rows]),
            };
            of.iter().try_for_each(|name| self.check(name, &shape))?;
            names.extend(of);
        }
        let experts = self.ops.load_experts(self.keys.source, &tensors)?;
        names.into_iter().for_each(|name| self.done(name));
        Ok(experts)
    }

    /// One matrix for each of `n` experts: in one tensor (`{name}_exps.weight`), or in one each
    /// (`{name}.0.weight`), as files of early 2024 have them.
    fn expert_stack(&self, name: &str, n: usize) -> ExpertStack {
        match self.has(&format!("{name}.0.weight")) {
            false => ExpertStack::One(format!("{name}_exps.weight")),
            true => ExpertStack::Each((0..n).map(|i| format!("{name}.{i}.weight")).collect()),
        }
    }

    /// Linear layers of so many rows each that read the same input: each under its own name, or,
    /// where the file has the tensor `{fused}.weight` and not the first name, one after the other
    /// in that.
    pub fn linears<const N: usize>(
        &mut self,
        fused: &str,
        parts: [(&str, usize); N],
        columns: usize,
    ) -> Result<[Linear<O>; N], ModelError> {
        let name = format!("{fused}.weight");
        let rows = parts.map(|(_, rows)| rows);
        let own = parts
            .first()
            .is_none_or(|(first, _)| self.has(&format!("{first}.weight")));
        let linears: Vec<Linear<O>> = if own || !self.has(&name) {
            let each = parts.iter();
            let each = each.map(|(name, rows)| self.linear(name, *rows, columns));
            each.collect::<Result<_, _>>()?
        } else {
            self.check(&name, &[columns, rows.iter().sum()])?;
            let source = self.keys.source;
            let matrices = self.ops.load_parts(source, &name, &rows, columns)?;
            self.done(&name);
            let linear = |weight| Linear { weight, bias: None };
            matrices.into_iter().map(linear).collect()
        };
        linears
            .try_into()
            .map_err(|_| LoadError::Missing(name).into())
    }

    /// The vector `name` of `len` elements.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<O::Vector, ModelError> {
        self.check(name, &[len])?;
        let vector = self.ops.load_vector(self.keys.source, name, len)?;
        self.done(name);
        Ok(vector)
    }

    /// The embedding and the output head, `[n_vocab, width]` both: one matrix where the file has
    /// no head of its own ("tied embeddings").
    pub fn embedding_and_head(
        &mut self,
        n_vocab: usize,
        width: usize,
    ) -> Result<Embedding<O>, ModelError> {
        let name = "token_embd.weight";
        if self.has("output.weight") {
            self.check(name, &[width, n_vocab])?;
            let table = self
                .ops
                .load_table(self.keys.source, name, n_vocab, width)?;
            self.done(name);
            let head = self.linear("output", n_vocab, width)?;
            return Ok(Embedding {
                own_table: Some(table),
                head,
            });
        }
        let head = Linear {
            weight: self.matrix(name, n_vocab, width)?,
            bias: None,
        };
        Ok(Embedding {
            own_table: None,
            head,
        })
    }

    /// The head of a classifier, `cls.output`, and how many labels it has, if there is one.
    pub fn labels(&mut self, width: usize) -> Result<Option<(Linear<O>, usize)>, ModelError> {
        let name = "cls.output.weight";
        if !self.has(name) {
            return Ok(None);
        }
        let n_labels = crate::encoder::rows(self.keys, name, width)?;
        Ok(Some((
            self.linear("cls.output", n_labels, width)?,
            n_labels,
        )))
    }

    /// A buffer of `width` for the rows of the largest batch.
    pub fn buf(&self, width: usize) -> O::Buf {
        self.ops.buf(self.max_batch_rows, width)
    }

    /// Bytes of the tensors used, as they lie in the file.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// Refuses a file with tensors that nothing used.
    pub fn refuse_unused(&self) -> Result<(), ModelError> {
        let unused =
            |tensor: &&TensorInfo| !self.used.contains(&tensor.name) && !is_harmless(&tensor.name);
        let tensors = self.keys.source.tensors();
        let unused: Vec<&TensorInfo> = tensors.iter().filter(unused).collect();
        if unused.is_empty() {
            return Ok(());
        }
        let names = unused.iter().take(3);
        let mut some: Vec<String> = names
            .map(|t| format!("`{}`", t.name.escape_debug()))
            .collect();
        if unused.len() > some.len() {
            some.push("...".to_owned());
        }
        Err(ModelError::Unused {
            count: unused.len(),
            some: some.join(", "),
        })
    }

    fn has(&self, name: &str) -> bool {
        self.keys.source.tensor(name).is_some()
    }

    fn check(&self, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        let found = self.keys.shape(name)?;
        if found
            .iter()
            .eq(shape.iter().map(|&n| n as u64).collect::<Vec<_>>().iter())
        {
            return Ok(());
        }
        Err(LoadError::Shape {
            name: name.to_owned(),
            found: found.to_vec(),
            expected: shape.iter().map(|&n| n as u64).collect(),
        }
        .into())
    }

    fn done(&mut self, name: &str) {
        self.used.insert(name.to_owned());
        let len = self.keys.source.tensor(name).map_or(0, |t| t.byte_len);
        self.used_bytes = self.used_bytes.saturating_add(len);
        (self.progress)(self.used_bytes);
    }
}

/// Tensors that are not weights: what positions turn by, which is computed or read elsewhere.
fn is_harmless(name: &str) -> bool {
    rope::FACTORS.contains(&name) || name.ends_with(".attn_rot_embd.weight") || name == "rope_freqs"
}

/// The embedding and the output head, which may be one matrix.
pub(crate) struct Embedding<O: Ops> {
    own_table: Option<O::Matrix>,
    /// `[n_vocab, width]`
    pub head: Linear<O>,
}

impl<O: Ops> Embedding<O> {
    /// `[n_vocab, width]`
    pub fn table(&self) -> &O::Matrix {
        self.own_table.as_ref().unwrap_or(&self.head.weight)
    }
}
