//! A server with a listener of its own.

mod places;
mod reserve;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use smol::future::{or, yield_now};
use smol::net::{TcpListener, TcpStream};
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::builder::Builder;
use super::handle::ServerHandle;
use super::handler::Handler;
use super::hub::Stage;
use super::rarely::Rarely;
use super::service::Service;
use crate::clock::sleep;
use crate::keep_alive::KeepAlive;
use places::Places;
use reserve::Supply;

/// How long accepting rests after an error, such as having no file descriptors left.
const REST: Duration = Duration::from_millis(100);

/// How long it rests before sockets are closed, and after that, as the next attempt may well succeed.
const SHORT_REST: Duration = Duration::from_millis(10);

/// How many clients may wait to be accepted; the system may allow fewer.
#[cfg(unix)]
const QUEUE: i32 = 4096;

/// How long a connection is silent before the system asks whether the client is still there
/// (protocol §4.3).
const KEEP_ALIVE: Duration = Duration::from_secs(180);

/// Longer than any connection waits, and short enough to be added to any time.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A WebWire server that listens on a TCP address.
///
/// ```
/// use wwr::server::RequestError;
/// use wwr::{Content, Payload};
/// use wwr_smol::server::{Connection, Handler, Server};
///
/// struct Echo;
///
/// impl Handler for Echo {
///     async fn request(&self, _: &Connection, request: Content) -> Result<Payload, RequestError> {
///         Ok(request.into_payload())
///     }
/// }
///
/// # smol::block_on(async {
/// let server = Server::builder(Echo).listen("127.0.0.1:0").await?;
/// println!("listening on http://{}", server.local_addr());
/// let handle = server.handle();
/// smol::spawn(async move { handle.shut_down(std::time::Duration::from_secs(10)).await }).detach();
/// server.run().await?;
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
pub struct Server<H> {
    listener: TcpListener,
    address: SocketAddr,
    service: Service<H>,
    places: Places,
    crowded: Rarely,
    not_accepted: Rarely,
}

impl<H: Handler> Server<H> {
    /// Begins to set up a server for an application.
    pub fn builder(handler: H) -> Builder<H> {
        Builder::new(handler)
    }

    pub(super) fn new(listener: TcpListener, address: SocketAddr, service: Service<H>) -> Self {
        service.hub().listens_on(address);
        if let Err(error) = widen(&listener) {
            tracing::debug!(%error, "the queue of the listener stays as it is");
        }
        let places = Places::new(service.limits().max_handshakes);
        let (crowded, not_accepted) = (Rarely::default(), Rarely::default());
        Self { listener, address, service, places, crowded, not_accepted }
    }

    /// The address the server listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What else can be done with the server, also while it runs.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.service.hub().clone(), Some(self.address))
    }

    /// Serves until the server is [shut down](ServerHandle::shut_down).
    ///
    /// # Errors
    ///
    /// None at present: errors of accepting are logged, and accepting goes on.
    pub async fn run(self) -> io::Result<()> {
        let hub = self.service.hub().clone();
        let accept = async {
            loop {
                match self.listener.accept().await {
                    Ok((stream, remote)) => {
                        if let Some(stream) = self.make_room(stream).await {
                            self.welcome(stream, remote);
                        }
                        // A crowd at the door must not keep those inside from being served.
                        yield_now().await;
                    }
                    Err(error) if is_of_client(&error) => {
                        // That client has gone already; the next one need not wait.
                        yield_now().await;
                    }
                    Err(error) => {
                        self.rest_after(&error).await;
                    }
                }
            }
        };
        or(accept, hub.reaches(Stage::Stopped)).await;
        Ok(())
    }

    /// Has others close if there are few descriptors left. The new socket is closed if there is none
    /// that it may have.
    async fn make_room(&self, stream: TcpStream) -> Option<TcpStream> {
        let stream = match Supply::seen_by(&stream) {
            Supply::Ample => return Some(stream),
            Supply::Short => Some(stream),
            Supply::Exhausted => {
                drop(stream);
                None
            }
        };
        let error = io::Error::other("the last file descriptors are kept for those who are served");
        let freed = self.rest_after(&error).await;
        stream.filter(|_| freed)
    }

    /// Waits until accepting is worth another attempt. Says whether sockets were closed for it.
    async fn rest_after(&self, error: &io::Error) -> bool {
        let now = self.service.hub().clock.now();
        if let Some(attempts) = self.not_accepted.count(now) {
            tracing::warn!(attempts, %error, "cannot accept connections");
        }
        // If there are no file descriptors left, some of those of handshakes are given up, but not
        // of such as are over in a moment.
        sleep(SHORT_REST).await;
        let freed = self.places.free_some();
        sleep(if freed { SHORT_REST } else { REST }).await;
        freed
    }

    /// Serves HTTP on a new socket, in a task of its own.
    fn welcome(&self, stream: TcpStream, remote: SocketAddr) {
        let (place, lost, full) = self.places.take(remote.ip());
        if full && let Some(closed) = self.crowded.count(self.service.hub().clock.now()) {
            tracing::warn!(%remote, closed, "too many handshakes at once");
        }
        // Small messages are the rule; should it fail, they are merely slower.
        let _ = stream.set_nodelay(true);
        let stall = self.service.limits().stall_timeout;
        let keep_alive = KeepAlive::new(None, KEEP_ALIVE, stall);
        if let Err(error) = keep_alive.look_after(&stream) {
            tracing::debug!(%remote, %error, "the system does not look after the connection");
        }
        let service = self.service.clone();
        self.service.hub().spawn(async move {
            let lost = async {
                // An error, as nothing is ever sent.
                let _ = lost.await;
                tracing::debug!(%remote, "another handshake came in place of this one");
            };
            or(lost, serve_http(service, stream, remote)).await;
            drop(place);
        });
    }
}

/// Lets more clients wait to be accepted than the 128 of the standard library. Those that do not fit
/// are not told so: they try again, a second later at the earliest.
#[cfg(unix)]
fn widen(listener: &TcpListener) -> io::Result<()> {
    Ok(rustix::net::listen(listener, QUEUE)?)
}

#[cfg(not(unix))]
fn widen(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether accepting failed because of the client that was to be accepted.
fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

async fn serve_http<H: Handler>(service: Service<H>, stream: TcpStream, remote: SocketAddr) {
    let limits = service.limits();
    let hub = service.hub();
    let answer = service_fn(|request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(service.answer(request, remote).await) }
    });
    let connection = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(limits.header_timeout.min(LONGEST))
        .max_buf_size(limits.max_header_size.max(8192))
        .serve_connection(FuturesIo::new(stream), answer)
        .with_upgrades();
    let served = async {
        if let Err(error) = connection.await {
            tracing::debug!(%remote, %error, "HTTP ended");
        }
    };
    let timeout = sleep(limits.handshake_timeout);
    or(served, or(timeout, hub.reaches(Stage::Stopped))).await;
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}
