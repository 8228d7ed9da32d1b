//! The timer of a hub.

use std::future::poll_fn;
use std::sync::{Arc, Weak};

use event_listener::Event;
use futures_lite::future::or;

use super::Hub;
use crate::clock::Timer;
use crate::runtime;

/// Calls the hub at its timeouts, as long as it exists. `earlier` is notified when the hub is
/// dropped, or needs a call before the time that the timer is set for.
pub(super) async fn run(system: impl runtime::Timer, hub: Weak<Hub>, earlier: Arc<Event>) {
    let mut timer = Timer::new(system);
    loop {
        let listener = earlier.listen();
        let Some(hub_now) = hub.upgrade() else { return };
        let next = {
            let mut control = hub_now.lock();
            control.timer_at = control.machine.next_timeout();
            control.timer_at
        };
        let now = hub_now.clock.now();
        if next.is_some_and(|next| next <= now) {
            hub_now.call(|machine, now, out| machine.handle_timeout(now, out));
            continue;
        }
        timer.set(next, &hub_now.clock);
        drop(hub_now);
        or(poll_fn(|cx| timer.poll(cx)), listener).await;
    }
}
