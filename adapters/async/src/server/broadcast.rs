//! The result of a signal to many connections.

use super::connection::SignalError;

/// The result of a signal to many connections: how many accepted it, and why others did not. A
/// connection that does not accept it does not affect the others.
///
/// Collected from the results of
/// [`Connection::signal_prepared`](super::Connection::signal_prepared), so it works for any choice
/// of connections. Check each result to learn which connections they were:
///
/// ```
/// use wwr_async::PreparedSignal;
/// use wwr_async::server::{Broadcast, Connection, SignalError};
///
/// fn advertise(room: &[Connection], news: &PreparedSignal) -> Broadcast {
///     let tell = |connection: &Connection| {
///         let result = connection.signal_prepared(news);
///         if result == Err(SignalError::Backlogged) {
///             connection.close();
///         }
///         result
///     };
///     room.iter().map(tell).collect()
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Broadcast {
    /// Connections that accepted it.
    pub sent: usize,
    /// Connections that have ended.
    pub disconnected: usize,
    /// Connections whose client reads too slowly: too many bytes already wait for it.
    pub backlogged: usize,
    /// Connections whose client would not read it: it is longer than the advertised message buffer,
    /// or has no payload and the client may speak 1.x. Or nobody would: its name is not allowed, or JSON
    /// cannot express its value.
    pub unreadable: usize,
    /// Connections that are closed because their client reads too slowly
    /// ([`SlowReader::Disconnect`](super::SlowReader::Disconnect)).
    pub too_slow: usize,
    /// Earlier signals that were dropped or replaced for this one: signals, not connections. Not known,
    /// and 0, when collected from results;
    /// [`Connection::dropped_signals`](super::Connection::dropped_signals) always knows.
    pub dropped: usize,
}

impl Broadcast {
    /// Returns how many connections it was meant for.
    pub const fn total(&self) -> usize {
        self.sent + self.disconnected + self.backlogged + self.unreadable + self.too_slow
    }

    /// Counts the result of a connection: how many earlier signals were dropped, or why not this one.
    pub(super) fn count(&mut self, result: Result<usize, SignalError>) {
        let count = match result {
            Ok(dropped) => {
                self.dropped += dropped;
                &mut self.sent
            }
            Err(SignalError::Disconnected) => &mut self.disconnected,
            Err(SignalError::Backlogged) => &mut self.backlogged,
            Err(SignalError::TooSlow) => &mut self.too_slow,
            Err(
                SignalError::Unreadable(_) | SignalError::InvalidName(_) | SignalError::Unwritable,
            ) => &mut self.unreadable,
        };
        *count += 1;
    }
}

impl Extend<Result<(), SignalError>> for Broadcast {
    fn extend<I: IntoIterator<Item = Result<(), SignalError>>>(&mut self, results: I) {
        for result in results {
            self.count(result.map(|()| 0));
        }
    }
}

impl FromIterator<Result<(), SignalError>> for Broadcast {
    fn from_iter<I: IntoIterator<Item = Result<(), SignalError>>>(results: I) -> Self {
        let mut broadcast = Self::default();
        broadcast.extend(results);
        broadcast
    }
}

#[cfg(test)]
mod tests {
    use wwr::wire::{InvalidName, UnreadableSignal};

    use super::*;

    #[test]
    fn results_are_counted_by_kind() {
        let results = [
            Ok(()),
            Err(SignalError::Disconnected),
            Err(SignalError::Backlogged),
            Ok(()),
            Err(SignalError::Unreadable(UnreadableSignal::NeedsPayload)),
            Err(SignalError::InvalidName(InvalidName::EmptyCode)),
            Err(SignalError::TooSlow),
            Ok(()),
        ];
        let broadcast: Broadcast = results.into_iter().collect();
        let expected = Broadcast {
            sent: 3,
            disconnected: 1,
            backlogged: 1,
            unreadable: 2,
            too_slow: 1,
            dropped: 0,
        };
        assert_eq!((broadcast, broadcast.total()), (expected, 8));
        let mut broadcast = Broadcast::default();
        broadcast.count(Ok(2));
        broadcast.count(Ok(3));
        assert_eq!(broadcast, Broadcast { sent: 2, dropped: 5, ..Broadcast::default() });
    }
}
