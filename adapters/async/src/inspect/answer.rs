//! Answers with values, and refusals.

use bytes::Bytes;
use hyper::header::{ALLOW, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use super::assets;

/// Why a request is not carried out.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    reason: &'static str,
    allowed: &'static [Method],
}

#[derive(Serialize)]
struct Reason {
    error: &'static str,
}

impl Refused {
    pub(super) const NOT_FOUND: Self = Self::new(StatusCode::NOT_FOUND, "There is no such thing.");

    pub(super) const UNAUTHORIZED: Self =
        Self::new(StatusCode::UNAUTHORIZED, "The token is missing or wrong.");

    pub(super) const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason, allowed: &[] }
    }

    pub(super) const fn method(allowed: &'static [Method]) -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self { status, reason: "This method is not for this.", allowed }
    }

    pub(super) fn into_response(self) -> Response<Bytes> {
        let Self { status, reason, allowed } = self;
        let mut response = json(&Reason { error: reason });
        *response.status_mut() = status;
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        if !allowed.is_empty() {
            let names: Vec<_> = allowed.iter().map(Method::as_str).collect();
            if let Ok(names) = HeaderValue::from_str(&names.join(", ")) {
                response.headers_mut().insert(ALLOW, names);
            }
        }
        response
    }
}

/// Returns an answer with a value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(text) => assets::answer("application/json", text),
        Err(error) => {
            tracing::error!(%error, "an answer of the inspection page cannot be written");
            let mut response =
                assets::answer("application/json", &b"{\"error\":\"cannot be written\"}"[..]);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}
