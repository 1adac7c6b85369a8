//! From bytes to a checked [`Header`].

use std::io::Read;

use super::json::{Description, Raw};
use super::{Dtype, Header, MAX_HEADER, SafetensorsError, Tensor};

/// More than any tensor of a known model has.
const MAX_DIMENSIONS: usize = 8;
/// Bytes of the length before the header.
const LENGTH_BYTES: u64 = 8;
/// The header grows by so much at a time while it is read: a reader that ends early has not made
/// us reserve what the file claims.
const STEP: u64 = 1 << 20;

impl Header {
    /// Reads the header of a file of `file_len` bytes from its first byte on. Exactly the header is
    /// taken from the reader.
    ///
    /// # Errors
    /// Any fault of the header. No allocation is larger than a few times the header's own bytes.
    pub fn read(reader: &mut dyn Read, file_len: u64) -> Result<Self, SafetensorsError> {
        let mut length = [0; 8];
        if file_len < LENGTH_BYTES {
            let needed = LENGTH_BYTES;
            return Err(SafetensorsError::HeaderCutShort { needed, file_len });
        }
        let failed = |error| SafetensorsError::Read { error };
        reader.read_exact(&mut length).map_err(failed)?;
        let len = u64::from_le_bytes(length);
        if len > MAX_HEADER {
            let limit = MAX_HEADER;
            return Err(SafetensorsError::HeaderTooLong { len, limit });
        }
        let data_start = LENGTH_BYTES.saturating_add(len);
        if data_start > file_len {
            let needed = data_start;
            return Err(SafetensorsError::HeaderCutShort { needed, file_len });
        }
        let mut text = Vec::new();
        let mut left = len;
        while left > 0 {
            let step = left.min(STEP);
            let read = reader.take(step).read_to_end(&mut text).map_err(failed)?;
            if u64::try_from(read) != Ok(step) {
                let error = std::io::ErrorKind::UnexpectedEof.into();
                return Err(SafetensorsError::Read { error });
            }
            left = left.saturating_sub(step);
        }
        Self::parse(&text, data_start, file_len)
    }

    fn parse(text: &[u8], data_start: u64, file_len: u64) -> Result<Self, SafetensorsError> {
        let raw: Raw = serde_json::from_slice(text).map_err(|error| SafetensorsError::Json {
            reason: error.to_string(),
        })?;
        let mut tensors = Vec::with_capacity(raw.tensors.len());
        for (name, description) in raw.tensors {
            tensors.push(checked(name, description)?);
        }
        refuse_duplicates(&tensors)?;
        place(&mut tensors, data_start, file_len)?;
        Ok(Self {
            tensors,
            metadata: raw.metadata,
            data_start,
        })
    }
}

/// A tensor whose type, shape and length agree; its offset counts from the start of the data.
fn checked(name: String, description: Description) -> Result<Tensor, SafetensorsError> {
    let Description {
        dtype,
        shape,
        data_offsets: (start, end),
    } = description;
    let Some(dtype) = Dtype::from_name(&dtype) else {
        return Err(SafetensorsError::UnknownDtype { name, dtype });
    };
    if shape.len() > MAX_DIMENSIONS {
        return Err(SafetensorsError::Dimensions {
            name,
            n_dims: shape.len(),
            limit: MAX_DIMENSIONS,
        });
    }
    let elements = shape.iter().try_fold(1_u64, |n, &axis| n.checked_mul(axis));
    let Some(wanted) = elements.and_then(|n| dtype.byte_len(n)) else {
        return Err(SafetensorsError::TooManyElements { name, dtype, shape });
    };
    if end.checked_sub(start) != Some(wanted) {
        return Err(SafetensorsError::Length {
            name,
            dtype,
            shape,
            wanted,
            start,
            end,
        });
    }
    Ok(Tensor {
        name,
        dtype,
        shape,
        offset: start,
        byte_len: wanted,
    })
}

fn refuse_duplicates(tensors: &[Tensor]) -> Result<(), SafetensorsError> {
    let mut names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(SafetensorsError::DuplicateTensor {
            name: pair.first().copied().unwrap_or_default().to_owned(),
        }),
        None => Ok(()),
    }
}

/// Sorts by place, checks that the tensors fill the data of the file, and lets offsets count from
/// the start of the file.
fn place(tensors: &mut [Tensor], data_start: u64, file_len: u64) -> Result<(), SafetensorsError> {
    tensors.sort_by(|a, b| (a.offset, a.byte_len, &a.name).cmp(&(b.offset, b.byte_len, &b.name)));
    let mut before = 0;
    for tensor in tensors.iter() {
        if tensor.offset != before {
            return Err(SafetensorsError::Place {
                name: tensor.name.clone(),
                start: tensor.offset,
                before,
            });
        }
        // Checked: the end was given in 64 bits.
        before = tensor.offset.saturating_add(tensor.byte_len);
    }
    let whole = data_start.saturating_add(before);
    for tensor in tensors.iter_mut() {
        tensor.offset = tensor.offset.saturating_add(data_start);
        let end = tensor.offset.saturating_add(tensor.byte_len);
        if end > file_len {
            return Err(SafetensorsError::DataCutShort {
                name: tensor.name.clone(),
                end,
                file_len,
                whole,
            });
        }
    }
    match file_len.saturating_sub(whole) {
        0 => Ok(()),
        extra => Err(SafetensorsError::Trailing { extra }),
    }
}
