//! The events of a blocking client.

use std::iter::FusedIterator;
use std::sync::mpsc::RecvTimeoutError;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::block_on;
use crate::client::event::{self, Event};

/// The events of a client from the moment of the call, in order. An iterator that blocks until the next
/// one.
///
/// As many wait to be taken as in the [`Events`](crate::client::Events) of an async client. Ends once
/// all clones of the [`Client`](super::Client) were dropped, so the thread that iterates holds none.
/// [`Client::close`](super::Client::close) does not end it, as the client may connect again.
#[derive(Debug)]
pub struct Events {
    events: event::Events,
}

impl Events {
    pub(super) const fn new(events: event::Events) -> Self {
        Self { events }
    }

    /// Returns the next event. Waits for it at most this long; with a timeout of zero, not at all.
    ///
    /// # Errors
    ///
    /// [`Timeout`](RecvTimeoutError::Timeout), or [`Disconnected`](RecvTimeoutError::Disconnected)
    /// once all clones of the client were dropped.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Event, RecvTimeoutError> {
        let deadline = Instant::now().checked_add(timeout);
        let (parker, unparker) = parking::pair();
        let waker = Waker::from(unparker);
        loop {
            if let Poll::Ready(event) = self.events.poll(&Context::from_waker(&waker)) {
                return event.ok_or(RecvTimeoutError::Disconnected);
            }
            match deadline {
                Some(deadline) if !parker.park_deadline(deadline) => {
                    return Err(RecvTimeoutError::Timeout);
                }
                Some(_) => {}
                // Too far away to be a moment.
                None => parker.park(),
            }
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        block_on(self.events.next())
    }
}

impl FusedIterator for Events {}
