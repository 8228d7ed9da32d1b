//! Why an engine failed.

use core::error::Error;

/// Why an engine could not carry out a request.
///
/// Its text says what failed, on what, and what to do about it; [`source`](Error::source) is the cause. Neither may
/// contain a session key, since errors end up in logs: see [`ShortKey`](crate::ShortKey).
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct EngineError {
    kind: EngineErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kind of an [`EngineError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineErrorKind {
    /// There is no connection to the engine. Nothing was sent.
    Unreachable,
    /// The engine did not answer in time, or the connection broke.
    Unanswered,
    /// The engine refused, and changed nothing.
    Refused,
    /// What the engine has stored cannot be understood, for example because it is of a newer release. It is left as
    /// it is.
    Broken,
    /// The request or a setting is wrong. Nothing was sent.
    Invalid,
    /// The engine has no memory for what the request stores. It changed nothing, and does what needs no more memory.
    Full,
}

impl EngineError {
    /// Creates an error without a cause. `message` says what failed, on what, and what to do.
    pub fn new(kind: EngineErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Returns the same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of failure.
    pub const fn kind(&self) -> EngineErrorKind {
        self.kind
    }

    /// Returns whether the engine may have carried out the request, or may yet do so. A repetition with the same
    /// number tells.
    pub const fn may_have_happened(&self) -> bool {
        match self.kind {
            EngineErrorKind::Unanswered => true,
            EngineErrorKind::Unreachable
            | EngineErrorKind::Refused
            | EngineErrorKind::Broken
            | EngineErrorKind::Full
            | EngineErrorKind::Invalid => false,
        }
    }
}
