//! The client as its application and its host see it.

use alloc::boxed::Box;
use core::time::Duration;

use bytes::Bytes;

use super::action::{Action, DisconnectReason, Event, Outcome};
use super::backoff::Backoff;
use super::config::Config;
use super::discovery::{Discovered, Discovery};
use super::error::{Misuse, RequestError};
use super::heartbeat::Heartbeat;
use super::inbound::is_same;
use super::link::{Link, Status};
use super::liveness::{LivenessCheck, Silence};
use super::questions::Questions;
use super::recovery::Recovery;
use super::requests::{Call, Kept, Purpose, RequestId, Requests};
use crate::actions::Actions;
use crate::dialect::{Dialect, Pongs};
use crate::handshake::SubProtocol;
use crate::session::{InvalidSession, Session, SessionKey};
use crate::time::Instant;
use crate::valid::Valid;
use crate::wire::{Encoder, Name, Payload, check_signal};

/// A deadline that no clock reaches: a computed one that saturated.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

/// How session objects are read: [`Session::from_json`], or in the same way by a reader of JSON that the host has.
pub type SessionReader = fn(&[u8]) -> Result<Session, InvalidSession>;

/// The message is longer than the server reads. Both lengths are in bytes.
pub(super) struct TooLarge {
    length: usize,
    buffer: usize,
}

/// A client of one server. The [module](super) has the contract.
#[derive(Debug)]
pub struct Client {
    pub(super) config: Valid<Config>,
    pub(super) link: Link,
    pub(super) discovery: Discovery,
    /// The heartbeats of the present connection, if its server wants any.
    pub(super) heartbeat: Option<Heartbeat>,
    /// The liveness check of the present connection, if the client checks its server.
    pub(super) liveness: Option<LivenessCheck>,
    pub(super) session: Option<Session>,
    /// How session objects are read.
    pub(super) reader: SessionReader,
    /// The key of the session of an earlier run that was not resumed yet. Not with `session`.
    pub(super) earlier: Option<SessionKey>,
    pub(super) requests: Requests,
    pub(super) questions: Questions,
    pub(super) recovery: Recovery,
    pub(super) backoff: Backoff,
    /// The latest time seen.
    now: Instant,
}

/// What the application does.
impl Client {
    /// Creates a client that does nothing yet. `seed` spreads reconnecting clients over time. It
    /// only has to differ between them.
    pub fn new(config: &Valid<Config>, seed: u64) -> Self {
        Self::with_reader(config, seed, Session::from_json)
    }

    /// As [`new`](Self::new), with another way to read the session objects that the server sends than
    /// [`Session::from_json`]: for a host that has a reader of JSON, and is to be small.
    pub fn with_reader(config: &Valid<Config>, seed: u64, reader: SessionReader) -> Self {
        let backoff = Backoff::new(
            config.initial_backoff,
            config.max_backoff,
            config.backoff_reset_after,
            seed,
        );
        Self {
            config: config.clone(),
            link: Link::Idle,
            discovery: Discovery::new(),
            heartbeat: None,
            liveness: None,
            session: None,
            reader,
            earlier: None,
            requests: Requests::new(),
            questions: Questions::new(),
            recovery: Recovery::default(),
            backoff,
            now: Instant::EPOCH,
        }
    }

    /// Starts to connect. While the client waits before another attempt, tries at once. Otherwise a
    /// no-op.
    ///
    /// This also turns automatic reconnection on again after [`close`](Self::close).
    pub fn connect(&mut self, now: Instant, out: &mut Actions<Action>) {
        self.advance(now);
        match self.link {
            Link::Idle | Link::Closed | Link::Waiting { .. } => self.attempt(out),
            Link::Probing { .. }
            | Link::Dialing { .. }
            | Link::AwaitingConf { .. }
            | Link::Resuming(_)
            | Link::Ready { .. } => {}
        }
    }

    /// Reports that the network is back, the device has woken up, or somebody looks at the application again.
    ///
    /// While the client waits before another attempt to connect, that attempt comes as early as it may: not within
    /// [`Config::initial_backoff`] after the last one failed or the connection was lost, and not before the time
    /// that the server has named.
    ///
    /// While there is a connection, it may have ended without a word. The client pings the server, which has 5 s for
    /// its answer if it has answered pings before, or less by [`Config::pings`]. A host that [cannot
    /// ping](Config::can_ping) sends a heartbeat instead, so that the system finds out; the server is then given up
    /// as soon as one request runs out of time with nothing heard, and at once if the client was silent for so long
    /// that the server has closed the connection by its own rule (protocol §4.6).
    ///
    /// Otherwise a no-op. Hand over what the socket has ready before this call.
    pub fn wake(&mut self, now: Instant, out: &mut Actions<Action>) {
        let now = self.advance(now);
        match &mut self.link {
            Link::Waiting { earliest, .. } if *earliest <= now => self.attempt(out),
            Link::Waiting { until, earliest } => *until = (*until).min(*earliest),
            Link::Resuming(_) | Link::Ready { .. } => self.doubt_server(out),
            Link::Idle
            | Link::Probing { .. }
            | Link::Dialing { .. }
            | Link::AwaitingConf { .. }
            | Link::Closed => {}
        }
    }

    /// Makes a request. It is sent at once if the connection is ready. While the client connects,
    /// or waits to try again, it is queued until the connection is ready, in the order of the
    /// calls.
    ///
    /// `timeout` covers waiting for the connection and for the reply; `None` is the default of the
    /// [`Config`].
    ///
    /// # Errors
    ///
    /// [`Misuse::EmptyRequest`], [`Misuse::NotConnected`] before `connect` and after `close`,
    /// [`Misuse::TooManyRequests`], [`Misuse::QueueFull`], [`Misuse::TooLarge`] if the server does
    /// not read messages of that length. Nothing is sent or kept then. If a queued request turns
    /// out to be too large, its outcome is [`RequestError::TooLarge`].
    pub fn request(
        &mut self,
        now: Instant,
        name: Name,
        payload: Payload,
        timeout: Option<Duration>,
        out: &mut Actions<Action>,
    ) -> Result<RequestId, Misuse> {
        self.advance(now);
        if name.is_empty() && payload.is_empty() {
            return Err(Misuse::EmptyRequest);
        }
        self.submit(Call::Request { name, payload }, timeout, out)
    }

    /// Cancels a request: its outcome is [`RequestError::Cancelled`]. The server is not told,
    /// because the protocol has no message for that. A no-op if the request already has an outcome.
    pub fn cancel(&mut self, id: RequestId, out: &mut Actions<Action>) {
        if self.requests.remove(id).is_some() {
            done(id, Err(RequestError::Cancelled), out);
            self.release_queued(out);
        }
    }

    /// Sends a signal. Signals are never queued.
    ///
    /// # Errors
    ///
    /// [`Misuse::NotConnected`] if the connection is not ready, [`Misuse::UnreadableSignal`] if the
    /// server would not read it (protocol §1.4).
    pub fn signal(
        &mut self,
        now: Instant,
        name: &Name,
        payload: &Payload,
        out: &mut Actions<Action>,
    ) -> Result<(), Misuse> {
        self.advance(now);
        if !matches!(self.link, Link::Ready { .. }) {
            return Err(Misuse::NotConnected);
        }
        check_signal(self.dialect(), self.message_buffer(), name, payload)?;
        let frame = out.encoder.signal(name, payload);
        self.transmit(frame, out);
        if let Some(liveness) = &mut self.liveness {
            liveness.signalled();
        }
        Ok(())
    }

    /// Holds the session of `key`, which an earlier run of the application has kept. The next connection
    /// resumes it before anything else, as after a loss: [`Event::SessionRestored`] or
    /// [`Event::SessionLost`] says how that ended. Until then, [`session`](Self::session) is `None`.
    ///
    /// # Errors
    ///
    /// [`Misuse::SessionHeld`] if the client holds a session or is restoring one,
    /// [`Misuse::Connected`] if the connection is ready: [`restore_session`](Self::restore_session) asks the
    /// server then.
    ///
    /// ```
    /// use wwr::client::{Client, Misuse};
    /// use wwr::{SessionKey, Valid};
    ///
    /// let mut client = Client::new(&Valid::default(), 7);
    /// let key = SessionKey::new("kept by the last run")?;
    /// client.resume_session(key.clone())?;
    /// assert_eq!(client.session_key(), Some(&key));
    /// assert_eq!(client.resume_session(key), Err(Misuse::SessionHeld));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn resume_session(&mut self, key: SessionKey) -> Result<(), Misuse> {
        match self.link {
            _ if self.holds_or_restores() => Err(Misuse::SessionHeld),
            Link::Ready { .. } => Err(Misuse::Connected),
            _ => {
                self.forget_place();
                self.earlier = Some(key);
                Ok(())
            }
        }
    }

    /// Asks the server for the session of `key`. Queued like a [request](Self::request) if
    /// necessary.
    ///
    /// On success [`Event::SessionRestored`] precedes the outcome, which carries the session as
    /// JSON. If that JSON is not a valid session, the outcome is [`RequestError::InvalidSession`].
    /// A success that comes after the request was cancelled or timed out causes the event alone:
    /// the server then holds the session on this connection.
    ///
    /// # Errors
    ///
    /// [`Misuse::SessionHeld`] if the client holds a session or is restoring one; otherwise as for
    /// a request.
    pub fn restore_session(
        &mut self,
        now: Instant,
        key: SessionKey,
        timeout: Option<Duration>,
        out: &mut Actions<Action>,
    ) -> Result<RequestId, Misuse> {
        self.advance(now);
        if self.holds_or_restores() {
            return Err(Misuse::SessionHeld);
        }
        self.submit(Call::Restore(key), timeout, out)
    }

    /// Closes the session.
    ///
    /// The client asks the server if the server may know the session on this connection. It forgets
    /// the session when the server agrees, and keeps it when the server does not. If that request
    /// has to wait because the session is just being resumed or restored, it waits like any other.
    /// Without a connection the client forgets the session at once and sends nothing. Without a
    /// session nothing happens. In both cases the outcome is an empty reply.
    ///
    /// # Errors
    ///
    /// [`Misuse::TooManyRequests`], [`Misuse::QueueFull`].
    pub fn close_session(
        &mut self,
        now: Instant,
        timeout: Option<Duration>,
        out: &mut Actions<Action>,
    ) -> Result<RequestId, Misuse> {
        self.advance(now);
        let known_to_server = match self.link {
            Link::Ready { .. } => self.has_session_to_close(),
            Link::Resuming(_) => true,
            Link::Idle
            | Link::Probing { .. }
            | Link::Dialing { .. }
            | Link::AwaitingConf { .. }
            | Link::Waiting { .. }
            | Link::Closed => self.requests.is_restoring(),
        };
        if known_to_server {
            return self.submit(Call::Close, timeout, out);
        }
        let id = self.requests.next_id();
        self.end_session(out);
        done(id, Ok(Payload::EMPTY), out);
        Ok(id)
    }

    /// Ends the connection, or the attempts to get one. Queued requests end as
    /// [`RequestError::NotSent`], sent ones as [`RequestError::ConnectionLost`]. The session is kept
    /// and resumed after the next [`connect`](Self::connect).
    pub fn close(&mut self, now: Instant, out: &mut Actions<Action>) {
        self.advance(now);
        let link = core::mem::replace(&mut self.link, Link::Closed);
        match link {
            Link::Idle | Link::Waiting { .. } | Link::Closed => {}
            Link::Probing { .. }
            | Link::Dialing { .. }
            | Link::AwaitingConf { .. }
            | Link::Resuming(_) => {
                out.push(Action::Hangup);
            }
            Link::Ready { .. } => {
                out.push(Action::Hangup);
                let reason = DisconnectReason::Closed;
                out.push(Action::Event(Event::Disconnected { reason, retry: None }));
            }
        }
        self.backoff.reset();
        self.keep_or_end_sent(false, out);
        self.end_queued(out);
        self.end_questions(out);
    }
}

/// What the host asks for.
impl Client {
    /// Returns when to call [`handle_timeout`](Self::handle_timeout) next. `None` if only a call
    /// can change anything.
    pub fn next_timeout(&self) -> Option<Instant> {
        let heartbeat = self.live_heartbeat().map(Heartbeat::deadline);
        let liveness = self.active_liveness().map(LivenessCheck::due);
        let deadlines = [self.link.deadline(), self.requests.next_deadline(), heartbeat, liveness];
        deadlines.into_iter().flatten().min().filter(|deadline| *deadline != NEVER)
    }

    /// Returns the state of the client.
    pub const fn status(&self) -> Status {
        self.link.status()
    }

    /// Returns what the server speaks on this connection, or spoke on the latest one.
    /// [`Unknown`](Dialect::Unknown) from the beginning of an attempt until the version is known.
    pub const fn dialect(&self) -> Dialect {
        self.discovery.found.dialect
    }

    /// Returns which sub-protocol the host offers with the [`Action::Probe`] or [`Action::Dial`] that it
    /// carries out, in the header [`SubProtocol::HEADER`] (protocol §10.1). With `None`, the host does not send
    /// that header. It only changes for hosts that [need a selection](Config::needs_selection).
    pub fn offers(&self) -> Option<SubProtocol> {
        self.config.offers().filter(|_| !self.config.needs_selection || self.is_offering())
    }

    /// Returns what is known of the server, even if the server turned out not to suit.
    pub const fn discovered(&self) -> &Discovered {
        &self.discovery.found
    }

    /// Returns the session that the client holds, with or without a connection.
    pub const fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Returns the key of the session that the client holds, also if it was not
    /// [resumed](Self::resume_session) yet. A program that keeps it can resume the session in its next run.
    pub fn session_key(&self) -> Option<&SessionKey> {
        self.session.as_ref().map(|session| &session.key).or(self.earlier.as_ref())
    }

    /// Returns how many requests have no outcome yet, queued or sent.
    pub fn pending_requests(&self) -> usize {
        self.requests.len()
    }

    /// Returns how many bytes of requests wait for a connection.
    pub const fn queued_bytes(&self) -> usize {
        self.requests.queued_bytes()
    }
}

/// Requests, from the call to the outcome.
impl Client {
    /// Records the time and returns the one that counts: the clock of a client does not run
    /// backwards.
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// Sends or queues.
    pub(super) fn submit(
        &mut self,
        call: Call,
        timeout: Option<Duration>,
        out: &mut Actions<Action>,
    ) -> Result<RequestId, Misuse> {
        let queues = match self.link {
            Link::Idle | Link::Closed => return Err(Misuse::NotConnected),
            // What is to be repeated comes first.
            Link::Ready { .. } => self.requests.has_repeats(),
            Link::Probing { .. }
            | Link::Dialing { .. }
            | Link::AwaitingConf { .. }
            | Link::Resuming(_)
            | Link::Waiting { .. } => true,
        };
        if self.requests.remembered() >= self.config.max_pending_requests {
            return Err(Misuse::TooManyRequests);
        }
        if let (false, Err(TooLarge { length, buffer })) = (queues, self.check_length(call.size()))
        {
            return Err(Misuse::TooLarge { length, buffer });
        }
        let queued_bytes = self.requests.queued_bytes().saturating_add(call.size());
        if queues && queued_bytes > self.config.max_queued_bytes {
            return Err(Misuse::QueueFull);
        }
        let deadline = self.now + timeout.unwrap_or(self.config.request_timeout);
        let id = self.requests.next_id();
        if queues {
            self.requests.queue(id, call, deadline);
        } else {
            self.send(id, call, deadline, out);
        }
        Ok(id)
    }

    pub(super) fn send(
        &mut self,
        id: RequestId,
        call: Call,
        deadline: Instant,
        out: &mut Actions<Action>,
    ) {
        let (frame, purpose) = match call {
            Call::Request { name, payload } => {
                (out.encoder.request(id.identifier(), &name, &payload), Purpose::Request)
            }
            call @ Call::Idempotent { .. } if !self.may_keep(&call) => {
                let Call::Idempotent { name, payload } = call else { return };
                return self.send(id, Call::Request { name, payload }, deadline, out);
            }
            Call::Idempotent { name, payload } => {
                let frame = out.encoder.idempotent_request(id.identifier(), &name, &payload);
                let (scope, is_repeated) = (self.kept_scope(), false);
                let kept = Kept { name, payload, deadline, scope, is_repeated };
                (frame, Purpose::Idempotent(Box::new(kept)))
            }
            Call::Restore(key) => {
                let frame = out.encoder.restore_session(id.identifier(), key.as_str().as_bytes());
                (frame, Purpose::Restore)
            }
            Call::Close => {
                let key = self.session.as_ref().map(|session| session.key.clone());
                (out.encoder.close_session(id.identifier()), Purpose::Close(key))
            }
        };
        self.requests.await_reply(id, purpose, deadline);
        if let Some(liveness) = &mut self.liveness {
            liveness.requested(id);
        }
        self.transmit(frame, out);
    }

    pub(super) fn transmit(&mut self, frame: Bytes, out: &mut Actions<Action>) {
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.sent(self.now);
        }
        out.push(Action::Send(frame));
    }

    /// Sends a heartbeat if one is due.
    pub(super) fn beat(&mut self, out: &mut Actions<Action>) {
        if self.live_heartbeat().is_none() {
            return;
        }
        if self.heartbeat.as_mut().is_some_and(|heartbeat| heartbeat.is_due(self.now)) {
            out.push(Action::Send(Encoder::heartbeat()));
        }
    }

    /// Returns the heartbeat, if there is a connection to keep alive.
    fn live_heartbeat(&self) -> Option<&Heartbeat> {
        self.heartbeat.as_ref().filter(|_| self.link.knows_version())
    }

    fn active_liveness(&self) -> Option<&LivenessCheck> {
        self.liveness.as_ref().filter(|_| self.link.knows_version())
    }

    /// Asks a server that may have gone meanwhile for a sign of life.
    fn doubt_server(&mut self, out: &mut Actions<Action>) {
        if self.check_expiry(out) {
            return;
        }
        let (now, waiting) = (self.now, self.oldest_waiting());
        match self.liveness.as_mut().map(|liveness| liveness.wake(now, waiting)) {
            None | Some(Silence::Bearable | Silence::TooLong) => {}
            Some(Silence::Ping) if self.config.can_ping => out.push(Action::Ping),
            Some(Silence::Ping) if self.live_heartbeat().is_some() => {
                self.transmit(Encoder::heartbeat(), out);
            }
            Some(Silence::Ping) => {}
        }
    }

    /// Gives the server up if the host has slept for so long that the server has closed the connection by its own rule,
    /// and did not hear of that. One that pings finds that out by asking. Returns whether it was given up.
    pub(super) fn check_expiry(&mut self, out: &mut Actions<Action>) -> bool {
        let (Some(heartbeat), Some(liveness)) = (self.live_heartbeat(), self.active_liveness())
        else {
            return false;
        };
        let lapsed = heartbeat.has_lapsed(self.now);
        let is_over =
            lapsed && !self.config.can_ping && !liveness.has_heard_since(heartbeat.expiry());
        if is_over {
            self.give_up_server(DisconnectReason::Silent, out);
        }
        is_over
    }

    /// Checks whether the server is still there.
    pub(super) fn check_liveness(&mut self, out: &mut Actions<Action>) {
        if self.active_liveness().is_none_or(|liveness| liveness.due() > self.now) {
            return;
        }
        let (now, waiting) = (self.now, self.oldest_waiting());
        let can_ping = self.config.can_ping;
        // A server whose pongs nobody sees might as well send none.
        let pongs = if can_ping { self.dialect().rules().pongs } else { Pongs::Never };
        match self.liveness.as_mut().map(|liveness| liveness.check(now, pongs, waiting)) {
            None | Some(Silence::Bearable) => {}
            Some(Silence::Ping) if can_ping => out.push(Action::Ping),
            Some(Silence::Ping) => {}
            Some(Silence::TooLong) => self.give_up_server(DisconnectReason::Silent, out),
        }
    }

    /// Returns the oldest request that waits for its reply. A resumption is one, too.
    pub(super) fn oldest_waiting(&self) -> Option<RequestId> {
        match &self.link {
            Link::Resuming(resumption) => Some(resumption.id),
            _ => self.requests.oldest_waiting(),
        }
    }

    /// Returns the longest message that the server reads, as advertised or stated, in bytes. It
    /// counts in the dialects that have such a limit.
    fn message_buffer(&self) -> usize {
        let conf = self.discovery.found.accept_conf.as_ref();
        let advertised = conf.map(|conf| conf.message_buffer_size);
        let least = if self.dialect().rules().states_limits { Dialect::MIN_STATED } else { 0 };
        let reads = advertised.map(|bytes| bytes.max(least));
        reads.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }

    /// Checks whether the server reads messages of this length, in bytes (protocol §4.6).
    pub(super) fn check_length(&self, length: usize) -> Result<(), TooLarge> {
        let buffer = self.message_buffer();
        if self.dialect().rules().bounded_by_buffer && length > buffer {
            return Err(TooLarge { length, buffer });
        }
        Ok(())
    }

    /// Sends everything that waited for the connection, except what waited too long.
    pub(super) fn send_queued(&mut self, out: &mut Actions<Action>) {
        self.end_expired(out);
        while let Some((id, call, deadline)) = self.requests.take_queued() {
            if let Err(TooLarge { length, buffer }) = self.check_length(call.size()) {
                done(id, Err(RequestError::TooLarge { length, buffer }), out);
                continue;
            }
            match call {
                Call::Close if !self.has_session_to_close() => done(id, Ok(Payload::EMPTY), out),
                Call::Close | Call::Request { .. } | Call::Idempotent { .. } | Call::Restore(_) => {
                    self.send(id, call, deadline, out);
                }
            }
        }
    }

    fn holds_or_restores(&self) -> bool {
        let resuming = matches!(self.link, Link::Resuming(_));
        self.session_key().is_some() || resuming || self.requests.is_restoring()
    }

    /// Takes this session in place of the one that is held, and returns that.
    pub(super) fn hold(&mut self, session: Session) -> Option<Session> {
        let keeps_place = match (&self.session, &self.earlier) {
            (Some(before), _) => is_same(before, &session),
            (None, Some(earlier)) => *earlier == session.key,
            (None, None) => false,
        };
        if !keeps_place {
            self.forget_place();
        }
        self.earlier = None;
        self.session.replace(session)
    }

    /// Returns whether the client holds a session, or has asked for one that may be on its way.
    fn has_session_to_close(&self) -> bool {
        self.session.is_some() || self.requests.may_restore()
    }

    /// Forgets the session, if the client holds one, and returns whether it did.
    pub(super) fn end_session(&mut self, out: &mut Actions<Action>) -> bool {
        let held = self.session.take().is_some() | self.earlier.take().is_some();
        self.forget_place();
        if held {
            out.push(Action::Event(Event::SessionClosed));
        }
        held
    }

    pub(super) fn end_expired(&mut self, out: &mut Actions<Action>) {
        while let Some((id, sent)) = self.requests.take_expired(self.now) {
            if let (true, Some(liveness)) = (sent, &mut self.liveness) {
                liveness.timed_out(self.now, id);
            }
            done(id, Err(RequestError::TimedOut { sent }), out);
        }
    }

    pub(super) fn end_queued(&mut self, out: &mut Actions<Action>) {
        while let Some((id, _, _)) = self.requests.take_queued() {
            done(id, Err(RequestError::NotSent), out);
        }
    }
}

pub(super) fn done(id: RequestId, outcome: Outcome, out: &mut Actions<Action>) {
    out.push(Action::Done { id, outcome });
}
