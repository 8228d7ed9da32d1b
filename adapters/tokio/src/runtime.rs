//! The runtime of servers and clients on tokio.

use std::future::{Future, pending};
use std::io::Result;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
#[cfg(feature = "axum")]
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep_until};
use wwr_async::{ListeningSocket, Runtime, SocketAddress};

pub use crate::stream::Stream;

/// A runtime of tokio: `multi_thread` or `current_thread`, with its drivers for I/O and time enabled.
/// It is made from a [`Handle`].
///
/// The default is the runtime in which it is made, for example by
/// [`Server::builder`](crate::server::Server::builder).
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
}

impl Default for Tokio {
    /// Returns the runtime of the caller.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, as [`tokio::spawn`] does.
    #[track_caller]
    fn default() -> Self {
        Self { handle: Handle::current() }
    }
}

impl From<Handle> for Tokio {
    fn from(handle: Handle) -> Self {
        Self { handle }
    }
}

impl Runtime for Tokio {
    type Timer = Timer;
    type Stream = Stream;
    type Listener = Listener;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(task));
    }

    fn timer(&self) -> Timer {
        Timer { handle: self.handle.clone(), sleep: None, is_set: false }
    }

    async fn unblock<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.handle.spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime has shut down, and its tasks with it.
                Err(_) => pending().await,
            },
        }
    }

    async fn connect(&self, to: SocketAddress) -> Result<Stream> {
        match to {
            SocketAddress::Tcp(to) => TcpStream::connect(to).await.map(Into::into),
            #[cfg(unix)]
            SocketAddress::Unix(path) => UnixStream::connect(path).await.map(Into::into),
        }
    }

    fn listen(&self, listener: ListeningSocket) -> Result<Listener> {
        let _context = self.handle.enter();
        match listener {
            ListeningSocket::Tcp(listener) => TcpListener::from_std(listener).map(Listener::Tcp),
            #[cfg(unix)]
            ListeningSocket::Unix(listener) => UnixListener::from_std(listener).map(Listener::Unix),
        }
    }

    async fn accept(&self, listener: &Listener) -> Result<(Stream, Option<SocketAddr>)> {
        match listener {
            Listener::Tcp(listener) => {
                listener.accept().await.map(|(stream, address)| (stream.into(), Some(address)))
            }
            #[cfg(unix)]
            Listener::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| (stream.into(), None))
            }
        }
    }

    fn unwrap_upgraded(upgraded: Upgraded) -> std::result::Result<(Stream, Bytes), Upgraded> {
        #[cfg(feature = "axum")]
        let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => return Ok((parts.io.into_inner().into(), parts.read_buf)),
            Err(upgraded) => upgraded,
        };
        let parts = upgraded.downcast::<TokioIo<TcpStream>>()?;
        Ok((parts.io.into_inner().into(), parts.read_buf))
    }
}

/// A listening socket of tokio.
#[derive(Debug)]
pub enum Listener {
    /// A socket of TCP.
    Tcp(TcpListener),
    /// A unix socket.
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A timer of tokio.
#[derive(Debug)]
pub struct Timer {
    handle: Handle,
    /// Made when it is set for the first time.
    sleep: Option<Pin<Box<Sleep>>>,
    is_set: bool,
}

impl wwr_async::Timer for Timer {
    fn set(&mut self, at: Option<Instant>) {
        self.is_set = at.is_some();
        let Some(at) = at.map(Into::into) else { return };
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            none => {
                let _context = self.handle.enter();
                *none = Some(Box::pin(sleep_until(at)));
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.sleep {
            Some(sleep) if self.is_set => {
                ready!(sleep.as_mut().poll(cx));
                self.is_set = false;
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }
}
