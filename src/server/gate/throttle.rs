//! The throttle for log lines that clients can cause again and again.

use core::time::Duration;

use crate::time::Instant;

/// Counts events, so that a flood of them does not flood the log: one line at once, then one line a
/// second with the sum.
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
    total: u64,
    untold: u64,
    told_at: Option<Instant>,
}

impl LogThrottle {
    /// The least time between two lines about the same thing.
    pub const PAUSE: Duration = Duration::from_secs(1);

    /// Counts one more event. If it is time for another line, returns the number of events since
    /// the last line, this one included.
    pub fn count(&mut self, now: Instant) -> Option<u64> {
        self.total = self.total.saturating_add(1);
        self.untold = self.untold.saturating_add(1);
        if self.told_at.is_some_and(|then| now.saturating_since(then) < Self::PAUSE) {
            return None;
        }
        self.told_at = Some(now);
        Some(core::mem::take(&mut self.untold))
    }

    /// Returns how many events were counted, logged or not.
    pub const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_logged_at_once_and_the_rest_together() {
        let mut throttle = LogThrottle::default();
        let at = |millis| Instant::EPOCH + Duration::from_millis(millis);
        assert_eq!(throttle.count(at(0)), Some(1));
        for millis in 1..1000 {
            assert_eq!(throttle.count(at(millis)), None);
        }
        assert_eq!(throttle.count(at(1000)), Some(1000));
        assert_eq!(throttle.count(at(1999)), None);
        assert_eq!(throttle.count(at(9000)), Some(2));
        assert_eq!(throttle.total(), 1003);
    }
}
