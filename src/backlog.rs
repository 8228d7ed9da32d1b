//! What waits for a peer that reads too slowly: a queue that is bounded in bytes.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::fmt;

use bytes::Bytes;

#[cfg(test)]
mod tests;

/// What happens to signals that wait for their peer: for example because it reads too slowly.
///
/// Each policy is only about signals that were sent with it: none drops a signal that was accepted
/// with another one, but for the end of the connection. What is dropped or replaced is counted. What is
/// neither dropped nor replaced leaves in the order in which it was sent, but for the new values of
/// [`Coalesce`](Self::Coalesce).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SlowReader {
    /// The new signal is refused, and its sender is told.
    #[default]
    Refuse,
    /// Signals that wait and were sent with this policy are dropped, the oldest first, until there is
    /// room. The new signal is refused only if that makes too little room. For news of which the latest
    /// count.
    DropOldest,
    /// Of signals with the same name that were sent with this policy, at most one waits: a new one
    /// takes the place of the one that waits, also while there is room for both. So the peer gets the
    /// last value of each name. A name of which none waits needs room, and so does a longer value; without
    /// room, the new signal is refused. For states, such as positions and prices, of which each has a name
    /// of its own.
    ///
    /// This is not only about slow peers: signals wait until they are taken to be written, so of two that
    /// are sent right after each other, a fast peer may get the second only.
    ///
    /// The new value leaves at the position of the one that it replaces, so before signals that were sent
    /// between the two: `position 1`, `round started`, `position 2` arrive as `position 2`,
    /// `round started`.
    ///
    /// Only the names are compared, whatever the signals are about. Those of two rooms need two names.
    Coalesce,
    /// The peer is disconnected, and the signals that wait for it are dropped. For peers that can do
    /// nothing useful once they have missed a signal.
    Disconnect,
}

/// Why there is no room for an item in a [`Backlog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoRoom {
    /// It is refused. Nothing has changed.
    Refused,
    /// The peer is to be disconnected. No signal waits any more, and all signals from now on are
    /// refused like this one.
    Disconnect,
}

/// What waits for a peer: a queue that is bounded in bytes. It decides what is accepted, dropped or
/// replaced when the peer reads too slowly ([`SlowReader`]).
///
/// What is added with [`push`](Self::push) is no signal, whatever its size. It is never dropped, also not
/// with the signals of a peer that is to be disconnected, and it keeps its position among the others.
///
/// Every call takes logarithmic time in the number of items, on average over many calls. Items that
/// may not be dropped cost no more than in an ordinary queue.
///
/// ```
/// use wwr::{Backlog, NoRoom, SlowReader};
///
/// let mut backlog = Backlog::new(100);
/// let mut signal = |name: &str, value, policy| {
///     backlog.push_signal(value, 40, name.as_bytes(), policy)
/// };
/// assert_eq!(signal("position", 1, SlowReader::Coalesce), Ok(0));
/// assert_eq!(signal("joined", 2, SlowReader::Refuse), Ok(0));
/// assert_eq!(signal("position", 3, SlowReader::Coalesce), Ok(1), "the first one is replaced");
/// assert_eq!(signal("joined", 4, SlowReader::Refuse), Err(NoRoom::Refused));
/// assert_eq!([backlog.pop(), backlog.pop(), backlog.pop()], [Some(3), Some(2), None]);
/// assert_eq!(backlog.dropped(), 1);
/// ```
pub struct Backlog<T> {
    /// In the order of their numbers.
    slots: VecDeque<Slot<T>>,
    /// The bytes of the items that wait.
    bytes: usize,
    /// Bytes of items that were taken but are still in memory.
    held: usize,
    max_bytes: usize,
    /// How many items wait that are no signals. Memory ends long before 2^32 of them.
    others: u32,
    /// Whether an item of any size is accepted next.
    promised: bool,
    counting: Counting,
    /// Whether the peer is to be disconnected.
    overflowed: bool,
    dropped: u64,
    /// Which items may be dropped. Most backlogs never have any.
    loose: Option<Box<Loose>>,
}

/// What happens to the bytes of items that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counting {
    /// They are out of memory.
    UntilTaken,
    /// They count until the owner tells how many are still held.
    UntilReleased,
}

/// An item, or the gap that a dropped one has left.
struct Slot<T> {
    number: u64,
    bytes: usize,
    is_signal: bool,
    item: Option<T>,
}

/// The items that may be dropped or replaced.
#[derive(Default)]
struct Loose {
    /// The numbers of those that may be dropped.
    droppable: BTreeSet<u64>,
    droppable_bytes: usize,
    /// The names of those that may be replaced, and their numbers.
    replaceable: BTreeMap<u64, Bytes>,
    numbers: BTreeMap<Bytes, u64>,
    /// How many slots are gaps.
    gaps: usize,
}

/// So many gaps are not worth the effort of closing them.
const FEW_GAPS: usize = 32;

impl<T> Backlog<T> {
    /// Creates an empty backlog, for items that are out of memory when they are taken. `max_bytes` may
    /// wait at most; one item may always wait.
    pub const fn new(max_bytes: usize) -> Self {
        Self::with(max_bytes, Counting::UntilTaken)
    }

    /// Creates an empty backlog, for items that count until [`hold`](Self::hold) is called after they
    /// were taken.
    pub const fn holding(max_bytes: usize) -> Self {
        Self::with(max_bytes, Counting::UntilReleased)
    }

    const fn with(max_bytes: usize, counting: Counting) -> Self {
        Self {
            slots: VecDeque::new(),
            bytes: 0,
            held: 0,
            max_bytes,
            others: 0,
            promised: false,
            counting,
            overflowed: false,
            dropped: 0,
            loose: None,
        }
    }

    /// Adds an item that is no signal, and is never dropped. One of no bytes always fits.
    ///
    /// # Errors
    ///
    /// [`NoRoom::Refused`] if too many bytes wait.
    pub fn push(&mut self, item: T, bytes: usize) -> Result<(), NoRoom> {
        self.add(item, bytes, false)
    }

    /// Adds a signal of this name. It counts as one byte at least. Returns how many signals were dropped
    /// or replaced for it.
    ///
    /// # Errors
    ///
    /// [`NoRoom`] if there is no room, and the policy makes none.
    pub fn push_signal(
        &mut self,
        item: T,
        bytes: usize,
        name: &[u8],
        policy: SlowReader,
    ) -> Result<usize, NoRoom> {
        let bytes = bytes.max(1);
        if self.overflowed {
            return Err(NoRoom::Disconnect);
        }
        match policy {
            SlowReader::Refuse => self.add(item, bytes, true).map(|()| 0),
            SlowReader::Disconnect => {
                let pushed = self.add(item, bytes, true).map(|()| 0);
                pushed.map_err(|_| {
                    self.overflow();
                    NoRoom::Disconnect
                })
            }
            SlowReader::DropOldest => {
                let dropped = self.make_room(bytes)?;
                let number = self.append(item, bytes, true);
                let loose = self.loose.get_or_insert_default();
                loose.droppable.insert(number);
                loose.droppable_bytes += bytes;
                Ok(dropped)
            }
            SlowReader::Coalesce => self.coalesce(item, bytes, name),
        }
    }

    /// Takes the next item, if there is one.
    pub fn pop(&mut self) -> Option<T> {
        while let Some(Slot { number, bytes, is_signal, item }) = self.slots.pop_front() {
            let Some(item) = item else {
                if let Some(loose) = &mut self.loose {
                    loose.gaps -= 1;
                }
                continue;
            };
            self.bytes -= bytes;
            self.others -= u32::from(!is_signal);
            if self.counting == Counting::UntilReleased {
                self.held += bytes;
            }
            if let Some(loose) = &mut self.loose {
                loose.remove(number, bytes);
            }
            return Some(item);
        }
        self.slots.shrink_to_fit();
        self.loose = None;
        None
    }

    /// Sets how many bytes of taken items are still in memory. They count as if they waited.
    pub const fn hold(&mut self, bytes: usize) {
        self.held = bytes;
    }

    /// Returns whether everything may stay here while the peer does not read. That is so if some of it
    /// may still be dropped or replaced, and all of it are signals: everything else has to be taken now, with
    /// what comes before it.
    pub fn can_wait(&self) -> bool {
        self.others == 0 && self.loose.as_ref().is_some_and(|loose| !loose.is_empty())
    }

    /// Returns whether half of the bytes are free. This is more than most items need, so that callers
    /// that wait for room are not woken for each item.
    pub const fn has_room(&self) -> bool {
        self.waiting_bytes() <= self.max_bytes / 2
    }

    /// Accepts the next item whatever its size, but only one.
    pub const fn promise(&mut self) {
        self.promised = true;
    }

    /// Returns how many items wait.
    pub fn len(&self) -> usize {
        self.slots.len() - self.loose.as_ref().map_or(0, |loose| loose.gaps)
    }

    /// Returns whether no item waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes wait or are held.
    pub const fn waiting_bytes(&self) -> usize {
        self.bytes.saturating_add(self.held)
    }

    /// Returns how many bytes are [held](Self::hold).
    pub const fn held_bytes(&self) -> usize {
        self.held
    }

    /// Returns how many signals were dropped or replaced since the beginning. Refused ones do not
    /// count, nor does what [`take_all`](Self::take_all) returns.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Takes everything at once, because the peer has gone. Nothing is held any more.
    pub fn take_all(&mut self) -> impl Iterator<Item = T> + use<T> {
        (self.bytes, self.held, self.others, self.loose) = (0, 0, 0, None);
        core::mem::take(&mut self.slots).into_iter().filter_map(|slot| slot.item)
    }

    /// Returns whether an item of this many bytes may be added.
    const fn takes(&self, bytes: usize) -> bool {
        let waiting = self.waiting_bytes();
        bytes == 0
            || waiting == 0
            || self.promised
            || waiting.saturating_add(bytes) <= self.max_bytes
    }

    /// The same, for a signal that may be dropped itself. One such signal may always wait, whatever
    /// is held.
    const fn takes_loose(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.takes(bytes)
    }

    /// Adds an item that may not be dropped.
    fn add(&mut self, item: T, bytes: usize, is_signal: bool) -> Result<(), NoRoom> {
        if !self.takes(bytes) {
            return Err(NoRoom::Refused);
        }
        self.append(item, bytes, is_signal);
        Ok(())
    }

    fn append(&mut self, item: T, bytes: usize, is_signal: bool) -> u64 {
        if bytes > 0 {
            self.promised = false;
        }
        self.others += u32::from(!is_signal);
        let number = self.slots.back().map_or(0, |last| last.number + 1);
        self.bytes += bytes;
        self.slots.push_back(Slot { number, bytes, is_signal, item: Some(item) });
        number
    }

    /// Drops the oldest signals until there is room for one of so many bytes. Drops none if there would
    /// still be too little.
    fn make_room(&mut self, bytes: usize) -> Result<usize, NoRoom> {
        let loose = self.loose.as_ref().map_or(0, |loose| loose.droppable_bytes);
        let fixed = self.waiting_bytes() - loose;
        let is_enough = self.bytes == loose || fixed.saturating_add(bytes) <= self.max_bytes;
        if !self.promised && !is_enough {
            return Err(NoRoom::Refused);
        }
        let mut dropped = 0;
        while !self.takes_loose(bytes) && self.drop_oldest() {
            dropped += 1;
        }
        self.close_gaps();
        Ok(dropped)
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(loose) = &mut self.loose else { return false };
        let Some(number) = loose.droppable.first().copied() else { return false };
        let Ok(place) = self.slots.binary_search_by_key(&number, |slot| slot.number) else {
            return false;
        };
        let Some(slot) = self.slots.get_mut(place) else { return false };
        let bytes = core::mem::take(&mut slot.bytes);
        slot.item = None;
        loose.remove(number, bytes);
        loose.gaps += 1;
        self.bytes -= bytes;
        self.dropped += 1;
        true
    }

    /// Gaps are never more than the items, so that memory is bounded.
    fn close_gaps(&mut self) {
        if let Some(loose) = &mut self.loose
            && loose.gaps > FEW_GAPS
            && loose.gaps > self.slots.len() / 2
        {
            loose.gaps = 0;
            self.slots.retain(|slot| slot.item.is_some());
        }
    }

    fn coalesce(&mut self, item: T, bytes: usize, name: &[u8]) -> Result<usize, NoRoom> {
        let known = self.loose.as_ref().and_then(|loose| loose.numbers.get(name)).copied();
        let place = known
            .and_then(|number| self.slots.binary_search_by_key(&number, |slot| slot.number).ok());
        let Some(slot) = place.and_then(|place| self.slots.get(place)) else {
            if !self.takes_loose(bytes) {
                return Err(NoRoom::Refused);
            }
            let number = self.append(item, bytes, true);
            let (loose, name) = (self.loose.get_or_insert_default(), Bytes::copy_from_slice(name));
            loose.numbers.insert(name.clone(), number);
            loose.replaceable.insert(number, name);
            return Ok(0);
        };
        let (earlier, is_alone) = (slot.bytes, slot.bytes == self.bytes);
        let after = (self.waiting_bytes() - earlier).saturating_add(bytes);
        let fits = bytes <= earlier || is_alone || self.promised || after <= self.max_bytes;
        if !fits {
            return Err(NoRoom::Refused);
        }
        if let Some(slot) = place.and_then(|place| self.slots.get_mut(place)) {
            (slot.bytes, slot.item) = (bytes, Some(item));
        }
        self.bytes = self.bytes - earlier + bytes;
        self.promised = false;
        self.dropped += 1;
        Ok(1)
    }

    /// Drops all signals: the peer is to be disconnected.
    fn overflow(&mut self) {
        let waiting = self.len();
        self.slots.retain(|slot| !slot.is_signal);
        self.dropped += (waiting - self.slots.len()) as u64;
        self.bytes = self.slots.iter().map(|slot| slot.bytes).sum();
        (self.loose, self.overflowed) = (None, true);
    }
}

impl Loose {
    /// An item does not wait any more.
    fn remove(&mut self, number: u64, bytes: usize) {
        if self.droppable.remove(&number) {
            self.droppable_bytes -= bytes;
        } else if let Some(name) = self.replaceable.remove(&number) {
            self.numbers.remove(&name);
        }
    }

    fn is_empty(&self) -> bool {
        self.droppable.is_empty() && self.replaceable.is_empty()
    }
}

impl<T> fmt::Debug for Backlog<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backlog")
            .field("len", &self.len())
            .field("bytes", &self.bytes)
            .field("held", &self.held)
            .field("max_bytes", &self.max_bytes)
            .field("dropped", &self.dropped)
            .finish_non_exhaustive()
    }
}
