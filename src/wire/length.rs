//! How long messages are, without writing them (protocol §1.3).

use super::name::{ErrorCode, Name};
use super::payload::{Encoding, Payload};

/// Type byte and identifier.
pub(crate) const IDENTIFIED: usize = 9;

/// The type byte.
pub(crate) const KIND: usize = 1;

/// What precedes the accept-conf's sub-protocol.
pub(crate) const ACCEPT_CONF: usize = 11;

/// The least length of client settings: with the longest message, without the number of questions.
pub(crate) const CLIENT_SETTINGS: usize = 5;

/// The length of client settings with the number of questions and the abilities, without the instance.
pub(crate) const CLIENT_ABILITIES: usize = 8;

/// The length of an instance.
pub(crate) const INSTANCE: usize = 16;

/// The length of a place in a history: incarnation and offset.
pub(crate) const PLACE: usize = 16;

/// The length of a history mark, without what later versions append.
pub(crate) const HISTORY_MARK: usize = 2 + PLACE;

/// The length of kept outcomes, without what later versions append.
pub(crate) const KEPT_OUTCOMES: usize = 17;

/// The length of a refused answer, without what later versions append.
pub(crate) const ANSWER_REFUSED: usize = IDENTIFIED + 1;

/// Returns the length of a signal in bytes.
pub(crate) fn signal(name: &Name, payload: &Payload) -> usize {
    2 + named(payload.encoding(), name.len(), payload.len())
}

/// Returns the length of a request or a question in bytes.
pub(crate) fn request(name: &Name, payload: &Payload) -> usize {
    1 + IDENTIFIED + named(payload.encoding(), name.len(), payload.len())
}

/// Returns the length of a reply or an answer in bytes.
pub(crate) fn reply(payload: &Payload) -> usize {
    IDENTIFIED + usize::from(payload.encoding() == Encoding::Utf16) + payload.len()
}

/// Returns the length of an error reply, or of an answer with an error, in bytes.
pub(crate) fn error_reply(code: &ErrorCode, message: &str) -> usize {
    IDENTIFIED + 1 + code.as_bytes().len() + message.len()
}

/// Returns the length of a name, the alignment behind it, and a payload.
pub(super) fn named(encoding: Encoding, name: usize, payload: usize) -> usize {
    name + usize::from(is_padded(encoding, name)) + payload
}

/// Returns whether a byte stands between name and payload, so that UTF-16 begins at an even offset.
pub(super) const fn is_padded(encoding: Encoding, name: usize) -> bool {
    matches!(encoding, Encoding::Utf16) && !name.is_multiple_of(2)
}
