//! Connections, their registry and a store, with everything on its way between them.

mod peer;
mod registrar;

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use wwr::server::{Announcement, Config, Observed, Pings, Protocol, RequestError, Sessions};
use wwr::session::{ConnectionId, RegistryConfig};
use wwr::wire::{Encoder, Identifier, Message};
use wwr::{
    Content, Dialect, Instant, KeyFormat, Name, Payload, PreparedSignal, SessionInfo, SessionKey,
    UnixTime,
};

use peer::Peer;
use registrar::Registrar;

const PEERS: u64 = 4;
/// A value of a private field: it must never be sent.
const SECRET: &str = "a secret of the server";

#[derive(Arbitrary, Debug)]
pub(crate) struct Setting {
    protocol: Protocol,
    observed: [Observed; PEERS as usize],
    strict: bool,
    /// In milliseconds, as far as they can be announced.
    read_timeout: u16,
    /// In bytes, as far as it can be announced.
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
}

pub(crate) struct World {
    config: Config,
    pings: Duration,
    observed: [Observed; PEERS as usize],
    peers: BTreeMap<ConnectionId, Peer>,
    registrar: Registrar,
    /// The latest time the clock has shown.
    now: Instant,
    last_id: u64,
    last_request: u64,
}

fn key(number: u8) -> SessionKey {
    SessionKey::new(["key-a", "key-b", "key-c"][usize::from(number) % 3]).expect("not empty")
}

fn announced(setting: &Setting) -> Announcement {
    let mut announced = Announcement::default();
    let read_timeout = Duration::from_millis(setting.read_timeout.into());
    announced = announced.clone().read_timeout(read_timeout).unwrap_or(announced);
    announced = announced.clone().message_buffer(setting.buffer.into()).unwrap_or(announced);
    let name = "s".repeat(setting.sub_protocol.into());
    announced.clone().sub_protocol(name).unwrap_or(announced)
}

fn pings(setting: &Setting) -> Option<Pings> {
    let (after, patience) = setting.pings;
    Pings::new(Duration::from_millis(after.into()), Duration::from_millis(patience.into())).ok()
}

impl World {
    pub(crate) fn new(setting: &Setting) -> Self {
        let format = KeyFormat::Custom(|key| key.starts_with("key-"));
        let enabled = Sessions::Enabled(format);
        let config = Config {
            sessions: if setting.sessions { enabled } else { Sessions::Disabled },
            concurrency: NonZeroU16::MIN.saturating_add((setting.concurrency % 4).into()),
            max_waiting_messages: NonZeroU16::MIN
                .saturating_add((setting.waiting_messages % 8).into()),
            max_waiting_bytes: u32::from(setting.waiting_bytes) * 4,
            max_ignored_in_a_row: NonZeroU32::MIN.saturating_add((setting.ignored % 16).into()),
            drain_timeout: Duration::from_millis(setting.drain_millis.into()),
            protocol: setting.protocol,
            announced: announced(setting),
            pings: pings(setting),
            strict: setting.strict,
        };
        let max_connections = NonZeroUsize::new(usize::from(setting.limit % 4));
        let registry = RegistryConfig { max_connections, durable: setting.durable };
        let mut world = Self {
            config,
            pings: Duration::from_millis(u64::from(setting.pings.0) + u64::from(setting.pings.1)),
            observed: setting.observed,
            peers: BTreeMap::new(),
            registrar: Registrar::new(registry),
            now: Instant::from_millis(1_000_000),
            last_id: 0,
            last_request: 0,
        };
        (0..PEERS).for_each(|_| world.connect());
        world
    }

    fn connect(&mut self) {
        let observed = self.observed[(self.last_id % PEERS) as usize];
        self.last_id += 1;
        let peer = Peer::accept(&self.config, self.pings, observed, self.now);
        self.peers.insert(ConnectionId(self.last_id), peer);
    }

    pub(crate) fn choose(&self, number: u8) -> ConnectionId {
        let index = usize::from(number) % self.peers.len();
        *self.peers.keys().nth(index).expect("there are as many")
    }

    fn peer(&mut self, on: ConnectionId) -> &mut Peer {
        self.peers.get_mut(&on).expect("it was chosen among them")
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

    /// A signal that is encoded once is sent to those who would be sent it alone, and the same.
    pub(crate) fn signal_all(&mut self, name: u8, payload: &Payload) {
        let name = Name::new("s".repeat(usize::from(name))).expect("printable and short");
        let prepared = PreparedSignal::new(&name, payload);
        for peer in self.peers.values_mut() {
            match &prepared {
                Ok(prepared) => peer.signal_both_ways(prepared, &name, payload),
                // Nobody reads it, whatever they speak.
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

    pub(crate) fn close_session(&mut self, on: ConnectionId) {
        self.peer(on).try_call(|connection, out| connection.close_session(out));
    }

    pub(crate) fn close(&mut self, on: ConnectionId) {
        let now = self.now;
        self.peer(on).call(|connection, out| connection.close(now, out));
    }

    pub(crate) fn shut_down(&mut self, on: ConnectionId, millis: u8) {
        let (now, within) = (self.now, Duration::from_millis(millis.into()));
        self.peer(on).call(|connection, out| connection.shut_down(now, within, out));
    }

    /// The socket is gone. What the connection asked reaches the registry still; another
    /// connection takes its place.
    pub(crate) fn disconnect(&mut self, on: ConnectionId) {
        self.end(on);
        self.connect();
    }

    fn end(&mut self, on: ConnectionId) {
        let Some(mut peer) = self.peers.remove(&on) else { return };
        peer.disconnect();
        while let Some(command) = peer.outbox.pop_front() {
            self.registrar.handle(on, command);
        }
        self.registrar.forget(on);
        self.deliver();
    }

    pub(crate) fn pass(&mut self, millis: i64) {
        let by = Duration::from_millis(millis.unsigned_abs());
        let now = if millis < 0 { Instant::EPOCH } else { self.now + by };
        self.now = self.now.max(now);
        for peer in self.peers.values_mut() {
            peer.pass(now, self.now);
        }
    }

    pub(crate) fn ask(&mut self, on: ConnectionId) {
        if let Some(command) = self.peer(on).outbox.pop_front() {
            self.registrar.handle(on, command);
            self.deliver();
        }
    }

    pub(crate) fn hear(&mut self, on: ConnectionId) {
        let now = self.now;
        let peer = self.peer(on);
        if let Some(outcome) = peer.inbox.pop_front() {
            peer.call(|connection, out| connection.handle_session(now, outcome, out));
        }
    }

    pub(crate) fn store_answers(&mut self, which: u8, fails: bool) {
        self.registrar.store_answers(which, fails);
        self.deliver();
    }

    pub(crate) fn close_key(&mut self, number: u8, disconnect: bool) {
        self.registrar.close_key(key(number), disconnect);
        self.deliver();
    }

    /// What the registry has told sets out for the connections.
    fn deliver(&mut self) {
        for (to, outcome) in self.registrar.take_told() {
            if let Some(peer) = self.peers.get_mut(&to) {
                peer.inbox.push_back(outcome);
            }
        }
    }

    pub(crate) fn check(&self) {
        for number in 0..3 {
            let key = key(number);
            self.registrar.check(&key);
            for id in self.registrar.registry.connections(&key) {
                let Some(peer) = self.peers.get(&id) else { panic!("{id:?} is gone, but holds") };
                assert!(!peer.is_quiet() || peer.held_key() == Some(&key), "it does not know");
            }
        }
    }

    /// Lets everything come to its end.
    pub(crate) fn settle(mut self) {
        while self.registrar.is_busy() || !self.peers.values().all(Peer::is_quiet) {
            for id in self.peers.keys().copied().collect::<Vec<_>>() {
                self.ask(id);
                self.hear(id);
            }
            if self.registrar.is_busy() {
                self.store_answers(0, false);
            }
            self.check();
        }
        for (&id, peer) in &self.peers {
            if let Some(key) = peer.held_key() {
                let mut holders = self.registrar.registry.connections(key);
                assert!(holders.any(|holder| holder == id), "it holds what it does not hold");
            }
        }
        for id in self.peers.keys().copied().collect::<Vec<_>>() {
            self.end(id);
        }
        while self.registrar.is_busy() {
            self.store_answers(0, false);
        }
        assert!(self.registrar.registry.is_idle());
        assert_eq!(self.registrar.registry.active_sessions(), 0);
    }
}
