//! The questions of the server that the application has not answered yet (protocol §10.4).

use alloc::borrow::Cow;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use super::action::{Action, Anomaly, DisconnectReason, Event};
use super::machine::{Client, TooLarge};
use crate::actions::Actions;
use crate::time::Instant;
use crate::wire::{AnswerRefusal, Content, ErrorCode, Identifier, Kind, Payload, length};

/// How many questions beyond what the client has stated are refused on a connection. One more ends
/// it, so that a server that does not read cannot make the refusals pile up.
const MAX_REFUSED: u16 = 1000;

/// A question of the server. A client never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct QuestionId {
    /// Counts the questions on all connections.
    number: u64,
    /// What the server calls it. It may repeat on another connection.
    identifier: Identifier,
}

impl QuestionId {
    /// Returns a number for tables of the host: questions of a client count from 1, and no number
    /// comes twice.
    pub const fn as_u64(self) -> u64 {
        self.number
    }

    /// Returns the identifier of the question on the wire.
    pub const fn identifier(self) -> Identifier {
        self.identifier
    }
}

/// A question of the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// For the answer.
    pub id: QuestionId,
    /// Name and payload.
    pub content: Content,
}

/// Why the application does not answer a question (protocol §10.4).
///
/// ```
/// use wwr::client::AnswerError;
///
/// let refused = AnswerError::failed("LOCKED", "the screen is locked");
/// assert_eq!(refused.to_string(), "LOCKED: the screen is locked");
/// // A code that the protocol cannot carry becomes a failure without details.
/// assert_eq!(AnswerError::failed("naïve", ""), AnswerError::Internal);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// An error of the application: a code for programs, a message for people.
    #[error("{code}: {message}")]
    Failed {
        /// What programs compare.
        code: ErrorCode,
        /// What people read; may be empty.
        message: Cow<'static, str>,
    },
    /// Something went wrong that the server does not need to know.
    #[error("internal error")]
    Internal,
    /// The application has no handler for questions.
    #[error("no handler for questions")]
    NoHandler,
}

impl AnswerError {
    /// Creates an error with a code and a message, or an internal one if the code is not 1 to 255
    /// bytes of printable ASCII.
    pub fn failed(code: impl TryInto<ErrorCode>, message: impl Into<String>) -> Self {
        match code.try_into() {
            Ok(code) => Self::Failed { code, message: Cow::Owned(message.into()) },
            Err(_) => Self::Internal,
        }
    }
}

/// The questions of the present connection without an answer, and those of any connection whose handlers outlive them:
/// at most as many as the client has stated.
#[derive(Debug)]
pub(super) struct Questions {
    counter: u64,
    open: BTreeMap<Identifier, u64>,
    /// Those that were cancelled, and whose handlers cannot be stopped.
    outlived: BTreeSet<u64>,
    /// How many were refused on the present connection, because too many were open.
    refused: u16,
}

impl Questions {
    pub(super) const fn new() -> Self {
        Self { counter: 0, open: BTreeMap::new(), outlived: BTreeSet::new(), refused: 0 }
    }

    fn open(&mut self, identifier: Identifier) -> QuestionId {
        self.counter += 1;
        self.open.insert(identifier, self.counter);
        QuestionId { number: self.counter, identifier }
    }

    /// Returns how many handlers work.
    fn at_work(&self) -> usize {
        self.open.len() + self.outlived.len()
    }

    /// Ends a question. Returns whether it was open.
    fn end(&mut self, id: QuestionId) -> bool {
        let is_open = self.open.get(&id.identifier) == Some(&id.number);
        if is_open {
            self.open.remove(&id.identifier);
        }
        is_open
    }

    fn cancel(&mut self, identifier: Identifier) -> Option<QuestionId> {
        let number = self.open.remove(&identifier)?;
        Some(QuestionId { number, identifier })
    }

    /// Ends all questions, and returns them in their order.
    fn take_all(&mut self) -> Vec<QuestionId> {
        self.refused = 0;
        let mut all: Vec<_> = core::mem::take(&mut self.open)
            .into_iter()
            .map(|(identifier, number)| QuestionId { number, identifier })
            .collect();
        all.sort_unstable();
        all
    }
}

impl Client {
    /// Answers a [question](Event::Question) of the server (protocol §10.4).
    ///
    /// An answer that comes too late is dropped: after [`Event::QuestionCancelled`], or a second one.
    /// An answer that is longer than the server reads is not sent; the server learns that there was one.
    /// In each case the handler of this question [works no more](Self::outlive_question).
    ///
    /// Returns whether the server gets this answer, or this error.
    pub fn answer(
        &mut self,
        now: Instant,
        id: QuestionId,
        result: Result<Payload, AnswerError>,
        out: &mut Actions<Action>,
    ) -> bool {
        self.advance(now);
        self.questions.outlived.remove(&id.number);
        if !self.questions.end(id) {
            return false;
        }
        let id = id.identifier;
        let length = match &result {
            Ok(payload) => length::reply(payload),
            Err(AnswerError::Failed { code, message }) => length::error_reply(code, message),
            Err(AnswerError::Internal | AnswerError::NoHandler) => length::ANSWER_REFUSED,
        };
        if let Err(TooLarge { .. }) = self.check_length(length) {
            self.refuse_question(id, AnswerRefusal::TooLarge, out);
            return false;
        }
        let frame = match result {
            Ok(payload) => out.encoder.answer(id, &payload),
            Err(AnswerError::Failed { code, message }) => {
                out.encoder.answer_error(id, &code, &message)
            }
            Err(AnswerError::Internal) => out.encoder.answer_refused(id, AnswerRefusal::Failed),
            Err(AnswerError::NoHandler) => out.encoder.answer_refused(id, AnswerRefusal::NoHandler),
        };
        self.transmit(frame, out);
        true
    }

    /// Says that the handler of a question that was [cancelled](Event::QuestionCancelled) cannot be stopped and still
    /// works. It counts as an open question until it [answers](Self::answer), so that a server which asks and
    /// cancels for ever does not make handlers pile up: questions beyond
    /// [`Config::max_open_questions`](super::Config::max_open_questions) are refused. Ignored for a question that is
    /// open, and beyond that number.
    pub fn outlive_question(&mut self, id: QuestionId) {
        let is_open = self.questions.open.get(&id.identifier) == Some(&id.number);
        let may_work = self.questions.at_work() < usize::from(self.config.max_open_questions);
        if !is_open && may_work {
            self.questions.outlived.insert(id.number);
        }
    }

    /// Returns how many questions of the server wait for an answer: never more than
    /// [`Config::max_open_questions`](super::Config::max_open_questions).
    pub fn open_questions(&self) -> usize {
        self.questions.open.len()
    }

    /// The server asks something.
    #[cold]
    pub(super) fn handle_question(
        &mut self,
        identifier: Identifier,
        content: Content,
        out: &mut Actions<Action>,
    ) {
        if self.questions.open.contains_key(&identifier) {
            // An answer would end the first one.
            let anomaly = Anomaly::Unexpected(Kind::question(content.encoding()));
            return out.push(Action::Event(Event::Anomaly(anomaly)));
        }
        if self.questions.at_work() < usize::from(self.config.max_open_questions) {
            let id = self.questions.open(identifier);
            return out.push(Action::Event(Event::Question(Question { id, content })));
        }
        if self.questions.refused >= MAX_REFUSED {
            return self.give_up_server(DisconnectReason::TooManyQuestions, out);
        }
        self.questions.refused += 1;
        out.push(Action::Event(Event::Anomaly(Anomaly::TooManyQuestions)));
        let refusal = match self.config.max_open_questions {
            0 => AnswerRefusal::NoHandler,
            _ => AnswerRefusal::Busy,
        };
        self.refuse_question(identifier, refusal, out);
    }

    /// The server does not wait for the answer any more. If it was answered, the answer is on its way.
    #[cold]
    pub(super) fn handle_cancelled_question(
        &mut self,
        identifier: Identifier,
        out: &mut Actions<Action>,
    ) {
        if let Some(id) = self.questions.cancel(identifier) {
            out.push(Action::Event(Event::QuestionCancelled(id)));
        }
    }

    /// Ends all questions, because the connection has ended.
    pub(super) fn end_questions(&mut self, out: &mut Actions<Action>) {
        for id in self.questions.take_all() {
            out.push(Action::Event(Event::QuestionCancelled(id)));
        }
    }

    fn refuse_question(
        &mut self,
        id: Identifier,
        refusal: AnswerRefusal,
        out: &mut Actions<Action>,
    ) {
        let frame = out.encoder.answer_refused(id, refusal);
        self.transmit(frame, out);
    }
}
