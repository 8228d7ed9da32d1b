//! What such a client makes of a message.

use std::time::Duration;

use bytes::Bytes;
use wwr::wire::{AcceptConf, Message, decode};
use wwr::{Dialect, Session};

use super::{Asked, BUFFER, Death, Host, Kind, Notice, Reference};
use crate::invariants::Invariant;
use crate::network::SocketId;
use crate::stage::Stage;

impl Reference {
    pub(super) fn frame(&mut self, socket: SocketId, frame: Bytes, stage: &mut Stage) {
        match (self.host, self.kind) {
            (Host::Waiting(_), Kind::Strict) => match decode(Dialect::V2_0, frame) {
                Ok(Message::AcceptConf(conf)) if suits(&conf) => {
                    let pause = conf.read_timeout() / 4 * 3;
                    self.heartbeat = Some((pause, stage.now + pause));
                    self.ready(socket, stage);
                }
                _ => self.die(Death::Unacceptable),
            },
            (Host::Waiting(_), Kind::Plain | Kind::Storm) => {
                // Whatever else comes first, it waits for ever.
                if frame.first() == Some(&0x17) {
                    let pause = Duration::from_millis(1);
                    self.heartbeat = Some((pause, stage.now + pause));
                    self.ready(socket, stage);
                }
            }
            _ => self.message(frame, stage),
        }
    }

    fn message(&mut self, frame: Bytes, stage: &mut Stage) {
        let dialect = match self.kind {
            Kind::Plain => Dialect::V1_4,
            Kind::Strict | Kind::Storm => Dialect::V2_0,
        };
        let readable = self.kind != Kind::Strict || frame.len() <= BUFFER;
        match decode(dialect, frame.clone()) {
            Ok(message) if readable => self.understood(frame[0], message, stage),
            _ if self.kind == Kind::Strict => {
                self.die(Death::Unreadable(frame[..frame.len().min(16)].to_vec()));
            }
            _ => {}
        }
    }

    fn understood(&mut self, kind: u8, message: Message, stage: &mut Stage) {
        match message {
            Message::SessionCreated { object } => {
                let session = Session::from_json(&object);
                let actor = self.actor();
                stage.check(session.is_ok(), Invariant::OnlyReadable, || {
                    format!("{actor}: no session: {}", object.escape_ascii())
                });
                let key = session.ok().map(|session| session.key);
                self.key = key.map(|key| Bytes::copy_from_slice(key.as_str().as_bytes()));
                self.told.push(Notice::SessionCreated);
            }
            Message::SessionClosed => self.end_session(),
            Message::Reply { id, .. } => match self.asked.remove(&id) {
                Some(Asked::Request) => self.told.push(Notice::Replied(kind)),
                Some(Asked::Restore) => self.told.push(Notice::SessionRestored),
                Some(Asked::CloseSession) => self.end_session(),
                None => {
                    let actor = self.actor();
                    stage.check(false, Invariant::OneAnswer, || {
                        format!("{actor}: {id:?} is answered, and nothing was asked")
                    });
                }
            },
            Message::ErrorReply { id, .. } | Message::SpecialReply { id, .. } => {
                match self.asked.remove(&id) {
                    Some(Asked::Restore) => self.key = None,
                    Some(Asked::Request | Asked::CloseSession) | None => {}
                }
                self.told.push(Notice::Replied(kind));
            }
            Message::Signal(_)
            | Message::Request { .. }
            | Message::CloseSession { .. }
            | Message::RestoreSession { .. }
            | Message::Heartbeat
            | Message::AcceptConf(_)
            | Message::ClientSettings(_)
            | Message::Question { .. }
            | Message::QuestionCancelled { .. }
            | Message::Answer { .. }
            | Message::AnswerError { .. }
            | Message::AnswerRefused { .. }
            | Message::HistorySignal { .. }
            | Message::HistoryMark(_)
            | Message::KeptOutcomes(_)
            | Message::ResumeSession { .. }
            | Message::IdempotentRequest { .. } => {}
        }
    }

    fn end_session(&mut self) {
        if self.key.take().is_some() {
            self.told.push(Notice::SessionClosed);
        }
    }
}

/// Whether the strict client goes on.
fn suits(conf: &AcceptConf) -> bool {
    conf.major == 2 && conf.sub_protocol.is_none() && conf.message_buffer_size as usize == BUFFER
}
