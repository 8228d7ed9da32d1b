//! When silent peers are asked whether they are still there, by either side.

use core::time::Duration;

use crate::valid::{InvalidConfig, at_least};

/// When a silent peer is pinged, and how long a sign of life may take after that (protocol §4.4,
/// §7.2). Any byte that arrives is a sign of life.
///
/// A vanished peer is noticed after the sum of both times, if it had answered pings before.
/// Pings also keep proxies from cutting connections for being idle.
///
/// * **Servers** ping clients that send no heartbeats; those that do are pinged only if they are
///   silent while a handler of theirs runs. Clients of both references, browsers and Node answer.
/// * **Clients** ping servers of every version. [`client::Config::pings`](crate::client::Config::pings)
///   says what happens to a server that does not answer.
///
/// ```
/// use core::time::Duration;
/// use wwr::server::{Config, Pings};
///
/// let mut config = Config::default();
/// config.pings = Some(Pings::new(Duration::from_secs(5), Duration::from_secs(10)));
/// assert_eq!(config.pings.unwrap().total(), Duration::from_secs(15));
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pings {
    /// The silence after which a ping is sent: [`SHORTEST`](Self::SHORTEST) or longer.
    pub after: Duration,
    /// How long a sign of life may take after that until the peer is given up:
    /// [`SHORTEST`](Self::SHORTEST) or longer.
    pub timeout: Duration,
}

impl Pings {
    /// The shortest time for both settings: 10 ms.
    pub const SHORTEST: Duration = Duration::from_millis(10);

    /// Pings after the silence `after`, and gives the peer up `timeout` later. `validate` of the settings
    /// checks both.
    pub const fn new(after: Duration, timeout: Duration) -> Self {
        Self { after, timeout }
    }

    /// Returns the sum of both: the longest time until a vanished peer that answered pings is noticed.
    pub const fn total(&self) -> Duration {
        self.after.saturating_add(self.timeout)
    }

    pub(crate) fn check(self) -> Result<(), InvalidConfig> {
        at_least("pings.after", self.after, Self::SHORTEST)?;
        at_least("pings.timeout", self.timeout, Self::SHORTEST)
    }
}

impl Default for Pings {
    /// After 30 s, for 30 s: the default of servers.
    fn default() -> Self {
        Self::new(Duration::from_secs(30), Duration::from_secs(30))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_have_a_least_length() {
        let (min, less) = (Pings::SHORTEST, Pings::SHORTEST - Duration::from_nanos(1));
        let short = |setting| Err(InvalidConfig::TooShort { setting, value: less, min });
        assert_eq!(Pings::new(min, min).check(), Ok(()));
        assert_eq!(Pings::new(less, min).check(), short("pings.after"));
        assert_eq!(Pings::new(min, less).check(), short("pings.timeout"));
    }
}
