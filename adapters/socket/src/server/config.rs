//! The settings of a server.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use wwr::InvalidConfig;
use wwr::names::Names;
use wwr::server::gate::{EndpointPath, Origins};
use wwr::server::{Config, HubConfig, Preflights, Protocol};

use crate::memory::Memory;

/// The settings of a [`Server`](super::Server).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Protocol and limits of each connection.
    pub connection: Config,
    /// Number of connections, sessions, shutdown.
    pub hub: HubConfig,
    /// What a client may cost.
    pub limits: Limits,
    /// Paths with a protocol of their own. All other paths have that of `connection`.
    pub paths: Vec<(EndpointPath, Protocol)>,
    /// The origins whose pages may open WebSockets. Default: the same host.
    pub origins: Origins,
    /// Whether the application is asked about each request for a WebSocket, and about each other request
    /// that the server does not answer: [`Event::Handshake`](super::Event::Handshake). Default: no.
    pub asks_application: bool,
    /// The names of requests and signals that the server lists for everybody who asks, such as `wwr probe`
    /// (protocol §4.7). A list of at most [`MAX_BODY`](wwr::names::MAX_BODY) bytes of JSON, which is what
    /// clients read. Default: none.
    pub names: Option<Names>,
}

/// What a server allows, so that no client costs it too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sockets on which no WebSocket was opened yet. For one more, the oldest one of the address that has the
    /// most is closed. Not zero. Default: 1 024.
    pub max_handshakes: usize,
    /// How long a client may take to send the head of a request. Not zero. Default: 10 s.
    pub header_timeout: Duration,
    /// The longest head of a request in bytes. Not zero. Default: 16 KiB.
    pub max_header_size: usize,
    /// How long a socket may be used for HTTP. Not zero. Default: 60 s.
    pub handshake_timeout: Duration,
    /// How many bytes of what is sent to a client may wait until its socket is not read any more and no
    /// handler is started for it. One message may always wait. Not zero. Default: 128 KiB.
    pub max_write_backlog: usize,
    /// How many addresses of clients are remembered for each path, to tell versions apart. Not zero. Default:
    /// 16 384.
    pub max_remembered_addresses: usize,
    /// How long a client may take nothing of what is sent to it before it is disconnected. Not zero. Default:
    /// 30 s.
    pub stall_timeout: Duration,
    /// How many bytes are allocated at once for what clients send. A payload that the application keeps holds
    /// all of that: less of it wastes less, and is allocated more often. A longer message has its own. Not
    /// zero. Default: 16 KiB.
    pub receive_chunk: usize,
    /// How long a client may take to read what was sent last and to answer the close frame. Default: 2 s.
    pub close_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_handshakes: 1024,
            header_timeout: Duration::from_secs(10),
            max_header_size: 16 * 1024,
            handshake_timeout: Duration::from_secs(60),
            max_write_backlog: 128 * 1024,
            max_remembered_addresses: Preflights::<IpAddr>::MOST,
            stall_timeout: Duration::from_secs(30),
            receive_chunk: Memory::CHUNK,
            close_timeout: Duration::from_secs(2),
        }
    }
}

impl Limits {
    pub(super) fn check(&self) -> Result<(), InvalidConfig> {
        let zero = [
            ("limits.max_handshakes", self.max_handshakes == 0),
            ("limits.header_timeout", self.header_timeout.is_zero()),
            ("limits.max_header_size", self.max_header_size == 0),
            ("limits.handshake_timeout", self.handshake_timeout.is_zero()),
            ("limits.max_write_backlog", self.max_write_backlog == 0),
            ("limits.max_remembered_addresses", self.max_remembered_addresses == 0),
            ("limits.stall_timeout", self.stall_timeout.is_zero()),
            ("limits.receive_chunk", self.receive_chunk == 0),
        ];
        match zero.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((setting, _)) => Err(InvalidConfig::Zero { setting }),
            None => Ok(()),
        }
    }
}
