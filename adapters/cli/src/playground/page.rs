//! The page of the playground: what a browser gets at `/`.
//!
//! It answers ordinary requests only, before which the server has refused everything that breaks HTTP.
//! Preflights, `OPTIONS` and WebSockets do not come here, whatever their path.

use core::hash::{Hash as _, Hasher as _};
use std::hash::DefaultHasher;
use std::io;
use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use wwr_smol::http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, UPGRADE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use wwr_smol::http::request::Parts;
use wwr_smol::http::{Method, StatusCode};
use wwr_smol::inspect::Hosts;
use wwr_smol::server::Response;

use super::client::Client;
use super::{REQUESTS, SIGNALS, frames};

/// What the page may do: load its own files, run its WebAssembly, and speak with its own server. Nothing
/// becomes markup or script.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
                      img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What all answers have. A socket has one answer, so that none is kept that could serve a client.
const HEADERS: [(HeaderName, &str); 7] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (X_FRAME_OPTIONS, "DENY"),
    (CONNECTION, "close"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

const TEXT: &str = "text/plain; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The name of the page itself, which is no path: its addresses are relative to `/`.
const PAGE: &str = "the page";

/// Name, type and text of each file.
const FILES: [(&str, &str, &str); 10] = [
    (PAGE, "text/html; charset=utf-8", include_str!("../../playground/index.html")),
    ("style.css", "text/css; charset=utf-8", include_str!("../../playground/style.css")),
    ("icon.svg", "image/svg+xml", include_str!("../../playground/icon.svg")),
    ("main.js", SCRIPT, include_str!("../../playground/main.js")),
    ("connection.js", SCRIPT, include_str!("../../playground/connection.js")),
    ("frames.js", SCRIPT, include_str!("../../playground/frames.js")),
    ("network.js", SCRIPT, include_str!("../../playground/network.js")),
    ("payload.js", SCRIPT, include_str!("../../playground/payload.js")),
    ("send.js", SCRIPT, include_str!("../../playground/send.js")),
    ("show.js", SCRIPT, include_str!("../../playground/show.js")),
];

/// The page, and by which names it may be reached.
#[derive(Debug)]
pub(crate) struct Page {
    client: Option<Client>,
    /// All names if there are none.
    hosts: Option<Hosts>,
}

/// What the page has to know of its server.
#[derive(Serialize)]
struct About {
    version: &'static str,
    /// Whether there is a client for browsers.
    client: bool,
    requests: &'static [&'static str],
    signals: &'static [&'static str],
}

impl Page {
    /// Returns the page, with the client in this directory or the one in the command. Without `hosts`, it may be
    /// reached by any name.
    pub(crate) fn new(directory: Option<&Path>, hosts: Option<Hosts>) -> io::Result<Self> {
        let client = match directory {
            Some(directory) => Some(Client::read(directory)?),
            None => Client::embedded(),
        };
        Ok(Self { client, hosts })
    }

    /// Answers a request that is for the page.
    pub(super) async fn answer(&self, request: &Parts) -> Option<Response> {
        let path = request.uri.path();
        let name = match path.strip_prefix("/playground/") {
            Some(name) => name,
            None if path == "/" => PAGE,
            None => return None,
        };
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let decodes = name == "decode";
        let is_for_page = reads || (decodes && request.method == Method::POST);
        if !is_for_page || request.headers.contains_key(UPGRADE) {
            return None;
        }
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.allow_request(request)) {
            let text = "This host is not allowed here; wwr serve --playground-host allows it.\n";
            return Some(answer(StatusCode::MISDIRECTED_REQUEST, TEXT, text));
        }
        if decodes && reads {
            let text = "Messages are sent with POST, as lines of hexadecimal digits.\n";
            let mut answer = answer(StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return Some(answer);
        }
        if decodes {
            let (status, text) = frames::answer(request).await;
            return Some(answer(status, TEXT, text));
        }
        if name == "about.json" {
            return Some(self.about());
        }
        Some(match self.file(name) {
            Some((kind, content)) => cached(request, kind, content),
            None => answer(StatusCode::NOT_FOUND, TEXT, "There is no such file.\n"),
        })
    }

    /// Returns a file with its type.
    fn file(&self, name: &str) -> Option<(&'static str, Bytes)> {
        if let Some((_, kind, text)) = FILES.into_iter().find(|(known, ..)| *known == name) {
            return Some((kind, Bytes::from_static(text.as_bytes())));
        }
        let name = name.strip_prefix("client/")?;
        let kind = if name.ends_with(".wasm") { "application/wasm" } else { SCRIPT };
        Some((kind, self.client.as_ref()?.file(name)?))
    }

    fn about(&self) -> Response {
        let version = env!("CARGO_PKG_VERSION");
        let client = self.client.is_some();
        let about = About { version, client, requests: &REQUESTS, signals: &SIGNALS };
        match serde_json::to_vec(&about) {
            Ok(text) => answer(StatusCode::OK, "application/json", text),
            Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, ""),
        }
    }
}

/// Returns a file, unless the browser has it. It asks each time: another version of the command may have another.
fn cached(request: &Parts, kind: &'static str, content: Bytes) -> Response {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let tag = HeaderValue::from_str(&format!("\"{:016x}\"", hasher.finish()));
    let is_known = matches!((&tag, request.headers.get(IF_NONE_MATCH)), (Ok(tag), Some(known)) if tag == known);
    let mut answer = if is_known {
        answer(StatusCode::NOT_MODIFIED, kind, Bytes::new())
    } else {
        answer(StatusCode::OK, kind, content)
    };
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = tag {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}

fn answer(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Response {
    let mut answer = Response::new(content.into().into());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_make_no_markup_of_texts_and_load_nothing_from_elsewhere() {
        for (name, _, text) in FILES {
            for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
                assert!(!text.contains(way), "{name} has {way}");
            }
            let addresses = text.match_indices("://").map(|(at, _)| &text[at..]);
            let foreign: Vec<_> = addresses
                .filter(|rest| !rest.starts_with("://www.w3.org/") && !rest.starts_with("://${"))
                .collect();
            assert!(foreign.is_empty(), "{name}: {foreign:?}");
            for inline in ["style=\"", "onclick", "<script>"] {
                assert!(!text.contains(inline), "{name} has {inline}, which its policy forbids");
            }
        }
    }
}
