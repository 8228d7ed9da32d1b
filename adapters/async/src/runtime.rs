//! The interface to an async runtime.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{self, SocketAddr, ToSocketAddrs};
#[cfg(unix)]
use std::os::{fd::BorrowedFd, unix::net::UnixListener};
#[cfg(unix)]
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use hyper::upgrade::Upgraded;

use crate::clock::Clock;

/// An async runtime, on which servers and clients run. Clones are the same runtime.
///
/// Timers, sockets and listeners are types of the runtime. So the path of a message, from the socket to
/// the handler and back, is compiled for it, without dynamic calls and boxes.
///
/// A runtime with [`Default`] needs no mention in [`Server::builder`](crate::server::Server::builder)
/// and [`Client::builder`](crate::client::Client::builder). What [`From`] converts into the runtime can
/// be given to [`Builder::executor`](crate::server::Builder::executor).
pub trait Runtime: Clone + Send + Sync + 'static {
    /// A timer.
    type Timer: Timer;
    /// A connected socket, TCP or unix.
    type Stream: Stream;
    /// A listening socket, TCP or unix.
    type Listener: Send + Sync + 'static;

    /// Starts a task in the background. A runtime that has ended drops it at once.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// Returns the runtime for code that runs in one of its tasks and does not spawn. If clones keep an
    /// executor alive, the result must not: then the executor can be dropped, together with the task.
    /// Default: a clone.
    #[must_use]
    fn without_executor(&self) -> Self {
        self.clone()
    }

    /// Returns a timer that is not set.
    fn timer(&self) -> Self::Timer;

    /// Returns a clock that starts now. Default: [`Clock::new`], by the time of the system. A runtime with
    /// virtual time has a [source](Clock::of) of its own, and its timers go by that.
    #[must_use]
    fn clock(&self) -> Clock {
        Clock::new()
    }

    /// Fills a buffer with random bytes, for session keys, handshakes and the backoff of clients. Default:
    /// the cryptographic random source of the system. Only tests should have less.
    ///
    /// # Errors
    ///
    /// If the system has no random bytes.
    fn fill_random(&self, bytes: &mut [u8]) -> io::Result<()> {
        Ok(getrandom::fill(bytes)?)
    }

    /// Runs a function that blocks its thread, such as one that reads a file, on a thread for that.
    ///
    /// If the future is dropped, a function that has begun runs to its end, and one that has not does not
    /// run. If it panics, the future panics.
    ///
    /// # Errors
    ///
    /// If the runtime has ended, and runs nothing any more.
    fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send;

    /// Returns the addresses of a host by its name, with this port. Default: those that the system knows.
    ///
    /// # Errors
    ///
    /// If there is no such host, or the system cannot tell.
    fn resolve(
        &self,
        host: String,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send {
        resolve_by_system(self, (host, port))
    }

    /// Opens a connection. The future may be polled outside of the runtime's threads. Dropping it closes
    /// the socket.
    ///
    /// # Errors
    ///
    /// The error of the system.
    fn connect(&self, to: SocketAddress) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Takes over a listening socket, which is in non-blocking mode.
    ///
    /// # Errors
    ///
    /// If the runtime cannot register the socket.
    fn listen(&self, listener: ListeningSocket) -> io::Result<Self::Listener>;

    /// Waits for the next connection, and returns it with the address of the peer. `None` on a unix
    /// socket, where peers have no address. If the future is dropped, no connection is lost.
    ///
    /// # Errors
    ///
    /// The error of the system. The next call may succeed.
    fn accept(
        &self,
        listener: &Self::Listener,
    ) -> impl Future<Output = io::Result<(Self::Stream, Option<SocketAddr>)>> + Send;

    /// Returns the socket of a connection that another HTTP server has upgraded, and the bytes that were
    /// read beyond the handshake. For types of connections that HTTP servers on this runtime use.
    ///
    /// # Errors
    ///
    /// The connection, if its type is a different one. That is the default. It is then served through
    /// [`Upgraded`](hyper::upgrade::Upgraded), without TCP keep-alive and without `TCP_NODELAY`.
    fn unwrap_upgraded(upgraded: Upgraded) -> Result<(Self::Stream, Bytes), Upgraded> {
        Err(upgraded)
    }
}

/// Asks the system what a name stands for.
pub(crate) async fn resolve_by_system(
    runtime: &impl Runtime,
    name: impl ToSocketAddrs + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    runtime.unblock(move || Ok(name.to_socket_addrs()?.collect())).await?
}

/// Where a socket listens, or connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SocketAddress {
    /// An address of TCP.
    Tcp(SocketAddr),
    /// A path in the file system.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl SocketAddress {
    /// Returns the address, if it is one of TCP.
    pub const fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            #[cfg(unix)]
            Self::Unix(_) => None,
        }
    }
}

/// As `127.0.0.1:7777` and `unix:/path`.
impl fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// A listening socket of the standard library.
#[derive(Debug)]
pub enum ListeningSocket {
    /// A socket of TCP.
    Tcp(net::TcpListener),
    /// A unix socket.
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A timer of a [`Runtime`]. A budget that a task has for its turn does not count here, nor in
/// [`Stream`]: a handler that uses it up must not stop the socket and the timers of its connection.
pub trait Timer: Send + Sync + Unpin + 'static {
    /// Sets the timer to a moment. With `None` it never becomes ready.
    fn set(&mut self, at: Option<Instant>);

    /// Sets the timer to the end of this time. Default: by the time of the system.
    fn set_after(&mut self, duration: Duration) {
        self.set(Instant::now().checked_add(duration));
    }

    /// Becomes ready at the moment, not before. Must be set again after that. A later
    /// [`set`](Self::set) does not wake the task: it polls again.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A connected socket of a [`Runtime`]. [`poll_close`](AsyncWrite::poll_close) ends only the
/// direction that writes; the rest of the input can still be read. Reading and writing wake different
/// wakers if they are polled with different ones. TLS writes several records at once, so
/// [`poll_write_vectored`](AsyncWrite::poll_write_vectored) should not be left to its default.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes the next read call the kernel. For runtimes that trust what the reactor has reported. A
    /// reactor may report a timer first although bytes came before its time. Default: does nothing, for
    /// runtimes that always call the kernel.
    fn ask_kernel(&mut self) {}

    /// Wakes the task that is just polled, because it has more to do, after others had a turn: tasks that are
    /// ready, and those whose sockets and timers are. The task returns [`Poll::Pending`] after that. Default: wakes
    /// it at once, for runtimes whose reactor has a thread of its own, or a turn after each few tasks.
    fn give_way(cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    /// Sets whether small writes are sent at once (`TCP_NODELAY`). A unix socket always does so.
    ///
    /// # Errors
    ///
    /// The error of the system.
    fn set_nodelay(&self, at_once: bool) -> io::Result<()>;

    /// Returns whether it is a socket of TCP, and has its options.
    fn is_tcp(&self) -> bool;

    /// Returns the file descriptor, for the options of TCP keep-alive. `None` if it is no socket of the
    /// system.
    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// Which runtime an application wants.
pub(crate) enum Choice<R> {
    /// The default where the server or client is built.
    Default(fn() -> R),
    Given(R),
}

impl<R> Choice<R> {
    /// Returns the runtime.
    pub(crate) fn get(self) -> R {
        match self {
            Self::Default(default) => default(),
            Self::Given(runtime) => runtime,
        }
    }
}

/// Spawns tasks on a runtime of any type. Only for rare tasks.
pub(crate) trait Spawner: Send + Sync {
    fn spawn_boxed(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);

    /// Waits for this long.
    fn sleep_boxed(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<R: Runtime> Spawner for R {
    fn spawn_boxed(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.spawn(task);
    }

    fn sleep_boxed(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(crate::clock::sleep(self, duration))
    }
}
