//! The settings of a server.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use hyper::header::HeaderName;
use wwr::server::gate::{EndpointPath, InvalidPath, Origins, TrustedProxies};
use wwr::server::{
    Config as ConnectionConfig, HubConfig, Preflights, Protocol, RecoveryConfig, Sessions,
};
use wwr::session::{HistoryConfig, OutcomesConfig};
use wwr::{KeyFormat, SlowReader, Valid};

use crate::websocket::WRITE_BACKLOG;

/// The smallest buffer that the HTTP library works with, in bytes.
const MIN_HEADER_SIZE: usize = 8192;

/// The settings of a [`Server`](super::Server) or a [`Service`](super::Service). They are checked once,
/// when it is built; the defaults suit a public service.
///
/// ```
/// use std::time::Duration;
/// use wwr_async::server::{Config, Protocol};
///
/// let mut config = Config::default();
/// config.connection.protocol = Protocol::V2_0;
/// config.connection.advertised.read_timeout = Duration::from_secs(30);
/// config.hub.max_connections = 1000;
/// config.limits.stall_timeout = Duration::from_secs(10);
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    /// Of each connection: the versions that are spoken, what is advertised, pings, the order of
    /// handlers, the longest message.
    ///
    /// Of `connection.sessions` counts whether there are any. Which keys may reach the store is up to
    /// the [key generator](super::Builder::key_generator).
    pub connection: ConnectionConfig,
    /// Of what connections share: how many there may be, sessions with their store, shutdown.
    pub hub: HubConfig,
    /// What clients may cost beyond that.
    pub limits: Limits,
    /// Which versions are spoken on a path instead of
    /// [`connection.protocol`](ConnectionConfig::protocol), both in its preflight and on its
    /// WebSockets. A path begins with a slash and is matched as a whole; a query does not count, and how
    /// letters are escaped does not matter ([`EndpointPath`]). Default: no such paths.
    ///
    /// Clients of 1.5 and 2.0 can be told a path, those of 1.4 only ever use `/` (protocol §4.3).
    pub paths: BTreeMap<String, Protocol>,
    /// Whose pages may connect. Default: those of the same host, with `http` or `https`.
    pub origins: Origins,
    /// Which proxies are trusted to name their clients, in the headers `Forwarded` (RFC 7239) or
    /// `X-Forwarded-For`. The address that they name counts for everything: the slots of
    /// [`Limits::max_handshakes`], the memory of preflights, the log, and
    /// [`ConnectionInfo::remote_addr`](super::ConnectionInfo::remote_addr). Default: none.
    ///
    /// List only addresses from which only proxies can connect. A client that connects from a
    /// listed address can pass for any other client.
    pub trusted_proxies: TrustedProxies,
    /// Whether sockets from [trusted proxies](Self::trusted_proxies) begin with a header of the PROXY
    /// protocol, version 1 or 2. Balancers that do not speak HTTP send it. Sockets from trusted proxies
    /// without the header are closed. Other sockets have no such header. Default: no.
    ///
    /// Only for servers with a listener of their own.
    pub proxy_protocol: bool,
    /// Which headers of a handshake are kept as long as its connection lives, in
    /// [`ConnectionInfo::headers`](super::ConnectionInfo::headers). Clients choose their length, up to
    /// [`Limits::max_header_size`]. Default: none.
    pub kept_headers: Vec<HeaderName>,
    /// How much of the signals to each session is kept for clients that come back: those of
    /// [`ServerHandle::signal_session`](super::ServerHandle::signal_session), for clients of this project
    /// that want it (protocol §10.5). In memory, or in a [cluster](super::Builder::cluster) in its engine: then the
    /// settings are the same on all nodes, and
    /// [`max_total_bytes`](HistoryConfig::max_total_bytes) limits what each node has in memory beside that. Default:
    /// nothing.
    pub history: Option<HistoryConfig>,
    /// Which outcomes of idempotent requests are kept in memory, or by the engine of a
    /// [cluster](super::Builder::cluster), so that clients of this project may repeat
    /// such requests, and each is executed once (protocol §10.6). The handler of one runs on when its
    /// connection has ended, until it is done, or for the [window](OutcomesConfig::window). Default: none,
    /// and clients repeat no request.
    pub idempotency: Option<OutcomesConfig>,
}

/// What a server allows, so that no client costs it too much. The number of connections is
/// [`HubConfig::max_connections`], the longest message [`ConnectionConfig::max_message_size`].
///
/// Limits with which no client could be served, such as zero handshakes, are
/// [refused](InvalidConfig) when the server is built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sockets on which no WebSocket was opened yet. For one more, the oldest one of the address that
    /// has the most is closed, so that no host keeps the others out; of IPv6 addresses, those with
    /// the same first 64 bits count as one. Behind a proxy all clients are one host, unless it is
    /// [trusted](Config::trusted_proxies) to name them. Not zero. Default: 1 024.
    pub max_handshakes: usize,
    /// How long a client may take for each step before its request is there: the header of the PROXY
    /// protocol, the TLS handshake, the request head; also to read a refusal of TLS. `handshake_timeout`
    /// limits all of them together. Default: 10 s.
    pub header_timeout: Duration,
    /// The longest request head in bytes, at least 8192. Default: 16 KiB.
    pub max_header_size: usize,
    /// How long a socket may be used for HTTP. Not zero. Default: 60 s.
    pub handshake_timeout: Duration,
    /// How many bytes of what is sent to a client may wait to be written until its socket is not read
    /// any more and no handler is started for it. One message may always wait. Not zero. Default:
    /// 128 KiB.
    pub max_write_backlog: usize,
    /// How many addresses of clients are remembered for each [path](Config::paths), to tell versions
    /// apart: those that asked for the metadata, or have shown 2.0. Some 2 KiB each at most. Not zero.
    /// Default: 16 384.
    pub max_remembered_addresses: usize,
    /// How many bytes of signals may wait for a client that reads too slowly, their names and some
    /// 16 bytes each included. One signal may always wait, and one after each
    /// [`Connection::ready`](super::Connection::ready). Default: 1 MiB.
    pub max_signal_backlog: usize,
    /// What happens to a signal for which that leaves no room, and whether one replaces another that
    /// waits, also while there is room ([`SlowReader::Coalesce`]). Applications can choose for each
    /// [group signal](super::Group::slow_readers), and for
    /// [a connection](super::Connection::set_slow_reader). Default: the signal is
    /// [refused](SlowReader::Refuse).
    pub slow_readers: SlowReader,
    /// How long a client may take nothing of what is sent to it before it is disconnected. Not zero.
    /// Default: 30 s.
    pub stall_timeout: Duration,
    /// How long a client may take to read what was sent last and to answer the close frame. Default:
    /// 2 s.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_handshakes: 1024,
            header_timeout: Duration::from_secs(10),
            max_header_size: 16 * 1024,
            handshake_timeout: Duration::from_secs(60),
            max_write_backlog: WRITE_BACKLOG,
            max_remembered_addresses: Preflights::<IpAddr>::MOST,
            max_signal_backlog: 1024 * 1024,
            slow_readers: SlowReader::Refuse,
            stall_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(2),
        }
    }
}

impl Limits {
    /// The shortest [`header_timeout`](Self::header_timeout) and
    /// [`handshake_timeout`](Self::handshake_timeout): 10 ms.
    pub const MIN_HANDSHAKE_TIMEOUT: Duration = Duration::from_millis(10);

    fn check(&self) -> Result<(), InvalidConfig> {
        for (setting, is_zero) in [
            ("limits.max_handshakes", self.max_handshakes == 0),
            ("limits.max_write_backlog", self.max_write_backlog == 0),
            ("limits.max_remembered_addresses", self.max_remembered_addresses == 0),
            ("limits.stall_timeout", self.stall_timeout.is_zero()),
        ] {
            if is_zero {
                return Err(InvalidConfig::Zero { setting });
            }
        }
        for (setting, value) in [
            ("limits.header_timeout", self.header_timeout),
            ("limits.handshake_timeout", self.handshake_timeout),
        ] {
            if value < Self::MIN_HANDSHAKE_TIMEOUT {
                return Err(InvalidConfig::HandshakeTimeout { setting, value });
            }
        }
        if self.max_header_size < MIN_HEADER_SIZE {
            return Err(InvalidConfig::HeaderSize(self.max_header_size));
        }
        Ok(())
    }
}

/// Why a server cannot be built with its settings. As an [`io::Error`], it is of the kind
/// [`InvalidInput`](io::ErrorKind::InvalidInput). Settings are named as the fields of [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// A setting of connections.
    #[error("connection.{0}")]
    Connection(wwr::InvalidConfig),
    /// A setting of what they share.
    #[error("hub.{0}")]
    Hub(wwr::InvalidConfig),
    /// A setting of what is kept for clients that come back.
    #[error("{0}")]
    Recovery(wwr::InvalidConfig),
    /// A limit with which no client could be served.
    #[error("{setting} is zero; it has to be more")]
    Zero {
        /// The setting.
        setting: &'static str,
    },
    /// A time for the handshake in which no client can be done.
    #[error("{setting} is {value:?}; it has to be {min:?} or more", min = Limits::MIN_HANDSHAKE_TIMEOUT)]
    HandshakeTimeout {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: Duration,
    },
    /// `limits.max_header_size` is too small for HTTP.
    #[error("limits.max_header_size is {0}; it has to be 8192 or more")]
    HeaderSize(usize),
    /// A path with a protocol of its own that no client can ask for.
    #[error("paths has {path:?}, which no client can ask for: {error}")]
    Path {
        /// The path, as it was set.
        path: String,
        /// What is wrong with it.
        error: InvalidPath,
    },
    /// The PROXY protocol is on, but no proxy is trusted to speak it.
    #[error("proxy_protocol is set, but trusted_proxies is empty; list the proxies that speak it")]
    NoTrustedProxies,
    /// A setting of the [cluster](super::Builder::cluster).
    #[error("cluster.{0}")]
    Cluster(wwr::InvalidConfig),
    /// Sessions cannot be kept both in a store and in the engine of a cluster.
    #[error(
        "a session store (Builder::store) and a cluster (Builder::cluster) are set; the engine of the cluster \
         keeps the sessions, so leave out the store"
    )]
    StoreAndCluster,
}

impl From<InvalidConfig> for io::Error {
    fn from(error: InvalidConfig) -> Self {
        Self::new(io::ErrorKind::InvalidInput, error)
    }
}

/// Settings that were checked.
pub(super) struct Checked {
    /// Of connections on all paths that are not listed.
    pub(super) connection: Valid<ConnectionConfig>,
    pub(super) paths: Vec<(EndpointPath, Valid<ConnectionConfig>)>,
    pub(super) hub: Valid<HubConfig>,
    pub(super) recovery: Valid<RecoveryConfig>,
    pub(super) limits: Limits,
    pub(super) origins: Origins,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) kept_headers: Vec<HeaderName>,
}

impl Config {
    /// Checks the settings, for a generator that makes keys like this.
    pub(super) fn check(self, format: KeyFormat) -> Result<Checked, InvalidConfig> {
        let Self {
            mut connection,
            hub,
            limits,
            paths,
            origins,
            trusted_proxies,
            proxy_protocol,
            kept_headers,
            history,
            idempotency,
        } = self;
        let mut recovery = RecoveryConfig::default();
        (recovery.history, recovery.outcomes) = (history, idempotency);
        let recovery = recovery.validate().map_err(InvalidConfig::Recovery)?;
        connection.keeps_histories = history.is_some();
        connection.keeps_outcomes = idempotency.is_some();
        if matches!(connection.sessions, Sessions::Enabled(_)) {
            connection.sessions = Sessions::Enabled(format);
        }
        limits.check()?;
        let hub = hub.validate().map_err(InvalidConfig::Hub)?;
        let paths = paths.into_iter().map(|(path, protocol)| {
            let mut connection = connection.clone();
            connection.protocol = protocol;
            let connection = connection.validate().map_err(InvalidConfig::Connection)?;
            match EndpointPath::new(&path) {
                Ok(path) => Ok((path, connection)),
                Err(error) => Err(InvalidConfig::Path { path, error }),
            }
        });
        let paths = paths.collect::<Result<_, _>>()?;
        let connection = connection.validate().map_err(InvalidConfig::Connection)?;
        if proxy_protocol && trusted_proxies.networks.is_empty() {
            return Err(InvalidConfig::NoTrustedProxies);
        }
        for network in trusted_proxies.networks.iter().filter(|network| network.is_everything()) {
            tracing::warn!(
                %network,
                "every address is a trusted proxy: clients can pass for any other; list the proxies"
            );
        }
        Ok(Checked {
            connection,
            paths,
            hub,
            recovery,
            limits,
            origins,
            trusted_proxies,
            kept_headers,
        })
    }
}
