//! A socket in smol's reactor.

use std::io::{IoSlice, Read as _, Result};
use std::net::{self, Shutdown};
#[cfg(unix)]
use std::os::fd::{AsFd as _, BorrowedFd};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use wwr_async::readiness::{Reader, Readiness};

/// A socket, read with few system calls.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    reader: Reader,
}

#[derive(Debug)]
enum Socket {
    Tcp(Arc<Async<net::TcpStream>>),
    #[cfg(unix)]
    Unix(Arc<Async<UnixStream>>),
}

/// Does something with the socket, whatever its type.
macro_rules! on_socket {
    ($any:expr, $socket:ident => $action:expr) => {
        match $any {
            Socket::Tcp($socket) => $action,
            #[cfg(unix)]
            Socket::Unix($socket) => $action,
        }
    };
}

impl Readiness for Socket {
    fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        on_socket!(self, socket => socket.get_ref().read(buffer))
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_socket!(self, socket => socket.poll_readable(cx))
    }
}

impl From<Arc<Async<net::TcpStream>>> for Stream {
    fn from(socket: Arc<Async<net::TcpStream>>) -> Self {
        Self { socket: Socket::Tcp(socket), reader: Reader::new() }
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
        Self { socket: Socket::Unix(Arc::new(socket)), reader: Reader::new() }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize>> {
        let Self { socket, reader } = &mut *self;
        reader.poll_read(&*socket, cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<Result<usize>> {
        on_socket!(&self.socket, socket => Pin::new(&mut &**socket).poll_write(cx, buffer))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        on_socket!(&self.socket, socket => Pin::new(&mut &**socket).poll_write_vectored(cx, buffers))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        on_socket!(&self.socket, socket => Pin::new(&mut &**socket).poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        // `Async` would only flush.
        Poll::Ready(on_socket!(&self.socket, socket => socket.get_ref().shutdown(Shutdown::Write)))
    }
}

impl wwr_async::Stream for Stream {
    fn ask_kernel(&mut self) {
        self.reader.ask_kernel();
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
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(on_socket!(&self.socket, socket => socket.as_fd()))
    }
}

#[cfg(test)]
mod tests;
