//! A request or a signal on its way to its handler.

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use wwr::server::RequestError;
use wwr::{Content, Payload};

use super::super::connection::Connection;

/// The result of a handler.
pub(super) type Reply = Result<Payload, RequestError>;

/// Whether something is a request or a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    /// A request: its result is the reply.
    Request,
    /// A signal: its result goes nowhere.
    Signal,
}

impl fmt::Display for CallKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Signal => "signal",
        })
    }
}

/// A request or a signal of a client, as middleware and extractors see it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Call {
    kind: CallKind,
    connection: Connection,
    content: Content,
}

impl Call {
    pub(super) fn new(kind: CallKind, connection: &Connection, content: Content) -> Self {
        Self { kind, connection: connection.clone(), content }
    }

    /// Returns whether it is a request or a signal.
    pub const fn kind(&self) -> CallKind {
        self.kind
    }

    /// Returns the whole name, with the prefixes of nested routers. In a fallback, clients may have sent
    /// any bytes.
    pub fn name(&self) -> &[u8] {
        self.content.name()
    }

    /// Returns the name as text, if it is UTF-8. It is, unless in a fallback.
    pub fn name_str(&self) -> Option<&str> {
        self.content.name_str()
    }

    /// Returns the connection that it came from.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns name and payload.
    pub const fn content(&self) -> &Content {
        &self.content
    }
}

/// Handles calls of one name.
pub(super) trait Endpoint: Send + Sync {
    fn call(&self, call: Call) -> BoxFuture<'static, Reply>;
}

/// Runs before and after handlers.
pub(super) trait Layer: Send + Sync {
    fn call(&self, call: Call, next: Next) -> BoxFuture<'static, Reply>;
}

impl<F, Fut> Layer for F
where
    F: Fn(Call, Next) -> Fut + Send + Sync,
    Fut: Future<Output = Reply> + Send + 'static,
{
    fn call(&self, call: Call, next: Next) -> BoxFuture<'static, Reply> {
        Box::pin(self(call, next))
    }
}

/// An endpoint behind layers, the first of which is the outermost.
struct Chain {
    layers: Arc<[Arc<dyn Layer>]>,
    endpoint: Arc<dyn Endpoint>,
}

/// Returns the endpoint behind these layers.
pub(super) fn layered(
    layers: &Arc<[Arc<dyn Layer>]>,
    endpoint: Arc<dyn Endpoint>,
) -> Arc<dyn Endpoint> {
    if layers.is_empty() {
        return endpoint;
    }
    Arc::new(Layered(Arc::new(Chain { layers: layers.clone(), endpoint })))
}

struct Layered(Arc<Chain>);

impl Endpoint for Layered {
    fn call(&self, call: Call) -> BoxFuture<'static, Reply> {
        Next { chain: self.0.clone(), done: 0 }.step(call)
    }
}

/// What comes after a [layer](super::Router::layer): further layers, and the handler.
pub struct Next {
    chain: Arc<Chain>,
    /// How many layers have begun.
    done: usize,
}

impl Next {
    /// Runs it, and returns the result of the handler. For a signal, that is an empty payload, or an
    /// error for the log.
    pub fn run(self, call: Call) -> impl Future<Output = Result<Payload, RequestError>> + Send {
        self.step(call)
    }

    fn step(self, call: Call) -> BoxFuture<'static, Reply> {
        let Self { chain, done } = self;
        match chain.layers.get(done).cloned() {
            Some(layer) => layer.call(call, Self { chain, done: done + 1 }),
            None => chain.endpoint.call(call),
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers = self.chain.layers.len() - self.done;
        f.debug_struct("Next").field("layers", &layers).finish_non_exhaustive()
    }
}
