//! The inspection page: a web page that shows what a server does, for its operators.
//!
//! It shows the connections, sessions and groups of a server with their rates, which clients are slow, and
//! the last messages of a connection that somebody has chosen; and it can close connections and sessions.
//! An [`Inspector`] answers the requests of the page. A [`Page`] is a small HTTP server for it; an
//! application with an HTTP server of its own can mount the inspector there, behind its own authentication.
//!
//! ```
//! use wwr_async::Runtime;
//! use wwr_async::inspect::{Inspector, Page, Token};
//! use wwr_async::server::ServerHandle;
//!
//! async fn inspect(runtime: impl Runtime, server: ServerHandle) -> std::io::Result<()> {
//!     let token = Token::random().map_err(std::io::Error::other)?;
//!     let page = Page::bind(runtime, "127.0.0.1:9200").await?;
//!     for url in page.urls(&token) {
//!         println!("inspect at {url}");
//!     }
//!     // Serves until the server has stopped.
//!     page.serve(Inspector::new(server, token)).await;
//!     Ok(())
//! }
//! ```
//!
//! # What it is safe against
//!
//! Everything but the empty page needs the token, as `Authorization: Bearer`; there are no cookies, so pages
//! of other sites cannot ask in the name of the operator. The host of a request must be an address, `localhost`
//! or a [name that was allowed](Inspector::allow_host), so that no name of an attacker can stand for the
//! page's address (DNS rebinding). The page loads nothing from elsewhere and runs no script but its own.
//! Session keys are not shown, also not where the messages contain them as such or where a payload contains
//! the key of the connection's session. Everything else that clients and applications send **is** shown to
//! somebody with the token, so the token is as secret as the traffic. The [`Page`] speaks HTTP without TLS:
//! bind it to a loopback address, and reach it from elsewhere through a tunnel or a proxy with TLS.

mod answer;
mod api;
pub mod assets;
mod files;
mod hosts;
mod message;
mod pretty;
mod query;
mod row;
mod serve;
mod token;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use crate::panics::ShortName;
use crate::server::ServerHandle;
use crate::server::throttle::Throttle;
use answer::Refused;
use query::Query;
use watch::Watches;

pub use hosts::Hosts;
pub use serve::{Page, serve_pages};
pub use token::{InvalidToken, Token};

/// How long the answer to a wrong token takes.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);

/// The header that requests which change something must have. No page of another site can send it.
const INTENT: &str = "wwr-inspect";

/// Answers the requests of the inspection page of one server. Cheap to clone.
#[derive(Clone)]
pub struct Inspector {
    shared: Arc<Shared>,
}

struct Shared {
    server: ServerHandle,
    access: Access,
    watches: Watches,
    wrong_tokens: Throttle,
    wrong_hosts: Throttle,
}

#[derive(Clone)]
enum Access {
    Token {
        token: Token,
        hosts: Hosts,
    },
    /// The application lets only those through that may see it.
    Authenticated,
}

impl Inspector {
    /// Shows a server to those that have the token.
    pub fn new(server: ServerHandle, token: Token) -> Self {
        Self::with(server, Access::Token { token, hosts: Hosts::new() })
    }

    /// Shows a server to everybody whose requests reach [`respond`](Self::respond): **the application has to
    /// authenticate them**. Requests that change something must have the header `wwr-inspect`, which the page
    /// sends and pages of other sites cannot, so cookies are fine for that.
    pub fn behind_authentication(server: ServerHandle) -> Self {
        Self::with(server, Access::Authenticated)
    }

    fn with(server: ServerHandle, access: Access) -> Self {
        let (wrong_tokens, wrong_hosts) = (Throttle::default(), Throttle::default());
        let watches = Watches::default();
        Self { shared: Arc::new(Shared { server, access, watches, wrong_tokens, wrong_hosts }) }
    }

    /// Allows a name by which the page is reached, such as `inspect.example.com`, besides addresses and
    /// `localhost` ([`Hosts`]). The port does not matter. Does nothing behind authentication of the application, which knows its own
    /// names.
    #[must_use]
    pub fn allow_host(self, name: &str) -> Self {
        let mut access = self.shared.access.clone();
        if let Access::Token { hosts, .. } = &mut access {
            *hosts = std::mem::take(hosts).allow(name);
        }
        Self::with(self.shared.server.clone(), access)
    }

    /// Answers a request of any version of HTTP. `path` is the rest behind the place where the page is mounted,
    /// with its query: `/` for the page itself, whose address must end with a `/`. Requests have no bodies; one that has a body is
    /// answered without reading it. A wrong token is answered after a second.
    ///
    /// The answer may take some milliseconds of the thread for servers with tens of thousands of
    /// connections, in portions between which other tasks run.
    pub async fn respond(&self, request: &Parts, path: &str) -> Response<Bytes> {
        let answer = self.try_respond(request, path).await;
        let mut response = answer.unwrap_or_else(Refused::into_response);
        if request.method == Method::HEAD {
            *response.body_mut() = Bytes::new();
        }
        response
    }

    async fn try_respond(&self, request: &Parts, path: &str) -> Result<Response<Bytes>, Refused> {
        let shared = &*self.shared;
        shared.check_host(request)?;
        let Parts { method, headers, .. } = request;
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let Some(path) = path.strip_prefix("/api/") else {
            let file = files::find(path).ok_or(Refused::NOT_FOUND)?;
            allow(method, &[Method::GET, Method::HEAD])?;
            return Ok(assets::file(request, file.kind, file.text));
        };
        shared.check_token(headers).await?;
        let query = Query::parse(query)?;
        let (path, changes) = match path.strip_suffix("/close") {
            Some(path) => (path, true),
            None => (path, false),
        };
        if changes {
            allow(method, &[Method::POST])?;
            if !headers.contains_key(INTENT) {
                return Err(Refused::new(
                    StatusCode::FORBIDDEN,
                    "The header wwr-inspect is missing.",
                ));
            }
            return api::close(shared, path, &query).await;
        }
        allow(method, &[Method::GET, Method::HEAD])?;
        api::show(shared, path, &query).await
    }
}

impl Shared {
    /// Refuses names that an attacker may have given to the page's address.
    fn check_host(&self, request: &Parts) -> Result<(), Refused> {
        let Access::Token { hosts, .. } = &self.access else { return Ok(()) };
        if hosts.allow_request(request) {
            return Ok(());
        }
        if let Some(requests) = self.wrong_hosts.count(self.server.now()) {
            // Pages of any site may ask, by a name of their own for this address.
            let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
            let header = request.headers.get(HOST).map(HeaderValue::as_bytes);
            let host = ShortName::new(authority.or(header).unwrap_or_default());
            tracing::warn!(
                requests, %host,
                "the inspection page is not for this host; Inspector::allow_host allows it"
            );
        }
        let text = "This host is not allowed here; wwr serve --inspect-host or Inspector::allow_host allows it.";
        Err(Refused::new(StatusCode::MISDIRECTED_REQUEST, text))
    }

    /// Refuses requests without the token.
    async fn check_token(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let Access::Token { token, .. } = &self.access else { return Ok(()) };
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let Some(first) = given.next().filter(|_| given.next().is_none()) else {
            return Err(Refused::UNAUTHORIZED);
        };
        if bearer(first).is_some_and(|given| token.is(given)) {
            return Ok(());
        }
        if let Some(attempts) = self.wrong_tokens.count(self.server.now()) {
            tracing::warn!(attempts, "wrong tokens for the inspection page");
        }
        self.server.sleep(WRONG_TOKEN_DELAY).await;
        Err(Refused::UNAUTHORIZED)
    }
}

/// Returns the token in a header `Authorization`.
fn bearer(header: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = header.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

fn allow(method: &Method, allowed: &'static [Method]) -> Result<(), Refused> {
    if allowed.contains(method) { Ok(()) } else { Err(Refused::method(allowed)) }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("server", &self.shared.server).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_the_token_may_be_written_in_any_case() {
        let token =
            |header: &'static str| bearer(&HeaderValue::from_static(header)).map(<[u8]>::to_vec);
        assert_eq!(token("Bearer abc").unwrap(), b"abc");
        assert_eq!(token("bearer abc").unwrap(), b"abc");
        assert_eq!(token("Basic abc"), None);
        assert_eq!(token("Bearer"), None);
    }
}
