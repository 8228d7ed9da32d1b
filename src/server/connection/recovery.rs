//! Signals from the history of the session, and idempotent requests (protocol §10.5, §10.6).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use bytes::Bytes;

use super::{Connection, Out};
use crate::server::action::{Action, Request};
use crate::server::counters::count;
use crate::server::in_flight::RequestId;
use crate::server::recovery::{Outcome, RecoveryCommand, RecoveryNews};
use crate::server::reply;
use crate::session::{Batch, Begun, Fingerprint, Instance, Position};
use crate::time::Instant;
use crate::wire::{
    ClientSettings, Content, HistoryMark, HistoryState, Identifier, Kind, Resume, SpecialReply,
};

/// What a connection of a client has that wants to lose nothing.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// If the client wants signals with offsets.
    follow: Option<Follow>,
    /// Whether the client has said what it calls itself, and the server keeps outcomes.
    attached: bool,
    /// The idempotent requests without an outcome. Those that run stay when the connection has ended.
    requests: BTreeMap<u64, Idempotent>,
}

/// How far the client has read the history of its session.
#[derive(Debug)]
struct Follow {
    /// Behind the last signal that was sent. `None` without a session.
    cursor: Option<Position>,
    /// The place from which the client wants to resume the session that is being restored.
    wanted: Option<Position>,
    /// The offset with which everything is sent that the client has missed.
    until: Option<u64>,
    /// The number of the last question to the hub.
    number: u32,
    is_reading: bool,
    /// Whether the history may have grown since that question.
    may_go_on: bool,
    /// Whether the socket takes output.
    is_writable: bool,
}

/// An idempotent request without an outcome.
#[derive(Debug)]
struct Idempotent {
    token: u64,
    /// Until it is known whether to execute it.
    asked: Option<Content>,
}

impl Follow {
    const NEW: Self = Self {
        cursor: None,
        wanted: None,
        until: None,
        number: 0,
        is_reading: false,
        may_go_on: false,
        is_writable: true,
    };

    /// The connection has no session.
    fn reset(&mut self) {
        let number = self.number.wrapping_add(1);
        *self = Self { number, is_writable: self.is_writable, ..Self::NEW };
    }

    /// Asks for what follows, unless that has to wait.
    fn read(&mut self, out: &mut Out) {
        let Some(after) = self.cursor else { return };
        if self.is_reading || !self.is_writable {
            self.may_go_on = true;
            return;
        }
        (self.is_reading, self.may_go_on) = (true, false);
        self.number = self.number.wrapping_add(1);
        recover(RecoveryCommand::Read { number: self.number, after }, out);
    }
}

fn recover(command: RecoveryCommand, out: &mut Out) {
    out.push(Action::Recover(Box::new(command)));
}

fn mark(state: HistoryState, place: Position, out: &mut Out) {
    let Position { incarnation, offset } = place;
    let frame = out.encoder.history_mark(HistoryMark { state, incarnation, offset });
    out.push(Action::Send(frame));
}

impl Connection {
    /// Handles news of the hub about histories and idempotent requests. News that come too late are
    /// ignored.
    pub fn handle_recovery(&mut self, now: Instant, news: RecoveryNews, out: &mut Out) {
        self.tick(now);
        if self.has_ended() {
            return;
        }
        match news {
            RecoveryNews::Mark(place) => self.start_following(place, out),
            RecoveryNews::Signalled => {
                if let Some(follow) = self.follow() {
                    follow.read(out);
                }
            }
            RecoveryNews::Batch { number, batch } => self.take_batch(number, *batch, out),
            RecoveryNews::Kept(kept) => {
                let frame = out.encoder.kept_outcomes(kept);
                out.push(Action::Send(frame));
            }
            RecoveryNews::Begun { request, begun } => self.take_begun(request, begun, out),
        }
    }

    /// Returns how many idempotent requests are being executed. They count when the connection has ended,
    /// too: the host lets their handlers run to the end, and [replies](Self::reply) as ever, so that the
    /// client learns the outcome on its next connection.
    pub fn running_idempotent(&self) -> usize {
        let requests = self.recovery.as_ref().map(|recovery| recovery.requests.values());
        requests.into_iter().flatten().filter(|request| request.asked.is_none()).count()
    }

    fn follow(&mut self) -> Option<&mut Follow> {
        self.recovery.as_mut().and_then(|recovery| recovery.follow.as_mut())
    }

    /// The client has stated what it can do.
    pub(super) fn settle_recovery(&mut self, settings: &ClientSettings, out: &mut Out) {
        let follows = settings.resumes_signals && self.limits.keeps_histories;
        let instance = settings.instance.filter(|_| self.limits.keeps_outcomes);
        if !follows && instance.is_none() {
            return;
        }
        let recovery = self.recovery.get_or_insert_default();
        if follows {
            recovery.follow = Some(Follow::NEW);
            recover(RecoveryCommand::Follow, out);
        }
        if let Some(instance) = instance {
            recovery.attached = true;
            recover(RecoveryCommand::Attach(Instance(instance)), out);
        }
    }

    /// Handles a request of the client to continue a session from a place in its history.
    #[cold]
    pub(super) fn resume(&mut self, id: Identifier, resume: &Resume, out: &mut Out) {
        if self.session.is_empty()
            && let Some(follow) = self.follow()
        {
            let (incarnation, offset) = (resume.incarnation(), resume.offset());
            follow.wanted = Some(Position { incarnation, offset });
        }
        self.session.restore(&self.peer, id, &resume.key(), out);
        self.forget_ended_session();
    }

    /// The session may have ended.
    pub(super) fn forget_ended_session(&mut self) {
        if self.recovery.is_some()
            && self.session.is_empty()
            && let Some(follow) = self.follow()
        {
            follow.reset();
        }
    }

    /// The socket takes output, or does not.
    pub(super) fn recovery_writable(&mut self, writable: bool, out: &mut Out) {
        let Some(follow) = self.follow() else { return };
        follow.is_writable = writable;
        if writable && follow.may_go_on {
            follow.read(out);
        }
    }

    /// The connection has come to hold a session, whose history ends here.
    fn start_following(&mut self, end: Position, out: &mut Out) {
        if self.session.session().is_none() {
            return;
        }
        let Some(follow) = self.follow() else { return };
        match follow.wanted.take() {
            None => {
                follow.cursor = Some(end);
                mark(HistoryState::Started, end, out);
            }
            Some(place) if place == end => {
                follow.cursor = Some(end);
                mark(HistoryState::Resumed, end, out);
            }
            Some(place) => {
                follow.cursor = Some(place);
                follow.until = Some(end.offset);
                follow.read(out);
            }
        }
    }

    fn take_batch(&mut self, number: u32, batch: Batch<Bytes>, out: &mut Out) {
        let peer = &self.peer;
        let follow = self.recovery.as_mut().and_then(|recovery| recovery.follow.as_mut());
        let Some(follow) = follow.filter(|follow| follow.is_reading && follow.number == number)
        else {
            return;
        };
        follow.is_reading = false;
        let Batch { incarnation, first, gap, signals, last } = batch;
        let mut place = Position { incarnation, offset: first.saturating_sub(1) };
        if gap {
            follow.until = None;
            mark(HistoryState::Gap, place, out);
        }
        for frame in signals {
            place.offset += 1;
            if peer.reads(frame.len()).is_ok() {
                out.push(Action::Send(frame));
                count(&mut self.counters.signals_sent);
            } else {
                // The client does not read messages of that length.
                follow.until = None;
                mark(HistoryState::Gap, place, out);
            }
        }
        follow.cursor = Some(place);
        if follow.until.is_some_and(|until| place.offset >= until) {
            follow.until = None;
            mark(HistoryState::Resumed, place, out);
        }
        if place.offset < last || follow.may_go_on {
            follow.read(out);
        }
    }

    /// Handles an idempotent request of the client, which it may have sent before.
    #[cold]
    pub(super) fn begin(&mut self, id: Identifier, content: Content, out: &mut Out) {
        let Some(recovery) = self.recovery.as_mut().filter(|recovery| recovery.attached) else {
            // Nobody has told the client that it may do so.
            return reply::translated(&self.peer, id, SpecialReply::ProtocolError, out);
        };
        let (request, token) = (self.in_flight.start_request(id), id.counter());
        let encoding = Kind::idempotent_request(content.encoding()).as_byte();
        let fingerprint = Fingerprint::new(content.name(), encoding, content.payload());
        let asked = Some(content);
        recovery.requests.insert(request.as_u64(), Idempotent { token, asked });
        count(&mut self.counters.requests);
        recover(RecoveryCommand::Begin { request, token, content: fingerprint }, out);
    }

    fn take_begun(&mut self, request: RequestId, begun: Begun<Box<Outcome>>, out: &mut Out) {
        let Some(recovery) = &mut self.recovery else { return };
        let Some(known) = recovery.requests.get_mut(&request.as_u64()) else { return };
        let Some(content) = known.asked.take() else { return };
        match begun {
            Begun::Fresh => out.push(Action::Request(Request { id: request, content })),
            Begun::Running => known.asked = Some(content),
            Begun::Done(outcome) => {
                recovery.requests.remove(&request.as_u64());
                // It is known and not answered yet.
                let _ = self.reply(request, *outcome, out);
            }
            Begun::Unknown => self.refuse_begun(request, SpecialReply::OutcomeUnknown, out),
            Begun::NotNow => self.refuse_begun(request, SpecialReply::NotExecuted, out),
            // The client uses a number twice.
            Begun::OtherRequest => self.refuse_begun(request, SpecialReply::ProtocolError, out),
        }
    }

    /// Replies to an idempotent request that is not executed, for a reason that says whether it was before.
    fn refuse_begun(&mut self, request: RequestId, reply: SpecialReply, out: &mut Out) {
        if let Some(recovery) = &mut self.recovery {
            recovery.requests.remove(&request.as_u64());
        }
        if let Some(id) = self.in_flight.end_request(request) {
            reply::special(id, reply, out);
            count(&mut self.counters.failed);
        }
        self.idle.served();
        self.proceed(out);
    }

    /// Reports that nobody has begun to handle a request of [`Action::Request`], and nobody will, because the
    /// connection ends or has ended. If it is an idempotent one, the client may have it executed on its next
    /// connection. Without effect for others.
    pub fn not_handled(&mut self, id: RequestId, out: &mut Out) {
        let requests = self.recovery.as_mut().map(|recovery| &mut recovery.requests);
        if let Some(Idempotent { token, .. }) =
            requests.and_then(|requests| requests.remove(&id.as_u64()))
        {
            recover(RecoveryCommand::Undo { request: id, token }, out);
        }
    }

    /// A request has an outcome. If it is an idempotent one, the hub keeps that.
    #[cold]
    pub(super) fn keep_outcome(&mut self, id: RequestId, outcome: &Outcome, out: &mut Out) {
        let requests = self.recovery.as_mut().map(|recovery| &mut recovery.requests);
        if let Some(Idempotent { token, .. }) =
            requests.and_then(|requests| requests.remove(&id.as_u64()))
        {
            let outcome = Box::new(outcome.clone());
            recover(RecoveryCommand::Finish { token, outcome }, out);
        }
    }

    /// The connection ends. What is executed goes on; what is not yet, never will be.
    pub(super) fn end_recovery(&mut self, out: &mut Out) {
        let Some(recovery) = &mut self.recovery else { return };
        (recovery.follow, recovery.attached) = (None, false);
        recovery.requests.retain(|request, Idempotent { token, asked }| {
            if asked.is_some() {
                let request = RequestId::from_u64(*request);
                recover(RecoveryCommand::Undo { request, token: *token }, out);
            }
            asked.is_none()
        });
        if recovery.requests.is_empty() {
            self.recovery = None;
        }
    }
}
