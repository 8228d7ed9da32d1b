//! What the machine wants done.

use std::task::Context;

use futures_channel::oneshot;
use futures_util::FutureExt;
use wwr::server::{self, Action, Misuse, SessionEvent};

use super::handlers::{About, Started};
use super::{Done, End, Presumed, Task};
use crate::server::connection::SessionError;
use crate::server::handler::Handler;

impl<H: Handler> Task<'_, H> {
    /// Does what the machine wants done.
    pub(super) fn carry_out(&mut self, cx: &mut Context<'_>) -> Option<End> {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Send(frame) => {
                    if let Err(error) = self.socket.feed(frame) {
                        tracing::debug!(connection = self.connection.id(), %error, "cannot send");
                        return Some(End::Broken);
                    }
                }
                Action::Request(server::Request { id, content }) => {
                    let identifier = self.machine.identifier(id);
                    let about = About::request(self.connection.id(), identifier, &content);
                    match self.requests.start(about, content, cx) {
                        Started::Done(reply) if self.socket.is_writable() => {
                            self.hear_others();
                            self.reply(id, reply);
                        }
                        Started::Done(reply) => self.held.push_back(Done::Request(id, reply)),
                        Started::Running(rest) => {
                            self.running
                                .push(rest.map(move |reply| Done::Request(id, reply)).boxed());
                        }
                    }
                }
                Action::Signal(server::Signal { id, content }) => {
                    let about = About::signal(self.connection.id(), &content);
                    match self.signals.start(about, content, cx) {
                        Started::Done(()) if self.socket.is_writable() => {
                            self.hear_others();
                            self.signal_handled(id);
                        }
                        Started::Done(()) => self.held.push_back(Done::Signal(id)),
                        Started::Running(rest) => {
                            self.running.push(rest.map(move |()| Done::Signal(id)).boxed());
                        }
                    }
                }
                Action::Session(command) => {
                    self.hub.handle(self.connection.connection_id(), command);
                }
                Action::Ping => {
                    if let Err(error) = self.socket.ping() {
                        tracing::debug!(connection = self.connection.id(), %error, "cannot ping");
                        return Some(End::Broken);
                    }
                }
                Action::Learned(dialect) => {
                    tracing::debug!(connection = self.connection.id(), %dialect, "client known");
                    self.connection.show_dialect(dialect);
                    if let Some(Presumed(endpoint)) = self.presumed.take() {
                        let remote = self.connection.info().remote_addr;
                        endpoint.turned_out_newer(self.hub.clock.now(), remote);
                    }
                }
                Action::PeerReads(bytes) => self.connection.show_longest(bytes),
                Action::ReplyTooLarge { length, buffer } => tracing::warn!(
                    connection = self.connection.id(),
                    length,
                    buffer,
                    "a reply is too large for the client, who gets an internal error"
                ),
                Action::SessionEvent(event) => self.take_session_event(event),
                Action::Drained => {}
                Action::Close(reason) => return Some(End::Closed(reason)),
            }
        }
        None
    }

    fn take_session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Created => {
                let session = self.machine.session().cloned();
                let session = session.ok_or(SessionError::Misuse(Misuse::SessionBusy));
                answer(self.creating.take(), session);
            }
            SessionEvent::CreateFailed => answer(self.creating.take(), Err(SessionError::Store)),
            SessionEvent::Restored => {}
            SessionEvent::Closed => answer(self.closing.take(), Ok(true)),
            SessionEvent::CloseFailed => answer(self.closing.take(), Err(SessionError::Store)),
        }
    }
}

/// Answers a caller, who may have lost interest.
pub(super) fn answer<T>(waiting: Option<oneshot::Sender<T>>, value: T) {
    if let Some(waiting) = waiting {
        let _ = waiting.send(value);
    }
}
