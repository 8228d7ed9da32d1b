//! The loop of a server's connection.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;

use wwr::server::{
    Action, Config, Connection, Detection, HubAction, Observed, RequestError, RequestId,
    SessionEvent,
};
use wwr::session::ConnectionId;
use wwr::{Actions, CloseFrame, Content, Instant, Payload, SessionInfo, SessionKey, Valid};

use super::TIMEOUT;
use super::shared::{Shared, unix_now};
use super::socket::{self, BINARY, CLOSE, Incoming, PING, PONG};

/// What can happen to a connection.
pub(super) enum Event {
    Incoming(Incoming),
    /// The socket is of no use any more.
    Gone,
    /// Something of the hub for this connection.
    Hub(HubAction),
}

struct Driver<'a> {
    shared: &'a Shared,
    id: ConnectionId,
    stream: &'a mut TcpStream,
    inbox: Receiver<Event>,
    /// Lets the reading thread read once more.
    permits: Sender<()>,
    /// Whether it reads, or has read what is still in the inbox.
    is_reading: bool,
    written: Vec<u8>,
    /// The request that waits for its session.
    login: Option<RequestId>,
    /// The address of a client that is taken for one of 1.x because it was silent.
    presumed: Option<IpAddr>,
}

/// Serves a WebSocket to its end. `observed`: what its handshake tells of the client.
pub(super) fn serve(
    shared: &Shared,
    config: &Valid<Config>,
    id: ConnectionId,
    stream: &mut TcpStream,
    client: IpAddr,
    shown: Observed,
) {
    let (events, inbox) = mpsc::channel();
    let (permits, permit) = mpsc::channel();
    let Ok(reading) = stream.try_clone() else { return };
    let news = events.clone();
    thread::spawn(move || read(reading, &permit, &events));
    let (is_reading, written, login, presumed) = (false, Vec::new(), None, None);
    let mut driver =
        Driver { shared, id, stream, inbox, permits, is_reading, written, login, presumed };
    let (observed, first) = driver.detect(client, shown);
    let mut out = Actions::new();
    let mut connection = Connection::accept(config, observed, shared.now(), &mut out);
    shared.open(id, news);
    // An error is the end of the socket.
    let _ = driver.run(&mut connection, first, &mut out);
    // The reading thread ends, too.
    let _ = driver.stream.shutdown(Shutdown::Both);
    connection.handle_disconnect(&mut out);
}

/// Reads whenever it may, so that the machine can leave the socket unread.
fn read(mut stream: TcpStream, permit: &Receiver<()>, events: &Sender<Event>) {
    // Silence is the business of the machine. It learns of whole messages only, so a client on a slow
    // network has to send long ones within its read timeout.
    let _ = stream.set_read_timeout(None);
    let mut partial = None;
    while permit.recv().is_ok() {
        let event = match socket::read(&mut stream, &mut partial, true) {
            Ok(incoming) => Event::Incoming(incoming),
            Err(_) => Event::Gone,
        };
        let is_over = matches!(event, Event::Gone);
        if events.send(event).is_err() || is_over {
            return;
        }
    }
}

impl Driver<'_> {
    /// Finds out what the client speaks, as far as that can be done before it is sent anything. `shown` is what its
    /// handshake shows.
    fn detect(&mut self, client: IpAddr, shown: Observed) -> (Observed, Option<Event>) {
        let (arrived, client) = (self.shared.now(), client.to_canonical());
        let until = match self.shared.preflights(|known| known.arrived(arrived, &client, shown)) {
            Detection::Known(observed) => return (observed, None),
            Detection::Wait { until } => until,
        };
        let first = self.next(Some(until), true).unwrap_or(None);
        let now = self.shared.now();
        let observed = self.shared.preflights(|known| match &first {
            Some(Event::Incoming(Incoming::Binary(frame))) => known.spoke(now, &client, frame),
            _ => {
                let observed = known.silent(now, arrived, &client);
                self.presumed = (observed == Observed::Preflight).then_some(client);
                observed
            }
        });
        (observed, first)
    }

    /// What happens next; `None` if nothing does until then.
    fn next(&mut self, until: Option<Instant>, may_read: bool) -> io::Result<Option<Event>> {
        if may_read && !self.is_reading {
            self.is_reading = self.permits.send(()).is_ok();
        }
        let event = match until {
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(until) => self.inbox.recv_timeout(until.saturating_since(self.shared.now())),
        };
        match event {
            Ok(event) => {
                self.is_reading &= !matches!(event, Event::Incoming(_));
                Ok(Some(event))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn run(
        &mut self,
        connection: &mut Connection,
        first: Option<Event>,
        out: &mut Actions<Action>,
    ) -> io::Result<()> {
        let mut event = first;
        loop {
            let now = self.shared.now();
            match event {
                None => connection.handle_timeout(now, out),
                Some(Event::Gone) => return Ok(()),
                Some(Event::Hub(action)) => match action {
                    HubAction::Deliver { outcome, .. } => {
                        connection.handle_session(now, outcome, out)
                    }
                    HubAction::ShutDown { deadline, idle, .. } => {
                        connection.shut_down(now, deadline, idle, out);
                    }
                    HubAction::Close { .. } => connection.close(now, out),
                    HubAction::Recover { news, .. } => connection.handle_recovery(now, news, out),
                    _ => return Ok(()),
                },
                Some(Event::Incoming(incoming)) => match incoming {
                    Incoming::Text(frame) => connection.handle_text(now, frame, out),
                    Incoming::Binary(frame) => connection.handle_message(now, frame, out),
                    Incoming::Ping(payload) => {
                        connection.handle_activity(now);
                        socket::append(&mut self.written, PONG, &payload, None);
                    }
                    Incoming::Pong => connection.handle_activity(now),
                    Incoming::Closed(frame) => return self.say_close(&frame),
                },
            }
            while let Some(action) = out.pop() {
                if let Action::Close(reason) = &action {
                    self.say_close(&reason.frame())?;
                    return self.await_close();
                }
                self.carry_out(action, connection, out);
            }
            socket::write(self.stream, &mut self.written)?;
            event = self.next(connection.next_timeout(), connection.wants_input())?;
        }
    }

    fn carry_out(
        &mut self,
        action: Action,
        connection: &mut Connection,
        out: &mut Actions<Action>,
    ) {
        let id = self.id;
        match action {
            Action::Send(frame) => socket::append(&mut self.written, BINARY, &frame, None),
            Action::Ping => socket::append(&mut self.written, PING, &[], None),
            Action::Request(request) => {
                if let Some(reply) = self.handle(request.id, request.content, connection, out) {
                    // An error would mean that it was answered before.
                    let _ = connection.reply(request.id, reply, out);
                }
            }
            Action::Signal(signal) => {
                let _ = connection.signal_handled(signal.id, out);
            }
            Action::Session(command) => {
                self.shared.control(|hub, now, out| hub.handle(now, id, command, out));
            }
            Action::Recover(command) => {
                self.shared.control(|hub, now, out| hub.recover(now, id, *command, out));
            }
            Action::SessionEvent(event) => {
                if let (Some(login), SessionEvent::Created(..) | SessionEvent::CreateFailed(_)) =
                    (self.login.take(), event)
                {
                    let key =
                        connection.session().map(|session| Payload::utf8(session.key.as_str()));
                    let _ = connection.reply(login, key.ok_or(RequestError::Internal), out);
                }
            }
            Action::Drained => self.shared.control(|hub, now, out| hub.drained(now, id, out)),
            Action::ReplyTooLarge { .. } => eprintln!("a reply was longer than its client reads"),
            // The connection checks what it sends. This server asks nothing.
            Action::PeerReads(_) | Action::Answered { .. } => {}
            Action::Learned(_) => {
                if let Some(client) = self.presumed.take() {
                    let now = self.shared.now();
                    self.shared.preflights(|known| known.turned_out_newer(now, &client));
                }
            }
            // The loop above has it.
            Action::Close(_) => {}
        }
    }

    /// The application: a login that creates a session, and an echo of everything else. Returns the
    /// reply, unless it comes later.
    fn handle(
        &mut self,
        id: RequestId,
        request: Content,
        connection: &mut Connection,
        out: &mut Actions<Action>,
    ) -> Option<Result<Payload, RequestError>> {
        if request.name() != b"login" {
            return Some(Ok(request.into_payload()));
        }
        let Ok(user) = request.text() else {
            return Some(Err(RequestError::failed("NAME", "the name is no text")));
        };
        let mut entropy = [0; SessionKey::ENTROPY];
        if getrandom::fill(&mut entropy).is_err() {
            return Some(Err(RequestError::Internal));
        }
        let (key, info) =
            (SessionKey::from_entropy(entropy), SessionInfo::new().public("user", &*user));
        match connection.create_session(key, unix_now(), info, out) {
            Ok(_) => {
                self.login = Some(id);
                None
            }
            Err(misuse) => Some(Err(RequestError::failed("SESSION", misuse.to_string()))),
        }
    }

    fn say_close(&mut self, frame: &CloseFrame) -> io::Result<()> {
        // A frame without a code is answered with one.
        let code = if frame.code() == CloseFrame::NO_CODE { &CloseFrame::NORMAL } else { frame };
        socket::append(&mut self.written, CLOSE, &socket::close_payload(code), None);
        socket::write(self.stream, &mut self.written)
    }

    /// Waits until the client has closed its side as well, or takes too long.
    fn await_close(&mut self) -> io::Result<()> {
        let until = self.shared.now() + TIMEOUT;
        loop {
            match self.next(Some(until), true)? {
                None | Some(Event::Gone | Event::Incoming(Incoming::Closed(_))) => return Ok(()),
                Some(Event::Incoming(_) | Event::Hub(_)) => {}
            }
        }
    }
}
