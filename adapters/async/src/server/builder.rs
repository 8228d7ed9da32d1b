//! Setting up a server.

use std::io;

use wwr::Instant;
use wwr::session::{HistoryConfig, OutcomesConfig};

use super::config::{Checked, Config, InvalidConfig};
use super::endpoint::Endpoints;
use super::handler::Handler;
use super::hub::Hub;
use super::listener::{self, Server};
use super::service::{Service, ServiceTerms};
use super::tls::Tls;
use crate::clock::Clock;
use crate::cluster::{ClusterConfig, Engine, SharedEngine};
use crate::key::{KeyGenerator, RuntimeKeys};
use crate::listen::Listen;
use crate::runtime::{Choice, Runtime};
use crate::store::{MemoryStore, SessionStore, SharedStore};

/// What a [`Server`] is made of, on the way to one. See there for an example.
pub struct Builder<H, R> {
    runtime: Choice<R>,
    handler: H,
    config: Config,
    /// `None`: in memory.
    store: Option<SharedStore>,
    cluster: Option<(SharedEngine, ClusterConfig)>,
    /// `None`: random ones of the runtime.
    keys: Option<Box<dyn KeyGenerator>>,
    tls: Option<Tls>,
}

impl<H: Handler, R: Runtime> Builder<H, R> {
    pub(super) fn new(runtime: Choice<R>, handler: H) -> Self {
        Self {
            runtime,
            handler,
            config: Config::default(),
            store: None,
            cluster: None,
            keys: None,
            tls: None,
        }
    }

    /// All settings. They are checked when the server is built. Default: [`Config::default`].
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Keeps the signals to each session for clients that come back; see [`Config::history`]. Later
    /// [`config`](Self::config) replaces it.
    #[must_use]
    pub const fn history(mut self, history: HistoryConfig) -> Self {
        self.config.history = Some(history);
        self
    }

    /// Keeps the outcomes of idempotent requests; see [`Config::idempotency`]. Later
    /// [`config`](Self::config) replaces it.
    #[must_use]
    pub const fn idempotency(mut self, outcomes: OutcomesConfig) -> Self {
        self.config.idempotency = Some(outcomes);
        self
    }

    /// Where sessions are kept. Default: in memory.
    #[must_use]
    pub fn store(mut self, store: impl SessionStore) -> Self {
        self.store = Some(SharedStore::new(store));
        self
    }

    /// Makes the server a node of several, which share an engine and are one service. It has the sessions, so there
    /// is no [store](Self::store): they are restored on any node, and their limits hold over all of them, as do changes
    /// and [`close_session`](super::ServerHandle::close_session). Signals to a session, a
    /// [group](super::ServerHandle::group) and all go to the connections of all nodes
    /// ([`Broadcast::forwarded`](super::Broadcast::forwarded)). Sessions expire as the engine has it, and
    /// [`HubConfig::expiry`](super::HubConfig::expiry) does not count. Default: no cluster.
    ///
    /// While the engine is away, requests and signals on this node go on, except for those that the engine keeps:
    /// idempotent requests are refused, and signals to sessions with a history are not sent. Sessions are neither created
    /// nor restored: that fails at once. A node that was away for longer than four fifths of its
    /// [lease](ClusterConfig::lease) closes the connections that have a session, with code 1012. Their clients come
    /// back, to any node, and restore it. A shutdown gives the places of the node free.
    ///
    /// [`ClusterConfig::epoch`] is set here, by the clock of the runtime.
    ///
    /// ```
    /// use wwr_async::cluster::{ClusterConfig, Engine};
    /// use wwr_async::server::{Handler, InvalidConfig, Server, Service};
    /// use wwr_async::Runtime;
    ///
    /// fn node<H: Handler, R: Runtime>(
    ///     runtime: R,
    ///     handler: H,
    ///     engine: impl Engine,
    /// ) -> Result<Service<H, R>, InvalidConfig> {
    ///     let config = ClusterConfig::new("node-1");
    ///     Server::builder_on(runtime, handler).cluster(engine, config).headless()
    /// }
    /// ```
    #[must_use]
    pub fn cluster(mut self, engine: impl Engine, config: ClusterConfig) -> Self {
        self.cluster = Some((SharedEngine::new(engine), config));
        self
    }

    /// What makes session keys. Default: keys like those of [`RandomKeys`](crate::RandomKeys), made of the
    /// random bytes of the [runtime](Runtime::fill_random).
    #[must_use]
    pub fn key_generator(mut self, keys: impl KeyGenerator) -> Self {
        self.keys = Some(Box::new(keys));
        self
    }

    /// Where the tasks of the server run: a runtime, or something that converts into one. Default: the
    /// [`Default`] of the runtime, where the server is built. Connections keep an executor alive: shut the
    /// server down before the executor is dropped.
    #[must_use]
    pub fn executor(mut self, executor: impl Into<R>) -> Self {
        self.runtime = Choice::Given(executor.into());
        self
    }

    /// Certificates for TLS: [`Tls`] made of PEM files, or a
    /// [`ServerConfig`](crate::rustls::ServerConfig) of rustls. Clients then connect to `wss://`
    /// addresses. All TCP sockets that the server [listens on](Self::listen) have TLS, unless they are
    /// [`plain`](Listen::plain); unix sockets never have. Default: no TLS.
    ///
    /// The handshake counts as a part of the WebSocket's: in
    /// [`Limits::max_handshakes`](super::Limits::max_handshakes), and it has to end within
    /// [`header_timeout`](super::Limits::header_timeout). A header of the
    /// [PROXY protocol](Config::proxy_protocol) comes before it.
    #[cfg(feature = "rustls")]
    #[must_use]
    pub fn tls(mut self, tls: impl Into<Tls>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// Listens on a TCP address, on a unix socket, on a socket that listens already, or on several of
    /// these: see [`Listen`]. Port 0 lets the system choose. Clients can connect from now on, and are
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
    pub async fn listen(self, on: impl Into<Listen>) -> io::Result<Server<H, R>> {
        let (runtime, tls) = (self.runtime.get(), self.tls.clone());
        let this = Self { runtime: Choice::Given(runtime.clone()), ..self };
        let proxy_protocol = this.config.proxy_protocol;
        let service = this.headless()?;
        let listeners = listener::bind(&runtime, on.into()).await?;
        Server::new(listeners, service, proxy_protocol, tls)
    }

    /// A server without a listener, for mounting in an HTTP server of your own.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`].
    pub fn headless(self) -> Result<Service<H, R>, InvalidConfig> {
        let runtime = self.runtime.get();
        let keys = self.keys.unwrap_or_else(|| Box::new(RuntimeKeys(runtime.clone())));
        let mut config = self.config;
        let seed = recovery_seed(&runtime, &mut config);
        let checked = config.check(keys.format())?;
        let Checked {
            connection,
            paths,
            hub,
            recovery,
            limits,
            origins,
            trusted_proxies,
            kept_headers,
        } = checked;
        if self.store.is_some() && self.cluster.is_some() {
            return Err(InvalidConfig::StoreAndCluster);
        }
        let cluster = self.cluster.map(|(engine, mut config)| {
            let clock = runtime.clock();
            let running = clock.now().saturating_since(Instant::EPOCH);
            let now = clock.system_time();
            config.epoch = Clock::unix_time(now.checked_sub(running).unwrap_or(now));
            if hub.expiry.is_some() {
                tracing::warn!(
                    "hub.expiry does not count in a cluster: its engine says when sessions expire"
                );
            }
            Ok((engine, config.validate().map_err(InvalidConfig::Cluster)?))
        });
        let store = self.store.unwrap_or_else(|| SharedStore::new(MemoryStore::new()));
        let hub = Hub::new(&runtime, keys, store, &hub, &recovery, seed, cluster.transpose()?);
        let endpoints = Endpoints::new(connection, paths, limits.max_remembered_addresses);
        let terms = ServiceTerms { origins, proxies: trusted_proxies, kept_headers, limits };
        Ok(Service::new(runtime, self.handler, hub, endpoints, terms))
    }
}

/// Returns the number by which clients tell this run of the server from others. Without randomness, nothing is
/// kept that would need one.
fn recovery_seed<R: Runtime>(runtime: &R, config: &mut Config) -> [u8; 16] {
    let mut seed = [0; 16];
    if (config.history.is_some() || config.idempotency.is_some())
        && let Err(error) = runtime.fill_random(&mut seed)
    {
        tracing::error!(%error, "no randomness: neither histories nor outcomes are kept");
        (config.history, config.idempotency) = (None, None);
    }
    seed
}

impl<H, R> std::fmt::Debug for Builder<H, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}
