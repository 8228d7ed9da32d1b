//! One connection, its client and its application.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wwr::server::{Action, Config, Connection, Misuse, RequestError, RequestId, SignalId};
use wwr::session::{Command, Outcome};
use wwr::wire::{DecodeError, Identifier, Kind, Message, Sender, decode};
use wwr::{Actions, Dialect, Instant, Payload, SessionKey};

use super::SECRET;

pub(crate) struct Peer {
    connection: Connection,
    dialect: Dialect,
    concurrency: usize,
    out: Actions<Action>,
    /// On the way to the registry.
    pub(crate) outbox: VecDeque<Command>,
    /// On the way from the registry.
    pub(crate) inbox: VecDeque<Outcome>,
    requests: Vec<RequestId>,
    signals: Vec<SignalId>,
    answered: Vec<RequestId>,
    /// How many replies the client expects, by identifier.
    expected: BTreeMap<Identifier, usize>,
    /// The handlers did not finish in time, or the socket is gone.
    given_up: bool,
    closed: bool,
}

impl Peer {
    pub(crate) fn accept(config: &Config, dialect: Dialect, now: Instant) -> Self {
        let mut out = Actions::new();
        let connection = Connection::accept(config, dialect, now, &mut out);
        let mut peer = Self {
            connection,
            dialect,
            concurrency: usize::from(config.concurrency.get()),
            out,
            outbox: VecDeque::new(),
            inbox: VecDeque::new(),
            requests: Vec::new(),
            signals: Vec::new(),
            answered: Vec::new(),
            expected: BTreeMap::new(),
            given_up: false,
            closed: false,
        };
        peer.carry_out();
        peer
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.outbox.is_empty() && self.inbox.is_empty()
    }

    pub(crate) fn held_key(&self) -> Option<&SessionKey> {
        self.connection.session().map(|session| &session.key)
    }

    pub(crate) fn call(&mut self, call: impl FnOnce(&mut Connection, &mut Actions<Action>)) {
        call(&mut self.connection, &mut self.out);
        self.carry_out();
    }

    /// A call that may be refused; then it does nothing.
    pub(crate) fn try_call<T>(
        &mut self,
        call: impl FnOnce(&mut Connection, &mut Actions<Action>) -> Result<T, Misuse>,
    ) {
        let refused = call(&mut self.connection, &mut self.out).err();
        assert!(refused.is_none() || self.out.is_empty(), "{refused:?}, but something was done");
        assert!(!self.closed || refused == Some(Misuse::Closed));
        self.carry_out();
    }

    pub(crate) fn receive(&mut self, now: Instant, frame: Bytes) {
        if !self.closed
            && let Some(id) = self.wants_reply(frame.clone())
        {
            *self.expected.entry(id).or_default() += 1;
        }
        self.call(|connection, out| connection.handle_message(now, frame, out));
    }

    /// The identifier with which a message has to be answered.
    fn wants_reply(&self, frame: Bytes) -> Option<Identifier> {
        let (kind, id) = match decode(self.dialect, frame) {
            Ok(message) => (message.kind(), message.identifier()?),
            Err(DecodeError::Malformed { kind, identifier, .. }) => match self.dialect {
                Dialect::V1_4 | Dialect::V1_5 => (kind, identifier.unwrap_or_default()),
                Dialect::Unknown => (kind, identifier?),
                Dialect::V2_0 => return None,
            },
            Err(DecodeError::Empty | DecodeError::UnknownKind(_)) => return None,
        };
        kind.requires_reply().then_some(id)
    }

    pub(crate) fn reply(&mut self, which: u8, result: Result<Payload, RequestError>) {
        if !self.requests.is_empty() {
            let id = self.requests.swap_remove(usize::from(which) % self.requests.len());
            self.answered.push(id);
            let refused = if self.closed { Err(Misuse::Closed) } else { Ok(()) };
            self.call(|connection, out| assert_eq!(connection.reply(id, result, out), refused));
        }
    }

    pub(crate) fn signal_handled(&mut self, which: u8) {
        if !self.signals.is_empty() {
            let id = self.signals.swap_remove(usize::from(which) % self.signals.len());
            let refused = if self.closed { Err(Misuse::Closed) } else { Ok(()) };
            self.call(|connection, out| assert_eq!(connection.signal_handled(id, out), refused));
        }
    }

    pub(crate) fn reply_again(&mut self, which: u8) {
        if !self.answered.is_empty() {
            let id = self.answered[usize::from(which) % self.answered.len()];
            let refused = if self.closed { Misuse::Closed } else { Misuse::UnknownHandler };
            let payload = Ok(Payload::EMPTY);
            let again = self.connection.reply(id, payload, &mut self.out);
            assert_eq!(again, Err(refused));
            assert!(self.out.is_empty());
        }
    }

    /// The clock shows `now`; the latest it ever showed is `latest`.
    pub(crate) fn pass(&mut self, now: Instant, latest: Instant) {
        self.given_up |= self.connection.next_timeout().is_some_and(|deadline| deadline <= latest);
        self.call(|connection, out| connection.handle_timeout(now, out));
        assert!(self.connection.next_timeout().is_none_or(|next| next > latest));
    }

    pub(crate) fn disconnect(&mut self) {
        self.given_up = true;
        self.requests.clear();
        self.signals.clear();
        self.call(Connection::handle_disconnect);
        self.closed = true;
        assert!(!self.connection.wants_input() && self.connection.session().is_none());
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.out.pop() {
            assert!(!self.closed, "{action:?} after the end");
            match action {
                Action::Send(frame) => self.sent(frame),
                Action::Request(request) => self.requests.push(request.id),
                Action::Signal(signal) => self.signals.push(signal.id),
                Action::Session(command) => self.outbox.push_back(command),
                Action::SessionEvent(_) => {}
                Action::Close(_) => {
                    self.closed = true;
                    assert!(self.given_up || self.expected.is_empty(), "requests were forgotten");
                    assert!(self.given_up || self.requests.is_empty() && self.signals.is_empty());
                }
            }
        }
        let running = self.connection.running_handlers();
        assert!(running <= self.concurrency);
        assert!(self.closed || running == self.requests.len() + self.signals.len());
        assert!(!(self.closed && self.connection.is_open()));
    }

    fn sent(&mut self, frame: Bytes) {
        let secret = SECRET.as_bytes();
        assert!(!frame.windows(secret.len()).any(|part| part == secret), "a secret was sent");
        let message = decode(self.dialect, frame).expect("the client can read it");
        assert_ne!(message.kind().sender(), Sender::Client);
        if matches!(self.dialect, Dialect::V2_0 | Dialect::Unknown) {
            assert_ne!(message.kind(), Kind::ReplyProtocolError, "it kills 2.0 clients");
        }
        let (Message::Reply { id, .. }
        | Message::ErrorReply { id, .. }
        | Message::SpecialReply { id, .. }) = message
        else {
            return;
        };
        let Some(count) = self.expected.get_mut(&id) else { panic!("nobody expects {message:?}") };
        *count -= 1;
        if *count == 0 {
            self.expected.remove(&id);
        }
    }
}
