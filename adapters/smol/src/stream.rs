//! A TCP socket in smol's reactor.

use std::io::{ErrorKind, Read as _, Result};
use std::net::{self, Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures_util::task::AtomicWaker;
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};

/// A socket that the kernel is not asked for bytes again once it has given fewer than there was room
/// for: the next it has to say is that there are more.
///
/// Whether the reactor said so is not asked of [`Async::poll_readable`]: that takes an event for an
/// old one if the reactor waited already when interest in it was registered. So it is on every
/// executor that does not drive the reactor itself, and a task that believes it is woken in vain,
/// again and again.
#[derive(Debug)]
pub struct Stream {
    stream: Arc<Async<net::TcpStream>>,
    kernel: Kernel,
    signal: Arc<Signal>,
    /// Raises `signal`.
    waker: Waker,
}

/// What the kernel knows of those who read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// It is to be asked for bytes.
    MayHaveMore,
    /// It had no more, and was not told to say when it has.
    Drained,
    /// It says through the reactor when it has more.
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
    pub(crate) fn new(stream: Arc<Async<net::TcpStream>>) -> Self {
        let signal = Arc::<Signal>::default();
        let waker = Waker::from(signal.clone());
        Self { stream, kernel: Kernel::MayHaveMore, signal, waker }
    }

    /// Has the signal raised as soon as there is something to read, be it there already.
    fn watch(&mut self) -> Result<()> {
        self.signal.raised.store(false, Ordering::Relaxed);
        // It may speak of an event that was heard of by the signal. The next call has to be one that
        // registers interest.
        let mut cx = Context::from_waker(&self.waker);
        while self.stream.poll_readable(&mut cx)?.is_ready() {}
        self.kernel = Kernel::Watches;
        Ok(())
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
            match self.stream.get_ref().read(buffer) {
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
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut &*self.stream).poll_write(cx, buffer)
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut &*self.stream).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        // `Async` would only flush.
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

impl wwr_async::Stream for Stream {
    #[inline]
    fn ask_kernel(&mut self) {
        self.kernel = Kernel::MayHaveMore;
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        loop {
            match self.stream.get_ref().peek(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    ready!(self.stream.poll_readable(cx))?;
                }
                peeked => return Poll::Ready(peeked),
            }
        }
    }

    fn peer_addr(&self) -> Result<SocketAddr> {
        self.stream.get_ref().peer_addr()
    }

    fn set_nodelay(&self, at_once: bool) -> Result<()> {
        self.stream.get_ref().set_nodelay(at_once)
    }

    #[cfg(unix)]
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests;
