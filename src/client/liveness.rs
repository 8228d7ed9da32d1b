//! Notices that the server has fallen silent (protocol §4.4, §5.3, §7.3).

use core::time::Duration;

use super::requests::RequestId;
use crate::dialect::Pongs;
use crate::pings::Pings;
use crate::time::{Instant, Span};

/// How many requests in a row have to time out, with nothing heard since, before the client gives
/// up a server that may be unable to answer pings. A single one may just have been slow.
const TIMEOUTS: u32 = 2;

/// How long after the opening the first ping is sent, if pings are more than [`SELDOM`] apart. It
/// shows whether the server answers any. A connection for a single request has ended by then. If
/// pings are closer together, the first one is sent at once.
const FIRST: Span = Span::SECOND;
const SELDOM: Duration = Duration::from_secs(10);

/// How long a server may take to show that it is there after the host has woken up, if pings have no shorter time.
/// Whoever looks at the application waits.
const AWAKE: Duration = Duration::from_secs(5);

/// The liveness check of one connection. What arrives only records the time. The deadline moves
/// when it is reached, so that a host need not set its timer for each message.
///
/// The check uses pings, but not every server answers them: those of some versions never do, those
/// of 1.4 do not while they handle a message. Until a server has answered one, silence proves
/// nothing, and ends the connection only if requests timed out as well. So the client sends the
/// first ping soon after the opening.
#[derive(Debug)]
pub(super) struct LivenessCheck {
    after: Span,
    timeout: Span,
    /// When something was heard from the server, or nothing could have been heard.
    heard: Instant,
    pinged: Option<Pinged>,
    due: Instant,
    /// Whether a ping was sent on this connection.
    asked: bool,
    /// How many pings have no answer. The answer to the last one makes it zero.
    unanswered: u32,
    /// The oldest request that waited for its reply when the last ping was sent.
    asked_at: Option<RequestId>,
    /// Whether a request or signal was sent after that.
    worked: bool,
    /// Whether a ping was answered.
    answers: bool,
    /// Whether a ping was answered while the server worked on a request.
    answers_when_busy: bool,
    /// Whether the server may be working on something without a pending reply: its hook for new
    /// connections, a signal, or a request that timed out.
    may_work: bool,
    /// The first request that was sent since something was heard.
    unheard: Option<RequestId>,
    /// How many requests sent since then have timed out, and the latest of them.
    timeouts: u32,
    last_timeout: Option<RequestId>,
    /// Whether the host has woken up since something was heard: the connection may have ended meanwhile.
    doubted: bool,
}

/// The pings that were sent since something was heard.
#[derive(Clone, Copy, Debug)]
struct Pinged {
    /// When the time for the answer to the first one is over.
    end: Instant,
    last: Instant,
}

/// What to do about a silent server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Bearable,
    Ping,
    TooLong,
}

impl LivenessCheck {
    /// Starts to count at `now`, when the WebSocket was opened.
    pub(super) fn new(pings: Pings, now: Instant) -> Self {
        Self {
            after: pings.after.into(),
            timeout: pings.timeout.into(),
            heard: now,
            pinged: None,
            due: if pings.after > SELDOM { now + FIRST } else { now },
            asked: false,
            unanswered: 0,
            asked_at: None,
            worked: false,
            answers: false,
            answers_when_busy: false,
            may_work: true,
            unheard: None,
            timeouts: 0,
            last_timeout: None,
            doubted: false,
        }
    }

    /// The host has woken up. What should have been heard before proves nothing, so the server has to show anew that it
    /// is there, and soon. Returns whether to ping it.
    ///
    /// What was sent after an earlier waking still counts if nothing was heard since: otherwise the server would get more
    /// time from everybody who looks at the application again and again.
    pub(super) fn wake(&mut self, now: Instant, waiting: Option<RequestId>) -> Silence {
        if self.doubted && self.pinged.is_some_and(|pinged| pinged.end > now) {
            return Silence::Bearable;
        }
        let unheard = (self.unheard, self.timeouts, self.last_timeout);
        let was_doubted = self.doubted;
        self.heard(now);
        self.doubted = true;
        if was_doubted {
            (self.unheard, self.timeouts, self.last_timeout) = unheard;
        }
        self.ping(now, self.timeout.min(AWAKE.into()), waiting)
    }

    /// Returns whether something was heard at this time or later.
    pub(super) fn has_heard_since(&self, time: Instant) -> bool {
        self.heard >= time
    }

    /// Returns when to call [`check`](Self::check).
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Returns whether the next pong answers the last ping. Then it matters which request waits.
    pub(super) const fn is_asking(&self) -> bool {
        self.unanswered == 1
    }

    /// Something arrived. If a ping was sent, the next one still comes after the time for its
    /// answer.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.unheard = None;
        self.timeouts = 0;
        self.doubted = false;
        if self.pinged.take().is_some() {
            self.due = self.due.min(now + self.after);
        }
    }

    /// A pong arrived. `waiting` is the oldest request that waits for its reply.
    pub(super) fn answered(&mut self, now: Instant, waiting: Option<RequestId>) {
        self.answers |= self.asked;
        if self.is_asking() {
            self.answers_when_busy |= waiting.is_some() && self.asked_at == waiting;
            self.may_work &= self.worked;
        }
        self.unanswered = self.unanswered.saturating_sub(1);
        self.heard(now);
    }

    /// A request was sent.
    pub(super) fn requested(&mut self, id: RequestId) {
        self.unheard.get_or_insert(id);
        self.worked = true;
    }

    /// A signal was sent.
    pub(super) const fn signalled(&mut self) {
        self.may_work = true;
        self.worked = true;
    }

    /// A request that was sent has timed out.
    pub(super) fn timed_out(&mut self, now: Instant, id: RequestId) {
        self.may_work = true;
        if self.unheard.is_some_and(|first| first <= id) {
            self.timeouts = self.timeouts.saturating_add(1);
            self.last_timeout = self.last_timeout.filter(|_| self.timeouts > 1).max(Some(id));
            let limit = if self.doubted { now } else { self.limit().max(now) };
            self.due = self.due.min(limit);
        }
    }

    /// Checks the server, if it is time to. `pongs` says what the reference of its version does.
    /// `waiting` is the oldest request that waits for its reply.
    pub(super) fn check(
        &mut self,
        now: Instant,
        pongs: Pongs,
        waiting: Option<RequestId>,
    ) -> Silence {
        if self.due > now {
            return Silence::Bearable;
        }
        let Some(pinged) = self.pinged else {
            let end = self.heard + self.after;
            if self.asked && end > now {
                self.due = end;
                return self.ask_at_work(pongs, waiting);
            }
            return self.ping(now, self.timeout, waiting);
        };
        if self.due + self.timeout < now {
            // The host has slept. The server may have answered while the host could not listen, and
            // what timed out meanwhile proves nothing.
            self.heard(now);
            return self.ping(now, self.timeout, waiting);
        }
        if pinged.end > now {
            self.due = pinged.end;
            return Silence::Bearable;
        }
        if self.is_gone(now, pongs, waiting) {
            return Silence::TooLong;
        }
        let is_time = pinged.last + self.after <= now;
        // The server may answer another ping; and the system finds out whether the network takes
        // it.
        let last = if is_time { now } else { pinged.last };
        let (next, limit) = (last + self.after, self.limit());
        self.due = if limit > now { next.min(limit) } else { next };
        if !is_time {
            return Silence::Bearable;
        }
        self.pinged = Some(Pinged { last, ..pinged });
        self.ask(waiting)
    }

    fn ping(&mut self, now: Instant, timeout: Span, waiting: Option<RequestId>) -> Silence {
        let end = now + timeout;
        self.pinged = Some(Pinged { end, last: now });
        self.due = end;
        self.ask(waiting)
    }

    /// Also pings a server that is heard, if it is at work and has not yet shown that it answers at
    /// work.
    fn ask_at_work(&mut self, pongs: Pongs, waiting: Option<RequestId>) -> Silence {
        let is_open = pongs == Pongs::BetweenMessages && !self.answers_when_busy;
        if is_open && waiting.is_some() && self.unanswered == 0 {
            return self.ask(waiting);
        }
        Silence::Bearable
    }

    fn ask(&mut self, waiting: Option<RequestId>) -> Silence {
        self.asked = true;
        self.unanswered = self.unanswered.saturating_add(1);
        self.asked_at = waiting;
        self.worked = false;
        Silence::Ping
    }

    /// Returns whether the server must have been heard by now if it were there: a ping was sent,
    /// and the time for its answer has passed.
    fn is_gone(&self, now: Instant, pongs: Pongs, waiting: Option<RequestId>) -> bool {
        let is_long = self.limit() <= now;
        let would_answer = match pongs {
            // Its hook for new connections may still run.
            Pongs::Always => self.answers || is_long,
            Pongs::Never => self.answers,
            Pongs::BetweenMessages => {
                let may_be_busy = waiting.is_some() || self.may_work && !is_long;
                self.answers_when_busy || !may_be_busy
            }
        };
        // The host has woken up, and nothing was heard since.
        if self.doubted && self.timeouts > 0 {
            return true;
        }
        // The server may still work on an older request that is not answered.
        let has_timed_out = self.timeouts >= TIMEOUTS
            && waiting.is_none_or(|oldest| self.last_timeout <= Some(oldest));
        would_answer || is_long && has_timed_out
    }

    /// Returns until when a server that may be unable to answer can be silent: twice as long as
    /// others.
    fn limit(&self) -> Instant {
        self.heard + self.after + self.timeout + self.after + self.timeout
    }
}
