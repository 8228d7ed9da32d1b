//! The server's side of one connection.

mod asking;
mod closing;
mod inbound;
mod recovery;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::fmt;

use bytes::Bytes;

use super::action::{Action, CloseReason};
use super::config::{Config, Sessions};
use super::counters::{Counters, count};
use super::error::{Misuse, RequestError};
use super::idle::{IdleMonitor, Silence};
use super::in_flight::{InFlight, RequestId, SignalId};
use super::peer::Peer;
use super::protocol::Observed;
use super::questions::Questions;
use super::reply;
use super::session::{CreationId, EditId, SessionSlot};
use crate::actions::Actions;
use crate::dialect::Dialect;
use crate::session::{self, Outcome, Session, SessionInfo, SessionKey};
use crate::time::{Instant, Span, UnixTime};
use crate::valid::Valid;
use crate::wire::{Identifier, Kind, Name, Payload, PreparedSignal};

/// The server's side of one connection. Each socket has one, owned by the task that serves it.
///
/// It decodes, keeps the order and the concurrency limit, knows which handlers run, composes
/// replies, and defers closing until they are done. Contract:
///
/// * **Inputs**: [`handle_message`](Self::handle_message), [`handle_session`](Self::handle_session),
///   [`handle_timeout`](Self::handle_timeout), [`handle_disconnect`](Self::handle_disconnect);
///   answers and commands of the application are the other methods.
/// * **Outputs**: the machine appends what to do to the caller's [`Actions`], in order. After any
///   call, carry all of it out. Feed everything that one read of the socket returned before writing
///   the sent messages, so that they leave in one write.
/// * **Time** is an argument that never runs backwards: a `now` before the last one counts as the
///   last one. Call [`handle_timeout`](Self::handle_timeout) at
///   [`next_timeout`](Self::next_timeout). Calling early or twice does nothing.
/// * **Backpressure**: while [`wants_input`](Self::wants_input) is false, leave the socket unread.
/// * **Bounds**: a call does bounded work: it dispatches at most the messages that may wait. No
///   peer can make the machine keep more than its [`Config`] allows, or panic.
///
/// The same inputs return the same outputs, byte for byte.
///
/// ```
/// use wwr::server::{Action, Config, Connection, Observed, Protocol};
/// use wwr::{Actions, Instant};
///
/// let (now, mut out) = (Instant::EPOCH, Actions::new());
/// let mut config = Config::default();
/// config.protocol = Protocol::V1_4;
/// let mut connection = Connection::accept(&config.validate()?, Observed::Nothing, now, &mut out);
/// connection.handle_message(now, b"\x80\x01\0\0\0\0\0\0\0\x04echohello"[..].into(), &mut out);
///
/// let Some(Action::Request(request)) = out.pop() else { unreachable!() };
/// assert_eq!(request.content.name(), b"echo");
/// connection.reply(request.id, Ok(request.content.into_payload()), &mut out)?;
/// assert_eq!(out.pop(), Some(Action::Send(b"\xc0\x01\0\0\0\0\0\0\0hello"[..].into())));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Connection {
    peer: Peer,
    limits: Limits,
    phase: Phase,
    session: SessionSlot,
    in_flight: InFlight,
    /// Once the first was asked.
    questions: Option<Box<Questions>>,
    /// Once the client has stated that it makes use of it.
    recovery: Option<Box<recovery::Recovery>>,
    /// Messages behind the running handlers, oldest first.
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    ignored_in_a_row: u32,
    idle: IdleMonitor,
    counters: Counters,
    now: Instant,
}

/// The part of the [`Config`] that is needed after the start.
#[derive(Clone, Copy, Debug)]
struct Limits {
    concurrency: u16,
    /// How many handlers may run now: none while messages are held back.
    running: u16,
    waiting_messages: u16,
    waiting_bytes: u32,
    ignored_in_a_row: u32,
    drain_timeout: Span,
    questions: u16,
    question_timeout: Span,
    keeps_histories: bool,
    keeps_outcomes: bool,
}

/// The phase of life of a connection.
#[derive(Debug)]
enum Phase {
    /// Serving.
    Open,
    /// Told to close: running handlers may finish until the deadline, new requests are refused.
    Draining { reason: CloseReason, deadline: Instant, once_drained: OnceDrained },
    /// Over.
    Closed,
}

/// What a draining connection does when no handler runs on it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnceDrained {
    /// It closes.
    Close,
    /// It reports that it is drained, and stays.
    Report,
    /// It has reported that.
    Stay,
}

/// A message other than a heartbeat that is handled as soon as it comes, even if others wait.
#[derive(Clone, Copy, Debug)]
enum Overtakes {
    Settings,
    Answer,
}

type Out = Actions<Action>;

impl Connection {
    /// Starts on a socket whose WebSocket handshake is done. If the server speaks 2.0, the first
    /// message advertises its settings to every peer: 1.x clients ignore it (protocol §4.5, §7.2).
    /// Peers of `wwr.1` learn what the server itself reads (protocol §10.2).
    ///
    /// The application's own hook for new connections, if it has one, may use the connection before
    /// the first message is read: simply start reading when the hook is done.
    pub fn accept(config: &Valid<Config>, observed: Observed, now: Instant, out: &mut Out) -> Self {
        let peer = Peer::new(config, observed);
        if config.protocol.sends_accept_conf() {
            let mut conf = config.advertised.to_accept_conf();
            if peer.dialect().rules().states_limits {
                conf.message_buffer_size = config.max_message_size;
                conf.minor = config.keeps();
            }
            let frame = out.encoder.accept_conf(&conf);
            out.push(Action::Send(frame));
        }
        let key_format = match config.sessions {
            Sessions::Disabled => None,
            Sessions::Enabled(format) => Some(format),
        };
        let idle = IdleMonitor::new(config, peer.dialect(), now);
        Self {
            peer,
            limits: Limits::of(config),
            phase: Phase::Open,
            session: SessionSlot::new(key_format),
            in_flight: InFlight::default(),
            questions: None,
            recovery: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ignored_in_a_row: 0,
            idle,
            counters: Counters::default(),
            now,
        }
    }

    /// Handles a binary WebSocket message of the client. Dispatches it, or queues it behind the
    /// running handlers.
    ///
    /// Handles any number of heartbeats itself. The first one shows what the peer speaks, if that
    /// was not known.
    pub fn handle_message(&mut self, now: Instant, mut frame: Bytes, out: &mut Out) {
        self.handle_activity(now);
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        if let [byte] = frame[..]
            && byte == Kind::Heartbeat.as_byte()
        {
            return self.heartbeat(out);
        }
        if let Some(byte) = frame.first()
            && Kind::may_overtake(*byte)
            && self.take_early(&mut frame, out)
        {
            return;
        }
        match self.phase {
            Phase::Open if self.waiting.is_empty() && self.may_dispatch() => {
                self.dispatch(frame, out);
            }
            Phase::Open if self.has_room() => {
                self.waiting_bytes += frame.len();
                self.waiting.push_back(frame);
                if !self.has_room() {
                    self.idle.left_unread(self.now);
                }
            }
            Phase::Open => {
                self.waiting.push_back(frame);
                self.drain(CloseReason::TooManyWaiting, out);
            }
            Phase::Draining { .. } => {
                self.refuse(frame, out);
                self.proceed(out);
            }
            Phase::Closed => {}
        }
    }

    /// Handles a WebSocket text message of the client. 1.4 reads it like a binary one (protocol
    /// §1.1), and so does this server, unless it is [strict](Config::strict).
    pub fn handle_text(&mut self, now: Instant, frame: Bytes, out: &mut Out) {
        if self.peer.rules().strict {
            self.handle_activity(now);
            self.drain(CloseReason::Text, out);
            return self.proceed(out);
        }
        self.handle_message(now, frame, out);
    }

    /// Reports a sign of life other than a message: a ping, a pong, part of a long message.
    pub fn handle_activity(&mut self, now: Instant) {
        self.tick(now);
        self.idle.heard(self.now);
    }

    /// Handles whether the socket takes output now. Until the first call it does. Report it before each
    /// [`handle_session`](Self::handle_session), and when it does again.
    ///
    /// While it does not, the client is not told of changes of its session, which other connections may
    /// cause without end (protocol §5.13). When it does again, and before a reply or the end, the client
    /// is told the last state. What else is sent is bounded: the client asks for replies, and the host
    /// keeps its signals back.
    pub fn handle_writable(&mut self, writable: bool, out: &mut Out) {
        self.session.handle_writable(writable, out);
        if self.recovery.is_some() {
            self.recovery_writable(writable, out);
        }
    }

    /// Handles news of the registry about a session. News that come too late are ignored.
    pub fn handle_session(&mut self, now: Instant, outcome: Outcome, out: &mut Out) {
        self.tick(now);
        if let Some(reason) = self.session.handle(&self.peer, outcome, out) {
            self.drain(reason, out);
        }
        self.forget_ended_session();
        self.proceed(out);
    }

    /// Handles what is due at `now`. Hand over what the socket has ready before this call: what was
    /// not read yet counts as not sent.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Out) {
        self.tick(now);
        self.end_overdue_questions(out);
        if matches!(self.phase, Phase::Open) {
            self.check_idle(out);
        }
        if let Phase::Draining { deadline, .. } = self.phase
            && deadline <= self.now
        {
            self.finish(out);
        }
    }

    /// Handles the end of the socket. Replies of handlers that still run are dropped.
    pub fn handle_disconnect(&mut self, out: &mut Out) {
        self.end(out);
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), if at all.
    #[inline]
    pub fn next_timeout(&self) -> Option<Instant> {
        let due = match self.phase {
            Phase::Open => self.idle.due(),
            Phase::Draining { deadline, .. } => Some(deadline),
            Phase::Closed => None,
        };
        match &self.questions {
            None => due,
            Some(questions) => [due, questions.due()].into_iter().flatten().min(),
        }
    }

    /// Returns whether to read the socket. False while enough messages wait, and after the end.
    #[inline]
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Open => self.has_room(),
            Phase::Draining { .. } => true,
            Phase::Closed => false,
        }
    }

    /// Answers a request (protocol §5.4).
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownHandler`] if it was answered before, [`Misuse::Closed`] after the end.
    pub fn reply(
        &mut self,
        id: RequestId,
        result: Result<Payload, RequestError>,
        out: &mut Out,
    ) -> Result<(), Misuse> {
        if self.recovery.is_some() {
            self.keep_outcome(id, &result, out);
        }
        self.not_closed()?;
        let id = self.in_flight.end_request(id).ok_or(Misuse::UnknownHandler)?;
        self.session.tell_last(out);
        match result {
            Ok(payload) => {
                let fits = reply::payload(&self.peer, id, &payload, out);
                count(if fits { &mut self.counters.replied } else { &mut self.counters.internal });
            }
            Err(error) => {
                let told = reply::failure(&self.peer, id, &error, out);
                count(if told { &mut self.counters.failed } else { &mut self.counters.internal });
            }
        }
        self.idle.served();
        self.proceed(out);
        Ok(())
    }

    /// Reports that the handler of a signal has ended.
    ///
    /// # Errors
    ///
    /// [`Misuse::UnknownHandler`] if that was reported before, [`Misuse::Closed`] after the end.
    pub fn signal_handled(&mut self, id: SignalId, out: &mut Out) -> Result<(), Misuse> {
        self.not_closed()?;
        if !self.in_flight.end_signal(id) {
            return Err(Misuse::UnknownHandler);
        }
        self.idle.served();
        self.proceed(out);
        Ok(())
    }

    /// Sends a signal to the client. Also possible while the connection drains.
    ///
    /// # Errors
    ///
    /// [`Misuse`] if the connection is closed, or if no client, or not this one, reads such a
    /// signal: a signal with neither name nor payload, a signal without payload in UTF-16 or to a
    /// 1.x client, or one longer than the advertised message buffer to a client that may have one.
    pub fn signal(&mut self, name: &Name, payload: &Payload, out: &mut Out) -> Result<(), Misuse> {
        self.not_closed()?;
        self.peer.reads_signal(name, payload)?;
        let frame = out.encoder.signal(name, payload);
        out.push(Action::Send(frame));
        count(&mut self.counters.signals_sent);
        Ok(())
    }

    /// Sends a signal as [`signal`](Self::signal) does, but one that was encoded before: its bytes
    /// are shared, not written again. Made for signals to many connections.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Self::signal).
    pub fn signal_prepared(
        &mut self,
        signal: &PreparedSignal,
        out: &mut Out,
    ) -> Result<(), Misuse> {
        self.not_closed()?;
        self.peer.reads_prepared(signal)?;
        out.push(Action::Send(signal.frame().clone()));
        count(&mut self.counters.signals_sent);
        Ok(())
    }

    /// Creates a session for this connection (protocol §5.5). `key` has to be fresh, as from
    /// [`SessionKey::from_entropy`], and in the configured format.
    ///
    /// Ends with [`SessionEvent::Created`] or [`SessionEvent::CreateFailed`], with the identifier that is
    /// returned here, unless the connection ends before. The client learns of
    /// the session before the former. Reply to the request that caused it only after that.
    ///
    /// [`SessionEvent::Created`]: super::SessionEvent::Created
    /// [`SessionEvent::CreateFailed`]: super::SessionEvent::CreateFailed
    ///
    /// # Errors
    ///
    /// [`Misuse`] if the connection is closed or has a session, if sessions are disabled, or if
    /// clients could not restore or read this one.
    pub fn create_session(
        &mut self,
        key: SessionKey,
        now: UnixTime,
        info: SessionInfo,
        out: &mut Out,
    ) -> Result<CreationId, Misuse> {
        self.not_closed()?;
        self.session.create(&self.peer, key, now, info, out)
    }

    /// Closes the session of this connection (protocol §5.8), and destroys it if no other
    /// connection holds it. The client is told.
    ///
    /// Returns whether the connection had a session. If so, ends with [`SessionEvent::Closed`] or
    /// [`SessionEvent::CloseFailed`].
    ///
    /// [`SessionEvent::Closed`]: super::SessionEvent::Closed
    /// [`SessionEvent::CloseFailed`]: super::SessionEvent::CloseFailed
    ///
    /// # Errors
    ///
    /// [`Misuse`] if the connection is closed, sessions are disabled, or the session is just being
    /// created, restored or closed.
    pub fn close_session(&mut self, out: &mut Out) -> Result<bool, Misuse> {
        self.not_closed()?;
        self.session.close(out)
    }

    /// Changes the session, in the store and for all its connections, whose clients are told (protocol
    /// §5.13): its info, its key, or both in one step. Edits of one session happen one after another, and the
    /// last one wins.
    ///
    /// * [`Edit::Info`](session::Edit::Info) replaces the info.
    /// * [`Edit::NewKey`](session::Edit::NewKey) stores the session under another key, and destroys the one
    ///   of the old key. The key has to be fresh, as for [`create_session`](Self::create_session). With
    ///   [`OtherConnections::Close`](session::OtherConnections), the session is then closed for all other
    ///   connections that hold it, and none of them ever gets the new key.
    ///
    /// Ends with [`SessionEvent::Updated`], [`SessionEvent::Rotated`] if there is a new key, or
    /// [`SessionEvent::EditFailed`], with the identifier that is returned here, unless the connection ends
    /// before. If it fails, nothing has changed for any connection: the session has its old key and info, and
    /// no client knows the new key. A store that has failed may have the new info nevertheless, or the
    /// session no more.
    ///
    /// [`SessionEvent::Updated`]: super::SessionEvent::Updated
    /// [`SessionEvent::Rotated`]: super::SessionEvent::Rotated
    /// [`SessionEvent::EditFailed`]: super::SessionEvent::EditFailed
    ///
    /// # Errors
    ///
    /// [`Misuse`] if the connection is closed or has no session, if sessions are disabled, if the session is
    /// just being created, restored or closed, if eight edits that this connection has asked for are under
    /// way, if its client or the store could not read the session, or if clients could not restore a session
    /// of the new key, or it is the present one ([`Misuse::InvalidKey`]).
    pub fn edit_session(&mut self, edit: session::Edit, out: &mut Out) -> Result<EditId, Misuse> {
        self.not_closed()?;
        self.session.edit(&self.peer, edit, out)
    }

    /// Holds back messages that would start a handler or change the session, until
    /// [`release_messages`](Self::release_messages). They wait, as behind a running handler. Answers to
    /// questions are taken all the same. For hosts with a hook for new connections that
    /// [asks](Self::ask) something: they read the socket while the hook waits for the answer.
    pub const fn hold_messages(&mut self) {
        self.limits.running = 0;
    }

    /// Undoes [`hold_messages`](Self::hold_messages), and dispatches what has waited.
    pub fn release_messages(&mut self, now: Instant, out: &mut Out) {
        self.tick(now);
        self.limits.running = self.limits.concurrency;
        self.proceed(out);
    }

    /// Returns the session of this connection, if it has one.
    pub fn session(&self) -> Option<&Session> {
        self.session.session()
    }

    /// Returns whether the connection has ended: nothing is handled or answered any more.
    pub const fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Returns whether the connection serves. False as soon as it was told to close.
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Returns what the peer speaks, as far as that is known.
    pub const fn dialect(&self) -> Dialect {
        self.peer.dialect()
    }

    /// Returns the longest message that the client reads, in bytes. It counts where the dialect has
    /// such a limit: it is the advertised message buffer (protocol §4.6), or what the client has
    /// stated (protocol §10.2).
    pub const fn peer_reads(&self) -> usize {
        self.peer.buffer()
    }

    /// Returns the identifier that the client has given to a request whose handler runs (protocol
    /// §2). For the log, because identifiers may repeat. `None` if the request was answered, or the
    /// connection is closed.
    pub fn identifier(&self, id: RequestId) -> Option<Identifier> {
        self.in_flight.identifier(id)
    }

    /// Returns how many handlers run.
    pub fn running_handlers(&self) -> usize {
        self.in_flight.len()
    }

    /// Returns how many messages wait behind the running handlers: never more than
    /// [`Config::max_queued_messages`].
    pub fn waiting_messages(&self) -> usize {
        self.waiting.len()
    }

    /// Returns what was counted since the last call. A host adds it up, at the latest before 2^32 of
    /// anything have happened; a good time is before it writes to the socket. After
    /// [`handle_disconnect`](Self::handle_disconnect) there is a last part to take.
    pub const fn take_counters(&mut self) -> Counters {
        core::mem::replace(&mut self.counters, Counters::NONE)
    }

    fn heartbeat(&mut self, out: &mut Out) {
        if let Some(dialect) = self.peer.sent_heartbeat() {
            self.idle.set(dialect);
            out.push(Action::Learned(dialect));
        }
    }

    fn check_idle(&mut self, out: &mut Out) {
        let (dialect, unread) = (self.peer.dialect(), !self.has_room());
        match self.idle.check(dialect, !self.in_flight.is_empty(), unread, self.now) {
            Silence::Bearable => {}
            Silence::Ping => out.push(Action::Ping),
            Silence::TooLong => self.drain(CloseReason::Silent, out),
        }
    }

    fn tick(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    const fn not_closed(&self) -> Result<(), Misuse> {
        match self.phase {
            Phase::Open | Phase::Draining { .. } => Ok(()),
            Phase::Closed => Err(Misuse::Closed),
        }
    }

    #[inline]
    fn has_room(&self) -> bool {
        let bytes =
            self.waiting.is_empty() || self.waiting_bytes < self.limits.waiting_bytes as usize;
        bytes && self.waiting.len() < usize::from(self.limits.waiting_messages)
    }

    /// Returns whether the next message may be handled: a handler may start, and no session message
    /// of the client is half done.
    #[inline]
    fn may_dispatch(&self) -> bool {
        self.in_flight.len() < usize::from(self.limits.running) && !self.session.holds_up_messages()
    }

    /// Dispatches the waiting messages, as far as allowed, and finishes closing if no handler runs
    /// any more.
    #[inline]
    fn proceed(&mut self, out: &mut Out) {
        if !matches!(self.phase, Phase::Open) || !self.waiting.is_empty() {
            self.catch_up(out);
        }
    }

    fn catch_up(&mut self, out: &mut Out) {
        while matches!(self.phase, Phase::Open) && self.may_dispatch() {
            let Some(frame) = self.waiting.pop_front() else { break };
            self.waiting_bytes -= frame.len();
            self.dispatch(frame, out);
        }
        let is_drained = self.in_flight.is_empty() && !self.session.is_changing();
        if let Phase::Draining { once_drained, .. } = &mut self.phase
            && is_drained
        {
            match *once_drained {
                OnceDrained::Close => self.finish(out),
                OnceDrained::Report => {
                    *once_drained = OnceDrained::Stay;
                    out.push(Action::Drained);
                }
                OnceDrained::Stay => {}
            }
        }
    }
}

impl fmt::Debug for Connection {
    /// Omits the waiting messages, which may contain session keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("dialect", &self.peer.dialect())
            .field("phase", &self.phase)
            .field("session", &self.session)
            .field("in_flight", &self.in_flight)
            .field("open_questions", &self.open_questions())
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Limits {
    fn of(config: &Config) -> Self {
        Self {
            concurrency: config.concurrency.get(),
            running: config.concurrency.get(),
            waiting_messages: config.max_queued_messages.get(),
            waiting_bytes: config.max_queued_bytes,
            ignored_in_a_row: config.max_ignored_in_a_row.get(),
            drain_timeout: config.drain_timeout.into(),
            questions: config.max_open_questions.get(),
            question_timeout: config.question_timeout.into(),
            keeps_histories: config.keeps_histories,
            keeps_outcomes: config.keeps_outcomes,
        }
    }
}
