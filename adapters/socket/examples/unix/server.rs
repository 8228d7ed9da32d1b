//! The server: a loop around a host on one thread.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};
use wwr::UnixTime;
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Disposition, Event, ServerConfig, SocketId};

const LISTENER: Token = Token(usize::MAX);

/// Clients on unix sockets have no address. All of them share the handshakes of this one.
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(crate) struct Server {
    poll: Poll,
    listener: UnixListener,
    streams: HashMap<SocketId, UnixStream>,
    host: Host,
    started: Instant,
    buffer: Vec<u8>,
}

impl Server {
    pub(crate) fn bind(path: &Path) -> io::Result<Self> {
        // The file outlives the program that made it. One behind which nobody listens is in the way.
        if std::os::unix::net::UnixStream::connect(path)
            .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
        {
            std::fs::remove_file(path)?;
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let unix = UnixTime::from_seconds(unix.try_into().unwrap_or(i64::MAX));
        let host = Host::new(ServerConfig::default(), wwr::Instant::EPOCH, unix);
        let (poll, mut listener) = (Poll::new()?, UnixListener::bind(path)?);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            streams: HashMap::new(),
            host: host.map_err(io::Error::other)?,
            started: Instant::now(),
            buffer: vec![0; 64 * 1024],
        })
    }

    pub(crate) fn run(&mut self) -> io::Result<()> {
        let (mut events, mut ready) = (Events::with_capacity(1024), Vec::new());
        loop {
            let now = self.now();
            let is_busy = self.host.has_work() || !ready.is_empty();
            let due = if is_busy { Some(now) } else { self.host.next_timeout() };
            match self.poll.poll(&mut events, due.map(|due| due.saturating_since(now))) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = self.now();
            for event in &events {
                match event.token() {
                    LISTENER => self.accept(now)?,
                    Token(id) => ready.push(SocketId(id as u64)),
                }
            }
            ready.extend(iter::from_fn(|| self.host.poll_output()));
            ready.retain(|id| self.serve(now, *id));
            self.handle(now);
            // Everything that there was to read is read by now.
            if ready.is_empty() && self.host.next_timeout().is_some_and(|due| due <= now) {
                self.host.handle_timeout(now);
            }
        }
    }

    fn now(&self) -> wwr::Instant {
        wwr::Instant::EPOCH + self.started.elapsed()
    }

    fn accept(&mut self, now: wwr::Instant) -> io::Result<()> {
        // An error is that of one client, or passes, for example when files are freed.
        while let Ok((mut stream, _)) = self.listener.accept() {
            let (id, _) = self.host.accepted(now, FROM);
            let (token, interest) = (Token(id.0 as usize), Interest::READABLE | Interest::WRITABLE);
            self.poll.registry().register(&mut stream, token, interest)?;
            self.streams.insert(id, stream);
        }
        Ok(())
    }

    /// Writes what there is, and reads once. Returns whether there may be more to read.
    fn serve(&mut self, now: wwr::Instant, id: SocketId) -> bool {
        let Some(stream) = self.streams.get_mut(&id) else { return false };
        while !self.host.output(id).is_empty() {
            match stream.write(self.host.output(id)) {
                Ok(length) => self.host.sent(now, id, length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.host.sent(now, id, 0);
                    break;
                }
                Err(_) => return self.close(now, id),
            }
        }
        match self.host.disposition(id) {
            Disposition::Keep => {}
            Disposition::ShutDownWrite => drop(stream.shutdown(Shutdown::Write)),
            Disposition::Close => return self.close(now, id),
        }
        if !self.host.wants_input(id) {
            // The host names it again when it does.
            return false;
        }
        match stream.read(&mut self.buffer) {
            Ok(0) => self.host.end_of_input(id),
            Ok(length) => {
                self.host.received(now, id, &self.buffer[..length]);
                return true;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return self.close(now, id),
        }
        false
    }

    fn close(&mut self, now: wwr::Instant, id: SocketId) -> bool {
        self.streams.remove(&id);
        self.host.closed(now, id);
        false
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
