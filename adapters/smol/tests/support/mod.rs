//! What the tests share: servers on ports of their own, an application, a client made by hand.

pub(crate) mod app;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod peer;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use smol::Executor;
use wwr_smol::server::{Builder, Config, Handler, Server, ServerHandle};
use wwr_smol::{GlobalExecutor, Listen, SocketAddress, Spawn as _};

use app::{App, Event, Gates};

/// How long anything may take before the test gives up. Never decides whether one passes.
pub(crate) const SAFETY: Duration = Duration::from_secs(60);

/// Threads that drive an executor until they are dropped.
pub(crate) struct Threads {
    pub(crate) executor: Arc<Executor<'static>>,
    stop: Option<smol::channel::Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    pub(crate) fn start(count: usize) -> Self {
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = smol::channel::bounded::<()>(1);
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

/// Settings that differ from the default ones in this.
pub(crate) fn configured(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// A server that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) handle: ServerHandle,
    ended: mpsc::Receiver<()>,
    _threads: Option<Threads>,
}

impl Running {
    /// Runs a server on an executor of its own with this many threads.
    pub(crate) fn with_threads<H: Handler>(builder: Builder<H>, count: usize) -> Self {
        let threads = Threads::start(count);
        let executor = threads.executor.clone();
        let builder = builder.executor(executor.clone());
        Self::listen(builder, |task| executor.spawn(task).detach(), Some(threads))
    }

    /// Runs a server on the executor that the builder has by default.
    pub(crate) fn on_global_executor<H: Handler>(builder: Builder<H>) -> Self {
        Self::listen(builder, |task| GlobalExecutor.spawn_task(task), None)
    }

    fn listen<H: Handler>(
        builder: Builder<H>,
        spawn: impl FnOnce(smol::future::Boxed<()>),
        threads: Option<Threads>,
    ) -> Self {
        let server = smol::block_on(builder.listen("127.0.0.1:0")).unwrap();
        Self::run(server, spawn, threads)
    }

    /// Runs a server that listens on this, on an executor of its own with one thread. Returns where it
    /// listens, too.
    pub(crate) fn listening<H: Handler>(
        builder: Builder<H>,
        on: impl Into<Listen>,
    ) -> (Self, Vec<SocketAddress>) {
        let threads = Threads::start(1);
        let executor = threads.executor.clone();
        let server = smol::block_on(builder.executor(executor.clone()).listen(on)).unwrap();
        let addresses = server.local_addrs().to_vec();
        (Self::run(server, |task| executor.spawn(task).detach(), Some(threads)), addresses)
    }

    fn run<H: Handler>(
        server: Server<H>,
        spawn: impl FnOnce(smol::future::Boxed<()>),
        threads: Option<Threads>,
    ) -> Self {
        let (address, handle) = (server.local_addr(), server.handle());
        let (sender, ended) = mpsc::channel();
        spawn(Box::pin(async move {
            server.run().await;
            let _ = sender.send(());
        }));
        Self { address, handle, ended, _threads: threads }
    }

    /// Waits until `Server::run` has returned.
    pub(crate) fn wait_for_end(&self) {
        self.ended.recv_timeout(SAFETY).expect("the server goes on");
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.try_recv().is_ok()
    }

    /// Begins to shut down and comes back when the server refuses requests.
    pub(crate) fn begin_shut_down(&self, within: Duration) -> mpsc::Receiver<()> {
        let (sender, done) = mpsc::channel();
        let handle = self.handle.clone();
        std::thread::spawn(move || {
            smol::block_on(handle.shut_down(within));
            let _ = sender.send(());
        });
        until(|| self.handle.is_shutting_down());
        done
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        smol::block_on(self.handle.shut_down(Duration::ZERO));
    }
}

/// A server with the application of the tests.
pub(crate) struct Fixture {
    pub(crate) server: Running,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) gates: Arc<Gates>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With settings that differ from the default ones in this.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::built(|builder| builder.config(configured(change)))
    }

    pub(crate) fn built(configure: impl FnOnce(Builder<App>) -> Builder<App>) -> Self {
        let (app, events, gates) = App::new();
        let builder = configure(Server::builder(app));
        Self { server: Running::with_threads(builder, 1), events, gates }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The next thing the application saw.
    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(SAFETY).expect("nothing more happens")
    }

    /// The next connection the application hears of.
    pub(crate) fn connected(&self) -> wwr_smol::server::Connection {
        match self.event() {
            Event::Connected(connection) => connection,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a request of this name has begun; returns the events before that.
    pub(crate) fn wait_for_start(&self, name: &str) -> Vec<Event> {
        let mut before = Vec::new();
        loop {
            match self.event() {
                Event::Started(started) if started == name => return before,
                other => before.push(other),
            }
        }
    }

    /// Waits for the end of a connection; returns whether it still had a session, and what came
    /// before.
    pub(crate) fn wait_for_disconnected(&self) -> (bool, Vec<Event>) {
        let mut before = Vec::new();
        loop {
            match self.event() {
                Event::Disconnected { session } => return (session, before),
                other => before.push(other),
            }
        }
    }
}

/// Waits for something that happens by itself.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < SAFETY, "it never happens");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Never ends.
pub(crate) async fn forever<T>() -> T {
    pending().await
}
