//! A TCP socket of tokio.

use std::io::Result;
#[cfg(unix)]
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::yield_now;

/// A TCP socket of tokio.
#[derive(Debug)]
pub struct Stream {
    stream: TcpStream,
    /// Whether the next read calls the kernel, whatever the reactor has reported.
    #[cfg(unix)]
    ask_kernel: bool,
}

impl Stream {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            #[cfg(unix)]
            ask_kernel: false,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        #[cfg(unix)]
        if std::mem::take(&mut self.ask_kernel) {
            use rustix::io::Errno;
            use rustix::net::{RecvFlags, recv};

            match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
                // It has none: the reactor reports more.
                Err(Errno::AGAIN | Errno::INTR) => {}
                received => return Poll::Ready(Ok(received.map(|(_, length)| length)?)),
            }
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl wwr_async::Stream for Stream {
    #[cfg(unix)]
    fn ask_kernel(&mut self) {
        self.ask_kernel = true;
    }

    /// The reactor has no turn before 61 turns of tasks, unless none is ready. A peer that sends without a pause
    /// would hold up all others for as long.
    fn give_way(cx: &mut Context<'_>) {
        let _ = pin!(yield_now()).poll(cx);
    }

    fn poll_peek(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Result<usize>> {
        self.stream.poll_peek(cx, &mut ReadBuf::new(buffer))
    }

    fn set_nodelay(&self, at_once: bool) -> Result<()> {
        self.stream.set_nodelay(at_once)
    }

    #[cfg(unix)]
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(all(test, unix))]
mod tests;
