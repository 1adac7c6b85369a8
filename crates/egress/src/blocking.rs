//! The door for code that is not async.

use bytes::Bytes;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{Door, EgressError, Head, Request, Response};

/// A [`Response`] for code that is not async. It owns the small runtime on which it runs.
pub struct BlockingResponse {
    // Dropped first: its end is a row in the log, and its task lives on the runtime.
    response: Response,
    runtime: Background,
}

/// A runtime that does not wait for a name look-up that nobody wants any more.
struct Background(Option<Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Background {
    fn run<T>(
        &self,
        host: impl FnOnce() -> String,
        work: impl Future<Output = Result<T, EgressError>>,
    ) -> Result<T, EgressError> {
        let failed = |reason: &str| EgressError::Runtime {
            host: host(),
            reason: reason.to_owned(),
        };
        if Handle::try_current().is_ok() {
            return Err(failed("a blocking request was made from an async task"));
        }
        match &self.0 {
            Some(runtime) => runtime.block_on(work),
            None => Err(failed("its runtime is gone")),
        }
    }
}

impl Door {
    /// [`Door::send`] for code that is not async. Not to be called from an async task.
    ///
    /// # Errors
    /// As [`Door::send`], and [`EgressError::Runtime`].
    pub fn send_blocking(&self, request: Request) -> Result<BlockingResponse, EgressError> {
        let host = request.permit.origin.host();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| EgressError::Runtime {
            host: host.clone(),
            reason: error.to_string(),
        })?;
        let runtime = Background(Some(runtime));
        let response = runtime.run(|| host, self.send(request))?;
        Ok(BlockingResponse { response, runtime })
    }
}

impl BlockingResponse {
    /// The head.
    #[must_use]
    pub fn head(&self) -> &Head {
        self.response.head()
    }

    /// [`Response::chunk`].
    ///
    /// # Errors
    /// As there.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, EgressError> {
        let host = self.response.head().origin().host();
        self.runtime.run(|| host, self.response.chunk())
    }

    /// [`Response::bytes`].
    ///
    /// # Errors
    /// As there.
    pub fn bytes(&mut self, limit: u64) -> Result<Vec<u8>, EgressError> {
        let host = self.response.head().origin().host();
        self.runtime.run(|| host, self.response.bytes(limit))
    }
}
