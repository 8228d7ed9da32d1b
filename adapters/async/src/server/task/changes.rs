//! Calls the hook for changes of the session: in order, one at a time, and before the next message.

use std::collections::VecDeque;

use wwr::server::{Action, SessionEvent};

use super::actions::answer;
use super::{Done, Task, hook, trace};
use crate::runtime::Runtime;
use crate::server::change::SessionChange;
use crate::server::connection::{Connection, SessionError};
use crate::server::handler::Handler;

/// The hook runs, or has to. There while that is so.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    running: bool,
    waiting: VecDeque<SessionChange>,
    /// Messages of the client that are not handled before that. The machine bounds their number: it
    /// takes them for handlers that run.
    deferred: VecDeque<Action>,
}

impl<'a, H: Handler, R: Runtime> Task<'a, H, R> {
    pub(super) fn take_session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Created(_) => {
                let session = self.machine.session().cloned();
                if let Some(session) = session.clone() {
                    self.session_changes(SessionChange::Created { session });
                }
                let busy = SessionError::Misuse(wwr::server::Misuse::SessionBusy);
                answer(self.creating.take(), session.ok_or(busy));
            }
            SessionEvent::CreateFailed(_) => answer(self.creating.take(), Err(SessionError::Store)),
            SessionEvent::Restored => {
                if let Some(session) = self.machine.session().cloned() {
                    self.session_changes(SessionChange::Restored { session });
                }
            }
            SessionEvent::Closed { session, by } => {
                // If it was closed before the store had answered, the hook does not know it.
                if self.told {
                    self.session_changes(SessionChange::Closed { session: *session, by });
                }
                answer(self.closing.take(), Ok(true));
            }
            SessionEvent::CloseFailed => answer(self.closing.take(), Err(SessionError::Store)),
        }
    }

    fn session_changes(&mut self, change: SessionChange) {
        self.told = change.after().is_some();
        if let Some(session) = change.after() {
            trace::has_session(&session.key);
        }
        self.hooks.get_or_insert_default().waiting.push_back(change);
        self.next_change();
    }

    /// Calls the hook for the next change, if it does not run. The hook for new connections ends
    /// first.
    pub(super) fn next_change(&mut self) {
        let Some(hooks) = &mut self.hooks else { return };
        if hooks.running || !self.reading {
            return;
        }
        if let Some(change) = hooks.waiting.pop_front() {
            hooks.running = true;
            let (handler, connection) = (self.handler, self.connection);
            self.running.push(Box::pin(async move {
                tell(handler, connection, change).await;
                Done::SessionChange
            }));
        }
    }

    /// Handles the end of the hook.
    pub(super) fn change_told(&mut self) {
        if let Some(hooks) = &mut self.hooks {
            hooks.running = false;
        }
        self.next_change();
    }

    /// Returns the next action to carry out. Puts off messages of the client while the hook runs.
    pub(super) fn next_action(&mut self) -> Option<Action> {
        if let Some(hooks) = &mut self.hooks
            && !hooks.running
            && hooks.waiting.is_empty()
        {
            if let Some(message) = hooks.deferred.pop_front() {
                return Some(message);
            }
            self.hooks = None;
        }
        loop {
            match (self.out.pop()?, &mut self.hooks) {
                (message @ (Action::Request(_) | Action::Signal(_)), Some(hooks)) => {
                    hooks.deferred.push_back(message);
                }
                (action, _) => return Some(action),
            }
        }
    }

    /// Returns the changes that the hook has not been called for, because the connection ends. The
    /// machine may have left its session before, when it closed.
    pub(super) fn changes_left(&mut self) -> Vec<SessionChange> {
        let waiting = self.hooks.as_mut().map(|hooks| std::mem::take(&mut hooks.waiting));
        let lost = self.connection.session().filter(|_| self.told);
        let lost = lost.map(|session| SessionChange::Lost { session });
        waiting.into_iter().flatten().chain(lost).collect()
    }
}

/// Calls the hook.
pub(super) async fn tell<H: Handler>(handler: &H, connection: &Connection, change: SessionChange) {
    hook("session_changed", connection.id(), || handler.session_changed(connection, change)).await;
}
