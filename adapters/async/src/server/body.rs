//! Bodies of ordinary requests, for applications that answer such.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};

/// The body of an ordinary request, in the extensions of what
/// [`Handler::before_upgrade`](super::Handler::before_upgrade) gets. Only a [`Server`](super::Server) puts
/// it there, and only if there is a body; a [`Service`](super::Service) leaves bodies to the HTTP server in
/// which it is mounted. It is not read unless the application reads it. Clones share it.
///
/// ```
/// use wwr_async::http::{Response, StatusCode, request::Parts};
/// use wwr_async::server::RequestBody;
///
/// async fn upper_case(request: &Parts) -> Response<String> {
///     let mut answer = Response::new(String::new());
///     let Some(body) = request.extensions.get::<RequestBody>() else { return answer };
///     match body.read(64 * 1024).await {
///         Ok(bytes) => *answer.body_mut() = String::from_utf8_lossy(&bytes).to_uppercase(),
///         Err(error) if error.is_too_long() => *answer.status_mut() = StatusCode::PAYLOAD_TOO_LARGE,
///         Err(_) => *answer.status_mut() = StatusCode::BAD_REQUEST,
///     }
///     answer
/// }
/// ```
#[derive(Clone)]
pub struct RequestBody(Arc<Mutex<Option<Incoming>>>);

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.reason)]
pub struct BodyError {
    reason: Reason,
    source: Option<hyper::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("the body is longer than it may be")]
    TooLong,
    #[error("the body was read already")]
    Read,
    #[error("the body did not arrive")]
    Lost,
}

impl RequestBody {
    /// Returns what a request has as its body, if it has one.
    pub(super) fn of(body: Incoming) -> Option<Self> {
        (!body.is_end_stream()).then(|| Self(Arc::new(Mutex::new(Some(body)))))
    }

    /// Reads it, once, up to this many bytes. How long that may take is bounded by
    /// [`Limits::handshake_timeout`](super::Limits::handshake_timeout): then the socket is closed.
    ///
    /// # Errors
    ///
    /// If it is longer, if it was read already, or if the socket ends before it. The rest is not read.
    pub async fn read(&self, most: usize) -> Result<Bytes, BodyError> {
        let failed = |reason, source| BodyError { reason, source };
        let body = self.take().ok_or_else(|| failed(Reason::Read, None))?;
        if body.size_hint().lower() > most as u64 {
            return Err(failed(Reason::TooLong, None));
        }
        match Limited::new(body, most).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(failed(Reason::TooLong, None)),
            Err(error) => Err(failed(Reason::Lost, error.downcast().ok().map(|error| *error))),
        }
    }

    /// Takes the body, so that nobody reads it any more.
    pub(super) fn take(&self) -> Option<Incoming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl BodyError {
    /// Returns whether the body is longer than it may be.
    pub fn is_too_long(&self) -> bool {
        self.reason == Reason::TooLong
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}
