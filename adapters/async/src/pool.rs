//! A pool of things that are costly to make.

use std::cell::{Cell, RefCell};

/// How many things a pool holds. Few are in use at once on a thread: most connections rest.
const MOST: usize = 8;

/// How many bytes they may occupy.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A few things of one kind for reuse, those used last on top. One pool per thread.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    things: RefCell<Vec<(usize, T)>>,
    bytes: Cell<usize>,
}

impl<T> Pool<T> {
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
        let pool = Pool::new();
        assert_eq!(pool.take(), None);
        (0..2 * MOST).for_each(|number| pool.keep(1, number));
        for number in (0..MOST).rev() {
            assert_eq!(pool.take(), Some((1, number)));
        }
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let pool = Pool::new();
        pool.keep(MOST_BYTES + 1, "huge");
        pool.keep(usize::MAX, "larger still");
        assert_eq!(pool.take(), None);
        pool.keep(MOST_BYTES - 1, "large");
        pool.keep(2, "one too many");
        pool.keep(1, "small");
        assert_eq!(pool.take(), Some((1, "small")));
        assert_eq!(pool.take(), Some((MOST_BYTES - 1, "large")));
        pool.keep(MOST_BYTES, "all there is room for");
        assert_eq!(pool.take(), Some((MOST_BYTES, "all there is room for")));
    }
}
