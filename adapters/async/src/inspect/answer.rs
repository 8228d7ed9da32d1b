//! Answers, with the headers that all of them have.

use bytes::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

/// What the page may do: load its own files and ask its own server. Nothing becomes markup or script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (CACHE_CONTROL, "no-store"),
    (X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

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

/// Returns an answer with this content.
pub(super) fn content(kind: &'static str, content: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(content.into());
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Returns an answer with a value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(text) => content("application/json", text),
        Err(error) => {
            tracing::error!(%error, "an answer of the inspection page cannot be written");
            let mut response =
                content("application/json", &b"{\"error\":\"cannot be written\"}"[..]);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            response
        }
    }
}
