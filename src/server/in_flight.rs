//! The handlers that run.

use smallvec::SmallVec;

use crate::wire::Identifier;

/// A request whose handler runs. Identifiers of the client may repeat, these do not on a connection,
/// before it has had 2^32 requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(Handle);

/// A signal whose handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalId(Handle);

/// A slot of the table, and how often it was used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Handle {
    slot: u32,
    generation: u32,
}

macro_rules! numbered {
    ($type:ident) => {
        impl $type {
            /// Returns a number for tables of the host. No two handlers that run on a connection have
            /// the same. One that has ended may have its number repeated after 2^32 others.
            pub const fn as_u64(self) -> u64 {
                (self.0.generation as u64) << 32 | self.0.slot as u64
            }

            /// Returns the identifier with this [number](Self::as_u64). A number that no running handler
            /// of the connection has is harmless: the answer to it is refused as
            /// [`Misuse::UnknownHandler`](super::Misuse::UnknownHandler).
            pub const fn from_u64(number: u64) -> Self {
                Self(Handle { slot: number as u32, generation: (number >> 32) as u32 })
            }
        }
    };
}

numbered!(RequestId);
numbered!(SignalId);

/// The running handlers of one connection: a table of reusable slots.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    slots: SmallVec<[Slot; 1]>,
    /// The first free slot, if any. Free slots form a list.
    free: Option<u32>,
    running: u32,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    content: SlotContent,
}

#[derive(Clone, Copy, Debug)]
enum SlotContent {
    Free { next: Option<u32> },
    Request(Identifier),
    Signal,
}

impl InFlight {
    pub(super) fn len(&self) -> usize {
        self.running as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running == 0
    }

    /// Returns how many requests run.
    pub(super) fn requests(&self) -> u32 {
        let requests =
            self.slots.iter().filter(|slot| matches!(slot.content, SlotContent::Request(_)));
        requests.count() as u32
    }

    #[inline]
    pub(super) fn start_request(&mut self, id: Identifier) -> RequestId {
        RequestId(self.start(SlotContent::Request(id)))
    }

    #[inline]
    pub(super) fn start_signal(&mut self) -> SignalId {
        SignalId(self.start(SlotContent::Signal))
    }

    /// Returns the client's identifier of a request that runs.
    pub(super) fn identifier(&self, id: RequestId) -> Option<Identifier> {
        let slot = self.slots.get(id.0.slot as usize)?;
        match slot.content {
            SlotContent::Request(identifier) if slot.generation == id.0.generation => {
                Some(identifier)
            }
            SlotContent::Request(_) | SlotContent::Signal | SlotContent::Free { .. } => None,
        }
    }

    /// Ends a request. Returns the client's identifier, or `None` if it had ended before.
    #[inline]
    pub(super) fn end_request(&mut self, id: RequestId) -> Option<Identifier> {
        self.end(id.0, |content| match content {
            SlotContent::Request(identifier) => Some(identifier),
            SlotContent::Signal | SlotContent::Free { .. } => None,
        })
    }

    /// Ends a signal. Returns whether it was running.
    #[inline]
    pub(super) fn end_signal(&mut self, id: SignalId) -> bool {
        let ended = self.end(id.0, |content| match content {
            SlotContent::Signal => Some(()),
            SlotContent::Request(_) | SlotContent::Free { .. } => None,
        });
        ended.is_some()
    }

    #[inline]
    fn start(&mut self, content: SlotContent) -> Handle {
        self.running += 1;
        let index = self.free.unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(index as usize) {
            Some(slot) => {
                if let SlotContent::Free { next } = slot.content {
                    self.free = next;
                }
                slot.content = content;
                Handle { slot: index, generation: slot.generation }
            }
            None => {
                self.slots.push(Slot { generation: 0, content });
                Handle { slot: index, generation: 0 }
            }
        }
    }

    /// Frees a slot if it still belongs to `handle` and holds the expected kind.
    #[inline]
    fn end<T>(
        &mut self,
        handle: Handle,
        running: impl FnOnce(SlotContent) -> Option<T>,
    ) -> Option<T> {
        let slot = self.slots.get_mut(handle.slot as usize)?;
        if slot.generation != handle.generation {
            return None;
        }
        let ended = running(slot.content)?;
        slot.generation = slot.generation.wrapping_add(1);
        slot.content = SlotContent::Free { next: self.free };
        self.free = Some(handle.slot);
        self.running -= 1;
        Some(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_comes_back_from_its_number() {
        let mut in_flight = InFlight::default();
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..3 {
            let ids: std::vec::Vec<_> =
                (0..3).map(|_| in_flight.start_request(Identifier::from_counter(round))).collect();
            for id in ids {
                assert_eq!(RequestId::from_u64(id.as_u64()), id);
                assert!(seen.insert(id.as_u64()), "{id:?}");
                assert!(in_flight.end_request(id).is_some());
            }
        }
        let signal = in_flight.start_signal();
        assert_eq!(SignalId::from_u64(signal.as_u64()), signal);
        assert!(in_flight.end_request(RequestId::from_u64(u64::MAX)).is_none());
    }

    #[test]
    fn each_handler_ends_once_and_slots_are_reused() {
        let mut table = InFlight::default();
        let first = table.start_request(Identifier::from_counter(1));
        let signal = table.start_signal();
        let second = table.start_request(Identifier::from_counter(1));
        assert_eq!(table.len(), 3);
        assert_eq!(table.identifier(first), Some(Identifier::from_counter(1)));
        assert_eq!(table.end_request(first), Some(Identifier::from_counter(1)));
        assert_eq!(table.end_request(first), None);
        assert!(table.end_signal(signal));
        assert!(!table.end_signal(signal));

        let third = table.start_request(Identifier::from_counter(3));
        let fourth = table.start_request(Identifier::from_counter(4));
        assert_eq!(table.slots.len(), 3);
        assert_eq!(table.identifier(first), None, "its slot was reused");
        assert_eq!(table.end_request(first), None, "its slot was reused");
        assert_eq!(table.end_request(fourth), Some(Identifier::from_counter(4)));
        assert_eq!(table.end_request(third), Some(Identifier::from_counter(3)));
        assert_eq!(table.end_request(second), Some(Identifier::from_counter(1)));
        assert!(table.is_empty());
    }

    #[test]
    fn a_signal_is_not_a_request() {
        let mut table = InFlight::default();
        let signal = table.start_signal();
        assert_eq!(table.end_request(RequestId(signal.0)), None);
        let request = table.start_request(Identifier::ZERO);
        assert!(!table.end_signal(SignalId(request.0)));
        assert_eq!(table.len(), 2);
    }
}
