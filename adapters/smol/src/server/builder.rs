//! Setting up a server.

use std::collections::HashMap;
use std::io;
use std::num::{NonZeroU16, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use smol::net::{AsyncToSocketAddrs, TcpListener};
use wwr::server::{Announcement, Config, Pings, Protocol, Sessions};
use wwr::session::RegistryConfig;

use super::endpoint::Endpoints;
use super::handler::Handler;
use super::hub::Hub;
use super::listener::Server;
use super::origin::Origins;
use super::service::Service;
use super::settings::{Collection, Limits};
use crate::executor::{GlobalExecutor, Spawn};
use crate::key::{KeyGenerator, RandomKeys};
use crate::store::{MemoryStore, SessionStore, SharedStore};

/// The settings of a [`Server`], on the way to one. See there for an example.
pub struct Builder<H> {
    handler: H,
    machine: Config,
    paths: HashMap<String, Protocol>,
    registry: RegistryConfig,
    sessions: bool,
    store: SharedStore,
    keys: Box<dyn KeyGenerator>,
    executor: Box<dyn Spawn>,
    origins: Origins,
    limits: Limits,
    collection: Option<Collection>,
}

impl<H: Handler> Builder<H> {
    pub(super) fn new(handler: H) -> Self {
        Self {
            handler,
            machine: Config::default(),
            paths: HashMap::new(),
            registry: RegistryConfig::default(),
            sessions: true,
            store: SharedStore::new(MemoryStore::new()),
            keys: Box::new(RandomKeys),
            executor: Box::new(GlobalExecutor),
            origins: Origins::default(),
            limits: Limits::default(),
            collection: None,
        }
    }

    /// Which versions of the protocol are spoken. Default: all of them, on one port.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.machine.protocol = protocol;
        self
    }

    /// Which versions are spoken on a path instead, both in its preflight and on its WebSockets. The
    /// path begins with a slash and is matched as a whole, as it is written in requests; a query
    /// does not count. Of several calls for a path the last one counts, other paths add up.
    ///
    /// Clients of 1.5 and 2.0 can be told a path, those of 1.4 only ever use `/` (protocol §4.3).
    #[must_use]
    pub fn protocol_at(mut self, path: impl Into<String>, protocol: Protocol) -> Self {
        self.paths.insert(path.into(), protocol);
        self
    }

    /// What clients that may speak 1.5 or 2.0 are told, and held to once they are known to. Default:
    /// a read timeout of 60 s, a message buffer of 8192 bytes, no sub-protocol. For a larger buffer
    /// than [`Limits::max_message_size`], raise that too.
    #[must_use]
    pub fn announce(mut self, announced: Announcement) -> Self {
        self.machine.announced = announced;
        self
    }

    /// When clients that send no heartbeats are pinged, and how long they have to answer; `None`
    /// leaves it to the system to find out that they are gone, if it ever does. Default: after 30 s
    /// of silence, 30 s for the answer.
    #[must_use]
    pub fn pings(mut self, pings: impl Into<Option<Pings>>) -> Self {
        self.machine.pings = pings.into();
        self
    }

    /// Disconnects clients known to speak 2.0 for all that the reference disconnects them for: text,
    /// messages that cannot be read, and messages longer than the announced buffer (protocol §5.2).
    /// Default: such messages are ignored or, if they can be, read.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.machine.strict = true;
        self
    }

    /// Where sessions are kept. Default: in memory.
    #[must_use]
    pub fn store(mut self, store: impl SessionStore) -> Self {
        self.store = SharedStore::new(store);
        self
    }

    /// No sessions: clients are told that they are disabled.
    #[must_use]
    pub fn without_sessions(mut self) -> Self {
        self.sessions = false;
        self
    }

    /// What makes session keys. Default: [`RandomKeys`].
    #[must_use]
    pub fn key_generator(mut self, keys: impl KeyGenerator) -> Self {
        self.keys = Box::new(keys);
        self
    }

    /// How many connections may share a session. Default: any number.
    #[must_use]
    pub fn max_session_connections(mut self, most: NonZeroUsize) -> Self {
        self.registry.max_connections = Some(most);
        self
    }

    /// Stores a session before the client hears of it, and creates none if that fails. Otherwise
    /// the client is told first and an error of the store is only logged, which is the default.
    #[must_use]
    pub fn durable_sessions(mut self) -> Self {
        self.registry.durable = true;
        self
    }

    /// Removes sessions that were not looked up for long, now and then, from when the server is
    /// built until it is shut down or dropped. Default: never.
    #[must_use]
    pub fn collect_sessions(mut self, collection: Collection) -> Self {
        self.collection = Some(collection);
        self
    }

    /// How many handlers may run at once on one connection. Default: 1, so that requests are
    /// served in order. [`NonZeroU16::MAX`] is as good as unlimited.
    #[must_use]
    pub fn concurrency(mut self, handlers: NonZeroU16) -> Self {
        self.machine.concurrency = handlers;
        self
    }

    /// How long handlers may go on after their connection was told to close, or was lost.
    /// Default: 10 s. A shutdown has a deadline of its own.
    #[must_use]
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.machine.drain_timeout = timeout;
        self
    }

    /// Whose pages may connect. Default: those of the same host.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// What clients may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where the tasks of the server run. Default: [`GlobalExecutor`].
    #[must_use]
    pub fn executor(mut self, executor: impl Spawn) -> Self {
        self.executor = Box::new(executor);
        self
    }

    /// Binds a TCP address; port 0 lets the system choose. Clients can connect from now on, and are
    /// served once [`Server::run`] is called.
    ///
    /// # Errors
    ///
    /// If the address cannot be bound.
    pub async fn listen(self, address: impl AsyncToSocketAddrs) -> io::Result<Server<H>> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Server::new(listener, address, self.headless()))
    }

    /// A server without a listener, for mounting in an HTTP server of your own.
    pub fn headless(self) -> Service<H> {
        let mut machine = self.machine;
        machine.sessions = match self.sessions {
            true => Sessions::Enabled(self.keys.format()),
            false => Sessions::Disabled,
        };
        let hub = Hub::new(
            self.executor,
            self.keys,
            self.store,
            self.limits.store_timeout,
            self.registry,
        );
        let hub = Arc::new(hub);
        if let Some(collection) = self.collection {
            hub.spawn(Hub::collect(Arc::downgrade(&hub), collection));
        }
        let (most, announced) =
            (self.limits.max_message_size, machine.announced.message_buffer_size());
        if most < announced {
            tracing::warn!(
                most,
                announced,
                "clients may be disconnected for messages they may send"
            );
        }
        let endpoints = Endpoints::new(machine, self.paths);
        Service::new(self.handler, hub, endpoints, self.origins, self.limits)
    }
}

impl<H> std::fmt::Debug for Builder<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("limits", &self.limits).finish_non_exhaustive()
    }
}
