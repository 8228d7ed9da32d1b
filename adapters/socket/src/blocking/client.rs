//! A client that blocks until the server has answered.

mod leaving;
mod signals;

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

use mio::{Events, Interest, Poll, Token, Waker};
use wwr::client::{Config, Event, Misuse, RequestError, RequestId, Status};
use wwr::{Content, InvalidName, Name, Payload, Valid};

use super::{Clock, random};
use crate::client::{ClientEvent, ClientSocket, InvalidTarget, MAX_BACKLOG, Target};
use leaving::{Leaving, Step};
use signals::{Signals, Source};

/// A client that stays connected, on a thread of its own. Its methods block.
///
/// ```no_run
/// use wwr_socket::blocking::Client;
///
/// let client = Client::connect("ws://127.0.0.1:7777/")?;
/// let reply = client.request("echo", "hello")?;
/// assert_eq!(reply.as_bytes(), b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    commands: Sender<Command>,
    waker: Arc<Waker>,
    signals: Arc<Signals>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Why a call has no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The name cannot be sent.
    #[error(transparent)]
    Name(InvalidName),
    /// The request was refused before it was sent.
    #[error(transparent)]
    Misuse(Misuse),
    /// The server has answered with an error, or not at all.
    #[error(transparent)]
    Request(RequestError),
    /// The thread of the client has ended, because the system cannot wait for its socket any more.
    #[error("the client has ended")]
    Ended,
}

enum Command {
    Request { name: Name, payload: Payload, timeout: Option<Duration>, done: Sender<Answer> },
    Signal(Signal),
    Close,
}

/// A signal to be sent.
struct Signal {
    name: Name,
    payload: Payload,
    done: Sender<Result<(), Misuse>>,
}

type Answer = Result<Payload, CallError>;

impl Client {
    /// Makes a client of this server, which connects in the background: requests wait for that.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for a URL that is none, others of the system.
    pub fn connect(url: &str) -> io::Result<Self> {
        Self::with(url, &Valid::default())
    }

    /// The same with settings.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    pub fn with(url: &str, config: &Valid<Config>) -> io::Result<Self> {
        let invalid = |error: InvalidTarget| io::Error::new(ErrorKind::InvalidInput, error);
        let target = Target::parse(url).map_err(invalid)?;
        let seed = u64::from_ne_bytes(random()?);
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (commands, inbox) = mpsc::channel();
        let (source, signals) = Signals::new();
        let worker = Worker {
            poll,
            clock: Clock::start(),
            client: ClientSocket::new(config, target, seed),
            stream: Stream::Closed,
            leaving: None,
            inbox,
            calls: HashMap::new(),
            unsent: VecDeque::new(),
            signals: source,
            buffer: vec![0; READ],
            waker: waker.clone(),
            closing: false,
            readable: false,
        };
        let thread = thread::Builder::new().name("wwr-client".into());
        let thread = thread.spawn(move || worker.run())?;
        Ok(Self { commands, waker, signals, thread: Some(thread) })
    }

    /// Sends a request, and waits for its reply: 60 s at most, unless the settings say otherwise.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn request(&self, name: &str, payload: impl Into<Payload>) -> Answer {
        self.call(name, payload.into(), None)
    }

    /// The same, and waits at most that long.
    ///
    /// # Errors
    ///
    /// [`CallError`].
    pub fn request_within(
        &self,
        timeout: Duration,
        name: &str,
        payload: impl Into<Payload>,
    ) -> Answer {
        self.call(name, payload.into(), Some(timeout))
    }

    fn call(&self, name: &str, payload: Payload, timeout: Option<Duration>) -> Answer {
        let name = Name::new(name).map_err(CallError::Name)?;
        let (done, answer) = mpsc::channel();
        self.send(Command::Request { name, payload, timeout, done });
        answer.recv().unwrap_or(Err(CallError::Ended))
    }

    /// Sends a signal. Waits while the server does not read what it was sent: 128 KiB may wait for it.
    ///
    /// # Errors
    ///
    /// [`CallError::Misuse`] if there is no connection, or the server does not read such a signal.
    pub fn signal(&self, name: &str, payload: impl Into<Payload>) -> Result<(), CallError> {
        let name = Name::new(name).map_err(CallError::Name)?;
        let (done, sent) = mpsc::channel();
        self.send(Command::Signal(Signal { name, payload: payload.into(), done }));
        sent.recv().unwrap_or(Err(Misuse::NotConnected)).map_err(CallError::Misuse)
    }

    /// Waits for the next signal of the server. `None` if none came in that time. Several threads may wait, and each
    /// signal goes to one of them.
    ///
    /// Signals that nobody takes wait, up to 1024 of them with 4 MiB; further ones are
    /// [dropped](Self::missed_signals). The server is read all the same, as replies come on the same connection.
    pub fn next_signal(&self, timeout: Duration) -> Option<Content> {
        self.signals.next(timeout)
    }

    /// Returns how many signals were dropped, because too many waited.
    pub fn missed_signals(&self) -> u64 {
        self.signals.missed()
    }

    fn send(&self, command: Command) {
        // If the thread has ended, the channels of the answer say so.
        let _ = self.commands.send(command);
        let _ = self.waker.wake();
    }
}

impl Drop for Client {
    /// Closes the connection. Waits until the server has taken what was sent and has closed its side, 2 s at most.
    fn drop(&mut self) {
        self.send(Command::Close);
        if let Some(thread) = self.thread.take() {
            // It has no panic to tell of that it has not told.
            let _ = thread.join();
        }
    }
}

const WAKER: Token = Token(0);
const STREAM: Token = Token(1);
const LEAVING: Token = Token(2);

/// How many bytes are read at once.
const READ: usize = 64 * 1024;

/// How many times in a row.
const TURNS: usize = 16;

enum Stream {
    Closed,
    /// Names and connections take time on a thread of their own: this thread keeps time meanwhile.
    Opening(Receiver<io::Result<TcpStream>>),
    Open(mio::net::TcpStream),
}

/// The thread of a client.
struct Worker {
    poll: Poll,
    clock: Clock,
    client: ClientSocket,
    stream: Stream,
    /// The stream before, as long as something is to be sent on it.
    leaving: Option<Leaving>,
    inbox: Receiver<Command>,
    calls: HashMap<RequestId, Sender<Answer>>,
    /// Signals that wait for the server to read: one for each thread that has sent one.
    unsent: VecDeque<Signal>,
    signals: Source,
    buffer: Vec<u8>,
    /// For the threads that open streams.
    waker: Arc<Waker>,
    closing: bool,
    /// Whether the system may have bytes for the stream.
    readable: bool,
}

impl Worker {
    /// Runs until the client is dropped, or the system fails.
    fn run(mut self) {
        self.client.connect(self.clock.now());
        let mut events = Events::with_capacity(16);
        loop {
            self.take_commands();
            self.take_events();
            self.write();
            // Writing may have closed the stream.
            self.take_events();
            while self.send_signals() {
                self.write();
                self.take_events();
            }
            let step = self.leave();
            if self.closing && matches!(self.stream, Stream::Closed) && self.leaving.is_none() {
                return;
            }
            let now = self.clock.now();
            let has_work = self.readable && self.client.wants_input() || step == Step::More;
            let until = self.leaving.as_ref().map(Leaving::until);
            let due = [self.client.next_timeout(), until].into_iter().flatten().min();
            let wait = match has_work {
                true => Some(Duration::ZERO),
                false => due.map(|due| due.saturating_since(now)),
            };
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return,
                _ => {}
            }
            self.readable |=
                events.iter().any(|event| event.token() == STREAM && event.is_readable());
            self.opened();
            self.read();
            self.take_events();
            let now = self.clock.now();
            if self.client.next_timeout().is_some_and(|due| due <= now) {
                self.client.handle_timeout(now);
            }
        }
    }

    fn take_commands(&mut self) {
        let now = self.clock.now();
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Request { name, payload, timeout, done }) => {
                    match self.client.request(now, name, payload, timeout) {
                        Ok(id) => drop(self.calls.insert(id, done)),
                        // The caller waits for it.
                        Err(misuse) => drop(done.send(Err(CallError::Misuse(misuse)))),
                    }
                }
                Ok(Command::Signal(signal)) => {
                    self.unsent.push_back(signal);
                    self.send_signals();
                }
                Ok(Command::Close) | Err(TryRecvError::Disconnected) => {
                    self.closing = true;
                    return self.client.close(now);
                }
                Err(TryRecvError::Empty) => return,
            }
        }
    }

    /// Sends signals that wait, as long as the server reads. Without a connection they fail. Returns whether there
    /// were any.
    fn send_signals(&mut self) -> bool {
        let mut any = false;
        while self.client.backlog() < MAX_BACKLOG
            || self.client.client().status() != Status::Connected
        {
            let Some(Signal { name, payload, done }) = self.unsent.pop_front() else { break };
            let now = self.clock.now();
            let sent = self.client.call(|client, out| client.signal(now, &name, &payload, out));
            let _ = done.send(sent);
            any = true;
        }
        any
    }

    /// Closes the stream, once the output is sent.
    fn close_stream(&mut self) {
        self.write();
        self.readable = false;
        let Stream::Open(mut stream) = std::mem::replace(&mut self.stream, Stream::Closed) else {
            return;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().reregister(&mut stream, LEAVING, interest).is_ok() {
            let rest = self.client.output().to_vec();
            self.leaving = Some(Leaving::new(stream, rest, self.clock.now()));
        }
    }

    /// Goes on with the stream before.
    fn leave(&mut self) -> Step {
        let Some(leaving) = &mut self.leaving else { return Step::Done };
        let step = leaving.step(self.clock.now(), &mut self.buffer);
        if step == Step::Done {
            self.leaving = None;
        }
        step
    }

    fn take_events(&mut self) {
        let now = self.clock.now();
        while let Some(event) = self.client.poll_event(now) {
            match event {
                ClientEvent::Connect => self.open(),
                ClientEvent::Disconnect => self.close_stream(),
                ClientEvent::Done { id, outcome } => {
                    if let Some(done) = self.calls.remove(&id) {
                        drop(done.send(outcome.map_err(CallError::Request)));
                    }
                }
                ClientEvent::Event(Event::Signal(signal)) => self.signals.push(signal),
                ClientEvent::Event(_) | ClientEvent::Redirected { .. } => {}
            }
        }
    }

    /// Opens a stream in the background.
    fn open(&mut self) {
        let (host, port) = self.client.target().address();
        let (address, waker) = ((std::string::String::from(host), port), self.waker.clone());
        let (opened, stream) = mpsc::channel();
        let opening = thread::Builder::new().name("wwr-client-open".into()).spawn(move || {
            let stream = TcpStream::connect((&*address.0, address.1));
            let _ = opened.send(stream);
            let _ = waker.wake();
        });
        match opening {
            Ok(_) => self.stream = Stream::Opening(stream),
            Err(_) => self.client.ended(self.clock.now()),
        }
    }

    /// Takes over a stream that was opened.
    fn opened(&mut self) {
        let Stream::Opening(stream) = &self.stream else { return };
        let stream = match stream.try_recv() {
            Ok(stream) => stream,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err(ErrorKind::NotConnected.into()),
        };
        let now = self.clock.now();
        let registered = stream.and_then(|stream| {
            stream.set_nonblocking(true)?;
            // Most messages are small. If this fails, they are only slower.
            let _ = stream.set_nodelay(true);
            let mut stream = mio::net::TcpStream::from_std(stream);
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, STREAM, interest)?;
            Ok((stream, random()?))
        });
        match registered {
            Ok((stream, entropy)) => {
                self.stream = Stream::Open(stream);
                self.readable = true;
                self.client.connected(now, entropy);
            }
            Err(_) => {
                self.stream = Stream::Closed;
                self.readable = false;
                self.client.ended(now);
            }
        }
    }

    /// Reads what there is, but not for ever: commands and time have their turn.
    fn read(&mut self) {
        let now = self.clock.now();
        for _ in 0..TURNS {
            let Stream::Open(stream) = &mut self.stream else { break };
            if !self.readable || !self.client.wants_input() {
                break;
            }
            match stream.read(&mut self.buffer) {
                Ok(length @ 1..) => {
                    self.client.received(now, &self.buffer[..length]);
                    self.take_events();
                    self.write();
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => self.client.ended(now),
            }
            self.readable = false;
            return;
        }
    }

    fn write(&mut self) {
        let Stream::Open(stream) = &mut self.stream else { return };
        let now = self.clock.now();
        // Without random bytes, nothing is sent.
        let mut failed = false;
        self.client.mask(|| {
            random().unwrap_or_else(|_| {
                failed = true;
                [0; 4]
            })
        });
        if failed {
            return self.client.ended(now);
        }
        while !self.client.output().is_empty() {
            match stream.write(self.client.output()) {
                Ok(length) => self.client.sent(now, length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return self.client.sent(now, 0);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return self.client.ended(now),
            }
        }
    }
}
