//! What the tests share: servers on ports of their own, an application, a client made by hand.

pub(crate) mod app;
pub(crate) mod log;
pub(crate) mod message;
#[cfg(feature = "rustls")]
pub(crate) mod openssl;
pub(crate) mod peer;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use smol::channel::{Receiver, bounded};

use crate::adapter::runtime;
use crate::adapter::server::{Builder, Config, Handler, Server, ServerHandle};
use crate::adapter::{Listen, Runtime as _, SocketAddress, Threads};

use app::{App, Event, Gates};

/// How long anything may take before the test gives up. Never decides whether one passes.
pub(crate) const SAFETY: Duration = Duration::from_secs(60);

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
    threads: Option<Threads>,
}

impl Running {
    /// Runs a server on a runtime of its own.
    pub(crate) fn new<H: Handler>(builder: Builder<H>) -> Self {
        let threads = Threads::start();
        let builder = builder.executor(threads.runtime());
        let mut server = Self::spawned(builder, |task| threads.spawn(task));
        server.threads = Some(threads);
        server
    }

    /// Runs a server on the runtime that the builder has.
    pub(crate) fn spawned<H: Handler>(
        builder: Builder<H>,
        spawn: impl FnOnce(smol::future::Boxed<()>),
    ) -> Self {
        Self::run(smol::block_on(builder.listen("127.0.0.1:0")).unwrap(), spawn)
    }

    /// Runs a server that listens on this, on a runtime of its own. Returns where it listens, too.
    pub(crate) fn listening<H: Handler>(
        builder: Builder<H>,
        on: impl Into<Listen>,
    ) -> (Self, Vec<SocketAddress>) {
        let threads = Threads::start();
        let server = smol::block_on(builder.executor(threads.runtime()).listen(on)).unwrap();
        let addresses = server.local_addrs().to_vec();
        let mut running = Self::run(server, |task| threads.spawn(task));
        running.threads = Some(threads);
        (running, addresses)
    }

    fn run<H: Handler>(server: Server<H>, spawn: impl FnOnce(smol::future::Boxed<()>)) -> Self {
        let (address, handle) = (server.local_addr(), server.handle());
        let (sender, ended) = mpsc::channel();
        spawn(Box::pin(async move {
            server.run().await;
            let _ = sender.send(());
        }));
        Self { address, handle, ended, threads: None }
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
    /// Ends the server. Its own threads stop after its last task: they would keep that, and the handler.
    fn drop(&mut self) {
        smol::block_on(self.handle.shut_down(Duration::ZERO));
        if self.threads.is_some() {
            // It may have returned before.
            let _ = self.ended.recv_timeout(SAFETY);
        }
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
        let builder = configure(Server::builder_on(runtime(), app));
        Self { server: Running::new(builder), events, gates }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// The next thing the application saw.
    pub(crate) fn event(&self) -> Event {
        self.events.recv_timeout(SAFETY).expect("nothing more happens")
    }

    /// The next connection the application hears of.
    pub(crate) fn connected(&self) -> crate::adapter::server::Connection {
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

/// Does something on the runtime under test. What is returned is closed at its end.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Receiver<()> {
    let (sender, ended) = bounded(1);
    runtime().spawn(async move {
        task.await;
        drop(sender);
    });
    ended
}

/// Waits for something that happens by itself.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
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
