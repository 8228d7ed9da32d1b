//! One connection, its client and its application.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use wwr::server::{
    Action, Config, Connection, Misuse, Observed, Protocol, QuestionId, RequestError, RequestId,
    SignalId,
};
use wwr::session::Command;
use wwr::wire::{DecodeError, Identifier, Kind, Message, Sender, decode};
use wwr::{Actions, Dialect, Instant, Liveness, Name, Payload, PreparedSignal, SessionKey, Valid};

use super::SECRET;
use super::control::Input;

/// What a connection has for the hub.
pub(crate) enum Ask {
    Session(Command),
    Drained,
}

pub(crate) struct Peer {
    connection: Connection,
    config: Valid<Config>,
    /// The silence before a ping, and the wait for its answer.
    pings: Duration,
    /// What it speaks, as far as the connection has said.
    dialect: Dialect,
    /// What it reads, if it has stated that.
    stated: Option<usize>,
    /// Accept-conf has to come, and nothing before it.
    advertised: bool,
    /// The latest sign of life.
    heard: Instant,
    out: Actions<Action>,
    /// On the way to the hub.
    pub(crate) outbox: VecDeque<Ask>,
    /// On the way from the hub.
    pub(crate) inbox: VecDeque<Input>,
    requests: Vec<RequestId>,
    signals: Vec<SignalId>,
    answered: Vec<RequestId>,
    /// Questions without an outcome.
    questions: BTreeSet<QuestionId>,
    /// How many replies the client expects, by identifier.
    expected: BTreeMap<Identifier, Replies>,
    /// The handlers did not finish in time, or the socket is gone.
    given_up: bool,
    closed: bool,
}

/// What a client expects: at least, and at most.
#[derive(Debug, Default)]
struct Replies {
    least: usize,
    most: usize,
}

/// Whether a message has a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    One,
    /// It depends on what the peer has turned out to speak until it is looked at.
    PerhapsOne,
}

impl Peer {
    pub(crate) fn accept(
        config: &Valid<Config>,
        pings: Duration,
        observed: Observed,
        now: Instant,
    ) -> Self {
        let mut out = Actions::new();
        let connection = Connection::accept(config, observed, now, &mut out);
        let advertised = matches!(config.protocol, Protocol::V1_4 | Protocol::V1_5);
        let mut peer = Self {
            dialect: connection.dialect(),
            connection,
            config: config.clone(),
            pings,
            stated: None,
            advertised,
            heard: now,
            out,
            outbox: VecDeque::new(),
            inbox: VecDeque::new(),
            requests: Vec::new(),
            signals: Vec::new(),
            answered: Vec::new(),
            questions: BTreeSet::new(),
            expected: BTreeMap::new(),
            given_up: false,
            closed: false,
        };
        peer.carry_out();
        assert!(peer.advertised, "2.0 clients wait for accept-conf");
        peer
    }

    /// The application asks the client something.
    pub(crate) fn ask(&mut self, now: Instant, name: Name, payload: Payload) {
        let asked = self.connection.ask(now, name, payload, None, &mut self.out);
        match asked {
            Ok(id) => assert!(self.questions.insert(id), "each identifier comes once"),
            Err(_) => assert!(self.out.is_empty(), "a refused call does nothing"),
        }
        assert_eq!(self.connection.open_questions(), self.questions.len());
        self.carry_out();
    }

    /// Cancels a question, or one that has its outcome.
    pub(crate) fn cancel_question(&mut self, number: u8) {
        let id = QuestionId::from_u64(u64::from(number));
        self.connection.cancel_question(id, &mut self.out);
        self.carry_out();
        assert!(!self.questions.contains(&id));
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

    /// Sends a signal twice, prepared and not: both are refused alike, or both sent alike.
    pub(crate) fn signal_both_ways(
        &mut self,
        prepared: &PreparedSignal,
        name: &Name,
        payload: &Payload,
    ) {
        let shared = self.connection.signal_prepared(prepared, &mut self.out);
        let alone = self.connection.signal(name, payload, &mut self.out);
        assert_eq!(shared, alone);
        let sent = Action::Send(prepared.frame().clone());
        let times = if shared.is_ok() { 2 } else { 0 };
        assert_eq!(self.out.drain().collect::<Vec<_>>(), vec![sent; times]);
        (0..times).for_each(|_| self.sent(prepared.frame().clone()));
    }

    pub(crate) fn receive(&mut self, now: Instant, frame: Bytes) {
        self.expect(&frame);
        self.heard = now;
        self.call(|connection, out| connection.handle_message(now, frame, out));
    }

    pub(crate) fn receive_text(&mut self, now: Instant, frame: Bytes) {
        let refused = self.config.strict && self.dialect == Dialect::V2_0;
        if !refused {
            self.expect(&frame);
        }
        self.heard = now;
        self.call(|connection, out| connection.handle_text(now, frame, out));
        assert!(!(refused && self.connection.is_open()));
    }

    pub(crate) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.call(|connection, _| connection.handle_activity(now));
    }

    fn expect(&mut self, frame: &Bytes) {
        if !self.closed
            && let Some((id, wants)) = self.wants_reply(frame)
        {
            let replies = self.expected.entry(id).or_default();
            replies.least += usize::from(wants == Wants::One);
            replies.most += 1;
        }
    }

    /// The identifier with which a message is to be answered.
    fn wants_reply(&self, frame: &Bytes) -> Option<(Identifier, Wants)> {
        let too_long = match self.dialect {
            Dialect::Wwr1 => frame.len() > self.config.max_message_size as usize,
            _ => self.config.strict && frame.len() > self.buffer(),
        };
        let may_change = !matches!(self.config.protocol, Protocol::V1_4 | Protocol::V1_5);
        let (kind, id, wants) = match decode(self.dialect, frame.clone()) {
            Ok(message) if too_long && may_change => {
                (message.kind(), message.identifier()?, Wants::PerhapsOne)
            }
            Ok(message) => (message.kind(), message.identifier()?, Wants::One),
            Err(DecodeError::Malformed { kind, identifier, .. }) => {
                let id = match self.dialect {
                    Dialect::V1_4 | Dialect::V1_5 | Dialect::Wwr1 => identifier.unwrap_or_default(),
                    Dialect::Unknown => identifier?,
                    _ => return None,
                };
                (kind, id, if may_change { Wants::PerhapsOne } else { Wants::One })
            }
            Err(DecodeError::Empty | DecodeError::UnknownKind(_)) => return None,
        };
        kind.requires_reply().then_some((id, wants))
    }

    /// The longest message that it reads, if its dialect has such a bound.
    fn buffer(&self) -> usize {
        match self.dialect {
            Dialect::Wwr1 => self.stated.unwrap_or(8192),
            _ => self.config.advertised.message_buffer as usize,
        }
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
        let was_open = self.connection.is_open();
        let due = self.connection.next_timeout().is_some_and(|deadline| deadline <= latest);
        self.given_up |= due && (!was_open || self.config.drain_timeout.is_zero());
        self.call(|connection, out| connection.handle_timeout(now, out));
        assert!(self.connection.next_timeout().is_none_or(|next| next > latest));
        if was_open && !self.connection.is_open() {
            assert!(due && self.heard + self.timeout() <= latest, "it was not silent for long");
        }
    }

    /// How long the peer may be silent, at the least.
    fn timeout(&self) -> Duration {
        let read_timeout = self.config.advertised.to_accept_conf().read_timeout();
        match self.dialect.rules().liveness {
            Liveness::Pings => self.pings,
            // 1.5 is told of a second or more.
            Liveness::ReadTimeout if self.dialect == Dialect::V1_5 => {
                read_timeout.max(Duration::from_secs(1))
            }
            Liveness::ReadTimeout => read_timeout,
            other => panic!("{other:?} is not checked"),
        }
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
                Action::Session(command) => self.outbox.push_back(Ask::Session(command)),
                Action::Drained => {
                    assert!(self.requests.is_empty() && self.signals.is_empty());
                    self.outbox.push_back(Ask::Drained);
                }
                Action::Ping => {
                    assert!(self.connection.is_open() && self.config.pings.is_some());
                    // A client with a read timeout need not send anything while a handler runs, and is
                    // shown that the server is there while it is left unread, be it for the store.
                    let busy =
                        self.connection.running_handlers() > 0 || !self.connection.wants_input();
                    assert!(busy || self.dialect.rules().liveness == Liveness::Pings);
                }
                Action::Learned(dialect) => {
                    assert!(self.dialect != dialect && dialect == Dialect::V2_0);
                    self.dialect = dialect;
                }
                Action::PeerReads(bytes) => {
                    assert!(self.dialect == Dialect::Wwr1 && self.stated.is_none());
                    assert!(bytes >= 8192, "everybody reads as much");
                    self.stated = Some(bytes as usize);
                }
                Action::ReplyTooLarge { length, buffer } => {
                    assert!(self.dialect.rules().bounded_by_buffer);
                    assert!(buffer == self.buffer() && length > buffer);
                }
                Action::SessionEvent(_) => {}
                Action::Recover(_) => panic!("nothing is kept"),
                Action::Answered { id, .. } => {
                    assert!(self.questions.remove(&id), "each question has one outcome");
                }
                Action::Close(_) => {
                    self.closed = true;
                    assert!(self.questions.is_empty(), "questions were forgotten");
                    let forgotten = self.expected.values().any(|replies| replies.least > 0);
                    assert!(self.given_up || !forgotten, "requests were forgotten");
                    assert!(self.given_up || self.requests.is_empty() && self.signals.is_empty());
                }
            }
        }
        let running = self.connection.running_handlers();
        assert!(running <= usize::from(self.config.concurrency.get()));
        assert_eq!(self.connection.dialect(), self.dialect);
        assert!(self.closed || running == self.requests.len() + self.signals.len());
        assert!(!(self.closed && self.connection.is_open()));
    }

    fn sent(&mut self, frame: Bytes) {
        let secret = SECRET.as_bytes();
        assert!(!frame.windows(secret.len()).any(|part| part == secret), "a secret was sent");
        if self.dialect.rules().bounded_by_buffer {
            assert!(frame.len() <= self.buffer(), "the client cannot read so much");
        }
        if !self.advertised {
            let mut conf = self.config.advertised.to_accept_conf();
            if self.dialect == Dialect::Wwr1 {
                conf.message_buffer_size = self.config.max_message_size;
            }
            let advertised = Message::AcceptConf(conf);
            assert_eq!(decode(Dialect::V2_0, frame), Ok(advertised));
            self.advertised = true;
            return;
        }
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
        let Some(replies) = self.expected.get_mut(&id) else {
            panic!("nobody expects {message:?}")
        };
        replies.least = replies.least.saturating_sub(1);
        replies.most -= 1;
        if replies.most == 0 {
            self.expected.remove(&id);
        }
    }
}
