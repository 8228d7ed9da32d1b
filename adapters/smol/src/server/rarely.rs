//! What clients can cause again and again, and the log is told only now and then.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use wwr::Instant;

/// How much time lies between two lines about the same thing.
const PAUSE: Duration = Duration::from_secs(1);

/// Counts something, so that a flood of it does not become a flood of the log.
#[derive(Debug, Default)]
pub(super) struct Rarely(Mutex<Count>);

#[derive(Debug, Default)]
struct Count {
    untold: u64,
    told_at: Option<Instant>,
}

impl Rarely {
    /// It has happened once more. Gives how often since this gave a number, if it is time to say so.
    pub(super) fn count(&self, now: Instant) -> Option<u64> {
        let mut count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        count.untold += 1;
        if count.told_at.is_some_and(|then| now.saturating_since(then) < PAUSE) {
            return None;
        }
        count.told_at = Some(now);
        Some(std::mem::take(&mut count.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_rest_together() {
        let rarely = Rarely::default();
        let at = |millis| Instant::EPOCH + Duration::from_millis(millis);
        assert_eq!(rarely.count(at(0)), Some(1));
        for millis in 1..1000 {
            assert_eq!(rarely.count(at(millis)), None);
        }
        assert_eq!(rarely.count(at(1000)), Some(1000));
        assert_eq!(rarely.count(at(1999)), None);
        assert_eq!(rarely.count(at(9000)), Some(2));
    }
}
