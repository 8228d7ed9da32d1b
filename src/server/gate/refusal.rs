//! Why a request is refused, in words for people.

use crate::server::hub;

/// Why a request, or a socket on which requests were to come, is refused.
///
/// The [`reason`](Self::reason) is meant for the answer and for the log alike. A log that is told of
/// refusals by reason, as by a [`LogThrottle`](super::LogThrottle) for each, is not flooded, and no
/// reason hides another: `refusal as usize` is below [`COUNT`](Self::COUNT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The server shuts down (protocol §4.2).
    ShuttingDown,
    /// As many WebSockets are open as may be.
    TooManyConnections,
    /// HTTP/1.1 without `Host` (RFC 9112 section 3.2).
    NoHost,
    /// `Host` is there more than once.
    SeveralHosts,
    /// `Host` is empty or no host.
    InvalidHost,
    /// The target of the request is no path, and no URL of a scheme this server has.
    InvalidTarget,
    /// `Content-Length` is no number, or several that differ.
    InvalidLength,
    /// A page of another origin asks for a WebSocket.
    OriginNotAllowed,
    /// The request has a body, which nobody reads.
    Body,
    /// Neither an upgrade nor anything the application answers.
    NoWebSocket,
    /// `Upgrade: websocket` without `Connection: Upgrade`.
    NoConnectionUpgrade,
    /// `Upgrade: websocket` in HTTP/1.0.
    Http10,
    /// Another method than `GET`, and none that the application answers.
    MethodNotAllowed,
    /// The preflight of 1.x clients at a server that has none (protocol §4.5).
    NoPreflight,
    /// Another `Sec-WebSocket-Version` than 13, or none.
    WrongVersion,
    /// `Sec-WebSocket-Version` is there more than once (RFC 6455 section 11.3.5).
    SeveralVersions,
    /// No `Sec-WebSocket-Key`.
    NoKey,
    /// `Sec-WebSocket-Key` is there more than once (RFC 6455 section 11.3.1).
    SeveralKeys,
    /// `Sec-WebSocket-Key` is not the base64 of 16 bytes.
    InvalidKey,
    /// What came is no HTTP/1 request.
    NoHttp,
    /// The head is longer than the host allows.
    HeadTooLong,
    /// The head did not come in time.
    HeadTimeout,
    /// No WebSocket was opened in time.
    HandshakeTimeout,
    /// The slot of the socket was given to another one: see [`HandshakeSlots`](super::HandshakeSlots).
    Evicted,
    /// A trusted proxy did not begin with a header of the PROXY protocol, though it has to.
    NoProxyHeader,
    /// The application refused it. Host and application know with which status.
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
    /// How many there are.
    pub const COUNT: usize = Self::ByApplication as usize + 1;

    /// The HTTP status of the answer, if there is one: a host may also just close the socket if no
    /// request came, or if it gives its slot away.
    pub const fn status(self) -> u16 {
        match self {
            Self::ShuttingDown | Self::TooManyConnections | Self::Evicted => 503,
            Self::OriginNotAllowed | Self::ByApplication => 403,
            Self::NoWebSocket | Self::NoConnectionUpgrade | Self::Http10 | Self::WrongVersion => {
                426
            }
            Self::MethodNotAllowed => 405,
            Self::HeadTooLong => 431,
            Self::HeadTimeout | Self::HandshakeTimeout => 408,
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
            | Self::NoProxyHeader => 400,
        }
    }

    /// What is wrong, in a few words without a full stop.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ShuttingDown => "Server shutting down",
            Self::TooManyConnections => "Too many connections",
            Self::NoHost => "The request has no Host header",
            Self::SeveralHosts => "The request has several Host headers",
            Self::InvalidHost => "The Host header is no host",
            Self::InvalidTarget => "The target of the request is no path on this server",
            Self::InvalidLength => "The Content-Length header is no number",
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
            Self::NoHttp => "What came is no HTTP/1 request",
            Self::HeadTooLong => "The head of the request is too long",
            Self::HeadTimeout => "The head of the request did not come in time",
            Self::HandshakeTimeout => "No WebSocket was opened in time",
            Self::Evicted => "Too many sockets without a WebSocket",
            Self::NoProxyHeader => "No PROXY protocol header came from a trusted proxy",
            Self::ByApplication => "The application refused the request",
        }
    }

    /// What a client, or the person behind it, can do about it; empty if there is nothing to add to
    /// the reason.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::TooManyConnections | Self::Evicted => "Try again later.",
            Self::NoHost | Self::SeveralHosts | Self::InvalidHost => {
                "It has to be there once, with the host and port of this server (RFC 9112, section 3.2)."
            }
            Self::InvalidTarget => "It begins with a slash, or is a URL of http, https, ws or wss.",
            Self::InvalidLength => "It has to be one whole number (RFC 9112, section 6.3).",
            Self::OriginNotAllowed => {
                "Pages of this origin may not connect. The server's operator can allow it."
            }
            Self::Body => "Nothing here reads one: send the request without.",
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
                "It has to be there once (RFC 6455, section 4.2.1)."
            }
            Self::NoHttp => "WebSockets begin with an HTTP/1.1 request (RFC 6455).",
            Self::HeadTooLong => "Send fewer or shorter headers.",
            Self::HeadTimeout | Self::HandshakeTimeout => "Send it sooner.",
            Self::ShuttingDown | Self::NoWebSocket | Self::NoProxyHeader | Self::ByApplication => {
                ""
            }
        }
    }

    /// Whether a person may read the answer who does not know what this is.
    pub(super) const fn explains_how_to_connect(self) -> bool {
        matches!(self.status(), 400 | 403 | 405 | 426)
    }

    /// Whether the answer says which version of WebSocket is spoken (protocol §4.3).
    pub(super) const fn names_version(self) -> bool {
        matches!(self.status(), 400 | 405 | 426)
    }

    /// Whether nothing more can be said on the socket, whatever the request was.
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
                | Self::HeadTooLong
                | Self::HeadTimeout
                | Self::HandshakeTimeout
                | Self::Evicted
                | Self::NoProxyHeader
        )
    }
}
