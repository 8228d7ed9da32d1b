//! A server with a listener of its own.

mod bind;
mod fd_pressure;
#[cfg(unix)]
mod unix;

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures_lite::future::{or, yield_now};
use futures_util::future::join_all;
use wwr::server::gate::Relief;

use super::builder::Builder;
use super::handle::ServerHandle;
use super::handler::Handler;
use super::http_socket::Opening;
use super::service::Service;
use super::throttle::Throttle;
use super::tls::Tls;
use crate::clock::sleep;
use crate::keep_alive::KeepAlive;
use crate::runtime::{Choice, Runtime, SocketAddress, Stream as _};
use crate::socket::Transport;
use fd_pressure::FdPressure;
#[cfg(unix)]
use unix::SocketFile;

pub(crate) use bind::{Bound, bind};

/// How long a connection is silent before the system probes the client (protocol §4.3).
const KEEP_ALIVE: Duration = Duration::from_secs(180);

/// The address of a peer on a unix socket, which is a process on this machine.
const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A WebWire server with listeners of its own: on TCP addresses, on unix sockets, with TLS or without.
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
    listeners: Vec<Listener<R>>,
    /// Where they listen, in the same order.
    addresses: Vec<SocketAddress>,
    /// The first address of TCP.
    address: Option<SocketAddr>,
    service: Service<H, R>,
    /// Whether sockets of trusted proxies begin with a header of the PROXY protocol.
    proxy_protocol: bool,
    tls: Option<Tls>,
    not_accepted: Throttle,
}

struct Listener<R: Runtime> {
    /// Removes the file of a unix socket at the end. Dropped before the socket: while that listens, its
    /// successor neither replaces the file nor gets a file with the same inode.
    #[cfg(unix)]
    _file: Option<SocketFile>,
    socket: R::Listener,
    /// Whether it has no TLS, whatever the server has.
    plain: bool,
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

    /// A server with these listeners.
    pub(super) fn new(
        all: Vec<Bound>,
        service: Service<H, R>,
        proxy_protocol: bool,
        tls: Option<Tls>,
    ) -> io::Result<Self> {
        let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
        for bound in all {
            listeners.push(Listener {
                socket: service.runtime().listen(bound.socket)?,
                plain: bound.plain,
                #[cfg(unix)]
                _file: bound.file,
            });
            addresses.push(bound.address);
        }
        let address = addresses.iter().find_map(SocketAddress::tcp);
        if let Some(address) = address {
            service.hub().listens_on(address);
        }
        let not_accepted = Throttle::default();
        Ok(Self { listeners, addresses, address, service, proxy_protocol, tls, not_accepted })
    }

    /// Returns the TCP address the server listens on; the first one, if there are several. A server that
    /// only has unix sockets returns 127.0.0.1 with port 0, the address that stands for
    /// [their peers](super::ConnectionInfo::remote_addr) as well.
    pub fn local_addr(&self) -> SocketAddr {
        self.address.unwrap_or(LOCAL)
    }

    /// Returns all that the server listens on: several if a name resolved to several, or if it was
    /// told several. A unix socket with an abstract name is shown as `@name`.
    pub fn local_addrs(&self) -> &[SocketAddress] {
        &self.addresses
    }

    /// Returns the service behind the listeners, for requests and streams that come another way, such
    /// as [pipes in memory](Service::serve_stream).
    pub fn service(&self) -> Service<H, R> {
        self.service.clone()
    }

    /// Returns a handle of the server, which also works while it runs.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.service.hub().clone(), self.address)
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
    async fn accept(&self, listener: &Listener<R>) {
        loop {
            match self.service.runtime().accept(&listener.socket).await {
                Ok((stream, remote)) => {
                    let remote = remote.unwrap_or(LOCAL);
                    if let Some(stream) = self.make_room(stream).await {
                        self.serve_http_on(stream, remote, listener);
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
        sleep(self.service.runtime(), Relief::SHORT_PAUSE).await;
        let relief = self.service.slots().evict_some();
        sleep(self.service.runtime(), relief.pause).await;
        !relief.evicted.is_empty()
    }

    /// Serves HTTP on a new socket, in a task of its own.
    fn serve_http_on(&self, stream: R::Stream, remote: SocketAddr, listener: &Listener<R>) {
        // Most messages are small. If this fails, they are only slower.
        let _ = stream.set_nodelay(true);
        let stall = self.service.limits().stall_timeout;
        if let Err(error) = KeepAlive::new(None, KEEP_ALIVE, stall).set_on(&stream) {
            tracing::debug!(%remote, %error, "cannot set TCP keep-alive");
        }
        let opening = Opening {
            proxied: self.proxy_protocol && self.service.proxies().trust(remote.ip()),
            tls: self.tls.clone().filter(|_| !listener.plain),
        };
        self.service.serve_transport(Transport::native(stream), remote, opening);
    }
}

/// Returns whether accepting failed because of the client.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

impl<H, R: Runtime> fmt::Debug for Server<H, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
