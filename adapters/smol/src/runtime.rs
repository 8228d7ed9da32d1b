//! The runtime of servers and clients on smol.

use std::future::Future;
use std::io::Result;
use std::net::{self, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use smol::net::TcpStream;
use smol::{Async, Executor};
use smol_hyper::rt::FuturesIo;
use wwr_async::{BlockOn, Runtime};

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
    type Listener = Async<net::TcpListener>;

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

    fn unblock<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send {
        smol::unblock(work)
    }

    async fn connect(&self, address: SocketAddr) -> Result<Stream> {
        Ok(Stream::new(Arc::new(Async::<net::TcpStream>::connect(address).await?)))
    }

    fn listen(&self, listener: net::TcpListener) -> Result<Self::Listener> {
        Async::new_nonblocking(listener)
    }

    async fn accept(&self, listener: &Self::Listener) -> Result<(Stream, SocketAddr)> {
        let (stream, address) = listener.accept().await?;
        Ok((Stream::new(Arc::new(stream)), address))
    }

    fn unwrap_upgraded(upgraded: Upgraded) -> std::result::Result<(Stream, Bytes), Upgraded> {
        let parts = upgraded.downcast::<FuturesIo<TcpStream>>()?;
        Ok((Stream::new(parts.io.into_inner().into()), parts.read_buf))
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
