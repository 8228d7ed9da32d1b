//! Finds out what a client speaks, before the server sends anything.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;

use wwr::Instant;
use wwr::server::Observed;

use super::endpoint::Endpoint;
use crate::clock::{Clock, sleep};
use crate::runtime::Runtime;
use crate::websocket::{Incoming, WebSocket};

/// What is known of a client before it is served.
#[derive(Debug)]
pub(super) struct Detected {
    pub(super) observed: Observed,
    /// Whether the client was presumed to be 1.x because it was silent. It may turn out to be
    /// newer.
    pub(super) presumed: bool,
    /// What came from the client meanwhile. Boxed, because it is empty for most connections.
    pub(super) first: Option<Box<Incoming>>,
}

impl Detected {
    /// Returns the result for a client that the server need not wait for.
    pub(super) const fn at_once(observed: Observed) -> Self {
        Self { observed, presumed: false, first: None }
    }
}

/// Waits for the first message of a client that came at `arrived`, for as long as the endpoint
/// asks.
pub(super) async fn detect<R: Runtime>(
    runtime: &R,
    socket: &mut WebSocket<R>,
    endpoint: &Endpoint,
    clock: &Clock,
    remote: SocketAddr,
    arrived: Instant,
    until: Instant,
) -> Detected {
    let left = until.saturating_since(clock.now());
    let first = async { Some(message(socket).await) };
    let silence = async {
        sleep(runtime, left).await;
        None
    };
    let first = futures_lite::future::or(first, silence).await;
    let now = clock.now();
    let (observed, presumed) = match &first {
        Some(Incoming::Message(frame) | Incoming::Text(frame)) => {
            (endpoint.spoke(now, remote, frame), false)
        }
        // The client is silent, has gone, or breaks the rules.
        Some(_) | None => {
            let observed = endpoint.silent(now, arrived, remote);
            (observed, observed == Observed::Preflight)
        }
    };
    Detected { observed, presumed, first: first.map(Box::new) }
}

/// Returns the next message of a client, or its end.
async fn message<R: Runtime>(socket: &mut WebSocket<R>) -> Incoming {
    poll_fn(|cx| {
        loop {
            let incoming = socket.poll_incoming(cx);
            if !matches!(incoming, Poll::Ready(Incoming::Ping | Incoming::Pong)) {
                return incoming;
            }
        }
    })
    .await
}
