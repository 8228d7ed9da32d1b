//! What the suite needs of tokio.

use std::net;
use std::sync::LazyLock;
use std::thread::JoinHandle;

use hyper_util::rt::TokioIo;
use smol::channel::{Sender, bounded};
use tokio::net::TcpStream;
use tokio::runtime::{self, Builder, Handle};
pub(crate) use wwr_tokio::*;

/// The runtime.
pub(crate) type UnderTest = Tokio;

/// The runtime under test.
pub(crate) fn runtime() -> Tokio {
    shared().into()
}

fn shared() -> Handle {
    static SHARED: LazyLock<Threads> = LazyLock::new(Threads::start);
    SHARED.handle.clone()
}

/// Runs a future in which the defaults of the crate mean the runtime under test.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    shared().block_on(future)
}

/// A socket as HTTP servers on tokio have it. Has to be called on a runtime.
pub(crate) fn http_stream(stream: net::TcpStream) -> TokioIo<TcpStream> {
    stream.set_nonblocking(true).unwrap();
    TokioIo::new(TcpStream::from_std(stream).unwrap())
}

/// A runtime that runs until it is dropped.
pub(crate) struct Threads {
    handle: Handle,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Threads {
    /// A runtime of this flavour.
    pub(crate) fn start() -> Self {
        Self::of(crate::builder())
    }

    pub(crate) fn one() -> Self {
        Self::of(Builder::new_current_thread())
    }

    fn of(mut builder: Builder) -> Self {
        let runtime = builder.enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        let (stop, stopped) = bounded::<()>(1);
        let thread = std::thread::spawn(move || {
            // Ends with an error when the sender is dropped.
            let _ = runtime.block_on(stopped.recv());
        });
        Self { handle, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn runtime(&self) -> Tokio {
        self.handle.clone().into()
    }

    /// Returns the runtime for a server that is to end with this one. Handles keep no runtime alive.
    pub(crate) fn borrowed_runtime(&self) -> Tokio {
        self.runtime()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(task));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop = None;
        let ended = self.thread.take().map(JoinHandle::join);
        let fine = ended.is_none_or(|ended| ended.is_ok());
        assert!(fine || std::thread::panicking(), "the thread of a runtime panicked");
    }
}

/// A runtime of one thread that runs only in `run`.
pub(crate) struct Manual(runtime::Runtime);

impl Manual {
    pub(crate) fn new() -> Self {
        Self(Builder::new_current_thread().enable_all().build().unwrap())
    }

    pub(crate) fn runtime(&self) -> Tokio {
        self.0.handle().clone().into()
    }

    pub(crate) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.0.block_on(future)
    }
}
