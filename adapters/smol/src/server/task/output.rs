//! The output list of a machine, which only those tasks have that do something.

use wwr::Actions;
use wwr::server::Action;

use crate::spare::Spares;

/// About how many bytes a list and its buffer for encoding occupy.
const SIZE: usize = 8 * 1024;

thread_local! {
    /// Lists that no connection needs at the moment.
    static SPARES: Spares<Actions<Action>> = const { Spares::new() };
}

/// Leaves the memory of an empty list to the next connection of this thread.
pub(super) fn give_up(out: &mut Actions<Action>) {
    // If the thread ends, nobody needs it any more.
    let _ = SPARES.try_with(|spares| spares.keep(SIZE, std::mem::take(out)));
}

/// Gives memory to a list that has none, if another connection has left some.
pub(super) fn take_up(out: &mut Actions<Action>) {
    if let Ok(Some((_, spare))) = SPARES.try_with(Spares::take) {
        *out = spare;
    }
}
