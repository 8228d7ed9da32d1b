//! What happens to signals that wait for a client: which policy counts.

use std::sync::atomic::{AtomicU8, Ordering};

use wwr::SlowReader;

/// The policies of a connection.
#[derive(Debug)]
pub(super) struct Policy {
    of_server: SlowReader,
    /// That of the connection, as a number; 0 if it has none.
    own: AtomicU8,
}

/// All policies, and the numbers that stand for them from 1.
const ALL: [SlowReader; 4] =
    [SlowReader::Refuse, SlowReader::DropOldest, SlowReader::Coalesce, SlowReader::Disconnect];

impl Policy {
    pub(super) const fn new(of_server: SlowReader) -> Self {
        Self { of_server, own: AtomicU8::new(0) }
    }

    pub(super) fn set(&self, policy: Option<SlowReader>) {
        let number = ALL.into_iter().zip(1..).find(|(known, _)| Some(*known) == policy);
        self.own.store(number.map_or(0, |(_, number)| number), Ordering::Relaxed);
    }

    /// Returns the policy that counts for a signal: that of the connection, of the signal, or of the
    /// server, in this order.
    pub(super) fn of_signal(&self, policy: Option<SlowReader>) -> SlowReader {
        let own = usize::from(self.own.load(Ordering::Relaxed));
        let own = own.checked_sub(1).and_then(|index| ALL.get(index)).copied();
        own.or(policy).unwrap_or(self.of_server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_the_connection_counts_before_that_of_a_signal_and_of_the_server() {
        let policy = Policy::new(SlowReader::Disconnect);
        assert_eq!(policy.of_signal(None), SlowReader::Disconnect);
        assert_eq!(policy.of_signal(Some(SlowReader::Coalesce)), SlowReader::Coalesce);
        for own in ALL {
            policy.set(Some(own));
            assert_eq!(policy.of_signal(None), own);
            assert_eq!(policy.of_signal(Some(SlowReader::Coalesce)), own);
        }
        policy.set(None);
        assert_eq!(policy.of_signal(Some(SlowReader::DropOldest)), SlowReader::DropOldest);
    }
}
