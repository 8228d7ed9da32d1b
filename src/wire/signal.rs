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
/// use wwr::server::{Action, Config, Connection, Observed};
/// use wwr::{Actions, Instant, PreparedSignal};
///
/// let news = PreparedSignal::new(&"news".parse()?, &"tea is ready".into())?;
/// let (config, now, mut out) = (Config::default(), Instant::EPOCH, Actions::new());
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
