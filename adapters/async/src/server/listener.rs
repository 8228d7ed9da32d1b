//! A server with a listener of its own.

mod bind;
mod fd_pressure;
mod proxy;
mod slots;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use futures_lite::future::{or, yield_now};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol_hyper::rt::FuturesIo;
use wwr::server::gate::Refusal;

use super::builder::Builder;
use super::handle::ServerHandle;
use super::handler::Handler;
use super::service::{Caller, Service};
use super::throttle::Throttle;
use crate::clock::{HttpTimer, sleep};
use crate::keep_alive::KeepAlive;
use crate::runtime::{Choice, ListeningSocket, Runtime, Stream as _};
use crate::socket::{Socket, Transport};
use fd_pressure::FdPressure;
use slots::{Evicted, Slot, Slots};

pub(super) use bind::bind;

/// How long accepting pauses after an error, for example without free file descriptors.
const REST: Duration = Duration::from_millis(100);

/// How long it pauses before sockets are evicted, and afterwards, because the next attempt may well
/// succeed.
const SHORT_REST: Duration = Duration::from_millis(10);

/// How many clients may wait to be accepted; the system may allow fewer.
#[cfg(unix)]
const QUEUE: i32 = 4096;

/// How long a connection is silent before the system probes the client (protocol §4.3).
const KEEP_ALIVE: Duration = Duration::from_secs(180);

/// The address of a peer on a unix socket, which is a process on this machine.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Longer than any connection waits, and short enough to add to any time.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A WebWire server that listens on TCP addresses.
///
/// ```
/// use wwr_async::server::RequestError;
/// use wwr_async::{Content, Payload, Runtime};
/// use wwr_async::server::{Connection, Handler, Server};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
///         Ok(request.into_payload())
///     }
/// }
///
/// async fn serve<R: Runtime>(runtime: R) -> std::io::Result<()> {
///     let server = Server::builder_on(runtime, Echo).listen("127.0.0.1:7777").await?;
///     println!("listening on http://{}", server.local_addr());
///     server.run().await;
///     Ok(())
/// }
/// ```
pub struct Server<H, R: Runtime> {
    listeners: Vec<R::Listener>,
    /// The addresses of the listeners, in the same order.
    addresses: Vec<SocketAddr>,
    /// The first of them.
    address: SocketAddr,
    service: Service<H, R>,
    slots: Slots,
    /// Whether sockets of trusted proxies begin with a header of the PROXY protocol.
    proxy_protocol: bool,
    not_accepted: Throttle,
}

impl<H: Handler, R: Runtime> Server<H, R> {
    /// Begins to set up a server for an application, on the default runtime of its type.
    pub fn builder(handler: H) -> Builder<H, R>
    where
        R: Default,
    {
        Builder::new(Choice::Default(R::default), handler)
    }

    /// Begins to set up a server on this runtime.
    pub fn builder_on(runtime: R, handler: H) -> Builder<H, R> {
        Builder::new(Choice::Given(runtime), handler)
    }

    /// A server with at least one listener.
    pub(super) fn new(
        listeners: Vec<TcpListener>,
        service: Service<H, R>,
        proxy_protocol: bool,
    ) -> io::Result<Self> {
        let addresses: Vec<_> =
            listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        let address = *addresses.first().ok_or(io::ErrorKind::InvalidInput)?;
        service.hub().listens_on(address);
        for listener in &listeners {
            if let Err(error) = widen(listener) {
                tracing::debug!(%error, "cannot lengthen the queue of the listener");
            }
        }
        let runtime = service.runtime();
        let listeners =
            listeners.into_iter().map(|listener| runtime.listen(ListeningSocket::Tcp(listener)));
        let listeners = listeners.collect::<io::Result<_>>()?;
        let slots = Slots::new(service.limits().max_handshakes);
        let not_accepted = Throttle::default();
        Ok(Self { listeners, addresses, address, service, slots, proxy_protocol, not_accepted })
    }

    /// Returns the address the server listens on; the first one, if there are several.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns all addresses the server listens on: several if a name resolved to several.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Returns a handle of the server, which also works while it runs.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.service.hub().clone(), Some(self.address))
    }

    /// Serves until the server is [shut down](ServerHandle::shut_down). Errors of accepting are logged,
    /// and accepting goes on.
    pub async fn run(self) {
        let hub = self.service.hub().clone();
        let accept = async {
            join_all(self.listeners.iter().map(|listener| self.accept(listener))).await;
        };
        or(accept, hub.stops()).await;
    }

    /// Accepts for ever.
    async fn accept(&self, listener: &R::Listener) {
        loop {
            match self.service.runtime().accept(listener).await {
                Ok((stream, remote)) => {
                    let remote = remote.unwrap_or(LOCAL);
                    if let Some(stream) = self.make_room(stream).await {
                        self.serve_http_on(stream, remote);
                    }
                    // Many new clients must not keep connected ones from being served.
                    yield_now().await;
                }
                Err(error) if is_of_client(&error) => {
                    // That client has already gone. The next one need not wait.
                    yield_now().await;
                }
                Err(error) => {
                    self.rest_after(&error).await;
                }
            }
        }
    }

    /// Evicts sockets if few file descriptors are left. Closes the new socket if no descriptor is
    /// left for it.
    async fn make_room(&self, stream: R::Stream) -> Option<R::Stream> {
        let stream = match FdPressure::seen_by(&stream) {
            FdPressure::Low => return Some(stream),
            FdPressure::High => Some(stream),
            FdPressure::Critical => {
                drop(stream);
                None
            }
        };
        let error = io::Error::other("the last file descriptors are reserved for open connections");
        let freed = self.rest_after(&error).await;
        stream.filter(|_| freed)
    }

    /// Waits until accepting is worth another attempt. Returns whether sockets were evicted for it.
    async fn rest_after(&self, error: &io::Error) -> bool {
        let now = self.service.hub().clock.now();
        if let Some(attempts) = self.not_accepted.count(now) {
            tracing::warn!(attempts, %error, "cannot accept connections");
        }
        // Without free file descriptors, some sockets in the handshake are evicted. A short pause
        // comes first, because the shortage may end in a moment.
        sleep(self.service.runtime(), SHORT_REST).await;
        let freed = self.slots.evict_some();
        sleep(self.service.runtime(), if freed { SHORT_REST } else { REST }).await;
        freed
    }

    /// Serves HTTP on a new socket, in a task of its own.
    fn serve_http_on(&self, stream: R::Stream, remote: SocketAddr) {
        let (slot, evicted) = self.slots.take(remote.ip());
        // Most messages are small. If this fails, they are only slower.
        let _ = stream.set_nodelay(true);
        let stall = self.service.limits().stall_timeout;
        let keep_alive = KeepAlive::new(None, KEEP_ALIVE, stall);
        if let Err(error) = keep_alive.set_on(&stream) {
            tracing::debug!(%remote, %error, "cannot set TCP keep-alive");
        }
        let proxied = self.proxy_protocol && self.service.proxies().trust(remote.ip());
        let (service, client) = (self.service.clone(), Mutex::new(remote));
        let socket = HttpSocket { service, remote, client, proxied, slot };
        self.service.runtime().spawn(socket.serve(stream, evicted));
    }
}

/// Lets more clients wait to be accepted than the 128 of the standard library. Clients that do not
/// fit get no answer: they try again, a second later at the earliest.
#[cfg(unix)]
fn widen(listener: &TcpListener) -> io::Result<()> {
    Ok(rustix::net::listen(listener, QUEUE)?)
}

#[cfg(not(unix))]
fn widen(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns whether accepting failed because of the client.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

/// A socket on which HTTP is spoken.
struct HttpSocket<H, R> {
    service: Service<H, R>,
    /// The address of the socket.
    remote: SocketAddr,
    /// The address of the client, as far as it is known by now.
    client: Mutex<SocketAddr>,
    /// Whether the socket begins with a header of the PROXY protocol.
    proxied: bool,
    slot: Slot,
}

impl<H: Handler, R: Runtime> HttpSocket<H, R> {
    /// Serves until a WebSocket is opened, or the socket is closed.
    async fn serve(self, stream: R::Stream, evicted: Evicted) {
        let hub = self.service.hub();
        let evicted = async {
            match evicted.await {
                Ok(()) => {
                    tracing::debug!(remote = %self.remote, "closed: few file descriptors are left")
                }
                Err(_) => self.service.refuses(Refusal::Evicted, self.remote),
            }
        };
        let too_long = async {
            sleep(self.service.runtime(), self.service.limits().handshake_timeout).await;
            self.service.refuses(Refusal::HandshakeTimeout, self.client());
        };
        let served = async {
            if let Some((stream, peer)) = self.begin(stream).await {
                self.serve_http(stream, peer).await;
            }
        };
        or(evicted, or(served, or(too_long, hub.stops()))).await;
    }

    fn client(&self) -> SocketAddr {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the client's address that a proxy names.
    fn turns_out_to_be(&self, client: SocketAddr) {
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client;
        self.slot.move_to(client.ip());
    }

    /// Reads the header of the PROXY protocol, if there has to be one. Returns the address of the
    /// client.
    async fn begin(&self, mut stream: R::Stream) -> Option<(R::Stream, SocketAddr)> {
        if !self.proxied {
            return Some((stream, self.remote));
        }
        let timeout = async {
            sleep(self.service.runtime(), self.service.limits().header_timeout).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        match or(proxy::client(&mut stream), timeout).await {
            Ok(client) => {
                let client = client.unwrap_or(self.remote);
                self.turns_out_to_be(client);
                Some((stream, client))
            }
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::InvalidData | io::ErrorKind::TimedOut => {
                        self.service.refuses(Refusal::NoProxyHeader, self.remote);
                    }
                    // For example a health check of a proxy.
                    _ => tracing::debug!(remote = %self.remote, %error, "ended before HTTP"),
                }
                None
            }
        }
    }

    async fn serve_http(&self, stream: R::Stream, peer: SocketAddr) {
        let limits = self.service.limits();
        let answered = &AtomicBool::new(false);
        let answer = service_fn(|request| {
            let client = self.service.client(request.headers(), peer);
            self.turns_out_to_be(client);
            let caller = Caller { client, socket: self.remote };
            async move {
                let answer = self.service.answer_to(request, caller).await;
                answered.store(true, Ordering::Relaxed);
                Ok::<_, Infallible>(answer)
            }
        });
        let connection = http1::Builder::new()
            .timer(HttpTimer(self.service.runtime().clone()))
            .header_read_timeout(limits.header_timeout.min(LONGEST))
            .max_buf_size(limits.max_header_size)
            // A client may close its side after the request. It gets its answer nevertheless.
            .half_close(true)
            .serve_connection(FuturesIo::new(Socket::new(Transport::native(stream))), answer)
            .with_upgrades();
        let Err(error) = connection.await else { return };
        if error.is_parse_too_large() {
            self.service.refuses(Refusal::HeadTooLong, peer);
        } else if error.is_parse() {
            self.service.refuses(Refusal::NoHttp, peer);
        } else if error.is_timeout() && !answered.load(Ordering::Relaxed) {
            self.service.refuses(Refusal::HeadTimeout, peer);
        } else {
            tracing::debug!(remote = %peer, %error, "HTTP ended");
        }
    }
}

impl<H, R: Runtime> fmt::Debug for Server<H, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
