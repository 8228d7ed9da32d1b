//! Which signals peers can read, and signals for many readers.

use core::fmt;

use bytes::Bytes;

use super::decode::decode;
use super::encode::Encoder;
use super::error::DecodeError;
use super::length;
use super::message::Message;
use super::name::{InvalidName, Name};
use super::payload::{Encoding, Payload};
use crate::dialect::Dialect;

/// Why a peer would not read a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableSignal {
    /// It has neither name nor payload. No peer reads that.
    #[error("a signal needs a name or a payload")]
    Empty,
    /// It has no payload: 1.x peers do not read such signals, and in UTF-16 no peer does.
    #[error("the peer reads no signals without payload in this encoding")]
    NeedsPayload,
    /// Its message is longer than the message buffer that was advertised (protocol §4.6).
    #[error("the message has {length} bytes, the peer reads at most {buffer}")]
    TooLarge {
        /// The length of the message in bytes, with the name and what precedes it.
        length: usize,
        /// The most that the peer reads, in bytes: the message buffer, or what it has stated (protocol
        /// §10.2).
        buffer: usize,
    },
}

/// Checks whether a peer of a dialect reads a signal (protocol §1.4). `message_buffer` is the size
/// that was advertised on its connection, in bytes. It counts in the dialects that have one
/// (protocol §4.6).
///
/// # Errors
///
/// [`UnreadableSignal`] if it does not.
pub fn check_signal(
    dialect: Dialect,
    message_buffer: usize,
    name: &Name,
    payload: &Payload,
) -> Result<(), UnreadableSignal> {
    check_length(dialect, message_buffer, length::signal(name, payload))?;
    Carries::of(name, payload)?.check(dialect)
}

/// Why a [`PreparedSignal`] cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSignal {
    /// The name cannot be sent.
    #[error("invalid name: {0}")]
    Name(#[from] InvalidName),
    /// No peer reads such a signal.
    #[error(transparent)]
    Unreadable(#[from] UnreadableSignal),
}

/// Why bytes are not the [frame](PreparedSignal::frame) of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFrame {
    /// They are no message of a signal.
    #[error("not the message of a signal: {0}")]
    Message(DecodeError),
    /// They are one that is not sent.
    #[error(transparent)]
    Signal(#[from] InvalidSignal),
}

/// A signal that is checked and encoded once and can be sent to any number of peers.
///
/// A signal is the same bytes in every [`Dialect`] (protocol §1.4): dialects differ only in which
/// signals they read. So there is one frame, made at once, without a lock. It takes no more memory
/// than it needs, and clones share it.
///
/// ```
/// use wwr::server::{Action, Connection, Observed};
/// use wwr::{Actions, Instant, PreparedSignal, Valid};
///
/// let news = PreparedSignal::new("news", "tea is ready")?;
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
    /// [`InvalidSignal`] if the name cannot be sent, or no peer reads it: it has neither name nor payload, or no payload in
    /// UTF-16.
    pub fn new<N>(name: N, payload: impl Into<Payload>) -> Result<Self, InvalidSignal>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        let name = name.try_into().map_err(InvalidName::from)?;
        let payload = payload.into();
        let carries = Carries::of(&name, &payload)?;
        let length = length::signal(&name, &payload);
        let frame = Encoder::for_one(length).signal(&name, &payload);
        Ok(Self { frame, carries })
    }

    /// Reads a signal that was encoded before, maybe by another process: the bytes of its
    /// [`frame`](Self::frame). The payload is not copied.
    ///
    /// ```
    /// use wwr::PreparedSignal;
    ///
    /// let news = PreparedSignal::new("news", "tea is ready")?;
    /// assert_eq!(PreparedSignal::from_frame(news.frame().clone())?, news);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidFrame`] if the bytes are something else, or what [`new`](Self::new) refuses.
    pub fn from_frame(frame: Bytes) -> Result<Self, InvalidFrame> {
        let message = decode(Dialect::V2_0, frame.clone()).map_err(InvalidFrame::Message)?;
        let Message::Signal(content) = message else {
            let kind = frame.first().copied().unwrap_or_default();
            return Err(InvalidFrame::Message(DecodeError::UnknownKind(kind)));
        };
        let name = Name::try_from(content.name()).map_err(InvalidSignal::Name)?;
        let carries = Carries::of(&name, &content.into_payload()).map_err(InvalidSignal::from)?;
        Ok(Self { frame, carries })
    }

    /// Checks whether a peer reads it; see [`check_signal`].
    ///
    /// # Errors
    ///
    /// [`UnreadableSignal`] if not.
    pub const fn check(
        &self,
        dialect: Dialect,
        message_buffer: usize,
    ) -> Result<(), UnreadableSignal> {
        // Constant functions cannot use `?`.
        match check_length(dialect, message_buffer, self.frame.len()) {
            Ok(()) => self.carries.check(dialect),
            too_large => too_large,
        }
    }

    /// Returns the name of the signal.
    pub fn name(&self) -> &[u8] {
        let length = self.frame.get(1).copied().map_or(0, usize::from);
        self.frame.get(2..2 + length).unwrap_or_default()
    }

    /// Returns the message that carries the signal with its offset in a history (protocol §10.5).
    pub(crate) fn to_history(&self, offset: u64) -> Bytes {
        match decode(Dialect::Wwr1, self.frame.clone()) {
            Ok(Message::Signal(content)) => {
                // Eight bytes more than the signal, or one more or less where it is padded.
                Encoder::for_one(self.frame.len() + 9).history_signal(offset, &content)
            }
            // A prepared signal is one.
            Ok(_) | Err(_) => Bytes::new(),
        }
    }

    /// Returns the message that is sent.
    pub const fn frame(&self) -> &Bytes {
        &self.frame
    }
}

impl fmt::Debug for PreparedSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PreparedSignal").field(&self.frame).finish()
    }
}

/// What a signal carries, as far as it decides which peers read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carries {
    /// A payload, which every peer reads.
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

/// Checks whether a message is short enough for a peer.
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
    fn the_peers_that_read_a_signal_depend_on_what_it_carries() {
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
                    Err(InvalidSignal::Unreadable(unreadable)) => {
                        assert_eq!((Err(unreadable), in_2_0), (expected, expected));
                    }
                    Err(InvalidSignal::Name(error)) => panic!("{error}"),
                }
            }
        }
    }

    #[test]
    fn a_signal_has_to_fit_into_the_message_buffer_if_there_is_one() {
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
