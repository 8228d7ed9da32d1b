//! How a connection is closed (protocol §5.8, §5.10).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use super::{Connection, Out, Phase};
use crate::close::CloseFrame;
use crate::server::action::{Action, CloseReason};
use crate::server::in_flight::InFlight;
use crate::time::Instant;

impl Connection {
    /// Closes the connection as soon as nothing runs any more, at the latest after
    /// [`Config::drain_timeout`](crate::server::Config::drain_timeout). New requests are refused,
    /// signals dropped. The session is left, not destroyed.
    pub fn close(&mut self, now: Instant, out: &mut Out) {
        self.tick(now);
        self.drain(CloseReason::Requested, out);
    }

    /// As [`close`](Self::close), with a code and a reason for the client (RFC 6455 §7.4). One that
    /// drains already keeps the reason it has.
    pub fn close_with(&mut self, now: Instant, frame: CloseFrame, out: &mut Out) {
        self.tick(now);
        self.drain(CloseReason::Application(Box::new(frame)), out);
    }

    /// As [`close`](Self::close), because the whole server shuts down: at the latest after `within`.
    /// A connection that drains already does not get more time than it had.
    pub fn shut_down(&mut self, now: Instant, within: Duration, out: &mut Out) {
        self.tick(now);
        let latest = self.now + within;
        if let Phase::Draining { deadline, .. } = &mut self.phase {
            *deadline = latest.min(*deadline);
        }
        self.drain_until(CloseReason::Shutdown, latest, out);
    }

    pub(super) fn drain(&mut self, reason: CloseReason, out: &mut Out) {
        self.drain_until(reason, self.now + self.limits.drain_timeout, out);
    }

    /// Starts to close: refuses what waits, and finishes at once if nothing runs.
    fn drain_until(&mut self, reason: CloseReason, deadline: Instant, out: &mut Out) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        self.phase = Phase::Draining { reason, deadline };
        self.waiting_bytes = 0;
        for frame in core::mem::take(&mut self.waiting) {
            self.refuse(frame, out);
        }
        self.proceed(out);
    }

    /// Ends a connection that drains, with its close frame.
    pub(super) fn finish(&mut self, out: &mut Out) {
        if let Phase::Draining { reason, .. } = self.end(out) {
            out.push(Action::Close(reason));
        }
    }

    /// Ends the connection; returns the phase that it was in.
    pub(super) fn end(&mut self, out: &mut Out) -> Phase {
        self.session.leave(out);
        let before = core::mem::replace(&mut self.phase, Phase::Closed);
        self.waiting = VecDeque::new();
        self.in_flight = InFlight::default();
        before
    }
}
