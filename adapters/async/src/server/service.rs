//! The HTTP service of a server, with or without a listener of its own.

use std::fmt;
#[cfg(feature = "rustls")]
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_tungstenite::tungstenite::protocol::Role;
use futures_lite::future::yield_now;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, USER_AGENT};
use hyper::http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper::{Request, StatusCode};
use smol_hyper::rt::FuturesIo;
use tracing::Instrument as _;
use wwr::server::gate::{
    self, Accept, Answer, Client, Decision, Head, Origins, Refusal, Terms, TrustedProxies,
};
use wwr::server::{self, Config, Detection};
use wwr::{Actions, Instant, Valid, names};

use super::body::RequestBody;
use super::config::Limits;
use super::connection::{Connection, ConnectionInfo, Reads, TlsInfo};
use super::context::{self, ConnectionOptions, Data};
use super::detection::{Detected, detect};
use super::endpoint::{Endpoint, Endpoints};
use super::handle::ServerHandle;
use super::handler::{Handler, Response};
use super::http;
use super::hub::{Admission, Hub};
use super::slots::Slots;
use super::task::{CloseTimeouts, Opened, Presumed, Task, trace};
use super::throttle::Throttle;
use crate::keep_alive::KeepAlive;
use crate::panics::{ShortName, caught_async, listed_names, note_http_panic};
use crate::runtime::{Runtime, Stream as _};
use crate::socket::{Socket, Transport};
use crate::websocket::WebSocket;

/// How many characters of a `User-Agent` are kept. Browsers send fewer, and the text stays in
/// memory as long as the connection lives.
const MAX_USER_AGENT: usize = 256;

/// A WebWire server without a listener: a function from HTTP requests to answers that takes over
/// the connections that are upgraded. Clones share the server.
///
/// Mount it in any hyper server whose connections are served `with_upgrades`:
///
/// ```no_run
/// # use wwr_async::Runtime;
/// # use wwr_async::server::{Handler, Service};
/// # async fn serve<H: Handler, R: Runtime>(
/// #     service: Service<H, R>,
/// #     stream: impl hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
/// #     remote: std::net::SocketAddr,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use hyper::service::service_fn;
///
/// let answer = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
///     if request.uri().path() == "/health" {
///         return Ok(hyper::Response::new("fine".into()));
///     }
///     Ok::<_, std::convert::Infallible>(service.answer(request, remote).await)
/// });
/// hyper::server::conn::http1::Builder::new()
///     .serve_connection(stream, answer)
///     .with_upgrades()
///     .await?;
/// # Ok(())
/// # }
/// ```
pub struct Service<H, R> {
    inner: Arc<Inner<H, R>>,
}

struct Inner<H, R> {
    runtime: R,
    handler: Arc<H>,
    hub: Arc<Hub>,
    endpoints: Endpoints,
    terms: ServiceTerms,
    /// The log throttle for answers of the application that cannot be sent.
    mistakes: Throttle,
    slots: Slots,
    /// The answer to clients that ask for the names of the handlers, if they are listed.
    names: Option<Answer>,
}

/// The settings by which requests are answered.
pub(super) struct ServiceTerms {
    pub(super) origins: Origins,
    pub(super) proxies: TrustedProxies,
    pub(super) kept_headers: Vec<HeaderName>,
    pub(super) limits: Limits,
}

/// Where a request comes from.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// The address of the client, as far as trusted proxies name it.
    pub(super) client: SocketAddr,
    /// The address that the socket itself came from.
    pub(super) socket: SocketAddr,
    /// What was agreed in the TLS handshake.
    pub(super) tls: Option<Arc<TlsInfo>>,
}

/// What was agreed with a client that opens a WebSocket.
struct Agreed {
    machine: Valid<Config>,
    endpoint: Arc<Endpoint>,
    /// When the handshake of the client came.
    arrived: Instant,
    detection: Detection,
    info: ConnectionInfo,
    data: Data,
}

/// Returns the answer with the names that the application lists, if it does and clients read it.
fn listed(handler: &impl Handler) -> Option<Answer> {
    let names = Answer::names(&listed_names(|| handler.listed_names())?);
    let (length, most) = (names.body.len(), names::MAX_BODY);
    if length > most {
        tracing::error!(
            length,
            most,
            "the list of names is longer than clients read; it is not shown"
        );
        return None;
    }
    Some(names)
}

impl<H: Handler, R: Runtime> Service<H, R> {
    pub(super) fn new(
        runtime: R,
        handler: H,
        hub: Arc<Hub>,
        endpoints: Endpoints,
        terms: ServiceTerms,
    ) -> Self {
        let (handler, mistakes) = (Arc::new(handler), Throttle::default());
        let slots = Slots::new(terms.limits.max_handshakes);
        let names = listed(&*handler);
        let inner = Inner { runtime, handler, hub, endpoints, terms, mistakes, slots, names };
        Self { inner: Arc::new(inner) }
    }

    /// Returns a handle of the server.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.inner.hub.clone(), None)
    }

    /// Waits until the server has stopped.
    #[cfg(feature = "testing")]
    pub(crate) async fn stopped(&self) {
        self.inner.hub.stops().await;
    }

    pub(super) fn runtime(&self) -> &R {
        &self.inner.runtime
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.inner.hub
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.inner.terms.limits
    }

    pub(super) fn proxies(&self) -> &TrustedProxies {
        &self.inner.terms.proxies
    }

    pub(super) fn slots(&self) -> &Slots {
        &self.inner.slots
    }

    /// Logs that a TLS handshake failed.
    #[cfg(feature = "rustls")]
    pub(super) fn tls_fails(&self, error: &io::Error, remote: SocketAddr) {
        self.inner.hub.refusals.tls(self.inner.hub.clock.now(), error, remote);
    }

    /// Logs the refusal of a socket, or of a request about which nothing is known.
    pub(super) fn refuses(&self, refusal: Refusal, remote: SocketAddr) {
        self.inner.hub.refusals.socket(self.inner.hub.clock.now(), refusal, remote);
    }

    /// Answers a request. If the request opens a WebSocket, serves that in a task of its own. Does
    /// not read a body.
    ///
    /// `remote` is the address of the request's socket. If that is one of the [trusted
    /// proxies](super::Config::trusted_proxies), their headers name the address of the client;
    /// otherwise it is the client's own. The application sees the client's address. A WebSocket may
    /// be that of a 1.x client if a preflight came from that address moments ago (protocol §7.2),
    /// see [`Preflights`](server::Preflights). The port does not matter.
    pub async fn answer<B>(&self, request: Request<B>, remote: SocketAddr) -> Response {
        let client = self.client(request.headers(), remote);
        let mut request = request;
        let upgrade = hyper::upgrade::on(&mut request);
        let parts = request.into_parts().0;
        let caller = Caller { client, socket: remote, tls: None };
        self.answer_to(&parts, upgrade, caller, None).await
    }

    /// Answers a request of a socket of this server, whose body the application may read.
    pub(super) async fn answer_incoming(
        &self,
        mut request: Request<Incoming>,
        caller: Caller,
    ) -> Response {
        let upgrade = hyper::upgrade::on(&mut request);
        let (mut parts, body) = request.into_parts();
        let body = RequestBody::of(body);
        if let Some(body) = &body {
            parts.extensions.insert(body.clone());
        }
        self.answer_to(&parts, upgrade, caller, body).await
    }

    /// Returns the address of the client whose request came from `peer`.
    pub(super) fn client(&self, headers: &HeaderMap, peer: SocketAddr) -> SocketAddr {
        let Client { address, doubt } =
            self.inner.terms.proxies.client(peer, http::headers(headers));
        if let Some(doubt) = doubt {
            self.inner.hub.refusals.doubt(self.inner.hub.clock.now(), doubt, peer);
        }
        address
    }

    async fn answer_to(
        &self,
        parts: &Parts,
        upgrade: OnUpgrade,
        caller: Caller,
        body: Option<RequestBody>,
    ) -> Response {
        let target = http::target(&parts.uri);
        let head = http::head(parts, &target);
        let answer = self.answer_head(parts, &head, upgrade, &caller).await;
        if head.has_body() {
            // What was not read of the body is dropped. Now hyper sees whether it has ended: if not, it
            // closes the socket after the answer, and the answer says so.
            drop(body.and_then(|body| body.take()));
            yield_now().await;
        }
        answer
    }

    async fn answer_head(
        &self,
        parts: &Parts,
        head: &Head<'_>,
        upgrade: OnUpgrade,
        caller: &Caller,
    ) -> Response {
        let endpoint = self.inner.endpoints.at(head.path());
        let terms = Terms {
            metadata: endpoint.metadata(),
            origins: &self.inner.terms.origins,
            selects_wwr1: endpoint.machine().selects_wwr1(),
            shutting_down: self.inner.hub.is_shutting_down(),
        };
        let refuse = |refusal: Refusal| {
            let now = self.inner.hub.clock.now();
            self.inner.hub.refusals.request(now, refusal, caller.client, &parts.headers);
            http::response(Answer::refusal(refusal, head, &terms))
        };
        match gate::decide(head, &terms) {
            Decision::Refuse(refusal) => refuse(refusal),
            Decision::Preflight { metadata, noted } => {
                if noted {
                    endpoint.asked(self.inner.hub.clock.now(), caller.client, head.closes());
                }
                http::response(Answer::preflight(&metadata, endpoint.machine().promise()))
            }
            Decision::Options { names: wanted } => {
                let names = self.inner.names.as_ref().filter(|_| wanted);
                self.options(parts, names, caller.client).await
            }
            Decision::Ask { upgrade: handshake } => {
                let asked = caught_async(|| self.inner.handler.before_upgrade(parts));
                match (asked.await, handshake) {
                    (Err(panic), _) => {
                        note_http_panic("before_upgrade", parts, caller.client, &panic);
                        http::empty(StatusCode::INTERNAL_SERVER_ERROR)
                    }
                    (Ok(Err(answer)), handshake) => {
                        if handshake.is_ok() {
                            let now = self.inner.hub.clock.now();
                            let refusal = Refusal::ByApplication;
                            self.inner.hub.refusals.request(
                                now,
                                refusal,
                                caller.client,
                                &parts.headers,
                            );
                        }
                        *answer
                    }
                    (Ok(Ok(_)), Err(refusal)) => refuse(refusal),
                    (Ok(Ok(options)), Ok(accept)) => {
                        match self.agree(accept, &options, parts, caller) {
                            Some(accept) => self
                                .open(upgrade, &accept, endpoint, options, parts, caller)
                                .unwrap_or_else(refuse),
                            None => http::empty(StatusCode::INTERNAL_SERVER_ERROR),
                        }
                    }
                }
            }
        }
    }

    async fn options(&self, parts: &Parts, names: Option<&Answer>, remote: SocketAddr) -> Response {
        let mut answer = http::response(names.cloned().unwrap_or_else(Answer::options));
        let headers = answer.headers_mut();
        let added = caught_async(|| self.inner.handler.options(parts, headers));
        if let Err(panic) = added.await {
            note_http_panic("options", parts, remote, &panic);
            return http::empty(StatusCode::INTERNAL_SERVER_ERROR);
        }
        answer
    }

    /// Adds the decisions of the application to what accepts a handshake. Logs one that is not
    /// possible, and returns `None` then.
    fn agree(
        &self,
        mut accept: Accept,
        options: &ConnectionOptions,
        parts: &Parts,
        caller: &Caller,
    ) -> Option<Accept> {
        let note = |what: &str, name: &str, error: &str| {
            if let Some(times) = self.inner.mistakes.count(self.inner.hub.clock.now()) {
                let (remote, path) = (caller.client, ShortName::new(parts.uri.path().as_bytes()));
                let name = ShortName::new(name.as_bytes());
                tracing::error!(
                    %remote, %path, times, %name,
                    "{what} of before_upgrade cannot be sent, and the client gets a 500: {error}"
                );
            }
        };
        if let Some(name) = options.headers.keys().find(|name| !gate::may_be_set(name.as_str())) {
            note("a header", name.as_str(), "it belongs to the handshake");
            return None;
        }
        if let Some(name) = &options.sub_protocol
            && let Err(error) = accept.select(name, http::headers(&parts.headers))
        {
            // It may be a token.
            note("the sub-protocol", "(not shown)", &error.to_string());
            return None;
        }
        Some(accept)
    }

    /// Accepts a handshake, unless there are too many connections.
    fn open(
        &self,
        upgrade: OnUpgrade,
        accept: &Accept,
        endpoint: &Arc<Endpoint>,
        options: ConnectionOptions,
        parts: &Parts,
        caller: &Caller,
    ) -> Result<Response, Refusal> {
        let admission = self.inner.hub.admit()?;
        let remote = caller.client;
        let user_agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        let ConnectionOptions { concurrency, headers: added, kept_headers, data, .. } = options;
        let kept = self.inner.terms.kept_headers.iter().chain(&kept_headers);
        let info = ConnectionInfo {
            connected_at: self.inner.hub.clock.system_time(),
            user_agent: user_agent.map(|agent| agent.chars().take(MAX_USER_AGENT).collect()),
            remote_addr: remote,
            socket_addr: caller.socket,
            tls: caller.tls.clone(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: context::kept(&parts.headers, kept),
            sub_protocol: accept.sub_protocol().map(str::to_owned),
        };
        let mut machine = endpoint.machine().clone();
        if let Some(concurrency) = concurrency {
            machine = machine.with_concurrency(concurrency);
        }
        let arrived = self.inner.hub.clock.now();
        let detection = endpoint.arrived(arrived, remote, accept.observed());
        let endpoint = endpoint.clone();
        let agreed = Agreed { machine, endpoint, arrived, detection, info, data };
        let inner = self.inner.clone();
        self.inner.runtime.spawn(async move {
            match upgrade.await {
                // In a task of its own, which is as small as possible, because it may be idle for a
                // long time.
                Ok(upgraded) => inner.serve(upgraded, admission, agreed),
                Err(error) => tracing::debug!(%remote, %error, "the handshake was not finished"),
            }
        });
        let mut answer = http::response(Answer::switching(accept));
        answer.headers_mut().extend(added);
        Ok(answer)
    }
}

impl<H: Handler, R: Runtime> Inner<H, R> {
    /// Serves a WebSocket that was just opened, in a task of its own.
    fn serve(self: Arc<Self>, upgraded: Upgraded, admission: Admission, agreed: Agreed) {
        let limits = &self.terms.limits;
        let (socket, read) = unwrap::<R>(upgraded);
        if let (Some(pings), Some(stream)) = (agreed.machine.pings, socket.native()) {
            let keep_alive = KeepAlive::new(Some(pings), pings.after, limits.stall_timeout);
            if let Err(error) = keep_alive.set_on(stream) {
                tracing::debug!(%error, "cannot set TCP keep-alive");
            }
        }
        let size = usize::try_from(agreed.machine.max_message_size).unwrap_or(usize::MAX);
        let socket =
            WebSocket::new(&self.runtime, socket, read, Role::Server, size, limits.stall_timeout)
                .with_max_backlog(limits.max_write_backlog);
        match agreed.detection {
            Detection::Known(observed) => {
                self.serve_detected(socket, admission, agreed, Detected::at_once(observed));
            }
            Detection::Wait { until } => {
                let (runtime, mut socket) = (self.runtime.clone(), socket);
                runtime.spawn(async move {
                    let (clock, remote) = (&self.hub.clock, agreed.info.remote_addr);
                    let (endpoint, arrived) = (&agreed.endpoint, agreed.arrived);
                    let known =
                        detect(&self.runtime, &mut socket, endpoint, clock, remote, arrived, until)
                            .await;
                    self.serve_detected(socket, admission, agreed, known);
                });
            }
        }
    }

    /// Serves a client after the detection.
    fn serve_detected(
        self: Arc<Self>,
        socket: WebSocket<R>,
        admission: Admission,
        agreed: Agreed,
        detected: Detected,
    ) {
        let Agreed { machine: config, endpoint, info, data, .. } = agreed;
        let Detected { observed, presumed, first } = detected;
        let limits = &self.terms.limits;
        let mut out = Actions::new();
        let now = self.hub.clock.now();
        let machine = server::Connection::accept(&config, observed, now, &mut out);
        let reads = Reads::new(machine.dialect(), machine.peer_reads());
        let connection = Connection::new(
            self.hub.clone(),
            admission.id(),
            info,
            data,
            reads,
            limits.max_signal_backlog,
            limits.slow_readers,
        );
        let timeouts = CloseTimeouts { close: limits.close_timeout, drain: config.drain_timeout };
        let presumed = presumed.then_some(Presumed(endpoint));
        let opened = Box::new(Opened { machine, out, socket, timeouts, first, presumed });
        let span = trace::span(&connection);
        let inner = self.clone();
        let serve = async move {
            let handler = &*inner.handler;
            let task = {
                // Its memory is freed at the end of this block, and not of the connection.
                let opened = opened;
                Task::new(&inner.runtime, inner.hub.clone(), handler, &connection, *opened)
            };
            task.run(admission).await;
        };
        // Without a span, the task has no memory for one.
        if span.is_disabled() {
            self.runtime.spawn(serve);
        } else {
            self.runtime.spawn(serve.instrument(span));
        }
    }
}

/// The socket under a WebSocket, and what was read of it beyond the handshake.
pub(super) fn unwrap<R: Runtime>(upgraded: Upgraded) -> (Socket<R::Stream>, Vec<u8>) {
    match upgraded.downcast::<FuturesIo<Socket<R::Stream>>>() {
        Ok(parts) => (parts.io.into_inner(), parts.read_buf.to_vec()),
        Err(upgraded) => match R::unwrap_upgraded(upgraded) {
            Ok((stream, read)) => {
                // Most messages are small, and other HTTP servers may not have set it. If this fails,
                // they are only slower.
                let _ = stream.set_nodelay(true);
                (Socket::new(Transport::native(stream)), read.to_vec())
            }
            Err(upgraded) => {
                tracing::debug!("not a known type of connection: served without TCP keep-alive");
                (Socket::new(Transport::upgraded(upgraded)), Vec::new())
            }
        },
    }
}

impl<H, R> Clone for Service<H, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<H, R> fmt::Debug for Service<H, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("limits", &self.inner.terms.limits).finish_non_exhaustive()
    }
}
