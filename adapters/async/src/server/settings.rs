//! The settings of a server beyond those of its machines.

use std::time::Duration;

use super::invalid::InvalidSettings;

/// The smallest buffer that the HTTP library works with, in bytes.
const MIN_HEADER_SIZE: usize = 8192;

/// What a server allows, so that no client costs it too much. The defaults suit a public service.
///
/// Limits with which no client could be served, such as zero connections, are
/// [refused](InvalidSettings) when the server is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open WebSocket connections. More are answered with 503. Default: 16 384.
    pub max_connections: usize,
    /// Sockets on which no WebSocket was opened yet. For one more, the oldest one of the address that
    /// has the most is closed, so that no host keeps the others out; of IPv6 addresses, those with
    /// the same first 64 bits count as one. Behind a proxy all clients are one host, unless it is
    /// [trusted](super::Builder::trusted_proxies) to name them. Default: 1 024.
    pub max_handshakes: usize,
    /// How long a client may take to send a request head. Default: 10 s.
    pub header_timeout: Duration,
    /// The longest request head in bytes, at least 8192. Default: 16 KiB.
    pub max_header_size: usize,
    /// How long a socket may be used for HTTP. Default: 60 s.
    pub handshake_timeout: Duration,
    /// The longest message in bytes; whoever sends a longer one is disconnected with close code 1009
    /// before it is buffered. Default: 1 MiB. No less than the message buffer that is advertised, 8 KiB
    /// by default: clients of protocol 2.0 may send as much (protocol §4.6). Those of `wwr.1` are told of
    /// this limit itself (protocol §10.2).
    ///
    /// Idle connections keep no buffers, unless their client sends messages in fragments: those keep
    /// what the largest messages needed, one buffer each way, until they end.
    pub max_message_size: usize,
    /// How many bytes of signals may wait for a client that reads too slowly, their names and some
    /// 16 bytes each included. One signal may always wait, and one after each
    /// [`Connection::ready`](super::Connection::ready). Default: 1 MiB.
    pub max_signal_backlog: usize,
    /// How long a client may take nothing of what is sent to it before it is disconnected. Default:
    /// 30 s.
    pub stall_timeout: Duration,
    /// How long a client may take to read what was sent last and to answer the close frame. Default:
    /// 2 s.
    pub close_timeout: Duration,
    /// How long the session store may take to answer before that counts as a failure of it.
    /// Default: 30 s.
    pub store_timeout: Duration,
}

impl Limits {
    /// Checks what does not depend on other settings.
    pub(super) fn check(&self) -> Result<(), InvalidSettings> {
        let nobody = "no client could ever connect";
        for (is_zero, setting, consequence) in [
            (self.max_connections == 0, "Limits::max_connections", nobody),
            (self.max_handshakes == 0, "Limits::max_handshakes", nobody),
            (self.header_timeout.is_zero(), "Limits::header_timeout", nobody),
            (self.handshake_timeout.is_zero(), "Limits::handshake_timeout", nobody),
            (self.max_message_size == 0, "Limits::max_message_size", "no message could be read"),
            (self.stall_timeout.is_zero(), "Limits::stall_timeout", "nothing could be sent"),
            (self.store_timeout.is_zero(), "Limits::store_timeout", "no session could be stored"),
        ] {
            if is_zero {
                return Err(InvalidSettings::Zero { setting, consequence });
            }
        }
        if self.max_header_size < MIN_HEADER_SIZE {
            return Err(InvalidSettings::HeaderSize(self.max_header_size));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 16_384,
            max_handshakes: 1024,
            header_timeout: Duration::from_secs(10),
            max_header_size: 16 * 1024,
            handshake_timeout: Duration::from_secs(60),
            max_message_size: 1024 * 1024,
            max_signal_backlog: 1024 * 1024,
            stall_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(2),
            store_timeout: Duration::from_secs(30),
        }
    }
}
