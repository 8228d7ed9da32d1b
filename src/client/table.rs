//! A table of requests, in the order of their calls.

use alloc::collections::VecDeque;

use super::requests::RequestId;

/// Up to this many entries, a table keeps its memory when it needs less.
pub(super) const KEPT: usize = 256;

/// A table of entries by rising identifier.
///
/// New identifiers are the highest, and most replies come in the order of the requests: a queue
/// serves both without allocating once it has grown. Finding an entry takes O(log n). Removing one
/// from the middle leaves a hole. There are never more holes than entries, so removing takes O(1)
/// after finding, on average.
#[derive(Debug)]
pub(super) struct Table<T> {
    entries: VecDeque<(RequestId, Option<T>)>,
    holes: usize,
}

impl<T> Table<T> {
    pub(super) const fn new() -> Self {
        Self { entries: VecDeque::new(), holes: 0 }
    }

    /// Returns how many entries there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.holes
    }

    pub(super) fn get(&self, id: RequestId) -> Option<&T> {
        let (_, value) = self.entries.get(self.find(id).ok()?)?;
        value.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: RequestId) -> Option<&mut T> {
        let index = self.find(id).ok()?;
        self.entries.get_mut(index)?.1.as_mut()
    }

    /// Returns all entries, by rising identifier.
    pub(super) fn iter(&self) -> impl Iterator<Item = (RequestId, &T)> {
        self.entries.iter().filter_map(|(id, value)| value.as_ref().map(|value| (*id, value)))
    }

    /// Adds an entry, or replaces the one with that identifier. O(1) if the identifier is the
    /// highest.
    pub(super) fn insert(&mut self, id: RequestId, value: T) {
        let entry = (id, Some(value));
        if self.entries.back().is_none_or(|(last, _)| *last < id) {
            return self.entries.push_back(entry);
        }
        match self.find(id) {
            Ok(index) => {
                let replaced = self.entries.get_mut(index).map(|place| {
                    let hole = place.1.is_none();
                    *place = entry;
                    hole
                });
                self.holes -= usize::from(replaced == Some(true));
            }
            Err(index) => self.entries.insert(index, entry),
        }
    }

    pub(super) fn remove(&mut self, id: RequestId) -> Option<T> {
        let index = self.find(id).ok()?;
        let value = self.entries.get_mut(index)?.1.take()?;
        self.holes += 1;
        self.tidy();
        Some(value)
    }

    /// Removes the entry with the lowest identifier.
    pub(super) fn pop_first(&mut self) -> Option<(RequestId, T)> {
        let (id, value) = self.entries.pop_front()?;
        self.tidy();
        // The first entry is never a hole.
        value.map(|value| (id, value))
    }

    fn find(&self, id: RequestId) -> Result<usize, usize> {
        match self.entries.front() {
            Some((first, _)) if *first == id => Ok(0),
            _ => self.entries.binary_search_by_key(&id, |(id, _)| *id),
        }
    }

    /// Removes the holes in front, and all holes if there are more holes than entries.
    fn tidy(&mut self) {
        while let Some((_, None)) = self.entries.front() {
            self.entries.pop_front();
            self.holes -= 1;
        }
        if self.holes > self.len() {
            self.entries.retain(|(_, value)| value.is_some());
            self.holes = 0;
        }
        if let Some(capacity) = shrunk_capacity(self.entries.len(), self.entries.capacity()) {
            self.entries.shrink_to(capacity);
        }
    }
}

/// Returns the capacity to which a list of that length should shrink, if it should: when a few
/// entries are left of very many, or no entry. Growing and shrinking are so rare that both cost
/// O(1) per entry.
pub(super) fn shrunk_capacity(length: usize, capacity: usize) -> Option<usize> {
    match length {
        0 => (capacity > KEPT).then_some(0),
        _ => (capacity > 4 * KEPT.max(2 * length)).then_some(KEPT.max(2 * length)),
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use std::vec::Vec;

    use super::*;
    use crate::wire::Identifier;

    fn id(number: u64) -> RequestId {
        RequestId::from_identifier(Identifier::from_counter(number))
    }

    fn filled(numbers: core::ops::RangeInclusive<u64>) -> Table<u64> {
        let mut table = Table::new();
        numbers.for_each(|number| table.insert(id(number), number));
        table
    }

    #[test]
    fn it_behaves_like_a_sorted_map() {
        let mut table = Table::new();
        let mut map = BTreeMap::new();
        let mut random = 1_u64;
        for round in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // A window that moves on, so that most numbers are new and the rest lie in the middle.
            let number = id(round / 64 + (random >> 33) % 32);
            match (random >> 60) % 4 {
                0 | 1 => {
                    table.insert(number, round);
                    map.insert(number, round);
                }
                2 => assert_eq!(table.remove(number), map.remove(&number)),
                _ if random >> 40 & 7 == 0 => assert_eq!(table.pop_first(), map.pop_first()),
                _ => assert_eq!(table.get(number), map.get(&number)),
            }
            assert_eq!(table.len(), map.len());
            assert!(table.entries.len() <= 2 * map.len(), "holes are bounded");
        }
        let rest: Vec<_> = core::iter::from_fn(|| table.pop_first()).collect();
        assert_eq!(rest, map.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn an_old_entry_does_not_make_it_grow() {
        let mut table = filled(1..=1);
        for number in 2..100_000 {
            table.insert(id(number), number);
            assert_eq!(table.remove(id(number)), Some(number));
        }
        assert!(table.entries.capacity() <= 8, "{}", table.entries.capacity());
        assert_eq!(table.pop_first(), Some((id(1), 1)));
    }

    #[test]
    fn as_many_holes_stay_as_there_are_entries() {
        for (entries, removed, places) in [(4, 2..=3, 4), (5, 2..=4, 2), (6, 2..=3, 6)] {
            let mut table = filled(1..=entries);
            removed.for_each(|number| assert_eq!(table.remove(id(number)), Some(number)));
            assert_eq!(table.entries.len(), places, "of {entries}");
        }
    }

    #[test]
    fn a_list_is_shrunk_when_it_needs_a_small_part_of_its_memory() {
        for (length, most) in
            [(0, KEPT), (1, 4 * KEPT), (KEPT / 2, 4 * KEPT), (KEPT, 8 * KEPT), (1000, 8000)]
        {
            assert_eq!(shrunk_capacity(length, most), None, "{length} in {most}");
            let left = shrunk_capacity(length, most + 1).unwrap();
            assert_eq!(left, if length == 0 { 0 } else { most / 4 }, "{length} in {most} + 1");
            assert_eq!(shrunk_capacity(length, left), None, "once is enough");
        }
    }

    #[test]
    fn memory_of_many_entries_is_freed_when_the_last_is_removed() {
        for (entries, kept) in [(KEPT as u64, true), (10 * KEPT as u64, false)] {
            let mut table = filled(1..=entries);
            for number in (2..=entries).rev() {
                table.remove(id(number));
            }
            assert_ne!(table.entries.capacity(), 0);
            table.remove(id(1));
            assert_eq!(table.entries.capacity() > 0, kept, "{entries} entries");
        }
    }

    #[test]
    fn memory_of_many_entries_is_freed_while_new_ones_come() {
        let many = 100 * KEPT as u64;
        let mut table = filled(1..=many);
        for number in 1..=many {
            table.insert(id(many + number), number);
            table.remove(id(number));
            table.remove(id(many + number - 1));
        }
        assert_eq!(table.len(), 1);
        assert!(table.entries.capacity() <= 4 * KEPT, "{}", table.entries.capacity());
    }
}
