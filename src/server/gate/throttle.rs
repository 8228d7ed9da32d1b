//! What clients can cause again and again, and the log is told only now and then.

use core::time::Duration;

use crate::time::Instant;

/// Counts something, so that a flood of it does not become a flood of the log: one line at once, then
/// one a second with the sum.
///
/// ```
/// use core::time::Duration;
/// use wwr::Instant;
/// use wwr::server::gate::LogThrottle;
///
/// let mut throttle = LogThrottle::default();
/// let start = Instant::EPOCH;
/// assert_eq!(throttle.count(start), Some(1));
/// assert_eq!(throttle.count(start), None);
/// assert_eq!(throttle.count(start + Duration::from_secs(1)), Some(2));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LogThrottle {
    untold: u64,
    told_at: Option<Instant>,
}

impl LogThrottle {
    /// How much time lies between two lines about the same thing.
    pub const PAUSE: Duration = Duration::from_secs(1);

    /// It has happened once more. Returns how often since the last line, this time included, if it is
    /// time for another line.
    pub fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold = self.untold.saturating_add(1);
        if self.told_at.is_some_and(|then| now.saturating_since(then) < Self::PAUSE) {
            return None;
        }
        self.told_at = Some(now);
        Some(core::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_together() {
        let mut throttle = LogThrottle::default();
        let at = |millis| Instant::EPOCH + Duration::from_millis(millis);
        assert_eq!(throttle.count(at(0)), Some(1));
        for millis in 1..1000 {
            assert_eq!(throttle.count(at(millis)), None);
        }
        assert_eq!(throttle.count(at(1000)), Some(1000));
        assert_eq!(throttle.count(at(1999)), None);
        assert_eq!(throttle.count(at(9000)), Some(2));
    }
}
