//! The method `CONNECT` of HTTP (RFC 9110 §9.3.6).

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{HOST, HeaderValue, PROXY_AUTHORIZATION};
use hyper::{Method, Request, StatusCode, Uri};

use super::Destination;
use super::proxy::LoginRefused;
use crate::client::http::{Failure, Wanted, ask};
use crate::client::refusal::Refusal;
use crate::runtime::Runtime;
use crate::socket::{Socket, Transport};

/// Asks a proxy to connect. It resolves the name.
pub(super) async fn connect<R: Runtime>(
    runtime: &R,
    stream: R::Stream,
    to: &Destination,
    credentials: Option<(&str, &str)>,
) -> io::Result<R::Stream> {
    let request = request(to, credentials).map_err(io::Error::other)?;
    let socket = Socket::new(Transport::native(stream));
    let answered = ask(runtime, socket, request, |_| Wanted::Text).await.map_err(explain)?;
    let status = answered.head.status;
    if !status.is_success() {
        let refusal = Refusal::new(&answered.head, &answered.body).text();
        let what = match (status, credentials) {
            (StatusCode::PROXY_AUTHENTICATION_REQUIRED, None) => {
                "it wants a user name and a password; write them in its URL"
            }
            (StatusCode::PROXY_AUTHENTICATION_REQUIRED, Some(_)) => {
                "it refuses the user name or the password, or wants something other than Basic \
                 authentication"
            }
            _ => "it does not connect to the server",
        };
        let text = format!("{what} (status {refusal})");
        let is_login = status == StatusCode::PROXY_AUTHENTICATION_REQUIRED;
        return Err(if is_login { LoginRefused::error(text) } else { io::Error::other(text) });
    }
    match answered.socket.into_native() {
        // The server waits for the client to begin.
        Some(stream) if answered.beyond.is_empty() => Ok(stream),
        _ => Err(io::Error::other("it sent more than an answer")),
    }
}

fn request(
    to: &Destination,
    credentials: Option<(&str, &str)>,
) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let (host, port) = (to.host(), to.port());
    let authority =
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = Request::new(Empty::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = Uri::builder().authority(&*authority).build()?;
    request.headers_mut().insert(HOST, HeaderValue::try_from(authority)?);
    if let Some((user, password)) = credentials {
        let pair = STANDARD.encode(format!("{user}:{password}"));
        let mut value = HeaderValue::try_from(format!("Basic {pair}"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(PROXY_AUTHORIZATION, value);
    }
    Ok(request)
}

/// Says what went wrong with the proxy in place of a server.
fn explain(failure: Failure) -> io::Error {
    let text = match failure {
        Failure::Io(error) => return error,
        Failure::NotHttp(shown) => {
            format!(
                "its answer is not HTTP/1.1; it begins with \"{shown}\"; is it a socks5:// proxy?"
            )
        }
        Failure::SpeaksTls => "it speaks TLS, which this client does not with proxies".into(),
        Failure::Ended => "it ended the connection before it answered".into(),
        Failure::HeadTooLarge => "the head of its answer is too long".into(),
        other => other.to_string(),
    };
    io::Error::other(text)
}
