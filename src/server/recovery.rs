//! What a connection and the hub say to each other about histories of signals and outcomes of requests.

use alloc::boxed::Box;

use bytes::Bytes;

use super::error::RequestError;
use super::in_flight::RequestId;
use crate::session::{
    Batch, Begun, Fingerprint, HistoryConfig, Instance, OutcomesConfig, Position,
};
use crate::valid::{InvalidConfig, Valid};
use crate::wire::{KeptOutcomes, Payload};

/// How a request ended: with a reply, or with an error of the handler.
pub type Outcome = Result<Payload, RequestError>;

/// What a server keeps so that clients of `wwr.1` lose nothing by a lost connection (protocol §10.5,
/// §10.6). By default it keeps nothing.
///
/// ```
/// use wwr::server::RecoveryConfig;
/// use wwr::session::HistoryConfig;
///
/// let mut config = RecoveryConfig::default();
/// config.history = Some(HistoryConfig::default());
/// assert!(config.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecoveryConfig {
    /// How much of the signals to each session is kept for clients that come back. Default: nothing.
    pub history: Option<HistoryConfig>,
    /// Which outcomes of idempotent requests are kept. Default: none, and clients repeat no request.
    pub outcomes: Option<OutcomesConfig>,
}

impl RecoveryConfig {
    /// Checks the settings, as a [`Hub`](super::Hub) wants them.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names the setting that is wrong, and what it may be.
    pub fn validate(self) -> Result<Valid<Self>, InvalidConfig> {
        self.history.as_ref().map_or(Ok(()), HistoryConfig::check)?;
        self.outcomes.as_ref().map_or(Ok(()), OutcomesConfig::check)?;
        Ok(Valid::new(self))
    }
}

impl Default for Valid<RecoveryConfig> {
    /// Nothing is kept.
    fn default() -> Self {
        Self::new(RecoveryConfig::default())
    }
}

/// What a connection asks of the hub about histories and outcomes: the content of
/// [`Action::Recover`](super::Action::Recover).
#[derive(Clone, Debug, PartialEq)]
pub enum RecoveryCommand {
    /// From now on the connection reads the signals to its session from the history. It gets
    /// [`RecoveryNews::Mark`] right behind the news that it holds a session.
    Follow,
    /// Read what follows a position in the history of the session. Ends with
    /// [`RecoveryNews::Batch`], unless the connection does not hold a session any more.
    Read {
        /// For the answer.
        number: u32,
        /// The position.
        after: Position,
    },
    /// The client has said what it calls itself. Ends with [`RecoveryNews::Kept`], if outcomes are kept.
    Attach(Instance),
    /// Begin an idempotent request, unless it was begun before. Ends with [`RecoveryNews::Begun`].
    Begin {
        /// For the answer.
        request: RequestId,
        /// The number of the request, among those of the client.
        token: u64,
        /// What it asks.
        content: Fingerprint,
    },
    /// An idempotent request has ended that this connection has begun.
    Finish {
        /// The number of the request.
        token: u64,
        /// How.
        outcome: Box<Outcome>,
    },
    /// This connection does not want to know any more whether to execute a request, and has not executed it.
    Undo {
        /// The request of [`Begin`](Self::Begin).
        request: RequestId,
        /// Its number.
        token: u64,
    },
}

/// News of the hub about histories and outcomes, for
/// [`Connection::handle_recovery`](super::Connection::handle_recovery).
#[derive(Clone, Debug, PartialEq)]
pub enum RecoveryNews {
    /// The connection has come to hold a session, whose history ends here.
    Mark(Position),
    /// The history of the session has grown. Not said again before the connection reads from it.
    Signalled,
    /// What follows the position that was asked for.
    Batch {
        /// The number of [`RecoveryCommand::Read`].
        number: u32,
        /// The signals, each as the message that it is sent as.
        batch: Box<Batch<Bytes>>,
    },
    /// The outcomes that are kept for the client.
    Kept(KeptOutcomes),
    /// Whether to execute a request, or how it has ended. Never [`Begun::Running`]: what runs is waited for.
    Begun {
        /// The request of [`RecoveryCommand::Begin`].
        request: RequestId,
        /// What to do with it.
        begun: Begun<Box<Outcome>>,
    },
}

/// Returns a copy of an outcome that keeps no other memory alive, and its length in bytes.
pub(super) fn compact(outcome: &Outcome) -> (Outcome, usize) {
    match outcome {
        Ok(payload) => {
            let bytes = Bytes::copy_from_slice(payload.as_bytes());
            (Ok(Payload::checked(payload.encoding(), bytes)), payload.len())
        }
        Err(error) => {
            let length = match error {
                RequestError::Failed { code, message } => code.as_bytes().len() + message.len(),
                _ => 0,
            };
            (Err(error.clone()), length)
        }
    }
}
