//! A socket of tokio.

use std::io::{IoSlice, Result};
#[cfg(unix)]
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

/// A socket of tokio.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    /// Whether the next read calls the kernel, whatever the reactor has reported.
    #[cfg(unix)]
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
        Self {
            socket,
            #[cfg(unix)]
            ask_kernel: false,
        }
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
        #[cfg(unix)]
        if std::mem::take(&mut self.ask_kernel) {
            use rustix::io::Errno;
            use rustix::net::{RecvFlags, recv};

            let socket = wwr_async::Stream::descriptor(&*self);
            match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
                // It has none: the reactor reports more.
                Err(Errno::AGAIN | Errno::INTR) => {}
                received => return Poll::Ready(Ok(received.map(|(_, length)| length)?)),
            }
        }
        let mut buffer = ReadBuf::new(buffer);
        ready!(
            on_socket!(&mut self.socket, socket => Pin::new(socket).poll_read(cx, &mut buffer))
        )?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        on_socket!(&mut self.socket, socket => Pin::new(socket).poll_write(cx, buffer))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        on_socket!(&mut self.socket, socket => Pin::new(socket).poll_write_vectored(cx, buffers))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_socket!(&mut self.socket, socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_socket!(&mut self.socket, socket => Pin::new(socket).poll_shutdown(cx))
    }
}

impl wwr_async::Stream for Stream {
    #[cfg(unix)]
    fn ask_kernel(&mut self) {
        self.ask_kernel = true;
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
    fn descriptor(&self) -> BorrowedFd<'_> {
        on_socket!(&self.socket, socket => socket.as_fd())
    }
}

#[cfg(all(test, unix))]
mod tests;
