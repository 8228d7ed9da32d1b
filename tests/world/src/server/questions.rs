//! The questions of the application to clients, and what becomes of them.

use wwr::server::{Action, Answered, Misuse, QuestionError, QuestionId};
use wwr::{Actions, Instant, Name, Payload};

use super::backlog::Asked;
use super::{Served, Server};
use crate::application::{QUESTION, answer_to};
use crate::event::millis;
use crate::invariants::Invariant;
use crate::network::SocketId;
use crate::stage::Stage;
use crate::trace::Actor;

impl Server {
    /// Asks the client something at times, and cancels the oldest question at times.
    pub(super) fn ask_client(&mut self, socket: SocketId, stage: &mut Stage) {
        if !stage.aside.chance(40) {
            return;
        }
        let number = stage.aside.below(1000);
        let timeout = stage.aside.up_to(millis(2000)).max(millis(1));
        let cancels = stage.aside.chance(20);
        self.ask_in_turn(socket, Asked { number, timeout }, stage);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        if cancels && let Some(id) = served.questions.keys().next().copied() {
            served.machine.cancel_question(id, &mut self.out);
        }
        self.collect(socket, stage);
    }

    /// A question has its outcome.
    pub(super) fn question_ended(
        &mut self,
        socket: SocketId,
        id: QuestionId,
        outcome: &Answered,
        stage: &mut Stage,
    ) {
        let (actor, now) = (self.actor(socket), self.clock.latest());
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let Some(deadline) = served.questions.remove(&id) else {
            return stage.check(false, Invariant::QuestionsEndOnce, || {
                format!("{actor}: {id:?} has a second outcome: {outcome:?}")
            });
        };
        let is_true = match outcome {
            Ok(payload) => answer_to(payload.as_bytes()).is_some_and(|answer| answer.is_ok()),
            Err(QuestionError::TimedOut) => deadline <= now,
            Err(QuestionError::Failed(error)) => error.code_bytes() == b"NO",
            Err(_) => true,
        };
        stage.check(is_true, Invariant::QuestionsEndOnce, || {
            format!("{actor}: {id:?} has the outcome {outcome:?} at {now:?}")
        });
    }

    /// The connection is over: every question has its outcome.
    pub(super) fn check_questions(&self, socket: SocketId, stage: &mut Stage) {
        let actor = self.actor(socket);
        let Some(served) = self.connections.get(&socket) else { return };
        let open = &served.questions;
        stage.check(open.is_empty(), Invariant::QuestionsEndOnce, || {
            format!("{actor}: {open:?} have no outcome at the end")
        });
    }
}

/// Asks the client something.
pub(super) fn ask(
    actor: &Actor,
    now: Instant,
    asked: Asked,
    served: &mut Served,
    out: &mut Actions<Action>,
    stage: &mut Stage,
) {
    let Asked { number, timeout } = asked;
    let Ok(name) = Name::new(QUESTION) else { return };
    let payload = Payload::utf8(number.to_string());
    let dialect = served.machine.dialect();
    match served.machine.ask(now, name, payload, Some(timeout), out) {
        Ok(id) => {
            let is_new = served.questions.insert(id, now + timeout).is_none();
            stage.check(is_new, Invariant::QuestionsEndOnce, || {
                format!("{actor}: {id:?} comes twice")
            });
        }
        Err(misuse) => {
            let fits = match misuse {
                Misuse::Closed => true,
                Misuse::NoQuestions { .. } => served.machine.can_ask() == Some(false),
                Misuse::TooManyQuestions { most } => served.questions.len() >= usize::from(most),
                _ => false,
            };
            stage.check(fits, Invariant::CallsAreHonoured, || {
                format!("{actor}: a client of {dialect} is not asked: {misuse}")
            });
        }
    }
}
