//! What does not change about a connection.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use hyper::header::HeaderMap;

/// Facts about a connection that do not change. Its `Debug` form omits what may be secret: the query,
/// the values of the headers, and the sub-protocol.
#[derive(Clone)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// When the WebSocket was opened.
    pub connected_at: SystemTime,
    /// The first 256 characters of the `User-Agent` header of the handshake. `None` if it is
    /// missing or not text.
    pub user_agent: Option<String>,
    /// The address of the client. Behind [trusted proxies](crate::server::Config::trusted_proxies), the
    /// one that they name; the port is 0 if they name none. A process that has connected to a unix
    /// socket has the address 127.0.0.1 and the port 0.
    pub remote_addr: SocketAddr,
    /// The address of the socket: of the client, or of a proxy.
    pub socket_addr: SocketAddr,
    /// What was agreed in the TLS handshake. `None` without TLS, and if TLS ends in a proxy or in an
    /// HTTP server of your own.
    pub tls: Option<Arc<TlsInfo>>,
    /// The path of the handshake, as it was sent. Like the query and the headers, the client chooses
    /// it, and it may have the length of a whole head:
    /// [`Limits::max_header_size`](crate::server::Limits::max_header_size).
    pub path: String,
    /// What stood behind the `?` of the path, as it was sent. `None` if there was no `?`.
    pub query: Option<String>,
    /// The headers of the handshake that [`Config::kept_headers`](crate::server::Config::kept_headers) or
    /// [`ConnectionOptions::kept_headers`](crate::server::ConnectionOptions::kept_headers) name.
    pub headers: HeaderMap,
    /// The selected sub-protocol of WebSocket: one of the application
    /// ([`ConnectionOptions::sub_protocol`](crate::server::ConnectionOptions::sub_protocol)) or `wwr.1`
    /// (protocol §10.1). `None` if none was selected.
    pub sub_protocol: Option<String>,
}

/// What was agreed in a TLS handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsInfo {
    /// The version of TLS.
    pub version: TlsVersion,
    /// Whether the client has resumed an earlier session of TLS, which has nothing to do with sessions
    /// of WebWire.
    pub resumed: bool,
    /// The name by which the client knows the server (RFC 6066 section 3). `None` if it sent none, for
    /// example because it connected to an address.
    pub server_name: Option<String>,
    /// The certificates that the client has proved its identity with, as DER: its own comes first. They
    /// were verified as the server's settings of TLS say. Empty if it has sent none, which is so unless
    /// those settings ask for them.
    pub client_certificates: Vec<Bytes>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    V1_2,
    /// TLS 1.3 (RFC 8446).
    V1_3,
}

impl fmt::Debug for ConnectionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionInfo")
            .field("connected_at", &self.connected_at)
            .field("user_agent", &self.user_agent)
            .field("remote_addr", &self.remote_addr)
            .field("socket_addr", &self.socket_addr)
            .field("tls", &self.tls)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
