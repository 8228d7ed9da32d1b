//! A client made by hand, which costs little: thousands of them are in this process.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::app::NEWS;
use crate::support::handshake::{self, unexpected};
use crate::support::sockets;

/// How long the server may take for anything.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// How many clients share an address of this host: fewer than it has ports for one address.
const PER_ADDRESS: u32 = 16_384;

const BUFFER: usize = 512;

const IDENTIFIER: [u8; 8] = *b"8 bytes.";

/// Types of messages.
const RESTORE: u8 = 32;
const SIGNAL_UTF8: u8 = 64;
const REQUEST_UTF8: u8 = 128;
const REPLY_UTF8: u8 = 192;
pub(crate) const SESSION_CLOSED: u8 = 22;

/// First bytes of frames.
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

/// What the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Message(Vec<u8>),
    Close,
}

/// An open WebSocket.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: BufReader<TcpStream>,
}

/// A TCP connection from one of the addresses of this host, chosen by a number.
pub(crate) fn dial(to: SocketAddr, number: u32) -> io::Result<TcpStream> {
    let [.., last] = (1 + number / PER_ADDRESS % 250).to_be_bytes();
    sockets::dial(Ipv4Addr::new(127, 0, 0, last), to, TIMEOUT)
}

impl Socket {
    /// Opens a WebSocket. The number chooses an address to come from.
    pub(crate) fn open(to: SocketAddr, number: u32) -> io::Result<Self> {
        let stream = dial(to, number)?;
        handshake::ask(&stream, to)?;
        let mut stream = BufReader::with_capacity(BUFFER, stream);
        handshake::take_answer(&mut stream)?;
        handshake::take_accept_conf(&mut stream)?;
        Ok(Self { stream })
    }

    /// Makes a request and waits for the reply.
    pub(crate) fn request(&mut self, name: &str, payload: &str) -> io::Result<String> {
        let mut message = vec![REQUEST_UTF8];
        message.extend(IDENTIFIER);
        message.push(u8::try_from(name.len()).map_err(io::Error::other)?);
        message.extend(name.bytes());
        message.extend(payload.bytes());
        self.ask(&message)
    }

    /// Restores a session.
    pub(crate) fn restore(&mut self, key: &str) -> io::Result<()> {
        let mut message = vec![RESTORE];
        message.extend(IDENTIFIER);
        message.extend(key.bytes());
        self.ask(&message).map(drop)
    }

    fn ask(&mut self, message: &[u8]) -> io::Result<String> {
        self.send(BINARY, message)?;
        loop {
            // Other messages may come before the reply.
            let message = self.message()?;
            if message.get(1..9) == Some(&IDENTIFIER) {
                return match message[0] {
                    REPLY_UTF8 => {
                        String::from_utf8(message[9..].to_vec()).map_err(io::Error::other)
                    }
                    // An empty one.
                    191 => Ok(String::new()),
                    _ => Err(unexpected("reply")),
                };
            }
        }
    }

    /// Waits for a signal to all.
    pub(crate) fn news(&mut self, payload: &str) -> io::Result<()> {
        let message = self.message()?;
        let head = [SIGNAL_UTF8, NEWS.len() as u8];
        let rest = message.strip_prefix(&head).and_then(|rest| rest.strip_prefix(NEWS.as_bytes()));
        if rest == Some(payload.as_bytes()) { Ok(()) } else { Err(unexpected("signal")) }
    }

    fn message(&mut self) -> io::Result<Vec<u8>> {
        match self.frame()? {
            Frame::Message(message) => Ok(message),
            Frame::Close => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// What the server sends next. Its pings are answered.
    pub(crate) fn frame(&mut self) -> io::Result<Frame> {
        loop {
            let mut header = [0; 2];
            self.stream.read_exact(&mut header)?;
            let length = match header[1] {
                126 => {
                    let mut length = [0; 2];
                    self.stream.read_exact(&mut length)?;
                    usize::from(u16::from_be_bytes(length))
                }
                length => usize::from(length),
            };
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload)?;
            match header[0] {
                BINARY => return Ok(Frame::Message(payload)),
                CLOSE => return Ok(Frame::Close),
                PING => self.send(PONG, &payload)?,
                _ => return Err(unexpected("frame")),
            }
        }
    }

    /// Closes as WebSockets are closed, and waits until the server has done so too.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.send(CLOSE, &1000_u16.to_be_bytes())?;
        while self.frame()? != Frame::Close {}
        Ok(())
    }

    /// Answers the server's close frame, and waits until it has closed the connection.
    pub(crate) fn agree_to_close(mut self) -> io::Result<()> {
        self.send(CLOSE, &1000_u16.to_be_bytes())?;
        if self.stream.fill_buf()?.is_empty() { Ok(()) } else { Err(unexpected("end")) }
    }

    /// A mask of zeros, which changes nothing, is one as well.
    fn send(&mut self, first: u8, message: &[u8]) -> io::Result<()> {
        let length = u8::try_from(message.len()).ok().filter(|length| *length < 126);
        let length = length.ok_or_else(|| io::Error::other("too long for a small frame"))?;
        let mut frame = vec![first, 0x80 | length, 0, 0, 0, 0];
        frame.extend(message);
        self.stream.get_mut().write_all(&frame)
    }
}
