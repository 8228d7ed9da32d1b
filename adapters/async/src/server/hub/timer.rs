//! The timer of a hub.

use std::future::poll_fn;
use std::sync::{Arc, Weak};

use event_listener::Event;
use futures_lite::future::or;

use super::Hub;
use crate::clock::Timer;
use crate::runtime;

/// Tells a hub when its timer does not run any more.
pub(super) struct Running(pub(super) Weak<Hub>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(hub) = self.0.upgrade() {
            hub.abandon();
        }
    }
}

/// Calls the hub at its timeouts, as long as it exists. `earlier` is notified when the hub is
/// dropped, or needs a call before the time that the timer is set for.
///
/// If the runtime drops this before the hub is dropped, it has ended, and nothing else will.
pub(super) async fn run(system: impl runtime::Timer, hub: Running, earlier: Arc<Event>) {
    let mut timer = Timer::new(system);
    loop {
        let listener = earlier.listen();
        let Some(hub_now) = hub.0.upgrade() else { return };
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
