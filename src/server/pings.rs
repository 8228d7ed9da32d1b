//! When silent peers are asked whether they are still there.

use core::time::Duration;

/// When the server pings peers that send no heartbeats, and how long it waits for a sign of life
/// after that (protocol §7.2). Peers that do are pinged only if they are silent while a handler of
/// theirs runs.
///
/// Clients of both references, browsers and Node answer pings. A peer that has vanished is noticed,
/// and its session left, after the sum of both times. Pings also keep proxies from cutting
/// connections for being idle.
///
/// ```
/// use core::time::Duration;
/// use wwr::server::Pings;
///
/// let often = Pings::new(Duration::from_secs(5), Duration::from_secs(10))?;
/// assert!(Pings::new(Duration::ZERO, Duration::from_secs(10)).is_err());
/// # Ok::<(), wwr::server::InvalidPings>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pings {
    pub(super) after: Duration,
    pub(super) patience: Duration,
}

/// A time of [`Pings`] is shorter than [`Pings::SHORTEST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is too short for pings: they and the wait for an answer take 10 ms or more each")]
pub struct InvalidPings(Duration);

impl Pings {
    /// The shortest time for both settings: 10 ms.
    pub const SHORTEST: Duration = Duration::from_millis(10);

    /// Pings `after` a time of silence, and waits for `patience` until the peer is given up.
    ///
    /// # Errors
    ///
    /// [`InvalidPings`] if one of them is shorter than [`SHORTEST`](Self::SHORTEST).
    pub fn new(after: Duration, patience: Duration) -> Result<Self, InvalidPings> {
        match after.min(patience) {
            short if short < Self::SHORTEST => Err(InvalidPings(short)),
            _ => Ok(Self { after, patience }),
        }
    }
}

impl Default for Pings {
    /// After 30 s, for 30 s.
    fn default() -> Self {
        Self { after: Duration::from_secs(30), patience: Duration::from_secs(30) }
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
