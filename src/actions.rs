//! The output list of a machine.

use alloc::collections::VecDeque;

use crate::wire::Encoder;

/// What a machine wants done, in the order in which the host has to do it.
///
/// Every method that can cause something appends to a list the caller owns and reuses. The list
/// also carries the buffer in which outgoing messages are encoded, so one list shared by many
/// connections of a thread means one such buffer for all of them.
///
/// Take actions one at a time with [`pop`](Self::pop). Then the code that carries one out may call
/// the machine again and append more:
///
/// ```
/// use wwr::server::{Config, Connection, Observed, Protocol};
/// use wwr::{Actions, Instant, server};
///
/// let mut out = Actions::new();
/// let mut config = Config::default();
/// config.protocol = Protocol::V1_4;
/// let mut connection = Connection::accept(&config.validate()?, Observed::Nothing, Instant::EPOCH, &mut out);
/// connection.close(Instant::EPOCH, &mut out);
/// while let Some(action) = out.pop() {
///     match action {
///         server::Action::Close(reason) => assert_eq!(reason.code(), 1000),
///         other => println!("{other:?}"),
///     }
/// }
/// # Ok::<(), wwr::InvalidConfig>(())
/// ```
#[derive(Debug)]
pub struct Actions<A> {
    list: VecDeque<A>,
    pub(crate) encoder: Encoder,
}

impl<A> Actions<A> {
    /// Creates an empty list. Allocates nothing until something is appended.
    pub const fn new() -> Self {
        Self { list: VecDeque::new(), encoder: Encoder::new() }
    }

    /// Removes and returns the next action to carry out.
    #[inline]
    pub fn pop(&mut self) -> Option<A> {
        self.list.pop_front()
    }

    /// Removes all actions and returns them, oldest first.
    pub fn drain(&mut self) -> impl Iterator<Item = A> + '_ {
        self.list.drain(..)
    }

    /// Returns the actions that wait to be taken, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &A> + '_ {
        self.list.iter()
    }

    /// Returns how many actions wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether no action waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns how many actions the list has memory for.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.list.capacity()
    }

    /// Frees the memory that the list and its encoding buffer keep for reuse. Worth calling when
    /// the connection becomes idle.
    pub fn shrink(&mut self) {
        self.list.shrink_to_fit();
        self.encoder.shrink();
    }

    pub(crate) fn push(&mut self, action: A) {
        self.list.push_back(action);
    }

    /// Like [`push`](Self::push), for actions that are appended often: reserves the room first and
    /// builds the action in its place. So the action is not copied after it was built.
    #[inline]
    pub(crate) fn push_with(&mut self, make: impl FnOnce() -> A) {
        self.list.push_back(make());
    }
}

impl<A> Default for Actions<A> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::wire::Identifier;

    #[test]
    fn actions_are_taken_in_the_order_of_pushing() {
        let mut out = Actions::default();
        out.push(1);
        out.push_with(|| 2);
        out.push(3);
        assert_eq!(out.iter().collect::<Vec<_>>(), [&1, &2, &3]);
        assert_eq!(out.pop(), Some(1));
        assert_eq!(out.drain().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(out.pop(), None);
    }

    #[test]
    fn a_list_counts_the_actions_that_wait() {
        let mut out = Actions::new();
        for waiting in 0..3 {
            assert_eq!((out.len(), out.is_empty()), (waiting, waiting == 0));
            out.push(());
        }
    }

    #[test]
    fn memory_is_kept_until_shrink_frees_it() {
        let mut out = Actions::new();
        assert_eq!(out.capacity(), 0);
        (0..100).for_each(|action| out.push(action));
        out.drain().for_each(drop);
        assert!(out.capacity() >= 100);
        let frame = out.encoder.close_session(Identifier::ZERO);
        assert!(!frame.is_unique(), "the encoder keeps the rest of its chunk");
        out.shrink();
        assert_eq!(out.capacity(), 0);
        assert!(frame.is_unique());
    }
}
