//! When silent peers are asked whether they are still there, by either side.

use core::time::Duration;

/// When a silent peer is pinged, and how long a sign of life may take after that (protocol §4.4,
/// §7.2). Whatever arrives is one, be it a part of a message.
///
/// A peer that has vanished is noticed after the sum of both times, if it is one that answers pings.
/// Pings also keep proxies from cutting connections for being idle.
///
/// * **Servers** ping clients that send no heartbeats; those that do are pinged only if they are
///   silent while a handler of theirs runs. Clients of both references, browsers and Node answer.
/// * **Clients** ping servers of every version. What becomes of one that answers none is told by
///   [`client::ConfigBuilder::pings`](crate::client::ConfigBuilder::pings).
///
/// ```
/// use core::time::Duration;
/// use wwr::server::Pings;
///
/// let often = Pings::new(Duration::from_secs(5), Duration::from_secs(10))?;
/// assert_eq!(often.total(), Duration::from_secs(15));
/// assert!(Pings::new(Duration::ZERO, Duration::from_secs(10)).is_err());
/// # Ok::<(), wwr::server::InvalidPings>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pings {
    pub(crate) after: Duration,
    pub(crate) timeout: Duration,
}

/// A time of [`Pings`] is shorter than [`Pings::SHORTEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is too short for pings: they and the wait for an answer take 10 ms or more each")]
pub struct InvalidPings(Duration);

impl Pings {
    /// The shortest time for both settings: 10 ms.
    pub const SHORTEST: Duration = Duration::from_millis(10);

    /// Pings `after` a time of silence, and waits for `timeout` until the peer is given up.
    ///
    /// # Errors
    ///
    /// [`InvalidPings`] if one of them is shorter than [`SHORTEST`](Self::SHORTEST).
    pub fn new(after: Duration, timeout: Duration) -> Result<Self, InvalidPings> {
        match after.min(timeout) {
            short if short < Self::SHORTEST => Err(InvalidPings(short)),
            _ => Ok(Self { after, timeout }),
        }
    }

    /// The silence after which a ping is sent.
    pub const fn after(&self) -> Duration {
        self.after
    }

    /// How long a sign of life may take after that.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The sum of both: the longest time until a peer that answers pings is missed.
    pub const fn total(&self) -> Duration {
        self.after.saturating_add(self.timeout)
    }
}

impl Default for Pings {
    /// After 30 s, for 30 s: the default of servers.
    fn default() -> Self {
        Self { after: Duration::from_secs(30), timeout: Duration::from_secs(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_times_have_a_least_length() {
        let (least, less) = (Pings::SHORTEST, Pings::SHORTEST - Duration::from_nanos(1));
        assert!(Pings::new(least, least).is_ok());
        assert_eq!(Pings::new(less, least), Err(InvalidPings(less)));
        assert_eq!(Pings::new(least, less), Err(InvalidPings(less)));
    }
}
