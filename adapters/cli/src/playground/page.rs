//! The page of the playground: what a browser gets at `/`.
//!
//! It answers ordinary requests only, before which the server has refused everything that breaks HTTP.
//! Preflights, `OPTIONS` and WebSockets do not come here, whatever their path.

use std::io;
use std::path::Path;

use bytes::Bytes;
use serde::Serialize;
use wwr_smol::http::header::{
    ALLOW, CONNECTION, CONTENT_SECURITY_POLICY, HeaderValue, ORIGIN, UPGRADE,
};
use wwr_smol::http::request::Parts;
use wwr_smol::http::{self, Method, StatusCode};
use wwr_smol::inspect::Hosts;
use wwr_smol::inspect::assets::{self, Asset, CSS, HTML, SCRIPT, SHARED};
use wwr_smol::server::{Origin, Response};

use super::client::Client;
use super::{REQUESTS, SIGNALS, frames};

/// What the page may do beyond what [`assets::answer`] allows: run its WebAssembly.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; \
                      img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const TEXT: &str = "text/plain; charset=utf-8";

/// The name of the page itself, which is no path: its addresses are relative to `/`.
const PAGE: &str = "the page";

const FILES: [Asset; 9] = [
    Asset::new(PAGE, HTML, include_str!("../../playground/index.html")),
    Asset::new("style.css", CSS, include_str!("../../playground/style.css")),
    Asset::new("main.js", SCRIPT, include_str!("../../playground/main.js")),
    Asset::new("connection.js", SCRIPT, include_str!("../../playground/connection.js")),
    Asset::new("frames.js", SCRIPT, include_str!("../../playground/frames.js")),
    Asset::new("network.js", SCRIPT, include_str!("../../playground/network.js")),
    Asset::new("payload.js", SCRIPT, include_str!("../../playground/payload.js")),
    Asset::new("send.js", SCRIPT, include_str!("../../playground/send.js")),
    Asset::new("show.js", SCRIPT, include_str!("../../playground/show.js")),
];

/// By which names a browser may reach the server: a page of another site can have a name of its own stand for any
/// address (DNS rebinding).
#[derive(Debug)]
pub(crate) struct Names {
    /// Those of the server itself.
    pub(crate) hosts: Hosts,
    /// Other pages that may connect, by whatever name.
    pub(crate) origins: Vec<Origin>,
}

impl Names {
    /// Returns whether a request comes from the server's own page and by one of its names, from another page that
    /// may connect, or from no page.
    fn allow_upgrade(&self, request: &Parts) -> bool {
        let Some(origin) = request.headers.get(ORIGIN) else { return true };
        let origin = origin.to_str().ok().and_then(|origin| origin.parse().ok());
        origin.is_some_and(|origin| self.origins.contains(&origin))
            || self.hosts.allow_request(request)
    }
}

/// The page, and by which names it may be reached.
#[derive(Debug)]
pub(crate) struct Page {
    client: Option<Client>,
    /// All names if there are none.
    names: Option<Names>,
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
    /// Returns the page, with the client in this directory or the one in the command. Without `names`, it may be
    /// reached by any name.
    pub(crate) fn new(directory: Option<&Path>, names: Option<Names>) -> io::Result<Self> {
        let client = match directory {
            Some(directory) => Some(Client::read(directory)?),
            None => Client::embedded(),
        };
        Ok(Self { client, names })
    }

    /// Answers a request that is for the page, and refuses WebSockets by names that are not the server's.
    pub(super) async fn answer(&self, request: &Parts) -> Option<Response> {
        if request.headers.contains_key(UPGRADE) {
            let allowed = self.names.as_ref().is_none_or(|names| names.allow_upgrade(request));
            return (!allowed).then(wrong_host);
        }
        let path = request.uri.path();
        let name = match path.strip_prefix("/playground/") {
            Some(name) => name,
            None if path == "/" => PAGE,
            None => return None,
        };
        let reads = matches!(request.method, Method::GET | Method::HEAD);
        let decodes = name == "decode";
        let is_for_page = reads || (decodes && request.method == Method::POST);
        if !is_for_page {
            return None;
        }
        if self.names.as_ref().is_some_and(|names| !names.hosts.allow_request(request)) {
            return Some(wrong_host());
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
            Some((kind, content)) => of_page(assets::file(request, kind, content)),
            None => answer(StatusCode::NOT_FOUND, TEXT, "There is no such file.\n"),
        })
    }

    /// Returns a file with its type.
    fn file(&self, name: &str) -> Option<(&'static str, Bytes)> {
        let mut files = FILES.into_iter().chain(SHARED);
        if let Some(file) = files.find(|file| file.name == name) {
            return Some((file.kind, Bytes::from_static(file.text.as_bytes())));
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

fn wrong_host() -> Response {
    let text = "This host is not allowed here; wwr serve --playground-host allows it.\n";
    answer(StatusCode::MISDIRECTED_REQUEST, TEXT, text)
}

fn answer(status: StatusCode, kind: &'static str, content: impl Into<Bytes>) -> Response {
    let mut answer = of_page(assets::answer(kind, content));
    *answer.status_mut() = status;
    answer
}

/// Adds what answers of this page have. A socket has one answer, so that none is kept that could serve a client.
fn of_page(answer: http::Response<Bytes>) -> Response {
    let mut answer = answer.map(Into::into);
    let headers = answer.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_make_no_markup_of_texts_and_load_nothing_from_elsewhere() {
        for Asset { name, text, .. } in FILES {
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
