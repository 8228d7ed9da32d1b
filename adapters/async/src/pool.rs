//! A pool of objects that are costly to make.

use std::cell::{Cell, RefCell};

/// How many objects a pool holds. A thread uses few at once, because most connections are idle.
const MOST: usize = 8;

/// How many bytes they may occupy together.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A few objects of one kind for reuse, last in, first out. Each thread has its own pool.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    things: RefCell<Vec<(usize, T)>>,
    bytes: Cell<usize>,
}

impl<T> Pool<T> {
    pub(crate) const fn new() -> Self {
        Self { things: RefCell::new(Vec::new()), bytes: Cell::new(0) }
    }

    /// Takes an object, with the number of bytes that it occupies.
    pub(crate) fn take(&self) -> Option<(usize, T)> {
        let (bytes, thing) = self.things.borrow_mut().pop()?;
        self.bytes.set(self.bytes.get() - bytes);
        Some((bytes, thing))
    }

    /// Keeps an object that occupies about this many bytes, or drops it if the pool is full.
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
    fn the_last_object_is_reused_first_and_few_are_kept() {
        let pool = Pool::new();
        assert_eq!(pool.take(), None);
        (0..2 * MOST).for_each(|number| pool.keep(1, number));
        for number in (0..MOST).rev() {
            assert_eq!(pool.take(), Some((1, number)));
        }
        assert_eq!(pool.take(), None);
    }

    #[test]
    fn a_pool_is_bounded_in_bytes() {
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
