//! The settings a 2.0 server advertises.

use core::time::Duration;

use bytes::Bytes;

/// The first message of a 2.0 connection (protocol §4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptConf {
    /// Major version; 2 for protocol 2.0.
    pub major: u8,
    /// Minor version; clients of 2.0 ignore it. In `wwr.1` it says what else the server does:
    /// [`KEEPS_HISTORIES`](Self::KEEPS_HISTORIES) and [`KEEPS_OUTCOMES`](Self::KEEPS_OUTCOMES).
    pub minor: u8,
    /// How long the server waits for a message before it closes the connection, in milliseconds.
    pub read_timeout_ms: u32,
    /// The longest message the server reads, in bytes.
    pub message_buffer_size: u32,
    /// The name of the application's protocol, if it has one. Never empty on the wire: an empty
    /// name is sent as no name.
    pub sub_protocol: Option<Bytes>,
}

impl AcceptConf {
    /// The bit of [`minor`](Self::minor) by which a server of `wwr.1` says that it keeps the signals to
    /// sessions (protocol §10.5).
    pub const KEEPS_HISTORIES: u8 = 1;

    /// The bit of [`minor`](Self::minor) by which a server of `wwr.1` says that it keeps the outcomes of
    /// idempotent requests (protocol §10.6).
    pub const KEEPS_OUTCOMES: u8 = 2;

    /// Returns the read timeout as a duration.
    pub const fn read_timeout(&self) -> Duration {
        Duration::from_millis(self.read_timeout_ms as u64)
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for AcceptConf {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let sub_protocol: Option<&[u8]> = u.arbitrary()?;
        Ok(Self {
            major: u.arbitrary()?,
            minor: u.arbitrary()?,
            read_timeout_ms: u.arbitrary()?,
            message_buffer_size: u.arbitrary()?,
            sub_protocol: sub_protocol.map(Bytes::copy_from_slice),
        })
    }
}
