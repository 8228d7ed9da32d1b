//! What happened in the world of a script, for it to look at.

use std::collections::BTreeMap;

use bytes::Bytes;
use wwr::client::{Event as Told, Outcome, RequestId};
use wwr::server::CloseReason;

use crate::event::ClientId;
use crate::ledger::Token;
use crate::network::{SocketId, Way};

/// A WebSocket message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The connection.
    pub socket: SocketId,
    /// The direction.
    pub way: Way,
    /// All of its bytes.
    pub frame: Bytes,
}

/// Everything that scripts may want to know, since the world began or since they took it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Each message, in the order of the sending.
    pub(crate) frames: Vec<Sent>,
    /// What the applications of clients were told.
    pub(crate) told: BTreeMap<ClientId, Vec<Told>>,
    pub(crate) outcomes: BTreeMap<(ClientId, RequestId), Outcome>,
    /// What each request is called in the ledger.
    pub(crate) tokens: BTreeMap<(ClientId, RequestId), Token>,
    /// Why the server closed connections.
    pub(crate) closed: Vec<(SocketId, CloseReason)>,
    /// How many pings the server sent.
    pub(crate) pings: u64,
}
