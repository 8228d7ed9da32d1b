//! Notices that the server has fallen silent (protocol §4.4, §5.3, §7.3).

use core::time::Duration;

use super::requests::RequestId;
use crate::dialect::Pongs;
use crate::pings::Pings;
use crate::time::{Instant, Span};

/// So many requests have to run out of time in a row, with nothing heard since, until a server that
/// may be unable to answer pings is given up. One may just have been a slow one.
const DOUBTS: u32 = 2;

/// How long after the opening the first ping is sent, which shows whether the server answers any, if
/// pings are more than [`SELDOM`] apart: a connection for one request has ended by then. If not, it is
/// sent at once.
const FIRST: Span = Span::SECOND;
const SELDOM: Duration = Duration::from_secs(10);

/// Watches over the server of one connection. What arrives only takes note of the time; the deadline
/// is moved when it has come, so that a host need not re-arm its timer for each message.
///
/// Pings are the means, but not every server answers them: those of some versions never do, those of
/// 1.4 not while they are busy with a message. Until a server has shown that it does, silence proves
/// nothing, and is the end only if requests ran out of time as well. So it is asked soon after the
/// connection is there.
#[derive(Debug)]
pub(super) struct Pulse {
    after: Span,
    patience: Span,
    /// When something was heard of the server, or could not have been.
    heard: Instant,
    pinged: Option<Pinged>,
    due: Instant,
    /// A ping was sent on this connection.
    asked: bool,
    /// How many pings have no answer. The last that is answered answers the last that was sent.
    unanswered: u32,
    /// The oldest request that waited for its reply when the last ping was sent.
    asked_at: Option<RequestId>,
    /// Whether something to work on was sent after that.
    worked: bool,
    /// One was answered.
    answers: bool,
    /// One was answered while the server had a request to work on.
    answers_at_work: bool,
    /// The server may have something to work on that nobody waits for: its hook for new connections,
    /// a signal, or a request that ran out of time.
    may_work: bool,
    /// The first request that was sent since something was heard.
    unheard: Option<RequestId>,
    /// How many that were sent since then have run out of time, and the latest of them.
    doubts: u32,
    last_doubt: Option<RequestId>,
}

/// The pings that were sent since something was heard.
#[derive(Clone, Copy, Debug)]
struct Pinged {
    first: Instant,
    last: Instant,
}

/// What is to be done about a silent server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    Bearable,
    Ping,
    TooLong,
}

impl Pulse {
    /// Counts from `now`, when the WebSocket was opened.
    pub(super) fn new(pings: Pings, now: Instant) -> Self {
        Self {
            after: pings.after.into(),
            patience: pings.patience.into(),
            heard: now,
            pinged: None,
            due: if pings.after > SELDOM { now + FIRST } else { now },
            asked: false,
            unanswered: 0,
            asked_at: None,
            worked: false,
            answers: false,
            answers_at_work: false,
            may_work: true,
            unheard: None,
            doubts: 0,
            last_doubt: None,
        }
    }

    /// When [`look`](Self::look) is to be called.
    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    /// Whether the next pong answers the last ping: it matters then which request waits.
    pub(super) const fn is_asking(&self) -> bool {
        self.unanswered == 1
    }

    /// Something arrived. After a ping, the server is not left alone for as long as the answer could
    /// have taken.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.unheard = None;
        self.doubts = 0;
        if self.pinged.take().is_some() {
            self.due = self.due.min(now + self.after);
        }
    }

    /// A pong arrived. `waiting`: the oldest request that waits for its reply.
    pub(super) fn answered(&mut self, now: Instant, waiting: Option<RequestId>) {
        self.answers |= self.asked;
        if self.is_asking() {
            self.answers_at_work |= waiting.is_some() && self.asked_at == waiting;
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

    /// A request that was sent has run out of time.
    pub(super) fn ran_out(&mut self, now: Instant, id: RequestId) {
        self.may_work = true;
        if self.unheard.is_some_and(|first| first <= id) {
            self.doubts = self.doubts.saturating_add(1);
            self.last_doubt = self.last_doubt.filter(|_| self.doubts > 1).max(Some(id));
            self.due = self.due.min(self.limit().max(now));
        }
    }

    /// Looks after the server, if it is time to. `pongs`: what the reference of its version does.
    /// `waiting`: the oldest request that waits for its reply.
    pub(super) fn look(
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
            return self.ping(now, waiting);
        };
        if self.due + self.patience < now {
            // The host has slept. The server may have answered to a machine that was not there, and
            // what ran out of time meanwhile tells nothing.
            self.heard(now);
            return self.ping(now, waiting);
        }
        let end = pinged.first + self.patience;
        if end > now {
            self.due = end;
            return Silence::Bearable;
        }
        if self.is_gone(now, pongs, waiting) {
            return Silence::TooLong;
        }
        let is_time = pinged.last + self.after <= now;
        // It may answer another one; and the system finds out whether the server takes it.
        let last = if is_time { now } else { pinged.last };
        let (next, limit) = (last + self.after, self.limit());
        self.due = if limit > now { next.min(limit) } else { next };
        if !is_time {
            return Silence::Bearable;
        }
        self.pinged = Some(Pinged { last, ..pinged });
        self.ask(waiting)
    }

    fn ping(&mut self, now: Instant, waiting: Option<RequestId>) -> Silence {
        self.pinged = Some(Pinged { first: now, last: now });
        self.due = now + self.patience;
        self.ask(waiting)
    }

    /// A server that is heard is asked as well, for later, if it is still to be seen whether it answers
    /// at work, and has some.
    fn ask_at_work(&mut self, pongs: Pongs, waiting: Option<RequestId>) -> Silence {
        let is_open = pongs == Pongs::BetweenMessages && !self.answers_at_work;
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

    /// Whether the server would have been heard by now if it were there. A ping was sent, and its
    /// answer has had its time.
    fn is_gone(&self, now: Instant, pongs: Pongs, waiting: Option<RequestId>) -> bool {
        let is_long = self.limit() <= now;
        let would_answer = match pongs {
            // Its hook for new connections may still run.
            Pongs::Always => self.answers || is_long,
            Pongs::Never => self.answers,
            Pongs::BetweenMessages => {
                let may_be_busy = waiting.is_some() || self.may_work && !is_long;
                self.answers_at_work || !may_be_busy
            }
        };
        // An older request that waits on is one that the server may still be at.
        let is_doubtful =
            self.doubts >= DOUBTS && waiting.is_none_or(|oldest| self.last_doubt <= Some(oldest));
        would_answer || is_long && is_doubtful
    }

    /// Until when a server that may be unable to answer can be silent: twice as long as another.
    fn limit(&self) -> Instant {
        self.heard + self.after + self.patience + self.after + self.patience
    }
}
