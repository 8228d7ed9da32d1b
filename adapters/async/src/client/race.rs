//! Which of several addresses of a server is tried when: Happy Eyeballs (RFC 8305), as a machine without
//! sockets and clock.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use wwr::Instant;

/// How long an attempt goes on alone before the next begins beside it (RFC 8305 §5 recommends this).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Attempts to connect to the addresses of one server. The caller carries them out, reports those that
/// fail, and stops when one succeeds.
#[derive(Debug)]
pub(super) struct Race {
    /// The addresses that were not tried yet, in their order.
    waiting: VecDeque<SocketAddr>,
    /// The address that was tried before the name was resolved.
    known: Option<SocketAddr>,
    /// Addresses to try last, in this order.
    unhelpful: Vec<SocketAddr>,
    name: Name,
    /// How many attempts go on.
    running: usize,
    /// When the next attempt begins, unless one fails before.
    next_at: Instant,
}

/// Whether the addresses of the server are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    Unresolved,
    Asked,
    Resolved,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Try this address. Then ask again.
    Start(SocketAddr),
    /// Find out the addresses of the server, and report them. Then ask again.
    Resolve,
    /// Wait for an attempt or the addresses, or until this moment, then ask again. `None` if nothing
    /// is left to begin.
    Wait(Option<Instant>),
    /// All attempts have failed.
    Failed,
}

impl Race {
    /// Begins with an address that was reached before, if there is one. The name of the server is only
    /// resolved if that does not succeed soon. Addresses that are `unhelpful` are tried last, in their order.
    pub(super) fn new(now: Instant, known: Option<SocketAddr>, unhelpful: Vec<SocketAddr>) -> Self {
        let waiting = known.into_iter().collect();
        Self { waiting, known, unhelpful, name: Name::Unresolved, running: 0, next_at: now }
    }

    /// Returns what to do. After [`Step::Start`] and [`Step::Resolve`], there may be more.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        let must_wait = self.running > 0 && now < self.next_at;
        match (self.waiting.front(), self.name) {
            (Some(_), _) | (None, Name::Unresolved) if must_wait => Step::Wait(Some(self.next_at)),
            (Some(address), _) => {
                let address = *address;
                self.waiting.pop_front();
                self.running += 1;
                self.next_at = now + ATTEMPT_DELAY;
                Step::Start(address)
            }
            (None, Name::Unresolved) => {
                self.name = Name::Asked;
                Step::Resolve
            }
            (None, Name::Resolved) if self.running == 0 => Step::Failed,
            (None, Name::Asked | Name::Resolved) => Step::Wait(None),
        }
    }

    /// Reports the addresses of the server in the order of the system (RFC 6724), or that it has none. Their
    /// families take turns (RFC 8305 §4).
    pub(super) fn resolved(&mut self, addresses: Vec<SocketAddr>) {
        self.name = Name::Resolved;
        self.waiting = interlaced(addresses);
        self.waiting.retain(|address| Some(*address) != self.known);
        let rank = |address: &SocketAddr| {
            self.unhelpful.iter().position(|one| one == address).map_or(0, |place| place + 1)
        };
        self.waiting.make_contiguous().sort_by_key(rank);
    }

    /// Reports that an attempt has failed. The next address does not have to wait for it any more.
    pub(super) fn failed(&mut self, now: Instant) {
        self.running = self.running.saturating_sub(1);
        self.next_at = now;
    }
}

/// Takes addresses of the two families in turn, beginning with that of the first one. No address twice.
fn interlaced(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let is_like_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == is_like_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut order = VecDeque::new();
    loop {
        let (one, other) = (first.next(), second.next());
        if one.is_none() && other.is_none() {
            return order;
        }
        for address in one.into_iter().chain(other) {
            if !order.contains(&address) {
                order.push_back(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 80).into()
    }

    fn v6(last: u16) -> SocketAddr {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 80).into()
    }

    fn at(millis: u64) -> Instant {
        Instant::EPOCH + Duration::from_millis(millis)
    }

    fn race(addresses: &[SocketAddr]) -> Race {
        let mut race = Race::new(at(0), None, Vec::new());
        assert_eq!(race.step(at(0)), Step::Resolve);
        assert_eq!(race.step(at(0)), Step::Wait(None));
        race.resolved(addresses.to_vec());
        race
    }

    #[test]
    fn addresses_that_were_no_help_come_last_and_the_one_that_failed_first_before_the_others() {
        let order = |unhelpful: &[SocketAddr]| {
            let mut race = Race::new(at(0), None, unhelpful.to_vec());
            race.step(at(0));
            race.resolved(vec![v4(1), v4(2), v4(3)]);
            Vec::from(race.waiting)
        };
        assert_eq!(order(&[]), [v4(1), v4(2), v4(3)]);
        assert_eq!(order(&[v4(1)]), [v4(2), v4(3), v4(1)]);
        assert_eq!(order(&[v4(2), v4(1)]), [v4(3), v4(2), v4(1)]);
        assert_eq!(order(&[v4(3), v4(9), v4(1), v4(2)]), [v4(3), v4(1), v4(2)]);
    }

    #[test]
    fn families_take_turns() {
        for (addresses, order) in [
            (vec![], vec![]),
            (vec![v4(1), v4(2)], vec![v4(1), v4(2)]),
            (vec![v6(1), v6(2), v6(3), v4(1)], vec![v6(1), v4(1), v6(2), v6(3)]),
            (vec![v4(1), v4(2), v6(1), v6(2)], vec![v4(1), v6(1), v4(2), v6(2)]),
            (vec![v6(1), v6(1), v4(1), v4(1)], vec![v6(1), v4(1)]),
        ] {
            assert_eq!(interlaced(addresses), order);
        }
    }

    #[test]
    fn an_attempt_that_hangs_delays_the_next_by_a_quarter_of_a_second() {
        let mut race = race(&[v6(1), v4(1), v6(2)]);
        assert_eq!(race.step(at(0)), Step::Start(v6(1)));
        assert_eq!(race.step(at(0)), Step::Wait(Some(at(250))));
        assert_eq!(race.step(at(249)), Step::Wait(Some(at(250))));
        assert_eq!(race.step(at(250)), Step::Start(v4(1)));
        assert_eq!(race.step(at(250)), Step::Wait(Some(at(500))));
        // Late: the delay counts from the last beginning.
        assert_eq!(race.step(at(900)), Step::Start(v6(2)));
        assert_eq!(race.step(at(900)), Step::Wait(None));
        for _ in 0..3 {
            assert_eq!(race.step(at(9000)), Step::Wait(None));
            race.failed(at(9000));
        }
        assert_eq!(race.step(at(9000)), Step::Failed);
    }

    #[test]
    fn a_failure_starts_the_next_at_once() {
        let mut race = race(&[v6(1), v4(1), v6(2)]);
        assert_eq!(race.step(at(0)), Step::Start(v6(1)));
        race.failed(at(3));
        assert_eq!(race.step(at(3)), Step::Start(v4(1)));
        assert_eq!(race.step(at(4)), Step::Wait(Some(at(253))));
        race.failed(at(5));
        assert_eq!(race.step(at(5)), Step::Start(v6(2)));
        race.failed(at(6));
        assert_eq!(race.step(at(6)), Step::Failed);
    }

    #[test]
    fn one_failure_starts_one_attempt() {
        let mut race = race(&[v6(1), v4(1), v6(2), v4(2)]);
        assert_eq!(race.step(at(0)), Step::Start(v6(1)));
        assert_eq!(race.step(at(250)), Step::Start(v4(1)));
        race.failed(at(300));
        assert_eq!(race.step(at(300)), Step::Start(v6(2)));
        assert_eq!(race.step(at(300)), Step::Wait(Some(at(550))));
    }

    #[test]
    fn an_address_that_was_reached_before_comes_first_and_others_follow() {
        let mut race = Race::new(at(0), Some(v4(1)), Vec::new());
        assert_eq!(race.step(at(0)), Step::Start(v4(1)));
        assert_eq!(race.step(at(0)), Step::Wait(Some(at(250))), "the name is not resolved again");
        race.failed(at(1));
        assert_eq!(race.step(at(1)), Step::Resolve);
        race.resolved(vec![v6(1), v4(1), v6(2)]);
        assert_eq!(race.step(at(5)), Step::Start(v6(1)));
        assert_eq!(race.step(at(255)), Step::Start(v6(2)));
        race.failed(at(255));
        race.failed(at(255));
        assert_eq!(race.step(at(255)), Step::Failed);
    }

    #[test]
    fn an_address_that_was_reached_before_but_hangs_is_not_waited_for() {
        let mut race = Race::new(at(0), Some(v4(1)), Vec::new());
        assert_eq!(race.step(at(0)), Step::Start(v4(1)));
        assert_eq!(race.step(at(250)), Step::Resolve);
        assert_eq!(race.step(at(250)), Step::Wait(None));
        // It may have failed meanwhile, and the name may have no address any more.
        race.failed(at(260));
        assert_eq!(race.step(at(260)), Step::Wait(None));
        race.resolved(vec![]);
        assert_eq!(race.step(at(300)), Step::Failed);
    }

    #[test]
    fn without_addresses_it_fails() {
        assert_eq!(race(&[]).step(at(0)), Step::Failed);
    }

    #[test]
    fn a_clock_that_stands_still_or_runs_back_stops_nothing() {
        let mut race = Race::new(at(1000), None, Vec::new());
        assert_eq!(race.step(at(0)), Step::Resolve);
        race.resolved(vec![v4(1), v4(2)]);
        assert_eq!(race.step(at(0)), Step::Start(v4(1)));
        race.failed(at(0));
        assert_eq!(race.step(at(0)), Step::Start(v4(2)));
    }
}
