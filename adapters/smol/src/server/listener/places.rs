//! Who may speak HTTP, if there is not room for all.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

/// A limited number of places, shared fairly between hosts.
///
/// Whoever comes gets a place. If all are taken, it is the oldest of the host that has the most: so a
/// host that takes many drives out itself, and one that takes few keeps them. Between hosts that have
/// equally many, the oldest place goes.
#[derive(Clone, Debug)]
pub(super) struct Places {
    most: usize,
    table: Arc<Mutex<Table>>,
}

/// A place that was taken; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    host: IpAddr,
    number: u64,
    table: Arc<Mutex<Table>>,
}

/// Ready when a place is lost to somebody else.
pub(super) type Lost = oneshot::Receiver<()>;

#[derive(Debug, Default)]
struct Table {
    /// How many places were ever taken.
    last: u64,
    taken: usize,
    hosts: HashMap<IpAddr, VecDeque<Taken>>,
    /// The hosts by how many places they have and by the age of their oldest one: who has to give up
    /// a place comes last.
    order: BTreeMap<(usize, Reverse<u64>), IpAddr>,
}

/// One place. Who has it learns that it is lost when this is dropped.
#[derive(Debug)]
struct Taken {
    number: u64,
    _holder: oneshot::Sender<()>,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { most, table: Arc::default() }
    }

    /// Takes a place for a client of that address, and whether somebody else lost one for it.
    pub(super) fn take(&self, client: IpAddr) -> (Place, Lost, bool) {
        let host = host(client);
        let (holder, lost) = oneshot::channel();
        let mut table = lock(&self.table);
        let number = table.enter(host, holder);
        let full = table.taken > self.most && table.drive_out();
        (Place { host, number, table: self.table.clone() }, lost, full)
    }

    /// Frees an eighth of the places, at least one, in the order in which they would be lost; false if
    /// none is taken.
    pub(super) fn free_some(&self) -> bool {
        let mut table = lock(&self.table);
        let some = table.taken.div_ceil(8);
        (0..some).all(|_| table.drive_out()) && some > 0
    }

    #[cfg(test)]
    fn taken(&self) -> usize {
        lock(&self.table).taken
    }
}

impl Table {
    fn enter(&mut self, host: IpAddr, holder: oneshot::Sender<()>) -> u64 {
        self.last += 1;
        let number = self.last;
        self.change(host, |places| places.push_back(Taken { number, _holder: holder }));
        number
    }

    fn leave(&mut self, host: IpAddr, number: u64) {
        self.change(host, |places| {
            if let Ok(index) = places.binary_search_by_key(&number, |place| place.number) {
                places.remove(index);
            }
        });
    }

    fn drive_out(&mut self) -> bool {
        let Some((_, &host)) = self.order.last_key_value() else { return false };
        self.change(host, |places| {
            places.pop_front();
        });
        true
    }

    /// Changes the places of a host and keeps everything else in step.
    fn change(&mut self, host: IpAddr, change: impl FnOnce(&mut VecDeque<Taken>)) {
        let places = self.hosts.entry(host).or_default();
        self.taken -= places.len();
        if let Some(rank) = rank(places) {
            self.order.remove(&rank);
        }
        change(places);
        self.taken += places.len();
        match rank(places) {
            Some(rank) => {
                self.order.insert(rank, host);
            }
            None => {
                self.hosts.remove(&host);
            }
        }
    }
}

/// Where a host stands; nowhere without places.
fn rank(places: &VecDeque<Taken>) -> Option<(usize, Reverse<u64>)> {
    places.front().map(|oldest| (places.len(), Reverse(oldest.number)))
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.table).leave(self.host, self.number);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What counts as one host: whoever has one IPv6 address has 2^64 of them.
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

    /// Takes places for addresses that end in these numbers.
    fn take(places: &Places, clients: &[u8]) -> Vec<(Place, Lost)> {
        let address = |last| IpAddr::from([192, 0, 2, last]);
        clients
            .iter()
            .map(|last| {
                let (place, lost, _) = places.take(address(*last));
                (place, lost)
            })
            .collect()
    }

    /// Which of them are lost, by number.
    fn lost(taken: &mut [(Place, Lost)]) -> Vec<usize> {
        let gone = |lost: &mut Lost| lost.try_recv().is_err();
        let taken = (0..).zip(taken.iter_mut());
        taken.filter_map(|(index, (_, lost))| gone(lost).then_some(index)).collect()
    }

    #[test]
    fn who_has_most_loses_the_oldest() {
        for (most, clients, gone) in [
            (4, &[1, 1, 1, 2][..], &[][..]),
            (4, &[1, 1, 1, 2, 3], &[0]),
            (4, &[1, 1, 1, 1, 2, 3, 4], &[0, 1, 2]),
            // One host alone: its oldest.
            (3, &[1, 1, 1, 1, 1], &[0, 1]),
            // Who comes counts, too.
            (4, &[1, 1, 2, 2, 2], &[2]),
            // Equally many: the oldest of all.
            (3, &[9, 1, 5, 7, 2], &[0, 1]),
            (4, &[2, 1, 1, 2, 3], &[0]),
            (1, &[1, 2, 3], &[0, 1]),
            (0, &[1, 2], &[0, 1]),
            (usize::MAX, &[1; 100], &[]),
        ] {
            let places = Places::new(most);
            let mut taken = take(&places, clients);
            assert_eq!(lost(&mut taken), gone, "{most} {clients:?}");
            assert_eq!(places.taken(), clients.len() - gone.len());
        }
    }

    #[test]
    fn a_flood_of_one_host_takes_nothing_from_others() {
        let places = Places::new(100);
        let mut others = take(&places, &[1, 2, 3, 3]);
        let mut flood = take(&places, &[9; 10_000]);
        let mut late = take(&places, &[4]);
        assert!(lost(&mut others).is_empty() && lost(&mut late).is_empty());
        assert_eq!(lost(&mut flood).len(), 10_000 - 95);
        assert_eq!(places.taken(), 100);
    }

    #[test]
    fn places_are_free_again_and_nothing_is_left() {
        let places = Places::new(10);
        let mut first = take(&places, &[1, 2, 1, 2, 1, 2, 1, 2, 1, 2]);
        drop(first.remove(4));
        let mut next = take(&places, &[3]);
        assert!(lost(&mut first).is_empty() && lost(&mut next).is_empty());
        next.extend(take(&places, &[1, 1]));
        assert_eq!(lost(&mut first).len(), 2);
        drop((first, next));
        let table = lock(&places.table);
        assert_eq!((table.taken, table.hosts.len(), table.order.len()), (0, 0, 0));
    }

    #[test]
    fn an_eighth_of_the_places_can_be_freed() {
        let places = Places::new(20);
        let mut taken = take(&places, &[1, 2, 2, 1, 1, 1, 1, 1, 1]);
        for gone in [&[0, 3][..], &[0, 3, 4], &[0, 3, 4, 5]] {
            assert!(places.free_some());
            assert_eq!(lost(&mut taken), gone);
        }
        drop(taken);
        assert!(!places.free_some());
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
