//! The runtime of servers and clients on tokio.

use std::future::{Future, poll_fn};
use std::io::{Error, Result};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
#[cfg(feature = "axum")]
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Handle};
use tokio::task::{JoinHandle, coop::unconstrained};
use tokio::time::{Sleep, sleep_until};
use wwr_async::{BlockOn, ListeningSocket, Runtime, SocketAddress};

pub use crate::stream::Stream;

/// A runtime of tokio: `multi_thread` or `current_thread`, with its drivers for I/O and time enabled.
/// It is made from a [`Handle`].
///
/// The default is the runtime in which it is made: that of the caller of
/// [`Builder::listen`](crate::server::Builder::listen), for example. Its clock must not be paused.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
}

impl Default for Tokio {
    /// Returns the runtime of the caller.
    ///
    /// # Panics
    ///
    /// Outside of a runtime, as [`tokio::spawn`] does, and if the runtime has no timers: use
    /// [`Builder::enable_all`](tokio::runtime::Builder::enable_all).
    #[track_caller]
    fn default() -> Self {
        Handle::current().into()
    }
}

impl From<Handle> for Tokio {
    /// Converts the handle of a runtime.
    ///
    /// # Panics
    ///
    /// If the runtime has ended, or has no timers: use
    /// [`Builder::enable_all`](tokio::runtime::Builder::enable_all).
    #[track_caller]
    fn from(handle: Handle) -> Self {
        {
            let _context = handle.enter();
            let first = pin!(tokio::time::sleep(Duration::ZERO));
            // Panics here rather than in a task, where only that task would end.
            let _ = without_budget(&mut Context::from_waker(Waker::noop()), |cx| first.poll(cx));
        }
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

    async fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let mut working = Working(self.handle.spawn_blocking(work));
        (&mut working.0).await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Error::other("the runtime has shut down"),
        })
    }

    async fn connect(&self, to: SocketAddress) -> Result<Stream> {
        let connect = async {
            match to {
                SocketAddress::Tcp(to) => TcpStream::connect(to).await.map(Into::into),
                #[cfg(unix)]
                SocketAddress::Unix(path) => UnixStream::connect(path).await.map(Into::into),
            }
        };
        let mut connect = pin!(connect);
        poll_fn(|cx| {
            let _context = self.handle.enter();
            connect.as_mut().poll(cx)
        })
        .await
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

/// Polls without the budget that a task of tokio has for each of its turns. Server and client take
/// turns by themselves, and a handler that uses up the budget must not stop their sockets and timers.
pub(crate) fn without_budget<T>(
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let mut poll = Some(poll);
    let once = poll_fn(|cx| poll.take().map_or(Poll::Pending, |poll| poll(cx)));
    pin!(unconstrained(once)).poll(cx)
}

/// Work on a thread for it, which is not begun any more once this is dropped.
struct Working<T>(JoinHandle<T>);

impl<T> Drop for Working<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl BlockOn for Tokio {
    fn block_on(work: impl AsyncFnOnce(Self)) -> Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work(runtime.handle().clone().into()));
        // Does not wait for a name that the system looks up.
        runtime.shutdown_background();
        Ok(())
    }
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
        let (Some(sleep), true) = (&mut self.sleep, self.is_set) else { return Poll::Pending };
        ready!(without_budget(cx, |cx| sleep.as_mut().poll(cx)));
        self.is_set = false;
        Poll::Ready(())
    }
}
