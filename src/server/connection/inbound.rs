//! What clients send (protocol §5.2).

use core::mem;

use bytes::Bytes;

use super::{Connection, Out, Overtakes};
use crate::dialect::MalformedRequest;
use crate::server::action::{Action, CloseReason, Request, Signal};
use crate::server::counters::count;
use crate::server::reply;
use crate::wire::{DecodeError, Kind, Message, SpecialReply, decode};

impl Connection {
    /// Handles the message that is next in order.
    pub(super) fn dispatch(&mut self, frame: Bytes, out: &mut Out) {
        if self.peer.exceeds(frame.len()) {
            return self.drain(CloseReason::TooLarge, out);
        }
        match decode(self.peer.read_as(), frame) {
            Ok(Message::Signal(content)) => {
                let id = self.in_flight.start_signal();
                count(&mut self.counters.signals);
                out.push_with(|| Action::Signal(Signal { id, content }));
            }
            Ok(Message::Request { id, content }) => {
                let id = self.in_flight.start_request(id);
                count(&mut self.counters.requests);
                out.push_with(|| Action::Request(Request { id, content }));
            }
            Ok(Message::RestoreSession { id, key }) => {
                self.session.restore(&self.peer, id, &key, out);
            }
            Ok(Message::ResumeSession { id, resume }) => self.resume(id, &resume, out),
            Ok(Message::IdempotentRequest { id, content }) => self.begin(id, content, out),
            Ok(Message::CloseSession { id }) => self.session.close_by_client(id, out),
            Ok(Message::Heartbeat) => {}
            Ok(
                message @ (Message::Reply { .. }
                | Message::ErrorReply { .. }
                | Message::SpecialReply { .. }
                | Message::SessionCreated { .. }
                | Message::SessionClosed
                | Message::AcceptConf(_)
                // The first one was handled before it could wait, and so are all answers.
                | Message::ClientSettings(_)
                | Message::Answer { .. }
                | Message::AnswerError { .. }
                | Message::AnswerRefused { .. }
                | Message::Question { .. }
                | Message::QuestionCancelled { .. }
                | Message::HistorySignal { .. }
                | Message::HistoryMark(_)
                | Message::KeptOutcomes(_)),
            ) => return self.ignore(message, out),
            Err(error) => return self.undecodable(error, out),
        }
        self.ignored_in_a_row = 0;
    }

    /// Returns whether a message that begins with this byte is handled as soon as it comes, and as
    /// what.
    fn overtakes(&self, byte: u8) -> Option<Overtakes> {
        let kind = Kind::from_byte(byte)?;
        let rules = self.peer.rules();
        if kind == Kind::ClientSettings && rules.states_limits && !self.peer.has_stated() {
            return Some(Overtakes::Settings);
        }
        (kind.is_answer() && rules.knows_questions).then_some(Overtakes::Answer)
    }

    /// Handles a message as soon as it comes, if it is one that overtakes others. Returns whether it is.
    /// Out of line: none of these is frequent.
    #[cold]
    #[inline(never)]
    pub(super) fn take_early(&mut self, frame: &mut Bytes, out: &mut Out) -> bool {
        let overtakes = frame.first().and_then(|byte| self.overtakes(*byte));
        match overtakes {
            Some(Overtakes::Settings) => self.take_settings(mem::take(frame), out),
            Some(Overtakes::Answer) => self.take_answer(mem::take(frame), out),
            None => {}
        }
        overtakes.is_some()
    }

    /// Handles the client's settings as soon as they come, even while handlers run (protocol
    /// §10.2).
    fn take_settings(&mut self, frame: Bytes, out: &mut Out) {
        match decode(self.peer.read_as(), frame) {
            Ok(Message::ClientSettings(settings)) => {
                let reads = self.peer.states(settings);
                out.push(Action::PeerReads(reads));
                self.settle_recovery(&settings, out);
                self.settle_questions(out);
            }
            Ok(_) => {}
            Err(error) => self.undecodable(error, out),
        }
        self.proceed(out);
    }

    /// Answers a message that arrives, or has waited, while the connection drains.
    pub(super) fn refuse(&mut self, frame: Bytes, out: &mut Out) {
        match decode(self.peer.read_as(), frame) {
            Ok(message) if message.kind().requires_reply() => {
                let id = message.identifier().unwrap_or_default();
                reply::special(id, SpecialReply::Shutdown, out);
                count(&mut self.counters.refused);
            }
            Ok(_) => {}
            Err(error) => self.undecodable(error, out),
        }
    }

    /// Answers a message that cannot be read, if its sender expects an answer and the dialect has
    /// one (protocol §5.2).
    pub(super) fn undecodable(&mut self, error: DecodeError, out: &mut Out) {
        let reply = match error {
            DecodeError::Malformed { kind, identifier, .. } if kind.requires_reply() => {
                match (self.peer.rules().malformed_request, identifier) {
                    (MalformedRequest::ProtocolError, identifier) => {
                        Some((identifier.unwrap_or_default(), SpecialReply::ProtocolError))
                    }
                    (MalformedRequest::InternalError, Some(identifier)) => {
                        Some((identifier, SpecialReply::InternalError))
                    }
                    (MalformedRequest::InternalError, None) | (MalformedRequest::Ignore, _) => None,
                }
            }
            DecodeError::Malformed { .. } | DecodeError::Empty | DecodeError::UnknownKind(_) => {
                None
            }
        };
        if let Some((id, reply)) = reply {
            reply::special(id, reply, out);
        }
        if self.peer.rules().strict {
            count(&mut self.counters.ignored);
            return self.drain(CloseReason::Unreadable, out);
        }
        self.ignored(out);
    }

    /// Drops a message that no client sends at this time. Out of line, so that dropping it is not in the
    /// way of the others.
    #[cold]
    #[inline(never)]
    fn ignore(&mut self, message: Message, out: &mut Out) {
        drop(message);
        self.ignored(out);
    }

    /// Counts a message without effect. Too many in a row end the connection.
    pub(super) fn ignored(&mut self, out: &mut Out) {
        count(&mut self.counters.ignored);
        self.ignored_in_a_row = self.ignored_in_a_row.saturating_add(1);
        if self.ignored_in_a_row >= self.limits.ignored_in_a_row {
            self.drain(CloseReason::TooManyIgnored, out);
        }
    }
}
