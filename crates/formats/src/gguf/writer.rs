//! Writing GGUF files: the way back from values to bytes, for tests and for quantised copies.

use super::{
    ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, GgufError, MAGIC, Metadata, Value, ValueType, align_up,
};
use crate::TensorType;

/// Builds a GGUF file from key-value pairs and tensors.
///
/// [`Writer::file`] makes a small file in memory. For a large one, write [`Writer::header`], then
/// each tensor's data followed by [`Writer::padding`] zero bytes, in the order of the tensors.
///
/// ```
/// use ingle_formats::{TensorType, gguf::{Header, Writer}};
/// let data: Vec<u8> = [1.0_f32, 2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
/// let bytes = Writer::new()
///     .pair("general.architecture", "llama")
///     .tensor("output_norm.weight", &[2], TensorType::F32)
///     .file([&data])?;
/// let header = Header::read(&mut bytes.as_slice(), bytes.len() as u64)?;
/// assert_eq!(header.tensors[0].name, "output_norm.weight");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Writer {
    version: Option<u32>,
    pairs: Vec<(String, Value)>,
    tensors: Vec<Planned>,
}

/// A tensor that will be written.
#[derive(Debug, Clone)]
struct Planned {
    name: String,
    shape: Vec<u64>,
    ty: TensorType,
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The pairs are not metadata that could be read again.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// `general.alignment` is not a power of two of 32 bits.
    #[error("`general.alignment` must be a 32-bit unsigned power of two")]
    Alignment,
    /// A tensor's shape is not whole blocks of its type, or too large.
    #[error("tensor `{name}` of shape {shape:?} is not a whole number of {ty} blocks a row")]
    Shape {
        /// The tensor.
        name: String,
        /// Its axes.
        shape: Vec<u64>,
        /// Its type.
        ty: TensorType,
    },
    /// There are more or fewer pieces of data than tensors.
    #[error("{tensors} tensors were planned, and data were given for {given}")]
    Missing {
        /// Tensors planned.
        tensors: usize,
        /// Pieces given.
        given: usize,
    },
    /// A tensor's data have another length than its shape says.
    #[error("tensor `{name}` takes {wanted} bytes, and {given} were given")]
    Data {
        /// The tensor.
        name: String,
        /// Bytes that its shape takes.
        wanted: u64,
        /// Bytes given.
        given: usize,
    },
}

impl Writer {
    /// An empty file of version 3.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes this version number instead of 3.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }

    /// Adds a key-value pair.
    #[must_use]
    pub fn pair(mut self, key: impl Into<String>, value: impl Into<Value>) -> Self {
        self.pairs.push((key.into(), value.into()));
        self
    }

    /// Adds all pairs of `metadata`.
    #[must_use]
    pub fn metadata(mut self, metadata: &Metadata) -> Self {
        let owned = |(key, value): (&str, &Value)| (key.to_owned(), value.clone());
        self.pairs.extend(metadata.iter().map(owned));
        self
    }

    /// Adds a tensor; `shape` has the contiguous axis first.
    #[must_use]
    pub fn tensor(mut self, name: impl Into<String>, shape: &[u64], ty: TensorType) -> Self {
        self.tensors.push(Planned {
            name: name.into(),
            shape: shape.to_vec(),
            ty,
        });
        self
    }

    /// Everything before the first tensor's data, padding included.
    ///
    /// # Errors
    /// Duplicate keys, a bad alignment, a shape that is not whole blocks.
    pub fn header(&self) -> Result<Vec<u8>, WriteError> {
        Metadata::from_pairs(self.pairs.iter().cloned())?;
        let alignment = self.alignment()?;
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(self.version.unwrap_or(3).to_le_bytes());
        put_len(&mut out, self.tensors.len());
        put_len(&mut out, self.pairs.len());
        for (key, value) in &self.pairs {
            put_string(&mut out, key);
            out.extend(value.value_type().number().to_le_bytes());
            put_value(&mut out, value);
        }
        let mut offset = 0_u64;
        for tensor in &self.tensors {
            put_string(&mut out, &tensor.name);
            // Shapes that are not at most four axes are for the reader's tests.
            let n_dims = u32::try_from(tensor.shape.len()).unwrap_or(u32::MAX);
            out.extend(n_dims.to_le_bytes());
            out.extend(tensor.shape.iter().flat_map(|axis| axis.to_le_bytes()));
            out.extend(tensor.ty.gguf_number().to_le_bytes());
            out.extend(offset.to_le_bytes());
            let end = offset.checked_add(tensor.byte_len()?);
            offset = end
                .and_then(|end| align_up(end, alignment))
                .ok_or_else(|| tensor.bad_shape())?;
        }
        self.pad(&mut out)?;
        Ok(out)
    }

    /// How many zero bytes follow a tensor of `byte_len` bytes.
    ///
    /// # Errors
    /// [`WriteError::Alignment`].
    pub fn padding(&self, byte_len: u64) -> Result<u64, WriteError> {
        let alignment = self.alignment()?;
        Ok(align_up(byte_len, alignment)
            .and_then(|end| end.checked_sub(byte_len))
            .unwrap_or(0))
    }

    /// The whole file; `data` has one piece a tensor, in order.
    ///
    /// # Errors
    /// Those of [`Writer::header`], and data that do not match the tensors.
    pub fn file<D: AsRef<[u8]>>(
        &self,
        data: impl IntoIterator<Item = D>,
    ) -> Result<Vec<u8>, WriteError> {
        let mut out = self.header()?;
        let mut given = 0_usize;
        let mut tensors = self.tensors.iter();
        for piece in data {
            given = given.saturating_add(1);
            let Some(tensor) = tensors.next() else {
                continue;
            };
            let (piece, wanted) = (piece.as_ref(), tensor.byte_len()?);
            if u64::try_from(piece.len()) != Ok(wanted) {
                return Err(WriteError::Data {
                    name: tensor.name.clone(),
                    wanted,
                    given: piece.len(),
                });
            }
            out.extend_from_slice(piece);
            self.pad(&mut out)?;
        }
        if given != self.tensors.len() {
            return Err(WriteError::Missing {
                tensors: self.tensors.len(),
                given,
            });
        }
        Ok(out)
    }

    fn pad(&self, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let len = u64::try_from(out.len()).unwrap_or(u64::MAX);
        let padding = usize::try_from(self.padding(len)?).unwrap_or(0);
        out.resize(out.len().saturating_add(padding), 0);
        Ok(())
    }

    fn alignment(&self) -> Result<u64, WriteError> {
        match self.pairs.iter().find(|(key, _)| key == ALIGNMENT_KEY) {
            None => Ok(u64::from(DEFAULT_ALIGNMENT)),
            Some((_, Value::U32(value))) if value.is_power_of_two() => Ok(u64::from(*value)),
            Some(_) => Err(WriteError::Alignment),
        }
    }
}

impl Planned {
    fn byte_len(&self) -> Result<u64, WriteError> {
        let columns = self.shape.first().copied().unwrap_or(1);
        let elements = self
            .shape
            .iter()
            .try_fold(1_u64, |product, &axis| product.checked_mul(axis));
        elements
            .filter(|_| self.ty.byte_len(columns).is_some())
            .and_then(|elements| self.ty.byte_len(elements))
            .ok_or_else(|| self.bad_shape())
    }

    fn bad_shape(&self) -> WriteError {
        WriteError::Shape {
            name: self.name.clone(),
            shape: self.shape.clone(),
            ty: self.ty,
        }
    }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend(u64::try_from(len).unwrap_or(u64::MAX).to_le_bytes());
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    put_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(v) => out.extend(v.to_le_bytes()),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => put_string(out, v),
        Value::Array(v) => put_array(out, v),
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
    }
}

fn put_array(out: &mut Vec<u8>, array: &Array) {
    let ty: ValueType = array.element_type();
    out.extend(ty.number().to_le_bytes());
    put_len(out, array.len());
    match array {
        Array::U8(v) => out.extend_from_slice(v),
        Array::I8(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::U16(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::I16(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::U32(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::I32(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::F32(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::Bool(v) => out.extend(v.iter().map(|v| u8::from(*v))),
        Array::Strings(v) => v.iter().for_each(|text| put_string(out, text)),
        Array::Arrays(v) => v.iter().for_each(|inner| put_array(out, inner)),
        Array::U64(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::I64(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
        Array::F64(v) => out.extend(v.iter().flat_map(|v| v.to_le_bytes())),
    }
}
