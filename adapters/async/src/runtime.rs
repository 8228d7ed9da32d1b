//! What is asked of an async runtime.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use hyper::upgrade::Upgraded;

/// An async runtime: what server and client run on. Clones are the same runtime.
///
/// Everything is a type of the runtime's own, so that nothing between a socket and a handler is called
/// through a pointer or allocated.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Its timers.
    type Timer: Timer;
    /// Its TCP sockets.
    type Stream: Stream;
    /// Its listening TCP sockets.
    type Listener: Listener<Stream = Self::Stream>;

    /// Starts a task and lets it run by itself. A task that panics ends, and no other does.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// The same runtime for what lives in one of its tasks and starts none: it need not be able to. If
    /// a clone keeps an executor alive, this does not, so that the executor can be dropped with the
    /// task in it. By default a clone.
    #[must_use]
    fn without_executor(&self) -> Self {
        self.clone()
    }

    /// A timer that is not set.
    fn timer(&self) -> Self::Timer;

    /// Does something that blocks its thread, such as reading a file, where that holds nothing up.
    ///
    /// If the future is dropped, the work is done all the same. A panic of the work is one of the future.
    fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// Opens a TCP connection.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn connect(&self, address: SocketAddr)
    -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Takes over a socket that listens, and does not block.
    ///
    /// # Errors
    ///
    /// If the runtime cannot wait for it.
    fn listen(&self, listener: net::TcpListener) -> io::Result<Self::Listener>;

    /// The socket of a connection that an HTTP server of the application's own has upgraded, with the
    /// bytes that were read beyond the handshake, if it is one that this runtime knows how to unwrap.
    /// By default it knows none: the connection is served as it is, and the system is not asked to look
    /// after it.
    ///
    /// # Errors
    ///
    /// The connection as it was.
    fn unwrap_upgraded(upgraded: Upgraded) -> Result<(Self::Stream, Bytes), Upgraded> {
        Err(upgraded)
    }
}

/// A timer.
pub trait Timer: Send + Sync + Unpin + 'static {
    /// Sets the timer to a moment, or to none: it is never ready then.
    fn set(&mut self, at: Option<Instant>);

    /// Ready when the moment has come, and not before. It need not be ready again before it is set
    /// anew. The task is woken as soon as it is, if it was set by then.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A connected TCP socket. To close it ([`poll_close`](AsyncWrite::poll_close)) is to close the side
/// that writes; what the peer still sends can be read.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Has the system itself asked for bytes by the next read, for runtimes that otherwise trust what
    /// they were last told of it. A task may hear of a timer first, though bytes came before its time.
    /// By default nothing, for runtimes that always ask.
    fn ask_kernel(&mut self) {}

    /// Reads what has come without taking it.
    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Where the peer is.
    ///
    /// # Errors
    ///
    /// What the system says.
    fn peer_addr(&self) -> io::Result<SocketAddr>;

    /// Whether small writes are sent at once (`TCP_NODELAY`).
    ///
    /// # Errors
    ///
    /// What the system says.
    fn set_nodelay(&self, at_once: bool) -> io::Result<()>;

    /// The socket itself, for the options of TCP keep-alive.
    #[cfg(unix)]
    fn descriptor(&self) -> BorrowedFd<'_>;
}

/// A listening TCP socket.
pub trait Listener: Send + Sync + 'static {
    /// What is accepted.
    type Stream: Stream;

    /// Waits for the next connection, and returns it with the address that it comes from.
    ///
    /// # Errors
    ///
    /// What the system says. The next call may succeed.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

/// What is spawned on a runtime whose type is not known. For what is done seldom.
pub(crate) trait Spawner: Send + Sync {
    fn spawn_boxed(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);
}

impl<R: Runtime> Spawner for R {
    fn spawn_boxed(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>) {
        self.spawn(task);
    }
}
