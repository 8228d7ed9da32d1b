//! What happens on a connection, as the application learns it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use wwr::client::{ConnectError, DisconnectReason, SessionLoss};
use wwr::{Content, Session};

/// How many events wait in a stream that is not read.
const MOST_EVENTS: usize = 1024;

/// How many bytes of signals wait there, but for a single one that has more.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// Something for the application to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection is ready. A session that was held was resumed or lost before this.
    Connected,
    /// The connection has ended.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// How soon the client connects again by itself, if it does.
        retry_in: Option<Duration>,
    },
    /// An attempt to connect failed.
    ConnectFailed {
        /// Why.
        error: ConnectError,
        /// How soon the client tries again by itself, if it does.
        retry_in: Option<Duration>,
    },
    /// The server sent a signal.
    Signal(Content),
    /// The server created this session, which replaces any that was held.
    SessionCreated(Session),
    /// The server changed the session that is held: its info, its key, or both.
    SessionUpdated(Session),
    /// This session was restored or resumed.
    SessionRestored(Session),
    /// The session was closed, by either side.
    SessionClosed,
    /// The session that was held could not be resumed.
    SessionLost(SessionLoss),
    /// So many events are missing here, because too many waited to be read.
    Missed(u64),
}

/// The events of a client from the call of [`Client::events`](crate::Client::events) on. A stream that is not
/// read keeps at most 1024 events and 4 MiB of signals; then [`Event::Missed`] says how many are missing. It ends
/// when the client has.
#[derive(Debug)]
pub struct Events {
    queue: Rc<RefCell<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    missed: u64,
    ended: bool,
    waker: Option<Waker>,
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut queue = self.queue.borrow_mut();
        if let Some(event) = queue.events.pop_front() {
            queue.bytes -= size(&event);
            return Poll::Ready(Some(event));
        }
        match std::mem::take(&mut queue.missed) {
            0 if queue.ended => Poll::Ready(None),
            0 => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            missed => Poll::Ready(Some(Event::Missed(missed))),
        }
    }
}

impl Events {
    /// Returns the next event. `None` when the client has ended.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

/// The other side of all [`Events`] of a client.
#[derive(Debug, Default)]
pub(crate) struct Audience {
    queues: Vec<Weak<RefCell<Queue>>>,
}

impl Audience {
    pub(crate) fn subscribe(&mut self) -> Events {
        let queue = Rc::default();
        self.queues.retain(|queue| queue.strong_count() > 0);
        self.queues.push(Rc::downgrade(&queue));
        Events { queue }
    }

    /// Tells all, and returns whom to wake.
    pub(crate) fn tell(&self, event: &Event) -> Vec<Waker> {
        self.each(|queue| {
            // After missed events, no event may overtake the note about them.
            let bytes = queue.bytes + size(event);
            let full = queue.events.len() >= MOST_EVENTS || queue.bytes > 0 && bytes > MOST_BYTES;
            if queue.missed > 0 || full {
                queue.missed += 1;
            } else {
                queue.bytes = bytes;
                queue.events.push_back(event.clone());
            }
        })
    }

    /// Ends all, and returns whom to wake.
    pub(crate) fn end(&self) -> Vec<Waker> {
        self.each(|queue| queue.ended = true)
    }

    fn each(&self, change: impl Fn(&mut Queue)) -> Vec<Waker> {
        let queues = self.queues.iter().filter_map(Weak::upgrade);
        let changed = queues.filter_map(|queue| {
            let mut queue = queue.borrow_mut();
            change(&mut queue);
            queue.waker.take()
        });
        changed.collect()
    }
}

/// Returns how many bytes of the server's data an event keeps in memory.
fn size(event: &Event) -> usize {
    match event {
        Event::Signal(content) => content.name().len() + content.payload().len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use wwr::Payload;

    use super::*;

    fn next(events: &mut Events) -> Poll<Option<Event>> {
        Pin::new(events).poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn events_that_are_not_taken_are_bounded_and_counted() {
        let mut audience = Audience::default();
        let mut events = audience.subscribe();
        (0..MOST_EVENTS + 3).for_each(|_| drop(audience.tell(&Event::Connected)));
        for _ in 0..MOST_EVENTS {
            assert_eq!(next(&mut events), Poll::Ready(Some(Event::Connected)));
        }
        audience.tell(&Event::SessionClosed);
        assert_eq!(next(&mut events), Poll::Ready(Some(Event::Missed(4))));
        audience.end();
        assert_eq!(next(&mut events), Poll::Ready(None));
    }

    #[test]
    fn the_bytes_of_signals_that_are_not_taken_are_bounded() {
        let mut audience = Audience::default();
        let mut events = audience.subscribe();
        let payload = Payload::binary(vec![0; MOST_BYTES]);
        let large = Event::Signal(Content::new(b"n", &payload).unwrap());
        [&large, &large].into_iter().for_each(|event| drop(audience.tell(event)));
        assert_eq!(next(&mut events), Poll::Ready(Some(large)));
        assert_eq!(next(&mut events), Poll::Ready(Some(Event::Missed(1))));
        assert_eq!(next(&mut events), Poll::Pending);
    }
}
