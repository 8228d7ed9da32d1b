//! A runtime with sockets, for the tests of what needs those of the system. Other tests use a simulation.

use std::future::Future;
use std::io;
use std::net::{self, Shutdown, SocketAddr};
#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};
use smol::Async;

use crate::runtime::{ListeningSocket, Runtime, SocketAddress, Stream, Timer};

/// Runs tasks on the executor of smol.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TestRuntime;

#[derive(Debug)]
pub(crate) struct TestTimer(smol::Timer);

#[derive(Debug)]
pub(crate) struct TestStream(pub(crate) Async<net::TcpStream>);

impl Runtime for TestRuntime {
    type Timer = TestTimer;
    type Stream = TestStream;
    type Listener = Async<net::TcpListener>;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        smol::spawn(task).detach();
    }

    fn timer(&self) -> TestTimer {
        TestTimer(smol::Timer::never())
    }

    async fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        Ok(smol::unblock(work).await)
    }

    async fn connect(&self, to: SocketAddress) -> io::Result<TestStream> {
        match to {
            SocketAddress::Tcp(to) => Async::<net::TcpStream>::connect(to).await.map(TestStream),
            #[cfg(unix)]
            SocketAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn listen(&self, listener: ListeningSocket) -> io::Result<Async<net::TcpListener>> {
        match listener {
            ListeningSocket::Tcp(listener) => Async::new_nonblocking(listener),
            #[cfg(unix)]
            ListeningSocket::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    async fn accept(
        &self,
        listener: &Async<net::TcpListener>,
    ) -> io::Result<(TestStream, Option<SocketAddr>)> {
        let (stream, address) = listener.accept().await?;
        Ok((TestStream(stream), Some(address)))
    }
}

impl Timer for TestTimer {
    fn set(&mut self, at: Option<Instant>) {
        match at {
            Some(at) => self.0.set_at(at),
            None => self.0 = smol::Timer::never(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

impl TestStream {
    /// Two ends of a connection.
    pub(crate) fn pair() -> (Self, net::TcpStream) {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Self(Async::new(listener.accept().unwrap().0).unwrap()), peer)
    }
}

impl Stream for TestStream {
    fn set_nodelay(&self, at_once: bool) -> io::Result<()> {
        self.0.get_ref().set_nodelay(at_once)
    }

    fn is_tcp(&self) -> bool {
        true
    }

    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

impl AsyncRead for TestStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TestStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.get_ref().shutdown(Shutdown::Write))
    }
}
