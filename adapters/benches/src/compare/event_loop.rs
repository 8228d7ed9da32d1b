//! Servers in event loops of one thread: that of wwr-socket, and the least that an echo can do.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use rustix::event::epoll;
use wwr_socket::blocking::EventLoop;
use wwr_socket::host::HostEvent;
use wwr_socket::server::{Event, ServerConfig};

use super::webwire::MESSAGE_BUFFER;
use crate::support::host::Failure;
use crate::support::process;

/// Serves WebWire until the process ends.
pub(crate) fn serve() -> Result<(), Failure> {
    let mut config = ServerConfig::default();
    config.connection.advertised.message_buffer = MESSAGE_BUFFER;
    config.connection.max_message_size = MESSAGE_BUFFER;
    let mut event_loop = EventLoop::bind((Ipv4Addr::LOCALHOST, 0), config)?;
    process::listens_on(event_loop.local_addr())?;
    event_loop.run(|host, now, event| {
        if let HostEvent::Socket { id, event: Event::Request(request) } = event {
            // An error means that the client has gone.
            let _ = host.reply(now, id, request.id, Ok(request.content.into_payload()));
        }
    })?;
    Ok(())
}

/// How many bytes are read at once.
const READ: usize = 64 * 1024;

/// A connection of the bare echo.
struct Echo {
    stream: TcpStream,
    /// What was read of a frame that is not whole.
    partial: Vec<u8>,
    /// What the socket did not accept.
    unsent: Vec<u8>,
}

/// Echoes until the process ends: all frames of a read go out in one write.
pub(crate) fn serve_bare() -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    process::listens_on(listener.local_addr()?)?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &listener, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    let (mut echoes, mut last) = (HashMap::new(), 0);
    let mut events = Vec::with_capacity(1024);
    let (mut buffer, mut output) = (vec![0; READ], Vec::with_capacity(READ));
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let id = event.data.u64();
            if id == 0 {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    accept(&stream)?;
                    stream.set_nonblocking(true)?;
                    last += 1;
                    let flags =
                        epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
                    epoll::add(&poll, &stream, epoll::EventData::new_u64(last), flags)?;
                    let echo = Echo { stream, partial: Vec::new(), unsent: Vec::new() };
                    echoes.insert(last, echo);
                }
            } else if let Some(echo) = echoes.get_mut(&id)
                && echo.serve(&mut buffer, &mut output).is_err()
            {
                echoes.remove(&id);
            }
        }
    }
}

/// Answers the handshake of the load generator, whose key is always the same.
fn accept(mut stream: &TcpStream) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )
}

impl Echo {
    /// Reads until there is no more, and sends back what is whole.
    fn serve(&mut self, buffer: &mut [u8], output: &mut Vec<u8>) -> io::Result<()> {
        loop {
            if !self.unsent.is_empty() && !self.send_rest()? {
                return Ok(());
            }
            let length = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            output.clear();
            if self.partial.is_empty() {
                let used = turn_around(&mut buffer[..length], output);
                self.partial.extend_from_slice(&buffer[used..length]);
            } else {
                self.partial.extend_from_slice(&buffer[..length]);
                let used = turn_around(&mut self.partial, output);
                self.partial.drain(..used);
            }
            let sent = match self.stream.write(output) {
                Ok(sent) => sent,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(error) => return Err(error),
            };
            self.unsent.extend_from_slice(&output[sent..]);
            if length < buffer.len() {
                return Ok(());
            }
        }
    }

    /// Returns whether everything is sent.
    fn send_rest(&mut self) -> io::Result<bool> {
        match self.stream.write(&self.unsent) {
            Ok(sent) => {
                self.unsent.drain(..sent);
                Ok(self.unsent.is_empty())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Unmasks whole frames, and appends them as those of a server. Returns how many bytes they have.
fn turn_around(input: &mut [u8], output: &mut Vec<u8>) -> usize {
    let mut at = 0;
    loop {
        let rest = &mut input[at..];
        let Some((head, length)) = lengths(rest) else { return at };
        let Some(frame) = rest.get_mut(..head + length) else { return at };
        let key = [0, 1, 2, 3].map(|byte| frame[head - 4 + byte]);
        output.push(frame[0]);
        output.push(frame[1] & 0x7f);
        output.extend_from_slice(&frame[2..head - 4]);
        let [a, b, c, d] = key;
        let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
        let (chunks, tail) = frame[head..].as_chunks_mut::<8>();
        for chunk in chunks {
            *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
        }
        for (byte, key) in tail.iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
        output.extend_from_slice(&frame[head..]);
        at += head + length;
    }
}

/// Returns the lengths of head and payload of a masked frame, if the head is whole.
fn lengths(frame: &[u8]) -> Option<(usize, usize)> {
    let short = usize::from(frame.get(1)? & 0x7f);
    let (head, length) = match short {
        126 => (8, u16::from_be_bytes(*frame.get(2..)?.first_chunk()?).into()),
        127 => (14, u64::from_be_bytes(*frame.get(2..)?.first_chunk()?).try_into().ok()?),
        short => (6, short),
    };
    (frame.len() >= head).then_some((head, length))
}
