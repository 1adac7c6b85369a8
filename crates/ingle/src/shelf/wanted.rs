//! What went wrong with a model that a request wanted, as the request is told.

use super::Status;
use ingle::engine::PlanError;
use ingle::store::PlaceError;
use ingle_server::ApiError;

/// A model does not fit beside those that are in use.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoRoom(pub String);

/// The answer to who wanted a model that could not be loaded.
pub fn refusal(error: &anyhow::Error) -> ApiError {
    let no_room = |message: String| {
        let error = ApiError::new(Status::SERVICE_UNAVAILABLE, "model_does_not_fit", message);
        error.retry_after(10)
    };
    if let Some(NoRoom(message)) = error.downcast_ref() {
        return no_room(message.clone());
    }
    if let Some(place) = error.downcast_ref::<PlaceError>() {
        return ApiError {
            param: Some("model".into()),
            ..ApiError::new(Status::NOT_FOUND, "model_not_found", place.to_string())
        };
    }
    let plan = |error: &PlanError| {
        matches!(
            error,
            PlanError::Weights { .. } | PlanError::Budget { .. } | PlanError::Context { .. }
        )
    };
    match error.downcast_ref::<ingle::Error>() {
        Some(ingle::Error::Plan(error)) if plan(error) => no_room(error.to_string()),
        // The message names files of this machine: those who run it read it in the log.
        _ => {
            crate::out::note(format!("a model could not be loaded: {error:#}"));
            let message = "the model's file cannot be loaded; the server's log says why";
            ApiError::new(Status::INTERNAL_SERVER_ERROR, "model_not_loaded", message)
        }
    }
}
