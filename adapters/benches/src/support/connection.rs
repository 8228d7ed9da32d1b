//! One connection of the load generator.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::handshake::{self, unexpected};
use super::link::Link;
use super::process::Process;
use super::traffic::{Protocol, Traffic};

/// How long a server may take for anything.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// A WebSocket, what is on its way on it, and where in the round of requests it is.
#[derive(Debug)]
pub(crate) struct Connection {
    link: Link,
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

impl Connection {
    /// Opens a WebSocket.
    pub(crate) fn connect(server: &Process, protocol: Protocol) -> io::Result<Self> {
        let stream = TcpStream::connect(server.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let mut client = Self {
            link: Link::new(stream, server.tls())?,
            send_at: 0,
            to_send: 0,
            reply: 0,
            received: 0,
            in_flight: 0,
            waiting: false,
        };
        handshake::ask(&mut client.link, server.address())?;
        handshake::take_answer(&mut client.link)?;
        if protocol == Protocol::WebWire {
            handshake::take_accept_conf(&mut client.link)?;
        }
        Ok(client)
    }

    pub(crate) const fn socket(&self) -> &TcpStream {
        self.link.socket()
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
        match self.send_all(traffic) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.waiting = true,
            sent => {
                sent?;
                self.waiting = false;
            }
        }
        Ok(!self.waiting)
    }

    fn send_all(&mut self, traffic: &Traffic) -> io::Result<()> {
        while self.to_send > 0 {
            let sent = self.link.write(traffic.requests(self.send_at, self.to_send))?;
            self.to_send -= sent;
            self.send_at = (self.send_at + sent) % traffic.round();
        }
        self.link.flush()
    }

    /// Reads once, and counts the replies that are complete with it. Of each, the first `checked`
    /// bytes have to be right, the header with the length included.
    pub(crate) fn receive(
        &mut self,
        traffic: &Traffic,
        checked: usize,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let length = self.link.read(buffer)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut data = &buffer[..length];
        let mut replies = 0;
        while !data.is_empty() {
            let length = match traffic.letter_at() {
                Some(at) if self.received < at => at,
                Some(at) if self.received == at => {
                    self.reply = traffic.number(data[0]).ok_or_else(|| unexpected("reply"))?;
                    at + 1
                }
                _ => traffic.reply(self.reply).len(),
            };
            let expected = traffic.reply(self.reply);
            let rest = &expected[self.received..length];
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
