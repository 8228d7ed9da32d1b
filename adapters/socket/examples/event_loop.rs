//! A server on one thread: an event loop of your own around a host. It uses epoll on Linux, kqueue on the
//! BSDs and macOS, by mio.
//!
//! ```text
//! cargo run --release -p wwr-socket --example event_loop -- 127.0.0.1:7777
//! wwr request ws://127.0.0.1:7777/ echo hello
//! ```

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use wwr::{Payload, UnixTime};
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Disposition, Event, ServerConfig, SocketId};

const LISTENER: Token = Token(usize::MAX);

pub(crate) fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".into());
    let address: SocketAddr = address.parse().map_err(std::io::Error::other)?;
    let mut event_loop = EventLoop::new(address)?;
    println!("listening on ws://{}/", event_loop.listener.local_addr()?);
    event_loop.run()
}

/// A socket, and what the system has said about it since.
struct Socket {
    stream: TcpStream,
    readable: bool,
    ends: bool,
}

pub(crate) struct EventLoop {
    poll: Poll,
    pub(crate) listener: TcpListener,
    sockets: HashMap<SocketId, Socket>,
    host: Host,
    started: Instant,
    buffer: Vec<u8>,
}

impl EventLoop {
    pub(crate) fn new(address: SocketAddr) -> Result<Self> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let unix = UnixTime::from_seconds(unix.try_into().unwrap_or(i64::MAX));
        let host = Host::new(ServerConfig::default(), wwr::Instant::EPOCH, unix);
        let host = host.map_err(std::io::Error::other)?;
        let (poll, mut listener) = (Poll::new()?, TcpListener::bind(address)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let (sockets, buffer) = (HashMap::new(), vec![0; 64 * 1024]);
        Ok(Self { poll, listener, sockets, host, started: Instant::now(), buffer })
    }

    fn now(&self) -> wwr::Instant {
        wwr::Instant::EPOCH + self.started.elapsed()
    }

    pub(crate) fn run(&mut self) -> Result<()> {
        let (mut events, mut work) = (Events::with_capacity(1024), Vec::new());
        loop {
            let now = self.now();
            let due = if self.host.has_work() { Some(now) } else { self.host.next_timeout() };
            match self.poll.poll(&mut events, due.map(|due| due.saturating_since(now))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = self.now();
            for event in &events {
                let id = SocketId(event.token().0 as u64);
                if event.token() == LISTENER {
                    self.accept(now)?;
                } else if let Some(socket) = self.sockets.get_mut(&id) {
                    socket.readable |= event.is_readable();
                    socket.ends |= event.is_read_closed();
                    work.push(id);
                }
            }
            // Everything is read, then handled, then written: as many messages as possible at once.
            while !work.is_empty() || self.host.has_work() {
                let mut again: Vec<_> =
                    work.iter().copied().filter(|id| self.read(now, *id)).collect();
                self.handle(now);
                work.drain(..).for_each(|id| self.write(now, id));
                while let Some(id) = self.host.poll_output() {
                    self.write(now, id);
                    again.push(id);
                }
                work.extend(again.into_iter().filter(|id| self.may_read(*id)));
            }
            if self.host.next_timeout().is_some_and(|due| due <= now) {
                self.host.handle_timeout(now);
                self.handle(now);
                while let Some(id) = self.host.poll_output() {
                    self.write(now, id);
                }
            }
        }
    }

    fn accept(&mut self, now: wwr::Instant) -> Result<()> {
        // An error is that of one client, or passes, for example when files are freed.
        while let Ok((mut stream, from)) = self.listener.accept() {
            // Most messages are small. If this fails, they are only slower.
            let _ = stream.set_nodelay(true);
            let (id, _) = self.host.accepted(now, from.ip());
            let (token, interest) = (Token(id.0 as usize), Interest::READABLE | Interest::WRITABLE);
            self.poll.registry().register(&mut stream, token, interest)?;
            self.sockets.insert(id, Socket { stream, readable: true, ends: false });
        }
        Ok(())
    }

    fn may_read(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| socket.readable) && self.host.wants_input(id)
    }

    /// Reads once. Returns whether there may be more.
    fn read(&mut self, now: wwr::Instant, id: SocketId) -> bool {
        if !self.may_read(id) {
            return false;
        }
        let Some(socket) = self.sockets.get_mut(&id) else { return false };
        match socket.stream.read(&mut self.buffer) {
            Ok(0) => self.host.end_of_input(id),
            Ok(length) => {
                self.host.received(now, id, &self.buffer[..length]);
                // Less than there was room for: there is no more, unless the end has come.
                socket.readable = socket.ends || length == self.buffer.len();
                return socket.readable;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => {
                self.close(now, id);
                return false;
            }
        }
        socket.readable = false;
        false
    }

    fn write(&mut self, now: wwr::Instant, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        if !self.host.output(id).is_empty() {
            match socket.stream.write(self.host.output(id)) {
                Ok(length) => self.host.sent(now, id, length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.host.sent(now, id, 0),
                Err(_) => return self.close(now, id),
            }
        }
        match self.host.disposition(id) {
            Disposition::Keep => {}
            Disposition::ShutDownWrite => drop(socket.stream.shutdown(Shutdown::Write)),
            Disposition::Close => self.close(now, id),
        }
    }

    fn close(&mut self, now: wwr::Instant, id: SocketId) {
        self.sockets.remove(&id);
        self.host.closed(now, id);
    }

    /// The application.
    fn handle(&mut self, now: wwr::Instant) {
        while let Some(event) = self.host.poll_event(now) {
            let HostEvent::Socket { id, event: Event::Request(request) } = event else { continue };
            let reply: Payload = request.content.into_payload();
            // An error means that the client has gone.
            let _ = self.host.reply(now, id, request.id, Ok(reply));
        }
    }
}
