//! A byte stream on which HTTP is spoken, until a WebSocket is opened on it.

#[cfg(feature = "rustls")]
mod encrypt;
mod proxy;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_lite::future::or;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol_hyper::rt::FuturesIo;
use wwr::server::gate::Refusal;

use super::connection::TlsInfo;
use super::handler::Handler;
use super::service::{Caller, Service};
use super::slots::{Evicted, Slot};
use super::tls::Tls;
use crate::clock::{HttpTimer, sleep};
use crate::runtime::Runtime;
use crate::socket::{ByteStream, Socket, Transport};

/// Longer than any connection waits, and short enough to add to any time.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How a new socket begins.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// Whether it begins with a header of the PROXY protocol.
    pub(super) proxied: bool,
    /// The certificates, if it has TLS.
    pub(super) tls: Option<Tls>,
}

/// A socket on which HTTP is spoken.
struct HttpSocket<H, R> {
    service: Service<H, R>,
    /// The address of the socket.
    remote: SocketAddr,
    /// The address of the client, as far as it is known by now.
    client: Mutex<SocketAddr>,
    opening: Opening,
    slot: Slot,
}

impl<H: Handler, R: Runtime> Service<H, R> {
    /// Serves a byte stream as if a listener had accepted it: HTTP and the WebSocket on it, in a task
    /// of its own. For pipes in memory, and for transports of your own. The handshake counts in
    /// [`Limits::max_handshakes`](super::Limits::max_handshakes) and its times.
    ///
    /// `remote` is the address of the peer, as in [`answer`](Self::answer). For what has no address, use
    /// the loopback address with port 0, which also stands for peers on unix sockets. There is neither
    /// TLS nor the PROXY protocol.
    pub fn serve_stream(&self, stream: impl ByteStream + 'static, remote: SocketAddr) {
        self.serve_transport(Transport::boxed(stream), remote, Opening::default());
    }

    /// The same for a stream of the runtime.
    #[cfg(feature = "testing")]
    pub(crate) fn serve_native(&self, stream: R::Stream, remote: SocketAddr) {
        self.serve_transport(Transport::native(stream), remote, Opening::default());
    }

    /// Serves HTTP on a new socket, in a task of its own.
    pub(super) fn serve_transport(
        &self,
        transport: Transport<R::Stream>,
        remote: SocketAddr,
        opening: Opening,
    ) {
        let (slot, evicted) = self.slots().take(remote.ip());
        let (service, client) = (self.clone(), Mutex::new(remote));
        let socket = HttpSocket { service, remote, client, opening, slot };
        self.runtime().spawn(socket.serve(transport, evicted));
    }
}

impl<H: Handler, R: Runtime> HttpSocket<H, R> {
    /// Serves until a WebSocket is opened, or the socket is closed.
    async fn serve(self, transport: Transport<R::Stream>, evicted: Evicted) {
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
            let Some((transport, peer)) = self.begin(transport).await else { return };
            let Some((socket, tls)) = self.encrypt(transport, peer).await else { return };
            self.serve_http(socket, peer, tls).await;
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

    /// Waits until the client has had enough time for what comes before a request.
    async fn header_timeout(&self) {
        sleep(self.service.runtime(), self.service.limits().header_timeout).await;
    }

    /// Reads the header of the PROXY protocol, if there has to be one. Returns the address of the
    /// client.
    async fn begin(
        &self,
        mut transport: Transport<R::Stream>,
    ) -> Option<(Transport<R::Stream>, SocketAddr)> {
        if !self.opening.proxied {
            return Some((transport, self.remote));
        }
        let timeout = async {
            self.header_timeout().await;
            Err(io::ErrorKind::TimedOut.into())
        };
        match or(proxy::client(&mut transport), timeout).await {
            Ok(client) => {
                let client = client.unwrap_or(self.remote);
                self.turns_out_to_be(client);
                Some((transport, client))
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

    /// Begins without TLS: without the feature `rustls`, there are no certificates.
    #[cfg(not(feature = "rustls"))]
    async fn encrypt(
        &self,
        transport: Transport<R::Stream>,
        _: SocketAddr,
    ) -> Option<(Socket<R::Stream>, Option<Arc<TlsInfo>>)> {
        match &self.opening.tls {
            None => Some((Socket::new(transport), None)),
            Some(tls) => match *tls {},
        }
    }

    async fn serve_http(
        &self,
        socket: Socket<R::Stream>,
        peer: SocketAddr,
        tls: Option<Arc<TlsInfo>>,
    ) {
        let limits = self.service.limits();
        let answered = &AtomicBool::new(false);
        let answer = service_fn(|request| {
            let client = self.service.client(request.headers(), peer);
            self.turns_out_to_be(client);
            let caller = Caller { client, socket: self.remote, tls: tls.clone() };
            async move {
                let answer = self.service.answer_incoming(request, caller).await;
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
            .serve_connection(FuturesIo::new(socket), answer)
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
