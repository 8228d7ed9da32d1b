//! What `tracing` is told of connections and requests, if it wants to know.

use std::time::Instant;

use tracing::field::Empty;
use tracing::{Level, Span};
use wwr::server::RequestError;
use wwr::{Dialect, ErrorCode, SessionKey};

use super::Reply;
use crate::panics::ShortName;
use crate::server::connection::Connection;
use crate::store::ShortKey;

/// The target of the span of a connection.
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
        session = Empty,
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

/// Records in the span which session the connection has now, as the log shows keys.
pub(super) fn has_session(key: &SessionKey) {
    if has_span() {
        Span::current().record("session", tracing::field::display(ShortKey(key)));
    }
}

/// A request that runs. When it is dropped, there is an event with the outcome.
#[derive(Debug)]
pub(super) struct Traced {
    name: ShortName,
    started: Instant,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Replied,
    /// With the code of the application, if there is one.
    Failed(Option<ErrorCode>),
    Internal,
    Panicked,
    /// The connection ended before the handler.
    Lost,
}

impl Traced {
    /// Begins to trace a request, if anybody wants to know. Reads no clock otherwise.
    #[inline]
    pub(super) fn start(name: ShortName) -> Option<Box<Self>> {
        if !tracing::event_enabled!(target: REQUEST, Level::DEBUG) {
            return None;
        }
        Some(Box::new(Self { name, started: Instant::now(), outcome: Outcome::Lost }))
    }

    pub(super) fn answered(mut self, reply: &Reply) {
        self.outcome = match reply {
            Ok(_) => Outcome::Replied,
            Err(RequestError::Internal) => Outcome::Internal,
            Err(RequestError::Failed { code, .. }) => Outcome::Failed(Some(code.clone())),
            Err(_) => Outcome::Failed(None),
        };
    }

    pub(super) fn panicked(mut self) {
        self.outcome = Outcome::Panicked;
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let Self { name, started, outcome } = self;
        let elapsed = started.elapsed();
        let (outcome, code) = match outcome {
            Outcome::Replied => ("replied", None),
            Outcome::Failed(code) => ("failed", code.as_ref()),
            Outcome::Internal => ("internal", None),
            Outcome::Panicked => ("panicked", None),
            Outcome::Lost => ("lost", None),
        };
        let code = code.map(tracing::field::display);
        tracing::debug!(target: REQUEST, %name, outcome, code, ?elapsed, "request");
    }
}
