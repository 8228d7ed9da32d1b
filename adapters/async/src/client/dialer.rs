//! How a client gets a byte stream to its server.

mod environment;
mod http_connect;
mod proxy;
mod socks;
#[cfg(unix)]
mod unix;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;

pub use environment::EnvironmentProxies;
pub(super) use proxy::LoginRefused;
pub use proxy::{InvalidProxy, Proxy};
#[cfg(unix)]
pub use unix::UnixSocket;

use super::tcp;
use super::url::ServerUrl;
use crate::addresses::Addresses;
use crate::runtime::Runtime;
use crate::socket::{ByteStream, Transport};

/// Opens byte streams to servers. [`Tcp`] is the default of a client; [`Proxy`],
/// [`EnvironmentProxies`] and [`UnixSocket`] are here, too. So is every function from a [`Destination`] to a
/// future of a stream, such as one end of a [`pipe`](crate::pipe()).
///
/// TLS is spoken on top of the stream, if the URL asks for it. What it takes is limited by the
/// client's dial and probe timeouts, and the future is dropped then: it must close what it has opened.
pub trait Dial<R: Runtime>: Send + Sync + 'static {
    /// Opens a byte stream.
    ///
    /// # Errors
    ///
    /// Any error is an attempt to connect that failed. Its text is shown.
    fn dial(
        &self,
        runtime: &R,
        to: &Destination,
    ) -> impl Future<Output = io::Result<Dialed<R>>> + Send;
}

/// Where a client wants to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    host: String,
    port: u16,
    is_secure: bool,
    /// Whether a user name or a password is sent to the server.
    has_credentials: bool,
    reached: Option<SocketAddr>,
    unhelpful: Vec<SocketAddr>,
}

/// An open byte stream.
pub struct Dialed<R: Runtime> {
    pub(super) transport: Transport<R::Stream>,
    pub(super) address: Option<SocketAddr>,
}

/// Connects by TCP. Several addresses of a name are tried as RFC 8305 (sections 4 and 5) says, once the
/// system has resolved the name: their families take turns, the next one begins when one fails or has not
/// answered for 250 ms, and the first one that answers is used. Those that answered before, and then were
/// [no help](Destination::unhelpful), come last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

impl Destination {
    pub(super) fn of(url: &ServerUrl, reached: Option<SocketAddr>) -> Self {
        let (host, port) = url.host_and_port();
        let has_credentials = url.credentials().is_some();
        let (is_secure, unhelpful) = (url.is_secure(), Vec::new());
        Self { host, port, is_secure, has_credentials, reached, unhelpful }
    }

    /// The same, with the addresses that did not help before.
    pub(super) fn after(self, unhelpful: Vec<SocketAddr>) -> Self {
        Self { unhelpful, ..self }
    }

    /// Returns the same with another host and port, for a dialer that hands on to another one.
    ///
    /// ```
    /// use wwr_async::Runtime;
    /// use wwr_async::client::{Destination, Dial, Dialed, Tcp};
    ///
    /// /// Connects to a fixed port of this machine, whatever the URL.
    /// struct Sidecar(u16);
    ///
    /// impl<R: Runtime> Dial<R> for Sidecar {
    ///     async fn dial(&self, runtime: &R, to: &Destination) -> std::io::Result<Dialed<R>> {
    ///         Tcp.dial(runtime, &to.clone().at("127.0.0.1", self.0)).await
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn at(self, host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, reached: None, ..self }
    }

    /// Returns the host of the URL: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port of the URL, or the default of its scheme.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns whether TLS will be spoken on the stream.
    pub const fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Returns the [address](Dialed::with_address) at which the preflight of this attempt was
    /// answered. It should be preferred: some servers recognize a client by the address that it comes from, which
    /// depends on the address that it goes to.
    pub const fn reached(&self) -> Option<SocketAddr> {
        self.reached
    }

    /// Returns the [addresses](Dialed::with_address) that have accepted a connection, but behind which there was no
    /// server when that was last tried: TLS or HTTP failed, it was not available, or nothing came in time. They
    /// should be tried last, in this order, of which the first one failed the longest time ago.
    pub fn unhelpful(&self) -> &[SocketAddr] {
        &self.unhelpful
    }
}

impl<R: Runtime> Dialed<R> {
    /// A stream of any kind. It is put in a box; for a socket of the runtime,
    /// [`native`](Self::native) is faster.
    pub fn new(stream: impl ByteStream + 'static) -> Self {
        Self { transport: Transport::boxed(stream), address: None }
    }

    /// A socket of the runtime.
    pub fn native(stream: R::Stream) -> Self {
        Self { transport: Transport::native(stream), address: None }
    }

    /// Names the address of the peer, for [`Destination::reached`].
    #[must_use]
    pub const fn with_address(mut self, address: SocketAddr) -> Self {
        self.address = Some(address);
        self
    }
}

impl<R: Runtime> Dial<R> for Tcp {
    async fn dial(&self, runtime: &R, to: &Destination) -> io::Result<Dialed<R>> {
        let addresses = Addresses::from((to.host(), to.port()));
        let (stream, address) = tcp::connect(runtime, addresses, to).await?;
        Ok(Dialed::native(stream).with_address(address))
    }
}

impl<R, F, O, S> Dial<R> for F
where
    R: Runtime,
    F: Fn(Destination) -> O + Send + Sync + 'static,
    O: Future<Output = io::Result<S>> + Send,
    S: ByteStream + 'static,
{
    async fn dial(&self, _: &R, to: &Destination) -> io::Result<Dialed<R>> {
        let opening = self(to.clone());
        Ok(Dialed::new(opening.await?))
    }
}

/// A [`Dial`] of any type.
pub(super) trait AnyDial<R: Runtime>: Send + Sync {
    fn dial_any<'a>(
        &'a self,
        runtime: &'a R,
        to: &'a Destination,
    ) -> BoxFuture<'a, io::Result<Dialed<R>>>;
}

impl<R: Runtime, D: Dial<R>> AnyDial<R> for D {
    fn dial_any<'a>(
        &'a self,
        runtime: &'a R,
        to: &'a Destination,
    ) -> BoxFuture<'a, io::Result<Dialed<R>>> {
        Box::pin(self.dial(runtime, to))
    }
}

impl<R: Runtime> fmt::Debug for Dialed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialed").field("address", &self.address).finish_non_exhaustive()
    }
}
