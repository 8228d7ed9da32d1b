//! No sockets at all: a client and a server in one program. It carries the bytes between them through pipes in
//! memory, and turns the clock itself: an hour passes in no time, and each run is like the one before.
//!
//! ```text
//! cargo run --release -p wwr-socket --example pipes
//! ```

use std::collections::VecDeque;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use wwr::client::{self, Outcome, Status};
use wwr::server::SessionEvent;
use wwr::{Instant, Name, SessionInfo, UnixTime, Valid};
use wwr_socket::client::{ClientEvent, ClientSocket, Target};
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Disposition, Event, ServerConfig, SocketId};

/// How many bytes a pipe holds. More wait with the one that sends them, as they do on a socket.
const CAPACITY: usize = 1024;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let mut pair = Pair::new()?;
    println!("echo: {:?}", pair.request("echo", "hello")?);
    // Far longer than the pipes.
    let long = "x".repeat(100 * CAPACITY);
    let reply = pair.request("echo", &long)??;
    println!("echo: {} bytes", reply.as_bytes().len());
    println!("login: {:?}", pair.request("login", "ada")?);

    pair.cut();
    println!("the pipes are cut at {}", pair.time());
    while pair.client.client().status() != Status::Connected {
        pair.wait(None);
    }
    let session = pair.client.client().session();
    let user = session.and_then(|session| session.info.value("user")).ok_or("no session")?;
    println!("connected again at {}, still as {user}", pair.time());

    let later = pair.now + Duration::from_secs(3600);
    while pair.now < later {
        pair.wait(Some(later));
    }
    println!("echo after an hour: {:?}", pair.request("echo", "still there")?);
    println!("bytes carried: {}, connections: {}", pair.carried, pair.connections);
    pair.client.close(pair.now);
    pair.settle();
    Ok(())
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe(VecDeque<u8>);

impl Pipe {
    /// Takes as many bytes as there is room for, and returns how many.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let length = bytes.len().min(CAPACITY - self.0.len());
        self.0.extend(&bytes[..length]);
        length
    }

    fn read(&mut self) -> Vec<u8> {
        self.0.drain(..).collect()
    }
}

/// A connection, as the server knows it, and its pipes.
struct Link {
    id: SocketId,
    up: Pipe,
    down: Pipe,
}

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: ClientSocket,
    host: Host,
    link: Option<Link>,
    connections: u8,
    pub(crate) carried: usize,
    /// The login whose session is being created.
    login: Option<(SocketId, wwr::server::RequestId)>,
    done: Vec<(client::RequestId, Outcome)>,
}

impl Pair {
    pub(crate) fn new() -> Result<Self, Box<dyn Error>> {
        let (now, unix) = (Instant::EPOCH, UnixTime::from_seconds(1_800_000_000));
        let target = Target::parse("ws://localhost/")?;
        let mut client = ClientSocket::new(&Valid::default(), target, 7);
        client.connect(now);
        let host = Host::new(ServerConfig::default(), now, unix)?;
        let (link, login, done) = (None, None, Vec::new());
        Ok(Self { now, client, host, link, connections: 0, carried: 0, login, done })
    }

    fn time(&self) -> String {
        format!("{:?}", self.now.saturating_since(Instant::EPOCH))
    }

    /// Sends a request, and lets time pass until it is done.
    pub(crate) fn request(&mut self, name: &str, payload: &str) -> Result<Outcome, Box<dyn Error>> {
        let id =
            self.client.request(self.now, Name::new(name)?, payload.to_owned().into(), None)?;
        loop {
            self.settle();
            if let Some(at) = self.done.iter().position(|(done, _)| *done == id) {
                return Ok(self.done.swap_remove(at).1);
            }
            self.wait(None);
        }
    }

    /// Lets time pass until one of the two has something to do, but not beyond `most`.
    pub(crate) fn wait(&mut self, most: Option<Instant>) {
        self.settle();
        let next = [self.client.next_timeout(), self.host.next_timeout(), most];
        self.now = next.into_iter().flatten().min().unwrap_or(self.now);
        self.client.handle_timeout(self.now);
        self.host.handle_timeout(self.now);
        self.settle();
    }

    /// Carries bytes until nobody has any.
    pub(crate) fn settle(&mut self) {
        while self.client_events() | self.host_events() | self.carry() {}
    }

    /// Carries one pipe's worth each way. Returns whether there was something.
    fn carry(&mut self) -> bool {
        let Some(Link { id, up, down }) = &mut self.link else { return false };
        // Nobody is between the two who could be fooled by chosen bytes: any key will do.
        self.client.mask(|| [0; 4]);
        let sent = (up.write(self.client.output()), down.write(self.host.output(*id)));
        // Told even if nothing went: one that does not read is noticed by that.
        if !self.client.output().is_empty() {
            self.client.sent(self.now, sent.0);
        }
        if !self.host.output(*id).is_empty() {
            self.host.sent(self.now, *id, sent.1);
        }
        let (mut moved, mut bytes) = (0, Vec::new());
        if self.host.wants_input(*id) {
            bytes = up.read();
            self.host.received(self.now, *id, &bytes);
        }
        moved += bytes.len();
        if self.client.wants_input() {
            let bytes = down.read();
            self.client.received(self.now, &bytes);
            moved += bytes.len();
        }
        self.carried += moved;
        if self.host.disposition(*id) == Disposition::Close && down.0.is_empty() {
            self.cut();
            return true;
        }
        moved + sent.0 + sent.1 > 0
    }

    /// Both sides lose the connection.
    pub(crate) fn cut(&mut self) {
        if let Some(link) = self.link.take() {
            self.host.closed(self.now, link.id);
            self.client.ended(self.now);
        }
    }

    fn client_events(&mut self) -> bool {
        let before = self.connections;
        while let Some(event) = self.client.poll_event(self.now) {
            match event {
                ClientEvent::Connect => {
                    let (id, _) = self.host.accepted(self.now, IpAddr::V4(Ipv4Addr::LOCALHOST));
                    self.link = Some(Link { id, up: Pipe::default(), down: Pipe::default() });
                    self.connections += 1;
                    self.client.connected(self.now, [self.connections; 16]);
                }
                ClientEvent::Disconnect => {
                    // Its last words: they have to fit.
                    self.carry();
                    if let Some(link) = self.link.take() {
                        self.host.end_of_input(link.id);
                        self.host_events();
                        self.host.closed(self.now, link.id);
                    }
                }
                ClientEvent::Done { id, outcome } => self.done.push((id, outcome)),
                _ => {}
            }
        }
        self.connections != before
    }

    /// The application of the server.
    fn host_events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.host.poll_event(self.now) {
            any = true;
            let HostEvent::Socket { id, event } = event else { continue };
            // Errors mean that the client has gone.
            let _ = match event {
                Event::Request(request) if request.content.name() == b"login" => {
                    let user = String::from_utf8_lossy(request.content.payload()).into_owned();
                    let info = SessionInfo::new().public("user", user);
                    // A key that cannot be guessed has 48 bytes of a random source.
                    self.login = Some((id, request.id));
                    self.host.create_session(self.now, id, [7; 48], info).map(drop)
                }
                Event::Session(SessionEvent::Created(..)) => match self.login.take() {
                    Some((id, login)) => self.host.reply(self.now, id, login, Ok("welcome".into())),
                    None => Ok(()),
                },
                Event::Request(request) => {
                    let reply = Ok(request.content.into_payload());
                    self.host.reply(self.now, id, request.id, reply)
                }
                _ => Ok(()),
            };
        }
        any
    }
}
