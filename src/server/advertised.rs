//! What a server advertises to peers that may speak 1.5 or 2.0.

use core::time::Duration;

use bytes::Bytes;

use crate::dialect::Dialect;
use crate::wire::{AcceptConf, length};

/// What a server advertises: in accept-conf (protocol §4.5), and its read timeout in the preflight
/// of 1.5.
///
/// Only values that clients survive: a Go 2.0 client crashes on a read timeout of zero (Q20-06).
///
/// ```
/// use core::time::Duration;
/// use wwr::server::Advertised;
///
/// let advertised = Advertised::default().read_timeout(Duration::from_secs(30))?;
/// assert!(advertised.clone().message_buffer(16).is_err());
/// let advertised = advertised.sub_protocol("chat/1")?;
/// # Ok::<(), wwr::server::InvalidAdvertised>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    read_timeout: Duration,
    message_buffer: u32,
    sub_protocol: Option<Bytes>,
}

/// Why something cannot be advertised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidAdvertised {
    /// The read timeout would have clients send heartbeats without a pause, or is too long to be
    /// written.
    #[error("a read timeout of {0:?} cannot be advertised; it has to be from 100 ms to 49 days")]
    ReadTimeout(Duration),
    /// No message fits into the buffer.
    #[error("a message buffer of {0} bytes cannot be advertised; it has to have 32 or more")]
    MessageBuffer(u32),
    /// The sub-protocol is empty, which stands for none.
    #[error("a sub-protocol needs a name")]
    EmptySubProtocol,
    /// The accept-conf would not fit into the message buffer that it advertises.
    #[error(
        "with a sub-protocol of {length} bytes the accept-conf does not fit into a message \
             buffer of {buffer} bytes"
    )]
    SubProtocol {
        /// The length of the sub-protocol in bytes.
        length: usize,
        /// The size of the buffer in bytes.
        buffer: u32,
    },
}

impl Advertised {
    /// The shortest read timeout that can be advertised: 100 ms.
    pub const MIN_READ_TIMEOUT: Duration = Duration::from_millis(100);

    /// The longest read timeout that can be advertised: 2^32 - 1 ms, some 49 days.
    pub const MAX_READ_TIMEOUT: Duration = Duration::from_millis(u32::MAX as u64);

    /// The smallest message buffer that can be advertised, in bytes: 32.
    pub const MIN_MESSAGE_BUFFER: u32 = 32;

    /// After which silence a peer that sends heartbeats is disconnected, in whole milliseconds.
    /// Default: 60 s.
    ///
    /// # Errors
    ///
    /// [`InvalidAdvertised::ReadTimeout`].
    pub fn read_timeout(mut self, timeout: Duration) -> Result<Self, InvalidAdvertised> {
        if !(Self::MIN_READ_TIMEOUT..=Self::MAX_READ_TIMEOUT).contains(&timeout) {
            return Err(InvalidAdvertised::ReadTimeout(timeout));
        }
        self.read_timeout = timeout;
        Ok(self)
    }

    /// The longest message to and from 2.0 peers, in bytes. Default: 8192, on which Go 2.0 clients
    /// insist that are not told otherwise.
    ///
    /// # Errors
    ///
    /// [`InvalidAdvertised::MessageBuffer`], [`InvalidAdvertised::SubProtocol`].
    pub fn message_buffer(mut self, bytes: u32) -> Result<Self, InvalidAdvertised> {
        if bytes < Self::MIN_MESSAGE_BUFFER {
            return Err(InvalidAdvertised::MessageBuffer(bytes));
        }
        self.message_buffer = bytes;
        self.fits()
    }

    /// The name of the application's own protocol. 2.0 clients that are set to another, or to none,
    /// do not connect. Default: none.
    ///
    /// # Errors
    ///
    /// [`InvalidAdvertised::EmptySubProtocol`], [`InvalidAdvertised::SubProtocol`].
    pub fn sub_protocol(mut self, name: impl Into<Bytes>) -> Result<Self, InvalidAdvertised> {
        let name = name.into();
        if name.is_empty() {
            return Err(InvalidAdvertised::EmptySubProtocol);
        }
        self.sub_protocol = Some(name);
        self.fits()
    }

    fn fits(self) -> Result<Self, InvalidAdvertised> {
        let length = self.sub_protocol.as_ref().map_or(0, Bytes::len);
        let buffer = self.message_buffer;
        if length::ACCEPT_CONF + length > buffer as usize {
            return Err(InvalidAdvertised::SubProtocol { length, buffer });
        }
        Ok(self)
    }

    /// Whether the advertised settings is short enough for every client of `wwr.1` (protocol §10.2).
    pub(super) const fn suits_wwr1(&self) -> bool {
        let name = match &self.sub_protocol {
            Some(name) => name.len(),
            None => 0,
        };
        length::ACCEPT_CONF + name <= Dialect::MIN_STATED as usize
    }

    /// The read timeout of 1.5 peers. They are told of whole seconds, rounded down, but who is taken
    /// for 1.5 may speak 2.0 and have been told of all of it.
    pub(super) const fn read_timeout_1_5(&self) -> Duration {
        at_least_a_second(self.read_timeout)
    }

    /// The read timeout of 2.0 peers.
    pub(super) const fn read_timeout_2_0(&self) -> Duration {
        self.read_timeout
    }

    /// The longest message to and from 2.0 peers, in bytes, as advertised.
    pub(super) const fn message_buffer_bytes(&self) -> u32 {
        self.message_buffer
    }

    /// The longest message to and from 2.0 peers, in bytes, as [`check_signal`] wants it.
    ///
    /// [`check_signal`]: crate::wire::check_signal
    pub const fn message_buffer_size(&self) -> usize {
        self.message_buffer as usize
    }

    /// As the message that says so.
    pub fn to_accept_conf(&self) -> AcceptConf {
        AcceptConf {
            major: 2,
            minor: 0,
            read_timeout_ms: u32::try_from(self.read_timeout.as_millis()).unwrap_or(u32::MAX),
            message_buffer_size: self.message_buffer,
            sub_protocol: self.sub_protocol.clone(),
        }
    }
}

/// A read timeout as far as 1.5 peers can be told of it.
const fn at_least_a_second(read_timeout: Duration) -> Duration {
    if read_timeout.as_secs() == 0 { Duration::from_secs(1) } else { read_timeout }
}

impl Default for Advertised {
    /// The defaults that the methods name, which are those of the reference (protocol §A).
    fn default() -> Self {
        Self { read_timeout: Duration::from_secs(60), message_buffer: 8192, sub_protocol: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_clients_survive_are_advertised() {
        let default = Advertised::default;
        for (timeout, valid) in [
            (Duration::ZERO, false),
            (Advertised::MIN_READ_TIMEOUT - Duration::from_nanos(1), false),
            (Advertised::MIN_READ_TIMEOUT, true),
            (Advertised::MAX_READ_TIMEOUT, true),
            (Advertised::MAX_READ_TIMEOUT + Duration::from_nanos(1), false),
        ] {
            assert_eq!(default().read_timeout(timeout).is_ok(), valid, "{timeout:?}");
        }
        for (buffer, valid) in [(0, false), (31, false), (32, true), (u32::MAX, true)] {
            assert_eq!(default().message_buffer(buffer).is_ok(), valid, "{buffer}");
        }
        assert_eq!(default().message_buffer_size(), 8192);
        assert_eq!(default().sub_protocol(""), Err(InvalidAdvertised::EmptySubProtocol));
    }

    #[test]
    fn the_accept_conf_fits_into_the_buffer_that_it_advertises() {
        let small = || Advertised::default().message_buffer(32);
        let too_large = Err(InvalidAdvertised::SubProtocol { length: 22, buffer: 32 });
        assert!(small().unwrap().sub_protocol(&[b'x'; 21][..]).is_ok());
        assert_eq!(small().unwrap().sub_protocol(&[b'x'; 22][..]), too_large);
        let named = Advertised::default().sub_protocol(&[b'x'; 22][..]).unwrap();
        assert_eq!(named.message_buffer(32), too_large);
    }
}
