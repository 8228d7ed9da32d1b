//! Questions of the application to clients.

use std::time::Duration;

use futures_channel::oneshot;
use wwr::server::{Answered, Misuse, QuestionError};
use wwr::wire::{ErrorReply, InvalidName};
use wwr::{Dialect, Name, Payload};

use super::connection::{Connection, Input};
use crate::inbox::Refused;

/// Numbers the questions of a connection, so that they can be cancelled.
pub(super) type AskId = u64;

/// Who waits for an answer.
pub(super) type Asker = oneshot::Sender<Answered>;

/// What a waiting question counts in addition to its own bytes.
const QUESTION: usize = 64;

/// A question on its way to the task.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) id: AskId,
    pub(super) name: Name,
    pub(super) payload: Payload,
    pub(super) timeout: Option<Duration>,
    pub(super) asker: Asker,
}

impl Asked {
    /// Returns about how many bytes it takes.
    pub(super) fn len(&self) -> usize {
        self.name.len() + self.payload.len()
    }
}

/// Why a question to a client has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// This client cannot be asked: it does not speak `wwr.1`, or it has stated that it answers no
    /// questions. Nothing was sent.
    #[error(
        "a client that speaks {dialect} cannot be asked; it takes wwr.1, and in the client a handler for \
             questions and a max_open_questions that is not 0"
    )]
    Unsupported {
        /// What the client speaks, as far as that is known.
        dialect: Dialect,
    },
    /// The question cannot be asked: too many are open, it is empty, or it is longer than the client
    /// reads. Nothing was sent.
    #[error(transparent)]
    Misuse(Misuse),
    /// Too many bytes already wait for the client. Nothing was sent. [`Connection::ready`] waits for
    /// room.
    #[error("too many bytes wait for this client already")]
    Backlogged,
    /// The name cannot be sent.
    #[error("invalid name: {0}")]
    InvalidName(#[from] InvalidName),
    /// The client's handler has answered with an error.
    #[error("the client answered {}: {}", .0.code(), .0.message())]
    Failed(ErrorReply),
    /// The client's handler failed without details: it panicked, for example.
    #[error("the client failed to answer")]
    Internal,
    /// The client has no handler for questions.
    #[error("the client has no handler for questions")]
    NoHandler,
    /// The client works on as many questions as it can.
    #[error("the client is busy with other questions")]
    Busy,
    /// The client's answer is longer than the server reads.
    #[error("the answer is longer than the server reads; raise its max_message_size")]
    AnswerTooLarge,
    /// No answer came in time.
    #[error("no answer came in time")]
    TimedOut,
    /// The connection has ended. The client may have received the question.
    #[error("the connection has ended before the answer")]
    Disconnected,
}

impl From<Misuse> for AskError {
    fn from(misuse: Misuse) -> Self {
        match misuse {
            Misuse::NoQuestions { dialect } => Self::Unsupported { dialect },
            Misuse::Closed => Self::Disconnected,
            other => Self::Misuse(other),
        }
    }
}

impl From<QuestionError> for AskError {
    fn from(error: QuestionError) -> Self {
        match error {
            QuestionError::Failed(error) => Self::Failed(error),
            QuestionError::NoHandler => Self::NoHandler,
            QuestionError::Busy => Self::Busy,
            QuestionError::AnswerTooLarge => Self::AnswerTooLarge,
            QuestionError::TimedOut => Self::TimedOut,
            QuestionError::NotAsked(misuse) => misuse.into(),
            QuestionError::ConnectionLost => Self::Disconnected,
            // Only the drop of the future cancels, and then there is nobody to tell. The core may have
            // other reasons later.
            _ => Self::Internal,
        }
    }
}

impl From<Refused> for AskError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Closed => Self::Disconnected,
            Refused::Full | Refused::Overflowed => Self::Backlogged,
        }
    }
}

impl Connection {
    /// Asks the client something, and waits for its answer: at most for the
    /// [`question_timeout`](super::ConnectionConfig::question_timeout). Each question ends in exactly
    /// one result. Dropping the future cancels the question, which the client is told.
    ///
    /// Clients of this project can be asked (protocol §10.4); WebWire itself has no such thing. The
    /// client answers with the handler of [`Builder::answer`](crate::client::Builder::answer).
    ///
    /// A handler may ask: the answer comes in even while the next message waits for the handler. But if
    /// the client has sent as many requests as
    /// [may wait](super::ConnectionConfig::max_queued_messages), its socket is not read, and no answer
    /// comes. The [`connected`](super::Handler::connected) hook may ask as well.
    ///
    /// ```
    /// use wwr_async::server::{AskError, Connection};
    ///
    /// async fn is_sure(client: &Connection) -> Result<bool, AskError> {
    ///     match client.ask("confirm", "Delete everything?").await {
    ///         Ok(answer) => Ok(answer.as_bytes() == b"yes"),
    ///         // An older client, or one of another kind.
    ///         Err(AskError::Unsupported { .. } | AskError::NoHandler) => Ok(false),
    ///         Err(error) => Err(error),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`AskError`], which is [`Unsupported`](AskError::Unsupported) for a client that cannot be asked.
    pub async fn ask<N>(&self, name: N, payload: impl Into<Payload>) -> Result<Payload, AskError>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        let name = name.try_into().map_err(InvalidName::from)?;
        self.ask_for(None, name, payload.into()).await
    }

    /// Like [`ask`](Self::ask), with a time limit of its own.
    ///
    /// # Errors
    ///
    /// As for [`ask`](Self::ask).
    pub async fn ask_within<N>(
        &self,
        timeout: Duration,
        name: N,
        payload: impl Into<Payload>,
    ) -> Result<Payload, AskError>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        let name = name.try_into().map_err(InvalidName::from)?;
        self.ask_for(Some(timeout), name, payload.into()).await
    }

    async fn ask_for(
        &self,
        timeout: Option<Duration>,
        name: Name,
        payload: Payload,
    ) -> Result<Payload, AskError> {
        let (asker, answered) = oneshot::channel();
        let id = self.next_ask();
        let asked = Asked { id, name, payload, timeout, asker };
        let bytes = asked.len() + QUESTION;
        self.push(Input::Ask(Box::new(asked)), bytes)?;
        let mut cancellation = Cancellation { connection: self, id: Some(id) };
        let answered = answered.await;
        cancellation.id = None;
        // Without an outcome, the task has ended.
        Ok(answered.unwrap_or(Err(QuestionError::ConnectionLost))?)
    }
}

/// Cancels a question if it is dropped before the outcome is there.
struct Cancellation<'a> {
    connection: &'a Connection,
    id: Option<AskId>,
}

impl Drop for Cancellation<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // An error means that the connection has ended, and the question with it.
            let _ = self.connection.push(Input::CancelAsk(id), 0);
        }
    }
}
