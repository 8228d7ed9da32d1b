//! A socket in smol's reactor.

use std::io::{ErrorKind, IoSlice, Read as _, Result};
use std::net::{self, Shutdown};
#[cfg(unix)]
use std::os::fd::{AsFd as _, BorrowedFd};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};

/// A socket that does not call the kernel again after a short read. The reactor reports when there
/// is more.
///
/// It does not use [`Async::poll_readable`], which takes an event for an old one if the reactor was
/// already waiting when interest in it was registered. That is so on every executor that does not
/// drive the reactor itself. A task that relies on it is woken for nothing, again and again.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    kernel: Kernel,
    signal: Arc<Signal>,
    /// Raises `signal`.
    waker: Waker,
}

#[derive(Debug)]
enum Socket {
    Tcp(Arc<Async<net::TcpStream>>),
    #[cfg(unix)]
    Unix(Arc<Async<UnixStream>>),
}

/// Does something with the socket, whatever its type.
macro_rules! on_socket {
    ($stream:expr, $socket:ident => $action:expr) => {
        match &$stream.socket {
            Socket::Tcp($socket) => $action,
            #[cfg(unix)]
            Socket::Unix($socket) => $action,
        }
    };
}

/// What the kernel was asked, and told to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// The next read has to call it.
    MayHaveMore,
    /// It had no more bytes, and was not told to report new ones.
    Drained,
    /// It reports new bytes through the reactor.
    Watches,
}

/// Raised by the reactor when there is something to read.
#[derive(Debug, Default)]
struct Signal {
    raised: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raised.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Stream {
    fn new(socket: Socket) -> Self {
        let signal = Arc::<Signal>::default();
        let waker = Waker::from(signal.clone());
        Self { socket, kernel: Kernel::MayHaveMore, signal, waker }
    }

    /// Registers for the signal, which is raised as soon as there is something to read, or at once.
    fn watch(&mut self) -> Result<()> {
        self.signal.raised.store(false, Ordering::Relaxed);
        // The result may be an event that the signal has already reported. The next call has to
        // register interest.
        let mut cx = Context::from_waker(&self.waker);
        while on_socket!(self, socket => socket.poll_readable(&mut cx))?.is_ready() {}
        self.kernel = Kernel::Watches;
        Ok(())
    }
}

impl From<Arc<Async<net::TcpStream>>> for Stream {
    fn from(socket: Arc<Async<net::TcpStream>>) -> Self {
        Self::new(Socket::Tcp(socket))
    }
}

impl From<Async<net::TcpStream>> for Stream {
    fn from(socket: Async<net::TcpStream>) -> Self {
        Arc::new(socket).into()
    }
}

#[cfg(unix)]
impl From<Async<UnixStream>> for Stream {
    fn from(socket: Async<UnixStream>) -> Self {
        Self::new(Socket::Unix(Arc::new(socket)))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        loop {
            if self.kernel != Kernel::MayHaveMore {
                self.signal.task.register(cx.waker());
            }
            if self.kernel == Kernel::Drained {
                self.watch()?;
            }
            if self.kernel == Kernel::Watches && !self.signal.raised.swap(false, Ordering::AcqRel) {
                return Poll::Pending;
            }
            self.kernel = Kernel::MayHaveMore;
            match on_socket!(self, socket => socket.get_ref().read(buffer)) {
                Ok(read) if read == buffer.len() => return Poll::Ready(Ok(read)),
                Ok(read) => {
                    self.kernel = Kernel::Drained;
                    return Poll::Ready(Ok(read));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.kernel = Kernel::Drained;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        on_socket!(self, socket => Pin::new(&mut &**socket).poll_write(cx, buffer))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        on_socket!(self, socket => Pin::new(&mut &**socket).poll_write_vectored(cx, buffers))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_socket!(self, socket => Pin::new(&mut &**socket).poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        // `Async` would only flush.
        Poll::Ready(on_socket!(self, socket => socket.get_ref().shutdown(Shutdown::Write)))
    }
}

impl wwr_async::Stream for Stream {
    fn ask_kernel(&mut self) {
        self.kernel = Kernel::MayHaveMore;
    }

    fn set_nodelay(&self, at_once: bool) -> Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.get_ref().set_nodelay(at_once),
            #[cfg(unix)]
            Socket::Unix(_) => Ok(()),
        }
    }

    fn is_tcp(&self) -> bool {
        matches!(self.socket, Socket::Tcp(_))
    }

    #[cfg(unix)]
    fn descriptor(&self) -> BorrowedFd<'_> {
        on_socket!(self, socket => socket.as_fd())
    }
}

#[cfg(test)]
mod tests;
