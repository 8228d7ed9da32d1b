//! The trait that an application implements.

use std::future::Future;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use wwr::names::Names;
use wwr::server::{RequestError, gate};
use wwr::{Content, Payload};

use super::change::SessionChange;
use super::connection::Connection;
use super::context::ConnectionOptions;

/// An HTTP answer of the server.
pub type Response = hyper::Response<Full<Bytes>>;

/// An application: handles connections, requests and signals.
///
/// Methods of different connections run at the same time. On one connection messages are handled in
/// order and one at a time, unless a higher concurrency is set. A handler that panics fails its own
/// request (the client gets an internal error) and nothing else. A hook that panics just ends. The
/// log names the handler or hook, the connection and request, and the message of the panic.
///
/// What a handler sends is written while it awaits something. A handler that sends many signals
/// waits for [`Connection::ready`] before each.
///
/// A handler whose client has gone runs on, at most for the server's drain timeout. Its reply is
/// dropped. Handlers of one connection run in the task of the connection: a handler that blocks its
/// thread holds up everything else on that thread.
///
/// ```
/// use wwr_async::server::RequestError;
/// use wwr_async::{Content, Payload};
/// use wwr_async::server::{Connection, Handler};
///
/// struct Greeter;
///
/// impl Handler for Greeter {
///     async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
///         match request.name() {
///             b"greet" => {
///                 let name = request.text().map_err(|_| RequestError::failed("TEXT", "no text"))?;
///                 Ok(Payload::utf8(format!("hello {name}")))
///             }
///             _ => Err(RequestError::failed("UNKNOWN_NAME", "try greet")),
///         }
///     }
/// }
/// ```
pub trait Handler: Send + Sync + 'static {
    /// Handles a request of a client. The result is the reply.
    fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> impl Future<Output = Result<Payload, RequestError>> + Send;

    /// Handles a signal of a client. By default ignored.
    fn signal(&self, connection: &Connection, signal: Content) -> impl Future<Output = ()> + Send {
        let _ = (connection, signal);
        async {}
    }

    /// Called when a client has connected. No message is handled before it has ended, and what it
    /// sends precedes everything else. If it closes the connection, it still runs to its end.
    ///
    /// It may [ask](Connection::ask) the client, with a time limit of seconds: a client that has stored up
    /// more requests than may wait for a handler (`max_queued_messages`) sends them first, and its answer is
    /// not read before the limit has passed.
    ///
    /// A client of `wwr.1` has not stated yet what it reads. Signals and sessions have 8192 bytes at
    /// most until its first message states it (protocol §10.2).
    fn connected(&self, connection: &Connection) -> impl Future<Output = ()> + Send {
        let _ = connection;
        async {}
    }

    /// Called when the session of a connection has changed: it was created, restored, updated or given
    /// another key (by this connection or another one), closed (by the client or the application), or lost
    /// with the connection. What the application gives to the
    /// connection because of its session, it gives and takes away here.
    ///
    /// Called in order, once [`connected`](Self::connected) has ended and before
    /// [`disconnected`](Self::disconnected), and never twice at a time for one connection. No further
    /// message of the client is handled until it has ended, and as a rule nothing is read from it. Handlers that
    /// run already run on, and what caused the change does not wait either: a call such as
    /// [`Connection::create_session`], which this hook can make as well, or the reply to the client.
    ///
    /// What the application does meanwhile does not wait for the hook. So the change is what happened then, and
    /// [`Connection::session`] may be newer, or another one, as soon as the hook has waited for something. What
    /// it gives to the connection afterwards, it gives by [`Connection::join_for_session`], or takes back in the
    /// next call, which follows in any case.
    fn session_changed(
        &self,
        connection: &Connection,
        change: SessionChange,
    ) -> impl Future<Output = ()> + Send {
        let _ = (connection, change);
        async {}
    }

    /// Called when a connection has ended. Called once for every [`connected`](Self::connected).
    /// [`Connection::ended`] says why the connection has ended, and [`Connection::session`] which
    /// session it held then. If it has ended just while that was stored for the first time, no
    /// [`session_changed`](Self::session_changed) has told of it. The session is detached already: this connection does not count among
    /// its holders any more, and another one may have restored it. [`Connection::groups`] says which groups
    /// it was in, those of its session among them. It has left them, so [signals](super::Group::signal) to
    /// them go to the others only. The same is so in [`session_changed`](Self::session_changed) with
    /// [`Lost`](SessionChange::Lost). With [`Closed`](SessionChange::Closed), the groups joined by
    /// [`Connection::join_for_session`] are gone already and not among them.
    fn disconnected(&self, connection: &Connection) -> impl Future<Output = ()> + Send {
        let _ = connection;
        async {}
    }

    /// Called for a request to open a WebSocket, and for every other request except `OPTIONS` and
    /// the preflight, if the server answers that. An `Err` is sent as the answer, and no connection
    /// is opened. So an application can refuse clients, or answer ordinary requests. With `Ok`, a
    /// request that is not a handshake gets the usual refusal.
    ///
    /// The [`ConnectionOptions`] hand on what the handlers of the connection need to know, such as the
    /// user of a cookie or a token, and say what the answer to the handshake has beyond what it needs.
    ///
    /// Before the call, the server has checked the `Origin` of handshakes and the head (one `Host`,
    /// one length). A handshake that is refused here leaves a line in the log at the level `debug`.
    fn before_upgrade(
        &self,
        request: &Parts,
    ) -> impl Future<Output = Result<ConnectionOptions, Box<Response>>> + Send {
        let _ = request;
        async { Ok(ConnectionOptions::default()) }
    }

    /// Returns the names of the handlers, for clients that ask what the server can do, such as `wwr probe`.
    /// Everybody that can reach the server may ask, whatever its `Origin` and whatever
    /// [`before_upgrade`](Self::before_upgrade) would say. By default there is no such list, and the answer is
    /// that of [`options`](Self::options) alone. [`Router::list_names`](super::Router::list_names) makes one.
    ///
    /// Called once, when the server is made. The list is not shown if this panics, or if it is longer than
    /// clients [read](wwr::names::MAX_BODY); the log says so.
    fn listed_names(&self) -> Option<Names> {
        None
    }

    /// Called when a browser asks with `OPTIONS` what it may do. Adds headers to an empty `200`
    /// answer. By default, these let pages of any origin send the preflight of protocols 1.4 and
    /// 1.5.
    fn options(&self, request: &Parts, headers: &mut HeaderMap) -> impl Future<Output = ()> + Send {
        let _ = request;
        allow_preflight(headers);
        async {}
    }
}

/// Lets pages of any origin send the preflight.
pub(super) fn allow_preflight(headers: &mut HeaderMap) {
    for (name, value) in gate::CORS {
        if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
