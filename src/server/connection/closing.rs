//! How a connection is closed (protocol §5.8, §5.10).

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use super::{Connection, OnceDrained, Out, Phase};
use crate::close::CloseFrame;
use crate::server::action::{Action, CloseReason};
use crate::server::hub::IdleConnections;
use crate::time::Instant;

impl Connection {
    /// Closes the connection as soon as no handler runs any more, at the latest after
    /// [`Config::drain_timeout`](crate::server::Config::drain_timeout). New requests are refused,
    /// signals dropped. The connection leaves its session without destroying it.
    ///
    /// A connection that [stays](IdleConnections::Stay) during a shutdown is closed with the reason
    /// of the shutdown.
    pub fn close(&mut self, now: Instant, out: &mut Out) {
        self.tick(now);
        self.drain(CloseReason::Requested, out);
        self.proceed(out);
    }

    /// Like [`close`](Self::close), with a code and a reason for the client (RFC 6455 §7.4). A
    /// connection that drains already keeps its reason.
    pub fn close_with(&mut self, now: Instant, frame: CloseFrame, out: &mut Out) {
        self.tick(now);
        self.drain(CloseReason::Application(Box::new(frame)), out);
        self.proceed(out);
    }

    /// Closes the connection at once, with code 1012: the client comes back, maybe to another node, and restores
    /// its session there. Handlers that still run are abandoned: what they do for the session may be in the time
    /// of another node.
    pub fn move_away(&mut self, now: Instant, out: &mut Out) {
        self.tick(now);
        self.drain(CloseReason::Application(Box::new(CloseFrame::MOVED)), out);
        if !matches!(self.phase, Phase::Closed) {
            self.finish(out);
        }
    }

    /// Refuses new requests, because the whole server shuts down. Running handlers may finish until
    /// `deadline`, when the connection is closed.
    ///
    /// With [`IdleConnections::Close`] the connection is closed as soon as no handler runs any
    /// more. With [`IdleConnections::Stay`] it then appends [`Action::Drained`], once, and stays
    /// until it is told to [close](Self::close).
    ///
    /// A connection that drains already keeps its deadline if that is earlier. A connection that is
    /// closing does not stay.
    pub fn shut_down(
        &mut self,
        now: Instant,
        deadline: Instant,
        idle: IdleConnections,
        out: &mut Out,
    ) {
        self.tick(now);
        let latest = deadline;
        if let Phase::Draining { deadline, once_drained, .. } = &mut self.phase {
            *deadline = latest.min(*deadline);
            if idle == IdleConnections::Close {
                *once_drained = OnceDrained::Close;
            }
            return self.proceed(out);
        }
        let once_drained = match idle {
            IdleConnections::Stay => OnceDrained::Report,
            IdleConnections::Close => OnceDrained::Close,
        };
        self.drain_until(CloseReason::Shutdown, latest, once_drained, out);
    }

    /// Closes once no handler runs any more. A connection that drains already keeps its reason, and
    /// closes when it [proceeds](Self::proceed).
    pub(super) fn drain(&mut self, reason: CloseReason, out: &mut Out) {
        if let Phase::Draining { once_drained, .. } = &mut self.phase {
            *once_drained = OnceDrained::Close;
            return;
        }
        let deadline = self.now + self.limits.drain_timeout;
        self.drain_until(reason, deadline, OnceDrained::Close, out);
    }

    /// Starts to close: refuses the waiting messages, and finishes at once if no handler runs.
    fn drain_until(
        &mut self,
        reason: CloseReason,
        deadline: Instant,
        once_drained: OnceDrained,
        out: &mut Out,
    ) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        self.phase = Phase::Draining { reason, deadline, once_drained };
        self.waiting_bytes = 0;
        for frame in core::mem::take(&mut self.waiting) {
            self.refuse(frame, out);
        }
        self.proceed(out);
    }

    /// Ends a connection that drains, with its close frame.
    pub(super) fn finish(&mut self, out: &mut Out) {
        // The key may be a new one, with which the client comes back.
        self.session.tell_last(out);
        if let Phase::Draining { reason, .. } = self.end(out) {
            out.push(Action::Close(reason));
        }
    }

    /// Ends the connection; returns the phase that it was in.
    pub(super) fn end(&mut self, out: &mut Out) -> Phase {
        self.session.leave(out);
        self.lose_questions(out);
        let before = core::mem::replace(&mut self.phase, Phase::Closed);
        self.waiting = VecDeque::new();
        let lost = core::mem::take(&mut self.in_flight).requests();
        self.counters.lost = self.counters.lost.saturating_add(lost);
        before
    }
}
