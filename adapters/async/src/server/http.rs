//! Conversions between requests and answers of hyper and those of the gate.

use std::borrow::Cow;

use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{StatusCode, Uri, Version};
use wwr::server::gate::{Answer, Head, HttpVersion};

use super::handler::Response;

/// Returns the target of a request as it was sent.
pub(super) fn target(uri: &Uri) -> Cow<'_, str> {
    match uri.path_and_query() {
        Some(target) if uri.authority().is_none() => target.as_str().into(),
        _ => uri.to_string().into(),
    }
}

/// Returns the head of a request with that [`target`].
pub(super) fn head<'a>(request: &'a Parts, target: &'a str) -> Head<'a> {
    let version = match request.version {
        Version::HTTP_09 | Version::HTTP_10 => HttpVersion::Http10,
        _ => HttpVersion::Http11,
    };
    Head::new(request.method.as_str(), target, version, headers(&request.headers))
}

/// Returns names and values.
pub(super) fn headers(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// Converts an answer of the gate.
pub(super) fn response(answer: Answer) -> Response {
    let mut response = Response::new(Full::new(answer.body));
    match StatusCode::from_u16(answer.status) {
        Ok(status) => *response.status_mut() = status,
        Err(_) => return empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = match value {
            Cow::Borrowed(value) => HeaderValue::from_str(value),
            Cow::Owned(value) => HeaderValue::try_from(value),
        };
        if let (Ok(name), Ok(value)) = (name, value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Returns an answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}
