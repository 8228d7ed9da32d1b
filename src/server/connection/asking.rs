//! Questions to the client (protocol §10.4).

use core::time::Duration;

use alloc::boxed::Box;
use bytes::Bytes;

use super::{Connection, Out};
use crate::server::action::{Action, CloseReason};
use crate::server::error::{Misuse, QuestionError};
use crate::server::questions::{Answered, Asked, QuestionId, Questions, Removed, Settled};
use crate::time::{Instant, Span};
use crate::wire::{Message, Name, Payload, decode};

impl Connection {
    /// Asks the client something (protocol §10.4). Only clients of `wwr.1` can be asked, and of
    /// these only those that have stated so. Also possible while the connection drains, but the
    /// connection does not wait for answers: only for handlers.
    ///
    /// The question ends in exactly one [`Action::Answered`] with the identifier that is returned
    /// here. `timeout` is how long the answer may take; `None` is
    /// [`Config::question_timeout`](crate::server::Config::question_timeout).
    ///
    /// A client of `wwr.1` states first of all what it can do. What is asked before that is sent
    /// after it, and may have 8192 bytes as a message at most.
    ///
    /// An answer is taken as soon as it comes, even while handlers run. But while
    /// [`wants_input`](Self::wants_input) is false, no answer can come: a handler that waits for an
    /// answer, behind which a client has sent as many requests as may wait, gets none in time.
    ///
    /// # Errors
    ///
    /// [`Misuse`]: [`Closed`](Misuse::Closed), [`NoQuestions`](Misuse::NoQuestions) for a client that
    /// cannot be asked, [`EmptyQuestion`](Misuse::EmptyQuestion),
    /// [`TooManyQuestions`](Misuse::TooManyQuestions),
    /// [`QuestionTooLarge`](Misuse::QuestionTooLarge). Nothing is sent or kept then.
    pub fn ask(
        &mut self,
        now: Instant,
        name: Name,
        payload: Payload,
        timeout: Option<Duration>,
        out: &mut Out,
    ) -> Result<QuestionId, Misuse> {
        self.tick(now);
        self.not_closed()?;
        let dialect = self.peer.dialect();
        if !dialect.rules().knows_questions {
            return Err(Misuse::NoQuestions { dialect });
        }
        let (most, within) = (self.limits.questions, self.limits.question_timeout);
        let questions =
            self.questions.get_or_insert_with(|| Box::new(Questions::new(most, within)));
        let asked = questions.ask(&self.peer, name, payload, timeout.map(Span::from), self.now)?;
        let Asked { id, send } = asked;
        if let Some((name, payload)) = send {
            let frame = out.encoder.question(id.identifier(), &name, &payload);
            out.push(Action::Send(frame));
        }
        Ok(id)
    }

    /// Cancels a question: its outcome is [`QuestionError::Cancelled`], and the client is told that
    /// no answer is expected. A no-op if the question already has an outcome.
    pub fn cancel_question(&mut self, id: QuestionId, out: &mut Out) {
        if let Some(removed) = self.questions.as_mut().and_then(|open| open.remove(id)) {
            give_up(id, &removed, QuestionError::Cancelled, out);
        }
    }

    /// Returns how many questions have no outcome yet: never more than
    /// [`Config::max_open_questions`](crate::server::Config::max_open_questions).
    pub fn open_questions(&self) -> usize {
        self.questions.as_ref().map_or(0, |questions| questions.len())
    }

    /// Returns whether questions can be asked now, as far as the client is concerned. `None` if the
    /// client has yet to state it, which it does first of all.
    pub const fn can_ask(&self) -> Option<bool> {
        match self.peer.answers() {
            Some(most) => Some(most > 0),
            None => None,
        }
    }

    /// Handles an answer as soon as it comes, even while handlers run.
    pub(super) fn take_answer(&mut self, frame: Bytes, out: &mut Out) {
        if self.peer.exceeds(frame.len()) {
            return self.drain(CloseReason::TooLarge, out);
        }
        let (id, outcome): (_, Answered) = match decode(self.peer.read_as(), frame) {
            Ok(Message::Answer { id, payload }) => (id, Ok(payload)),
            Ok(Message::AnswerError { id, error }) => (id, Err(QuestionError::Failed(error))),
            Ok(Message::AnswerRefused { id, refusal }) => (id, Err(refusal.into())),
            Ok(_) => return self.ignored(out),
            Err(error) => return self.undecodable(error, out),
        };
        let Some(questions) = &mut self.questions else { return self.ignored(out) };
        if let Some(id) = questions.answered(id) {
            self.ignored_in_a_row = 0;
            out.push(Action::Answered { id, outcome: Box::new(outcome) });
        } else {
            // It comes too late, or answers nothing. A client may do so a few times, and not for ever.
            self.ignored(out);
        }
    }

    /// The client has stated whether it answers questions.
    pub(super) fn settle_questions(&mut self, out: &mut Out) {
        let Some(questions) = &mut self.questions else { return };
        for settled in questions.settle(&self.peer) {
            match settled {
                Settled::Send(id, name, payload) => {
                    let frame = out.encoder.question(id.identifier(), &name, &payload);
                    out.push(Action::Send(frame));
                }
                Settled::End(id, misuse) => {
                    let outcome = Box::new(Err(QuestionError::NotAsked(misuse)));
                    out.push(Action::Answered { id, outcome });
                }
            }
        }
    }

    /// Ends the questions whose time is over.
    pub(super) fn end_overdue_questions(&mut self, out: &mut Out) {
        let Some(questions) = &mut self.questions else { return };
        while let Some((id, removed)) = questions.take_expired(self.now) {
            give_up(id, &removed, QuestionError::TimedOut, out);
        }
    }

    /// Ends all questions, because the connection ends.
    pub(super) fn lose_questions(&mut self, out: &mut Out) {
        let Some(mut questions) = self.questions.take() else { return };
        for id in questions.take_all() {
            let outcome = Box::new(Err(QuestionError::ConnectionLost));
            out.push(Action::Answered { id, outcome });
        }
    }
}

/// Ends a question for which the server waits no longer.
fn give_up(id: QuestionId, removed: &Removed, error: QuestionError, out: &mut Out) {
    if removed.sent {
        let frame = out.encoder.question_cancelled(id.identifier());
        out.push(Action::Send(frame));
    }
    out.push(Action::Answered { id, outcome: Box::new(Err(error)) });
}
