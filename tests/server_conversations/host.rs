//! The host of a server: it drives connections and their hub, and has no clock, socket or task.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wwr::server::{
    Action, CloseReason, Config, Connection, Hub, HubAction, HubConfig, Job, Observed, Preflights,
    Request, RequestError, RequestId, SessionEvent, Signal, StoreAnswer, WaiterId, Work,
};
use wwr::session::ConnectionId;
use wwr::{Actions, Dialect, Instant, Name, Payload, SessionInfo, SessionKey, UnixTime, Valid};

use crate::application::{self, Step};
use crate::store::Store;
use crate::transcript::Reference;

pub(crate) struct Host {
    /// Whose application this host has.
    reference: Reference,
    config: Valid<Config>,
    /// All clients connect from the same address.
    preflights: Preflights<()>,
    pub(crate) hub: Hub,
    out: Actions<HubAction>,
    pub(crate) store: Store,
    peers: BTreeMap<u64, Peer>,
    /// The numbers of the recording, by those of the hub.
    numbers: BTreeMap<ConnectionId, u64>,
    /// How many connections were told by those calls that closed a session.
    closed: BTreeMap<WaiterId, usize>,
    now: Instant,
    /// The keys of new sessions, first one first.
    keys: VecDeque<SessionKey>,
    /// What application and store were told, in the words of the recordings.
    pub(crate) told: VecDeque<String>,
    /// The same about sessions that were destroyed, of which only 2.0 tells.
    pub(crate) destroyed: VecDeque<String>,
}

/// A connection, and what its socket was given.
struct Peer {
    id: ConnectionId,
    connection: Connection,
    observed: Observed,
    out: Actions<Action>,
    sent: VecDeque<Sent>,
    /// The handlers that wait for something, with what they wait for.
    handlers: Vec<(RequestId, Awaiting)>,
}

/// What a client sees of the server.
#[derive(Debug)]
pub(crate) enum Sent {
    Frame(Bytes),
    Ping,
    Closed(CloseReason, Instant),
}

#[derive(PartialEq)]
enum Awaiting {
    SessionCreated,
    SessionClosed,
    /// Whatever conducts the conversation. Contains the reply.
    Permission(Payload),
}

impl Host {
    pub(crate) fn new(
        reference: Reference,
        config: Valid<Config>,
        hub: &Valid<HubConfig>,
        keys: impl IntoIterator<Item = SessionKey>,
    ) -> Self {
        Self {
            reference,
            config,
            preflights: Preflights::default(),
            hub: Hub::new(hub),
            out: Actions::new(),
            store: Store::default(),
            peers: BTreeMap::new(),
            numbers: BTreeMap::new(),
            closed: BTreeMap::new(),
            now: Instant::EPOCH,
            keys: keys.into_iter().collect(),
            told: VecDeque::new(),
            destroyed: VecDeque::new(),
        }
    }

    pub(crate) const fn now(&self) -> Instant {
        self.now
    }

    /// When something is due, if anything is.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let connections = self.peers.values().filter_map(|peer| peer.connection.next_timeout());
        connections.chain(self.hub.next_timeout()).min()
    }

    /// Lets time pass, and does what is due by then when it is due.
    pub(crate) fn advance_to(&mut self, then: Instant) {
        while let Some(due) = self.next_timeout().filter(|due| *due <= then) {
            let now = self.now.max(due);
            self.now = now;
            for peer in self.peers.values_mut() {
                peer.connection.handle_timeout(now, &mut peer.out);
            }
            self.hub.handle_timeout(now, &mut self.out);
            self.settle();
        }
        self.now = self.now.max(then);
    }

    /// A preflight came.
    pub(crate) fn preflight(&mut self) {
        self.preflights.asked(self.now, ());
    }

    /// A client has connected.
    pub(crate) fn accept(&mut self, number: u64) {
        let id = self.hub.admit(self.now).expect("the recordings have few connections");
        let observed = self.preflights.connected(self.now, &(), Observed::Nothing);
        let mut out = Actions::new();
        let connection = Connection::accept(&self.config, observed, self.now, &mut out);
        let (sent, handlers) = (VecDeque::new(), Vec::new());
        self.peers.insert(number, Peer { id, connection, observed, out, sent, handlers });
        self.numbers.insert(id, number);
        self.hub.opened(self.now, id, &mut self.out);
        self.settle();
    }

    /// A message of a client has arrived.
    pub(crate) fn receive(&mut self, id: u64, frame: impl Into<Bytes>, text: bool) {
        let now = self.now;
        let peer = self.peer(id);
        assert!(peer.connection.wants_input() || peer.is_over(), "the socket is not read");
        if text {
            peer.connection.handle_text(now, frame.into(), &mut peer.out);
        } else {
            peer.connection.handle_message(now, frame.into(), &mut peer.out);
        }
        self.settle();
    }

    /// A ping or a pong of a client has arrived.
    pub(crate) fn hear(&mut self, id: u64) {
        let now = self.now;
        self.peer(id).connection.handle_activity(now);
    }

    /// The socket of a connection is gone.
    pub(crate) fn disconnect(&mut self, id: u64) {
        let now = self.now;
        let peer = self.peer(id);
        peer.connection.handle_disconnect(&mut peer.out);
        let left = peer.id;
        self.settle();
        self.hub.left(now, left, &mut self.out);
        self.settle();
    }

    /// What the client got next.
    pub(crate) fn next_sent(&mut self, id: u64) -> Option<Sent> {
        self.peer(id).sent.pop_front()
    }

    pub(crate) fn has_sent(&mut self, id: u64) -> bool {
        !self.peer(id).sent.is_empty()
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.peers.keys().copied().collect()
    }

    /// Whether a connection began with a preflight, and what it is thought to speak by now.
    pub(crate) fn knows(&mut self, id: u64) -> (Observed, Dialect) {
        let peer = self.peer(id);
        (peer.observed, peer.connection.dialect())
    }

    /// The slow handlers of a request with this payload may go on, or all of them.
    pub(crate) fn permit(&mut self, payload: Option<&str>) {
        let payload = payload.map(|payload| Payload::utf8(payload.to_owned()));
        for id in self.ids() {
            let permitted = |(_, awaiting): &mut (_, _)| match awaiting {
                Awaiting::Permission(given) => payload.as_ref().is_none_or(|only| only == given),
                Awaiting::SessionCreated | Awaiting::SessionClosed => false,
            };
            let reference = self.reference;
            let peer = self.peer(id);
            let permitted: Vec<_> = peer.handlers.extract_if(.., permitted).collect();
            for (handler, awaiting) in permitted {
                if let Awaiting::Permission(payload) = awaiting {
                    peer.reply(handler, Ok(application::done(reference, &payload)));
                }
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
        self.hub.shut_down(self.now, Duration::from_secs(10), &mut self.out);
        self.settle();
    }

    /// Closes a session by key; returns how many connections held it. In 1.4 they are closed too.
    pub(crate) fn close_key(&mut self, key: &SessionKey) -> usize {
        let disconnect = self.reference == Reference::V1_4;
        let waiter = self.hub.close_session(self.now, key.clone(), disconnect, &mut self.out);
        self.settle();
        self.closed.remove(&waiter).expect("the store answers at once")
    }

    fn peer(&mut self, id: u64) -> &mut Peer {
        self.peers.get_mut(&id).expect("a known connection")
    }

    fn wall_clock(&self) -> UnixTime {
        let nanos = self.now.as_nanos();
        let (seconds, nanos) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        UnixTime::from_parts(1_500_000_000 + seconds as i64, nanos as u32)
    }

    /// Carries out all actions, in order, until all machines wait.
    fn settle(&mut self) {
        loop {
            if let Some(action) = self.out.pop() {
                self.carry_out_of_hub(action);
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
            Action::Drained => {
                let (now, id) = (self.now, self.peer(id).id);
                self.hub.drained(now, id, &mut self.out);
            }
            Action::Close(reason) => {
                let now = self.now;
                let peer = self.peer(id);
                peer.sent.push_back(Sent::Closed(reason, now));
                let left = peer.id;
                self.hub.left(now, left, &mut self.out);
            }
            Action::Ping => self.peer(id).sent.push_back(Sent::Ping),
            Action::Learned(dialect) => assert_eq!(self.knows(id).1, dialect),
            Action::PeerReads(_) | Action::Answered { .. } => {
                unreachable!("nobody agrees on wwr.1")
            }
            Action::ReplyTooLarge { length, buffer } => {
                self.told.push_back(format!("reply of {length} bytes, buffer of {buffer}"));
            }
            Action::Request(request) => self.on_request(id, request),
            Action::Signal(signal) => self.on_signal(id, signal),
            Action::Session(command) => {
                let (now, id) = (self.now, self.peer(id).id);
                self.hub.handle(now, id, command, &mut self.out);
            }
            Action::SessionEvent(event) => self.on_session_event(id, event),
            Action::Recover(_) => unreachable!("clients of the reference ask for nothing of it"),
        }
    }

    fn carry_out_of_hub(&mut self, action: HubAction) {
        match action {
            HubAction::Deliver { to, outcome } => {
                self.call(to, |connection, now, out| connection.handle_session(now, outcome, out));
            }
            HubAction::ShutDown { to, deadline, idle } => {
                self.call(to, |connection, now, out| {
                    connection.shut_down(now, deadline, idle, out)
                });
            }
            HubAction::Close { to } => self.call(to, Connection::close),
            HubAction::Store(Job { id, work }) => {
                let answer = self.ask_store(work);
                self.hub.answered(self.now, id, answer, &mut self.out);
            }
            HubAction::Done { waiter, told, result } => {
                assert_eq!(result, Ok(()));
                self.closed.insert(waiter, told);
            }
            HubAction::Stopped => {}
            HubAction::Abort { .. }
            | HubAction::Recover { .. }
            | HubAction::StoreTimedOut { .. }
            | HubAction::ExpirySkipped
            | HubAction::MoveAway { .. }
            | HubAction::Cluster(_) => {
                panic!("everybody is in time, nothing expires, and there is one node: {action:?}")
            }
        }
    }

    /// Calls the machine of a connection that may have ended.
    fn call(
        &mut self,
        id: ConnectionId,
        call: impl FnOnce(&mut Connection, Instant, &mut Actions<Action>),
    ) {
        let (now, number) = (self.now, self.numbers[&id]);
        let peer = self.peer(number);
        call(&mut peer.connection, now, &mut peer.out);
    }

    fn ask_store(&mut self, work: Work) -> StoreAnswer {
        match work {
            Work::LookUp(key) => {
                let now = self.wall_clock();
                let answer = self.store.look_up(&key, now);
                let result = match &answer {
                    Ok(Some(_)) => ": found",
                    Ok(None) => ": not found",
                    Err(_) => " fails with an error of its own",
                };
                let key = key.as_str();
                self.told.push_back(format!("session manager OnSessionLookup({key:?}){result}"));
                StoreAnswer::LookedUp(answer.map(|session| session.map(Box::new)))
            }
            Work::Create(session) => {
                let key = session.key.as_str();
                self.told.push_back(format!("session manager OnSessionCreated(key {key:?})"));
                self.store.keep(*session);
                StoreAnswer::Created(Ok(()))
            }
            // The reference has no such hook, and the application of the recordings changes nothing.
            Work::Update(update) => {
                panic!("a session is updated: {:?}", update.key)
            }
            Work::Destroy(key) => {
                self.destroyed.push_back(format!("OnSessionClosed({:?})", key.as_str()));
                self.store.destroy(&key);
                StoreAnswer::Destroyed(Ok(()))
            }
            Work::Expire { .. } => StoreAnswer::Expired(Ok(())),
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
            Step::Slow(payload) => peer.handlers.push((handler, Awaiting::Permission(payload))),
            Step::CloseMe => {
                let now = self.now;
                let peer = self.peer(id);
                peer.connection.close(now, &mut peer.out);
                peer.reply(handler, Ok(Payload::utf8_static("closing")));
            }
            Step::Login(info) => match self.begin_session(id, info) {
                Ok(()) => self.peer(id).handlers.push((handler, Awaiting::SessionCreated)),
                Err(error) => self.peer(id).reply(handler, Err(error)),
            },
            Step::Logout => match peer.connection.close_session(&mut peer.out) {
                Ok(true) => peer.handlers.push((handler, Awaiting::SessionClosed)),
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
            // 1.x clients read none without payload.
            let sent = peer.connection.signal(&name, &payload, &mut peer.out);
            assert!(sent.is_ok() || payload.is_empty(), "{sent:?}");
        }
        peer.connection.signal_handled(signal.id, &mut peer.out).expect("it ran");
    }

    fn on_session_event(&mut self, id: u64, event: SessionEvent) {
        let (awaited, result) = match event {
            SessionEvent::Created(..) => (Awaiting::SessionCreated, Ok(Payload::utf8_static("ok"))),
            SessionEvent::CreateFailed(_) => {
                (Awaiting::SessionCreated, Err(RequestError::Internal))
            }
            SessionEvent::Closed { .. } => {
                (Awaiting::SessionClosed, Ok(Payload::utf8_static("bye")))
            }
            SessionEvent::CloseFailed => (Awaiting::SessionClosed, Err(RequestError::Internal)),
            SessionEvent::Restored(_)
            | SessionEvent::Updated(_)
            | SessionEvent::Rotated(_)
            | SessionEvent::EditFailed(..) => return,
        };
        let peer = self.peer(id);
        let index = peer.handlers.iter().position(|(_, awaiting)| *awaiting == awaited);
        if let Some(index) = index {
            let (handler, _) = peer.handlers.remove(index);
            peer.reply(handler, result);
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
}

impl Peer {
    fn reply(&mut self, handler: RequestId, result: Result<Payload, RequestError>) {
        self.connection.reply(handler, result, &mut self.out).expect("it runs");
    }

    fn is_over(&self) -> bool {
        !self.connection.is_open() && !self.connection.wants_input()
    }
}
