//! Which signals can be read.

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
}

/// Whether peers of a dialect read a signal (protocol §1.4).
///
/// # Errors
///
/// [`UnreadableSignal`] if they do not.
pub fn check_signal(
    dialect: Dialect,
    name: &Name,
    payload: &Payload,
) -> Result<(), UnreadableSignal> {
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
