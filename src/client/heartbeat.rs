//! When to send a heartbeat (protocol §4.6).

use core::time::Duration;

use crate::time::Instant;

/// The shortest pause between heartbeats, whatever read timeout a server advertises.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// Keeps a server from closing an idle connection. A heartbeat is due when nothing was sent for
/// three quarters of the server's read timeout.
///
/// Sending does not move the due time, because hosts would have to set their timer for every
/// message. It moves when it is reached.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    sent: Instant,
    due: Instant,
}

impl Heartbeat {
    /// Starts to count at `now`. Returns `None` if the server has no read timeout.
    pub(super) fn new(read_timeout: Duration, now: Instant) -> Option<Self> {
        if read_timeout.is_zero() {
            return None;
        }
        // Divided first, so that nothing overflows.
        let interval = (read_timeout / 4 * 3).max(MIN_INTERVAL);
        Some(Self { interval, sent: now, due: now + interval })
    }

    /// Returns when to call [`is_due`](Self::is_due) next.
    pub(super) const fn deadline(&self) -> Instant {
        self.due
    }

    /// Records that something was sent.
    pub(super) const fn sent(&mut self, now: Instant) {
        self.sent = now;
    }

    /// Returns when the server closes the connection, if nothing more is sent.
    pub(super) fn expiry(&self) -> Instant {
        self.sent + self.read_timeout()
    }

    /// Returns whether the server must have closed the connection by now, even one that waits twice as long as it
    /// says.
    pub(super) fn has_lapsed(&self, now: Instant) -> bool {
        self.expiry() + self.read_timeout() <= now
    }

    fn read_timeout(&self) -> Duration {
        // Divided first, so that nothing overflows.
        (self.interval / 3).saturating_mul(4)
    }

    /// Returns whether to send a heartbeat now. It then counts as sent.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if self.due > now {
            return false;
        }
        let is_due = self.sent + self.interval <= now;
        if is_due {
            self.sent = now;
        }
        self.due = self.sent + self.interval;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns when heartbeats are sent within two seconds, in milliseconds, if something else is
    /// sent at the given times; and when the host's timer ran.
    fn beats(read_timeout: Duration, others: &[u64]) -> (std::vec::Vec<u64>, std::vec::Vec<u64>) {
        let (mut beats, mut timers) = (std::vec::Vec::new(), std::vec::Vec::new());
        let mut heartbeat = Heartbeat::new(read_timeout, Instant::EPOCH).unwrap();
        for millis in 1..=2000 {
            let now = Instant::from_millis(millis);
            if others.contains(&millis) {
                let due = heartbeat.deadline();
                heartbeat.sent(now);
                assert_eq!(heartbeat.deadline(), due, "sending moves no timer");
            }
            if heartbeat.deadline() <= now {
                timers.push(millis);
            }
            if heartbeat.is_due(now) {
                beats.push(millis);
            }
            assert!(heartbeat.deadline() > now);
        }
        (beats, timers)
    }

    #[test]
    fn three_quarters_of_the_read_timeout_without_sending() {
        let timeout = Duration::from_millis(400);
        let idle = [300, 600, 900, 1200, 1500, 1800];
        assert_eq!(beats(timeout, &[]), (idle.into(), idle.into()));
        let (sent, timers) = beats(timeout, &[10, 299, 700, 1100, 1101]);
        assert_eq!(sent, [599, 1000, 1401, 1701]);
        assert_eq!(timers, [300, 599, 899, 1000, 1300, 1401, 1701]);
    }

    #[test]
    fn extreme_read_timeouts_cause_neither_a_storm_nor_an_overflow() {
        assert!(Heartbeat::new(Duration::ZERO, Instant::EPOCH).is_none());
        for tiny in [Duration::from_nanos(1), Duration::from_millis(1), Duration::from_millis(13)] {
            assert_eq!(beats(tiny, &[]).0.len(), 200, "{tiny:?}");
        }
        let mut endless = Heartbeat::new(Duration::MAX, Instant::from_millis(1)).unwrap();
        assert_eq!(endless.deadline(), Instant::from_nanos(u64::MAX));
        assert!(!endless.is_due(Instant::from_millis(u64::from(u32::MAX))));
    }

    #[test]
    fn a_late_host_sends_one_heartbeat() {
        let mut heartbeat = Heartbeat::new(Duration::from_millis(400), Instant::EPOCH).unwrap();
        let late = Instant::from_millis(10_000);
        assert!(heartbeat.is_due(late) && !heartbeat.is_due(late));
        assert_eq!(heartbeat.deadline(), Instant::from_millis(10_300));
    }
}
