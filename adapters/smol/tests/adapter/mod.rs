//! What the suite needs of smol.

use std::net;
use std::sync::{Arc, LazyLock, Weak};
use std::thread::JoinHandle;

use smol::channel::{Sender, bounded};
use smol::net::TcpStream;
use smol::{Async, Executor};
use smol_hyper::rt::FuturesIo;
pub(crate) use wwr_smol::*;

/// The runtime.
pub(crate) type UnderTest = Smol;

use crate::THREADS;

/// The runtime under test.
pub(crate) fn runtime() -> Smol {
    static SHARED: LazyLock<Threads> = LazyLock::new(Threads::start);
    SHARED.runtime()
}

/// Runs a future in which the defaults of the crate mean smol.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    smol::block_on(future)
}

/// A socket as HTTP servers on smol have it.
pub(crate) fn http_stream(stream: net::TcpStream) -> FuturesIo<TcpStream> {
    FuturesIo::new(Async::new(stream).unwrap().into())
}

/// Threads that drive an executor until they are dropped.
pub(crate) struct Threads {
    executor: Arc<Executor<'static>>,
    stop: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// As many as this flavour has.
    pub(crate) fn start() -> Self {
        Self::of(THREADS)
    }

    pub(crate) fn one() -> Self {
        Self::of(1)
    }

    fn of(count: usize) -> Self {
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = bounded::<()>(1);
        let drive = |_| {
            let (executor, stopped) = (executor.clone(), stopped.clone());
            std::thread::spawn(move || {
                // Ends with an error when the sender is dropped.
                let _ = smol::block_on(executor.run(stopped.recv()));
            })
        };
        let threads = (0..count).map(drive).collect();
        Self { executor, stop: Some(stop), threads }
    }

    pub(crate) fn runtime(&self) -> Smol {
        self.executor.clone().into()
    }

    /// Returns the runtime for a server that is to end with these threads.
    pub(crate) fn borrowed_runtime(&self) -> Smol {
        Borrowed(Arc::downgrade(&self.executor)).into()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.executor.spawn(task).detach();
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "an executor's thread panicked");
        }
    }
}

/// Spawns as long as another owner keeps the executor.
struct Borrowed(Weak<Executor<'static>>);

impl Spawn for Borrowed {
    fn spawn_task(&self, task: Task) {
        if let Some(executor) = self.0.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

/// An executor that runs only in `run`.
pub(crate) struct Manual(Arc<Executor<'static>>);

impl Manual {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Executor::new()))
    }

    pub(crate) fn runtime(&self) -> Smol {
        self.0.clone().into()
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        smol::block_on(self.0.run(future))
    }
}
