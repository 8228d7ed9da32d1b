//! Setting up a server.

use std::io;
use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use wwr::server::gate::{EndpointPath, Origins, TrustedProxies};
use wwr::server::{
    Advertised, Config, Expiry, HubConfig, IdleConnections, Pings, Protocol, Sessions,
};
use wwr::session::RegistryConfig;

use super::endpoint::Endpoints;
use super::handler::Handler;
use super::hub::Hub;
use super::invalid::InvalidSettings;
use super::listener::{self, Server};
use super::service::Service;
use super::settings::Limits;
use crate::addresses::Addresses;
use crate::key::{KeyGenerator, RandomKeys};
use crate::runtime::Runtime;
use crate::store::{MemoryStore, SessionStore, SharedStore};

/// The settings of a [`Server`], on the way to one. See there for an example.
pub struct Builder<H, R> {
    runtime: R,
    handler: H,
    machine: Config,
    paths: Vec<(String, Protocol)>,
    registry: RegistryConfig,
    sessions: bool,
    store: SharedStore,
    keys: Box<dyn KeyGenerator>,
    origins: Origins,
    proxies: TrustedProxies,
    proxy_protocol: bool,
    limits: Limits,
    expiry: Option<Expiry>,
    idle_connections: IdleConnections,
}

impl<H: Handler, R: Runtime> Builder<H, R> {
    pub(super) fn new(runtime: R, handler: H) -> Self {
        Self {
            runtime,
            handler,
            machine: Config::default(),
            paths: Vec::new(),
            registry: RegistryConfig::default(),
            sessions: true,
            store: SharedStore::new(MemoryStore::new()),
            keys: Box::new(RandomKeys),
            origins: Origins::default(),
            proxies: TrustedProxies::default(),
            proxy_protocol: false,
            limits: Limits::default(),
            expiry: None,
            idle_connections: IdleConnections::default(),
        }
    }

    /// Which versions of the protocol are spoken. Default: all of them, on one port.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.machine.protocol = protocol;
        self
    }

    /// Which versions are spoken on a path instead, both in its preflight and on its WebSockets. The
    /// path begins with a slash and is matched as a whole; a query does not count, and how letters are
    /// escaped does not matter ([`EndpointPath`]). Of several calls for a path the last one counts,
    /// other paths add up.
    ///
    /// Clients of 1.5 and 2.0 can be told a path, those of 1.4 only ever use `/` (protocol §4.3).
    #[must_use]
    pub fn protocol_at(mut self, path: impl Into<String>, protocol: Protocol) -> Self {
        self.paths.push((path.into(), protocol));
        self
    }

    /// What clients that may speak 1.5 or 2.0 are told, and held to once they are known to. Default:
    /// a read timeout of 60 s, a message buffer of 8192 bytes, no sub-protocol. For a larger buffer
    /// than [`Limits::max_message_size`], raise that too.
    #[must_use]
    pub fn advertise(mut self, advertised: Advertised) -> Self {
        self.machine.advertised = advertised;
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
    /// messages that cannot be read, and messages longer than the advertised buffer (protocol §5.2).
    /// Default: such messages are ignored or, if they can be, read.
    #[must_use]
    pub fn strict(mut self) -> Self {
        self.machine.strict = true;
        self
    }

    /// Does not speak `wwr.1` with clients that offer it (protocol §10), which are served as any other
    /// of 2.0 then. Default: it is spoken wherever 2.0 is, if [`Limits::max_message_size`] is 8192 or
    /// more.
    #[must_use]
    pub fn without_wwr1(mut self) -> Self {
        self.machine.wwr1 = false;
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
    pub fn expire_sessions(mut self, expiry: Expiry) -> Self {
        self.expiry = Some(expiry);
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

    /// What happens to idle connections when the server shuts down. Default: they stay, and answer new
    /// requests with the shutdown reply, as long as any handler of the server runs.
    /// [`IdleConnections::Close`] closes them at once, so that their clients connect to another server:
    /// for servers behind a load balancer.
    #[must_use]
    pub fn idle_connections(mut self, idle: IdleConnections) -> Self {
        self.idle_connections = idle;
        self
    }

    /// Whose pages may connect. Default: those of the same host, with `http` or `https`.
    #[must_use]
    pub fn origins(mut self, origins: Origins) -> Self {
        self.origins = origins;
        self
    }

    /// Which proxies are trusted to name their clients, in the headers `Forwarded` (RFC 7239) or
    /// `X-Forwarded-For`. The address that they name counts for everything: the slots of
    /// [`Limits::max_handshakes`], the memory of preflights, the log, and
    /// [`ConnectionInfo::remote_addr`](super::ConnectionInfo::remote_addr). Default: none.
    ///
    /// List only addresses from which nobody else can connect: whoever can is believed to be any
    /// client it likes.
    #[must_use]
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// Sockets from [trusted proxies](Self::trusted_proxies) begin with a header of the PROXY protocol,
    /// version 1 or 2, as balancers send it that know nothing of HTTP. Those that do not are closed. It
    /// is no header for sockets from elsewhere. Default: it is not spoken.
    ///
    /// Only for servers with a listener of their own.
    #[must_use]
    pub fn proxy_protocol(mut self) -> Self {
        self.proxy_protocol = true;
        self
    }

    /// What clients may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where the tasks of the server run: a runtime, or what one is made of. Default: as the kind of
    /// runtime says.
    #[must_use]
    pub fn executor(mut self, executor: impl Into<R>) -> Self {
        self.runtime = executor.into();
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
    /// If an address cannot be bound: the error names it. [`InvalidSettings`], of the kind
    /// [`InvalidInput`](io::ErrorKind::InvalidInput).
    pub async fn listen(self, address: impl Into<Addresses>) -> io::Result<Server<H, R>> {
        let proxy_protocol = self.proxy_protocol;
        let runtime = self.runtime.clone();
        let service = self.build()?;
        let listeners = listener::bind(&runtime, address.into()).await?;
        Server::new(listeners, service, proxy_protocol)
    }

    /// A server without a listener, for mounting in an HTTP server of your own.
    ///
    /// # Errors
    ///
    /// [`InvalidSettings`].
    pub fn headless(self) -> Result<Service<H, R>, InvalidSettings> {
        self.build()
    }

    fn build(self) -> Result<Service<H, R>, InvalidSettings> {
        let paths = self.check()?;
        let mut machine = self.machine;
        machine.max_message_size = u32::try_from(self.limits.max_message_size).unwrap_or(u32::MAX);
        machine.sessions = match self.sessions {
            true => Sessions::Enabled(self.keys.format()),
            false => Sessions::Disabled,
        };
        let config = HubConfig {
            max_connections: self.limits.max_connections,
            sessions: self.registry,
            store_timeout: self.limits.store_timeout,
            expiry: self.expiry,
            idle_connections: self.idle_connections,
            ..HubConfig::default()
        };
        let hub = Hub::new(&self.runtime, self.keys, self.store, config);
        let endpoints = Endpoints::new(machine, paths);
        Ok(Service::new(
            self.runtime,
            self.handler,
            hub,
            endpoints,
            self.origins,
            self.proxies,
            self.limits,
        ))
    }

    /// Checks the settings, and reads the paths.
    fn check(&self) -> Result<Vec<(EndpointPath, Protocol)>, InvalidSettings> {
        self.limits.check()?;
        if self.expiry.is_some_and(|expiry| expiry.every.is_zero()) {
            let setting = "Expiry::every";
            let consequence = "expired sessions would be removed without a pause";
            return Err(InvalidSettings::Zero { setting, consequence });
        }
        if self.proxy_protocol && self.proxies.networks.is_empty() {
            return Err(InvalidSettings::NoTrustedProxies);
        }
        for network in self.proxies.networks.iter().filter(|network| network.is_everything()) {
            tracing::warn!(
                %network,
                "every address is a trusted proxy: clients can pass for any other; list the proxies"
            );
        }
        let mut protocols = self.paths.iter().map(|(_, protocol)| *protocol);
        let advertises =
            protocols.any(Protocol::sends_accept_conf) || self.machine.protocol.sends_accept_conf();
        let advertised = self.machine.advertised.message_buffer_size();
        let max_message_size = self.limits.max_message_size;
        if advertises && max_message_size < advertised {
            return Err(InvalidSettings::MessageSize { max_message_size, advertised });
        }
        let read = |(path, protocol): &(String, Protocol)| match EndpointPath::new(path) {
            Ok(path) => Ok((path, *protocol)),
            Err(error) => Err(InvalidSettings::Path { path: path.clone(), error }),
        };
        self.paths.iter().map(read).collect()
    }
}

impl<H, R> std::fmt::Debug for Builder<H, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("limits", &self.limits).finish_non_exhaustive()
    }
}
