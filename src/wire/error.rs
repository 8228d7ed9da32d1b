//! Why bytes are not a message, and why a message cannot be written.

use super::identifier::Identifier;
use super::kind::Kind;
use super::name::InvalidName;

/// Why a received frame is not a message of the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame has no bytes, not even a type.
    #[error("the message is empty")]
    Empty,
    /// The first byte is not a message type of this version.
    #[error("{0} is not a message type of this version")]
    UnknownKind(u8),
    /// The type is known, but the rest does not follow its layout.
    #[error("malformed {kind:?}: {reason}")]
    Malformed {
        /// The type of the message.
        kind: Kind,
        /// The identifier, if it was read before the message was refused (protocol §1.4).
        identifier: Option<Identifier>,
        /// What is wrong.
        reason: Malformation,
    },
}

/// How a message differs from the layout of its type (protocol §1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformation {
    /// Fewer bytes than any message of this type has.
    #[error("it has {length} bytes, the shortest has {least}")]
    TooShort {
        /// The number of bytes received.
        length: usize,
        /// The least number of bytes a message of this type has.
        least: usize,
    },
    /// All messages of this type have one length, and this one has another.
    #[error("it has {length} bytes instead of {exact}")]
    WrongLength {
        /// The number of bytes received.
        length: usize,
        /// The number of bytes every message of this type has.
        exact: usize,
    },
    /// The name, or what has to follow it, reaches past the end.
    #[error("its name of {name_length} bytes needs a message of at least {least}, it has {length}")]
    NamePastEnd {
        /// What the length byte says.
        name_length: u8,
        /// The least number of bytes of a message with such a name.
        least: usize,
        /// The number of bytes received.
        length: usize,
    },
    /// A UTF-16 message with an odd number of bytes.
    #[error("it is UTF-16 and has an odd number of bytes, {length}")]
    OddUtf16 {
        /// The number of bytes received.
        length: usize,
    },
    /// An error reply without a code.
    #[error("its error code is empty")]
    EmptyCode,
}

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ComposeError {
    /// The dialect has no such message.
    #[error("this version has no message of type {0:?}")]
    UnknownKind(Kind),
    /// The name may be received but not sent.
    #[error("invalid name: {0}")]
    InvalidName(InvalidName),
    /// The error code may be received but not sent.
    #[error("invalid error code: {0}")]
    InvalidCode(InvalidName),
    /// The request has neither name nor payload. No server reads that.
    #[error("a request needs a name or a payload")]
    EmptyRequest,
}
