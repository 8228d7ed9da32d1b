//! The settings of a hub.

use core::time::Duration;

use crate::session::RegistryConfig;

/// The settings of a [`Hub`](super::Hub). Every combination is valid.
///
/// ```
/// use wwr::server::HubConfig;
///
/// let config = HubConfig { max_connections: 100, ..HubConfig::default() };
/// assert_eq!(config.store_timeout.as_secs(), 30);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubConfig {
    /// How many connections may be open, those included whose handshake is under way. Default:
    /// 16 384.
    pub max_connections: usize,
    /// Limits and durability of sessions.
    pub sessions: RegistryConfig,
    /// How long the session store may take to answer before that counts as a failure. Default: 30 s.
    pub store_timeout: Duration,
    /// When sessions expire that nobody uses; `None` keeps them. Default: `None`.
    pub expiry: Option<Expiry>,
    /// What happens to idle connections when the server shuts down. Default: they
    /// [stay](IdleConnections::Stay).
    pub idle_connections: IdleConnections,
    /// How long connections may take for the close handshake after the deadline of a shutdown, and
    /// again how long the host may take to drop those that it was told to
    /// [abort](super::HubAction::Abort). Default: 1 s.
    pub abort_after: Duration,
    /// How many groups one connection may be in. Default: 256.
    pub max_groups: usize,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            sessions: RegistryConfig::default(),
            store_timeout: Duration::from_secs(30),
            expiry: None,
            idle_connections: IdleConnections::Stay,
            abort_after: Duration::from_secs(1),
            max_groups: 256,
        }
    }
}

/// When sessions expire, and how often the store is asked to remove those that have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Sessions that were not looked up for this long expire. Sessions that connections of this server
    /// hold do not: the hub has them looked up before, once their connections have been open for half
    /// of this time. One may expire if it was to be closed and the store failed to destroy it. Set
    /// this to more than twice of what the store may take to answer.
    pub unused_for: Duration,
    /// The time between two rounds, from the end of one to the start of the next. Less than a second
    /// counts as one. The first round starts at once.
    pub every: Duration,
}

/// What happens to idle connections, on which no handler runs, when the server shuts down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum IdleConnections {
    /// They stay open and answer new requests with the shutdown reply, as long as any handler of the
    /// server runs. Then all connections are closed. This is what the reference documents (protocol
    /// §5.10).
    #[default]
    Stay,
    /// They are closed at once, so that their clients connect to another server: for servers behind
    /// a load balancer.
    Close,
}
