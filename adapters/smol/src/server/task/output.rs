//! The output list of a machine, which only those tasks have that do something.

use wwr::Actions;
use wwr::server::Action;

use crate::pool::Pool;

/// About how many bytes the buffer for encoding occupies.
const ENCODER: usize = 4 * 1024;

/// A list that has grown beyond so many bytes, as one does when a handler has sent thousands of
/// signals at once, is not kept.
const MOST: usize = 64 * 1024;

thread_local! {
    /// Lists that no connection needs at the moment.
    static POOL: Pool<Actions<Action>> = const { Pool::new() };
}

/// Leaves the memory of an empty list to the next connection of this thread.
pub(super) fn give_up(out: &mut Actions<Action>) {
    let list = std::mem::take(out);
    let size = ENCODER + list.capacity() * size_of::<Action>();
    if list.is_empty() && size <= MOST {
        // If the thread ends, nobody needs it any more.
        let _ = POOL.try_with(|pool| pool.keep(size, list));
    }
}

/// Gives memory to a list that has none, if another connection has left some.
pub(super) fn take_up(out: &mut Actions<Action>) {
    if let Ok(Some((_, pooled))) = POOL.try_with(Pool::take) {
        *out = pooled;
    }
}

#[cfg(test)]
mod tests {
    use wwr::server::{Config, Connection, Observed, Protocol};
    use wwr::{Instant, Name};

    use super::*;

    /// A list that was filled with so many actions and emptied.
    fn used(actions: usize) -> Actions<Action> {
        let mut out = Actions::new();
        let mut config = Config::default();
        config.protocol = Protocol::V1_4;
        let config = config.validate().unwrap();
        let mut machine = Connection::accept(&config, Observed::Nothing, Instant::EPOCH, &mut out);
        for _ in 0..actions {
            machine.signal(&Name::new("s").unwrap(), &"x".into(), &mut out).unwrap();
        }
        assert!(out.len() >= actions);
        out.drain().for_each(drop);
        out
    }

    #[test]
    fn the_memory_of_a_list_is_left_to_the_next_unless_it_is_large() {
        for (actions, kept) in [(20, true), (MOST, false)] {
            let mut one = used(actions);
            give_up(&mut one);
            assert_eq!(one.capacity(), 0);
            let mut next = Actions::new();
            take_up(&mut next);
            assert_eq!(next.capacity() > 0, kept, "{actions} actions");
        }
    }
}
