//! The events of a client.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::Stream;
use wwr::client::{DisconnectReason, SessionLoss};
use wwr::session::Position;
use wwr::{Content, Name, Session};

use super::error::ConnectError;

/// What may wait for an application that does not take its events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    /// How many events.
    pub(super) events: usize,
    /// How many bytes of signals. A single signal always may.
    pub(super) bytes: usize,
}

/// Something for the application to know.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The connection is ready. If a session was held, it was resumed or lost before.
    Connected,
    /// The connection has ended.
    Disconnected {
        /// Why.
        reason: DisconnectReason,
        /// After which time the client connects again by itself, if it does.
        retry_in: Option<Duration>,
    },
    /// An attempt to connect failed.
    ConnectFailed {
        /// Why.
        error: ConnectError,
        /// After which time the client tries again by itself, if it does.
        retry_in: Option<Duration>,
    },
    /// The server sent a signal.
    Signal(Content),
    /// The server created this session, which replaces any that was held.
    SessionCreated(Session),
    /// The server changed the info of the session that is held, its key, or both (protocol §5.13).
    SessionUpdated(Session),
    /// This session was restored: on request, or by itself on a new connection.
    SessionRestored(Session),
    /// The session was closed, by either side.
    SessionClosed,
    /// The session that was held could not be resumed, and is forgotten.
    SessionLost(SessionLoss),
    /// The session was resumed, and all signals have come that the client had missed, by
    /// [`ServerHandle::signal_session`](crate::server::ServerHandle::signal_session). Only with
    /// [`resume_signals`](super::MachineConfig::resume_signals).
    SignalsResumed {
        /// How many were missed, and have come.
        missed: u64,
    },
    /// Signals to the session are missing: the server has not kept them long enough, or the client reads too
    /// slowly. What is left comes next.
    SignalGap {
        /// Behind the last signal that came, if the client knew of the history.
        from: Option<Position>,
        /// Where the signals go on; if it is a place in the same history, as many are missing as lie between.
        /// `None` if the server keeps no history.
        to: Option<Position>,
    },
    /// The application was too slow to take its events: this many were dropped here.
    Missed(u64),
}

/// The events of a client from the moment of the call, in order.
///
/// At most [1024 events](super::Config::max_events), and
/// [4 MiB of signals](super::Config::max_event_bytes), wait to be taken. If there are more, the newest are
/// dropped, and an [`Event::Missed`] in their place counts them: an application that does not
/// listen cannot hold up the connection. Ends once all handles of the [`Client`](super::Client) were
/// dropped; [`Client::close`](super::Client::close) does not end it, as the client may connect again.
///
/// Questions of the server are not among them: they go to the one handler of
/// [`Builder::answer`](super::Builder::answer).
///
/// Take events with [`next`](Self::next), or as a [`Stream`].
#[derive(Debug)]
pub struct Events {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    /// The bytes of the signals in `events`.
    bytes: usize,
    missed: u64,
    ended: bool,
    /// Takes only signals of this name, if it is set.
    only: Option<Name>,
    waker: Option<Waker>,
}

impl Queue {
    /// Returns whether it takes such events.
    fn takes(&self, event: &Event) -> bool {
        let Some(only) = &self.only else { return true };
        matches!(event, Event::Signal(signal) if signal.name() == only.as_bytes())
    }
}

impl Events {
    /// Returns the next event. `None` once all handles of the client were dropped, or its executor
    /// has ended.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut queue = lock(&self.queue);
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

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll(cx)
    }
}

/// The task's side of all [`Events`] of a client.
#[derive(Debug)]
pub(super) struct Audience {
    capacity: Capacity,
    listeners: Mutex<Listeners>,
}

#[derive(Debug, Default)]
struct Listeners {
    queues: Vec<Weak<Mutex<Queue>>>,
    /// Whether no more events will come.
    ended: bool,
}

impl Audience {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self { capacity, listeners: Mutex::default() }
    }

    /// Returns all events from now on.
    pub(super) fn subscribe(&self) -> Events {
        self.listen(None)
    }

    /// Returns the signals of this name from now on.
    pub(super) fn subscribe_to(&self, name: Name) -> Events {
        self.listen(Some(name))
    }

    fn listen(&self, only: Option<Name>) -> Events {
        let mut listeners = lock(&self.listeners);
        let queue = Queue { ended: listeners.ended, only, ..Queue::default() };
        let queue = Arc::new(Mutex::new(queue));
        listeners.queues.retain(|listener| listener.strong_count() > 0);
        listeners.queues.push(Arc::downgrade(&queue));
        Events { queue }
    }

    pub(super) fn tell(&self, event: &Event) {
        let capacity = self.capacity;
        self.each(|queue| {
            if !queue.takes(event) {
                return;
            }
            // After missed events, no event may overtake the note about them.
            let bytes = queue.bytes + size(event);
            let full =
                queue.events.len() >= capacity.events || queue.bytes > 0 && bytes > capacity.bytes;
            if queue.missed > 0 || full {
                queue.missed += 1;
            } else {
                queue.bytes = bytes;
                queue.events.push_back(event.clone());
            }
        });
    }

    /// Ends all [`Events`], including those that are created later.
    pub(super) fn end(&self) {
        lock(&self.listeners).ended = true;
        self.each(|queue| queue.ended = true);
    }

    fn each(&self, change: impl Fn(&mut Queue)) {
        for listener in lock(&self.listeners).queues.iter().filter_map(Weak::upgrade) {
            let mut queue = lock(&listener);
            change(&mut queue);
            let waker = queue.waker.take();
            drop(queue);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// Returns how many bytes of the server's data an event keeps in memory.
fn size(event: &Event) -> usize {
    match event {
        Event::Signal(content) => content.name().len() + content.payload().len(),
        Event::Connected
        | Event::Disconnected { .. }
        | Event::ConnectFailed { .. }
        | Event::SessionCreated(_)
        | Event::SessionUpdated(_)
        | Event::SessionRestored(_)
        | Event::SessionClosed
        | Event::SessionLost(_)
        | Event::SignalsResumed { .. }
        | Event::SignalGap { .. }
        | Event::Missed(_) => 0,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use wwr::Payload;

    use super::*;

    const CAPACITY: Capacity = Capacity { events: 100, bytes: 10_000 };

    fn audience() -> Audience {
        Audience::new(CAPACITY)
    }

    fn next(events: &mut Events) -> Option<Event> {
        smol::block_on(events.next())
    }

    #[test]
    fn events_that_are_not_taken_are_counted() {
        let audience = audience();
        audience.tell(&Event::SessionClosed);
        let mut events = audience.subscribe();
        (0..CAPACITY.events + 3).for_each(|_| audience.tell(&Event::Connected));
        for _ in 0..CAPACITY.events {
            assert_eq!(next(&mut events), Some(Event::Connected));
        }
        audience.tell(&Event::SessionClosed);
        assert_eq!(next(&mut events), Some(Event::Missed(4)));
        audience.tell(&Event::SessionClosed);
        audience.end();
        assert_eq!(next(&mut events), Some(Event::SessionClosed));
        assert_eq!(next(&mut events), None);
    }

    #[test]
    fn the_bytes_of_signals_that_are_not_taken_are_bounded() {
        let audience = audience();
        let mut events = audience.subscribe();
        let payload = Payload::binary(vec![0; CAPACITY.bytes - 1]);
        let large = Event::Signal(Content::new(b"n", &payload).unwrap());
        let small = Event::Signal(Content::new(b"n", &Payload::EMPTY).unwrap());
        [&large, &small, &Event::Connected].into_iter().for_each(|event| audience.tell(event));
        assert_eq!(next(&mut events), Some(large.clone()));
        assert_eq!(next(&mut events), Some(Event::Missed(2)));
        [&small, &large].into_iter().for_each(|event| audience.tell(event));
        assert_eq!(next(&mut events), Some(small));
        assert_eq!(next(&mut events), Some(Event::Missed(1)), "its place was taken by then");
        audience.tell(&large);
        assert_eq!(next(&mut events), Some(large));
    }

    #[test]
    fn a_listener_to_one_name_hears_and_misses_no_others() {
        let audience = audience();
        let mut events = audience.subscribe_to(Name::from_static("n").unwrap());
        let signal = |name: &[u8]| Event::Signal(Content::new(name, &Payload::EMPTY).unwrap());
        for _ in 0..=CAPACITY.events {
            for other in [signal(b"m"), signal(b""), signal(b"nn"), Event::Connected] {
                audience.tell(&other);
            }
        }
        audience.tell(&signal(b"n"));
        assert_eq!(next(&mut events), Some(signal(b"n")));
        audience.end();
        assert_eq!(next(&mut events), None);
    }

    #[test]
    fn a_listener_that_comes_after_the_end_learns_of_it() {
        let audience = audience();
        audience.end();
        assert_eq!(next(&mut audience.subscribe()), None);
    }
}
