//! What a server advertises to peers that may speak 1.5 or 2.0.

use core::time::Duration;

use bytes::Bytes;

use crate::dialect::Dialect;
use crate::valid::{InvalidConfig, at_least};
use crate::wire::{AcceptConf, length};

/// What a server advertises: in accept-conf (protocol §4.5), and its read timeout in the preflight
/// of 1.5. A part of the [`Config`](super::Config), which [checks](super::Config::validate) it.
///
/// Only values that clients survive: a Go 2.0 client crashes on a read timeout of zero (Q20-06).
///
/// ```
/// use core::time::Duration;
/// use wwr::server::Config;
///
/// let mut config = Config::default();
/// config.advertised.read_timeout = Duration::from_secs(30);
/// config.advertised.sub_protocol = Some("chat/1".into());
/// assert!(config.clone().validate().is_ok());
/// config.advertised.message_buffer = 16;
/// assert!(config.validate().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advertised {
    /// After which silence a peer that sends heartbeats is disconnected, in whole milliseconds: from
    /// [`MIN_READ_TIMEOUT`](Self::MIN_READ_TIMEOUT) to [`MAX_READ_TIMEOUT`](Self::MAX_READ_TIMEOUT).
    /// Default: 60 s.
    pub read_timeout: Duration,
    /// The longest message to and from 2.0 peers, in bytes:
    /// [`MIN_MESSAGE_BUFFER`](Self::MIN_MESSAGE_BUFFER) or more, and not more than
    /// [`max_message_size`](super::Config::max_message_size). Default: 8192, on which Go 2.0 clients
    /// insist that are not told otherwise.
    pub message_buffer: u32,
    /// The name of the application's own protocol. 2.0 clients that are set to another, or to none,
    /// do not connect. Not empty, and short enough for the accept-conf to fit into the message buffer.
    /// Default: none.
    pub sub_protocol: Option<Bytes>,
}

impl Advertised {
    /// The shortest read timeout that can be advertised: 100 ms.
    pub const MIN_READ_TIMEOUT: Duration = Duration::from_millis(100);

    /// The longest read timeout that can be advertised: 2^32 - 1 ms, some 49 days.
    pub const MAX_READ_TIMEOUT: Duration = Duration::from_millis(u32::MAX as u64);

    /// The smallest message buffer that can be advertised, in bytes: 32.
    pub const MIN_MESSAGE_BUFFER: u32 = 32;

    /// Checks all that does not depend on other settings.
    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        let (setting, value) = ("advertised.read_timeout", self.read_timeout);
        at_least(setting, value, Self::MIN_READ_TIMEOUT)?;
        if value > Self::MAX_READ_TIMEOUT {
            return Err(InvalidConfig::TooLong { setting, value, max: Self::MAX_READ_TIMEOUT });
        }
        let message_buffer = self.message_buffer;
        if message_buffer < Self::MIN_MESSAGE_BUFFER {
            return Err(InvalidConfig::TooSmall {
                setting: "advertised.message_buffer",
                value: message_buffer.into(),
                min: Self::MIN_MESSAGE_BUFFER.into(),
            });
        }
        let max = message_buffer as usize - length::ACCEPT_CONF;
        match self.sub_protocol.as_ref().map(Bytes::len) {
            Some(0) => Err(InvalidConfig::EmptySubProtocol { setting: "advertised.sub_protocol" }),
            Some(length) if length > max => {
                Err(InvalidConfig::SubProtocolTooLong { length, message_buffer, max })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether the accept-conf is short enough for every client of `wwr.1` (protocol §10.2).
    pub(super) const fn suits_wwr1(&self) -> bool {
        let name = match &self.sub_protocol {
            Some(name) => name.len(),
            None => 0,
        };
        length::ACCEPT_CONF + name <= Dialect::MIN_STATED as usize
    }

    /// Returns the read timeout of 1.5 peers. They learn whole seconds, rounded down. A client that
    /// is taken for 1.5 may speak 2.0, and then it has learned all of it.
    pub(super) const fn read_timeout_1_5(&self) -> Duration {
        at_least_a_second(self.read_timeout)
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
    /// The defaults that the fields name, which are those of the reference (protocol §A).
    fn default() -> Self {
        Self { read_timeout: Duration::from_secs(60), message_buffer: 8192, sub_protocol: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNNAMED: InvalidConfig =
        InvalidConfig::EmptySubProtocol { setting: "advertised.sub_protocol" };

    #[test]
    fn only_settings_that_clients_survive_are_advertised() {
        let nanosecond = Duration::from_nanos(1);
        for (read_timeout, valid) in [
            (Duration::ZERO, false),
            (Advertised::MIN_READ_TIMEOUT - nanosecond, false),
            (Advertised::MIN_READ_TIMEOUT, true),
            (Advertised::MAX_READ_TIMEOUT, true),
            (Advertised::MAX_READ_TIMEOUT + nanosecond, false),
        ] {
            let advertised = Advertised { read_timeout, ..Advertised::default() };
            assert_eq!(advertised.check().is_ok(), valid, "{read_timeout:?}");
        }
        for (message_buffer, valid) in [(0, false), (31, false), (32, true), (u32::MAX, true)] {
            let advertised = Advertised { message_buffer, ..Advertised::default() };
            assert_eq!(advertised.check().is_ok(), valid, "{message_buffer}");
        }
        let unnamed = Advertised { sub_protocol: Some(Bytes::new()), ..Advertised::default() };
        assert_eq!(unnamed.check(), Err(UNNAMED));
    }

    #[test]
    fn the_accept_conf_fits_into_the_buffer_that_it_advertises() {
        let named = |length| Advertised {
            sub_protocol: Some(alloc::vec![b'x'; length].into()),
            message_buffer: 32,
            ..Advertised::default()
        };
        assert_eq!(named(21).check(), Ok(()));
        let error = InvalidConfig::SubProtocolTooLong { length: 22, message_buffer: 32, max: 21 };
        assert_eq!(named(22).check(), Err(error));
    }
}
