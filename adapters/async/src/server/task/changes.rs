//! Calls the hook for changes of the session: in order, one at a time, and before the next message.

use std::collections::VecDeque;

use tracing::{Instrument, Span};
use wwr::Session;
use wwr::server::{Action, Edited, Fate, SessionEvent};

use super::actions::answer;
use super::{Done, Task, trace};
use crate::runtime::Runtime;
use crate::server::change::SessionChange;
use crate::server::connection::{Connection, SessionError};
use crate::server::handler::Handler;

/// The hook runs, or has to. There while that is so.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    running: bool,
    waiting: VecDeque<SessionChange>,
    /// Messages of the client that were dispatched before the machine was told to hold them, and are not
    /// handled before that. The machine bounds their number: it takes them for handlers that run.
    deferred: VecDeque<Action>,
}

impl Hooks {
    /// Queues a change. Others may change the info and the key of the session without end, so such changes
    /// become one.
    fn push(&mut self, change: SessionChange) {
        let change = match self.waiting.back_mut() {
            Some(last) => last.merge(change),
            None => Some(change),
        };
        self.waiting.extend(change);
    }
}

impl<'a, H: Handler, R: Runtime> Task<'a, H, R> {
    /// Answers the caller that waits for this, and queues the change for the hook.
    pub(super) fn take_session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Created(_, session) => {
                let session = *session;
                self.session_changes(SessionChange::Created { session: session.clone() });
                answer(self.take_rare(|rare| rare.creating.take()), Ok(session));
            }
            SessionEvent::CreateFailed(_) => {
                answer(self.take_rare(|rare| rare.creating.take()), Err(SessionError::Store))
            }
            SessionEvent::Restored(session) => {
                self.session_changes(SessionChange::Restored { session: *session });
            }
            SessionEvent::Closed { session, by, fate } => {
                self.session_changes(SessionChange::Closed { session: *session, by, fate });
                match fate {
                    Fate::Destroyed | Fate::LivesOn => {
                        answer(self.take_rare(|rare| rare.closing.take()), Ok(true));
                    }
                    // The caller will hear that the connection has ended.
                    Fate::Unknown => self.connection.show_session(None),
                }
            }
            SessionEvent::CloseFailed => {
                answer(self.take_rare(|rare| rare.closing.take()), Err(SessionError::Store))
            }
            SessionEvent::Updated(edited) => {
                self.edited(*edited, |before, session| SessionChange::Updated { before, session });
            }
            SessionEvent::Rotated(edited) => {
                self.edited(*edited, |before, session| SessionChange::Rotated { before, session });
            }
            SessionEvent::EditFailed(_, failure) => {
                answer(self.take_rare(|rare| rare.editing.pop_front()), Err(failure.into()));
            }
        }
    }

    /// Tells the hook and the caller about a change of the info or the key.
    fn edited(&mut self, edited: Edited, change: fn(Session, Session) -> SessionChange) {
        let Edited { before, after, edit, too_long } = edited;
        if let Some((length, most)) = too_long {
            tracing::warn!(
                connection = self.connection.id(),
                length,
                most,
                raise = self.machine.dialect().limit_setting(),
                "the session is now longer than the client reads, which is not told of the change"
            );
        }
        if edit.is_some() {
            answer(self.take_rare(|rare| rare.editing.pop_front()), Ok(after.clone()));
        }
        self.session_changes(change(before, after));
    }

    fn session_changes(&mut self, change: SessionChange) {
        self.told = change.after().is_some();
        self.session_span.set(change.after());
        self.rare().hooks.get_or_insert_default().push(change);
        // While the hook asks the client something, the socket is read.
        self.machine.hold_messages();
    }

    /// Lets the machine dispatch the messages of the client, if no hook has to end before.
    pub(super) fn release_messages(&mut self) {
        if self.reading && !self.has_hooks() {
            self.machine.release_messages(self.now, &mut self.out);
        }
    }

    /// Calls the hook for the next change, if it does not run. The hook for new connections ends
    /// first.
    pub(super) fn next_change(&mut self) {
        let reading = self.reading;
        let Some(hooks) = self.hooks() else { return };
        if hooks.running || !reading {
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
        if let Some(hooks) = self.hooks() {
            hooks.running = false;
        }
        self.next_change();
    }

    /// Returns the next action to carry out. Puts off messages of the client while the hook runs.
    #[inline]
    pub(super) fn next_action(&mut self) -> Option<Action> {
        if self.rare.is_none() { self.out.pop() } else { self.next_undeferred_action() }
    }

    #[cold]
    fn next_undeferred_action(&mut self) -> Option<Action> {
        let Some(hooks) = self.rare.as_mut().and_then(|rare| rare.hooks.as_mut()) else {
            return self.out.pop();
        };
        if !hooks.running && hooks.waiting.is_empty() {
            if let Some(message) = hooks.deferred.pop_front() {
                return Some(message);
            }
            self.take_rare(|rare| rare.hooks.take());
            self.release_messages();
            return self.out.pop();
        }
        loop {
            match self.out.pop()? {
                message @ (Action::Request(_) | Action::Signal(_)) => {
                    hooks.deferred.push_back(message);
                }
                action => return Some(action),
            }
        }
    }

    /// Drops the messages that were put off: the connection ends.
    pub(super) fn drop_deferred(&mut self) {
        let deferred = self.hooks().map(|hooks| std::mem::take(&mut hooks.deferred));
        for message in deferred.into_iter().flatten() {
            if let Action::Request(request) = message {
                self.machine.not_handled(request.id, &mut self.out);
            }
        }
    }

    fn hooks(&mut self) -> Option<&mut Hooks> {
        self.rare.as_mut()?.hooks.as_mut()
    }

    /// Returns the changes that the hook has not been called for, because the connection has ended. The
    /// machine has left its session.
    pub(super) fn changes_left(&mut self) -> Vec<SessionChange> {
        let waiting = self.hooks().map(|hooks| std::mem::take(&mut hooks.waiting));
        // Nothing waits for a hook that does not run.
        self.take_rare(|rare| rare.hooks.take_if(|hooks| !hooks.running));
        let lost = self.connection.session().filter(|_| self.told);
        let lost = lost.map(|session| SessionChange::Lost { session });
        waiting.into_iter().flatten().chain(lost).collect()
    }
}

/// Calls the hook.
pub(super) async fn tell<H: Handler>(handler: &H, connection: &Connection, change: SessionChange) {
    let about = change.after().or(change.before());
    let span = about.map_or_else(Span::none, trace::session);
    let told =
        connection.call_hook("session_changed", || handler.session_changed(connection, change));
    told.instrument(span).await;
}
