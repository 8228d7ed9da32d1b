//! The result of a signal to many connections.

use super::connection::{Connection, SignalError};
use super::forwarded::Forwarded;

/// The result of a signal to many connections: how many accepted it, which did not, and why. A
/// connection that does not accept it does not affect the others. In a [cluster](super::Builder::cluster), the numbers
/// are those of this node.
///
/// ```
/// use wwr_async::PreparedSignal;
/// use wwr_async::server::{ServerHandle, SignalError};
///
/// fn advertise(server: &ServerHandle, room: &str, news: &PreparedSignal) {
///     for refused in server.group(room).signal_prepared(news).refused {
///         if refused.error == SignalError::Backlogged {
///             refused.connection.close();
///         }
///     }
/// }
/// ```
///
/// It can be collected from the results of [`Connection::signal_prepared`], so it works for any choice of
/// connections:
///
/// ```
/// use wwr_async::PreparedSignal;
/// use wwr_async::server::{Broadcast, Connection};
///
/// fn advertise(chosen: &[Connection], news: &PreparedSignal) -> Broadcast {
///     chosen.iter().map(|to| (to.clone(), to.signal_prepared(news))).collect()
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broadcast {
    /// How many connections accepted it.
    pub sent: usize,
    /// The connections that did not, in the order in which they were visited. Those that have ended are
    /// among them.
    pub refused: Vec<Refused>,
    /// How many earlier signals were dropped or replaced for this one: signals, not connections. Those that
    /// waited for a client which is [disconnected](wwr::SlowReader::Disconnect) for it are not among them. Not
    /// known, and 0, when collected from results; [`Connection::dropped_signals`] always knows.
    pub dropped: usize,
    /// What becomes of it on the other nodes of a [cluster](super::Builder::cluster). `None` without one.
    pub forwarded: Option<Forwarded>,
}

/// A connection that did not accept a signal to many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The connection.
    pub connection: Connection,
    /// Why it did not.
    pub error: SignalError,
}

impl Broadcast {
    /// Returns how many connections it was meant for.
    pub const fn total(&self) -> usize {
        self.sent + self.refused.len()
    }

    /// Counts the result of a connection: how many earlier signals were dropped, or why not this one.
    pub(super) fn count(&mut self, connection: Connection, result: Result<usize, SignalError>) {
        match result {
            Ok(dropped) => {
                self.sent += 1;
                self.dropped += dropped;
            }
            Err(error) => self.refused.push(Refused { connection, error }),
        }
    }
}

impl Extend<(Connection, Result<(), SignalError>)> for Broadcast {
    fn extend<I>(&mut self, results: I)
    where
        I: IntoIterator<Item = (Connection, Result<(), SignalError>)>,
    {
        for (connection, result) in results {
            self.count(connection, result.map(|()| 0));
        }
    }
}

impl FromIterator<(Connection, Result<(), SignalError>)> for Broadcast {
    fn from_iter<I>(results: I) -> Self
    where
        I: IntoIterator<Item = (Connection, Result<(), SignalError>)>,
    {
        let mut broadcast = Self::default();
        broadcast.extend(results);
        broadcast
    }
}
