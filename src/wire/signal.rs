//! Which signals can be read.

use super::length;
use super::name::Name;
use super::payload::{Encoding, Payload};
use crate::dialect::Dialect;

/// Why a signal would be read by nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum UnreadableSignal {
    /// It has neither name nor payload, which no peer reads.
    #[error("a signal needs a name or a payload")]
    Empty,
    /// It has no payload: 1.x peers read no such signals, and in UTF-16 nobody does.
    #[error("the peer reads no signals without payload in this encoding")]
    NeedsPayload,
    /// Its message is longer than the message buffer that was announced (protocol §4.6).
    #[error("the message has {length} bytes, the message buffer holds {buffer}")]
    TooLarge {
        /// The length of the message in bytes, with the name and what precedes it.
        length: usize,
        /// The size of the buffer in bytes.
        buffer: usize,
    },
}

/// Whether a peer of a dialect reads a signal (protocol §1.4). `message_buffer` is the size that was
/// announced on its connection, in bytes; it counts where the dialect has one (protocol §4.6).
///
/// # Errors
///
/// [`UnreadableSignal`] if they do not.
pub fn check_signal(
    dialect: Dialect,
    message_buffer: usize,
    name: &Name,
    payload: &Payload,
) -> Result<(), UnreadableSignal> {
    let length = length::signal(name, payload);
    if dialect.rules().bounded_by_buffer && length > message_buffer {
        return Err(UnreadableSignal::TooLarge { length, buffer: message_buffer });
    }
    if !payload.is_empty() {
        return Ok(());
    }
    let reads_names = dialect.rules().sends_name_only_signals;
    match payload.encoding() {
        _ if name.is_empty() => Err(UnreadableSignal::Empty),
        Encoding::Binary | Encoding::Utf8 if reads_names => Ok(()),
        Encoding::Binary | Encoding::Utf8 | Encoding::Utf16 => Err(UnreadableSignal::NeedsPayload),
    }
}
