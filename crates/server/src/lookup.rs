//! Models by the names that requests use.

use crate::call::Call;
use crate::error::ApiError;
use crate::served::Served;
use std::sync::Arc;

/// What the server calls the model of this name; the usual one where there is none. Nothing is loaded.
///
/// # Errors
/// 404 `model_not_found`; 403 `model_not_allowed`.
pub(crate) fn id(call: &Call, name: Option<&str>) -> Result<String, ApiError> {
    call.model_id(name)
}

/// The model of this name, on a thread that may wait until it is loaded.
///
/// # Errors
/// As [`Call::model`].
pub(crate) fn model(call: &Call, name: Option<&str>) -> Result<Arc<Served>, ApiError> {
    call.model_blocking(name)
}
