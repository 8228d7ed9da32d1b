//! What an application implements.

use std::future::Future;
use std::num::NonZeroU16;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use wwr::server::{RequestError, gate};
use wwr::{Content, Payload};

use super::connection::Connection;

/// An HTTP answer of the server.
pub type Response = hyper::Response<Full<Bytes>>;

/// How a connection differs from the settings of the server.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectionOptions {
    /// How many handlers may run at once on this connection; `None` for the server's setting.
    pub concurrency: Option<NonZeroU16>,
}

/// An application: what happens on connections, with requests and signals.
///
/// Methods of different connections run at the same time. On one connection messages are handled in
/// order and one at a time, unless a higher concurrency is set. A handler that panics costs its own
/// request (the client gets an internal error) and nothing else; a hook that panics is over. The log
/// tells which it was, for which connection and request, and the message of the panic.
///
/// What a handler sends is written while it waits for something. One that sends many signals waits for
/// [`Connection::ready`] before each.
///
/// A handler whose client has gone runs on, for as long as the server's drain timeout; its reply is
/// dropped. Handlers of
/// one connection run within its task: one that blocks its thread holds up whatever else runs there.
///
/// ```
/// use wwr::server::RequestError;
/// use wwr::{Content, Payload};
/// use wwr_smol::server::{Connection, Handler};
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
    /// A request of a client. What this gives is the reply.
    fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> impl Future<Output = Result<Payload, RequestError>> + Send;

    /// A signal of a client. By default ignored.
    fn signal(&self, connection: &Connection, signal: Content) -> impl Future<Output = ()> + Send {
        let _ = (connection, signal);
        async {}
    }

    /// A client has connected. No message is read before this is done; what it sends precedes all
    /// else. If it closes the connection, it still runs to its end.
    ///
    /// A client of `wwr.1` has not stated yet what it reads: signals to it and sessions have 8192 bytes
    /// at most until it has, which it does with its first message (protocol §10.2).
    fn connected(&self, connection: &Connection) -> impl Future<Output = ()> + Send {
        let _ = connection;
        async {}
    }

    /// A connection has ended; its session, if it had one, is detached from it. Called once for
    /// every [`connected`](Self::connected). [`Connection::ended`] says why it has ended.
    fn disconnected(&self, connection: &Connection) -> impl Future<Output = ()> + Send {
        let _ = connection;
        async {}
    }

    /// Somebody asks to open a WebSocket, or for anything else but `OPTIONS` and the preflight, if the
    /// server has one. An `Err` is sent as the answer, and no connection is opened; so an application
    /// may turn clients away, or answer ordinary requests. With `Ok`, what is no handshake gets the
    /// usual refusal.
    ///
    /// The `Origin` of handshakes was checked before, and that the head is one of HTTP (one `Host`, one
    /// length). A handshake that is refused here leaves a line in the log at the level `debug`.
    fn before_upgrade(
        &self,
        request: &Parts,
    ) -> impl Future<Output = Result<ConnectionOptions, Box<Response>>> + Send {
        let _ = request;
        async { Ok(ConnectionOptions::default()) }
    }

    /// A browser asks with `OPTIONS` what it may do. Adds headers to an empty `200` answer; by
    /// default those that let pages of any origin send the preflight of protocols 1.4 and 1.5.
    fn options(&self, request: &Parts, headers: &mut HeaderMap) {
        let _ = request;
        for (name, value) in gate::CORS {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
    }
}
