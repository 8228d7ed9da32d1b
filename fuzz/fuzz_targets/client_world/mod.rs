//! The host, the application and the server around a client, and what they may expect of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use wwr::client::{
    Action, Client, Config, Event, Misuse, Outcome, QuestionId, RequestError, RequestId, Status,
};
use wwr::preflight::{Answer, ProbeFailed, Promise};
use wwr::wire::{AcceptConf, Encoder, Kind, Message, decode};
use wwr::{Actions, Dialect, Instant, Name, Payload, SessionKey, Valid};

/// What may wait at most, and which servers are to be left.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub pending: usize,
    pub queued_bytes: usize,
    pub questions: u16,
    pub sub_protocol: Option<Bytes>,
}

/// What the host has, as its actions and its reports tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Nothing,
    Probing,
    Dialing,
    Open,
}

/// What is known of a request without an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    Request,
    Restore,
    CloseSession,
}

pub struct World {
    client: Client,
    out: Actions<Action>,
    bounds: Bounds,
    now: Instant,
    host: Host,
    connected: bool,
    last_id: u64,
    open: BTreeMap<RequestId, Made>,
    /// The identifiers that went out, but for those of the client's own resumptions.
    sent: BTreeSet<u64>,
    /// Every identifier that went out, in order.
    on_wire: Vec<u64>,
    /// Identifiers that were replied to, on the connection there is.
    replied: BTreeSet<u64>,
    /// Questions of the server without an answer.
    questions: BTreeSet<QuestionId>,
}

/// The application.
impl World {
    pub fn new(config: &Valid<Config>, bounds: Bounds, seed: u64) -> Self {
        Self {
            client: Client::new(config, seed),
            out: Actions::new(),
            bounds,
            now: Instant::from_millis(1),
            host: Host::Nothing,
            connected: false,
            last_id: 0,
            open: BTreeMap::new(),
            sent: BTreeSet::new(),
            on_wire: Vec::new(),
            replied: BTreeSet::new(),
            questions: BTreeSet::new(),
        }
    }

    pub fn connect(&mut self) {
        self.client.connect(self.now, &mut self.out);
        assert!(!matches!(self.client.status(), Status::Idle | Status::Closed | Status::Waiting));
    }

    pub fn close(&mut self) {
        let session = self.client.session().cloned();
        self.client.close(self.now, &mut self.out);
        assert_eq!(self.client.status(), Status::Closed);
        assert_eq!(self.client.session(), session.as_ref(), "closing keeps the session");
    }

    pub fn request(&mut self, name: Name, payload: Payload, timeout: Option<Duration>) {
        let made = self.client.request(self.now, name, payload, timeout, &mut self.out);
        self.made(made, Made::Request);
    }

    pub fn restore(&mut self, key: SessionKey, timeout: Option<Duration>) {
        let held = self.client.session().is_some();
        let made = self.client.restore_session(self.now, key, timeout, &mut self.out);
        assert!(!held || made == Err(Misuse::SessionHeld));
        self.made(made, Made::Restore);
    }

    pub fn resume(&mut self, key: SessionKey) {
        let held = self.client.session_key().cloned();
        let resumes = self.client.resume_session(key.clone()).is_ok();
        assert!(!resumes || held.is_none());
        assert_eq!(self.client.session_key(), if resumes { Some(&key) } else { held.as_ref() });
    }

    pub fn wake(&mut self) {
        let waits = self.client.status() == Status::Waiting;
        self.client.wake(self.now, &mut self.out);
        assert!(waits || self.out.is_empty(), "nothing else is hurried");
    }

    pub fn close_session(&mut self, timeout: Option<Duration>) {
        let made = self.client.close_session(self.now, timeout, &mut self.out);
        self.made(made, Made::CloseSession);
    }

    fn made(&mut self, made: Result<RequestId, Misuse>, what: Made) {
        let Ok(id) = made else {
            return assert!(self.out.is_empty(), "a refused call does nothing");
        };
        let counter = id.identifier().counter();
        assert!(counter > self.last_id, "identifiers rise");
        self.last_id = counter;
        assert_eq!(self.open.insert(id, what), None);
    }

    pub fn cancel(&mut self, back: u8) {
        let open = self.open.keys().rev().nth(usize::from(back) % self.bounds.pending).copied();
        if let Some(id) = open {
            self.client.cancel(id, &mut self.out);
            self.check();
            assert!(!self.open.contains_key(&id), "cancelled at once");
            self.client.cancel(id, &mut self.out);
            assert!(self.out.is_empty(), "and once");
        }
    }

    pub fn signal(&mut self, name: &Name, payload: &Payload) {
        let sent = self.client.signal(self.now, name, payload, &mut self.out);
        assert_eq!(sent == Err(Misuse::NotConnected), !self.connected);
        assert_eq!(self.out.len(), usize::from(sent.is_ok()));
    }
}

/// The host, the server and the time.
impl World {
    pub fn probed(&mut self, answer: Result<Answer, ProbeFailed>) {
        if self.host == Host::Probing {
            self.host = Host::Nothing;
            self.client.handle_probed(self.now, answer, &mut self.out);
        }
    }

    /// `agreed`: the server has selected what was offered.
    pub fn opened(&mut self, agreed: bool) {
        if self.host == Host::Dialing {
            self.host = Host::Open;
            self.replied.clear();
            let agreed = self.client.offers().filter(|_| agreed);
            self.client.handle_opened(self.now, agreed, &mut self.out);
            if agreed.is_some() {
                assert_eq!(self.client.dialect(), Dialect::Wwr1);
                let stated =
                    self.out.iter().next().is_some_and(
                        |action| matches!(action, Action::Send(frame) if frame[0] == 24),
                    );
                assert!(stated, "settings come first");
            }
        }
    }

    pub fn refused(&mut self, status: u16, retry_after: Option<Duration>) {
        if self.host == Host::Dialing {
            self.host = Host::Nothing;
            self.client.handle_refused(self.now, status, retry_after, &mut self.out);
        }
    }

    pub fn advertise(&mut self, conf: &AcceptConf) {
        let message = Message::AcceptConf(conf.clone());
        let frame = Encoder::new().encode(Dialect::V2_0, &message).expect("it can be written");
        self.receive(frame);
    }

    /// The answer to the preflight is going to promise an accept-conf, if there is a preflight.
    pub fn expect_accept_conf(&mut self, promise: Promise) {
        self.client.expect_accept_conf(promise);
    }

    /// Something other than a message comes, whether there is a socket or not.
    pub fn sign_of_life(&mut self, is_pong: bool) {
        if is_pong {
            self.client.handle_pong(self.now);
        } else {
            self.client.handle_activity(self.now);
        }
        assert!(self.out.is_empty());
    }

    pub fn lost(&mut self) {
        if matches!(self.host, Host::Dialing | Host::Open) {
            self.host = Host::Nothing;
            self.client.handle_disconnect(self.now, &mut self.out);
        }
    }

    pub fn stray_probed(&mut self, answer: Answer) {
        if self.host != Host::Probing {
            self.client.handle_probed(self.now, Ok(answer), &mut self.out);
            assert!(self.out.is_empty());
        }
    }

    pub fn stray_opened(&mut self) {
        if self.host != Host::Dialing {
            self.client.handle_opened(self.now, None, &mut self.out);
            let wanted = matches!(self.client.status(), Status::Connected | Status::Connecting);
            assert!(wanted || self.out.pop() == Some(Action::Hangup));
            assert!(self.out.is_empty());
        }
    }

    pub fn stray_disconnect(&mut self) {
        if matches!(self.host, Host::Nothing | Host::Probing) {
            self.client.handle_disconnect(self.now, &mut self.out);
            self.client.handle_refused(self.now, 404, None, &mut self.out);
            assert!(self.out.is_empty());
        }
    }

    /// Some message with the identifier of something that was sent, lately rather than long ago.
    pub fn reply(&mut self, back: u8, kind: u8, body: &[u8]) {
        let id = self.on_wire.iter().rev().nth(usize::from(back)).copied().unwrap_or_default();
        self.receive([&[kind], &id.to_le_bytes()[..], body].concat().into());
    }

    pub fn receive(&mut self, frame: Bytes) {
        if self.host == Host::Open
            && let Ok(
                Message::Reply { id, .. }
                | Message::ErrorReply { id, .. }
                | Message::SpecialReply { id, .. },
            ) = decode(self.read_as(), frame.clone())
            && self.sent.contains(&id.counter())
        {
            self.replied.insert(id.counter());
        }
        self.client.handle_message(self.now, frame, &mut self.out);
        assert!(self.host == Host::Open || self.out.is_empty(), "nothing comes without a socket");
    }

    /// A server that takes a client of 2.0 for one of 1.x answers like one.
    fn read_as(&self) -> Dialect {
        match self.client.dialect() {
            Dialect::V2_0 => Dialect::Unknown,
            dialect => dialect,
        }
    }

    pub fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    pub fn due(&mut self) {
        if let Some(next) = self.client.next_timeout() {
            self.now = self.now.max(next);
        }
        self.timeout();
    }

    pub fn timeout(&mut self) {
        let is_due = self.client.next_timeout().is_some_and(|next| next <= self.now);
        self.client.handle_timeout(self.now, &mut self.out);
        assert!(is_due || self.out.is_empty(), "nothing happens early");
        let next = self.client.next_timeout();
        assert!(next.is_none_or(|next| next > self.now), "{next:?} is not after {:?}", self.now);
    }

    /// A report with a time that is over changes nothing, once what was due is done.
    pub fn run_back(&mut self, duration: Duration) {
        self.timeout();
        self.check();
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let before = Instant::from_nanos(self.now.as_nanos().saturating_sub(nanos));
        self.client.handle_timeout(before, &mut self.out);
        assert!(self.out.is_empty());
    }
}

/// What holds.
impl World {
    /// Carries out what the client wants, and looks at it.
    pub fn check(&mut self) {
        let most = 2 * self.bounds.pending + 4;
        assert!(self.out.len() <= most, "one call does bounded work: {:?}", self.out);
        while let Some(action) = self.out.pop() {
            self.carry_out(action);
        }
        let client = &self.client;
        assert_eq!(client.pending_requests(), self.open.len());
        assert!(client.pending_requests() <= self.bounds.pending);
        assert!(client.queued_bytes() <= self.bounds.queued_bytes);
        assert_eq!(client.status() == Status::Connected, self.connected);
        assert!(!self.connected || client.queued_bytes() == 0, "nothing waits while connected");
        let settled = matches!(client.status(), Status::Idle | Status::Closed);
        assert!(!settled || client.pending_requests() == 0 && client.next_timeout().is_none());
        assert!(!settled || self.host == Host::Nothing);
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Probe => self.host_goes(Host::Nothing, Host::Probing),
            Action::Dial => self.host_goes(Host::Nothing, Host::Dialing),
            Action::Ping => assert_eq!(self.host, Host::Open, "nothing is pinged without a socket"),
            Action::Hangup => {
                assert_ne!(self.host, Host::Nothing);
                self.host = Host::Nothing;
            }
            Action::Send(frame) => self.sent(frame),
            Action::Done { id, outcome } => self.done(id, &outcome),
            Action::Event(Event::Connected) => {
                assert!(!self.connected && self.host == Host::Open);
                self.connected = true;
                if let Dialect::V2_0 | Dialect::Wwr1 = self.client.dialect() {
                    let conf = self.client.discovered().accept_conf.as_ref().expect("advertised");
                    assert_eq!(conf.sub_protocol, self.bounds.sub_protocol, "another application");
                }
            }
            Action::Event(Event::Disconnected { retry, .. }) => {
                assert!(self.connected);
                self.connected = false;
                assert!(retry.is_none_or(|retry| retry > self.now));
            }
            Action::Event(Event::ConnectFailed { retry, .. }) => {
                assert!(!self.connected);
                assert!(retry.is_none_or(|retry| retry > self.now));
            }
            Action::Event(Event::SessionCreated(session) | Event::SessionRestored(session)) => {
                assert_eq!(self.host, Host::Open);
                assert!(!session.key.as_str().is_empty());
            }
            Action::Event(Event::SessionUpdated(session)) => {
                assert_eq!(self.host, Host::Open);
                assert_eq!(
                    self.client.session(),
                    Some(&session),
                    "only the one that is held changes"
                );
            }
            Action::Event(Event::SessionLost(_)) => {
                assert!(!self.connected && self.host == Host::Open, "only when resuming");
            }
            Action::Event(
                Event::Signal(_)
                | Event::Anomaly(_)
                | Event::SignalsResumed { .. }
                | Event::SignalGap { .. },
            ) => {
                assert_eq!(self.host, Host::Open);
            }
            Action::Event(Event::Question(question)) => {
                assert_eq!((self.host, self.client.dialect()), (Host::Open, Dialect::Wwr1));
                assert!(self.questions.insert(question.id), "each question comes once");
                assert!(self.questions.len() <= usize::from(self.bounds.questions));
                // Every second one is never answered.
                if question.id.as_u64() % 2 == 0 {
                    self.questions.remove(&question.id);
                    let answer = Ok(question.content.into_payload());
                    self.client.answer(self.now, question.id, answer, &mut self.out);
                    assert!(!self.client.answer(
                        self.now,
                        question.id,
                        Ok(Payload::EMPTY),
                        &mut self.out
                    ));
                }
            }
            Action::Event(Event::QuestionCancelled(id)) => assert!(self.questions.remove(&id)),
            Action::Event(Event::SessionClosed) => assert_eq!(self.client.session(), None),
            Action::Event(other) => panic!("{other:?} is not checked"),
        }
    }

    fn host_goes(&mut self, from: Host, to: Host) {
        assert_eq!(self.host, from);
        self.host = to;
    }

    fn sent(&mut self, frame: Bytes) {
        assert_eq!(self.host, Host::Open, "nothing is sent without a socket");
        let dialect = self.client.dialect();
        assert_ne!(dialect, Dialect::Unknown, "nothing is sent before the version is settled");
        let is_first = frame.first() == Some(&Kind::ClientSettings.as_byte());
        if dialect.rules().bounded_by_buffer && !is_first {
            let conf = self.client.discovered().accept_conf.as_ref().expect("it was advertised");
            let least = if dialect == Dialect::Wwr1 { 8192 } else { 0 };
            let buffer = (conf.message_buffer_size as usize).max(least);
            assert!(frame.len() <= buffer.max(1), "{} bytes for {buffer}", frame.len());
        }
        let message = decode(dialect, frame).expect("what is sent can be read");
        let (id, wanted) = match &message {
            Message::Signal(_) => return assert!(self.connected),
            // One may come before the connection is ready, while its session is resumed.
            Message::Heartbeat => return,
            Message::ClientSettings(_) => return assert!(!self.connected, "before all else"),
            Message::Answer { .. }
            | Message::AnswerError { .. }
            | Message::AnswerRefused { .. } => {
                return assert_eq!(dialect, Dialect::Wwr1);
            }
            Message::Request { id, .. } => (*id, Made::Request),
            Message::CloseSession { id } => (*id, Made::CloseSession),
            Message::RestoreSession { id, .. } | Message::ResumeSession { id, .. } => {
                (*id, Made::Restore)
            }
            other => panic!("a client does not send {other:?}"),
        };
        self.on_wire.push(id.counter());
        let open = self.open.iter().find(|(open, _)| open.identifier() == id);
        match open {
            Some((_, made)) => {
                assert!(self.connected, "requests wait until the session is back");
                assert_eq!(*made, wanted);
                assert!(self.sent.insert(id.counter()), "nothing is sent twice");
            }
            None => {
                assert!(!self.sent.contains(&id.counter()));
                assert_eq!(message.kind(), Kind::RestoreSession, "only resumptions are its own");
                assert!(!self.connected);
                self.last_id = self.last_id.max(id.counter());
            }
        }
    }

    fn done(&mut self, id: RequestId, outcome: &Outcome) {
        let made = self.open.remove(&id).expect("one outcome for each request");
        let counter = id.identifier().counter();
        let (sent, replied) = (self.sent.contains(&counter), self.replied.contains(&counter));
        match outcome {
            Err(
                RequestError::NotSent
                | RequestError::TooLarge { .. }
                | RequestError::TimedOut { sent: false },
            ) => assert!(!sent),
            Err(RequestError::ConnectionLost | RequestError::TimedOut { sent: true }) => {
                assert!(sent && !replied);
            }
            Err(RequestError::Cancelled) => assert!(!replied),
            Ok(payload) if !sent => {
                assert_eq!((made, payload), (Made::CloseSession, &Payload::EMPTY));
            }
            Err(RequestError::InvalidSession(_)) => {
                assert_eq!((made, replied), (Made::Restore, true))
            }
            Ok(_) | Err(_) => assert!(sent && replied, "{outcome:?} without a reply"),
        }
    }

    /// After the end nothing is open, and nothing will ever happen.
    pub fn finish(&mut self) {
        self.close();
        self.check();
        assert!(self.open.is_empty() && self.client.next_timeout().is_none());
        self.now = Instant::from_nanos(u64::MAX);
        self.timeout();
        assert!(self.out.is_empty());
    }
}
