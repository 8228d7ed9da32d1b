//! Whether a client is connected, for threads that wait for that.

use std::string::String;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wwr::client::{ConnectError, DisconnectReason, Event};

/// Why a client is not connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotConnected {
    /// The first attempt to connect has not ended yet.
    #[error("the first attempt to connect has not ended yet")]
    Pending,
    /// The last attempt to connect failed.
    #[error("the client cannot connect: {0}")]
    Failed(ConnectError),
    /// The server wants the client to connect elsewhere: make a client for that URL.
    #[error("the server wants the client to connect to {location:?} instead (status {status})")]
    Redirected {
        /// The status code.
        status: u16,
        /// The header `Location`.
        location: String,
    },
    /// The connection has ended, and no attempt to connect has ended since.
    #[error("the connection has ended: {}", .0.name())]
    Disconnected(DisconnectReason),
    /// The client has ended.
    #[error("the client has ended")]
    Ended,
}

/// What became of the last attempt to connect.
#[derive(Debug)]
pub(super) struct Connection {
    state: Mutex<Result<(), NotConnected>>,
    changed: Condvar,
}

/// The end that knows. Dropping it ends all waits.
#[derive(Debug)]
pub(super) struct Reporter {
    connection: Arc<Connection>,
    /// Where the server wants the client to go, until the attempt ends.
    redirected: Option<NotConnected>,
}

impl Connection {
    pub(super) fn new() -> (Reporter, Arc<Self>) {
        let state = Mutex::new(Err(NotConnected::Pending));
        let connection = Arc::new(Self { state, changed: Condvar::new() });
        (Reporter { connection: connection.clone(), redirected: None }, connection)
    }

    /// Waits until the client is connected.
    pub(super) fn wait(&self, timeout: Duration) -> Result<(), NotConnected> {
        let is_to_wait = |state: &mut Result<(), NotConnected>| {
            !matches!(state, Ok(()) | Err(NotConnected::Ended))
        };
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, is_to_wait);
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Result<(), NotConnected>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter {
    /// Takes what tells of the connection.
    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Connected => self.set(Ok(())),
            Event::Disconnected { reason, .. } => self.set(Err(NotConnected::Disconnected(reason))),
            Event::ConnectFailed { error, .. } => {
                let redirected = self.redirected.take();
                self.set(Err(redirected.unwrap_or(NotConnected::Failed(error))));
            }
            _ => {}
        }
    }

    /// Notes where the server wants the client to go. The failure of the attempt follows.
    pub(super) fn redirected(&mut self, status: u16, location: String) {
        self.redirected = Some(NotConnected::Redirected { status, location });
    }

    fn set(&self, state: Result<(), NotConnected>) {
        *self.connection.lock() = state;
        self.connection.changed.notify_all();
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        self.set(Err(NotConnected::Ended));
    }
}
