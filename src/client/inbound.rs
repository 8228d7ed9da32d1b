//! What the server sends (protocol §6.2, §7.3).

use bytes::Bytes;

use super::action::{Action, Anomaly, Event, Outcome};
use super::error::RequestError;
use super::link::Link;
use super::liveness::LivenessCheck;
use super::machine::{Client, done};
use super::requests::{Kept, Purpose, RequestId};
use crate::actions::Actions;
use crate::dialect::Dialect;
use crate::session::{Session, SessionKey};
use crate::time::{Instant, UnixTime};
use crate::wire::{self, ErrorReply, Identifier, Message, Payload, SpecialReply};

/// The part of a message that answers a request.
#[derive(Debug)]
pub(super) enum Reply {
    Success(Payload),
    Error(ErrorReply),
    Special(SpecialReply),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Success(payload) => Ok(payload),
            Reply::Error(error) => Err(RequestError::Failed(error)),
            Reply::Special(special) => Err(special.into()),
        }
    }
}

impl Client {
    /// Handles a message that arrived on the WebSocket, binary or text. Ignored unless the
    /// WebSocket is open.
    ///
    /// The first message may decide the version, or show that the server does not suit (protocol
    /// §7.3). No other message ends the connection: the client reports a message that it cannot
    /// read, or that makes no sense, as [`Event::Anomaly`].
    pub fn handle_message(&mut self, now: Instant, frame: Bytes, out: &mut Actions<Action>) {
        self.handle_activity(now);
        match self.link {
            Link::AwaitingConf { .. } | Link::Resuming(_) | Link::Ready { .. } => {}
            Link::Idle
            | Link::Probing { .. }
            | Link::Dialing { .. }
            | Link::Waiting { .. }
            | Link::Closed => return,
        }
        let Some(frame) = self.look_at_first(frame, out) else { return };
        let message = match wire::decode(self.read_as(), frame) {
            Ok(message) => message,
            Err(error) => return anomaly(Anomaly::Unreadable(error), out),
        };
        match message {
            Message::Signal(content) => out.push(Action::Event(Event::Signal(content))),
            Message::Reply { id, payload } => self.handle_reply(id, Reply::Success(payload), out),
            Message::ErrorReply { id, error } => self.handle_reply(id, Reply::Error(error), out),
            Message::SpecialReply { id: Identifier::ZERO, reply: SpecialReply::ProtocolError } => {
                anomaly(Anomaly::UnattributedError, out);
            }
            Message::SpecialReply { id, reply } => {
                self.handle_reply(id, Reply::Special(reply), out);
            }
            Message::SessionCreated { object } => match (self.reader)(&object) {
                Ok(session) => {
                    let is_ready = matches!(self.link, Link::Ready { .. });
                    let known = self.hold(session.clone());
                    self.expect_mark();
                    out.push(Action::Event(match known {
                        Some(before) if is_ready && is_same(&before, &session) => {
                            Event::SessionUpdated(session)
                        }
                        Some(_) | None => Event::SessionCreated(session),
                    }));
                }
                Err(invalid) => anomaly(Anomaly::InvalidSession(invalid), out),
            },
            Message::SessionClosed => {
                if !self.end_session(out) {
                    anomaly(Anomaly::NoSessionToClose, out);
                }
            }
            Message::Question { id, content } => self.handle_question(id, content, out),
            Message::QuestionCancelled { id } => self.handle_cancelled_question(id, out),
            Message::HistorySignal { id, content } => {
                self.handle_history_signal(id.counter(), content, out);
            }
            Message::HistoryMark(mark) => self.handle_history_mark(mark, out),
            Message::KeptOutcomes(kept) => self.handle_kept(kept, out),
            Message::Request { .. }
            | Message::CloseSession { .. }
            | Message::RestoreSession { .. }
            | Message::Heartbeat
            | Message::AcceptConf(_)
            | Message::ClientSettings(_)
            | Message::Answer { .. }
            | Message::AnswerError { .. }
            | Message::AnswerRefused { .. }
            | Message::ResumeSession { .. }
            | Message::IdempotentRequest { .. } => unexpected(message, out),
        }
    }

    /// Reports that something other than a message arrived: a ping, or a part of a message. Call it
    /// also when the socket took some of the output that had to wait, which it does only if the
    /// server reads. A sign of life.
    pub fn handle_activity(&mut self, now: Instant) {
        let now = self.advance(now);
        if let Some(liveness) = &mut self.liveness {
            liveness.heard(now);
        }
    }

    /// Reports a pong: a sign of life, and proof that the server answers [pings](Action::Ping).
    pub fn handle_pong(&mut self, now: Instant) {
        let now = self.advance(now);
        let is_asking = self.liveness.as_ref().is_some_and(LivenessCheck::is_asking);
        let waiting = if is_asking { self.oldest_waiting() } else { None };
        if let Some(liveness) = &mut self.liveness {
            liveness.answered(now, waiting);
        }
    }

    /// Returns the dialect in which to read messages. A server of all versions may take a client of
    /// 2.0 for one of 1.x, because a preflight came from the same address (protocol §7.2). It then
    /// answers with protocol errors until the first heartbeat. The client may not know of that
    /// preflight: the answer was lost, or another client sent it.
    const fn read_as(&self) -> Dialect {
        match self.dialect() {
            Dialect::V2_0 => Dialect::Unknown,
            dialect => dialect,
        }
    }

    /// Ends the request with this identifier. If there is no such request, the reply is late and
    /// ignored.
    fn handle_reply(&mut self, id: Identifier, reply: Reply, out: &mut Actions<Action>) {
        let id = RequestId::from_identifier(id);
        if matches!(&self.link, Link::Resuming(resumption) if resumption.id == id) {
            return self.handle_resumption(reply, out);
        }
        match self.requests.take_replied(id) {
            Some(Purpose::Request) => done(id, reply.into(), out),
            Some(Purpose::Idempotent(kept)) => done(id, told_of(&kept, reply), out),
            Some(Purpose::Restore) => {
                let outcome = match reply {
                    Reply::Success(payload) => self.restored(payload, out),
                    Reply::Error(_) | Reply::Special(_) => reply.into(),
                };
                done(id, outcome, out);
            }
            Some(Purpose::Close(key)) => {
                if matches!(reply, Reply::Success(_)) {
                    self.closed(key.as_ref(), out);
                }
                done(id, reply.into(), out);
            }
            Some(Purpose::LateClose(key)) => {
                if matches!(reply, Reply::Success(_)) {
                    self.closed(key.as_ref(), out);
                }
            }
            Some(Purpose::LateRestore(replies)) => match (reply, replies.saturating_sub(1)) {
                (Reply::Success(payload), _) => {
                    if let Err(RequestError::InvalidSession(invalid)) = self.restored(payload, out)
                    {
                        anomaly(Anomaly::InvalidSession(invalid), out);
                    }
                }
                (Reply::Error(_) | Reply::Special(_), 0) => {}
                (Reply::Error(_) | Reply::Special(_), left) => {
                    self.requests.expect_late_restore(id, left);
                }
            },
            None => {}
        }
    }

    /// The application's restore-session succeeded.
    fn restored(&mut self, payload: Payload, out: &mut Actions<Action>) -> Outcome {
        let session = (self.reader)(payload.as_bytes()).map_err(RequestError::InvalidSession)?;
        self.hold(session.clone());
        self.expect_mark();
        out.push(Action::Event(Event::SessionRestored(session)));
        Ok(payload)
    }

    /// The server closed the session, and in 1.x said so before (protocol §5.7). A session that has
    /// replaced the closed one stays. In 2.0 this reply is the only sign, whichever session the
    /// request found.
    fn closed(&mut self, key: Option<&SessionKey>, out: &mut Actions<Action>) {
        let held = self.session.as_ref().map(|session| &session.key);
        let was_told = self.dialect().rules().notifies_own_close;
        if !was_told || key.is_none() || held == key {
            self.end_session(out);
        }
    }
}

/// Returns the outcome of an idempotent request. One that is repeated, and was not executed now, may have been before.
#[cold]
fn told_of(kept: &Kept, reply: Reply) -> Outcome {
    match reply {
        Reply::Special(SpecialReply::Shutdown | SpecialReply::NotExecuted) if kept.is_repeated => {
            Err(RequestError::ConnectionLost)
        }
        reply => reply.into(),
    }
}

/// Reports a message that no server sends at this time. Takes it, so that it is dropped out of line.
#[cold]
#[inline(never)]
fn unexpected(message: Message, out: &mut Actions<Action>) {
    anomaly(Anomaly::Unexpected(message.kind()), out);
}

/// Returns whether a session-created message is about the session that the client holds: the server has
/// changed its info or its key. A server creates none for a connection that has one (protocol §5.5), and the
/// time of creation outlives a change of the key (protocol §5.13).
pub(super) fn is_same(before: &Session, after: &Session) -> bool {
    let born = before.created;
    before.key == after.key || born == after.created && born != UnixTime::NEVER
}

fn anomaly(anomaly: Anomaly, out: &mut Actions<Action>) {
    out.push(Action::Event(Event::Anomaly(anomaly)));
}
