//! The HTTP service of a server, with or without a listener of ours.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use async_tungstenite::tungstenite::protocol::Role;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, StatusCode};
use smol::net::TcpStream;
use smol_hyper::rt::FuturesIo;
use wwr::Actions;
use wwr::server::{self, Config, Observed};

use super::connection::{Connection, ConnectionInfo, Reads};
use super::endpoint::{Endpoint, Endpoints};
use super::handle::ServerHandle;
use super::handler::{ConnectionOptions, Handler, Response};
use super::http::{self, Route};
use super::hub::{Arrival, Hub};
use super::origin::Origins;
use super::panics::{caught, caught_async, note_http_panic};
use super::settings::Limits;
use super::task::{Opened, Patience, Task};
use crate::socket::Socket;
use crate::websocket::WebSocket;

/// How many letters of a `User-Agent` are kept: who sends more is no browser, and has them kept as
/// long as the connection lives.
const MAX_USER_AGENT: usize = 256;

/// A WebWire server without a listener: a function from HTTP requests to answers that takes over
/// the connections that are upgraded. Clones share the server.
///
/// Mount it in any hyper server whose connections are served `with_upgrades`:
///
/// ```no_run
/// # use wwr_smol::server::{Handler, Service};
/// # async fn serve<H: Handler>(service: Service<H>, stream: smol::net::TcpStream) -> Result<(), Box<dyn std::error::Error>> {
/// use hyper::service::service_fn;
/// use smol_hyper::rt::FuturesIo;
///
/// let remote = stream.peer_addr()?;
/// let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
///     if request.uri().path() == "/health" {
///         return Ok(hyper::Response::new("fine".into()));
///     }
///     Ok::<_, std::convert::Infallible>(service.answer(request, remote).await)
/// });
/// hyper::server::conn::http1::Builder::new()
///     .serve_connection(FuturesIo::new(stream), answer)
///     .with_upgrades()
///     .await?;
/// # Ok(())
/// # }
/// ```
pub struct Service<H> {
    inner: Arc<Inner<H>>,
}

struct Inner<H> {
    handler: Arc<H>,
    hub: Arc<Hub>,
    endpoints: Endpoints,
    origins: Origins,
    limits: Limits,
}

/// What was agreed on with a client that opens a WebSocket.
struct Agreed {
    machine: Config,
    observed: Observed,
    info: ConnectionInfo,
}

impl<H: Handler> Service<H> {
    pub(super) fn new(
        handler: H,
        hub: Arc<Hub>,
        endpoints: Endpoints,
        origins: Origins,
        limits: Limits,
    ) -> Self {
        let handler = Arc::new(handler);
        Self { inner: Arc::new(Inner { handler, hub, endpoints, origins, limits }) }
    }

    /// What else can be done with the server.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.inner.hub.clone(), None)
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// Answers a request; if it opens a WebSocket, serves that in a task of its own.
    ///
    /// `remote` is the address of the client. It is shown to the application, and a WebSocket is
    /// told to be that of a 1.x client by the preflight that came from there moments ago (protocol
    /// §7.2). Behind a proxy, pass the client's own address, which trusted proxies name in a header;
    /// otherwise clients of different versions may be taken for each other. Its port does not
    /// matter.
    pub async fn answer(&self, mut request: Request<Incoming>, remote: SocketAddr) -> Response {
        let upgrade = hyper::upgrade::on(&mut request);
        let (parts, _body) = request.into_parts();
        let refusing = self.inner.hub.is_draining().then_some("Server shutting down\n");
        let endpoint = self.inner.endpoints.at(parts.uri.path());
        match http::route(&parts, endpoint.metadata(), &self.inner.origins, refusing) {
            Route::Answer(answer) => answer,
            Route::Preflight(metadata) => {
                endpoint.asked(self.inner.hub.clock.now(), remote);
                http::metadata(&metadata)
            }
            Route::Options => self.options(&parts, remote),
            Route::Other { upgrade: handshake } => {
                let asked = caught_async(|| self.inner.handler.before_upgrade(&parts));
                match (asked.await, handshake) {
                    (Err(panic), _) => {
                        note_http_panic("before_upgrade", &parts, remote, &panic);
                        http::empty(StatusCode::INTERNAL_SERVER_ERROR)
                    }
                    (Ok(Err(answer)), _) => *answer,
                    (Ok(Ok(_)), Err(refusal)) => *refusal,
                    (Ok(Ok(options)), Ok(accept)) => {
                        self.open(upgrade, accept, endpoint, options, &parts, remote)
                    }
                }
            }
        }
    }

    fn options(&self, parts: &Parts, remote: SocketAddr) -> Response {
        let mut answer = http::empty(StatusCode::OK);
        let headers = answer.headers_mut();
        if let Err(panic) = caught(|| self.inner.handler.options(parts, headers)) {
            note_http_panic("options", parts, remote, &panic);
            return http::empty(StatusCode::INTERNAL_SERVER_ERROR);
        }
        answer
    }

    /// Accepts a handshake, unless there are too many connections.
    fn open(
        &self,
        upgrade: OnUpgrade,
        accept: HeaderValue,
        endpoint: &Endpoint,
        options: ConnectionOptions,
        parts: &Parts,
        remote: SocketAddr,
    ) -> Response {
        let Some(arrival) = self.inner.hub.admit(self.inner.limits.max_connections) else {
            if let Some(refused) = self.inner.hub.turned_away.count(self.inner.hub.clock.now()) {
                tracing::warn!(%remote, refused, "too many connections");
            }
            return http::text(StatusCode::SERVICE_UNAVAILABLE, "Too many connections\n");
        };
        let user_agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let info = ConnectionInfo {
            connected_at: SystemTime::now(),
            user_agent: user_agent.map(|agent| agent.chars().take(MAX_USER_AGENT).collect()),
            remote_addr: remote,
        };
        let mut machine = endpoint.machine().clone();
        machine.concurrency = options.concurrency.unwrap_or(machine.concurrency);
        let observed = endpoint.connected(self.inner.hub.clock.now(), remote);
        let agreed = Agreed { machine, observed, info };
        let inner = self.inner.clone();
        self.inner.hub.spawn(async move {
            match upgrade.await {
                // In a task of its own, which is as small as it can be: it may be idle for long.
                Ok(upgraded) => inner.serve(upgraded, arrival, agreed),
                Err(error) => tracing::debug!(%remote, %error, "the handshake was not finished"),
            }
        });
        http::switching(accept)
    }
}

impl<H: Handler> Inner<H> {
    /// Serves a WebSocket that was just opened, in a task of its own.
    fn serve(self: Arc<Self>, upgraded: Upgraded, arrival: Arrival, agreed: Agreed) {
        let (socket, read) = match upgraded.downcast::<FuturesIo<TcpStream>>() {
            Ok(parts) => (Socket::tcp(parts.io.into_inner()), parts.read_buf.to_vec()),
            Err(upgraded) => (Socket::upgraded(upgraded), Vec::new()),
        };
        let limits = &self.limits;
        let (size, stall) = (limits.max_message_size, limits.stall_timeout);
        let socket = WebSocket::new(socket, read, Role::Server, size, stall);
        let Agreed { machine: config, observed, info } = agreed;
        let mut out = Actions::new();
        let now = self.hub.clock.now();
        let machine = server::Connection::accept(&config, observed, now, &mut out);
        let reads = Reads::new(machine.dialect(), config.announced.message_buffer_size());
        let connection = Connection::new(self.hub.clone(), info, reads, limits.max_waiting_bytes);
        let patience = Patience { close: limits.close_timeout, drain: config.drain_timeout };
        let opened = Box::new(Opened { machine, out, socket, patience });
        let inner = self.clone();
        self.hub.spawn(async move {
            let handler = &*inner.handler;
            Task::new(inner.hub.clone(), handler, &connection, opened).run(arrival).await;
        });
    }
}

impl<H> Clone for Service<H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<H> fmt::Debug for Service<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("limits", &self.inner.limits).finish_non_exhaustive()
    }
}
