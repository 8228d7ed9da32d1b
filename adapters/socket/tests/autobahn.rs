//! The peers for Autobahn's test suite: both sides of our WebSocket, as echoes on blocking sockets.
//! `.ci/autobahn` runs them, and `docs/autobahn.md` has the results. Without the variables of the environment
//! that it sets, the two sides talk to each other.

use std::env;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Instant as Clock;

use wwr::handshake::{Key, accept_value};
use wwr::{CloseFrame, Instant};
use wwr_socket::Memory;
use wwr_socket::websocket::{Incoming, Role, WebSocket, WebSocketLimits};

/// The longest message of Autobahn.
const MAX_MESSAGE: usize = 16 << 20;

/// A WebSocket on a blocking socket.
struct Socket {
    stream: TcpStream,
    socket: WebSocket,
    memory: Memory,
    buffer: Vec<u8>,
    started: Clock,
}

impl Socket {
    fn new(stream: TcpStream, role: Role) -> Self {
        stream.set_nodelay(true).unwrap();
        let limits = WebSocketLimits { max_message: MAX_MESSAGE, ..Default::default() };
        Self {
            stream,
            socket: WebSocket::new(role, limits),
            memory: Memory::new(),
            buffer: vec![0; 64 * 1024],
            started: Clock::now(),
        }
    }

    /// Accepts the handshake of a client.
    fn accept(mut stream: TcpStream) -> Option<Self> {
        let head = head(&mut stream)?;
        let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "))?;
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            accept_value(key.as_bytes())
        );
        stream.write_all(answer.as_bytes()).ok()?;
        Some(Self::new(stream, Role::Server))
    }

    fn open(address: &str, path: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        let key = Key::from_entropy([7; Key::ENTROPY]);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
            key.as_str()
        );
        stream.write_all(request.as_bytes()).unwrap();
        assert!(head(&mut stream).unwrap().starts_with("HTTP/1.1 101 "));
        Self::new(stream, Role::Client)
    }

    /// Sends the output. Returns whether the peer takes it.
    fn flush(&mut self) -> bool {
        self.socket.mask(|| {
            let mut key = [0; 4];
            getrandom::fill(&mut key).unwrap();
            key
        });
        let now = Instant::EPOCH + self.started.elapsed();
        let sent = self.stream.write_all(self.socket.output()).is_ok();
        self.socket.sent(now, self.socket.output().len(), &mut self.memory);
        sent
    }

    /// Returns what comes next. `None` at the end of the socket.
    fn next(&mut self) -> Option<Incoming> {
        loop {
            if let Some(incoming) = self.socket.poll(&mut self.memory) {
                return Some(incoming);
            }
            if !self.flush() || self.socket.has_ended() {
                return None;
            }
            match self.stream.read(&mut self.buffer) {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.socket.receive(&self.buffer[..length], &mut self.memory),
            }
        }
    }

    fn send(&mut self, message: &Incoming) {
        match message {
            Incoming::Message(payload) => self.socket.send(payload, &mut self.memory),
            Incoming::Text(text) => {
                self.socket.send_text(str::from_utf8(text).unwrap(), &mut self.memory);
            }
            _ => {}
        }
    }

    /// Sends back what comes, until the end. A server closes the socket first (RFC 6455 section 7.1.1).
    fn echo(mut self, role: Role) {
        while let Some(message) = self.next() {
            self.send(&message);
        }
        self.flush();
        if role == Role::Server {
            let _ = self.stream.shutdown(Shutdown::Write);
        }
        // What else comes is read, so that the last output is not lost to a reset connection.
        while matches!(self.stream.read(&mut self.buffer), Ok(1..)) {}
    }
}

/// Reads the head of a request or an answer, and nothing behind it.
fn head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

fn serve(listener: &TcpListener) {
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        thread::spawn(|| {
            if let Some(socket) = Socket::accept(stream) {
                socket.echo(Role::Server);
            }
        });
    }
}

/// Goes through all cases of Autobahn's server.
fn visit(address: &str, agent: &str) {
    let mut counting = Socket::open(address, "/getCaseCount");
    let Some(Incoming::Text(count)) = counting.next() else { panic!("no number of cases") };
    counting.echo(Role::Client);
    let count: u32 = str::from_utf8(&count).unwrap().parse().unwrap();
    for case in 1..=count {
        let path = format!("/runCase?case={case}&agent={agent}");
        Socket::open(address, &path).echo(Role::Client);
    }
    Socket::open(address, &format!("/updateReports?agent={agent}")).echo(Role::Client);
}

/// Sends messages of both kinds and many lengths, and expects each of them back.
fn converse(address: &str) {
    let mut socket = Socket::open(address, "/");
    for length in [0, 1, 125, 126, 0xffff, 0x1_0000, 1 << 20] {
        let text = "x".repeat(length);
        for message in [Incoming::Message(text.clone().into()), Incoming::Text(text.into())] {
            socket.send(&message);
            assert!(socket.next() == Some(message), "{length} bytes");
        }
    }
    socket.socket.close(&CloseFrame::NORMAL, &mut socket.memory);
    assert_eq!(socket.next(), Some(Incoming::Closed(CloseFrame::NORMAL)));
}

#[test]
fn an_echo_is_what_was_sent() {
    let variable = |name| env::var(name).ok();
    match (variable("AUTOBAHN_SERVE"), variable("AUTOBAHN_VISIT"), variable("AUTOBAHN_AGENT")) {
        (Some(address), None, _) => serve(&TcpListener::bind(address).unwrap()),
        (None, Some(address), Some(agent)) => visit(&address, &agent),
        (None, None, _) => {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            thread::spawn(move || serve(&listener));
            converse(&address);
        }
        _ => panic!("AUTOBAHN_SERVE, or AUTOBAHN_VISIT with AUTOBAHN_AGENT"),
    }
}
