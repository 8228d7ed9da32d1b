//! Which sockets may speak HTTP, if there is no room for all.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;

/// A limited number of slots for sockets without a WebSocket, shared fairly between hosts.
///
/// Every newcomer takes a slot. If all slots are taken, the oldest slot of the host with the most
/// is evicted. So a host that takes many evicts itself, and a host that takes few keeps them.
/// Between hosts with equally many, the oldest slot is evicted. IPv6 addresses with the same first
/// 64 bits count as one host, because a host has that many.
///
/// ```
/// use wwr::server::gate::HandshakeSlots;
///
/// let (flood, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
/// let mut slots = HandshakeSlots::new(2);
/// let first = slots.take(flood).slot;
/// slots.take(flood);
/// assert_eq!(slots.take(other).evicted, Some(first));
/// ```
#[derive(Clone, Debug)]
pub struct HandshakeSlots {
    most: usize,
    /// How many slots were ever taken.
    last: u64,
    slots: BTreeMap<SlotId, IpAddr>,
    /// The slots of each host, oldest first.
    hosts: BTreeMap<IpAddr, VecDeque<SlotId>>,
    /// The hosts by the number of their slots and the age of the oldest one. The last host is the
    /// next to lose a slot.
    order: BTreeSet<(usize, Reverse<SlotId>, IpAddr)>,
}

/// A slot that was taken. Identifiers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(u64);

/// The result of taking a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The slot.
    pub slot: SlotId,
    /// The slot that was evicted for it: the new one itself if the number of slots is zero.
    pub evicted: Option<SlotId>,
}

/// What a server that could not accept a socket does before it tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relief {
    /// The slots that were evicted, in this order.
    pub evicted: Vec<SlotId>,
    /// How long to wait before the next attempt.
    pub pause: Duration,
}

impl Relief {
    /// The pause after sockets were evicted: the next attempt may well succeed.
    pub const SHORT_PAUSE: Duration = Duration::from_millis(10);

    /// The pause if there was nothing to evict.
    pub const PAUSE: Duration = Duration::from_millis(100);
}

impl HandshakeSlots {
    /// Creates `most` free slots.
    pub const fn new(most: usize) -> Self {
        Self {
            most,
            last: 0,
            slots: BTreeMap::new(),
            hosts: BTreeMap::new(),
            order: BTreeSet::new(),
        }
    }

    /// Takes a slot for a client at that address.
    pub fn take(&mut self, client: IpAddr) -> Taken {
        self.last += 1;
        let slot = SlotId(self.last);
        self.add(slot, host(client));
        let evicted = if self.slots.len() > self.most { self.evict() } else { None };
        Taken { slot, evicted }
    }

    /// Moves a slot to another address, when the client turns out to have that one. The age of the
    /// slot stays. Nothing happens if the slot is free again.
    pub fn move_to(&mut self, slot: SlotId, client: IpAddr) {
        let host = host(client);
        if self.slots.get(&slot).is_some_and(|before| *before != host) {
            self.leave(slot);
            self.add(slot, host);
        }
    }

    /// Frees a slot. Nothing happens if it is already free.
    pub fn leave(&mut self, slot: SlotId) {
        let Some(host) = self.slots.remove(&slot) else { return };
        self.change(host, |slots| {
            if let Ok(index) = slots.binary_search(&slot) {
                slots.remove(index);
            }
        });
    }

    /// Frees the slot that would be evicted next, if any slot is taken.
    pub fn evict(&mut self) -> Option<SlotId> {
        let (_, Reverse(slot), _) = *self.order.last()?;
        self.leave(slot);
        Some(slot)
    }

    /// Evicts an eighth of the slots, at least one, in the usual order: the system has no room for
    /// another socket, for example because the process has no free file descriptors.
    ///
    /// ```
    /// use wwr::server::gate::{HandshakeSlots, Relief};
    ///
    /// let mut slots = HandshakeSlots::new(100);
    /// let first = slots.take([192, 0, 2, 1].into()).slot;
    /// let relief = slots.evict_some();
    /// assert_eq!((relief.evicted, relief.pause), (vec![first], Relief::SHORT_PAUSE));
    /// assert_eq!(slots.evict_some().pause, Relief::PAUSE);
    /// ```
    pub fn evict_some(&mut self) -> Relief {
        let some = self.taken().div_ceil(8);
        let evicted: Vec<_> = (0..some).map_while(|_| self.evict()).collect();
        let pause = if evicted.is_empty() { Relief::PAUSE } else { Relief::SHORT_PAUSE };
        Relief { evicted, pause }
    }

    /// Returns how many slots are taken.
    pub fn taken(&self) -> usize {
        self.slots.len()
    }

    fn add(&mut self, slot: SlotId, host: IpAddr) {
        self.slots.insert(slot, host);
        self.change(host, |slots| {
            let index = slots.binary_search(&slot).unwrap_or_else(|index| index);
            slots.insert(index, slot);
        });
    }

    /// Changes the slots of a host and updates the order.
    fn change(&mut self, host: IpAddr, change: impl FnOnce(&mut VecDeque<SlotId>)) {
        let slots = self.hosts.entry(host).or_default();
        if let Some(oldest) = slots.front() {
            self.order.remove(&(slots.len(), Reverse(*oldest), host));
        }
        change(slots);
        match slots.front() {
            Some(oldest) => {
                self.order.insert((slots.len(), Reverse(*oldest), host));
            }
            None => {
                self.hosts.remove(&host);
            }
        }
    }
}

/// Returns what counts as one host: a host with IPv6 has 2^64 addresses.
fn host(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    /// Takes slots for addresses that end in these numbers. Returns which slots are evicted for
    /// them, counted from zero in the order in which they were taken.
    fn take(slots: &mut HandshakeSlots, clients: &[u8]) -> Vec<u64> {
        let evicted = clients.iter().filter_map(|last| slots.take(address(*last)).evicted);
        evicted.map(|SlotId(number)| number - 1).collect()
    }

    #[test]
    fn an_eighth_makes_room_and_at_least_one() {
        let mut slots = HandshakeSlots::new(100);
        assert!(take(&mut slots, &[1; 17]).is_empty());
        let mut numbers = Vec::new();
        while slots.taken() > 0 {
            let Relief { evicted, pause } = slots.evict_some();
            assert_eq!(pause, Relief::SHORT_PAUSE);
            numbers.push(evicted.iter().map(|SlotId(number)| *number).collect::<Vec<_>>());
        }
        assert_eq!(numbers[..3], [&[1, 2, 3][..], &[4, 5], &[6, 7]]);
        assert_eq!(numbers.concat(), (1..=17).collect::<Vec<_>>());
        assert_eq!(slots.evict_some(), Relief { evicted: Vec::new(), pause: Relief::PAUSE });
    }

    fn is_in_step(slots: &HandshakeSlots) -> bool {
        slots.order.len() == slots.hosts.len()
            && slots.hosts.values().map(VecDeque::len).sum::<usize>() == slots.taken()
            && slots.hosts.values().all(|slots| slots.iter().is_sorted())
    }

    #[test]
    fn the_oldest_slot_of_the_host_with_the_most_is_evicted() {
        for (most, clients, gone) in [
            (4, &[1, 1, 1, 2][..], &[][..]),
            (4, &[1, 1, 1, 2, 3], &[0]),
            (4, &[1, 1, 1, 1, 2, 3, 4], &[0, 1, 2]),
            // One host alone: its oldest.
            (3, &[1, 1, 1, 1, 1], &[0, 1]),
            // The newcomer counts, too.
            (4, &[1, 1, 2, 2, 2], &[2]),
            // Equally many: the oldest of all.
            (3, &[9, 1, 5, 7, 2], &[0, 1]),
            (4, &[2, 1, 1, 2, 3], &[0]),
            (1, &[1, 2, 3], &[0, 1]),
            (0, &[1, 2], &[0, 1]),
            (usize::MAX, &[1; 100], &[]),
        ] {
            let mut slots = HandshakeSlots::new(most);
            assert_eq!(take(&mut slots, clients), gone, "{most} {clients:?}");
            assert_eq!(slots.taken(), clients.len() - gone.len());
            assert!(is_in_step(&slots));
        }
    }

    #[test]
    fn a_flood_of_one_host_evicts_no_other_host() {
        let mut slots = HandshakeSlots::new(100);
        assert!(take(&mut slots, &[1, 2, 3, 3]).is_empty());
        let flood = take(&mut slots, &[9; 10_000]);
        assert_eq!((flood.len(), flood[0]), (10_000 - 96, 4));
        assert_eq!(take(&mut slots, &[4]), [4 + flood.len() as u64]);
        assert_eq!(slots.taken(), 100);
    }

    #[test]
    fn freed_slots_can_be_taken_again_and_leave_nothing_behind() {
        let mut slots = HandshakeSlots::new(3);
        let taken = [1, 2, 1].map(|last| slots.take(address(last)).slot);
        slots.leave(taken[2]);
        slots.leave(taken[2]);
        assert_eq!(slots.take(address(3)).evicted, None);
        assert_eq!(slots.take(address(3)).evicted, Some(SlotId(4)));
        assert_eq!(
            [slots.evict(), slots.evict(), slots.evict()].map(|gone| gone.is_some()),
            [true; 3]
        );
        assert_eq!(slots.evict(), None);
        assert!(slots.slots.is_empty() && slots.hosts.is_empty() && slots.order.is_empty());
    }

    /// Behind a proxy, all clients begin at its address.
    #[test]
    fn a_slot_moves_to_the_host_of_its_client_and_keeps_its_age() {
        let mut slots = HandshakeSlots::new(4);
        let [first, second, third] = [9, 9, 9].map(|last| slots.take(address(last)).slot);
        slots.move_to(third, address(1));
        slots.move_to(first, address(1));
        slots.move_to(second, address(1));
        slots.move_to(second, address(2));
        assert!(is_in_step(&slots));
        assert_eq!(slots.take(address(3)).evicted, None);
        assert_eq!(slots.take(address(3)).evicted, Some(first), "1 and 3 have two, this is older");
        slots.move_to(first, address(7));
        assert_eq!(slots.taken(), 4, "an evicted slot does not come back");
        assert!(is_in_step(&slots));
    }

    #[test]
    fn addresses_of_one_host_count_together() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::2:3:4:5", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let [one, other] = [one, other].map(|address| host(address.parse().unwrap()));
            assert_eq!(one == other, same, "{one} {other}");
        }
    }
}
