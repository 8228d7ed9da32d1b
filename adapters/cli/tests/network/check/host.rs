//! A host on the core that makes one mistake.

use std::collections::HashMap;
use std::io::{self, Cursor, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant as SystemInstant};

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use wwr::server::gate::{Answer, Decision, Head, HttpVersion, Origins, Terms, decide};
use wwr::server::{
    Action, Config, Connection, Hub, HubAction, Observed, Request, RequestError, RequestId,
    StoreAnswer, Work,
};
use wwr::session::ConnectionId;
use wwr::{Actions, Instant, Payload, Session, SessionInfo, SessionKey, UnixTime, Valid};

use super::super::support::url;
use super::wrong::{Mistake, Wrong};

/// The longest message that is read, as it is stated.
const STATED: u32 = 64 * 1024;

/// A server for one mistake. It serves until the process ends.
pub(super) struct Host {
    config: Valid<Config>,
    mistake: Option<Mistake>,
    epoch: SystemInstant,
    state: Mutex<State>,
    sessions_made: AtomicU8,
}

struct State {
    hub: Hub,
    store: HashMap<SessionKey, Session>,
}

impl Host {
    /// Returns its URL.
    pub(super) fn start(mistake: Option<Mistake>) -> String {
        let mut config = Config::default();
        config.max_message_size = STATED;
        if mistake == Some(Mistake::ReadsAnyLength) {
            // What is stated stays as it is: `Wrong` sees to that.
            config.max_message_size = u32::MAX;
        }
        let host = Arc::new(Self {
            config: config.validate().unwrap(),
            mistake,
            epoch: SystemInstant::now(),
            state: Mutex::new(State { hub: Hub::new(&Valid::default()), store: HashMap::new() }),
            sessions_made: AtomicU8::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = url(listener.local_addr().unwrap());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (host, mut stream) = (host.clone(), stream.unwrap());
                // An error is the end of the connection.
                if mistake == Some(Mistake::HeldUpByHandshakes) {
                    if let Ok(head) = read_head(&mut stream) {
                        thread::spawn(move || host.answer(stream, &head));
                    }
                } else {
                    thread::spawn(move || {
                        let head = read_head(&mut stream)?;
                        host.answer(stream, &head)
                    });
                }
            }
        });
        url
    }

    fn now(&self) -> Instant {
        Instant::EPOCH + self.epoch.elapsed()
    }

    /// Answers one request, and serves the WebSocket if that opens one.
    fn answer(&self, mut stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(bytes).map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
        let headers = request.headers.iter().map(|header| (header.name, header.value));
        let head = Head::new(method, target, HttpVersion::Http11, headers);
        let any = self.mistake == Some(Mistake::ForeignOrigin);
        let terms = Terms {
            metadata: self.config.metadata(),
            origins: if any { &Origins::Any } else { &Origins::SameHost },
            selects_wwr1: self.config.selects_wwr1(),
            shutting_down: false,
        };
        let wrong = Wrong::new(self.mistake, STATED);
        let mut answer = match decide(&head, &terms) {
            Decision::Refuse(refusal) | Decision::Ask { upgrade: Err(refusal) } => {
                Answer::refusal(refusal, &head, &terms)
            }
            Decision::Options { .. } => {
                let mut answer = Answer::options();
                answer.headers.push(("Access-Control-Allow-Origin", "*".into()));
                answer.headers.push(("Access-Control-Allow-Methods", "WEBWIRE".into()));
                answer
            }
            Decision::Preflight { metadata, .. } => {
                Answer::preflight(&metadata, self.config.promise())
            }
            Decision::Ask { upgrade: Ok(accept) } => {
                let mut answer = Answer::switching(&accept);
                wrong.answer(&mut answer);
                write_answer(&mut stream, &answer)?;
                return self.serve(&mut stream, accept.observed(), wrong);
            }
        };
        wrong.answer(&mut answer);
        write_answer(&mut stream, &answer)?;
        stream.shutdown(Shutdown::Write)
    }

    fn serve(&self, stream: &mut TcpStream, observed: Observed, wrong: Wrong) -> io::Result<()> {
        let id = {
            let State { hub, .. } = &mut *self.state.lock().unwrap();
            let id = hub.admit(self.now()).unwrap();
            hub.opened(self.now(), id, &mut Actions::new());
            id
        };
        let mut out = Actions::new();
        let connection = Connection::accept(&self.config, observed, self.now(), &mut out);
        let is_plain = observed == Observed::Nothing;
        let (frames, read, partial) = (Vec::new(), Vec::new(), None);
        let mut link = Link {
            host: self,
            id,
            stream,
            connection,
            wrong,
            is_plain,
            frames,
            read,
            partial,
            login: None,
        };
        let ended = link.run(&mut out);
        link.connection.handle_disconnect(&mut out);
        // However it ends, the client notices.
        let _ = stream.shutdown(Shutdown::Both);
        let State { hub, .. } = &mut *self.state.lock().unwrap();
        hub.left(self.now(), id, &mut Actions::new());
        ended
    }
}

/// One connection.
struct Link<'a> {
    host: &'a Host,
    id: ConnectionId,
    stream: &'a mut TcpStream,
    connection: Connection,
    wrong: Wrong,
    /// Whether the host has not selected `wwr.1`.
    is_plain: bool,
    /// Messages that wait to be written.
    frames: Vec<Vec<u8>>,
    read: Vec<u8>,
    partial: Option<(bool, Vec<u8>)>,
    /// The request that waits for its session.
    login: Option<RequestId>,
}

/// What a client sent.
enum Incoming {
    Binary(Vec<u8>),
    Text(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Vec<u8>),
}

/// Why a connection has to end at once, with this code.
struct Fatal(u16);

impl Link<'_> {
    fn run(&mut self, out: &mut Actions<Action>) -> io::Result<()> {
        loop {
            while let Some(action) = out.pop() {
                if let Action::Close(reason) = &action {
                    return self.close(&reason.frame().code().to_be_bytes());
                }
                self.carry_out(action, out);
            }
            match self.next() {
                Err(Fatal(code)) => return self.close(&code.to_be_bytes()),
                Ok(Some(incoming)) => {
                    if self.handle(incoming, out)? {
                        return Ok(());
                    }
                    continue;
                }
                Ok(None) => {}
            }
            self.flush()?;
            self.fill(out)?;
        }
    }

    /// Handles what a client sent. Returns whether the connection has ended.
    fn handle(&mut self, incoming: Incoming, out: &mut Actions<Action>) -> io::Result<bool> {
        let now = self.host.now();
        match incoming {
            Incoming::Binary(message) => {
                match self.wrong.received(&message, self.is_plain) {
                    Some(0) => return Ok(true),
                    Some(code) => return self.close(&code.to_be_bytes()).map(|()| true),
                    None => {}
                }
                self.connection.handle_message(now, message.into(), out);
            }
            Incoming::Text(message) => self.connection.handle_text(now, message.into(), out),
            Incoming::Ping(payload) => {
                self.connection.handle_activity(now);
                if !self.wrong.omits_pongs() {
                    self.flush()?;
                    self.write(0x8a, &payload)?;
                }
            }
            Incoming::Pong => self.connection.handle_activity(now),
            Incoming::Close(payload) => {
                self.flush()?;
                self.write(0x88, &self.wrong.close_payload(payload))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn carry_out(&mut self, action: Action, out: &mut Actions<Action>) {
        let now = self.host.now();
        match action {
            Action::Send(frame) => self.frames.extend(self.wrong.sent(&frame, self.is_plain)),
            Action::Request(request) => {
                if let Some((id, reply)) = self.reply(request, out) {
                    let _ = self.connection.reply(id, reply, out);
                }
            }
            Action::Signal(signal) => {
                let _ = self.connection.signal_handled(signal.id, out);
            }
            Action::Session(command) => {
                let mut wanted = Actions::new();
                let State { hub, store } = &mut *self.host.state.lock().unwrap();
                hub.handle(now, self.id, command, &mut wanted);
                while let Some(action) = wanted.pop() {
                    match action {
                        HubAction::Store(job) => {
                            let answer = answer(store, job.work);
                            hub.answered(now, job.id, answer, &mut wanted);
                        }
                        HubAction::Deliver { to, outcome } if to == self.id => {
                            self.connection.handle_session(now, outcome, out);
                        }
                        // No check needs news of other connections.
                        _ => {}
                    }
                }
            }
            Action::SessionEvent(_) => {
                if let Some(id) = self.login.take() {
                    let _ = self.connection.reply(id, Ok(Payload::EMPTY), out);
                }
            }
            _ => {}
        }
    }

    /// The application: an echo and a login.
    fn reply(
        &mut self,
        Request { id, content }: Request,
        out: &mut Actions<Action>,
    ) -> Option<(RequestId, Result<Payload, RequestError>)> {
        match content.name() {
            b"echo" => Some((id, Ok(content.into_payload()))),
            b"login" => {
                let number = self.host.sessions_made.fetch_add(1, Ordering::Relaxed);
                let key = SessionKey::from_entropy([number; SessionKey::ENTROPY]);
                let info = SessionInfo::new().public("user", "ada");
                self.login = Some(id);
                self.connection.create_session(key, UnixTime::from_parts(0, 0), info, out).unwrap();
                None
            }
            _ => Some((id, Err(RequestError::failed("UNKNOWN", "no such request")))),
        }
    }

    /// Reads more, or tells the machine that its time has come.
    fn fill(&mut self, out: &mut Actions<Action>) -> io::Result<()> {
        let now = self.host.now();
        let left = self.connection.next_timeout().map(|due| due.saturating_since(now));
        self.stream.set_read_timeout(left.map(|left| left.max(Duration::from_millis(1))))?;
        let mut chunk = [0; 64 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(length) => {
                self.read.extend(&chunk[..length]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                self.connection.handle_timeout(self.host.now(), out);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Returns what a client has sent as a whole.
    fn next(&mut self) -> Result<Option<Incoming>, Fatal> {
        loop {
            let mut cursor = Cursor::new(&self.read);
            let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Fatal(1002))?;
            let Some((header, length)) = parsed else { return Ok(None) };
            let start = cursor.position() as usize;
            let is_control = matches!(header.opcode, OpCode::Control(_));
            if header.rsv1 || header.rsv2 || header.rsv3 || is_control && !header.is_final {
                return Err(Fatal(1002));
            }
            let mask = header.mask.ok_or(Fatal(1002))?;
            let most = u64::from(self.host.config.max_message_size);
            if is_control && length > 125 || length > most {
                return Err(Fatal(if is_control { 1002 } else { 1009 }));
            }
            let end = start + length as usize;
            let Some(payload) = self.read.get(start..end) else { return Ok(None) };
            let unmasked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
            let payload: Vec<u8> = unmasked.collect();
            self.read.drain(..end);
            let (is_text, whole) = match (header.opcode, self.partial.take()) {
                (OpCode::Control(control), partial) => {
                    self.partial = partial;
                    return Ok(Some(match control {
                        Control::Ping => Incoming::Ping(payload),
                        Control::Pong => Incoming::Pong,
                        Control::Close => Incoming::Close(payload),
                        Control::Reserved(_) => return Err(Fatal(1002)),
                    }));
                }
                (OpCode::Data(Data::Text), None) => (true, payload),
                (OpCode::Data(Data::Binary), None) => (false, payload),
                (OpCode::Data(Data::Continue), Some((is_text, before))) => {
                    (is_text, [before, payload].concat())
                }
                _ => return Err(Fatal(1002)),
            };
            if !header.is_final {
                self.partial = Some((is_text, whole));
            } else if !is_text {
                return Ok(Some(Incoming::Binary(whole)));
            } else if std::str::from_utf8(&whole).is_ok() {
                return Ok(Some(Incoming::Text(whole)));
            } else {
                return Err(Fatal(1007));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let frames = std::mem::take(&mut self.frames);
        for message in self.wrong.ordered(frames) {
            self.write(0x82, &message)?;
        }
        Ok(())
    }

    fn write(&mut self, first: u8, payload: &[u8]) -> io::Result<()> {
        let mut frame = vec![first];
        match payload.len() {
            length @ ..126 => frame.push(length as u8),
            length @ ..0x1_0000 => {
                frame.push(126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(payload);
        self.stream.write_all(&frame)
    }

    /// Closes, and reads until the client has closed as well.
    fn close(&mut self, payload: &[u8]) -> io::Result<()> {
        self.flush()?;
        self.write(0x88, payload)?;
        self.stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        self.stream.shutdown(Shutdown::Write)?;
        io::copy(self.stream, &mut io::sink()).map(drop)
    }
}

fn answer(store: &mut HashMap<SessionKey, Session>, work: Work) -> StoreAnswer {
    match work {
        Work::LookUp(key) => {
            StoreAnswer::LookedUp(Ok(store.get(&key).map(|session| Box::new(session.clone()))))
        }
        Work::Create(session) => {
            store.insert(session.key.clone(), *session);
            StoreAnswer::Created(Ok(()))
        }
        Work::Update(_) => StoreAnswer::Updated(Ok(false)),
        Work::Destroy(key) => {
            store.remove(&key);
            StoreAnswer::Destroyed(Ok(()))
        }
        Work::Expire { .. } => StoreAnswer::Expired(Ok(())),
    }
}

fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(head)
}

fn write_answer(stream: &mut TcpStream, answer: &Answer) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} \r\n", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if answer.status != 101 {
        head.push_str(&format!("Content-Length: {}\r\n", answer.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(&[head.as_bytes(), &answer.body].concat())
}
