//! Carries out the actions of the machine.

use std::task::Context;

use futures_channel::oneshot;
use futures_util::FutureExt;
use wwr::server::{self, Action, RequestError, RequestId};
use wwr::session::Command;

use super::handlers::{About, Started};
use super::trace::{self, Traced};
use super::{Done, End, Presumed, Reply, Task};
use crate::panics::{Panic, ShortName};
use crate::runtime::Runtime;
use crate::server::handler::Handler;

impl<'a, H: Handler, R: Runtime> Task<'a, H, R> {
    /// Carries out the actions of the machine.
    pub(super) fn carry_out(&mut self, cx: &mut Context<'_>) -> Option<End> {
        while let Some(action) = self.next_action() {
            match action {
                Action::Send(frame) => {
                    self.connection.note_sent(&frame);
                    if let Err(error) = self.socket.feed(frame) {
                        tracing::debug!(%error, "cannot send");
                        return Some(End::Broken);
                    }
                }
                Action::Request(request) => self.start_request(request, cx),
                Action::Signal(signal) => self.start_signal(signal, cx),
                Action::Session(command) => self.command(command),
                Action::Recover(command) => {
                    self.hub.recover(self.connection.connection_id(), *command);
                }
                Action::Ping => {
                    if let Err(error) = self.socket.ping() {
                        tracing::debug!(%error, "cannot ping");
                        return Some(End::Broken);
                    }
                }
                Action::Learned(dialect) => {
                    tracing::debug!(%dialect, "client known");
                    self.connection.show_dialect(dialect);
                    trace::learned(dialect);
                    if let Some(Presumed(endpoint)) = self.presumed.take() {
                        let remote = self.connection.info().remote_addr;
                        endpoint.turned_out_newer(self.hub.clock.now(), remote);
                    }
                }
                Action::PeerReads(bytes) => self.connection.show_longest(bytes),
                Action::ReplyTooLarge { length, buffer } => self.note_too_large(length, buffer),
                Action::Answered { id, outcome } => self.answered(id, *outcome),
                Action::SessionEvent(event) => {
                    self.take_session_event(event);
                    self.next_change();
                }
                Action::Drained => {
                    self.drained = true;
                    if self.reading {
                        self.hub.drained(self.connection.connection_id());
                    }
                }
                Action::Close(reason) => return Some(End::Closed(reason)),
            }
        }
        None
    }

    /// Carries out what does not concern the client: the connection has ended.
    pub(super) fn carry_out_rest(&mut self) {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Session(command) => self.command(command),
                Action::Recover(command) => {
                    self.hub.recover(self.connection.connection_id(), *command);
                }
                Action::Answered { id, outcome } => self.answered(id, *outcome),
                Action::SessionEvent(event) => self.take_session_event(event),
                // An idempotent one may be executed elsewhere.
                Action::Request(request) => self.machine.not_handled(request.id, &mut self.out),
                _ => {}
            }
        }
    }

    fn command(&mut self, command: Command) {
        // The machine closes the connection, and leaves its session before it says so.
        if self.machine.has_ended() {
            self.leave_groups();
        }
        self.hub.handle(self.connection.connection_id(), command);
    }

    /// Leaves all groups, and keeps their names for the hooks. The connection ends.
    pub(super) fn leave_groups(&mut self) {
        let groups = self.hub.ended(self.connection.connection_id());
        if !groups.is_empty() {
            self.rare().groups = groups;
        }
    }

    /// Only the log tells of it, so it names the setting that is in the way.
    #[cold]
    fn note_too_large(&self, length: usize, buffer: usize) {
        let (connection, dialect) = (self.connection.id(), self.machine.dialect());
        tracing::warn!(
            connection,
            length,
            buffer,
            %dialect,
            raise = dialect.limit_setting(),
            "a reply is too large for the client, which gets an internal error"
        );
    }

    fn start_request(&mut self, request: server::Request, cx: &mut Context<'_>) {
        let server::Request { id, content } = request;
        let name = ShortName::new(content.name());
        let session = self.session_span.enter();
        let mut traced = Traced::start(name);
        let started = self.requests.start(content, cx);
        drop(session);
        let reply = match started {
            Started::Done(reply) => reply,
            Started::Running(rest) => {
                let about = self.about(Some(id), name);
                let done = move |reply: Result<Reply, Panic>| {
                    let reply = reply.unwrap_or_else(|panic| {
                        about.note(&panic, traced.take());
                        Err(RequestError::Internal)
                    });
                    if let Some(traced) = &mut traced {
                        traced.ended();
                    }
                    Done::Request(id, reply, traced)
                };
                return self.running.push(self.session_span.boxed(rest.map(done)));
            }
            Started::Panicked(panic) => {
                self.about(Some(id), name).note(&panic, traced.take());
                Err(RequestError::Internal)
            }
        };
        if let Some(traced) = &mut traced {
            traced.ended();
        }
        if self.socket.is_writable() {
            self.hear_others();
            self.reply(id, reply, traced);
        } else {
            self.held.push_back(Done::Request(id, reply, traced));
        }
    }

    fn start_signal(&mut self, signal: server::Signal, cx: &mut Context<'_>) {
        let server::Signal { id, content } = signal;
        let name = ShortName::new(content.name());
        let session = self.session_span.enter();
        let started = self.signals.start(content, cx);
        drop(session);
        match started {
            Started::Done(()) => {}
            Started::Running(rest) => {
                let about = self.about(None, name);
                let done = move |handled: Result<(), Panic>| {
                    handled.unwrap_or_else(|panic| about.note(&panic, None));
                    Done::Signal(id)
                };
                return self.running.push(self.session_span.boxed(rest.map(done)));
            }
            Started::Panicked(panic) => self.about(None, name).note(&panic, None),
        }
        if self.socket.is_writable() {
            self.hear_others();
            self.signal_handled(id);
        } else {
            self.held.push_back(Done::Signal(id));
        }
    }

    /// Returns which message a handler works on.
    fn about(&self, request: Option<RequestId>, name: ShortName) -> About<'a> {
        let identifier = request.map(|id| self.machine.identifier(id).unwrap_or_default());
        About::new(self.connection, identifier, name)
    }
}

/// Answers a caller that may have dropped its future.
pub(super) fn answer<T>(waiting: Option<oneshot::Sender<T>>, value: T) {
    if let Some(waiting) = waiting {
        let _ = waiting.send(value);
    }
}
