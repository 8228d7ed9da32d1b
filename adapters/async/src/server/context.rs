//! What an application knows about a connection before it exists.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName};
use hyper::http::Extensions;
use hyper::http::request::Parts;
use wwr::server::gate;

use super::http;

/// What the application decides about a connection in
/// [`before_upgrade`](super::Handler::before_upgrade): how it differs from the settings of the server,
/// what the answer to the handshake says, and what its handlers find.
///
/// ```
/// use wwr_async::http::header::{HeaderValue, SET_COOKIE};
/// use wwr_async::http::request::Parts;
/// use wwr_async::server::{
///     Connection, ConnectionOptions, Handler, RequestError, Response, offered_sub_protocols,
/// };
/// use wwr_async::{Content, Payload};
///
/// struct App;
///
/// /// The user that a token stands for.
/// struct User(String);
///
/// /// Returns the user of a token. A client may send anything: look the token up here, in a database,
/// /// or verify its signature.
/// fn user_of(token: &str) -> Option<User> {
///     (token == "1f9c0b62d7e84a35").then(|| User("ada".to_owned()))
/// }
///
/// impl Handler for App {
///     async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
///         let mut options = ConnectionOptions::default();
///         // A page has no other way to send a token: `new WebSocket(url, ["token." + token])`.
///         for offered in offered_sub_protocols(request) {
///             if let Some(user) = offered.strip_prefix("token.").and_then(user_of) {
///                 options.insert(user);
///                 options.sub_protocol = Some(offered.to_owned());
///             }
///         }
///         options.headers.append(SET_COOKIE, HeaderValue::from_static("seen=1"));
///         Ok(options)
///     }
///
///     async fn request(&self, from: &Connection, _: Content) -> Result<Payload, RequestError> {
///         let User(name) = from.data().ok_or(RequestError::Internal)?;
///         Ok(Payload::utf8(format!("hello {name}")))
///     }
/// }
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ConnectionOptions {
    /// How many handlers may run at once on this connection; `None` for the server's setting.
    pub concurrency: Option<NonZeroU16>,
    /// Headers that are added to the answer that opens the WebSocket, for example cookies.
    ///
    /// Those of the handshake itself (`Connection`, `Upgrade`, all that begin with `Sec-WebSocket-`)
    /// and those of bodies (`Content-Length`, `Transfer-Encoding`) cannot be set: the client gets a
    /// 500 then, and the log names the header.
    pub headers: HeaderMap,
    /// The sub-protocol of the application that is selected among those that the client
    /// [offers](offered_sub_protocols) (RFC 6455 section 4.2.2). A browser that has offered any fails
    /// the connection if none is selected. One that is not offered cannot be selected: the client
    /// gets a 500 then, and the log says so.
    ///
    /// A connection has one sub-protocol. If the client offers `wwr.1` as well, and the server speaks
    /// it, `wwr.1` is selected in place of this one (protocol §10.1).
    /// [`ConnectionInfo::sub_protocol`](super::ConnectionInfo::sub_protocol) has the result.
    pub sub_protocol: Option<String>,
    /// Headers of the handshake that are kept in
    /// [`ConnectionInfo::headers`](super::ConnectionInfo::headers), in addition to those of
    /// [`Config::kept_headers`](super::Config::kept_headers).
    pub kept_headers: Vec<HeaderName>,
    pub(super) data: Data,
}

impl ConnectionOptions {
    /// Hands a value on to the connection, where [`Connection::data`](super::Connection::data) finds
    /// it by its type. Replaces an earlier value of the same type. The value lives as long as the
    /// connection, or a copy of it.
    pub fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        // The map wants values that can be cloned.
        self.data.0.insert(Arc::new(value));
    }

    /// Returns the value of this type that was [inserted](Self::insert).
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.data.get()
    }
}

/// Shows neither the sub-protocol nor the values of the headers: they may be tokens and cookies.
impl fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionOptions")
            .field("concurrency", &self.concurrency)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("has_sub_protocol", &self.sub_protocol.is_some())
            .field("kept_headers", &self.kept_headers)
            .field("data", &self.data)
            .finish()
    }
}

/// Values of the application, by their types.
#[derive(Clone, Default)]
pub(super) struct Data(Extensions);

impl Data {
    pub(super) fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.get::<Arc<T>>().map(|value| &**value)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Data({} values)", self.0.len())
    }
}

/// Returns the sub-protocols that a client offers, in its order (RFC 6455 section 4.1). Among them may
/// be `wwr.1`, which is the server's own business (protocol §10.1).
pub fn offered_sub_protocols(request: &Parts) -> impl Iterator<Item = &str> {
    gate::offered_sub_protocols(http::headers(&request.headers))
}

/// Returns the headers of a request that have one of these names, with all their values.
pub(super) fn kept<'a>(
    headers: &HeaderMap,
    names: impl IntoIterator<Item = &'a HeaderName>,
) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in names {
        if !kept.contains_key(name) {
            for value in headers.get_all(name) {
                let mut value = value.clone();
                // Cookies and tokens do not belong into logs.
                value.set_sensitive(true);
                kept.append(name, value);
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderValue, SET_COOKIE};
    use wwr::server::gate::Accept;

    use super::*;

    #[test]
    fn tokens_and_cookies_are_not_shown() {
        let mut options = ConnectionOptions::default();
        options.headers.append(SET_COOKIE, HeaderValue::from_static("secret=1"));
        options.sub_protocol = Some("secret.2".into());
        let shown = format!("{options:?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert!(
            shown.contains("set-cookie") && shown.contains("has_sub_protocol: true"),
            "{shown}"
        );

        let mut accept = Accept::of_key(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        accept.select("secret.2", [("sec-websocket-protocol", &b"secret.2"[..])]).unwrap();
        assert_eq!(accept.sub_protocol(), Some("secret.2"));
        let shown = format!("{accept:?}");
        assert!(shown.contains("not shown") && !shown.contains("secret"), "{shown}");
    }
}
