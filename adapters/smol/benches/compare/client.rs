//! One connection of the load generator.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::child::{Server, Side};
use super::traffic::Traffic;

/// How long a server may take for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const ACCEPT_CONF: u8 = 23;

/// A WebSocket, what is on its way on it, and where in the round of requests it is.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// Where in the round the next byte to be sent is.
    send_at: usize,
    /// How many bytes may be sent now.
    to_send: usize,
    /// Which request of the round is answered next, and how much of that was received.
    reply: usize,
    received: usize,
    /// Requests without an answer.
    in_flight: usize,
    /// Whether the socket did not take all that was to be sent.
    waiting: bool,
}

impl Client {
    /// Opens a WebSocket.
    pub(crate) fn connect(server: &Server) -> io::Result<Self> {
        let stream = TcpStream::connect(server.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Self {
            stream,
            send_at: 0,
            to_send: 0,
            reply: 0,
            received: 0,
            in_flight: 0,
            waiting: false,
        };
        client.upgrade(server.address())?;
        if server.side() == Side::Webwire {
            client.read_accept_conf()?;
        }
        Ok(client)
    }

    fn upgrade(&mut self, address: SocketAddr) -> io::Result<()> {
        write!(
            self.stream,
            "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )?;
        // Byte by byte, so that nothing of what follows is taken.
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte)?;
            head.extend_from_slice(&byte);
        }
        if head.starts_with(b"HTTP/1.1 101 ") { Ok(()) } else { Err(unexpected("handshake")) }
    }

    /// The first message of a server that speaks 2.0; short, so its frame has a header of two bytes.
    fn read_accept_conf(&mut self) -> io::Result<()> {
        let mut header = [0; 2];
        self.stream.read_exact(&mut header)?;
        let mut message = vec![0; usize::from(header[1])];
        self.stream.read_exact(&mut message)?;
        if message.first() == Some(&ACCEPT_CONF) { Ok(()) } else { Err(unexpected("accept-conf")) }
    }

    pub(crate) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether the socket did not take all that was to be sent.
    pub(crate) const fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Makes `requests` more requests ready to be sent.
    pub(crate) const fn ask(&mut self, requests: usize, traffic: &Traffic) {
        self.to_send += requests * traffic.request_length();
        self.in_flight += requests;
    }

    /// Sends what is ready, as far as the socket takes it; whether that was all.
    pub(crate) fn send(&mut self, traffic: &Traffic) -> io::Result<bool> {
        while self.to_send > 0 {
            match self.stream.write(traffic.requests(self.send_at, self.to_send)) {
                Ok(sent) => {
                    self.to_send -= sent;
                    self.send_at = (self.send_at + sent) % traffic.round();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waiting = true;
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.waiting = false;
        Ok(true)
    }

    /// Reads once, and counts the replies that are complete with it. Of each, the first `checked`
    /// bytes have to be right, the header with the length included.
    pub(crate) fn receive(
        &mut self,
        traffic: &Traffic,
        checked: usize,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut data = &buffer[..length];
        let mut replies = 0;
        while !data.is_empty() {
            let expected = traffic.reply(self.reply);
            let rest = &expected[self.received..];
            let taken = rest.len().min(data.len());
            let compared = checked.saturating_sub(self.received).min(taken);
            if data[..compared] != rest[..compared] {
                return Err(unexpected("reply"));
            }
            data = &data[taken..];
            self.received += taken;
            if self.received == expected.len() {
                self.received = 0;
                self.reply = (self.reply + 1) % traffic.depth();
                replies += 1;
            }
        }
        self.in_flight = self.in_flight.checked_sub(replies).ok_or_else(|| unexpected("reply"))?;
        Ok(replies)
    }
}

fn unexpected(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sent another {what}"))
}
