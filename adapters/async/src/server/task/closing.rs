//! How a connection ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::{or, zip};
use futures_util::StreamExt;
use wwr::server::{self, Action, CloseReason};
use wwr::{Actions, CloseFrame};

use super::{Done, Running, Task};
use crate::clock::Timer;
use crate::runtime::{self, Runtime};
use crate::server::connection::{Connection, Ended};
use crate::server::handler::Handler;
use crate::server::hub::Hub;

/// The timeouts of a connection that ends.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct CloseTimeouts {
    /// For the client's answer to the close frame.
    pub(in crate::server) close: Duration,
    /// For handlers that run on after the client has gone.
    pub(in crate::server) drain: Duration,
}

/// How a connection ends.
pub(super) enum End {
    /// By the server, with a close frame.
    Closed(CloseReason),
    /// By the client, which may still read: with this close frame, or without one.
    Left(Option<CloseFrame>),
    /// By the server, because the client does not speak WebSocket.
    Violated(CloseFrame),
    /// The socket cannot be used any more.
    Broken,
    /// The server waits neither for the client nor for handlers.
    Aborted,
}

impl End {
    /// Returns the reason that the application sees.
    pub(super) fn told(&self) -> Ended {
        match self {
            Self::Closed(reason) => Ended::ByServer(reason.clone()),
            Self::Left(Some(frame)) => Ended::ByClient(frame.clone()),
            Self::Violated(frame) => Ended::Violated(frame.clone()),
            Self::Left(None) | Self::Broken => Ended::Lost,
            Self::Aborted => Ended::Aborted,
        }
    }
}

impl<H: Handler, R: Runtime> Task<'_, H, R> {
    /// Ends the connection so that its client learns of it, and lets handlers run on if the client
    /// has gone.
    pub(super) async fn close(self: Box<Self>, end: End) {
        let id = self.connection.id();
        let has_hooks = self.has_hooks();
        let Self {
            hub, connection, socket, timer, timeouts, reading, machine, held, running, ..
        } = *self;
        let rest = Rest { connection, hub, machine, running, out: Actions::new() };
        let goes_on = rest.machine.running_idempotent() > 0;
        let handlers = rest.finish(held, timer, timeouts.drain);
        match end {
            End::Closed(reason) => {
                let frame = reason.frame();
                let (code, reason) = (frame.code(), frame.reason());
                tracing::debug!(code, ?reason, "closed");
                let closed = socket.close(frame, timeouts.close);
                if reading && !has_hooks && !goes_on {
                    // They have ended, or have had the time that the machine allows.
                    drop(handlers);
                    closed.await;
                } else {
                    // A hook may still run. The machine does not know about those. Or an idempotent request.
                    zip(closed, handlers).await;
                }
            }
            End::Left(frame) => {
                match frame {
                    Some(frame) => {
                        let (code, reason) = (frame.code(), frame.reason());
                        tracing::debug!(code, ?reason, "closed by the client");
                    }
                    None => tracing::debug!("closed by the client without a close frame"),
                }
                zip(socket.finish(timeouts.close), handlers).await;
            }
            End::Violated(frame) => {
                let (code, reason) = (frame.code(), frame.reason());
                tracing::debug!(
                    code,
                    reason,
                    "closed because the client broke the rules of WebSocket"
                );
                zip(socket.close(frame, timeouts.close), handlers).await;
            }
            End::Broken => {
                tracing::debug!("gone");
                drop(socket);
                handlers.await;
            }
            End::Aborted => tracing::warn!(connection = id, "given up"),
        }
    }
}

/// What is left of a connection that has ended: its handlers, and what has to know how those end.
struct Rest<'a> {
    connection: &'a Connection,
    hub: Arc<Hub>,
    machine: server::Connection,
    running: Running<'a>,
    out: Actions<Action>,
}

impl Rest<'_> {
    /// Lets handlers run on after the client has gone: for the drain timeout, those of idempotent requests to
    /// their end. `held` are those that have ended and were not told.
    async fn finish<T: runtime::Timer>(
        mut self,
        held: VecDeque<Done>,
        mut timer: Timer<T>,
        drain: Duration,
    ) {
        for done in held {
            self.take(done);
        }
        if self.running.is_empty() {
            return;
        }
        let (connection, hub) = (self.connection, self.hub.clone());
        let all = async {
            while let Some(done) = self.running.next().await {
                self.take(done);
            }
            true
        };
        let enough = async {
            connection.overdue(drain, &mut timer, &hub.clock).await;
            false
        };
        if or(all, enough).await {
            return;
        }
        if self.machine.running_idempotent() > 0 {
            let all = async {
                while self.machine.running_idempotent() > 0
                    && let Some(done) = self.running.next().await
                {
                    self.take(done);
                }
            };
            let window = hub.window.saturating_sub(drain);
            or(all, connection.overdue(window, &mut timer, &hub.clock)).await;
        }
        if !self.running.is_empty() {
            tracing::warn!(
                connection = connection.id(),
                "handlers of an ended connection take longer than the drain timeout and are dropped"
            );
        }
    }

    /// A handler has ended. Only the outcome of an idempotent request is of use to anybody.
    fn take(&mut self, done: Done) {
        let Done::Request(id, reply, _) = done else { return };
        // The connection has ended, and the machine says so.
        let _ = self.machine.reply(id, reply, &mut self.out);
        while let Some(action) = self.out.pop() {
            if let Action::Recover(command) = action {
                self.hub.recover(self.connection.connection_id(), *command);
            }
        }
    }
}
