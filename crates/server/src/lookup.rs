//! Models by the names that requests use.

use crate::call::Call;
use crate::error::ApiError;
use crate::served::Served;
use std::sync::Arc;

/// What the server calls the model of this name; the only one where there is none.
///
/// # Errors
/// 404 `model_not_found`.
pub(crate) fn id(call: &Call, name: Option<&str>) -> Result<String, ApiError> {
    Ok(call.app.models.find(name)?.id.clone())
}

/// The model of this name.
///
/// # Errors
/// As [`id`].
pub(crate) fn model(call: &Call, name: Option<&str>) -> Result<Arc<Served>, ApiError> {
    call.app.models.find(name).cloned()
}
