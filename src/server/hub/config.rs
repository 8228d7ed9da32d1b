//! The settings of a hub.

use core::time::Duration;

use crate::session::RegistryConfig;
use crate::valid::{InvalidConfig, Valid, not_zero, positive};

/// The settings of a [`Hub`](super::Hub), which takes them [validated](Self::validate).
///
/// ```
/// use wwr::server::HubConfig;
///
/// let mut config = HubConfig::default();
/// config.max_connections = 100;
/// let config = config.validate()?;
/// assert_eq!(config.store_timeout.as_secs(), 30);
/// # Ok::<(), wwr::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubConfig {
    /// How many connections may be open, those included whose handshake is under way. Not
    /// zero. Default: 16 384.
    pub max_connections: usize,
    /// Limits and durability of sessions.
    pub sessions: RegistryConfig,
    /// How long the session store may take to answer before that counts as a failure. Not
    /// zero. Default: 30 s.
    pub store_timeout: Duration,
    /// When unused sessions expire; `None` keeps them for ever, as the reference does (protocol §3.3): the
    /// store grows with each session that nobody closes. Default: `None`.
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

impl HubConfig {
    /// Checks the settings, as a [`Hub`](super::Hub) wants them.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names the setting that is wrong, and what it may be.
    pub fn validate(self) -> Result<Valid<Self>, InvalidConfig> {
        not_zero("max_connections", self.max_connections)?;
        positive("store_timeout", self.store_timeout)?;
        if let Some(expiry) = self.expiry {
            positive("expiry.every", expiry.every)?;
        }
        Ok(Valid::new(self))
    }
}

impl Default for Valid<HubConfig> {
    /// The settings of [`HubConfig::default`].
    fn default() -> Self {
        Self::new(HubConfig::default())
    }
}

/// When sessions expire, and how often the store is asked to remove those that have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Expiry {
    /// Sessions that were not looked up for this long expire. Sessions that connections of this server
    /// hold do not: the hub has them looked up before, once their connections have been open for half
    /// of this time. One may expire if it was to be closed and the store failed to destroy it. Set
    /// this to more than twice of what the store may take to answer.
    pub unused_for: Duration,
    /// The time between two rounds, from the end of one to the start of the next. Less than a second
    /// counts as one; zero is refused. The first round starts at once.
    pub every: Duration,
}

impl Expiry {
    /// Sessions expire that were not looked up for this long; the store is asked again and again, with
    /// this pause.
    pub const fn new(unused_for: Duration, every: Duration) -> Self {
        Self { unused_for, every }
    }
}

/// What happens to idle connections, on which no handler runs, when the server shuts down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_needed_is_zero() {
        let default = HubConfig::default;
        assert!(default().validate().is_ok());
        let expiry = |every| Some(Expiry::new(Duration::ZERO, every));
        assert!(HubConfig { expiry: expiry(Duration::MAX), ..default() }.validate().is_ok());
        for (setting, config) in [
            ("max_connections", HubConfig { max_connections: 0, ..default() }),
            ("store_timeout", HubConfig { store_timeout: Duration::ZERO, ..default() }),
            ("expiry.every", HubConfig { expiry: expiry(Duration::ZERO), ..default() }),
        ] {
            assert_eq!(config.validate(), Err(InvalidConfig::Zero { setting }));
        }
    }
}
