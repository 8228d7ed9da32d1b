//! HTTP answers as plain data.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::decision::Terms;
use super::handshake::Accept;
use super::head::Head;
use super::refusal::Refusal;
use crate::handshake::SubProtocol;
use crate::names::{self, Names};
use crate::preflight::{self, Metadata, Promise};

/// An HTTP answer. The host adds `Content-Length`, and leaves out the body if the method is `HEAD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers, in order, each once.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body; may be empty.
    pub body: Bytes,
}

/// The headers with which pages of any origin may send the preflight (protocol §4.2).
pub const CORS: [(&str, &str); 2] =
    [("Access-Control-Allow-Origin", "*"), ("Access-Control-Allow-Methods", preflight::METHOD)];

/// What pages may read of a refusal.
const EXPOSED: &str = "Retry-After, webwire-accept-conf";

const PLAIN_TEXT: (&str, Cow<'static, str>) =
    ("Content-Type", Cow::Borrowed("text/plain; charset=utf-8"));

impl Answer {
    /// Returns the answer to the preflight (protocol §4.1). `promise` says what connections begin
    /// with: [`Config::promise`](crate::server::Config::promise).
    pub fn preflight(metadata: &Metadata, promise: Option<Promise>) -> Self {
        let mut headers = vec![
            ("Access-Control-Allow-Origin", "*".into()),
            ("Content-Type", preflight::CONTENT_TYPE.into()),
        ];
        if let Some(promise) = promise {
            headers.push((preflight::ACCEPT_CONF, promise.as_str().into()));
            // Or else browsers hide it from pages of other origins.
            headers.push(("Access-Control-Expose-Headers", preflight::ACCEPT_CONF.into()));
        }
        Self { status: 200, headers, body: metadata.to_body() }
    }

    /// Returns the answer to `OPTIONS`, to which the application adds headers such as [`CORS`]
    /// (protocol §4.2).
    pub const fn options() -> Self {
        Self { status: 200, headers: Vec::new(), body: Bytes::new() }
    }

    /// Returns the answer to `OPTIONS` of a client that asks for the names of the handlers, of a server that
    /// lists them (protocol §4.7). The application adds headers to it as to [`options`](Self::options).
    pub fn names(names: &Names) -> Self {
        let headers = vec![("Content-Type", names::CONTENT_TYPE.into())];
        Self { status: 200, headers, body: names.to_body() }
    }

    /// Returns the answer that opens a WebSocket (RFC 6455 section 4.2.2). It agrees on no
    /// extension (protocol §4.3), and on no sub-protocol but `wwr.1` or the one that the application
    /// has [selected](Accept::select) (protocol §10.1).
    pub fn switching(accept: &Accept) -> Self {
        let mut headers = vec![
            ("Upgrade", "websocket".into()),
            ("Connection", "Upgrade".into()),
            ("Sec-WebSocket-Accept", String::from(accept.as_str()).into()),
        ];
        if let Some(agreed) = accept.sub_protocol() {
            headers.push((SubProtocol::HEADER, String::from(agreed).into()));
        }
        Self { status: 101, headers, body: Bytes::new() }
    }

    /// Returns the answer to a refused request. Its text says why, and how to connect where a
    /// person may read it. That to a preflight says whether the server selects `wwr.1`. It has `Connection: close` if
    /// nothing more may follow on the socket, for example behind a body that is not read. Pages that may open
    /// WebSockets may read it, also a
    /// `Retry-After` that the host adds (protocol §4.2).
    pub fn refusal(refusal: Refusal, head: &Head<'_>, terms: &Terms<'_>) -> Self {
        let mut headers = vec![PLAIN_TEXT, ("Vary", "Origin".into())];
        if let Some(page) = terms.origins.page(head) {
            headers.push(("Access-Control-Allow-Origin", String::from(page).into()));
            headers.push(("Access-Control-Expose-Headers", EXPOSED.into()));
        }
        // A client in a browser asks whether an offer of `wwr.1` is worthwhile.
        if refusal == Refusal::NoPreflight {
            let promise = Promise { wwr1: terms.selects_wwr1 };
            headers.push((preflight::ACCEPT_CONF, promise.as_str().into()));
        }
        if refusal.names_version() {
            headers.push(("Sec-WebSocket-Version", "13".into()));
        }
        if refusal == Refusal::MethodNotAllowed {
            let allowed =
                if terms.metadata.is_some() { "GET, OPTIONS, WEBWIRE" } else { "GET, OPTIONS" };
            headers.push(("Allow", allowed.into()));
        }
        let upgrade = refusal.status() == 426;
        if upgrade {
            headers.push(("Upgrade", "websocket".into()));
        }
        match (upgrade, refusal.ends_socket() || head.has_body()) {
            (true, false) => headers.push(("Connection", "Upgrade".into())),
            (true, true) => headers.push(("Connection", "Upgrade, close".into())),
            (false, true) => headers.push(("Connection", "close".into())),
            (false, false) => {}
        }
        Self { status: refusal.status(), headers, body: text(refusal, head).into() }
    }
}

/// Returns the text of a refusal.
fn text(refusal: Refusal, head: &Head<'_>) -> String {
    let mut text = format!("{}\n", refusal.reason());
    if !refusal.advice().is_empty() {
        text.push_str(refusal.advice());
        text.push('\n');
    }
    if refusal.explains_how_to_connect() {
        // The host contains no character that could turn the text into anything else in a browser.
        let authority = head.authority();
        let host = authority.as_ref().map_or("HOST:PORT", |authority| authority.as_str());
        let scheme = if refusal == Refusal::NoTls { "wss" } else { "ws" };
        let what = if refusal == Refusal::NoWebSocket { "" } else { "This is a WebWire server. " };
        text.push_str(&format!(
            "\n{what}Connect to it with a WebWire client, for example:\n    \
             wwr request {scheme}://{host}/ echo hello\n"
        ));
    }
    text
}
