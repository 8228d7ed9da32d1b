//! The handle of a running server.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wwr::cluster::Audience;
use wwr::session::StoreFailed;
use wwr::{CloseFrame, PreparedSignal, SessionKey};

use super::broadcast::Broadcast;
use super::connection::Connection;
use super::hub::Hub;
use super::stats::ServerStats;

/// A handle of a running server. Cheap to clone.
#[derive(Clone)]
pub struct ServerHandle {
    hub: Arc<Hub>,
    address: Option<SocketAddr>,
}

/// What happens to the connections whose session is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connections {
    /// They stay, without a session.
    Keep,
    /// They are closed as well.
    Close,
    /// They are closed as well, with this close frame, as
    /// [`Connection::close_with`] does. Those on other nodes of a [cluster](super::Builder::cluster) are
    /// closed as with [`Close`](Self::Close).
    CloseWith(CloseFrame),
}

impl ServerHandle {
    pub(super) const fn new(hub: Arc<Hub>, address: Option<SocketAddr>) -> Self {
        Self { hub, address }
    }

    pub(super) const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Returns the address the server listens on. `None` if it has no listener.
    pub const fn local_addr(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Shuts the server down: running handlers may finish and their replies are sent. Meanwhile new
    /// requests get the shutdown reply and new connections 503. When no handler of the server runs
    /// any more, or after `within`, all connections are closed with a WebSocket close frame (1001).
    /// Then [`Server::run`](super::Server::run) returns. See
    /// [`HubConfig::idle_connections`](super::HubConfig::idle_connections) for servers behind a
    /// balancer.
    ///
    /// Another call waits as well, and the earlier deadline counts. The shutdown goes on if the
    /// future is dropped. A handler that awaits this waits for itself, until the deadline: spawn a
    /// task instead.
    pub async fn shut_down(&self, within: Duration) {
        self.hub.shut_down(within).await;
    }

    /// Returns whether the server is shutting down or has shut down.
    pub fn is_shutting_down(&self) -> bool {
        self.hub.is_shutting_down()
    }

    /// Returns all open connections, in no particular order. A connection counts as open until its
    /// [`disconnected`](super::Handler::disconnected) hook has ended.
    pub fn connections(&self) -> Vec<Connection> {
        self.hub.connections()
    }

    /// Returns how many connections are open, as in [`connections`](Self::connections).
    pub fn connection_count(&self) -> usize {
        self.hub.connection_count()
    }

    /// Returns what the server has done since it was made, and what it does now. It visits each
    /// connection, and keeps none of them from working: some milliseconds for 100 000 connections. Numbers
    /// that only grow are never less than in an earlier call. See [`Connection::stats`] for how new they
    /// are.
    pub fn stats(&self) -> ServerStats {
        self.hub.stats()
    }

    /// Returns whether the server is a node of a [cluster](super::Builder::cluster).
    #[cfg(feature = "metrics")]
    pub(super) fn is_node(&self) -> bool {
        self.hub.is_node()
    }

    /// Returns how many sessions have at least one connection.
    pub fn active_sessions(&self) -> usize {
        self.hub.active_sessions()
    }

    /// Returns the connections of a session. Empty if the session is unknown.
    pub fn session_connections(&self, key: &SessionKey) -> Vec<Connection> {
        self.hub.session_connections(key)
    }

    /// Sends a signal to all connections, as [`Connection::signal_prepared`] does, and returns the
    /// result. It may miss connections that open or end meanwhile. In a [cluster](super::Builder::cluster), those of
    /// the other nodes get it as well: [`Broadcast::forwarded`].
    ///
    /// Returns at once: it waits for no client, and does not keep new clients from connecting. To
    /// wait for slow clients instead of leaving them out, await [`Connection::ready`] of each
    /// connection in a task of its own, so that one slow client does not hold up the others. The
    /// call visits each connection. With many thousands, an application that counts milliseconds
    /// calls it from a separate thread.
    ///
    /// ```
    /// use wwr_async::server::RequestError;
    /// use wwr_async::{Content, Payload, PreparedSignal};
    /// use wwr_async::server::{Connection, Handler};
    ///
    /// struct Chat;
    ///
    /// impl Handler for Chat {
    ///     async fn request(&self, from: &Connection, said: Content) -> Result<Payload, RequestError> {
    ///         let said = PreparedSignal::new("said", said.into_payload())
    ///             .map_err(|_| RequestError::failed("NOTHING", "say something"))?;
    ///         let heard = from.server().signal_all(&said);
    ///         Ok(Payload::utf8(format!("{} of {} heard it", heard.sent, heard.total())))
    ///     }
    /// }
    /// ```
    pub fn signal_all(&self, signal: &PreparedSignal) -> Broadcast {
        let mut told = Broadcast {
            forwarded: self.hub.forward(|| Audience::All, signal, None),
            ..Broadcast::default()
        };
        for connection in self.hub.walk() {
            let result = connection.send_prepared(signal, None);
            told.count(connection, result);
        }
        told
    }

    /// Sends a signal to a session: to all its connections, and if the server keeps a
    /// [history](super::Config::history), also to those that are away at the moment, when they come back. Those
    /// of clients that [resume signals](wwr::client::Config::resume_signals) read it from the history,
    /// at their own pace: such a connection counts as one to which it was sent, and no
    /// [policy for slow readers](super::Limits::slow_readers) applies. A client that falls behind the history is told that
    /// something is missing. The others get it as by
    /// [`Connection::signal_prepared`].
    ///
    /// The key is the one that the session has now. Nobody gets a signal to one that it had before.
    ///
    /// In a [cluster](super::Builder::cluster) with a history, the signal is appended to that in the engine, and nobody gets
    /// it before, here as on other nodes. All connections of this node that hold the session count as ones to which it was sent,
    /// unless it is refused at once; what became of it is told by [`Broadcast::forwarded`].
    ///
    /// ```
    /// use wwr_async::{InvalidSignal, PreparedSignal, SessionKey};
    /// use wwr_async::server::ServerHandle;
    ///
    /// fn remind(server: &ServerHandle, of: &SessionKey) -> Result<(), InvalidSignal> {
    ///     let reminder = PreparedSignal::new("reminder", "tea at five")?;
    ///     server.signal_session(of, &reminder);
    ///     Ok(())
    /// }
    /// ```
    pub fn signal_session(&self, key: &SessionKey, signal: &PreparedSignal) -> Broadcast {
        self.hub.signal_session(key, signal)
    }

    /// Closes a session for all its connections and destroys it, even if no client is connected.
    /// Returns how many connections were told. A session that is just getting a new key is destroyed under
    /// that as well before this returns. One that has got a new key before is not known by the old one.
    ///
    /// In a [cluster](super::Builder::cluster), it is closed on all nodes. The number is that of this one.
    ///
    /// # Errors
    ///
    /// [`StoreFailed`] if the store, or the engine of the cluster, could not destroy the session; the log says why.
    /// The connections were told nevertheless.
    pub async fn close_session(
        &self,
        key: SessionKey,
        connections: Connections,
    ) -> Result<usize, StoreFailed> {
        self.hub.close_session(key, connections).await
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("address", &self.address).finish_non_exhaustive()
    }
}
