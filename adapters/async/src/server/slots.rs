//! Slots for sockets without a WebSocket, and the notice of an eviction.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;
use wwr::server::gate::{HandshakeSlots, Relief, SlotId, Taken};

/// The [`HandshakeSlots`] of a server.
#[derive(Clone, Debug)]
pub(super) struct Slots(Arc<Mutex<Shared>>);

/// A slot that was taken. Dropping it frees the slot.
#[derive(Debug)]
pub(super) struct Slot {
    id: SlotId,
    slots: Slots,
}

/// Becomes ready when a slot is evicted: with an error if another socket takes the slot, with `Ok`
/// if the process is short of file descriptors.
pub(super) type Evicted = oneshot::Receiver<()>;

#[derive(Debug)]
struct Shared {
    slots: HandshakeSlots,
    /// How the holders of slots learn that they are evicted.
    holders: HashMap<SlotId, oneshot::Sender<()>>,
}

impl Slots {
    pub(super) fn new(most: usize) -> Self {
        let shared = Shared { slots: HandshakeSlots::new(most), holders: HashMap::new() };
        Self(Arc::new(Mutex::new(shared)))
    }

    /// Takes a slot for a client at that address.
    pub(super) fn take(&self, client: IpAddr) -> (Slot, Evicted) {
        let (holder, evicted) = oneshot::channel();
        let mut shared = self.lock();
        let Taken { slot: id, evicted: gone } = shared.slots.take(client);
        shared.holders.insert(id, holder);
        if let Some(gone) = gone {
            shared.holders.remove(&gone);
        }
        (Slot { id, slots: self.clone() }, evicted)
    }

    /// Evicts some slots. Returns what to do next.
    pub(super) fn evict_some(&self) -> Relief {
        let mut shared = self.lock();
        let relief = shared.slots.evict_some();
        for gone in &relief.evicted {
            if let Some(holder) = shared.holders.remove(gone) {
                // An error means that the socket has already ended.
                let _ = holder.send(());
            }
        }
        relief
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Moves the slot to another address of the client.
    pub(super) fn move_to(&self, client: IpAddr) {
        self.slots.lock().slots.move_to(self.id, client);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut shared = self.slots.lock();
        shared.slots.leave(self.id);
        shared.holders.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_evicted(evicted: &mut Evicted) -> bool {
        evicted.try_recv() != Ok(None)
    }

    #[test]
    fn holders_learn_that_their_slot_is_evicted() {
        let [one, other] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let slots = Slots::new(2);
        let (first, mut first_evicted) = slots.take(one);
        let (_second, mut second_evicted) = slots.take(one);
        assert!(!is_evicted(&mut first_evicted));
        first.move_to(other);
        // Both hosts have one slot: the oldest is evicted.
        let (_third, mut third_evicted) = slots.take(other);
        assert!(is_evicted(&mut first_evicted));
        assert!(!is_evicted(&mut second_evicted) && !is_evicted(&mut third_evicted));
        drop(first);
        let evicted = [(); 3].map(|()| slots.evict_some().evicted.len());
        assert_eq!(evicted, [1, 1, 0]);
        assert!(is_evicted(&mut second_evicted) && is_evicted(&mut third_evicted));
    }

    #[test]
    fn freed_slots_leave_nothing_behind() {
        let slots = Slots::new(10);
        let taken: Vec<_> = (0..20).map(|last| slots.take([192, 0, 2, last].into())).collect();
        drop(taken);
        let shared = slots.lock();
        assert!(shared.slots.taken() == 0 && shared.holders.is_empty());
    }
}
