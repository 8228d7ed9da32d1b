//! The settings a 2.0 server advertises.

use core::time::Duration;

use bytes::Bytes;

/// The first message of a 2.0 connection (protocol §4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptConf {
    /// Major version; 2 for protocol 2.0.
    pub major: u8,
    /// Minor version; clients ignore it.
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
