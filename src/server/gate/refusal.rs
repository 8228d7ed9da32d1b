//! Why a request is refused, in words for people.

use crate::server::hub;

/// Why the server refuses a request, or a socket on which requests were to come.
///
/// The [`reason`](Self::reason) is meant for the answer and for the log. A host that has a
/// [`LogThrottle`](super::LogThrottle) for each reason does not flood its log, and no reason hides
/// another: `refusal as usize` is below [`COUNT`](Self::COUNT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The server shuts down (protocol §4.2).
    ShuttingDown,
    /// The maximum number of WebSockets are open.
    TooManyConnections,
    /// HTTP/1.1 without `Host` (RFC 9112 section 3.2).
    NoHost,
    /// `Host` occurs more than once.
    SeveralHosts,
    /// `Host` is empty or not a host.
    InvalidHost,
    /// The target of the request is not a path, and not a URL with a scheme of this server.
    InvalidTarget,
    /// `Content-Length` is not a number, or there are several different ones.
    InvalidLength,
    /// A page of another origin asks for a WebSocket.
    OriginNotAllowed,
    /// The request has a body. No server of WebWire reads one.
    Body,
    /// Neither an upgrade nor anything that the application answers.
    NoWebSocket,
    /// `Upgrade: websocket` without `Connection: Upgrade`.
    NoConnectionUpgrade,
    /// `Upgrade: websocket` in HTTP/1.0.
    Http10,
    /// A method other than `GET` that the application does not answer.
    MethodNotAllowed,
    /// The preflight of 1.x clients at a server without one (protocol §4.5).
    NoPreflight,
    /// `Sec-WebSocket-Version` is missing or not 13.
    WrongVersion,
    /// `Sec-WebSocket-Version` occurs more than once (RFC 6455 section 11.3.5).
    SeveralVersions,
    /// No `Sec-WebSocket-Key`.
    NoKey,
    /// `Sec-WebSocket-Key` occurs more than once (RFC 6455 section 11.3.1).
    SeveralKeys,
    /// `Sec-WebSocket-Key` is not the base64 of 16 bytes.
    InvalidKey,
    /// What came is not an HTTP/1 request.
    NoHttp,
    /// What came is not TLS, on a socket that has to begin with it. If it is HTTP, a host can send the
    /// answer without TLS.
    NoTls,
    /// The TLS handshake failed: the sides agree on nothing, or one does not trust the other.
    TlsFailed,
    /// The TLS handshake did not end in time.
    TlsTimeout,
    /// The head is longer than the host allows.
    HeadTooLong,
    /// The head did not come in time.
    HeadTimeout,
    /// No WebSocket was opened in time.
    HandshakeTimeout,
    /// The slot of the socket was given to another one: see [`HandshakeSlots`](super::HandshakeSlots).
    Evicted,
    /// A trusted proxy has to begin with a header of the PROXY protocol, and did not.
    NoProxyHeader,
    /// The application refused it, with a status that host and application know.
    ByApplication,
}

impl From<hub::Refusal> for Refusal {
    fn from(refusal: hub::Refusal) -> Self {
        match refusal {
            hub::Refusal::Full { .. } => Self::TooManyConnections,
            hub::Refusal::ShuttingDown => Self::ShuttingDown,
        }
    }
}

impl Refusal {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ByApplication as usize + 1;

    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::ShuttingDown,
        Self::TooManyConnections,
        Self::NoHost,
        Self::SeveralHosts,
        Self::InvalidHost,
        Self::InvalidTarget,
        Self::InvalidLength,
        Self::OriginNotAllowed,
        Self::Body,
        Self::NoWebSocket,
        Self::NoConnectionUpgrade,
        Self::Http10,
        Self::MethodNotAllowed,
        Self::NoPreflight,
        Self::WrongVersion,
        Self::SeveralVersions,
        Self::NoKey,
        Self::SeveralKeys,
        Self::InvalidKey,
        Self::NoHttp,
        Self::NoTls,
        Self::TlsFailed,
        Self::TlsTimeout,
        Self::HeadTooLong,
        Self::HeadTimeout,
        Self::HandshakeTimeout,
        Self::Evicted,
        Self::NoProxyHeader,
        Self::ByApplication,
    ];

    /// Returns a short name of the reason for metrics: lower case, with underscores.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShuttingDown => "shutting_down",
            Self::TooManyConnections => "too_many_connections",
            Self::NoHost => "no_host",
            Self::SeveralHosts => "several_hosts",
            Self::InvalidHost => "invalid_host",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidLength => "invalid_length",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::Body => "body",
            Self::NoWebSocket => "no_web_socket",
            Self::NoConnectionUpgrade => "no_connection_upgrade",
            Self::Http10 => "http_1_0",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NoPreflight => "no_preflight",
            Self::WrongVersion => "wrong_version",
            Self::SeveralVersions => "several_versions",
            Self::NoKey => "no_key",
            Self::SeveralKeys => "several_keys",
            Self::InvalidKey => "invalid_key",
            Self::NoHttp => "no_http",
            Self::NoTls => "no_tls",
            Self::TlsFailed => "tls_failed",
            Self::TlsTimeout => "tls_timeout",
            Self::HeadTooLong => "head_too_long",
            Self::HeadTimeout => "head_timeout",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Evicted => "evicted",
            Self::NoProxyHeader => "no_proxy_header",
            Self::ByApplication => "by_application",
        }
    }

    /// Returns the HTTP status of the answer. A host may also just close the socket if no request
    /// came, or if it evicts the socket.
    pub const fn status(self) -> u16 {
        match self {
            Self::ShuttingDown | Self::TooManyConnections | Self::Evicted => 503,
            Self::OriginNotAllowed | Self::ByApplication => 403,
            Self::NoWebSocket | Self::NoConnectionUpgrade | Self::Http10 | Self::WrongVersion => {
                426
            }
            Self::MethodNotAllowed => 405,
            Self::HeadTooLong => 431,
            Self::HeadTimeout | Self::HandshakeTimeout | Self::TlsTimeout => 408,
            Self::NoHost
            | Self::SeveralHosts
            | Self::InvalidHost
            | Self::InvalidTarget
            | Self::InvalidLength
            | Self::Body
            | Self::NoPreflight
            | Self::SeveralVersions
            | Self::NoKey
            | Self::SeveralKeys
            | Self::InvalidKey
            | Self::NoHttp
            | Self::NoTls
            | Self::TlsFailed
            | Self::NoProxyHeader => 400,
        }
    }

    /// Returns what is wrong, in a few words without a full stop.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ShuttingDown => "Server shutting down",
            Self::TooManyConnections => "Too many connections",
            Self::NoHost => "The request has no Host header",
            Self::SeveralHosts => "The request has several Host headers",
            Self::InvalidHost => "The Host header is not a valid host",
            Self::InvalidTarget => "The target of the request is not a path on this server",
            Self::InvalidLength => "The Content-Length header is not a number",
            Self::OriginNotAllowed => "Origin not allowed",
            Self::Body => "The request has a body",
            Self::NoWebSocket => "This is a WebWire server, which serves WebSockets and no pages",
            Self::NoConnectionUpgrade => "The Connection header does not name Upgrade",
            Self::Http10 => "The request came as HTTP/1.0, which has no WebSockets",
            Self::MethodNotAllowed => "Method not allowed",
            Self::NoPreflight => "This server speaks WebWire 2.0 only, which has no preflight",
            Self::WrongVersion => "The Sec-WebSocket-Version header is not 13",
            Self::SeveralVersions => "The request has several Sec-WebSocket-Version headers",
            Self::NoKey => "The request has no Sec-WebSocket-Key header",
            Self::SeveralKeys => "The request has several Sec-WebSocket-Key headers",
            Self::InvalidKey => "The Sec-WebSocket-Key header is not the base64 of 16 bytes",
            Self::NoHttp => "The data is not an HTTP/1 request",
            Self::NoTls => "The data is not TLS, which this port needs",
            Self::TlsFailed => "The TLS handshake failed",
            Self::TlsTimeout => "The TLS handshake did not end in time",
            Self::HeadTooLong => "The head of the request is too long",
            Self::HeadTimeout => "The head of the request did not come in time",
            Self::HandshakeTimeout => "No WebSocket was opened in time",
            Self::Evicted => "Too many sockets without a WebSocket",
            Self::NoProxyHeader => "No PROXY protocol header came from a trusted proxy",
            Self::ByApplication => "The application refused the request",
        }
    }

    /// Returns what a client, or its user, can do about it. Empty if the reason says everything.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::TooManyConnections | Self::Evicted => "Try again later.",
            Self::NoHost | Self::SeveralHosts | Self::InvalidHost => {
                "Send it once, with the host and port of this server (RFC 9112, section 3.2)."
            }
            Self::InvalidTarget => "It begins with a slash, or is a URL of http, https, ws or wss.",
            Self::InvalidLength => "Send one whole number (RFC 9112, section 6.3).",
            Self::OriginNotAllowed => {
                "Pages of this origin may not connect. The server's operator can allow it."
            }
            Self::Body => "Send the request without a body.",
            Self::NoConnectionUpgrade => {
                "A proxy in between has to pass on both headers: Upgrade and Connection."
            }
            Self::Http10 => {
                "A proxy in between has to speak HTTP/1.1 to this server (nginx: proxy_http_version 1.1)."
            }
            Self::MethodNotAllowed => "WebSockets are opened with GET.",
            Self::NoPreflight => "Clients of WebWire 1.x cannot use it.",
            Self::WrongVersion => "This server speaks version 13 (RFC 6455).",
            Self::SeveralVersions | Self::NoKey | Self::SeveralKeys | Self::InvalidKey => {
                "Send it once (RFC 6455, section 4.2.1)."
            }
            Self::NoHttp => "WebSockets begin with an HTTP/1.1 request (RFC 6455).",
            Self::HeadTooLong => "Send fewer or shorter headers.",
            Self::NoTls => "Connect with https or wss.",
            Self::HeadTimeout | Self::HandshakeTimeout => "Send it sooner.",
            Self::ShuttingDown
            | Self::NoWebSocket
            | Self::TlsFailed
            | Self::TlsTimeout
            | Self::NoProxyHeader
            | Self::ByApplication => "",
        }
    }

    /// Returns whether the answer may be read by a person who does not know what this server is.
    pub(super) const fn explains_how_to_connect(self) -> bool {
        matches!(self.status(), 400 | 403 | 405 | 426)
    }

    /// Returns whether the answer names the version of WebSocket (protocol §4.3).
    pub(super) const fn names_version(self) -> bool {
        matches!(self.status(), 400 | 405 | 426)
    }

    /// Returns whether the socket has to be closed, whatever the request was.
    pub(super) const fn ends_socket(self) -> bool {
        matches!(
            self,
            Self::ShuttingDown
                | Self::NoHost
                | Self::SeveralHosts
                | Self::InvalidHost
                | Self::InvalidTarget
                | Self::InvalidLength
                | Self::NoHttp
                | Self::NoTls
                | Self::TlsFailed
                | Self::TlsTimeout
                | Self::HeadTooLong
                | Self::HeadTimeout
                | Self::HandshakeTimeout
                | Self::Evicted
                | Self::NoProxyHeader
        )
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_its_number_and_a_name_of_its_own() {
        for (number, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, number, "{refusal:?}");
        }
        let names: BTreeSet<_> = Refusal::ALL.into_iter().map(Refusal::name).collect();
        assert_eq!(names.len(), Refusal::COUNT);
        let is_plain =
            |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b"_01".contains(&b));
        assert!(names.into_iter().all(is_plain));
    }
}
