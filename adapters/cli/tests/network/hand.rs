//! A client that shares nothing with this project: HTTP and WebSocket written out by hand.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::support::SAFETY;

/// One socket, and what is written to and read from it.
pub(crate) struct Hand {
    stream: TcpStream,
    address: SocketAddr,
}

const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const SAMPLE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

impl Hand {
    pub(crate) fn dial(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SAFETY)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, address }
    }

    /// Sends a preflight; returns the head of the answer, in lower case.
    pub(crate) fn preflight(&mut self, path: &str) -> String {
        self.http(&format!("WEBWIRE {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address))
    }

    /// Opens a WebSocket at a server that speaks 2.0, and takes its accept-conf.
    pub(crate) fn open(address: SocketAddr, path: &str) -> Self {
        let mut hand = Self::open_quietly(address, path);
        let announced = hand.message();
        assert_eq!(&announced[..3], [0x17, 2, 0], "{announced:02x?}");
        hand
    }

    /// Opens a WebSocket.
    pub(crate) fn open_quietly(address: SocketAddr, path: &str) -> Self {
        let mut hand = Self::ask(address, path);
        let head = hand.head();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let accept = format!("sec-websocket-accept: {}\r\n", SAMPLE_ACCEPT.to_ascii_lowercase());
        assert!(head.contains(&accept), "{head}");
        hand
    }

    /// Asks for a WebSocket, without waiting for the answer.
    pub(crate) fn ask(address: SocketAddr, path: &str) -> Self {
        let mut hand = Self::dial(address);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SAMPLE_KEY}\r\n\r\n"
        );
        hand.stream.write_all(request.as_bytes()).unwrap();
        hand
    }

    /// Sends a request and reads the head of the answer, in lower case.
    pub(crate) fn http(&mut self, request: &str) -> String {
        self.stream.write_all(request.as_bytes()).unwrap();
        self.head()
    }

    fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read(1));
        }
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    }

    pub(crate) fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Sends one masked frame.
    pub(crate) fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ ..=125 => frame.push(0x80 | length as u8),
            length @ ..=0xffff => {
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
        self.stream.write_all(&frame).unwrap();
    }

    pub(crate) fn send(&mut self, message: &[u8]) {
        self.frame(2, message);
    }

    /// A request: type, an identifier of one repeated byte, name, payload.
    pub(crate) fn request(&mut self, kind: u8, id: u8, name: &str, payload: &[u8]) {
        let mut message = vec![kind];
        message.extend([id; 8]);
        message.push(u8::try_from(name.len()).unwrap());
        message.extend(name.as_bytes());
        message.extend(payload);
        self.send(&message);
    }

    /// The next frame: opcode and payload. Servers do not mask.
    pub(crate) fn next(&mut self) -> (u8, Vec<u8>) {
        let head = self.read(2);
        assert_eq!(head[0] & 0xf0, 0x80, "whole, without extensions");
        let length = match head[1] {
            126 => self.length(2),
            127 => self.length(8),
            length => usize::from(length),
        };
        (head[0] & 0x0f, self.read(length))
    }

    /// A length of this many bytes.
    fn length(&mut self, bytes: usize) -> usize {
        self.read(bytes).into_iter().fold(0, |length, byte| length << 8 | usize::from(byte))
    }

    /// Waits for a ping and answers it.
    pub(crate) fn answer_ping(&mut self) {
        let (opcode, payload) = self.next();
        assert_eq!(opcode, 9, "{payload:02x?}");
        self.frame(10, &payload);
    }

    /// The next message, which has to be binary. Pings before it are answered.
    pub(crate) fn message(&mut self) -> Vec<u8> {
        loop {
            match self.next() {
                (9, payload) => self.frame(10, &payload),
                (opcode, message) => {
                    assert_eq!(opcode, 2, "{message:02x?}");
                    return message;
                }
            }
        }
    }

    /// Checks that a request is answered.
    pub(crate) fn is_served(&mut self) {
        self.request(0x80, 0xec, "echo", b"still there");
        assert_eq!(self.reply(0xc0, 0xec), b"still there");
    }

    /// The payload of the next message, which has to be a reply of this type and identifier.
    pub(crate) fn reply(&mut self, kind: u8, id: u8) -> Vec<u8> {
        let message = self.message();
        assert_eq!((message[0], &message[1..9]), (kind, &[id; 8][..]), "{message:02x?}");
        message[9..].to_vec()
    }

    /// The status code of the close frame that comes next, and the end of the connection after it.
    pub(crate) fn closed(mut self) -> u16 {
        let (opcode, payload) = self.next();
        assert_eq!(opcode, 8, "{payload:02x?}");
        self.frame(8, &payload[..2]);
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0);
        u16::from_be_bytes([payload[0], payload[1]])
    }
}
