//! The server: a loop around a host, which starts operations and takes what is done.

use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::iter;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wwr::UnixTime;
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Disposition, Event, ServerConfig, SocketId};

use super::ring::{Done, Ring, What};

/// How much is received at once, and how much is sent.
const RECEIVE: usize = 4 * 1024;
const SEND: usize = 64 * 1024;

/// How long nothing is accepted after the system had no files or memory left for a socket.
const REST: Duration = Duration::from_millis(100);

/// A socket, and what the system does with it.
struct Socket {
    stream: Rc<TcpStream>,
    receives: bool,
    sends: bool,
    /// Whether it takes nothing now.
    is_full: bool,
}

pub(crate) struct Server {
    ring: Ring,
    pub(crate) listener: Rc<TcpListener>,
    /// When to accept again.
    rests_until: Option<wwr::Instant>,
    sockets: HashMap<SocketId, Socket>,
    host: Host,
    started: Instant,
}

impl Server {
    pub(crate) fn bind(mut ring: Ring, address: SocketAddr) -> Result<Self> {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let unix = UnixTime::from_seconds(unix.try_into().unwrap_or(i64::MAX));
        let host = Host::new(ServerConfig::default(), wwr::Instant::EPOCH, unix);
        let host = host.map_err(Error::other)?;
        let listener = Rc::new(TcpListener::bind(address)?);
        ring.start(What::Accept, &listener, Vec::new())?;
        let (rests_until, sockets) = (None, HashMap::new());
        Ok(Self { ring, listener, rests_until, sockets, host, started: Instant::now() })
    }

    fn now(&self) -> wwr::Instant {
        wwr::Instant::EPOCH + self.started.elapsed()
    }

    pub(crate) fn run(&mut self) -> Result<()> {
        let mut ready = Vec::new();
        loop {
            let now = self.now();
            let next = [self.host.next_timeout(), self.rests_until].into_iter().flatten().min();
            let due = if self.host.has_work() { Some(now) } else { next };
            let done = self.ring.wait(due.map(|due| due.saturating_since(now)))?;
            let now = self.now();
            for done in done {
                ready.extend(self.take(now, done)?);
            }
            if self.rests_until.take_if(|until| *until <= now).is_some() {
                self.ring.start(What::Accept, &self.listener, Vec::new())?;
            }
            if self.host.next_timeout().is_some_and(|due| due <= now) {
                self.host.handle_timeout(now);
            }
            self.handle(now);
            ready.extend(iter::from_fn(|| self.host.poll_output()));
            for id in ready.drain(..) {
                self.serve(now, id)?;
            }
        }
    }

    /// Takes what the system has done. Returns the socket that it was done for.
    fn take(&mut self, now: wwr::Instant, done: Done) -> Result<Option<SocketId>> {
        let (id, result) = match done {
            Done::Accepted(Ok(stream)) => {
                // Most messages are small. If this fails, they are only slower.
                let _ = stream.set_nodelay(true);
                self.ring.start(What::Accept, &self.listener, Vec::new())?;
                // It may have gone already.
                let Ok(from) = stream.peer_addr() else { return Ok(None) };
                let (id, _) = self.host.accepted(now, from.ip());
                let stream = Rc::new(stream);
                let socket = Socket { stream, receives: false, sends: false, is_full: false };
                self.sockets.insert(id, socket);
                return Ok(Some(id));
            }
            Done::Accepted(Err(_)) => {
                self.rests_until = Some(now + REST);
                return Ok(None);
            }
            Done::Received(id, result) => {
                if let Some(socket) = self.sockets.get_mut(&id) {
                    // Behind the end, there is nothing to receive.
                    socket.receives = matches!(result, Ok((_, 0)));
                }
                let received = result.map(|(buffer, length)| match length {
                    0 => self.host.end_of_input(id),
                    _ => self.host.received(now, id, &buffer[..length]),
                });
                (id, received)
            }
            Done::Sent(id, result) => {
                let is_full =
                    matches!(&result, Err(error) if error.kind() == ErrorKind::WouldBlock);
                if let Some(socket) = self.sockets.get_mut(&id) {
                    (socket.sends, socket.is_full) = (false, is_full);
                }
                let result = if is_full { Ok(0) } else { result };
                (id, result.map(|length| self.host.sent(now, id, length)))
            }
        };
        if result.is_err() {
            self.close(now, id);
        }
        Ok(Some(id))
    }

    /// Starts what a socket has to do.
    fn serve(&mut self, now: wwr::Instant, id: SocketId) -> Result<()> {
        let Some(socket) = self.sockets.get_mut(&id) else { return Ok(()) };
        let output = self.host.output(id);
        if !socket.sends && !output.is_empty() {
            let bytes = output[..output.len().min(SEND)].to_vec();
            let what = if socket.is_full { What::SendLater(id) } else { What::Send(id) };
            self.ring.start(what, &socket.stream, bytes)?;
            socket.sends = true;
        }
        if !socket.receives && self.host.wants_input(id) {
            self.ring.start(What::Receive(id), &socket.stream, vec![0; RECEIVE])?;
            socket.receives = true;
        }
        match self.host.disposition(id) {
            Disposition::Keep => {}
            Disposition::ShutDownWrite => drop(socket.stream.shutdown(Shutdown::Write)),
            Disposition::Close => self.close(now, id),
        }
        Ok(())
    }

    fn close(&mut self, now: wwr::Instant, id: SocketId) {
        if let Some(socket) = self.sockets.remove(&id) {
            // Ends what the system still does with it.
            let _ = socket.stream.shutdown(Shutdown::Both);
        }
        self.host.closed(now, id);
    }

    /// The application.
    fn handle(&mut self, now: wwr::Instant) {
        while let Some(event) = self.host.poll_event(now) {
            let HostEvent::Socket { id, event: Event::Request(request) } = event else { continue };
            // An error means that the client has gone.
            let _ = self.host.reply(now, id, request.id, Ok(request.content.into_payload()));
        }
    }
}
