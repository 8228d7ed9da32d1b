//! The output list of a machine. Only tasks with something to do have one.

use wwr::Actions;
use wwr::server::Action;

use crate::pool::Pool;

/// About how many bytes the buffer for encoding occupies.
const ENCODER: usize = 4 * 1024;

/// Lists above this size are not kept. A list grows so much when a handler has sent thousands of
/// signals at once.
const MOST: usize = 64 * 1024;

thread_local! {
    /// Lists that no connection needs at the moment.
    static POOL: Pool<Actions<Action>> = const { Pool::new() };
}

/// Puts the memory of an empty list into the pool of this thread.
pub(super) fn give_up(out: &mut Actions<Action>) {
    let list = std::mem::take(out);
    let size = ENCODER + list.capacity() * size_of::<Action>();
    if list.is_empty() && size <= MOST {
        // If the thread ends, the memory is not needed any more.
        let _ = POOL.try_with(|pool| pool.keep(size, list));
    }
}

/// Takes memory from the pool for an empty list, if there is any.
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
    fn the_memory_of_a_list_is_pooled_unless_it_is_large() {
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
