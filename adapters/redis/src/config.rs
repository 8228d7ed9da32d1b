//! The settings of a store.

use core::fmt;
use core::time::Duration;

use wwr_async::{StoreError, StoreErrorKind};

/// The settings of a [`RedisStore`](crate::RedisStore), or of a [`Cluster`](crate::Cluster).
///
/// ```
/// use std::time::Duration;
/// use wwr_redis::RedisConfig;
///
/// let mut config = RedisConfig::default();
/// config.prefix = "shop:session:".into();
/// config.expire_after = Some(Duration::from_secs(30 * 24 * 60 * 60));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisConfig {
    /// What the names of all sessions begin with. Servers with different prefixes do not see each other's sessions. In
    /// a cluster, a hash tag (`{...}`) would put all of them on one node, so braces are refused. At most 256 bytes,
    /// and not empty for a cluster of nodes. Default: `wwr:session:`.
    pub prefix: String,
    /// The engine removes sessions that were not looked up for this long, from 1 s to 100 years. `None` keeps
    /// them for ever. Set `hub.expiry` of the servers to the same time. At least 60 s for a cluster of nodes. What is
    /// changed here holds for a session from its next look-up on. Default: `None`.
    pub expire_after: Option<Duration>,
    /// How long a call may take until it fails, connecting included: from 1 ms to 1 hour. Set it to less than
    /// `hub.store_timeout` of the servers. At most 20 s for a cluster of nodes. Default: 5 s.
    pub timeout: Duration,
    /// How long an attempt to connect may take: name resolution, TLS, password. At most
    /// [`timeout`](Self::timeout). Default: 2 s.
    pub connect_timeout: Duration,
    /// Certificates of authorities as PEM, which are trusted instead of those of the system for `rediss://`. Default:
    /// `None`.
    #[cfg(feature = "rustls")]
    pub roots: Option<Vec<u8>>,
    /// A certificate of this client and its private key, both as PEM, for engines that want one
    /// (`tls-auth-clients`). Default: `None`.
    #[cfg(feature = "rustls")]
    pub client_certificate: Option<(Vec<u8>, Vec<u8>)>,
}

const LONGEST_PREFIX: usize = 256;
const HOUR: Duration = Duration::from_secs(60 * 60);
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

impl Default for RedisConfig {
    fn default() -> Self {
        Self {
            prefix: "wwr:session:".into(),
            expire_after: None,
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            #[cfg(feature = "rustls")]
            roots: None,
            #[cfg(feature = "rustls")]
            client_certificate: None,
        }
    }
}

impl RedisConfig {
    /// Checks the settings.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let Self { prefix, expire_after, timeout, connect_timeout, .. } = self;
        if prefix.len() > LONGEST_PREFIX || prefix.contains(['{', '}']) {
            return Err(wrong("prefix", "at most 256 bytes without braces"));
        }
        let shortest = Duration::from_secs(1);
        if expire_after.is_some_and(|after| !(shortest..=CENTURY).contains(&after)) {
            return Err(wrong("expire_after", "from 1 s to 100 years, or none"));
        }
        let shortest = Duration::from_millis(1);
        if !(shortest..=HOUR).contains(timeout) {
            return Err(wrong("timeout", "from 1 ms to 1 hour"));
        }
        if !(shortest..=*timeout).contains(connect_timeout) {
            return Err(wrong("connect_timeout", "from 1 ms to `timeout`"));
        }
        Ok(())
    }
}

fn wrong(setting: &str, range: &str) -> StoreError {
    let message = format!("RedisConfig::{setting} has to be {range}");
    StoreError::new(StoreErrorKind::Failed, message)
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the private key.
        f.debug_struct("RedisConfig")
            .field("prefix", &self.prefix)
            .field("expire_after", &self.expire_after)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        assert!(RedisConfig::default().check().is_ok());
        type Change = (&'static str, fn(&mut RedisConfig));
        let changes: [Change; 7] = [
            ("prefix", |config| config.prefix = "a".repeat(257)),
            ("prefix", |config| config.prefix = "{a}".into()),
            ("expire_after", |config| config.expire_after = Some(Duration::from_millis(999))),
            ("expire_after", |config| config.expire_after = Some(Duration::MAX)),
            ("timeout", |config| config.timeout = Duration::ZERO),
            ("connect_timeout", |config| config.connect_timeout = Duration::ZERO),
            ("connect_timeout", |config| config.connect_timeout = Duration::from_secs(6)),
        ];
        for (setting, change) in changes {
            let mut config = RedisConfig::default();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("RedisConfig::{setting} ")), "{error}");
        }
    }
}
