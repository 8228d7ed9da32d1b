//! Things that are costly to make, kept for whoever needs one next.

use std::cell::{Cell, RefCell};

/// How many things are kept. Few are in use at once on a thread: most connections rest.
const MOST: usize = 8;

/// How many bytes the things that are kept may occupy.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A few things of one kind, those used last on top. One per thread.
#[derive(Debug)]
pub(crate) struct Spares<T> {
    things: RefCell<Vec<(usize, T)>>,
    bytes: Cell<usize>,
}

impl<T> Spares<T> {
    pub(crate) const fn new() -> Self {
        Self { things: RefCell::new(Vec::new()), bytes: Cell::new(0) }
    }

    /// Takes a thing, with the number of bytes it was said to occupy.
    pub(crate) fn take(&self) -> Option<(usize, T)> {
        let (bytes, thing) = self.things.borrow_mut().pop()?;
        self.bytes.set(self.bytes.get() - bytes);
        Some((bytes, thing))
    }

    /// Keeps a thing that occupies about so many bytes; drops it if there are enough.
    pub(crate) fn keep(&self, bytes: usize, thing: T) {
        let total = self.bytes.get().saturating_add(bytes);
        let mut things = self.things.borrow_mut();
        if things.len() < MOST && total <= MOST_BYTES {
            things.push((bytes, thing));
            self.bytes.set(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_comes_back_first_and_few_are_kept() {
        let spares = Spares::new();
        assert_eq!(spares.take(), None);
        (0..2 * MOST).for_each(|number| spares.keep(1, number));
        for number in (0..MOST).rev() {
            assert_eq!(spares.take(), Some((1, number)));
        }
        assert_eq!(spares.take(), None);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let spares = Spares::new();
        spares.keep(MOST_BYTES + 1, "huge");
        spares.keep(usize::MAX, "larger still");
        assert_eq!(spares.take(), None);
        spares.keep(MOST_BYTES - 1, "large");
        spares.keep(2, "one too many");
        spares.keep(1, "small");
        assert_eq!(spares.take(), Some((1, "small")));
        assert_eq!(spares.take(), Some((MOST_BYTES - 1, "large")));
        spares.keep(MOST_BYTES, "all there is room for");
        assert_eq!(spares.take(), Some((MOST_BYTES, "all there is room for")));
    }
}
