//! A socket of tokio.

use std::io::ErrorKind::{Interrupted, WouldBlock};
use std::io::{IoSlice, Read as _, Result};
#[cfg(unix)]
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::task::yield_now;

use crate::runtime::without_budget;

/// A socket of tokio.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Whether the next read calls the kernel, whatever the reactor has reported.
    ask_kernel: bool,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Does something with the socket, whatever its type.
macro_rules! on_socket {
    ($stream:expr, $socket:ident => $action:expr) => {
        match $stream {
            Socket::Tcp($socket) => $action,
            #[cfg(unix)]
            Socket::Unix($socket) => $action,
        }
    };
}

impl Stream {
    const fn new(socket: Socket) -> Self {
        Self { socket, ask_kernel: false }
    }
}

impl From<TcpStream> for Stream {
    fn from(socket: TcpStream) -> Self {
        Self::new(Socket::Tcp(socket))
    }
}

#[cfg(unix)]
impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        Self::new(Socket::Unix(socket))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        if std::mem::take(&mut self.ask_kernel) {
            match on_socket!(&self.socket, socket => (&*SockRef::from(socket)).read(buffer)) {
                // It has nothing: the reactor reports more.
                Err(error) if matches!(error.kind(), WouldBlock | Interrupted) => {}
                read => return Poll::Ready(read),
            }
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(without_budget(cx, |cx| {
            on_socket!(&mut self.socket, socket => Pin::new(socket).poll_read(cx, &mut buffer))
        }))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        without_budget(
            cx,
            |cx| on_socket!(&mut self.socket, socket => Pin::new(socket).poll_write(cx, buffer)),
        )
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        without_budget(cx, |cx| {
            on_socket!(&mut self.socket, socket => {
                Pin::new(socket).poll_write_vectored(cx, buffers)
            })
        })
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_socket!(&mut self.socket, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_socket!(&mut self.socket, socket => Pin::new(socket).poll_shutdown(cx))
    }
}

impl wwr_async::Stream for Stream {
    fn ask_kernel(&mut self) {
        self.ask_kernel = true;
    }

    /// The reactor has no turn before 61 turns of tasks, unless none is ready. A peer that sends without a pause
    /// would hold up all others for as long.
    fn give_way(cx: &mut Context<'_>) {
        let _ = pin!(yield_now()).poll(cx);
    }

    fn set_nodelay(&self, at_once: bool) -> Result<()> {
        match &self.socket {
            Socket::Tcp(socket) => socket.set_nodelay(at_once),
            #[cfg(unix)]
            Socket::Unix(_) => Ok(()),
        }
    }

    fn is_tcp(&self) -> bool {
        matches!(self.socket, Socket::Tcp(_))
    }

    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(on_socket!(&self.socket, socket => socket.as_fd()))
    }
}

#[cfg(test)]
mod tests;
