//! Which signals can be read, and signals for many readers.

use core::fmt;

use bytes::Bytes;

use super::encode::Encoder;
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
    /// Its message is longer than the message buffer that was advertised (protocol §4.6).
    #[error("the message has {length} bytes, the message buffer holds {buffer}")]
    TooLarge {
        /// The length of the message in bytes, with the name and what precedes it.
        length: usize,
        /// The size of the buffer in bytes.
        buffer: usize,
    },
}

/// Whether a peer of a dialect reads a signal (protocol §1.4). `message_buffer` is the size that was
/// advertised on its connection, in bytes; it counts where the dialect has one (protocol §4.6).
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
    check_length(dialect, message_buffer, length::signal(name, payload))?;
    Carries::of(name, payload)?.check(dialect)
}

/// A signal that is checked and encoded once and can be sent to any number of peers.
///
/// A signal is the same bytes in every [`Dialect`] (protocol §1.4): dialects differ only in which
/// signals they read. So there is one frame, made at once, and nothing to be locked or added later.
/// It takes just the memory that it needs, and clones share it.
///
/// ```
/// use wwr::server::{Action, Connection, Observed};
/// use wwr::{Actions, Instant, PreparedSignal, Valid};
///
/// let news = PreparedSignal::new(&"news".parse()?, &"tea is ready".into())?;
/// let (config, now, mut out) = (Valid::default(), Instant::EPOCH, Actions::new());
/// for _ in 0..3 {
///     let mut connection = Connection::accept(&config, Observed::Nothing, now, &mut out);
///     out.drain().for_each(drop);
///     connection.signal_prepared(&news, &mut out)?;
///     assert_eq!(out.pop(), Some(Action::Send(news.frame().clone())));
/// }
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PreparedSignal {
    frame: Bytes,
    carries: Carries,
}

impl PreparedSignal {
    /// Checks and encodes a signal.
    ///
    /// # Errors
    ///
    /// [`UnreadableSignal`] if no peer reads it: it has neither name nor payload, or no payload in
    /// UTF-16.
    pub fn new(name: &Name, payload: &Payload) -> Result<Self, UnreadableSignal> {
        let carries = Carries::of(name, payload)?;
        let length = length::signal(name, payload);
        let frame = Encoder::for_one(length).signal(name, payload);
        Ok(Self { frame, carries })
    }

    /// Whether a peer reads it; see [`check_signal`].
    ///
    /// # Errors
    ///
    /// [`UnreadableSignal`] if not.
    pub const fn check(
        &self,
        dialect: Dialect,
        message_buffer: usize,
    ) -> Result<(), UnreadableSignal> {
        // `?` is not for constant functions.
        match check_length(dialect, message_buffer, self.frame.len()) {
            Ok(()) => self.carries.check(dialect),
            too_large => too_large,
        }
    }

    /// The message that is sent.
    pub const fn frame(&self) -> &Bytes {
        &self.frame
    }
}

impl fmt::Debug for PreparedSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PreparedSignal").field(&self.frame).finish()
    }
}

/// What a signal carries, as far as it matters for who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    /// A payload, which everybody reads.
    Payload,
    /// A name and nothing else, not in UTF-16.
    OnlyName,
}

impl Carries {
    fn of(name: &Name, payload: &Payload) -> Result<Self, UnreadableSignal> {
        match payload.encoding() {
            _ if !payload.is_empty() => Ok(Self::Payload),
            _ if name.is_empty() => Err(UnreadableSignal::Empty),
            Encoding::Binary | Encoding::Utf8 => Ok(Self::OnlyName),
            Encoding::Utf16 => Err(UnreadableSignal::NeedsPayload),
        }
    }

    const fn check(self, dialect: Dialect) -> Result<(), UnreadableSignal> {
        match self {
            Self::OnlyName if !dialect.rules().sends_name_only_signals => {
                Err(UnreadableSignal::NeedsPayload)
            }
            Self::OnlyName | Self::Payload => Ok(()),
        }
    }
}

/// Whether a message is short enough for a peer.
const fn check_length(
    dialect: Dialect,
    buffer: usize,
    length: usize,
) -> Result<(), UnreadableSignal> {
    if dialect.rules().bounded_by_buffer && length > buffer {
        return Err(UnreadableSignal::TooLarge { length, buffer });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_a_signal_depends_on_what_it_carries() {
        let (none, name) = (Name::NONE, Name::from_static("n").unwrap());
        let (empty, needs) = (Err(UnreadableSignal::Empty), Err(UnreadableSignal::NeedsPayload));
        for (name, payload, in_1_4, in_2_0) in [
            (&name, Payload::utf8("p"), Ok(()), Ok(())),
            (&none, Payload::utf8("p"), Ok(()), Ok(())),
            (&name, Payload::EMPTY, needs, Ok(())),
            (&name, Payload::utf8(""), needs, Ok(())),
            (&name, Payload::utf16(""), needs, needs),
            (&none, Payload::EMPTY, empty, empty),
            (&none, Payload::utf16(""), empty, empty),
        ] {
            for (dialect, expected) in [(Dialect::V1_4, in_1_4), (Dialect::V2_0, in_2_0)] {
                assert_eq!(check_signal(dialect, 100, name, &payload), expected, "{payload:?}");
                match PreparedSignal::new(name, &payload) {
                    Ok(signal) => assert_eq!(signal.check(dialect, 100), expected, "{payload:?}"),
                    Err(nobody) => assert_eq!((Err(nobody), in_2_0), (expected, expected)),
                }
            }
        }
    }

    #[test]
    fn a_signal_fits_into_the_message_buffer_of_who_has_one() {
        let (name, payload) = (Name::from_static("n").unwrap(), Payload::utf16("p"));
        // Type, length of the name, name, padding, payload.
        let length = 6;
        let signal = PreparedSignal::new(&name, &payload).unwrap();
        assert_eq!(signal.frame(), &b"\x41\x01n\0p\0"[..]);
        assert!(alloc::format!("{signal:?}").contains("n\\0p"), "dumps show the message");
        let too_large = Err(UnreadableSignal::TooLarge { length, buffer: 5 });
        for (dialect, buffer, expected) in [
            (Dialect::V2_0, 6, Ok(())),
            (Dialect::V2_0, 5, too_large),
            (Dialect::Unknown, 5, too_large),
            (Dialect::V1_4, 5, Ok(())),
            (Dialect::V1_5, 5, Ok(())),
        ] {
            assert_eq!(check_signal(dialect, buffer, &name, &payload), expected, "{dialect}");
            assert_eq!(signal.check(dialect, buffer), expected, "{dialect}");
        }
    }
}
