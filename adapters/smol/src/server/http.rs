//! The HTTP side: preflight, CORS, upgrade (protocol §4.1 to §4.3).

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode, Version};
use wwr::preflight::{self, Metadata};

use super::handler::Response;
use super::origin::Origins;

/// What a request is, before the application was asked.
#[derive(Debug)]
pub(super) enum Route {
    /// Nothing for the application; answer this.
    Answer(Response),
    /// The preflight; answer it with this, see [`metadata`].
    Preflight(Metadata),
    /// A browser asks what it may do.
    Options,
    /// Anything else, the preflight of a server that has none included: for the application to accept
    /// or to answer.
    Other {
        /// If it is a WebSocket handshake, the `Sec-WebSocket-Accept` to accept it with; otherwise
        /// the answer if the application has none.
        upgrade: Result<HeaderValue, Box<Response>>,
    },
}

/// Decides about a request in the order of protocol §4.2. `metadata` is what the preflight is
/// answered with; `None` if it is not (protocol §4.5). `refusing` is the state in which everything is
/// answered with 503.
pub(super) fn route(
    request: &Parts,
    metadata: Option<Metadata>,
    origins: &Origins,
    refusing: Option<&'static str>,
) -> Route {
    if let Some(why) = refusing {
        let mut answer = text(StatusCode::SERVICE_UNAVAILABLE, why);
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return Route::Answer(answer);
    }
    match (request.method.as_str(), metadata) {
        ("OPTIONS", _) => Route::Options,
        (preflight::METHOD, Some(metadata)) => Route::Preflight(metadata),
        _ if request.headers.contains_key(UPGRADE) && !origins.allow(&request.headers) => {
            Route::Answer(text(StatusCode::FORBIDDEN, "Origin not allowed\n"))
        }
        _ => Route::Other { upgrade: upgrade(request) },
    }
}

/// The answer to an accepted upgrade.
pub(super) fn switching(accept: HeaderValue) -> Response {
    let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// The answer to the preflight (protocol §4.1).
pub(super) fn metadata(metadata: &Metadata) -> Response {
    let mut answer = Response::new(Full::new(metadata.to_body()));
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(preflight::CONTENT_TYPE));
    answer
}

/// Checks the WebSocket handshake (RFC 6455 §4.2.1), in the order of the reference: who does not ask
/// for an upgrade is told so whatever the method (protocol §4.3).
fn upgrade(request: &Parts) -> Result<HeaderValue, Box<Response>> {
    let headers = &request.headers;
    let asks =
        has_token(headers, &CONNECTION, "upgrade") && has_token(headers, &UPGRADE, "websocket");
    if asks && request.method != Method::GET {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED));
    }
    let version = headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version == "13");
    let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let upgradable = request.version >= Version::HTTP_11;
    let Some(key) = key.filter(|_| asks && version && upgradable) else {
        return Err(refusal(StatusCode::BAD_REQUEST));
    };
    let accept = derive_accept_key(key.as_bytes());
    HeaderValue::try_from(accept).map_err(|_| refusal(StatusCode::BAD_REQUEST))
}

/// Whether the client says that it closes the connection after the answer (RFC 9112 §9.3).
pub(super) fn closes(request: &Parts) -> bool {
    request.version < Version::HTTP_11 || has_token(&request.headers, &CONNECTION, "close")
}

/// Whether a header lists a token, in any case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = values.flat_map(|value| value.split(','));
    tokens.any(|one| one.trim().eq_ignore_ascii_case(token))
}

/// The answer to what is no WebSocket handshake.
fn refusal(status: StatusCode) -> Box<Response> {
    let body = match status {
        StatusCode::METHOD_NOT_ALLOWED => "Method Not Allowed\n",
        _ => "Bad Request\n",
    };
    let mut answer = text(status, body);
    answer.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    Box::new(answer)
}

pub(super) fn text(status: StatusCode, body: &'static str) -> Response {
    let mut answer = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, plain);
    answer
}
