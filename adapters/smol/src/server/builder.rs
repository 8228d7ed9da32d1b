//! Setting up a server.

use std::io;

use smol::net::AsyncToSocketAddrs;

use super::config::{Checked, Config, InvalidConfig};
use super::endpoint::Endpoints;
use super::handler::Handler;
use super::hub::Hub;
use super::listener::{self, Server};
use super::service::Service;
use crate::executor::{GlobalExecutor, Spawn};
use crate::key::{KeyGenerator, RandomKeys};
use crate::store::{MemoryStore, SessionStore, SharedStore};

/// What a [`Server`] is made of, on the way to one. See there for an example.
pub struct Builder<H> {
    handler: H,
    config: Config,
    store: SharedStore,
    keys: Box<dyn KeyGenerator>,
    executor: Box<dyn Spawn>,
}

impl<H: Handler> Builder<H> {
    pub(super) fn new(handler: H) -> Self {
        Self {
            handler,
            config: Config::default(),
            store: SharedStore::new(MemoryStore::new()),
            keys: Box::new(RandomKeys),
            executor: Box::new(GlobalExecutor),
        }
    }

    /// All settings. They are checked when the server is built. Default: [`Config::default`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Where sessions are kept. Default: in memory.
    #[must_use]
    pub fn store(mut self, store: impl SessionStore) -> Self {
        self.store = SharedStore::new(store);
        self
    }

    /// What makes session keys. Default: [`RandomKeys`].
    #[must_use]
    pub fn key_generator(mut self, keys: impl KeyGenerator) -> Self {
        self.keys = Box::new(keys);
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
    /// A name may stand for several addresses, as `localhost` does for one of IPv4 and one of IPv6:
    /// the server listens on all of them, with port 0 on the same port if it is free everywhere. An
    /// address of a family that the system does not have is left out, with a warning.
    ///
    /// # Errors
    ///
    /// If an address cannot be bound: the error names it. [`InvalidConfig`], of the kind
    /// [`InvalidInput`](io::ErrorKind::InvalidInput).
    pub async fn listen(self, address: impl AsyncToSocketAddrs) -> io::Result<Server<H>> {
        let proxy_protocol = self.config.proxy_protocol;
        let service = self.headless()?;
        let listeners = listener::bind(address).await?;
        Server::new(listeners, service, proxy_protocol)
    }

    /// A server without a listener, for mounting in an HTTP server of your own.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`].
    pub fn headless(self) -> Result<Service<H>, InvalidConfig> {
        let checked = self.config.check(self.keys.format())?;
        let Checked { connection, paths, hub, limits, origins, trusted_proxies } = checked;
        let hub = Hub::new(self.executor, self.keys, self.store, &hub);
        let endpoints = Endpoints::new(connection, paths);
        Ok(Service::new(self.handler, hub, endpoints, origins, trusted_proxies, limits))
    }
}

impl<H> std::fmt::Debug for Builder<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
