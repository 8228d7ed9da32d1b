//! What a client sends: requests and frames, right or nearly so, cut into pieces.

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use wwr::wire::{Encoder, Identifier, Message};
use wwr::{Content, Dialect, Payload};

use super::app::{NAMES, key};

/// Bytes in the pieces in which they arrive.
pub(crate) struct Pieces {
    bytes: Vec<u8>,
    size: usize,
}

impl Pieces {
    pub(crate) fn whole(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), size: bytes.len().max(1) }
    }

    pub(crate) fn single_bytes(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), size: 1 }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len().div_ceil(self.size)
    }

    pub(crate) fn get(&self, at: usize) -> Option<&[u8]> {
        self.bytes.chunks(self.size).nth(at)
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Script<'a> {
    size: u8,
    requests: Vec<Request<'a>>,
    opens: bool,
    headers: Vec<Header<'a>>,
    frames: Vec<Frame<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Request<'a> {
    Preflight { elsewhere: bool },
    Options,
    Other { method: Method, path: &'a [u8], headers: Vec<Header<'a>>, body: Option<&'a [u8]> },
    Raw(&'a [u8]),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Method {
    Get,
    Head,
    Post,
    Connect,
    WebWire,
    Odd,
}

/// Headers that matter, with any value or one that fits.
#[derive(Arbitrary, Debug)]
enum Header<'a> {
    Connection(&'a [u8]),
    Upgrade(&'a [u8]),
    Version(&'a [u8]),
    Key(&'a [u8]),
    Origin(&'a [u8]),
    SameOrigin,
    ContentLength(u32),
    Chunked,
    Expect,
    Host(&'a [u8]),
    Forwarded(&'a [u8]),
    ForwardedFor(&'a [u8]),
    Other(&'a [u8], &'a [u8]),
}

#[derive(Arbitrary, Debug)]
struct Frame<'a> {
    first: First,
    mask: Option<[u8; 4]>,
    /// Another length than it has.
    wrong_length: Option<u64>,
    body: Body<'a>,
}

/// The first byte of a frame.
#[derive(Arbitrary, Debug)]
enum First {
    Binary,
    Part,
    Continued,
    Last,
    Text,
    Ping,
    Pong,
    Close,
    Any(u8),
}

#[derive(Arbitrary, Debug)]
enum Body<'a> {
    Request { id: u8, name: u8, payload: Payload },
    Signal { comes_back: bool, payload: Payload },
    Restore { id: u8, number: u8 },
    CloseSession { id: u8 },
    Heartbeat,
    Close(u16),
    Raw(&'a [u8]),
}

/// The handshake of a client that does nothing odd, but for the empty line at its end.
const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// What the last client asks, which has to be answered.
pub(crate) fn last_request() -> (Identifier, Vec<u8>) {
    let id = Identifier::from_counter(1);
    let content = Content::new(b"echo", &Payload::EMPTY).expect("a name will do");
    let written = Encoder::new().encode(Dialect::Unknown, &Message::Request { id, content });
    (id, written.expect("it is short").to_vec())
}

/// Opens a WebSocket and sends that message.
pub(crate) fn open_and_send(message: &[u8]) -> Vec<u8> {
    let header = [0x82, 0x80 | message.len() as u8, 0, 0, 0, 0];
    [HANDSHAKE, b"\r\n", &header, message].concat()
}

impl Script<'_> {
    pub(crate) fn pieces(&self) -> Pieces {
        let mut bytes = Vec::new();
        self.requests.iter().for_each(|request| request.write(&mut bytes));
        if self.opens {
            bytes.extend(HANDSHAKE);
            write_headers(&self.headers, &mut bytes);
        }
        self.frames.iter().for_each(|frame| frame.write(&mut bytes));
        let size = if self.size == 0 { bytes.len().max(1) } else { self.size.into() };
        Pieces { bytes, size }
    }
}

impl Request<'_> {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Preflight { elsewhere } => {
                let path = if *elsewhere { "/other" } else { "/" };
                bytes.extend(format!("WEBWIRE {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").bytes());
            }
            Self::Options => bytes.extend(b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            Self::Other { method, path, headers, body } => {
                bytes.extend(method.text().bytes());
                bytes.extend(b" /");
                bytes.extend(*path);
                bytes.extend(b" HTTP/1.1\r\nHost: localhost\r\n");
                if let Some(body) = body {
                    bytes.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
                }
                write_headers(headers, bytes);
                bytes.extend(body.unwrap_or_default());
            }
            Self::Raw(raw) => bytes.extend(*raw),
        }
    }
}

impl Method {
    const fn text(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Connect => "CONNECT",
            Self::WebWire => "WEBWIRE",
            Self::Odd => "webwire",
        }
    }
}

fn write_headers(headers: &[Header<'_>], bytes: &mut Vec<u8>) {
    for header in headers {
        let length;
        let (name, value): (&[u8], &[u8]) = match header {
            Header::Connection(value) => (b"Connection", value),
            Header::Upgrade(value) => (b"Upgrade", value),
            Header::Version(value) => (b"Sec-WebSocket-Version", value),
            Header::Key(value) => (b"Sec-WebSocket-Key", value),
            Header::Origin(value) => (b"Origin", value),
            Header::SameOrigin => (b"Origin", b"http://localhost"),
            Header::ContentLength(number) => {
                length = number.to_string();
                (b"Content-Length", length.as_bytes())
            }
            Header::Chunked => (b"Transfer-Encoding", b"chunked"),
            Header::Expect => (b"Expect", b"100-continue"),
            Header::Host(value) => (b"Host", value),
            Header::Forwarded(value) => (b"Forwarded", value),
            Header::ForwardedFor(value) => (b"X-Forwarded-For", value),
            Header::Other(name, value) => (name, value),
        };
        bytes.extend([name, b": ", value, b"\r\n"].concat());
    }
    bytes.extend(b"\r\n");
}

impl Frame<'_> {
    fn write(&self, bytes: &mut Vec<u8>) {
        let body = self.body.bytes();
        bytes.push(self.first.byte());
        // A client that does not mask its frames is disconnected; most do.
        let mask = self.mask.unwrap_or_default();
        let masked = if self.mask == Some([0; 4]) { 0 } else { 0x80 };
        match self.wrong_length.unwrap_or(body.len() as u64) {
            length @ 0..=125 => bytes.push(masked | length as u8),
            length @ 126..=0xffff => {
                bytes.push(masked | 126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(masked | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        if masked != 0 {
            bytes.extend(mask);
        }
        bytes.extend(body.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    }
}

impl First {
    const fn byte(&self) -> u8 {
        match self {
            Self::Binary => 0x82,
            Self::Part => 0x02,
            Self::Continued => 0x00,
            Self::Last => 0x80,
            Self::Text => 0x81,
            Self::Ping => 0x89,
            Self::Pong => 0x8a,
            Self::Close => 0x88,
            Self::Any(byte) => *byte,
        }
    }
}

impl Body<'_> {
    fn bytes(&self) -> Vec<u8> {
        let id = |id: u8| Identifier::from_counter(id.into());
        let message = match self {
            Self::Request { id: number, name, payload } => {
                let name = NAMES[usize::from(*name) % NAMES.len()].as_bytes();
                let Ok(content) = Content::new(name, payload) else { return Vec::new() };
                Message::Request { id: id(*number), content }
            }
            Self::Signal { comes_back, payload } => {
                let name: &[u8] = if *comes_back { b"back" } else { b"" };
                let Ok(content) = Content::new(name, payload) else { return Vec::new() };
                Message::Signal(content)
            }
            Self::Restore { id: number, number: which } => {
                Message::RestoreSession { id: id(*number), key: key(u32::from(*which) % 3).into() }
            }
            Self::CloseSession { id: number } => Message::CloseSession { id: id(*number) },
            Self::Heartbeat => Message::Heartbeat,
            Self::Close(code) => return [&code.to_be_bytes()[..], b"bye"].concat(),
            Self::Raw(raw) => return raw.to_vec(),
        };
        let written = Encoder::new().encode(Dialect::Unknown, &message);
        written.map(|bytes| bytes.to_vec()).unwrap_or_default()
    }
}
