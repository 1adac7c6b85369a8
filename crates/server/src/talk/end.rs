//! How answers end.

use crate::error::ApiError;
use http::StatusCode;
use ingle_engine::FinishReason;

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The model had said all.
    Stop,
    /// This text came at which it was to stop.
    StopText(String),
    /// It was as long as it may be.
    Length,
    /// Tools are to be called.
    Calls,
}

impl End {
    /// The end of an answer, or the error that it ended in.
    pub fn new(reason: &FinishReason, called: bool) -> Result<Self, ApiError> {
        match reason {
            FinishReason::End(_) | FinishReason::StopToken(_) | FinishReason::Embedded
                if called =>
            {
                Ok(Self::Calls)
            }
            FinishReason::End(_) | FinishReason::StopToken(_) | FinishReason::Embedded => {
                Ok(Self::Stop)
            }
            FinishReason::StopText(text) => Ok(Self::StopText(text.clone())),
            FinishReason::Length => Ok(Self::Length),
            FinishReason::Cancelled => {
                let message = "the answer was cut off: the server is stopping, or nobody read it";
                let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "cancelled", message);
                Err(error.retry_after(5))
            }
            FinishReason::Unreadable(why) => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                Err(ApiError::new(status, "weights_unreadable", why.clone()))
            }
            FinishReason::Failed(why) => Err(ApiError::internal(why.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_has_a_code_and_says_where() {
        let why = "tensor `a` could not be read from b.gguf at byte 7";
        let error = End::new(&FinishReason::Unreadable(why.into()), false).unwrap_err();
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(error.code, Some("weights_unreadable"));
        assert_eq!(error.message, why);
    }
}
