//! The parser: from bytes to a checked [`Header`].

use std::io::Read;

use super::cursor::Cursor;
use super::{
    ALIGNMENT_KEY, Array, DEFAULT_ALIGNMENT, GgufError, Header, MAGIC, Metadata, Place,
    StringArray, TensorInfo, Value, ValueType, align_up, sorted_by_name,
};
use crate::TensorType;

/// The longest key of the specification.
const MAX_KEY: u64 = 65_535;
/// The specification says 64 bytes; some writers go beyond.
const MAX_TENSOR_NAME: u64 = 255;
/// How deep arrays may lie in arrays; the specification has no bound, and no known model nests.
const MAX_DEPTH: usize = 4;
/// A length, a name of one byte, a type and a value of one byte.
const MIN_PAIR_BYTES: u64 = 14;
/// A length, a name of one byte, the number of axes, one axis, a type and an offset.
const MIN_TENSOR_BYTES: u64 = 25;

impl Header {
    /// Reads the header of a file of `file_len` bytes from its first byte on.
    ///
    /// The reader need not be buffered; up to 64 KiB beyond the header may be taken from it.
    ///
    /// # Errors
    /// Any fault of the header, with its place and a remedy. No allocation is larger than the file
    /// (or than 4 KiB), whatever the file claims.
    pub fn read(reader: &mut dyn Read, file_len: u64) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(reader, file_len);
        let version = read_version(&mut cursor)?;
        let n_tensors = cursor.u64()?;
        let n_pairs = cursor.u64()?;
        let n_tensors = cursor.count(
            "tensors",
            n_tensors,
            MIN_TENSOR_BYTES,
            size_of::<TensorInfo>(),
        )?;
        let pair_slot = size_of::<Box<(String, Value)>>();
        let n_pairs = cursor.count("keys", n_pairs, MIN_PAIR_BYTES, pair_slot)?;
        let metadata = read_metadata(&mut cursor, n_pairs)?;
        let alignment = alignment(&metadata)?;
        let mut tensors = Vec::with_capacity(n_tensors);
        for index in (0..).take(n_tensors) {
            tensors.push(read_tensor(&mut cursor, index, alignment)?);
        }
        let name = |index: usize| {
            tensors
                .get(index)
                .map_or("", |t: &TensorInfo| t.name.as_str())
        };
        sorted_by_name(n_tensors, name).map_err(|name| GgufError::DuplicateTensor { name })?;
        // The header is at most 2^30 bytes long and the alignment at most 2^31.
        let data_start = align_up(cursor.at(), alignment).unwrap_or(u64::MAX);
        place_tensors(&mut tensors, data_start, file_len)?;
        Ok(Self {
            version,
            metadata,
            tensors,
            data_start,
        })
    }
}

fn read_version(cursor: &mut Cursor<'_>) -> Result<u32, GgufError> {
    let found: [u8; 4] = cursor.take()?;
    if found != MAGIC {
        return Err(GgufError::NotGguf { found });
    }
    match cursor.u32()? {
        version @ (2 | 3) => Ok(version),
        // A small number with its bytes reversed: no version is that large.
        version if version != 0 && version.trailing_zeros() >= 16 => Err(GgufError::BigEndian {
            version: version.swap_bytes(),
        }),
        version => Err(GgufError::Version { version }),
    }
}

fn read_metadata(cursor: &mut Cursor<'_>, n_pairs: usize) -> Result<Metadata, GgufError> {
    let mut pairs = Vec::with_capacity(n_pairs);
    for index in (0..).take(n_pairs) {
        cursor.place = Place::KeyName(index);
        let key = read_name(cursor, MAX_KEY)?;
        cursor.place = Place::Value(key.clone());
        let ty = read_value_type(cursor)?;
        let value = read_value(cursor, ty)?;
        pairs.push(Box::new((key, value)));
    }
    Metadata::from_boxed(pairs)
}

fn read_name(cursor: &mut Cursor<'_>, limit: u64) -> Result<String, GgufError> {
    let at = cursor.at();
    let name = cursor.string(limit)?;
    if name.is_empty() {
        return Err(GgufError::Empty {
            place: cursor.place.clone(),
            at,
        });
    }
    Ok(name)
}

fn read_value_type(cursor: &mut Cursor<'_>) -> Result<ValueType, GgufError> {
    let at = cursor.at();
    let number = cursor.u32()?;
    ValueType::from_number(number).ok_or_else(|| GgufError::UnknownValueType {
        place: cursor.place.clone(),
        at,
        number,
    })
}

fn read_value(cursor: &mut Cursor<'_>, ty: ValueType) -> Result<Value, GgufError> {
    Ok(match ty {
        ValueType::U8 => Value::U8(u8::from_le_bytes(cursor.take()?)),
        ValueType::I8 => Value::I8(i8::from_le_bytes(cursor.take()?)),
        ValueType::U16 => Value::U16(u16::from_le_bytes(cursor.take()?)),
        ValueType::I16 => Value::I16(i16::from_le_bytes(cursor.take()?)),
        ValueType::U32 => Value::U32(u32::from_le_bytes(cursor.take()?)),
        ValueType::I32 => Value::I32(i32::from_le_bytes(cursor.take()?)),
        ValueType::F32 => Value::F32(f32::from_le_bytes(cursor.take()?)),
        ValueType::Bool => Value::Bool(read_bool(cursor)?),
        // A text has no bound of its own: it lies in the file.
        ValueType::String => Value::String(cursor.string(u64::MAX)?),
        ValueType::Array => Value::Array(read_array(cursor, 1)?),
        ValueType::U64 => Value::U64(u64::from_le_bytes(cursor.take()?)),
        ValueType::I64 => Value::I64(i64::from_le_bytes(cursor.take()?)),
        ValueType::F64 => Value::F64(f64::from_le_bytes(cursor.take()?)),
    })
}

fn read_bool(cursor: &mut Cursor<'_>) -> Result<bool, GgufError> {
    let at = cursor.at();
    match cursor.take()? {
        [0] => Ok(false),
        [1] => Ok(true),
        [byte] => Err(GgufError::Bool {
            place: cursor.place.clone(),
            at,
            byte,
        }),
    }
}

fn read_array(cursor: &mut Cursor<'_>, depth: usize) -> Result<Array, GgufError> {
    if depth > MAX_DEPTH {
        return Err(GgufError::Depth {
            place: cursor.place.clone(),
            at: cursor.at(),
            limit: MAX_DEPTH,
        });
    }
    let ty = read_value_type(cursor)?;
    let count = cursor.u64()?;
    let in_memory = match ty {
        ValueType::Array => size_of::<Array>(),
        // Elements are held as they lie in the file; of a string, the end.
        _ => usize::try_from(ty.min_bytes()).unwrap_or(usize::MAX),
    };
    let count = cursor.count("array elements", count, ty.min_bytes(), in_memory)?;
    Ok(match ty {
        ValueType::U8 => Array::U8(read_numbers(cursor, count, u8::from_le_bytes)?),
        ValueType::I8 => Array::I8(read_numbers(cursor, count, i8::from_le_bytes)?),
        ValueType::U16 => Array::U16(read_numbers(cursor, count, u16::from_le_bytes)?),
        ValueType::I16 => Array::I16(read_numbers(cursor, count, i16::from_le_bytes)?),
        ValueType::U32 => Array::U32(read_numbers(cursor, count, u32::from_le_bytes)?),
        ValueType::I32 => Array::I32(read_numbers(cursor, count, i32::from_le_bytes)?),
        ValueType::F32 => Array::F32(read_numbers(cursor, count, f32::from_le_bytes)?),
        ValueType::U64 => Array::U64(read_numbers(cursor, count, u64::from_le_bytes)?),
        ValueType::I64 => Array::I64(read_numbers(cursor, count, i64::from_le_bytes)?),
        ValueType::F64 => Array::F64(read_numbers(cursor, count, f64::from_le_bytes)?),
        ValueType::Bool => Array::Bool(read_many(cursor, count, read_bool)?),
        ValueType::String => Array::Strings(read_strings(cursor, count)?),
        ValueType::Array => {
            let inner = depth.saturating_add(1);
            Array::Arrays(read_many(cursor, count, |c| read_array(c, inner))?)
        }
    })
}

fn read_many<T>(
    cursor: &mut Cursor<'_>,
    count: usize,
    mut read: impl FnMut(&mut Cursor<'_>) -> Result<T, GgufError>,
) -> Result<Vec<T>, GgufError> {
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        values.push(read(cursor)?);
    }
    Ok(values)
}

fn read_numbers<T, const N: usize>(
    cursor: &mut Cursor<'_>,
    count: usize,
    decode: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, GgufError> {
    read_many(cursor, count, |cursor| cursor.take().map(&decode))
}

fn read_strings(cursor: &mut Cursor<'_>, count: usize) -> Result<StringArray, GgufError> {
    let at = cursor.at();
    let mut text = Vec::new();
    let mut ends = Vec::with_capacity(count);
    for _ in 0..count {
        let len = cursor.u64()?;
        cursor.append(len, &mut text)?;
        ends.push(u64::try_from(text.len()).unwrap_or(u64::MAX));
    }
    text.shrink_to_fit();
    String::from_utf8(text)
        .ok()
        .and_then(|text| StringArray::from_parts(text, ends))
        .ok_or_else(|| cursor.not_utf8(at))
}

fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    match metadata.get(ALIGNMENT_KEY) {
        None => Ok(u64::from(DEFAULT_ALIGNMENT)),
        Some(Value::U32(value)) if value.is_power_of_two() => Ok(u64::from(*value)),
        Some(Value::U32(value)) => Err(GgufError::Alignment {
            found: value.to_string(),
        }),
        Some(other) => Err(GgufError::Alignment {
            found: other.kind().to_string(),
        }),
    }
}

/// Reads one tensor's description; `offset` is as the file has it, from the start of the data.
fn read_tensor(
    cursor: &mut Cursor<'_>,
    index: u64,
    alignment: u64,
) -> Result<TensorInfo, GgufError> {
    cursor.place = Place::TensorName(index);
    let name = read_name(cursor, MAX_TENSOR_NAME)?;
    cursor.place = Place::Tensor(name.clone());
    let shape_at = cursor.at();
    let shape = read_shape(cursor, &name)?;
    let at = cursor.at();
    let number = cursor.u32()?;
    let Some(ty) = TensorType::from_gguf(number) else {
        return Err(GgufError::UnknownTensorType { name, at, number });
    };
    let at = shape_at;
    let columns = shape.first().copied().unwrap_or(1);
    if !columns.is_multiple_of(u64::from(ty.block_len())) {
        return Err(GgufError::PartBlock {
            name,
            at,
            columns,
            ty,
        });
    }
    let elements = shape
        .iter()
        .try_fold(1_u64, |product, &axis| product.checked_mul(axis))
        .filter(|&elements| i64::try_from(elements).is_ok());
    let Some(byte_len) = elements.and_then(|elements| ty.byte_len(elements)) else {
        return Err(GgufError::TooManyElements { name, at, shape });
    };
    let at = cursor.at();
    let offset = cursor.u64()?;
    if !offset.is_multiple_of(alignment) {
        return Err(GgufError::Misaligned {
            name,
            at,
            offset,
            alignment,
        });
    }
    Ok(TensorInfo {
        name,
        shape,
        ty,
        offset,
        byte_len,
    })
}

/// One to four axes; a tensor without any is one number, `[1]`.
fn read_shape(cursor: &mut Cursor<'_>, name: &str) -> Result<Vec<u64>, GgufError> {
    let at = cursor.at();
    let n_dims = cursor.u32()?;
    let Some(n_axes) = usize::try_from(n_dims).ok().filter(|&n| n <= 4) else {
        let name = name.to_owned();
        return Err(GgufError::Dimensions { name, at, n_dims });
    };
    let mut shape = Vec::with_capacity(n_axes.max(1));
    for axis in 0..n_axes {
        let at = cursor.at();
        // The specification says unsigned, the reference keeps it signed: what is beyond it is a
        // negative number to everybody else.
        let size = i64::from_le_bytes(cursor.take()?);
        match u64::try_from(size) {
            Ok(size) if size > 0 => shape.push(size),
            _ => {
                let name = name.to_owned();
                return Err(GgufError::Dimension {
                    name,
                    at,
                    axis,
                    size,
                });
            }
        }
    }
    if shape.is_empty() {
        shape.push(1);
    }
    Ok(shape)
}

/// Makes offsets count from the start of the file, and checks that all data lie inside it.
fn place_tensors(
    tensors: &mut [TensorInfo],
    data_start: u64,
    file_len: u64,
) -> Result<(), GgufError> {
    let mut whole = data_start;
    let mut first_outside = None;
    for (index, tensor) in tensors.iter_mut().enumerate() {
        let start = data_start.checked_add(tensor.offset);
        let end = start.and_then(|start| start.checked_add(tensor.byte_len));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(GgufError::OffsetOverflow {
                name: tensor.name.clone(),
                offset: tensor.offset,
                byte_len: tensor.byte_len,
                data_start,
            });
        };
        tensor.offset = start;
        whole = whole.max(end);
        if end > file_len {
            first_outside.get_or_insert((index, end));
        }
    }
    match first_outside.and_then(|(index, end)| Some((tensors.get(index)?, end))) {
        Some((tensor, end)) => Err(GgufError::DataCutShort {
            name: tensor.name.clone(),
            end,
            file_len,
            whole,
        }),
        None => Ok(()),
    }
}
