//! A client made by hand: HTTP as text, WebSocket frames as bytes. Nothing of the server's code or
//! of its libraries is used, so that what it sees is what is on the wire.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::SAFETY;
use super::message::{ACCEPT_CONF, ask};

/// The key of the handshake and the answer to it, from RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// First bytes of unfragmented frames.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// A byte stream of any kind.
pub(crate) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A client on one byte stream.
pub(crate) struct Peer {
    stream: Box<dyn Stream>,
    /// What was read and not used yet.
    read: Vec<u8>,
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The value of a header that is there once.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(one, _)| one == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    pub(crate) fn body(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A WebSocket frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

/// The text of a handshake.
pub(crate) fn handshake(path: &str, headers: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// A masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

impl Peer {
    /// A TCP connection on which nothing was said yet.
    pub(crate) fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SAFETY)).unwrap();
        stream.set_write_timeout(Some(SAFETY)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::on(stream)
    }

    pub(crate) fn on(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), read: Vec::new() }
    }

    /// An open WebSocket of a 1.4 client at a server of all versions: it asks first.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::dial(address).preflight("/");
        Self::connect_unasked(address)
    }

    /// An open WebSocket of a client that may speak 2.0: it does not ask.
    pub(crate) fn connect_unasked(address: SocketAddr) -> Self {
        let mut peer = Self::dial(address);
        peer.upgrade("/", "");
        peer
    }

    /// A 1.4 client at a server of all versions that sends a message as soon as it is connected, as
    /// those of the reference do that have something to say. What the server advertises is read.
    pub(crate) fn connect_speaking(address: SocketAddr, message: &[u8]) -> Self {
        Self::dial(address).preflight("/");
        let mut peer = Self::dial(address);
        peer.open("/", "");
        peer.send(message);
        peer.advertised();
        peer
    }

    /// Sends a preflight and returns the answer.
    pub(crate) fn preflight(&mut self, path: &str) -> Answer {
        self.http(&format!("WEBWIRE {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    /// Opens a WebSocket at a server that speaks 2.0 and advertises what is the default.
    pub(crate) fn upgrade(&mut self, path: &str, headers: &str) {
        self.open(path, headers);
        self.advertised();
    }

    /// Checks that the next message is the default advertised settings.
    pub(crate) fn advertised(&mut self) {
        assert_eq!(self.message(), ACCEPT_CONF);
    }

    /// Sends a handshake and checks that it is accepted.
    pub(crate) fn open(&mut self, path: &str, headers: &str) {
        self.write(handshake(path, headers).as_bytes());
        let answer = self.http_answer();
        assert_eq!(answer.status, 101, "{answer:?}");
        assert_eq!(answer.header("upgrade"), Some("websocket"));
        assert!(answer.header("connection").unwrap().eq_ignore_ascii_case("upgrade"));
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
        for absent in ["sec-websocket-extensions", "sec-websocket-protocol"] {
            assert_eq!(answer.header(absent), None);
        }
    }

    /// Sends an HTTP request and returns the answer.
    pub(crate) fn http(&mut self, request: &str) -> Answer {
        self.write(request.as_bytes());
        self.http_answer()
    }

    /// Reads an HTTP answer; the body is as long as its head says.
    pub(crate) fn http_answer(&mut self) -> Answer {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.fill(), "the head ends early: {:?}", String::from_utf8_lossy(&self.read));
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        };
        let headers = lines.map(pair).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body = self.take(length).expect("the body ends early");
        answer
    }

    /// Reads what a server says that closes the connection after it.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.read)
    }

    /// Reads and drops that many bytes.
    pub(crate) fn skip(&mut self, mut count: usize) {
        while count > 0 {
            if self.read.is_empty() {
                assert!(self.fill(), "the server closed the connection");
            }
            let skipped = count.min(self.read.len());
            self.read.drain(..skipped);
            count -= skipped;
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Writes to a server that may have closed the connection.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a message.
    pub(crate) fn send(&mut self, message: &[u8]) {
        self.write(&frame(BINARY, message));
    }

    /// Sends a request with a UTF-8 payload and returns what comes back.
    pub(crate) fn ask(&mut self, id: u64, name: &str, payload: &str) -> Vec<u8> {
        self.send(&ask(id, name, payload));
        self.message()
    }

    /// The next message. Control frames do not count as messages: there must be none before it.
    pub(crate) fn message(&mut self) -> Vec<u8> {
        let frame = self.frame().expect("the server closed the connection");
        assert_eq!(frame.first, BINARY, "{frame:?}");
        frame.payload
    }

    /// The next message; pings before it are answered.
    pub(crate) fn message_after_pings(&mut self) -> Vec<u8> {
        loop {
            let next = self.frame().expect("the server closed the connection");
            match next.first {
                PING => self.write(&frame(PONG, &next.payload)),
                first => {
                    assert_eq!(first, BINARY, "{next:?}");
                    return next.payload;
                }
            }
        }
    }

    /// The next frame; `None` if the server has closed the connection.
    pub(crate) fn frame(&mut self) -> Option<Frame> {
        let head = self.take(2)?;
        assert_eq!(head[1] & 0x80, 0, "servers do not mask");
        let length = match head[1] {
            126 => u16::from_be_bytes(self.take(2)?.try_into().unwrap()).into(),
            127 => u64::from_be_bytes(self.take(8)?.try_into().unwrap()) as usize,
            short => usize::from(short),
        };
        Some(Frame { first: head[0], payload: self.take(length)? })
    }

    /// Reads a close frame with this code, answers it, and checks that the server closes.
    pub(crate) fn closed_with(&mut self, code: u16) {
        let frame = self.frame().expect("closed without a close frame");
        assert_eq!((frame.first, code_of(&frame)), (CLOSE, code), "{frame:?}");
        self.write(&super::peer::frame(CLOSE, &frame.payload));
        self.closed();
    }

    /// Checks that the server has closed the connection without another word.
    pub(crate) fn closed(&mut self) {
        assert_eq!(self.frame(), None);
    }

    /// Checks that the connection serves, and that nothing else was sent before.
    pub(crate) fn is_served(&mut self) {
        assert_eq!(
            self.ask(0xec40, "echo", "still there"),
            super::message::answer(0xec40, "still there")
        );
    }

    fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.read.len() < length {
            if !self.fill() {
                return None;
            }
        }
        Some(self.read.drain(..length).collect())
    }

    /// Reads more; false if there is no more.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(length) => {
                self.read.extend(&buffer[..length]);
                length > 0
            }
            Err(error) if is_gone(&error) => false,
            Err(error) => panic!("nothing comes: {error}"),
        }
    }
}

/// The status code of a close frame.
pub(crate) fn code_of(frame: &Frame) -> u16 {
    u16::from_be_bytes(frame.payload[..2].try_into().unwrap())
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}
