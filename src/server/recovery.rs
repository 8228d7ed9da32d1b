//! What a connection and the hub say to each other about histories of signals and outcomes of requests.

use alloc::boxed::Box;

use bytes::Bytes;

use super::error::RequestError;
use super::in_flight::RequestId;
use crate::session::{
    Batch, Begun, Fingerprint, HistoryConfig, Instance, OutcomesConfig, Position,
};
use crate::valid::{InvalidConfig, Valid};
use crate::wire::{Encoding, KeptOutcomes, Payload};

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

/// The version of outcomes as nodes share them.
const VERSION: u8 = 1;

/// How an outcome ends that is no payload: the byte of each.
const FAILED: u8 = 3;
const OTHERS: [(u8, RequestError); 5] = [
    (4, RequestError::Internal),
    (5, RequestError::SessionNotFound),
    (6, RequestError::MaxSessionConnections),
    (7, RequestError::SessionsDisabled),
    (8, RequestError::Protocol),
];

/// Returns an outcome as nodes share it.
///
/// | bytes | what |
/// |---|---|
/// | 1 | the version: 1 |
/// | 1 | 0 a binary payload, 1 UTF-8, 2 UTF-16, 3 an error of the application, 4 and more an error of the server |
/// | the rest | the payload; or how long the code is, in a byte, the code, and the message |
pub(super) fn encode(outcome: &Outcome) -> Bytes {
    let (kind, parts): (u8, [&[u8]; 3]) = match outcome {
        Ok(payload) => {
            let kind = match payload.encoding() {
                Encoding::Binary => 0,
                Encoding::Utf8 => 1,
                Encoding::Utf16 => 2,
            };
            (kind, [payload.as_bytes(), &[], &[]])
        }
        Err(RequestError::Failed { code, message }) => {
            let length = u8::try_from(code.as_bytes().len()).unwrap_or(u8::MAX);
            let code = [&[length], code.as_bytes()].concat();
            return [&[VERSION, FAILED], &code[..], message.as_bytes()].concat().into();
        }
        Err(error) => {
            let known = OTHERS.iter().find(|(_, other)| other == error);
            (known.map_or(4, |(kind, _)| *kind), [&[], &[], &[]])
        }
    };
    [&[VERSION, kind], parts[0], parts[1], parts[2]].concat().into()
}

/// Reads an outcome of another node. `None` if it cannot be read: it is of another release.
pub(super) fn decode(outcome: &Bytes) -> Option<Outcome> {
    let ([VERSION, kind], rest) = outcome.split_first_chunk()? else { return None };
    let encoding = match *kind {
        0 => Encoding::Binary,
        1 => Encoding::Utf8,
        2 => Encoding::Utf16,
        FAILED => {
            let (length, rest) = rest.split_first()?;
            let (code, message) = rest.split_at_checked(usize::from(*length))?;
            let message = core::str::from_utf8(message).ok()?;
            return Some(Err(RequestError::failed(core::str::from_utf8(code).ok()?, message)));
        }
        kind => {
            let known = OTHERS.iter().find(|(other, _)| *other == kind);
            return known.map(|(_, error)| Err(error.clone()));
        }
    };
    Payload::new(encoding, outcome.slice(2..)).ok().map(Ok)
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
