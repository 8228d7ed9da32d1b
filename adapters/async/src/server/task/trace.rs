//! What `tracing` is told of connections, their sessions and requests, if it wants to know.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tracing::field::Empty;
use tracing::span::Entered;
use tracing::{Instrument, Level, Span};
use wwr::server::RequestError;
use wwr::{Dialect, ErrorCode, Session};

use super::Reply;
use crate::panics::ShortName;
use crate::server::connection::Connection;
use crate::store::ShortKey;

/// The target of the span of a connection, and of its sessions.
const CONNECTION: &str = "wwr_async::connection";

/// The target of the event of a request.
const REQUEST: &str = "wwr_async::request";

/// Returns the span of a connection. It is disabled if nobody wants it.
pub(in crate::server) fn span(connection: &Connection) -> Span {
    let span = tracing::debug_span!(
        target: CONNECTION,
        "connection",
        id = connection.id(),
        peer = %connection.info().remote_addr,
        dialect = Empty,
    );
    if connection.dialect() != Dialect::Unknown {
        span.record("dialect", tracing::field::display(connection.dialect()));
    }
    span
}

/// Returns whether connections have spans.
fn has_span() -> bool {
    tracing::span_enabled!(target: CONNECTION, Level::DEBUG)
}

/// Records in the span what the client has turned out to speak.
pub(super) fn learned(dialect: Dialect) {
    if has_span() {
        Span::current().record("dialect", tracing::field::display(dialect));
    }
}

/// Returns the span of a session, within that of its connection. It is disabled if nobody wants it.
///
/// It is a span of its own, because a connection may have any number of sessions and keys one after another, and
/// subscribers append what is recorded anew to what was there.
pub(super) fn session(session: &Session) -> Span {
    tracing::debug_span!(target: CONNECTION, "session", key = %ShortKey(&session.key))
}

/// The span of the session that a connection has: not there if nobody wants it.
#[derive(Debug, Default)]
pub(super) struct SessionSpan(Option<Box<Span>>);

impl SessionSpan {
    /// Records which session the connection has now.
    pub(super) fn set(&mut self, now: Option<&Session>) {
        let span = now.map(session).filter(|span| !span.is_disabled());
        self.0 = span.map(Box::new);
    }

    #[inline]
    pub(super) fn enter(&self) -> Option<Entered<'_>> {
        self.0.as_deref().map(Span::enter)
    }

    /// Returns a handler that was started in the span, and ends in it.
    #[inline]
    pub(super) fn boxed<'a, T>(
        &self,
        handler: impl Future<Output = T> + Send + 'a,
    ) -> BoxFuture<'a, T> {
        match self.0.as_deref() {
            Some(span) => Box::pin(handler.instrument(span.clone())),
            None => Box::pin(handler),
        }
    }
}

/// A request without a reply. When it is dropped, there is an event with the outcome, in the span in which it has
/// begun.
#[derive(Debug)]
pub(super) struct Traced {
    name: ShortName,
    span: Span,
    started: Instant,
    /// How long the handler took, once it has ended.
    elapsed: Option<Duration>,
    outcome: Outcome,
}

#[derive(Debug)]
pub(super) enum Outcome {
    Replied,
    /// With the code of the application, if there is one.
    Failed(Option<ErrorCode>),
    Internal,
    Panicked,
    /// The client does not read a message as long as the reply, and got an internal error.
    TooLarge,
    /// The connection ended before the reply.
    Lost,
}

impl Outcome {
    /// Returns the outcome of a request with this reply, if the client can read it.
    pub(super) fn of(reply: &Reply) -> Self {
        match reply {
            Ok(_) => Self::Replied,
            Err(RequestError::Internal) => Self::Internal,
            Err(RequestError::Failed { code, .. }) => Self::Failed(Some(code.clone())),
            Err(_) => Self::Failed(None),
        }
    }
}

impl Traced {
    /// Begins to trace a request, if anybody wants to know. Reads no clock otherwise.
    #[inline]
    pub(super) fn start(name: ShortName) -> Option<Box<Self>> {
        if !tracing::event_enabled!(target: REQUEST, Level::DEBUG) {
            return None;
        }
        let (span, started) = (Span::current(), Instant::now());
        Some(Box::new(Self { name, span, started, elapsed: None, outcome: Outcome::Lost }))
    }

    /// Records that the handler has ended. The reply may still have to wait.
    pub(super) fn ended(&mut self) {
        self.elapsed = Some(self.started.elapsed());
    }

    pub(super) fn is(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let Self { name, span, started, elapsed, outcome } = self;
        let elapsed = elapsed.unwrap_or_else(|| started.elapsed());
        let (outcome, code) = match outcome {
            Outcome::Replied => ("replied", None),
            Outcome::Failed(code) => ("failed", code.as_ref()),
            Outcome::Internal => ("internal", None),
            Outcome::Panicked => ("panicked", None),
            Outcome::TooLarge => ("too_large", None),
            Outcome::Lost => ("lost", None),
        };
        let code = code.map(tracing::field::display);
        tracing::debug!(target: REQUEST, parent: &*span, %name, outcome, code, ?elapsed, "request");
    }
}
