//! The host of a server: it drives connections and registry, and has no clock, socket or task.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wwr::server::{
    Action, CloseReason, Config, Connection, Request, RequestError, RequestId, SessionEvent, Signal,
};
use wwr::session::{ConnectionId, Effect, Registry, RegistryConfig};
use wwr::{Actions, Dialect, Instant, Name, Payload, SessionInfo, SessionKey, UnixTime};

use super::application::{self, Step};
use super::store::Store;

pub(crate) struct Host {
    config: Config,
    pub(crate) registry: Registry,
    effects: Actions<Effect>,
    pub(crate) store: Store,
    peers: BTreeMap<u64, Peer>,
    now: Instant,
    /// The keys of new sessions, first one first.
    keys: VecDeque<SessionKey>,
    /// What application and store were told, in the words of the recordings.
    pub(crate) told: VecDeque<String>,
}

/// A connection, and what its socket was given.
struct Peer {
    connection: Connection,
    out: Actions<Action>,
    sent: VecDeque<Sent>,
    /// The handler that waits for something.
    handler: Option<(RequestId, Awaiting)>,
}

/// What a client sees of the server.
#[derive(Debug)]
pub(crate) enum Sent {
    Frame(Bytes),
    Closed(CloseReason),
}

enum Awaiting {
    SessionCreated,
    SessionClosed,
    /// Whoever conducts the conversation.
    Permission,
}

impl Host {
    pub(crate) fn new(
        config: Config,
        registry: RegistryConfig,
        keys: impl IntoIterator<Item = SessionKey>,
    ) -> Self {
        Self {
            config,
            registry: Registry::new(registry),
            effects: Actions::new(),
            store: Store::default(),
            peers: BTreeMap::new(),
            now: Instant::EPOCH,
            keys: keys.into_iter().collect(),
            told: VecDeque::new(),
        }
    }

    /// A client has connected.
    pub(crate) fn accept(&mut self, id: u64, dialect: Dialect) {
        let mut out = Actions::new();
        let connection = Connection::accept(&self.config, dialect, self.now, &mut out);
        self.peers.insert(id, Peer { connection, out, sent: VecDeque::new(), handler: None });
        self.settle();
    }

    /// A message of a client has arrived.
    pub(crate) fn receive(&mut self, id: u64, frame: impl Into<Bytes>) {
        self.now = self.now + Duration::from_millis(1);
        let peer = self.peer(id);
        assert!(peer.connection.wants_input() || peer.is_over(), "the socket is not read");
        let now = self.now;
        let peer = self.peer(id);
        peer.connection.handle_message(now, frame.into(), &mut peer.out);
        self.settle();
    }

    /// The socket of a connection is gone.
    pub(crate) fn disconnect(&mut self, id: u64) {
        let peer = self.peer(id);
        peer.connection.handle_disconnect(&mut peer.out);
        self.settle();
    }

    /// What the client got next.
    pub(crate) fn next_sent(&mut self, id: u64) -> Option<Sent> {
        self.peer(id).sent.pop_front()
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.peers.keys().copied().collect()
    }

    /// The handler that waits for permission may go on.
    pub(crate) fn permit(&mut self) {
        for id in self.ids() {
            if matches!(self.peer(id).handler, Some((_, Awaiting::Permission))) {
                self.finish(id, Ok(Payload::utf8_static("done")));
            }
        }
        self.settle();
    }

    pub(crate) fn signal(&mut self, id: u64, name: &Name, payload: &Payload) {
        let peer = self.peer(id);
        // The recordings have signals that are refused here; see the differences.
        let _ = peer.connection.signal(name, payload, &mut peer.out);
        self.settle();
    }

    pub(crate) fn create_session(&mut self, id: u64, info: SessionInfo) {
        self.begin_session(id, info).expect("no session yet");
        self.settle();
    }

    pub(crate) fn close(&mut self, id: u64) {
        let now = self.now;
        let peer = self.peer(id);
        peer.connection.close(now, &mut peer.out);
        self.settle();
    }

    pub(crate) fn shut_down(&mut self) {
        for id in self.ids() {
            let now = self.now;
            let peer = self.peer(id);
            peer.connection.shut_down(now, Duration::from_secs(10), &mut peer.out);
        }
        self.settle();
    }

    /// Closes a session by key and the connections that hold it; gives how many.
    pub(crate) fn close_key(&mut self, key: &SessionKey) -> usize {
        let closed = self.registry.close_key(key.clone(), true, &mut self.effects);
        self.settle();
        closed
    }

    fn peer(&mut self, id: u64) -> &mut Peer {
        self.peers.get_mut(&id).expect("a known connection")
    }

    fn wall_clock(&self) -> UnixTime {
        let nanos = self.now.as_nanos();
        let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        UnixTime::from_parts(1_500_000_000 + seconds as i64, nanos as u32)
    }

    /// Carries out all that is to be done, in order, until everybody waits.
    fn settle(&mut self) {
        loop {
            if let Some(effect) = self.effects.pop() {
                self.carry_out_effect(effect);
                continue;
            }
            let next = self.peers.iter_mut().find_map(|(&id, peer)| Some((id, peer.out.pop()?)));
            let Some((id, action)) = next else { return };
            self.carry_out(id, action);
        }
    }

    fn carry_out(&mut self, id: u64, action: Action) {
        match action {
            Action::Send(frame) => self.peer(id).sent.push_back(Sent::Frame(frame)),
            Action::Close(reason) => self.peer(id).sent.push_back(Sent::Closed(reason)),
            Action::Request(request) => self.on_request(id, request),
            Action::Signal(signal) => self.on_signal(id, signal),
            Action::Session(command) => {
                self.registry.handle(ConnectionId(id), command, &mut self.effects);
            }
            Action::SessionEvent(event) => self.on_session_event(id, event),
        }
    }

    fn carry_out_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Lookup { ticket, key } => {
                let now = self.wall_clock();
                let answer = self.store.look_up(&key, now);
                let result = match &answer {
                    Ok(Some(_)) => ": found",
                    Ok(None) => ": not found",
                    Err(_) => " fails with an error of its own",
                };
                let key = key.as_str();
                self.told.push_back(format!("session manager OnSessionLookup({key:?}){result}"));
                let answer = answer.map(|session| session.map(Box::new));
                self.registry.looked_up(ticket, answer, &mut self.effects);
            }
            Effect::Store { ticket, session } => {
                let key = session.key.as_str();
                self.told.push_back(format!("session manager OnSessionCreated(key {key:?})"));
                self.store.keep(*session);
                self.registry.stored(ticket, Ok(()), &mut self.effects);
            }
            Effect::Destroy { ticket, key } => {
                self.store.destroy(&key);
                self.registry.destroyed(ticket, Ok(()), &mut self.effects);
            }
            Effect::Deliver { connection, outcome } => {
                let now = self.now;
                let peer = self.peer(connection.0);
                peer.connection.handle_session(now, outcome, &mut peer.out);
            }
        }
    }

    fn on_request(&mut self, id: u64, request: Request) {
        let Request { id: handler, content } = request;
        let name = content.name_str().expect("the recordings have no other names");
        self.told.push_back(format!("OnRequest(name {name:?})"));
        let peer = self.peer(id);
        match application::on_request(&content) {
            Step::Reply(result) => peer.reply(handler, result),
            // What an adapter answers for a handler that panicked.
            Step::Panic => peer.reply(handler, Err(RequestError::Internal)),
            Step::Signal(name, payload) => {
                let _ = peer.connection.signal(&name, &payload, &mut peer.out);
                peer.reply(handler, Ok(Payload::EMPTY));
            }
            Step::WhoAmI => {
                let session = peer.connection.session();
                let key = session.map_or("", |session| session.key.as_str()).to_owned();
                peer.reply(handler, Ok(Payload::utf8(key)));
            }
            Step::Slow => peer.handler = Some((handler, Awaiting::Permission)),
            Step::CloseMe => {
                let now = self.now;
                let peer = self.peer(id);
                peer.connection.close(now, &mut peer.out);
                peer.reply(handler, Ok(Payload::utf8_static("closing")));
            }
            Step::Login(info) => match self.begin_session(id, info) {
                Ok(()) => self.peer(id).handler = Some((handler, Awaiting::SessionCreated)),
                Err(error) => self.peer(id).reply(handler, Err(error)),
            },
            Step::Logout => match peer.connection.close_session(&mut peer.out) {
                Ok(true) => peer.handler = Some((handler, Awaiting::SessionClosed)),
                Ok(false) => peer.reply(handler, Ok(Payload::utf8_static("bye"))),
                Err(misuse) => peer.reply(handler, Err(misuse.into())),
            },
        }
    }

    fn on_signal(&mut self, id: u64, signal: Signal) {
        let name = signal.content.name_str().expect("the recordings have no other names");
        self.told.push_back(format!("OnSignal(name {name:?})"));
        let peer = self.peer(id);
        if signal.content.name() == b"ack" {
            let name = Name::from_static("acked").expect("printable");
            let payload = signal.content.into_payload();
            peer.connection.signal(&name, &payload, &mut peer.out).expect("it has a payload");
        }
        peer.connection.signal_handled(signal.id, &mut peer.out).expect("it ran");
    }

    fn on_session_event(&mut self, id: u64, event: SessionEvent) {
        match (event, &self.peer(id).handler) {
            (SessionEvent::Created, Some((_, Awaiting::SessionCreated))) => {
                self.finish(id, Ok(Payload::utf8_static("ok")));
            }
            (SessionEvent::Closed, Some((_, Awaiting::SessionClosed))) => {
                self.finish(id, Ok(Payload::utf8_static("bye")));
            }
            (SessionEvent::CreateFailed | SessionEvent::CloseFailed, Some(_)) => {
                self.finish(id, Err(RequestError::Internal));
            }
            _ => {}
        }
    }

    fn begin_session(&mut self, id: u64, info: SessionInfo) -> Result<(), RequestError> {
        let now = self.wall_clock();
        let key = self.keys.front().expect("another key").clone();
        let peer = self.peer(id);
        peer.connection.create_session(key, now, info, &mut peer.out)?;
        self.keys.pop_front();
        Ok(())
    }

    fn finish(&mut self, id: u64, result: Result<Payload, RequestError>) {
        let peer = self.peer(id);
        let (handler, _) = peer.handler.take().expect("a handler waits");
        peer.reply(handler, result);
    }
}

impl Peer {
    fn reply(&mut self, handler: RequestId, result: Result<Payload, RequestError>) {
        self.connection.reply(handler, result, &mut self.out).expect("it runs");
    }

    fn is_over(&self) -> bool {
        !self.connection.is_open() && !self.connection.wants_input()
    }
}
