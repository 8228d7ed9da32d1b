//! The runtime of servers and clients on tokio.

use std::future::{Future, pending};
use std::io::Result;
use std::net::{self, SocketAddr};
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
use tokio::runtime::{Builder, Handle};
use tokio::time::{Sleep, sleep_until};
use wwr_async::{BlockOn, Runtime};

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
    type Listener = TcpListener;

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

    async fn connect(&self, address: SocketAddr) -> Result<Stream> {
        TcpStream::connect(address).await.map(Stream::new)
    }

    fn listen(&self, listener: net::TcpListener) -> Result<TcpListener> {
        let _context = self.handle.enter();
        TcpListener::from_std(listener)
    }

    async fn accept(&self, listener: &TcpListener) -> Result<(Stream, SocketAddr)> {
        let (stream, address) = listener.accept().await?;
        Ok((Stream::new(stream), address))
    }

    fn unwrap_upgraded(upgraded: Upgraded) -> std::result::Result<(Stream, Bytes), Upgraded> {
        #[cfg(feature = "axum")]
        let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => return Ok((Stream::new(parts.io.into_inner()), parts.read_buf)),
            Err(upgraded) => upgraded,
        };
        let parts = upgraded.downcast::<TokioIo<TcpStream>>()?;
        Ok((Stream::new(parts.io.into_inner()), parts.read_buf))
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
