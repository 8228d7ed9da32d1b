//! A server on blocking sockets of the standard library, and handlers that may block as well.
//!
//! All connections share one [`Host`] in a lock. A `ServerSocket` for each thread would be locked just as long: it
//! takes what the sockets share in each call, and one connection may cause output of another. Two threads of each
//! connection move its bytes, because a thread that waits for input can write nothing meanwhile. The lock is free
//! while they wait, and while a handler runs.
//!
//! ```text
//! cargo run --release -p wwr-socket --example threads -- 127.0.0.1:7777
//! wwr request ws://127.0.0.1:7777/ echo hello
//! ```

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wwr::server::{Request, RequestError};
use wwr::{Payload, UnixTime};
use wwr_socket::host::{Host, HostEvent};
use wwr_socket::server::{Disposition, Event, ServerConfig, SocketId};

/// How many handlers run at once.
const HANDLERS: usize = 8;

/// How long a write may take until the client counts as one that does not read.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long nothing is accepted after the system had no files or memory left for a socket.
const REST: Duration = Duration::from_millis(100);

pub(crate) fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7777".into());
    let listener = TcpListener::bind(address)?;
    println!("listening on ws://{}/", listener.local_addr()?);
    serve(&listener)
}

/// The application. It may take its time: other requests are handled meanwhile.
fn answer(request: Request) -> Result<Payload, RequestError> {
    Ok(request.content.into_payload())
}

struct Server {
    state: Mutex<State>,
    /// Wakes the thread that keeps time.
    clock: Condvar,
    started: Instant,
    requests: Sender<(SocketId, Request)>,
}

struct State {
    host: Host,
    connections: HashMap<SocketId, Arc<Connection>>,
    /// When the thread that keeps time wakes up by itself.
    wakes_at: Option<wwr::Instant>,
}

struct Connection {
    stream: TcpStream,
    /// Wake its two threads.
    reader: Condvar,
    writer: Condvar,
}

pub(crate) fn serve(listener: &TcpListener) -> io::Result<()> {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let unix = UnixTime::from_seconds(unix.try_into().unwrap_or(i64::MAX));
    let host = Host::new(ServerConfig::default(), wwr::Instant::EPOCH, unix);
    let host = host.map_err(io::Error::other)?;
    let (requests, inbox) = channel();
    let state = Mutex::new(State { host, connections: HashMap::new(), wakes_at: None });
    let server = Server { state, clock: Condvar::new(), started: Instant::now(), requests };
    let (server, inbox) = (Arc::new(server), Arc::new(Mutex::new(inbox)));
    spawn(&server, Server::keep_time)?;
    for _ in 0..HANDLERS {
        let inbox = inbox.clone();
        spawn(&server, move |server| server.handle(&inbox))?;
    }
    for stream in listener.incoming() {
        match stream.and_then(|stream| server.accept(stream)) {
            Ok(()) => {}
            // It is gone already.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(_) => thread::sleep(REST),
        }
    }
    Ok(())
}

fn spawn(server: &Arc<Server>, run: impl FnOnce(&Server) + Send + 'static) -> io::Result<()> {
    let server = server.clone();
    thread::Builder::new().spawn(move || run(&server)).map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    fn now(&self) -> wwr::Instant {
        wwr::Instant::EPOCH + self.started.elapsed()
    }

    fn accept(self: &Arc<Self>, stream: TcpStream) -> io::Result<()> {
        let from = stream.peer_addr()?.ip();
        // Most messages are small. If this fails, they are only slower.
        let _ = stream.set_nodelay(true);
        stream.set_write_timeout(Some(PATIENCE))?;
        let (reader, writer) = (Condvar::new(), Condvar::new());
        let connection = Arc::new(Connection { stream, reader, writer });
        let mut state = lock(&self.state);
        let (id, _) = state.host.accepted(self.now(), from);
        state.connections.insert(id, connection.clone());
        self.settle(&mut state);
        drop(state);
        let reader = connection.clone();
        spawn(self, move |server| server.read(id, &reader))
            .and_then(|()| spawn(self, move |server| server.write(id, &connection)))
            .inspect_err(|_| self.close(id))
    }

    /// Lets others do what follows from a call of the host.
    fn settle(&self, state: &mut State) {
        while let Some(event) = state.host.poll_event(self.now()) {
            if let HostEvent::Socket { id, event: Event::Request(request) } = event {
                // The handlers are there as long as the server is.
                let _ = self.requests.send((id, request));
            }
        }
        while let Some(id) = state.host.poll_output() {
            if let Some(connection) = state.connections.get(&id) {
                connection.reader.notify_one();
                connection.writer.notify_one();
            }
        }
        let due = state.host.next_timeout();
        if due.is_some_and(|due| state.wakes_at.is_none_or(|at| due < at)) {
            self.clock.notify_one();
        }
    }

    fn close(&self, id: SocketId) {
        let mut state = lock(&self.state);
        state.host.closed(self.now(), id);
        if let Some(connection) = state.connections.remove(&id) {
            // Ends what its threads wait for.
            let _ = connection.stream.shutdown(Shutdown::Both);
            connection.reader.notify_one();
            connection.writer.notify_one();
        }
        self.settle(&mut state);
    }

    /// A thread of each connection.
    fn read(&self, id: SocketId, connection: &Connection) {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let mut state = lock(&self.state);
            while !state.host.wants_input(id) {
                if !state.connections.contains_key(&id) {
                    return;
                }
                state = connection.reader.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            drop(state);
            let read = (&connection.stream).read(&mut buffer);
            let mut state = lock(&self.state);
            match &read {
                Ok(0) => state.host.end_of_input(id),
                Ok(length) => state.host.received(self.now(), id, &buffer[..*length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    drop(state);
                    return self.close(id);
                }
            }
            self.settle(&mut state);
            if matches!(read, Ok(0)) {
                return;
            }
        }
    }

    /// The other thread of each connection.
    fn write(&self, id: SocketId, connection: &Connection) {
        let mut buffer = Vec::new();
        let mut has_shut_down = false;
        loop {
            let mut state = lock(&self.state);
            let disposition = loop {
                let disposition = state.host.disposition(id);
                let waits = match disposition {
                    Disposition::Keep => true,
                    Disposition::ShutDownWrite => has_shut_down,
                    Disposition::Close => false,
                };
                if !waits || !state.host.output(id).is_empty() {
                    break disposition;
                }
                state = connection.writer.wait(state).unwrap_or_else(PoisonError::into_inner);
            };
            buffer.clear();
            buffer.extend_from_slice(state.host.output(id));
            drop(state);
            match disposition {
                Disposition::Close => return self.close(id),
                Disposition::ShutDownWrite => {
                    has_shut_down = true;
                    let _ = connection.stream.shutdown(Shutdown::Write);
                }
                Disposition::Keep => {
                    let sent = match (&connection.stream).write(&buffer) {
                        Ok(length) => length,
                        Err(error) if is_late(&error) => 0,
                        Err(_) => return self.close(id),
                    };
                    let mut state = lock(&self.state);
                    state.host.sent(self.now(), id, sent);
                    self.settle(&mut state);
                }
            }
        }
    }

    /// The thread that keeps time.
    fn keep_time(&self) {
        let mut state = lock(&self.state);
        loop {
            let (now, due) = (self.now(), state.host.next_timeout());
            if due.is_some_and(|due| due <= now) {
                state.host.handle_timeout(now);
                self.settle(&mut state);
                continue;
            }
            state.wakes_at = due;
            let wait = due.map_or(Duration::MAX, |due| due.saturating_since(now));
            let woken = self.clock.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A thread that runs handlers.
    fn handle(&self, inbox: &Mutex<Receiver<(SocketId, Request)>>) {
        loop {
            let Ok((id, request)) = lock(inbox).recv() else { return };
            let handler = request.id;
            let result = answer(request);
            let mut state = lock(&self.state);
            // An error means that the client has gone.
            let _ = state.host.reply(self.now(), id, handler, result);
            self.settle(&mut state);
        }
    }
}

/// Returns whether a write took nothing because the client does not read.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
