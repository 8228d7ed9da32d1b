//! The load generator: one thread that keeps the agreed number of requests in flight.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::case::Case;
use super::connection::{Connection, TIMEOUT};
use super::process::{Process, cpu_time};
use super::traffic::{Protocol, Traffic};

/// How much of each reply is compared while it is measured: a small one as a whole, of a larger one
/// header and identifier.
const CHECKED: usize = 64;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    /// The processor time of the server.
    pub(crate) server: Duration,
    /// The processor time of the load generator.
    pub(crate) generator: Duration,
}

/// A load on a server.
pub(crate) struct Load {
    clients: Vec<Connection>,
    traffic: Traffic,
    waiting: Waiting,
    buffer: Vec<u8>,
    /// How many bytes of each reply are compared.
    checked: usize,
}

/// How it is found out which connection can go on.
enum Waiting {
    /// There is one, and it is tried again and again, so that no time passes until this thread is
    /// awake.
    Spinning,
    /// The system says which.
    Polling { epoll: OwnedFd, events: Vec<epoll::Event> },
}

impl Load {
    /// Connects, without sending anything yet.
    pub(crate) fn connect(case: &Case, server: &Process, protocol: Protocol) -> io::Result<Self> {
        let traffic = Traffic::new(case, protocol).map_err(io::Error::other)?;
        let clients = (0..case.connections)
            .map(|_| Connection::connect(server, protocol))
            .collect::<io::Result<Vec<_>>>()?;
        for client in &clients {
            client.socket().set_nonblocking(true)?;
        }
        let waiting = match &clients[..] {
            [_] => Waiting::Spinning,
            _ => Waiting::polling(&clients)?,
        };
        Ok(Self { clients, traffic, waiting, buffer: vec![0; 256 * 1024], checked: usize::MAX })
    }

    /// Puts all requests in flight and keeps them there for a while. All replies are compared.
    pub(crate) fn warm_up(&mut self, time: Duration) -> io::Result<()> {
        for client in &mut self.clients {
            client.ask(self.traffic.depth(), &self.traffic);
        }
        for client in 0..self.clients.len() {
            self.send(client)?;
        }
        self.go_on(time)?;
        self.checked = CHECKED;
        Ok(())
    }

    /// Keeps the requests in flight for `time` and counts the replies.
    pub(crate) fn measure(&mut self, server: &Process, time: Duration) -> io::Result<Sample> {
        let (server_before, generator_before) = (server.cpu_time()?, cpu_time("self")?);
        let start = Instant::now();
        let requests = self.go_on(time)?;
        Ok(Sample {
            requests,
            elapsed: start.elapsed(),
            server: server.cpu_time()? - server_before,
            generator: cpu_time("self")? - generator_before,
        })
    }

    /// Waits for the last replies, which are compared as a whole.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.checked = usize::MAX;
        let start = Instant::now();
        while self.clients.iter().any(|client| client.in_flight() > 0) {
            self.turn(false)?;
            if start.elapsed() > TIMEOUT {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Goes on for that long, and until there was a reply.
    fn go_on(&mut self, time: Duration) -> io::Result<u64> {
        let start = Instant::now();
        let mut replies = 0;
        while start.elapsed() < time || replies == 0 {
            replies += self.turn(true)? as u64;
            if replies == 0 && start.elapsed() > TIMEOUT {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(replies)
    }

    /// Takes what replies there are, and makes as many new requests if it `goes_on`.
    fn turn(&mut self, goes_on: bool) -> io::Result<usize> {
        let Waiting::Polling { epoll, events } = &mut self.waiting else {
            if self.clients[0].is_waiting() {
                self.send(0)?;
            }
            return self.take(0, goes_on);
        };
        events.clear();
        let timeout = Timespec { tv_sec: TIMEOUT.as_secs() as _, tv_nsec: 0 };
        epoll::wait(&*epoll, spare_capacity(events), Some(&timeout))?;
        let mut replies = 0;
        for index in 0..events.len() {
            let Waiting::Polling { events, .. } = &self.waiting else { break };
            let epoll::Event { data, flags } = events[index];
            let client = data.u64() as usize;
            if flags.contains(EventFlags::OUT) {
                self.send(client)?;
            }
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                replies += self.take(client, goes_on)?;
            }
        }
        Ok(replies)
    }

    /// Takes the replies that one connection has, perhaps none.
    fn take(&mut self, client: usize, goes_on: bool) -> io::Result<usize> {
        let receiver = &mut self.clients[client];
        let replies = match receiver.receive(&self.traffic, self.checked, &mut self.buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            received => received?,
        };
        if goes_on && replies > 0 {
            receiver.ask(replies, &self.traffic);
            self.send(client)?;
        }
        Ok(replies)
    }

    /// Sends what is ready, and has the rest sent when the socket takes more.
    fn send(&mut self, client: usize) -> io::Result<()> {
        let sender = &mut self.clients[client];
        let was_waiting = sender.is_waiting();
        let waits = !sender.send(&self.traffic)?;
        if let Waiting::Polling { epoll, .. } = &self.waiting
            && waits != was_waiting
        {
            let flags = if waits { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(epoll, sender.socket(), EventData::new_u64(client as u64), flags)?;
        }
        Ok(())
    }
}

impl Waiting {
    fn polling(clients: &[Connection]) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, client) in clients.iter().enumerate() {
            let data = EventData::new_u64(index as u64);
            epoll::add(&epoll, client.socket(), data, EventFlags::IN)?;
        }
        Ok(Self::Polling { epoll, events: Vec::with_capacity(clients.len()) })
    }
}

impl Sample {
    /// Requests per second.
    pub(crate) fn throughput(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// Processor time of the server per request, in microseconds.
    pub(crate) fn cost(&self) -> f64 {
        self.server.as_secs_f64() * 1e6 / self.requests as f64
    }

    /// The part of the time in which the server was busy.
    pub(crate) fn server_busy(&self) -> f64 {
        self.server.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// The part of the time in which the load generator was busy.
    pub(crate) fn generator_busy(&self) -> f64 {
        self.generator.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}
