//! A server that runs on the thread that calls it.

#[cfg(test)]
mod tests;

use std::boxed::Box;
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use std::vec::Vec;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
use wwr::server::RequestError;
use wwr::{Content, Instant, Payload, SessionInfo};

use super::reserve::Reserve;
use super::{Clock, random, unix_now};
use crate::host::{Host, HostEvent};
use crate::server::{Disposition, Event, ServerConfig, SocketId};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// How many bytes are read at once.
const READ: usize = 64 * 1024;

/// How many times a socket is read before the others have their turn.
const TURNS: usize = 16;

/// How many sockets are accepted before the others have their turn.
const ACCEPTS: usize = 64;

/// Serves requests on this thread, one after the other, until the system takes the listener away.
///
/// The function gets name and payload of each request. For sessions, signals and answers that come later, use
/// an [`EventLoop`].
///
/// ```no_run
/// use wwr_socket::blocking::serve;
///
/// serve("127.0.0.1:7777", |request| match request.name() {
///     b"echo" => Ok(request.into_payload()),
///     _ => Err(wwr::server::RequestError::Internal),
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Those of the system: the address is taken, no more sockets can be waited for.
pub fn serve(
    address: impl ToSocketAddrs,
    mut handler: impl FnMut(Content) -> Result<Payload, RequestError>,
) -> io::Result<()> {
    let mut event_loop = EventLoop::bind(address, ServerConfig::default())?;
    event_loop.run(|host, now, event| {
        if let HostEvent::Socket { id, event: Event::Request(request) } = event {
            let result = handler(request.content);
            // An error means that the client has gone.
            let _ = host.reply(now, id, request.id, result);
        }
    })
}

/// A [`Host`] with sockets of the system, on one thread.
///
/// ```no_run
/// use wwr_socket::blocking::EventLoop;
/// use wwr_socket::host::HostEvent;
/// use wwr_socket::server::{Event, ServerConfig};
///
/// let mut event_loop = EventLoop::bind("127.0.0.1:7777", ServerConfig::default())?;
/// println!("listening on {}", event_loop.local_addr());
/// event_loop.run(|host, now, event| match event {
///     HostEvent::Socket { id, event: Event::Connected } => {
///         host.join(id, "everybody");
///     }
///     HostEvent::Socket { id, event: Event::Request(request) } => {
///         let _ = host.reply(now, id, request.id, Ok(request.content.into_payload()));
///     }
///     _ => {}
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct EventLoop {
    poll: Poll,
    waker: Arc<Waker>,
    stop: Arc<std::sync::Mutex<Option<Duration>>>,
    listener: TcpListener,
    address: SocketAddr,
    accepting: Accepting,
    reserve: Reserve,
    sockets: HashMap<Token, Socket>,
    /// The sockets to be read and written, each once.
    ready: Vec<Token>,
    host: Host,
    clock: Clock,
    buffer: Box<[u8]>,
}

/// Whether to accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    /// Nobody waits, as far as is known: the system tells when somebody does.
    Idle,
    /// There may be more who wait.
    Due,
    /// The system had no room for another socket.
    Resting { until: Instant },
}

#[derive(Debug)]
struct Socket {
    id: SocketId,
    stream: TcpStream,
    /// Whether it is in the list of those to be read and written.
    is_queued: bool,
    /// Whether the system may have bytes for it, or the end of them.
    readable: bool,
    /// Whether the system has told of the end.
    ends: bool,
}

/// Shuts an [`EventLoop`] down, from any thread.
#[derive(Clone, Debug)]
pub struct Stop {
    waker: Arc<Waker>,
    within: Arc<std::sync::Mutex<Option<Duration>>>,
}

impl Stop {
    /// Lets requests that run be answered, at most `within` that time, then closes all connections. Then
    /// [`EventLoop::run`] returns.
    ///
    /// # Errors
    ///
    /// That of the system, if the loop cannot be woken.
    pub fn shut_down(&self, within: Duration) -> io::Result<()> {
        *self.within.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(within);
        self.waker.wake()
    }
}

impl EventLoop {
    /// Listens on an address, the first that can be had.
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::InvalidInput`] for settings that cannot be used.
    pub fn bind(address: impl ToSocketAddrs, config: ServerConfig) -> io::Result<Self> {
        let clock = Clock::start();
        let host = Host::new(config, clock.now(), unix_now());
        let host = host.map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mut listener = TcpListener::from_std(listener);
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            waker: Arc::new(Waker::new(poll.registry(), WAKER)?),
            stop: Arc::default(),
            poll,
            reserve: Reserve::new(&listener),
            listener,
            address,
            accepting: Accepting::Due,
            sockets: HashMap::new(),
            ready: Vec::new(),
            host,
            clock,
            buffer: std::vec![0; READ].into(),
        })
    }

    /// Returns the address it listens on.
    pub const fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns what shuts it down.
    pub fn stop(&self) -> Stop {
        Stop { waker: self.waker.clone(), within: self.stop.clone() }
    }

    /// Makes a session with a key of the system's random source. See [`Host::create_session`].
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::InvalidInput`] for a connection that may not have a session.
    pub fn create_session(
        host: &mut Host,
        now: Instant,
        id: SocketId,
        info: SessionInfo,
    ) -> io::Result<wwr::server::CreationId> {
        let created = host.create_session(now, id, random()?, info);
        created.map_err(|misuse| io::Error::new(ErrorKind::InvalidInput, misuse))
    }

    /// Serves on this thread, until it is [stopped](Self::stop). The application gets each event.
    ///
    /// # Errors
    ///
    /// That of the system, if it cannot be waited for sockets any more. All connections are lost then.
    pub fn run(
        &mut self,
        mut application: impl FnMut(&mut Host, Instant, HostEvent),
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        while !self.turn(&mut events, &mut application)? {}
        self.sockets.clear();
        self.ready.clear();
        Ok(())
    }

    /// Waits, and does what there is to do. Returns whether the server has stopped.
    fn turn(
        &mut self,
        events: &mut Events,
        application: &mut impl FnMut(&mut Host, Instant, HostEvent),
    ) -> io::Result<bool> {
        let wait = self.wait(self.clock.now());
        match self.poll.poll(events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        let now = self.clock.now();
        for event in &*events {
            match event.token() {
                LISTENER if self.accepting == Accepting::Idle => self.accepting = Accepting::Due,
                LISTENER => {}
                WAKER => {
                    let stop = self.stop.lock();
                    let stop = stop.unwrap_or_else(std::sync::PoisonError::into_inner).take();
                    if let Some(within) = stop {
                        self.host.shut_down(now, within);
                    }
                }
                token => {
                    if let Some(socket) = self.sockets.get_mut(&token) {
                        socket.readable |= event.is_readable();
                        socket.ends |= event.is_read_closed() || event.is_error();
                        self.queue(token);
                    }
                }
            }
        }
        match self.accepting {
            Accepting::Due => self.accept(now),
            Accepting::Resting { until } if until <= now => self.accept(now),
            Accepting::Idle | Accepting::Resting { .. } => {}
        }
        let mut stopped = false;
        // Everything is read, then handled, then written, so that much goes out in one write.
        for _ in 0..TURNS {
            let ready = core::mem::take(&mut self.ready);
            for token in &ready {
                if let Some(socket) = self.sockets.get_mut(token) {
                    socket.is_queued = false;
                    self.read(now, *token);
                }
            }
            stopped |= self.handle(now, application);
            for token in ready {
                self.write(now, token);
            }
            self.write_all(now);
            if self.ready.is_empty() {
                break;
            }
        }
        if self.host.next_timeout().is_some_and(|due| due <= now) {
            self.host.handle_timeout(now);
            stopped |= self.handle(now, application);
            self.write_all(now);
        }
        Ok(stopped)
    }

    /// Returns how long to wait for the system. `None` if there is nothing else to wait for.
    fn wait(&self, now: Instant) -> Option<Duration> {
        let rests_until = match self.accepting {
            Accepting::Due => return Some(Duration::ZERO),
            Accepting::Idle => None,
            Accepting::Resting { until } => Some(until),
        };
        if !self.ready.is_empty() || self.host.has_work() {
            return Some(Duration::ZERO);
        }
        let next = [self.host.next_timeout(), rests_until].into_iter().flatten().min();
        next.map(|due| due.saturating_since(now))
    }

    /// Accepts some of those who wait.
    fn accept(&mut self, now: Instant) {
        self.accepting = Accepting::Due;
        for _ in 0..ACCEPTS {
            match self.listener.accept() {
                Ok((mut stream, from)) => {
                    let (id, _) = self.host.accepted(now, from.ip());
                    // The low bits tell the sockets that there are apart.
                    let token = token(id);
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    if self.poll.registry().register(&mut stream, token, interest).is_err() {
                        self.host.closed(now, id);
                        continue;
                    }
                    // Most messages are small. If this fails, they are only slower.
                    let _ = stream.set_nodelay(true);
                    let (readable, ends, is_queued) = (true, false, false);
                    self.sockets.insert(token, Socket { id, stream, is_queued, readable, ends });
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accepting = Accepting::Idle;
                    return;
                }
                Err(error) if is_of_one_client(&error) => {}
                Err(_) => {
                    let (until, makes_room) = self.host.accept_failed(now);
                    self.accepting = Accepting::Resting { until };
                    if !makes_room {
                        self.refuse();
                    }
                    return;
                }
            }
        }
    }

    /// Closes some of those who wait: there is no room for them, and nobody makes room.
    fn refuse(&mut self) {
        let listener = &self.listener;
        self.reserve.lend(listener, || {
            for _ in 0..ACCEPTS {
                if listener.accept().is_err() {
                    break;
                }
            }
        });
    }

    fn may_read(&self, token: Token) -> bool {
        let socket = self.sockets.get(&token).filter(|socket| socket.readable);
        socket.is_some_and(|socket| self.host.wants_input(socket.id))
    }

    /// Has a socket read and written in the next round.
    fn queue(&mut self, token: Token) {
        if let Some(socket) = self.sockets.get_mut(&token)
            && !socket.is_queued
        {
            socket.is_queued = true;
            self.ready.push(token);
        }
    }

    /// Reads once.
    fn read(&mut self, now: Instant, token: Token) {
        if !self.may_read(token) {
            return;
        }
        let Some(socket) = self.sockets.get_mut(&token) else { return };
        match socket.stream.read(&mut self.buffer) {
            Ok(0) => self.host.end_of_input(socket.id),
            Ok(length) => {
                self.host.received(now, socket.id, &self.buffer[..length]);
                // With epoll and kqueue, a short read is the last, unless the end follows.
                socket.readable = cfg!(not(unix)) || socket.ends || length == self.buffer.len();
                return;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            Err(_) => return self.close(now, token),
        }
        socket.readable = false;
    }

    /// Lets the application handle what came. Returns whether the server has stopped.
    fn handle(
        &mut self,
        now: Instant,
        application: &mut impl FnMut(&mut Host, Instant, HostEvent),
    ) -> bool {
        let mut stopped = false;
        while let Some(event) = self.host.poll_event(now) {
            stopped |= event == HostEvent::Stopped;
            application(&mut self.host, now, event);
        }
        stopped
    }

    /// Does what the host wants of its sockets.
    fn write_all(&mut self, now: Instant) {
        while let Some(id) = self.host.poll_output() {
            self.write(now, token(id));
        }
    }

    /// Writes what there is. Queues the socket if there may be more to read.
    fn write(&mut self, now: Instant, token: Token) {
        let Some(socket) = self.sockets.get_mut(&token) else { return };
        let id = socket.id;
        while !self.host.output(id).is_empty() {
            match socket.stream.write(self.host.output(id)) {
                Ok(length) => self.host.sent(now, id, length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.host.sent(now, id, 0);
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.close(now, token),
            }
        }
        match self.host.disposition(id) {
            Disposition::Keep => {}
            // If this fails, the end of the socket is near anyway.
            Disposition::ShutDownWrite => drop(socket.stream.shutdown(Shutdown::Write)),
            Disposition::Close => return self.close(now, token),
        }
        if self.may_read(token) {
            self.queue(token);
        }
    }

    fn close(&mut self, now: Instant, token: Token) {
        if let Some(socket) = self.sockets.remove(&token) {
            self.host.closed(now, socket.id);
        }
    }
}

const fn token(id: SocketId) -> Token {
    Token((id.0 & u32::MAX as u64) as usize)
}

/// Returns whether an error of accepting is that of the client, which has gone.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    )
}
