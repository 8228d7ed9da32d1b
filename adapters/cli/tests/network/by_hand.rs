//! A client that shares nothing with this project: HTTP and WebSocket written out by hand.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;

use crate::support::Server;

/// One socket, and what is written to and read from it.
struct Hand {
    stream: TcpStream,
}

const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const SAMPLE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

impl Hand {
    fn dial(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).unwrap() }
    }

    /// Opens a WebSocket.
    fn open(address: SocketAddr) -> Self {
        let mut hand = Self::dial(address);
        let head = hand.http(&format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SAMPLE_KEY}\r\n\r\n"
        ));
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        let accept = format!("sec-websocket-accept: {}\r\n", SAMPLE_ACCEPT.to_ascii_lowercase());
        assert!(head.contains(&accept), "{head}");
        hand
    }

    /// Sends a request and reads the head of the answer, in lower case.
    fn http(&mut self, request: &str) -> String {
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.read(1));
        }
        String::from_utf8(head).unwrap().to_ascii_lowercase()
    }

    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Sends one masked frame of fewer than 126 bytes.
    fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap()];
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.stream.write_all(&frame).unwrap();
    }

    fn send(&mut self, message: &[u8]) {
        self.frame(2, message);
    }

    /// A request: type, an identifier of one repeated byte, name, payload.
    fn request(&mut self, kind: u8, id: u8, name: &str, payload: &[u8]) {
        let mut message = vec![kind];
        message.extend([id; 8]);
        message.push(u8::try_from(name.len()).unwrap());
        message.extend(name.as_bytes());
        message.extend(payload);
        self.send(&message);
    }

    /// The next frame: opcode and payload. Servers do not mask.
    fn next(&mut self) -> (u8, Vec<u8>) {
        let head = self.read(2);
        assert_eq!(head[0] & 0xf0, 0x80, "whole, without extensions");
        let length = match head[1] {
            126 => {
                let bytes = self.read(2);
                usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
            }
            length => usize::from(length),
        };
        (head[0] & 0x0f, self.read(length))
    }

    /// The next message, which has to be binary.
    fn message(&mut self) -> Vec<u8> {
        let (opcode, message) = self.next();
        assert_eq!(opcode, 2, "{message:02x?}");
        message
    }

    /// The payload of the next message, which has to be a reply of this type and identifier.
    fn reply(&mut self, kind: u8, id: u8) -> Vec<u8> {
        let message = self.message();
        assert_eq!((message[0], &message[1..9]), (kind, &[id; 8][..]), "{message:02x?}");
        message[9..].to_vec()
    }

    /// The status code of the close frame that comes next, and the end of the connection after it.
    fn closed(mut self) -> u16 {
        let (opcode, payload) = self.next();
        assert_eq!(opcode, 8, "{payload:02x?}");
        self.frame(8, &payload[..2]);
        assert_eq!(self.stream.read(&mut [0]).unwrap(), 0);
        u16::from_be_bytes([payload[0], payload[1]])
    }
}

#[test]
fn a_client_made_by_hand_gets_through() {
    let mut server = Server::start(&["--log", "debug"]);
    let address = server.address;

    // The preflight.
    let mut probe = Hand::dial(address);
    let head = probe.http(&format!("WEBWIRE / HTTP/1.1\r\nHost: {address}\r\n\r\n"));
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(head.contains("access-control-allow-origin: *\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert_eq!(probe.read(27), b"{\"protocol-version\":\"1.4\"}\n");

    // Echo in three encodings, named and nameless; an odd name has UTF-16 padded.
    let mut first = Hand::open(address);
    first.request(0x7f, 1, "echo", b"\x00\xff");
    assert_eq!(first.reply(0xbf, 1), b"\x00\xff");
    first.request(0x80, 2, "echo", "h\u{e9}".as_bytes());
    assert_eq!(first.reply(0xc0, 2), "h\u{e9}".as_bytes());
    first.request(0x81, 3, "echo", b"h\0i\0");
    assert_eq!(first.reply(0xc1, 3), b"\0h\0i\0");
    first.request(0x81, 4, "", b"h\0");
    assert_eq!(first.reply(0xc1, 4), b"\0h\0");

    // Login: the session comes before the reply, which is its key.
    first.request(0x80, 5, "login", br#"{"user":"ada"}"#);
    let created = first.message();
    assert_eq!(created[0], 0x15);
    let session: serde_json::Value = serde_json::from_slice(&created[1..]).unwrap();
    assert_eq!(session["i"], serde_json::json!({ "user": "ada" }));
    let key = first.reply(0xc0, 5);
    assert_eq!(session["k"].as_str().unwrap().as_bytes(), key);
    assert_eq!(key.len(), 64);
    first.request(0x7f, 6, "whoami", b"");
    assert_eq!(first.reply(0xc0, 6), &created[1..]);

    // A second connection restores it.
    let mut second = Hand::open(address);
    let mut restore = vec![0x20, 7, 7, 7, 7, 7, 7, 7, 7];
    restore.extend(&key);
    second.send(&restore);
    let restored: serde_json::Value = serde_json::from_slice(&second.reply(0xc0, 7)).unwrap();
    assert_eq!((&restored["k"], &restored["i"]), (&session["k"], &session["i"]));

    // A third kicks both, and the session is gone for good.
    let mut third = Hand::open(address);
    third.request(0x80, 8, "kick", &key);
    assert_eq!(third.reply(0xc0, 8), b"2");
    assert_eq!((first.message(), second.message()), (vec![0x16], vec![0x16]));
    third.send(&restore);
    assert_eq!(third.reply(0x03, 7), b"");
    first.request(0x7f, 9, "whoami", b"");
    let message = first.message();
    assert_eq!((message[0], &message[9..20]), (0x00, &b"\x0aNO_SESSION"[..]), "{message:02x?}");

    // A message that cannot be read is a protocol error, and the connection goes on.
    first.send(&[0x7f, 1, 1, 1, 1, 1, 1, 1, 1, 9, b'x', b'y']);
    assert_eq!(first.reply(0x06, 1), b"");

    // A graceful shutdown: what runs is answered, what is new is refused, all is closed.
    first.request(0x80, 10, "sleep", b"1000");
    server.running.wait_for_log("name=sleep");
    server.running.signal(Signal::TERM);
    server.running.wait_for_log("shutting down");
    assert_eq!(second.closed(), 1001);
    first.request(0x80, 11, "echo", b"too late");
    assert_eq!(first.reply(0x01, 11), b"");
    assert_eq!(first.reply(0xc0, 10), b"1000");
    assert_eq!((first.closed(), third.closed()), (1001, 1001));
    assert_eq!(server.running.finish().code, Some(0));
}
