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

/// How many sockets are accepted, and how many times sockets are read, before everything else has its turn.
const TURNS: usize = 64;

/// A socket, and what the system has said about it since.
struct Socket {
    stream: TcpStream,
    readable: bool,
    ends: bool,
    is_queued: bool,
}

pub(crate) struct EventLoop {
    poll: Poll,
    pub(crate) listener: TcpListener,
    /// When to accept: at once if somebody may wait, later if the system had no room.
    accepts_at: Option<wwr::Instant>,
    sockets: HashMap<SocketId, Socket>,
    /// Those to be read and written, each once.
    ready: Vec<SocketId>,
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
        let (sockets, ready, buffer) = (HashMap::new(), Vec::new(), vec![0; 64 * 1024]);
        let (accepts_at, started) = (None, Instant::now());
        Ok(Self { poll, listener, accepts_at, sockets, ready, host, started, buffer })
    }

    fn now(&self) -> wwr::Instant {
        wwr::Instant::EPOCH + self.started.elapsed()
    }

    pub(crate) fn run(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let now = self.now();
            let has_work = self.host.has_work() || !self.ready.is_empty();
            let due = [has_work.then_some(now), self.host.next_timeout(), self.accepts_at];
            let due = due.into_iter().flatten().min();
            match self.poll.poll(&mut events, due.map(|due| due.saturating_since(now))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = self.now();
            for event in &events {
                let id = SocketId(event.token().0 as u64);
                if event.token() == LISTENER {
                    self.accepts_at = self.accepts_at.or(Some(now));
                } else if let Some(socket) = self.sockets.get_mut(&id) {
                    socket.readable |= event.is_readable();
                    socket.ends |= event.is_read_closed();
                    self.queue(id);
                }
            }
            if self.accepts_at.is_some_and(|at| at <= now) {
                self.accept(now)?;
            }
            // Everything is read, then handled, then written: as many messages as possible at once.
            for _ in 0..TURNS {
                let ready = std::mem::take(&mut self.ready);
                ready.iter().for_each(|id| self.read(now, *id));
                self.handle(now);
                ready.iter().for_each(|id| self.write(now, *id));
                while let Some(id) = self.host.poll_output() {
                    self.write(now, id);
                }
                if self.ready.is_empty() {
                    break;
                }
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
        for _ in 0..TURNS {
            let (mut stream, from) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.accepts_at = match error.kind() {
                        ErrorKind::WouldBlock => None,
                        // The client has gone. There may be others.
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted => Some(now),
                        // Files or memory are used up: some sockets make room.
                        _ => Some(self.host.accept_failed(now).0),
                    };
                    return Ok(());
                }
            };
            // Most messages are small. If this fails, they are only slower.
            let _ = stream.set_nodelay(true);
            let (id, _) = self.host.accepted(now, from.ip());
            let (token, interest) = (Token(id.0 as usize), Interest::READABLE | Interest::WRITABLE);
            self.poll.registry().register(&mut stream, token, interest)?;
            let (readable, ends, is_queued) = (true, false, false);
            self.sockets.insert(id, Socket { stream, readable, ends, is_queued });
        }
        Ok(())
    }

    /// Has a socket read and written in the next round.
    fn queue(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(&id)
            && !std::mem::replace(&mut socket.is_queued, true)
        {
            self.ready.push(id);
        }
    }

    fn may_read(&self, id: SocketId) -> bool {
        self.sockets.get(&id).is_some_and(|socket| socket.readable) && self.host.wants_input(id)
    }

    /// Reads once.
    fn read(&mut self, now: wwr::Instant, id: SocketId) {
        let may_read = self.may_read(id);
        let Some(socket) = self.sockets.get_mut(&id) else { return };
        socket.is_queued = false;
        if !may_read {
            return;
        }
        match socket.stream.read(&mut self.buffer) {
            Ok(0) => self.host.end_of_input(id),
            Ok(length) => {
                self.host.received(now, id, &self.buffer[..length]);
                // Less than there was room for: there is no more, unless the end has come.
                socket.readable = socket.ends || length == self.buffer.len();
                return;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return self.close(now, id),
        }
        socket.readable = false;
    }

    /// Writes once. Queues the socket if there may be more to read.
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
            Disposition::Close => return self.close(now, id),
        }
        if self.may_read(id) {
            self.queue(id);
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
