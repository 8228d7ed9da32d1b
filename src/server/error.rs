//! Errors of the server side: what a handler answers, and how the caller misused a connection.

use alloc::borrow::Cow;
use alloc::string::String;

use super::GroupError;
use crate::dialect::Dialect;
use crate::format::{FormatError, FormatErrorKind};
use crate::session::TypedInfoError;
#[cfg(doc)]
use crate::session::{Session, SessionInfo};
use crate::wire::{AnswerRefusal, ErrorCode, ErrorReply, InvalidSignal, UnreadableSignal};

/// Why a request failed, as its handler answers it (protocol §5.4).
///
/// ```
/// use wwr::server::RequestError;
///
/// let refused = RequestError::failed("NO_SESSION", "log in first");
/// assert_eq!(refused.to_string(), "NO_SESSION: log in first");
/// // A code the protocol cannot carry becomes an internal error.
/// assert_eq!(RequestError::failed("naïve", ""), RequestError::Internal);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// An error of the application: a code for programs, a message for people.
    #[error("{code}: {message}")]
    Failed {
        /// What programs compare.
        code: ErrorCode,
        /// What people read; may be empty.
        message: Cow<'static, str>,
    },
    /// Something went wrong that the client does not need to know.
    #[error("internal error")]
    Internal,
    /// There is no such session.
    #[error("session not found")]
    SessionNotFound,
    /// The session has all the connections it may have.
    #[error("the session has all the connections it may have")]
    MaxSessionConnections,
    /// The server has no sessions.
    #[error("sessions are disabled")]
    SessionsDisabled,
    /// The request makes no sense. Peers other than 1.x get an internal error.
    #[error("protocol error")]
    Protocol,
}

impl RequestError {
    /// Creates an error with a code and a message, or an internal error if the code is not 1 to 255
    /// bytes of printable ASCII. Both are copied, unless they are a [`ErrorCode`] and a `String`; to copy
    /// nothing of literals, write the variant [`Failed`](Self::Failed) with
    /// [`ErrorCode::from_static`] and `Cow::Borrowed`.
    pub fn failed(code: impl TryInto<ErrorCode>, message: impl Into<String>) -> Self {
        match code.try_into() {
            Ok(code) => Self::Failed { code, message: Cow::Owned(message.into()) },
            Err(_) => Self::Internal,
        }
    }
}

/// Why a question to the client has no answer (protocol §10.4).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuestionError {
    /// The client's handler has answered with an error.
    #[error("the client answered {}: {}", .0.code(), .0.message())]
    Failed(ErrorReply),
    /// The client's handler failed, without details.
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
    /// The application [cancelled](super::Connection::cancel_question) it.
    #[error("the question was cancelled")]
    Cancelled,
    /// The connection has ended. The client may have received the question.
    #[error("the connection has ended before the answer")]
    ConnectionLost,
    /// The question waited for what the client states first, and then could not be asked. Nothing
    /// was sent.
    #[error(transparent)]
    NotAsked(Misuse),
}

impl From<AnswerRefusal> for QuestionError {
    fn from(refusal: AnswerRefusal) -> Self {
        match refusal {
            AnswerRefusal::Failed => Self::Internal,
            AnswerRefusal::NoHandler => Self::NoHandler,
            AnswerRefusal::Busy => Self::Busy,
            AnswerRefusal::TooLarge => Self::AnswerTooLarge,
        }
    }
}

/// A call that does not fit the state of the connection. Nothing was changed or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// The connection has ended: its socket is closed, or its last action was
    /// [`Close`](super::Action::Close).
    #[error("the connection is closed")]
    Closed,
    /// The request or signal was answered before, or never existed.
    #[error("no such handler is running: it was answered before")]
    UnknownHandler,
    /// No client, or not this one, reads such a signal.
    #[error(transparent)]
    UnreadableSignal(#[from] UnreadableSignal),
    /// This client cannot be asked: it does not speak `wwr.1`, or it has stated that it answers no
    /// questions.
    #[error(
        "a client that speaks {dialect} cannot be asked; it takes wwr.1, and in the client a handler for \
             questions and a max_open_questions that is not 0"
    )]
    NoQuestions {
        /// What the client speaks, as far as that is known.
        dialect: Dialect,
    },
    /// A question with neither name nor payload, which no client reads.
    #[error("a question needs a name or a payload")]
    EmptyQuestion,
    /// The maximum number of questions have no outcome yet.
    #[error(
        "{most} questions are open, more are not allowed; raise max_open_questions of both sides"
    )]
    TooManyQuestions {
        /// The most that may be open: what the server's settings and the client's allow.
        most: u16,
    },
    /// The question is longer than the client reads.
    #[error("the question has {length} bytes, the client reads at most {buffer}")]
    QuestionTooLarge {
        /// The length of its message in bytes.
        length: usize,
        /// The most that the client reads, in bytes. 8192 until it has stated more (protocol §10.2).
        buffer: usize,
    },
    /// The server was configured without sessions.
    #[error("sessions are disabled")]
    SessionsDisabled,
    /// The key does not have the format that [`Sessions::Enabled`](super::Sessions::Enabled) names:
    /// no client could ever restore the session.
    #[error("the session key does not have the configured format")]
    InvalidKey,
    /// The public part of the session is too large for clients, or for this one, to accept.
    #[error("the session has {length} bytes of JSON, of which the client reads {most}")]
    SessionTooLarge {
        /// The length of its JSON in bytes.
        length: usize,
        /// The longest JSON that the client reads: [`Session::MAX_JSON`], or less if the peer has a
        /// message buffer.
        most: usize,
    },
    /// The session, its private part included, is larger than what is stored.
    #[error("the session has {length} bytes of JSON to be stored, which may be {most}")]
    StoredTooLarge {
        /// The length of its stored form in bytes.
        length: usize,
        /// The longest form that is stored: [`Session::MAX_STORED`].
        most: usize,
    },
    /// A field of the session is nested more deeply than clients and stores read.
    #[error("a field of the session is nested more than {most} levels deep")]
    SessionTooDeep {
        /// The most levels allowed: [`SessionInfo::MAX_DEPTH`].
        most: usize,
    },
    /// The connection has a session already; close it first.
    #[error("the connection has a session already")]
    SessionExists,
    /// The connection has no session that could be changed.
    #[error("the connection has no session")]
    NoSession,
    /// A session of the connection is being created, restored or closed, or eight changes of its info and key
    /// are under way; try again afterwards.
    #[error("the connection's session is being created, restored, closed or changed")]
    SessionBusy,
}

impl From<TypedInfoError> for RequestError {
    /// Lets handlers use `?`. The client learns nothing about the types of the application.
    fn from(_: TypedInfoError) -> Self {
        Self::Internal
    }
}

impl From<Misuse> for RequestError {
    fn from(misuse: Misuse) -> Self {
        match misuse {
            Misuse::SessionsDisabled => Self::SessionsDisabled,
            Misuse::Closed
            | Misuse::UnknownHandler
            | Misuse::UnreadableSignal(_)
            | Misuse::NoQuestions { .. }
            | Misuse::EmptyQuestion
            | Misuse::TooManyQuestions { .. }
            | Misuse::QuestionTooLarge { .. }
            | Misuse::InvalidKey
            | Misuse::SessionTooLarge { .. }
            | Misuse::StoredTooLarge { .. }
            | Misuse::SessionTooDeep { .. }
            | Misuse::SessionExists
            | Misuse::NoSession
            | Misuse::SessionBusy => Self::Internal,
        }
    }
}

impl From<FormatError> for RequestError {
    /// Lets handlers use `?`. Clients learn that their payload cannot be read, by the code `BAD_PAYLOAD`
    /// with a fixed message, and not why. What cannot be written is only an internal error for them.
    fn from(error: FormatError) -> Self {
        match (error.kind(), ErrorCode::from_static("BAD_PAYLOAD")) {
            (FormatErrorKind::Unreadable, Ok(code)) => {
                Self::Failed { code, message: Cow::Borrowed("the payload cannot be read") }
            }
            (FormatErrorKind::Unreadable | FormatErrorKind::Unwritable, _) => Self::Internal,
        }
    }
}

impl From<InvalidSignal> for RequestError {
    /// Lets handlers use `?`. It is only an internal error for clients.
    fn from(_: InvalidSignal) -> Self {
        Self::Internal
    }
}

impl From<GroupError> for RequestError {
    /// Lets handlers use `?`. A client that names the groups learns by the code `BAD_GROUP` or
    /// `TOO_MANY_GROUPS` what is wrong, and by `NO_SESSION` or `SESSION_CHANGED` that the session has ended.
    fn from(error: GroupError) -> Self {
        let (code, message) = match error {
            GroupError::UnknownConnection => return Self::Internal,
            GroupError::TooManyGroups { .. } => ("TOO_MANY_GROUPS", "leave another group first"),
            GroupError::NoSession => ("NO_SESSION", "log in first"),
            GroupError::OtherSession => ("SESSION_CHANGED", "this was for another session"),
            GroupError::InvalidName { .. } => ("BAD_GROUP", "a name has 1 to 255 bytes"),
        };
        match ErrorCode::from_static(code) {
            Ok(code) => Self::Failed { code, message: Cow::Borrowed(message) },
            Err(_) => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::wire::Payload;

    use super::*;

    #[test]
    fn clients_do_not_learn_what_is_wrong_with_their_payload() {
        let secret = Payload::utf8("\"secret\"").read_json::<u8>().unwrap_err();
        assert!(alloc::format!("{secret}").contains("secret"));
        let told = RequestError::from(secret);
        assert_eq!(told, RequestError::failed("BAD_PAYLOAD", "the payload cannot be read"));
        let unwritable = FormatError::unwritable("JSON", &"secret");
        assert_eq!(RequestError::from(unwritable), RequestError::Internal);
    }

    #[test]
    fn clients_learn_what_is_wrong_with_the_groups_that_they_name() {
        let told = |error| RequestError::from(error);
        let too_many = told(GroupError::TooManyGroups { max: 3 });
        assert_eq!(too_many, RequestError::failed("TOO_MANY_GROUPS", "leave another group first"));
        let bad = told(GroupError::InvalidName { length: 0 });
        assert_eq!(bad, RequestError::failed("BAD_GROUP", "a name has 1 to 255 bytes"));
        let changed = told(GroupError::OtherSession);
        assert_eq!(
            changed,
            RequestError::failed("SESSION_CHANGED", "this was for another session")
        );
        assert_eq!(told(GroupError::UnknownConnection), RequestError::Internal);
    }
}
