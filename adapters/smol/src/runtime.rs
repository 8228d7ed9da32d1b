//! The runtime of servers and clients on smol.

use std::future::Future;
use std::io::Result;
use std::net::{self, SocketAddr};
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use smol::net::TcpStream;
use smol::{Async, Executor};
use smol_hyper::rt::FuturesIo;
use wwr_async::{BlockOn, ListeningSocket, Runtime, SocketAddress};

use crate::executor::{self, Spawn};
pub use crate::stream::Stream;

/// The runtime smol: its reactor, its threads for blocking work, and an executor. By default this is
/// the [`GlobalExecutor`](crate::GlobalExecutor), otherwise the [`Spawn`] that it is made from.
#[derive(Clone, Default)]
pub struct Smol {
    executor: Option<Arc<dyn Spawn>>,
}

impl<S: Spawn> From<S> for Smol {
    fn from(executor: S) -> Self {
        Self { executor: Some(Arc::new(executor)) }
    }
}

impl Runtime for Smol {
    type Timer = Timer;
    type Stream = Stream;
    type Listener = Listener;

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.executor {
            None => executor::spawn(task),
            Some(executor) => executor.spawn_task(Box::pin(task)),
        }
    }

    fn without_executor(&self) -> Self {
        Self::default()
    }

    fn timer(&self) -> Timer {
        Timer(smol::Timer::never())
    }

    async fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        Ok(smol::unblock(work).await)
    }

    async fn connect(&self, to: SocketAddress) -> Result<Stream> {
        Ok(match to {
            SocketAddress::Tcp(to) => Async::<net::TcpStream>::connect(to).await?.into(),
            #[cfg(unix)]
            SocketAddress::Unix(path) => Async::<UnixStream>::connect(path).await?.into(),
        })
    }

    fn listen(&self, listener: ListeningSocket) -> Result<Listener> {
        Ok(match listener {
            ListeningSocket::Tcp(listener) => Listener::Tcp(Async::new_nonblocking(listener)?),
            #[cfg(unix)]
            ListeningSocket::Unix(listener) => Listener::Unix(Async::new_nonblocking(listener)?),
        })
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
        let parts = upgraded.downcast::<FuturesIo<TcpStream>>()?;
        Ok((Arc::<Async<_>>::from(parts.io.into_inner()).into(), parts.read_buf))
    }
}

impl BlockOn for Smol {
    fn block_on(work: impl AsyncFnOnce(Self)) -> Result<()> {
        let executor = Arc::new(Executor::new());
        executor::run(&executor, work(executor.clone().into()));
        Ok(())
    }
}

impl std::fmt::Debug for Smol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smol").finish_non_exhaustive()
    }
}

/// A listening socket in smol's reactor.
#[derive(Debug)]
pub enum Listener {
    /// A socket of TCP.
    Tcp(Async<net::TcpListener>),
    /// A unix socket.
    #[cfg(unix)]
    Unix(Async<UnixListener>),
}

/// A timer of smol's reactor.
#[derive(Debug)]
pub struct Timer(smol::Timer);

impl wwr_async::Timer for Timer {
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
