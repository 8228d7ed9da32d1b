//! Who has asked for the metadata and not connected yet.

use alloc::collections::{BTreeSet, VecDeque};
use core::time::Duration;

use super::protocol::Observed;
use crate::time::Instant;

/// The preflights of the last moments, by the address they came from, to tell 1.x clients from those
/// of 2.0 (protocol §7.2): the former ask before each connection, the latter never.
///
/// `A` is whatever a host knows of a client before its WebSocket is open, such as its IP address
/// without the port. One for all connections of a server; memory is bounded, and whoever asks without
/// end and never connects can displace no more than a few of the others.
///
/// ```
/// use core::time::Duration;
/// use wwr::Instant;
/// use wwr::server::{Observed, Preflights};
///
/// let mut preflights = Preflights::default();
/// preflights.asked(Instant::EPOCH, "192.0.2.1");
/// let later = Instant::EPOCH + Duration::from_millis(1);
/// assert_eq!(preflights.connected(later, &"192.0.2.2"), Observed::Nothing);
/// assert_eq!(preflights.connected(later, &"192.0.2.1"), Observed::Preflight);
/// assert_eq!(preflights.connected(later, &"192.0.2.1"), Observed::Nothing, "that was another");
/// ```
#[derive(Clone, Debug)]
pub struct Preflights<A> {
    /// All of the last moments, oldest first.
    recent: VecDeque<(Instant, u64, A)>,
    /// Those that no connection followed so far.
    open: BTreeSet<(A, Instant, u64)>,
    count: u64,
    now: Instant,
}

impl<A> Preflights<A> {
    /// For how long a preflight counts. A client connects about a millisecond after the answer, plus
    /// what the network takes.
    pub const VALIDITY: Duration = Duration::from_secs(5);

    /// How many preflights are remembered at most.
    pub const MOST: usize = 16_384;

    /// How many of them from one address.
    pub const MOST_OF_ONE: usize = 256;
}

impl<A: Ord + Clone> Preflights<A> {
    /// A preflight came from this address, and was answered.
    pub fn asked(&mut self, now: Instant, from: A) {
        self.expire(now);
        if self.of(&from).nth(Self::MOST_OF_ONE - 1).is_some() {
            return;
        }
        if self.recent.len() >= Self::MOST {
            self.forget_oldest();
        }
        self.count = self.count.wrapping_add(1);
        self.open.insert((from.clone(), self.now, self.count));
        self.recent.push_back((self.now, self.count, from));
    }

    /// A WebSocket was opened from this address. Uses up one preflight.
    pub fn connected(&mut self, now: Instant, from: &A) -> Observed {
        self.expire(now);
        let first = self.of(from).next().cloned();
        match first {
            Some(preflight) => {
                self.open.remove(&preflight);
                Observed::Preflight
            }
            None => Observed::Nothing,
        }
    }

    fn of(&self, from: &A) -> impl Iterator<Item = &(A, Instant, u64)> {
        let least = (from.clone(), Instant::EPOCH, 0);
        self.open.range(least..).take_while(move |(address, ..)| address == from)
    }

    fn expire(&mut self, now: Instant) {
        self.now = self.now.max(now);
        while let Some((at, ..)) = self.recent.front()
            && *at + Self::VALIDITY < self.now
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((at, count, from)) = self.recent.pop_front() {
            self.open.remove(&(from, at, count));
        }
    }
}

impl<A> Default for Preflights<A> {
    fn default() -> Self {
        Self { recent: VecDeque::new(), open: BTreeSet::new(), count: 0, now: Instant::EPOCH }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(millis)
    }

    #[test]
    fn each_preflight_counts_once_and_for_its_own_address() {
        let mut preflights = Preflights::default();
        preflights.asked(at(0), 1);
        preflights.asked(at(0), 1);
        preflights.asked(at(0), 2);
        for (from, observed) in [
            (3, Observed::Nothing),
            (1, Observed::Preflight),
            (1, Observed::Preflight),
            (1, Observed::Nothing),
            (2, Observed::Preflight),
            (2, Observed::Nothing),
        ] {
            assert_eq!(preflights.connected(at(1), &from), observed);
        }
    }

    #[test]
    fn a_preflight_is_forgotten_after_a_while_and_clocks_do_not_run_backwards() {
        let mut preflights = Preflights::default();
        preflights.asked(at(1000), 1);
        preflights.asked(at(0), 2);
        assert_eq!(preflights.connected(at(6000), &1), Observed::Preflight);
        assert_eq!(preflights.connected(at(6001), &2), Observed::Nothing);
        assert_eq!(preflights.connected(at(1000), &2), Observed::Nothing);
        assert!(preflights.recent.is_empty() && preflights.open.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_one_address_does_not_displace_the_others() {
        let mut preflights = Preflights::default();
        preflights.asked(at(0), 0);
        for _ in 0..10 * Preflights::<u32>::MOST {
            preflights.asked(at(0), 1);
        }
        assert_eq!(preflights.recent.len(), 1 + Preflights::<u32>::MOST_OF_ONE);
        assert_eq!(preflights.connected(at(1), &0), Observed::Preflight);
        for from in 2..2 * Preflights::<u32>::MOST as u32 {
            preflights.asked(at(1), from);
        }
        assert_eq!(preflights.recent.len(), Preflights::<u32>::MOST);
        assert!(preflights.open.len() <= Preflights::<u32>::MOST);
        assert_eq!(preflights.connected(at(2), &1), Observed::Nothing, "displaced by then");
    }
}
