//! Importance matrices on disk: GGUF files as llama.cpp's `llama-imatrix` writes them.
//!
//! For each matrix `NAME` there is a tensor `NAME.in_sum2` of the sums of squares, `[columns, matrices]`,
//! and one `NAME.counts` of the rows that were summed, `[1, matrices]`, both F32.

use super::QuantizeError;
use super::draft::Draft;
use crate::{ModelFiles, StoreError};
use ingle_formats::TensorType;
use ingle_formats::gguf::{Array, StringArray, TensorInfo, Value, Writer};
use ingle_tensor::WeightSource;
use ingle_tensor::importance::{ColumnSums, Importance};
use std::path::Path;

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// Why an importance matrix cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImatrixError {
    /// The file.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Reading it.
    #[error(transparent)]
    Source(#[from] ingle_tensor::SourceError),
    /// It is a GGUF file of another kind.
    #[error(
        "{file} holds no importance matrix (general.type is not `imatrix`); give a file that --save-imatrix or llama-imatrix wrote"
    )]
    Kind {
        /// The file.
        file: String,
    },
    /// A tensor of it makes no sense.
    #[error("{file}: tensor `{}` holds no sums of squares; make the importance matrix again", name.escape_debug())]
    Tensor {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
    },
}

/// Reads an importance matrix.
///
/// # Errors
/// [`ImatrixError`]
pub fn read_imatrix(path: &Path) -> Result<Importance, ImatrixError> {
    let files = ModelFiles::open(path)?;
    let kind = files.metadata().str("general.type").ok().flatten();
    if kind != Some("imatrix") {
        let file = files.name().to_owned();
        return Err(ImatrixError::Kind { file });
    }
    let mut importance = Importance::default();
    for tensor in files.tensors() {
        if let Some(name) = tensor.name.strip_suffix(SUMS) {
            let sums = column_sums(&files, tensor, name)?;
            let wrong = || ImatrixError::Tensor {
                file: files.name().to_owned(),
                name: tensor.name.clone(),
            };
            importance.insert(name, sums.ok_or_else(wrong)?);
        }
    }
    Ok(importance)
}

/// `None` where the numbers make no sense.
fn column_sums(
    files: &ModelFiles,
    tensor: &TensorInfo,
    name: &str,
) -> Result<Option<ColumnSums>, ImatrixError> {
    let Some(counts) = files.tensor(&format!("{name}{COUNTS}")) else {
        return Ok(None);
    };
    let (Some(sums), Some(counts)) = (floats(files, tensor)?, floats(files, counts)?) else {
        return Ok(None);
    };
    let columns = tensor.shape.first().and_then(|&n| usize::try_from(n).ok());
    let sums = sums.into_iter().map(f64::from).collect();
    // A count that is no number becomes 0, and one too large the largest.
    let counts = counts.into_iter().map(|count| count as u64).collect();
    Ok(ColumnSums::new(columns.unwrap_or(0), sums, counts))
}

fn floats(files: &ModelFiles, tensor: &TensorInfo) -> Result<Option<Vec<f32>>, ImatrixError> {
    if tensor.ty != TensorType::F32 {
        return Ok(None);
    }
    let Ok(len) = usize::try_from(tensor.byte_len) else {
        return Ok(None);
    };
    let mut bytes = vec![0; len];
    files.read(&tensor.name, 0, &mut bytes)?;
    let floats = bytes.as_chunks().0.iter();
    Ok(Some(floats.map(|b| f32::from_le_bytes(*b)).collect()))
}

/// Writes an importance matrix that was made from `tokens` tokens of the text `dataset`.
///
/// # Errors
/// [`QuantizeError`]; there is then no new file.
pub fn write_imatrix(
    importance: &Importance,
    dataset: &str,
    (windows, window_len): (u32, u32),
    out: &Path,
    replace: bool,
) -> Result<(), QuantizeError> {
    let datasets: StringArray = [dataset].into_iter().collect();
    let mut writer = Writer::new()
        .pair("general.type", "imatrix")
        .pair("imatrix.datasets", Value::Array(Array::Strings(datasets)))
        .pair("imatrix.chunk_count", windows)
        .pair("imatrix.chunk_size", window_len);
    let mut data: Vec<Vec<u8>> = Vec::new();
    for (name, sums) in importance.iter() {
        let (columns, matrices) = (sums.columns() as u64, sums.counts().len() as u64);
        writer = writer
            .tensor(
                format!("{name}{SUMS}"),
                &[columns, matrices],
                TensorType::F32,
            )
            .tensor(format!("{name}{COUNTS}"), &[1, matrices], TensorType::F32);
        let floats =
            |values: &mut dyn Iterator<Item = f32>| values.flat_map(f32::to_le_bytes).collect();
        data.push(floats(&mut sums.sums().iter().map(|&sum| sum as f32)));
        data.push(floats(&mut sums.counts().iter().map(|&count| count as f32)));
    }
    let bytes = writer.file(&data)?;
    let mut draft = Draft::new(out, bytes.len() as u64, replace)?;
    draft.write(&bytes)?;
    draft.publish()
}
