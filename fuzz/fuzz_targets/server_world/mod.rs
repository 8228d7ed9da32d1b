//! Connections, their hub and a store, with everything on its way between them.

mod control;
mod peer;

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use wwr::server::{
    Advertised, Config, Expiry, HubConfig, IdleConnections, Observed, Pings, Protocol,
    RequestError, Sessions,
};
use wwr::session::{ConnectionId, Edit, NewKey, OtherConnections};
use wwr::wire::{Encoder, Identifier, Message};
use wwr::{
    Content, Dialect, Instant, KeyFormat, Name, Payload, PreparedSignal, SessionInfo, SessionKey,
    UnixTime, Valid,
};

use control::{Control, Input};
use peer::{Ask, Peer};

const PEERS: u64 = 4;
/// A value of a private field: it must never be sent.
const SECRET: &str = "a secret of the server";

#[derive(Arbitrary, Debug)]
pub(crate) struct Setting {
    protocol: Protocol,
    observed: [Observed; PEERS as usize],
    strict: bool,
    /// In milliseconds, as far as they can be advertised.
    read_timeout: u16,
    /// In bytes, as far as it can be advertised.
    buffer: u8,
    sub_protocol: u8,
    /// In milliseconds; none if they are too short.
    pings: (u8, u8),
    sessions: bool,
    concurrency: u8,
    waiting_messages: u8,
    waiting_bytes: u8,
    ignored: u8,
    drain_millis: u8,
    limit: u8,
    durable: bool,
    connections: u8,
    store_millis: u8,
    /// In seconds; none if zero.
    expiry: u8,
    idle: IdleConnections,
    abort_millis: u8,
    groups: u8,
    max_message_size: u16,
    wwr1: bool,
}

pub(crate) struct World {
    config: Valid<Config>,
    pings: Duration,
    observed: [Observed; PEERS as usize],
    peers: BTreeMap<ConnectionId, Peer>,
    control: Control,
    /// The latest time the clock has shown.
    now: Instant,
    connects: u64,
    last_request: u64,
}

fn key(number: u8) -> SessionKey {
    SessionKey::new(["key-a", "key-b", "key-c"][usize::from(number) % 3]).expect("not empty")
}

/// The settings of connections, each brought into the range that it may have.
fn config(setting: &Setting) -> Valid<Config> {
    let mut config = Config::default();
    let enabled = Sessions::Enabled(KeyFormat::Custom(|key| key.starts_with("key-")));
    config.sessions = if setting.sessions { enabled } else { Sessions::Disabled };
    config.concurrency = NonZeroU16::MIN.saturating_add((setting.concurrency % 4).into());
    config.max_queued_messages =
        NonZeroU16::MIN.saturating_add((setting.waiting_messages % 8).into());
    config.max_queued_bytes = u32::from(setting.waiting_bytes) * 4;
    config.max_ignored_in_a_row = NonZeroU32::MIN.saturating_add((setting.ignored % 16).into());
    config.drain_timeout = Duration::from_millis(setting.drain_millis.into());
    config.protocol = setting.protocol;
    let advertised = &mut config.advertised;
    let read_timeout = Duration::from_millis(setting.read_timeout.into());
    advertised.read_timeout = read_timeout.max(Advertised::MIN_READ_TIMEOUT);
    advertised.message_buffer = u32::from(setting.buffer).max(Advertised::MIN_MESSAGE_BUFFER);
    // An accept-conf without a name has 11 bytes.
    let room = advertised.message_buffer as usize - 11;
    let name = "s".repeat(usize::from(setting.sub_protocol).min(room));
    advertised.sub_protocol = (!name.is_empty()).then(|| name.into());
    let pings = setting.pings;
    let [after, timeout] = [pings.0, pings.1].map(|millis| Duration::from_millis(millis.into()));
    let answers = after.min(timeout) >= Pings::SHORTEST;
    config.pings = answers.then(|| Pings::new(after, timeout));
    config.strict = setting.strict;
    config.max_message_size =
        u32::from(setting.max_message_size).max(config.advertised.message_buffer);
    config.wwr1 = setting.wwr1;
    config.validate().expect("settings within their ranges")
}

fn hub(setting: &Setting) -> Valid<HubConfig> {
    let expiry = (setting.expiry > 0).then(|| {
        let every = Duration::from_secs((setting.expiry / 4).max(1).into());
        Expiry::new(Duration::from_secs(setting.expiry.into()), every)
    });
    let mut hub = HubConfig::default();
    hub.max_connections = 1 + usize::from(setting.connections) % 8;
    hub.sessions.max_connections = NonZeroUsize::new(usize::from(setting.limit % 4));
    hub.sessions.durable = setting.durable;
    hub.store_timeout = Duration::from_millis(u64::from(setting.store_millis).max(1));
    hub.expiry = expiry;
    hub.idle_connections = setting.idle;
    hub.abort_after = Duration::from_millis(setting.abort_millis.into());
    hub.max_groups = usize::from(setting.groups);
    hub.validate().expect("settings within their ranges")
}

impl World {
    pub(crate) fn new(setting: &Setting) -> Self {
        let mut world = Self {
            config: config(setting),
            pings: Duration::from_millis(u64::from(setting.pings.0) + u64::from(setting.pings.1)),
            observed: setting.observed,
            peers: BTreeMap::new(),
            control: Control::new(hub(setting)),
            now: Instant::from_millis(1_000_000),
            connects: 0,
            last_request: 0,
        };
        (0..PEERS).for_each(|_| world.connect());
        world
    }

    fn connect(&mut self) {
        let observed = self.observed[(self.connects % PEERS) as usize];
        self.connects += 1;
        if let Some(id) = self.control.connect(self.now) {
            let peer = Peer::accept(&self.config, self.pings, observed, self.now);
            assert!(self.peers.insert(id, peer).is_none(), "{id:?} is used twice");
        }
    }

    /// One of the connections, if there are any.
    pub(crate) fn choose(&self, number: u8) -> Option<ConnectionId> {
        let index = usize::from(number).checked_rem(self.peers.len())?;
        self.peers.keys().nth(index).copied()
    }

    fn peer(&mut self, on: ConnectionId) -> &mut Peer {
        self.peers.get_mut(&on).expect("it was chosen among them")
    }

    pub(crate) fn ask_client(&mut self, on: ConnectionId, name: u8, payload: &Payload) {
        let now = self.now;
        let name = "n".repeat(usize::from(name)).parse().expect("letters");
        self.peer(on).ask(now, name, payload.clone());
    }

    pub(crate) fn cancel_question(&mut self, on: ConnectionId, number: u8) {
        self.peer(on).cancel_question(number);
    }

    pub(crate) fn receive(&mut self, on: ConnectionId, frame: Bytes) {
        let now = self.now;
        self.peer(on).receive(now, frame);
    }

    pub(crate) fn receive_text(&mut self, on: ConnectionId, frame: Bytes) {
        let now = self.now;
        self.peer(on).receive_text(now, frame);
    }

    pub(crate) fn hear_from(&mut self, on: ConnectionId) {
        let now = self.now;
        self.peer(on).hear(now);
    }

    fn receive_message(&mut self, on: ConnectionId, message: &Message) {
        if let Ok(frame) = Encoder::new().encode(Dialect::V1_4, message) {
            self.receive(on, frame);
        }
    }

    fn next_request(&mut self) -> Identifier {
        self.last_request += 1;
        Identifier::from_counter(self.last_request)
    }

    pub(crate) fn receive_request(&mut self, on: ConnectionId, name: u8, payload: &Payload) {
        let content = Content::new(&vec![b'n'; usize::from(name)], payload).expect("short");
        let id = self.next_request();
        self.receive_message(on, &Message::Request { id, content });
    }

    pub(crate) fn receive_signal(&mut self, on: ConnectionId, payload: &Payload) {
        let content = Content::new(b"signal", payload).expect("short");
        self.receive_message(on, &Message::Signal(content));
    }

    pub(crate) fn receive_restore(&mut self, on: ConnectionId, number: u8) {
        let key = Bytes::copy_from_slice(key(number).as_str().as_bytes());
        let id = self.next_request();
        self.receive_message(on, &Message::RestoreSession { id, key });
    }

    pub(crate) fn receive_close_session(&mut self, on: ConnectionId) {
        let id = self.next_request();
        self.receive_message(on, &Message::CloseSession { id });
    }

    pub(crate) fn reply(
        &mut self,
        on: ConnectionId,
        which: u8,
        result: Result<Payload, RequestError>,
    ) {
        self.peer(on).reply(which, result);
    }

    pub(crate) fn signal_handled(&mut self, on: ConnectionId, which: u8) {
        self.peer(on).signal_handled(which);
    }

    pub(crate) fn reply_again(&mut self, on: ConnectionId, which: u8) {
        self.peer(on).reply_again(which);
    }

    pub(crate) fn signal(&mut self, on: ConnectionId, name: u8, payload: &Payload) {
        let name = Name::new("s".repeat(usize::from(name))).expect("printable and short");
        self.peer(on).try_call(|connection, out| connection.signal(&name, payload, out));
    }

    /// A signal that is encoded once reaches the same peers as an ordinary one, with the same
    /// bytes.
    pub(crate) fn signal_all(&mut self, name: u8, payload: &Payload) {
        let name = Name::new("s".repeat(usize::from(name))).expect("printable and short");
        let prepared = PreparedSignal::new(&name, payload);
        for peer in self.peers.values_mut() {
            match &prepared {
                Ok(prepared) => peer.signal_both_ways(prepared, &name, payload),
                // No peer reads it, in any version.
                Err(_) => peer.try_call(|connection, out| {
                    let alone = connection.signal(&name, payload, out);
                    assert!(alone.is_err(), "it cannot be prepared, but sent");
                    alone
                }),
            }
        }
    }

    pub(crate) fn create_session(&mut self, on: ConnectionId, number: u8) {
        let info = SessionInfo::new().public("user", "ada").private("secret", SECRET);
        let now = UnixTime::from_seconds(1_500_000_000);
        let key = key(number);
        self.peer(on).try_call(|connection, out| connection.create_session(key, now, info, out));
    }

    pub(crate) fn update_session(&mut self, on: ConnectionId, number: u8) {
        let info = SessionInfo::new().public("number", number).private("secret", SECRET);
        self.peer(on).try_call(|connection, out| connection.edit_session(Edit::Info(info), out));
    }

    /// The session gets another key, or another key and info, and is closed for all other connections.
    pub(crate) fn new_key(&mut self, on: ConnectionId, number: u8, others: OtherConnections) {
        let (key, now) = (key(number), UnixTime::from_seconds(1_500_000_000));
        let info = SessionInfo::new().public("number", number).private("secret", SECRET);
        let info = Some(info).filter(|_| others == OtherConnections::Close);
        let new = NewKey { key, now, info, others };
        self.peer(on).try_call(|connection, out| connection.edit_session(Edit::NewKey(new), out));
    }

    pub(crate) fn close_session(&mut self, on: ConnectionId) {
        self.peer(on).try_call(|connection, out| connection.close_session(out));
    }

    pub(crate) fn close(&mut self, on: ConnectionId) {
        let now = self.now;
        self.peer(on).call(|connection, out| connection.close(now, out));
    }

    pub(crate) fn shut_down(&mut self, millis: u8) {
        self.control.shut_down(self.now, Duration::from_millis(millis.into()));
        self.deliver();
    }

    pub(crate) fn join(&mut self, on: ConnectionId, group: u8) {
        self.control.join(on, group);
    }

    pub(crate) fn leave_group(&mut self, on: ConnectionId, group: u8) {
        self.control.leave_group(on, group);
    }

    /// The socket is gone. What the connection asked reaches the hub still; another connection
    /// takes its place.
    pub(crate) fn disconnect(&mut self, on: ConnectionId) {
        self.end(on);
        self.connect();
    }

    fn end(&mut self, on: ConnectionId) {
        let Some(mut peer) = self.peers.remove(&on) else { return };
        peer.disconnect();
        while let Some(ask) = peer.outbox.pop_front() {
            self.pass_on(on, ask);
        }
        self.control.leave(self.now, on);
        self.deliver();
    }

    /// Its task was dropped without a notice.
    pub(crate) fn vanish(&mut self, on: ConnectionId) {
        self.peers.remove(&on);
        self.control.leave(self.now, on);
        self.deliver();
        self.connect();
    }

    fn pass_on(&mut self, from: ConnectionId, ask: Ask) {
        match ask {
            Ask::Session(command) => self.control.handle(self.now, from, command),
            Ask::Drained => self.control.drained(self.now, from),
        }
    }

    pub(crate) fn pass(&mut self, millis: i64) {
        let by = Duration::from_millis(millis.unsigned_abs());
        let now = if millis < 0 { Instant::EPOCH } else { self.now + by };
        self.now = self.now.max(now);
        for peer in self.peers.values_mut() {
            peer.pass(now, self.now);
        }
        self.control.pass(now, self.now);
        self.deliver();
    }

    pub(crate) fn ask(&mut self, on: ConnectionId) {
        if let Some(ask) = self.peer(on).outbox.pop_front() {
            self.pass_on(on, ask);
            self.deliver();
        }
    }

    pub(crate) fn hear(&mut self, on: ConnectionId) {
        let now = self.now;
        let peer = self.peer(on);
        match peer.inbox.pop_front() {
            Some(Input::Session(outcome)) => {
                peer.call(|connection, out| connection.handle_session(now, outcome, out));
            }
            Some(Input::ShutDown(deadline, idle)) => {
                peer.call(|connection, out| connection.shut_down(now, deadline, idle, out));
            }
            Some(Input::Close) => peer.call(|connection, out| connection.close(now, out)),
            Some(Input::Abort) => self.end(on),
            None => {}
        }
    }

    pub(crate) fn store_answers(&mut self, which: u8, fails: bool) {
        self.control.store_answers(self.now, which, fails);
        self.deliver();
    }

    pub(crate) fn close_key(&mut self, number: u8, disconnect: bool) {
        self.control.close_session(self.now, key(number), disconnect);
        self.deliver();
    }

    /// What the hub has told sets out for the connections.
    fn deliver(&mut self) {
        for (to, input) in self.control.take_told() {
            if let Some(peer) = self.peers.get_mut(&to) {
                peer.inbox.push_back(input);
            }
        }
    }

    pub(crate) fn check(&self) {
        for number in 0..3 {
            let key = key(number);
            self.control.check(&key);
            for id in self.control.hub.session_connections(&key) {
                let Some(peer) = self.peers.get(&id) else { panic!("{id:?} is gone, but holds") };
                assert!(!peer.is_quiet() || peer.held_key() == Some(&key), "it does not know");
            }
        }
    }

    /// Lets everything come to its end.
    pub(crate) fn settle(mut self) {
        while self.control.is_busy() || !self.peers.values().all(Peer::is_quiet) {
            for id in self.peers.keys().copied().collect::<Vec<_>>() {
                self.ask(id);
                self.hear(id);
            }
            if self.control.is_busy() {
                self.store_answers(0, false);
            }
            self.check();
        }
        for (&id, peer) in &self.peers {
            if let Some(key) = peer.held_key() {
                let mut holders = self.control.hub.session_connections(key);
                assert!(holders.any(|holder| holder == id), "it holds what it does not hold");
            }
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.end(id);
        }
        while self.control.is_busy() {
            self.store_answers(0, false);
        }
        self.control.check_end();
    }
}
