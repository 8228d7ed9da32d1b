//! How a connection ends.

use std::time::Duration;

use futures_util::StreamExt;
use smol::future::{or, zip};
use wwr::server::CloseReason;

use super::{Running, Task};
use crate::clock::sleep;
use crate::server::handler::Handler;
use crate::server::hub::Stage;

/// How long a connection that ends waits for others.
#[derive(Clone, Copy, Debug)]
pub(in crate::server) struct Patience {
    /// For the client to answer the close frame.
    pub(in crate::server) close: Duration,
    /// For handlers that run on after the client has gone.
    pub(in crate::server) drain: Duration,
}

/// How a connection ends.
pub(super) enum End {
    /// By the server, with a close frame.
    Closed(CloseReason),
    /// By the client, which may still read.
    Left,
    /// By the server, because the client does not speak WebSocket: code and reason for it.
    Violated(u16, &'static str),
    /// The socket is of no use any more.
    Broken,
    /// The server has no patience left: neither for the client nor for handlers.
    Aborted,
}

impl<H: Handler> Task<'_, H> {
    /// Ends the connection as its client has to learn of it, and lets handlers run on whose client
    /// has gone.
    pub(super) async fn say_goodbye(self: Box<Self>, end: End) {
        let id = self.connection.id();
        let Self { hub, socket, running, patience, reading, .. } = *self;
        let enough = or(sleep(patience.drain), hub.reaches(Stage::Overdue));
        let handlers = finish(running, enough);
        match end {
            End::Closed(reason) => {
                tracing::debug!(connection = id, ?reason, "closed");
                let closed = socket.close(reason.code(), reason.text(), patience.close);
                if reading {
                    // They are done, or have had the time that the machine gives them.
                    drop(handlers);
                    closed.await;
                } else {
                    // What runs is the hook for new connections, of which the machine knows nothing.
                    zip(closed, handlers).await;
                }
            }
            End::Left => {
                tracing::debug!(connection = id, "left");
                zip(socket.finish(patience.close), handlers).await;
            }
            End::Violated(code, why) => {
                tracing::debug!(connection = id, code, why, "closed");
                zip(socket.close(code, why, patience.close), handlers).await;
            }
            End::Broken => {
                tracing::debug!(connection = id, "gone");
                drop(socket);
                handlers.await;
            }
            End::Aborted => tracing::warn!(connection = id, "given up"),
        }
    }
}

/// Lets handlers run on whose client has gone.
async fn finish(mut handlers: Running<'_>, patience: impl Future<Output = ()>) {
    if handlers.is_empty() {
        return;
    }
    let all = async { while handlers.next().await.is_some() {} };
    let patience = async {
        patience.await;
        tracing::warn!("handlers of an ended connection take too long and are dropped");
    };
    or(all, patience).await;
}
