//! The server of a script.

use std::time::Duration;

use wwr::client::RequestId;
use wwr::server::{CloseReason, Protocol};
use wwr::{Dialect, SessionKey};

use super::Script;
use crate::event::ClientId;
use crate::network::SocketId;
use crate::server::{Server, State};

/// What operators do, and fate.
impl Script {
    /// Shuts down gracefully. The server then answers, but admits no client, until it is
    /// [started](Self::start) again.
    #[track_caller]
    pub fn shut_down(&mut self, within: Duration) {
        self.does(|world| world.servers[0].shut_down(within, &mut world.stage));
    }

    /// Stops without a word. What the store has not done by now, it never does.
    #[track_caller]
    pub fn crash(&mut self) {
        self.does(|world| world.servers[0].crash(&mut world.stage));
    }

    /// Starts the server; if it shuts down, that is over at once.
    #[track_caller]
    pub fn start(&mut self) {
        self.does(|world| {
            if world.servers[0].state == State::Draining {
                world.servers[0].crash(&mut world.stage);
            }
            world.servers[0].start(None);
        });
    }

    /// Stops, and an HTTP server takes its place that speaks protocol version 9.9.
    #[track_caller]
    pub fn give_way(&mut self) {
        self.does(|world| world.servers[0].give_way(&mut world.stage));
    }

    /// Stops, and one of another version takes its place, over the same store.
    #[track_caller]
    pub fn replace(&mut self, protocol: Protocol) {
        self.does(|world| {
            world.servers[0].crash(&mut world.stage);
            world.servers[0].start(Some(protocol));
        });
    }

    /// Closes a session for all its connections, and disconnects them or not. Returns how many were
    /// told.
    #[track_caller]
    pub fn close_everywhere(&mut self, key: &SessionKey, disconnect: bool) -> usize {
        self.does(|world| world.servers[0].close_key(key, disconnect, &mut world.stage))
    }

    /// How long the store takes for each job from now on.
    pub fn store_takes(&mut self, duration: Duration) {
        self.world.stage.store.habits.slowness = duration / 2;
    }

    /// The store fails each time from now on, or does not any more.
    pub fn store_fails(&mut self, fails: bool) {
        self.world.stage.store.habits.failures = if fails { 100 } else { 0 };
    }
}

/// What is there.
impl Script {
    fn server(&self) -> &Server {
        &self.world.servers[0]
    }

    /// How many connections the server has.
    pub fn connections(&self) -> usize {
        self.server().connections.len()
    }

    /// What the peer on a socket speaks, as far as the server knows; `None` if it serves no such socket.
    pub fn dialect(&self, socket: SocketId) -> Option<Dialect> {
        self.server().connections.get(&socket).map(|served| served.machine.dialect())
    }

    /// The longest message that the peer on a socket reads, as far as the server knows, in bytes.
    pub fn peer_reads(&self, socket: SocketId) -> Option<usize> {
        self.server().connections.get(&socket).map(|served| served.machine.peer_reads())
    }

    /// Whether messages wait in the sockets of the server, as a connection has enough to do.
    pub fn has_unread(&self) -> bool {
        self.server().connections.values().any(|served| !served.unread.is_empty())
    }

    /// Why the server has closed sockets, in order.
    pub fn closed(&self) -> &[(SocketId, CloseReason)] {
        self.world.stage.record.as_ref().map_or(&[], |record| &record.closed)
    }

    /// How many pings the server has sent.
    pub fn pings(&self) -> u64 {
        self.world.stage.record.as_ref().map_or(0, |record| record.pings)
    }

    /// The key of each session that was made, in order.
    pub fn keys(&self) -> &[SessionKey] {
        &self.world.stage.ledger.keys
    }

    /// How many sessions have connections.
    pub fn active_sessions(&self) -> usize {
        self.server().active_sessions()
    }

    /// The sockets of the connections of a session, as the hub knows them.
    pub fn holders(&self, key: &SessionKey) -> Vec<SocketId> {
        self.server().sockets_of(key)
    }

    /// Whether the store has a session.
    pub fn store_keeps(&self, key: &SessionKey) -> bool {
        self.world.stage.store.keeps(key)
    }

    /// Whether a request of a client has reached its handler.
    pub fn has_reached(&self, client: ClientId, id: RequestId) -> bool {
        self.entry(client, id).is_some_and(|entry| entry.reached)
    }

    /// Whether the handler of a request has replied.
    pub fn has_replied(&self, client: ClientId, id: RequestId) -> bool {
        self.entry(client, id).is_some_and(|entry| entry.reply.is_some())
    }

    fn entry(&self, client: ClientId, id: RequestId) -> Option<&crate::ledger::Entry> {
        let token = self.world.stage.record.as_ref()?.tokens.get(&(client, id))?;
        self.world.stage.ledger.requests.get(*token)
    }
}
