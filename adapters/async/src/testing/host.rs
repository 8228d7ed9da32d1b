//! A simulated host.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::network::ip;
use super::runtime::VirtualRuntime;
use super::server::Serve;
use super::world::{HostState, Process, State, World};
use crate::client::{self, InvalidUrl, ServerUrl};
use crate::runtime::Runtime as _;
use crate::server::{self, Handler, InvalidConfig, ServerHandle};

/// A host of a [`Simulation`](super::Simulation): a machine with a name, on which a server and clients run. Clones
/// are the same host.
///
/// What happens to the network at a host concerns all connections of the host, in both directions.
#[derive(Clone)]
pub struct Host {
    world: Arc<World>,
    name: String,
}

impl Host {
    pub(super) fn new(world: Arc<World>, name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let mut state = world.lock();
        // More hosts than addresses do not fit in memory.
        let number = u32::try_from(state.hosts.len()).unwrap_or(u32::MAX).wrapping_add(1);
        state.hosts.entry(name.clone()).or_insert_with(|| HostState::new(number));
        drop(state);
        Self { world, name }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its address, from which its clients come: 10.0.0.1 for the first host, and so on.
    pub fn address(&self) -> IpAddr {
        ip(self.with(|host| host.number))
    }

    /// Returns a runtime whose tasks run on this host: clients that are made for it connect from here. The tasks end when the host [crashes](Self::crash).
    pub fn runtime(&self) -> VirtualRuntime {
        let process = self.with(|host| host.process.clone());
        VirtualRuntime::new(self.world.clone(), Some((self.name.clone(), process)))
    }

    /// Begins to set up a server of this host, for [`serve`](Self::serve).
    pub fn server<H: Handler>(&self, handler: H) -> server::Builder<H, VirtualRuntime> {
        server::Server::builder_on(self.runtime(), handler)
    }

    /// Serves on all ports of this host, until the server is [shut down](ServerHandle::shut_down) or the host
    /// [crashes](Self::crash). A server that served here before gets no new connections.
    ///
    /// The server runs on [the runtime of this host](Self::runtime), whichever it was made for.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`].
    pub fn serve<H: Handler>(
        &self,
        server: server::Builder<H, VirtualRuntime>,
    ) -> Result<ServerHandle, InvalidConfig> {
        let service = server.executor(self.runtime()).headless()?;
        let handle = service.handle();
        let served: Arc<dyn Serve> = Arc::new(service.clone());
        let before = self.with(|host| host.server.replace(served.clone()));
        drop(before);
        let host = self.clone();
        self.runtime().spawn(async move {
            service.stopped().await;
            let stopped =
                host.with(|host| host.server.take_if(|server| Arc::ptr_eq(server, &served)));
            drop(stopped);
        });
        Ok(handle)
    }

    /// Begins to set up a client on this host, on [its runtime](Self::runtime), of the server at an address such as `ws://chat.test/`. The name is
    /// the one of a host in this simulation, and the port may be any. There is no TLS, so no `wss://`.
    ///
    /// # Errors
    ///
    /// [`InvalidUrl`].
    pub fn client(&self, url: &str) -> Result<client::Builder<VirtualRuntime>, InvalidUrl> {
        let url: ServerUrl = url.parse()?;
        Ok(client::Builder::new_on(self.runtime(), url))
    }

    /// Ends all tasks of this host at once, its server and its clients among them, and breaks its connections.
    /// Nothing is cleaned up or said to peers. The host can serve again after that, with the same
    /// [store](server::Builder::store) for example: a restart.
    pub fn crash(&self) {
        let (process, server) = self.with(|host| {
            let next = Arc::new(Process::default());
            (std::mem::replace(&mut host.process, next), host.server.take())
        });
        drop(server);
        process.crash();
        self.cut();
    }

    /// Breaks all connections of this host: both sides get an error at once. New connections are possible.
    pub fn cut(&self) {
        self.change(|state| {
            let links = state.links.values_mut();
            links
                .filter(|link| link.hosts.contains(&self.name))
                .flat_map(|link| link.reset(&self.name))
                .collect()
        });
    }

    /// Takes this host off the network, until [`heal`](Self::heal). Nothing gets through, and neither side gets an
    /// error: what is sent waits, and so do attempts to connect.
    pub fn partition(&self) {
        self.set(|host| host.partitioned = true);
    }

    /// Takes this host back on the network. What waited goes through.
    pub fn heal(&self) {
        self.set(|host| host.partitioned = false);
    }

    /// Programs on this host do not read from their connections any more, until
    /// [`resume_reading`](Self::resume_reading), although the network works. 64 KiB fit into each connection; after
    /// that, the peer cannot send.
    pub fn stop_reading(&self) {
        self.set(|host| host.reads = false);
    }

    /// Ends [`stop_reading`](Self::stop_reading).
    pub fn resume_reading(&self) {
        self.set(|host| host.reads = true);
    }

    /// Refuses new connections to this host, as if nothing listened there, until [`accept`](Self::accept).
    pub fn refuse(&self) {
        self.set(|host| host.refuses = true);
    }

    /// Ends [`refuse`](Self::refuse).
    pub fn accept(&self) {
        self.set(|host| host.refuses = false);
    }

    /// Sets how long everything takes on its way from this host, and to it. Between two hosts, both count. Default:
    /// no time.
    pub fn set_latency(&self, latency: Duration) {
        self.set(|host| host.latency = latency);
    }

    /// Sets up to how much longer it takes by chance. The order within a connection stays. Default: no time.
    pub fn set_jitter(&self, jitter: Duration) {
        self.set(|host| host.jitter = jitter);
    }

    /// Changes this host, and lets all that wait for its connections look again.
    fn set(&self, change: impl FnOnce(&mut HostState)) {
        self.with(change);
        self.change(|state| state.wakers_of(&self.name));
    }

    fn change(&self, change: impl FnOnce(&mut State) -> Vec<Waker>) {
        let mut state = self.world.lock();
        let wakers = change(&mut state);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        self.world.changed.notify(usize::MAX);
    }

    /// Calls a function with the state of this host.
    fn with<T>(&self, call: impl FnOnce(&mut HostState) -> T) -> T {
        let mut state = self.world.lock();
        match state.hosts.get_mut(&self.name) {
            Some(host) => call(host),
            // The simulation has ended, and nothing comes of it.
            None => call(&mut HostState::new(0)),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("name", &self.name).finish_non_exhaustive()
    }
}
