//! A server made by hand: HTTP and WebSocket frames over a blocking socket, with nothing of ours.
//!
//! A test is the server itself and goes through its conversation line by line, while the client
//! runs in the background. Whatever does not happen within [`TIMEOUT`] fails the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use async_tungstenite::tungstenite::handshake::derive_accept_key;

/// Long enough for any machine; nothing that goes well waits for it.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) const GOOD_BODY: &str = "{\"protocol-version\":\"1.4\"}\n";

/// The preflight's answer of a server of 1.5, with a read timeout of a second.
pub(crate) const BODY_1_5: &str = "{\"protocol-version\":\"1.5\",\"read-timeout\":1}\n";

/// The first message of a server of this version, with a read timeout in milliseconds and a message
/// buffer in bytes.
pub(crate) fn accept_conf(version: [u8; 2], read_timeout: u32, buffer: u32, name: &str) -> Vec<u8> {
    let [major, minor] = version;
    let (timeout, buffer) = (read_timeout.to_le_bytes(), buffer.to_le_bytes());
    [&[0x17, major, minor][..], &timeout, &buffer, name.as_bytes()].concat()
}

/// The first message of a server of 2.0 with the default settings.
pub(crate) fn default_conf() -> Vec<u8> {
    accept_conf([2, 0], 60_000, 8192, "")
}

pub(crate) struct RawServer {
    listener: TcpListener,
}

impl RawServer {
    pub(crate) fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// A server at an address where none was before.
    pub(crate) fn bind_to(address: SocketAddr) -> Self {
        Self { listener: TcpListener::bind(address).unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.listener.local_addr().unwrap())
    }

    /// The next connection and the HTTP request that comes on it.
    pub(crate) fn accept(&self) -> Exchange {
        self.try_accept().expect("the client closed the connection before it asked")
    }

    /// The next connection and the HTTP request that comes on it, if one does.
    pub(crate) fn try_accept(&self) -> Option<Exchange> {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream.set_write_timeout(Some(TIMEOUT)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut exchange = Exchange { stream, head: String::new() };
        while !exchange.head.ends_with("\r\n\r\n") {
            let mut byte = [0];
            exchange.stream.read_exact(&mut byte).ok()?;
            exchange.head.push(char::from(byte[0]));
        }
        Some(exchange)
    }

    /// Answers a preflight as a 1.4 server does.
    pub(crate) fn answer_probe(&self) {
        let probe = self.accept();
        assert_eq!(probe.method(), "WEBWIRE");
        probe.respond("200 OK", GOOD_BODY);
    }

    /// Answers a preflight as a server of all versions does: it promises an accept-conf.
    pub(crate) fn promise_accept_conf(&self) {
        let probe = self.accept();
        assert_eq!(probe.method(), "WEBWIRE");
        let length = GOOD_BODY.len();
        probe.write(&format!(
            "HTTP/1.1 200 OK\r\nwebwire-accept-conf: 2.0\r\nContent-Length: {length}\r\n\r\n{GOOD_BODY}"
        ));
    }

    /// Answers a preflight as a 2.0 server does, which knows no such method.
    pub(crate) fn refuse_probe(&self) {
        let probe = self.accept();
        assert_eq!(probe.method(), "WEBWIRE");
        probe.respond("400 Bad Request", "Bad Request\nInternal Server Error\n");
    }

    /// Opens the next WebSocket and sends a message on it, as 2.0 servers do.
    pub(crate) fn advertise(&self, first: &[u8]) -> RawSocket {
        let mut socket = self.accept().upgrade();
        socket.send(first);
        socket
    }

    /// Answers a preflight, then the handshake.
    pub(crate) fn open(&self) -> RawSocket {
        self.answer_probe();
        self.accept().upgrade()
    }
}

/// An address without a listener, and which no other test is given: those are all at
/// 127.0.0.1, as long as the system has more such addresses.
pub(crate) fn unused_address() -> SocketAddr {
    let host = if cfg!(target_os = "linux") { "127.0.0.2:0" } else { "127.0.0.1:0" };
    TcpListener::bind(host).unwrap().local_addr().unwrap()
}

/// A connection on which an HTTP request came.
pub(crate) struct Exchange {
    pub(crate) stream: TcpStream,
    pub(crate) head: String,
}

impl Exchange {
    pub(crate) fn method(&self) -> &str {
        self.head.split(' ').next().unwrap()
    }

    /// The value of a header, whatever the case of its name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn respond(self, status: &str, body: &str) {
        let length = body.len();
        self.write(&format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}"));
    }

    /// Writes something of any kind and closes the connection.
    pub(crate) fn write(mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    pub(crate) fn upgrade(self) -> RawSocket {
        assert_eq!(self.method(), "GET");
        let accept = derive_accept_key(self.header("Sec-WebSocket-Key").unwrap().as_bytes());
        self.upgrade_with(&accept)
    }

    pub(crate) fn upgrade_with(mut self, accept: &str) -> RawSocket {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.stream.write_all(answer.as_bytes()).unwrap();
        RawSocket { stream: self.stream }
    }
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The server's side of a WebSocket.
pub(crate) struct RawSocket {
    pub(crate) stream: TcpStream,
}

impl RawSocket {
    pub(crate) fn send(&mut self, message: &[u8]) {
        self.send_frame(true, BINARY, message);
    }

    pub(crate) fn send_frame(&mut self, last: bool, opcode: u8, payload: &[u8]) {
        let mut frame = vec![u8::from(last) << 7 | opcode];
        match payload.len() {
            length @ ..=125 => frame.push(length as u8),
            length @ 126..=0xffff => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        self.stream.write_all(&frame).unwrap();
    }

    /// The next frame but for pings, which are not answered; `None` once the client has closed the
    /// connection.
    pub(crate) fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match self.any_frame() {
                Some((PING, _)) => {}
                other => return other,
            }
        }
    }

    /// The next frame; `None` once the client has closed the connection.
    pub(crate) fn any_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error}"),
        }
        assert_eq!(head[0] & 0x70, 0, "no extension was agreed on");
        assert_eq!(head[0] & 0x80, 0x80, "the client does not fragment");
        assert_eq!(head[1] & 0x80, 0x80, "a client masks its frames");
        let length = match head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes(self.read())),
            127 => u64::from_be_bytes(self.read()),
            short => short.into(),
        };
        let mask: [u8; 4] = self.read();
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload).unwrap();
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        Some((head[0] & 0x0f, payload))
    }

    fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next message.
    pub(crate) fn message(&mut self) -> Vec<u8> {
        let (opcode, payload) = self.frame().expect("the client closed the connection");
        assert_eq!(opcode, BINARY, "{payload:?}");
        payload
    }

    /// The next message, which is a request.
    pub(crate) fn request(&mut self) -> Asked {
        Asked::parse(&self.message())
    }

    /// Replies with binary data.
    pub(crate) fn reply(&mut self, asked: &Asked, payload: &[u8]) {
        self.send(&[&[0xbf], &asked.id[..], payload].concat());
    }

    /// Receives a request and sends its payload back; returns the name.
    pub(crate) fn echo(&mut self) -> String {
        let asked = self.request();
        self.reply(&asked, &asked.payload);
        asked.name
    }

    /// Receives the close frame of the client, answers it, and sees the client go.
    pub(crate) fn closed_by_client(mut self) {
        assert_eq!(self.frame(), Some((CLOSE, 1000u16.to_be_bytes().to_vec())));
        self.send_frame(true, CLOSE, &1000u16.to_be_bytes());
        drop(self);
    }
}

/// A request, taken apart by hand.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) kind: u8,
    pub(crate) id: [u8; 8],
    pub(crate) name: String,
    pub(crate) payload: Vec<u8>,
}

impl Asked {
    fn parse(message: &[u8]) -> Self {
        assert!((127..=129).contains(&message[0]), "{message:?} is no request");
        let name_end = 10 + usize::from(message[9]);
        Self {
            kind: message[0],
            id: message[1..9].try_into().unwrap(),
            name: String::from_utf8(message[10..name_end].to_vec()).unwrap(),
            payload: message[name_end..].to_vec(),
        }
    }
}

/// What a session looks like on the wire.
pub(crate) fn session_json(key: &str) -> String {
    let time = "2018-06-13T10:20:30Z";
    format!("{{\"k\":\"{key}\",\"c\":\"{time}\",\"l\":\"{time}\",\"i\":{{\"user\":\"ada\"}}}}")
}
