//! The sockets of a host: by number, by deadline, and by who may still have a slot.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use slab::Slab;
use wwr::Instant;
use wwr::server::gate::{HandshakeSlots, Relief, SlotId, Taken};

use crate::server::{ServerSocket, SocketId};

/// A socket, and what the host knows of it.
pub(super) struct Place {
    id: SocketId,
    pub(super) socket: ServerSocket,
    /// Until the WebSocket is open.
    slot: Option<SlotId>,
    /// When it is looked at, at the latest. Its next timeout may be later by now.
    scheduled: Option<Instant>,
    pub(super) is_ready: bool,
    pub(super) is_dirty: bool,
    /// Whether it was to be read when it was last looked at.
    pub(super) is_read: bool,
}

pub(super) struct Sockets {
    places: Slab<Place>,
    /// How many there ever were.
    count: u32,
    slots: HandshakeSlots,
    of_slots: BTreeMap<SlotId, SocketId>,
    due: BTreeSet<(Instant, SocketId)>,
}

/// The bits of an identifier that say where the socket is. Those above say how many there were before.
const PLACE_BITS: u32 = 32;

const fn place_of(id: SocketId) -> usize {
    (id.0 & u32::MAX as u64) as usize
}

impl Sockets {
    pub(super) fn new(max_handshakes: usize) -> Self {
        Self {
            places: Slab::new(),
            count: 0,
            slots: HandshakeSlots::new(max_handshakes),
            of_slots: BTreeMap::new(),
            due: BTreeSet::new(),
        }
    }

    /// Adds a socket. Returns one that loses its slot to it, if there are too many.
    pub(super) fn add(
        &mut self,
        from: IpAddr,
        socket: impl FnOnce(SocketId) -> ServerSocket,
    ) -> (SocketId, Option<SocketId>) {
        let Taken { slot, evicted } = self.slots.take(from);
        let entry = self.places.vacant_entry();
        self.count = self.count.wrapping_add(1);
        let id = SocketId((u64::from(self.count) << PLACE_BITS) | entry.key() as u64);
        entry.insert(Place {
            id,
            socket: socket(id),
            slot: Some(slot),
            scheduled: None,
            is_ready: false,
            is_dirty: false,
            is_read: true,
        });
        self.of_slots.insert(slot, id);
        (id, evicted.and_then(|evicted| self.of_slots.remove(&evicted)))
    }

    /// Takes slots away because the system has no room. Returns the sockets that lose them, and how long to
    /// wait before the next attempt.
    pub(super) fn evict_some(&mut self) -> (Vec<SocketId>, Duration) {
        let Relief { evicted, pause } = self.slots.evict_some();
        (evicted.iter().filter_map(|slot| self.of_slots.remove(slot)).collect(), pause)
    }

    #[inline]
    pub(super) fn get(&mut self, id: SocketId) -> Option<&mut Place> {
        self.places.get_mut(place_of(id)).filter(|place| place.id == id)
    }

    #[inline]
    pub(super) fn find(&self, id: SocketId) -> Option<&Place> {
        self.places.get(place_of(id)).filter(|place| place.id == id)
    }

    pub(super) fn remove(&mut self, id: SocketId) -> Option<Place> {
        let place = self.get(id)?;
        let (slot, scheduled) = (place.slot.take(), place.scheduled.take());
        if let Some(slot) = slot {
            self.free(slot);
        }
        if let Some(at) = scheduled {
            self.due.remove(&(at, id));
        }
        Some(self.places.remove(place_of(id)))
    }

    fn free(&mut self, slot: SlotId) {
        self.slots.leave(slot);
        self.of_slots.remove(&slot);
    }

    /// Notes when the socket is due. A time that has become later costs nothing: the socket is looked at in
    /// vain once. Frees the slot of one that has a WebSocket.
    #[inline]
    pub(super) fn schedule(&mut self, id: SocketId) {
        let Some(place) = self.places.get_mut(place_of(id)) else { return };
        if place.slot.is_some() && place.socket.connection_id().is_some() {
            let slot = place.slot.take();
            let next = place.socket.next_timeout();
            let before = core::mem::replace(&mut place.scheduled, next);
            if let Some(before) = before {
                self.due.remove(&(before, id));
            }
            self.due.extend(next.map(|at| (at, id)));
            if let Some(slot) = slot {
                self.free(slot);
            }
            return;
        }
        let Some(next) = place.socket.next_timeout() else { return };
        match place.scheduled {
            Some(at) if at <= next => {}
            before => {
                place.scheduled = Some(next);
                if let Some(before) = before {
                    self.due.remove(&(before, id));
                }
                self.due.insert((next, id));
            }
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Returns the next socket that is to be looked at now.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<SocketId> {
        let (at, id) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.due.pop_first();
        if let Some(place) = self.get(id) {
            place.scheduled = None;
        }
        Some(id)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn ids(&self) -> Vec<SocketId> {
        self.places.iter().map(|(_, place)| place.id).collect()
    }
}
