//! The task of one connection: carries frames, answers and time between socket, machine and
//! handlers.

mod actions;
mod asking;
mod changes;
mod closing;
mod handlers;
mod output;
mod rare;
#[cfg(test)]
mod tests;
pub(super) mod trace;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::future::or;
use futures_util::Stream;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use wwr::server::{self, Action, Misuse, RequestError, RequestId, SignalId};
use wwr::session::Change;
use wwr::{Actions, Content, Instant, Payload, Session, SessionInfo, SessionKey};

use super::connection::{Connection, Input, SessionError};
use super::edit::SessionEdit;
use super::endpoint::Endpoint;
use super::handler::Handler;
use super::hub::{Admission, Hub};
use crate::clock::Timer;
use crate::panics::{caught, caught_async};
use crate::runtime::{Runtime, Stream as _};
use crate::websocket::{Incoming, WebSocket, violation};
use actions::answer;
pub(super) use closing::CloseTimeouts;
use closing::End;
use handlers::{Handlers, Start};
use rare::Rare;
use trace::{Outcome, SessionSpan, Traced};

/// How many messages are taken from a busy socket before their output is written.
const BATCH: usize = 256;

/// The task of one connection.
pub(super) struct Task<'a, H, R: Runtime> {
    hub: Arc<Hub>,
    handler: &'a H,
    connection: &'a Connection,
    requests: Box<dyn Start<'a, Reply> + 'a>,
    signals: Box<dyn Start<'a, ()> + 'a>,
    machine: server::Connection,
    out: Actions<Action>,
    /// Whether the memory of `out` is in the pool, because the connection is idle.
    resting: bool,
    socket: WebSocket<R>,
    /// Whether the socket may be read: not before the hook for new connections has ended.
    reading: bool,
    /// Whether the machine is drained by a shutdown. The hook for new connections may still run.
    drained: bool,
    /// How many inputs were taken since the last flush.
    taken: usize,
    /// Whether it is the client's turn, if there is other input as well.
    clients_turn: bool,
    /// When the first of these inputs was taken. All of them count as taken then.
    now: Instant,
    /// Whether any of them came from the client.
    heard: bool,
    /// Bytes of signals that were fed since the last complete flush.
    fed_signals: usize,
    running: Running<'a>,
    /// Handlers that ended while the client did not read.
    held: VecDeque<Done>,
    timer: Timer<R::Timer>,
    rare: Option<Box<Rare>>,
    timeouts: CloseTimeouts,
    presumed: Option<Presumed>,
    /// Whether the hook knows a session that the connection holds.
    told: bool,
    session_span: SessionSpan,
}

/// The start values of a task.
pub(super) struct Opened<R: Runtime> {
    pub(super) machine: server::Connection,
    pub(super) out: Actions<Action>,
    pub(super) socket: WebSocket<R>,
    pub(super) timeouts: CloseTimeouts,
    /// What came from the client during the detection.
    pub(super) first: Option<Box<Incoming>>,
    pub(super) presumed: Option<Presumed>,
}

/// The client was presumed to be 1.x by this endpoint.
pub(super) struct Presumed(pub(super) Arc<Endpoint>);

/// The handlers that run on a connection.
type Running<'a> = FuturesUnordered<BoxFuture<'a, Done>>;

type Reply = Result<Payload, RequestError>;

/// A handler that has ended.
enum Done {
    Connected,
    Request(RequestId, Reply, Option<Box<Traced>>),
    Signal(SignalId),
    SessionChange,
}

/// What a task waits for.
enum Wake {
    Input(Input),
    Done(Done),
    Incoming(Incoming),
    /// The machine's deadline has passed. Holds what the client had sent by then, or the next part.
    Timeout(Option<Incoming>),
    /// The socket accepts nothing more.
    Broken,
    /// The server drops the connection.
    Aborted,
}

impl<'a, H: Handler, R: Runtime> Task<'a, H, R> {
    pub(super) fn new(
        runtime: &R,
        hub: Arc<Hub>,
        handler: &'a H,
        connection: &'a Connection,
        opened: Opened<R>,
    ) -> Box<Self> {
        let Opened { machine, out, socket, timeouts, first, presumed } = opened;
        let requests = |content: Content| handler.request(connection, content);
        let signals = |content: Content| handler.signal(connection, content);
        // A future is as large as everything that is ever moved within it. So this is boxed.
        Box::new(Self {
            now: hub.clock.now(),
            hub,
            handler,
            connection,
            requests: Box::new(Handlers::new(requests)),
            signals: Box::new(Handlers::new(signals)),
            machine,
            out,
            resting: false,
            socket,
            reading: false,
            drained: false,
            taken: 0,
            clients_turn: false,
            heard: false,
            fed_signals: 0,
            running: Running::new(),
            held: VecDeque::new(),
            timer: Timer::new(runtime.timer()),
            rare: first.map(|first| Box::new(Rare { first: Some(first), ..Rare::default() })),
            timeouts,
            presumed,
            told: false,
            session_span: SessionSpan::default(),
        })
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self: Box<Self>, admission: Admission) {
        let open = Hub::open(admission, self.connection.clone());
        let (id, info) = (self.connection.id(), self.connection.info());
        let dialect = self.connection.dialect();
        tracing::debug!(%dialect, user_agent = ?info.user_agent, "connected");
        self.start_connected();
        let serve = poll_fn(|cx| self.poll_end(cx));
        let end = caught_async(|| serve).await.unwrap_or_else(|panic| {
            tracing::error!(connection = id, %panic, "serving panicked; the connection ends");
            End::Broken
        });
        self.detach(&end);
        let changes = self.changes_left();
        let (hub, handler, connection) = (self.hub.clone(), self.handler, self.connection);
        // Rare states do not take memory all the time.
        let closing = Box::pin(self.close(end));
        // In this order, both get their chance even if it is already too late.
        let aborted = poll_fn(|cx| connection.poll_aborted(cx));
        let closing = caught_async(|| or(closing, aborted));
        if let Err(panic) = closing.await {
            tracing::error!(connection = id, %panic, "a handler panicked when it was dropped");
        }
        let told = Box::pin(async {
            for change in changes {
                changes::tell(handler, connection, change).await;
            }
            connection.call_hook("disconnected", || handler.disconnected(connection)).await;
        });
        or(told, hub.stops()).await;
        drop(open);
    }

    /// Detaches the machine from its inputs, and leaves the session.
    fn detach(&mut self, end: &End) {
        self.leave_groups();
        self.drop_deferred();
        // Some actions may be left, if one before them has failed. The machine still holds what they tell of.
        self.carry_out_rest();
        self.hear_of_session();
        self.machine.handle_disconnect(&mut self.out);
        self.carry_out_rest();
        self.publish();
        // They may run on until the drain timeout.
        self.connection.counts().runs(self.running.len());
        let groups = self.rare.as_mut().map(|rare| std::mem::take(&mut rare.groups));
        self.connection.end(end.told(), groups.unwrap_or_default());
        if let Some(rare) = &mut self.rare {
            // The callers learn that the connection has ended. Whether a hook runs still matters.
            **rare = Rare { hooks: rare.hooks.take(), ..Rare::default() };
        }
    }

    /// Serves the connection. Ready when it has to end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        // After a flush that made room, the task has given way, and begins here.
        self.machine.handle_writable(self.socket.is_writable(), &mut self.out);
        loop {
            if let Some(end) = self.carry_out(cx) {
                return Poll::Ready(end);
            }
            let mut drained = false;
            if self.may_go_on() {
                if let Poll::Ready(incoming) = self.poll_incoming(cx) {
                    self.taken += 1;
                    if let Some(end) = self.take_incoming(incoming) {
                        return Poll::Ready(end);
                    }
                    continue;
                }
                drained = true;
            }
            self.timer.set(self.machine.next_timeout(), &self.hub.clock);
            let end = match ready!(self.poll_wake(drained, cx)) {
                Wake::Input(input) => {
                    self.take_input(input);
                    None
                }
                Wake::Done(done) => {
                    self.take_done(done);
                    None
                }
                Wake::Incoming(incoming) => self.take_incoming(incoming),
                Wake::Timeout(incoming) => {
                    let end = incoming.and_then(|incoming| self.take_incoming(incoming));
                    if end.is_none() {
                        self.take_timeout();
                    }
                    end
                }
                Wake::Broken => Some(End::Broken),
                Wake::Aborted => Some(End::Aborted),
            };
            if let Some(end) = end {
                return Poll::Ready(end);
            }
        }
    }

    /// Waits for the first input. Writes only when nothing else is ready, so that all output of one
    /// read leaves in one write.
    ///
    /// While the client does not read what it was sent, nothing is done that would need an answer:
    /// no message is read, no reply is composed, and signals are refused once too many wait. Signals that
    /// may be dropped or replaced by later ones wait in the inbox.
    ///
    /// `drained` says that the client was just polled.
    fn poll_wake(&mut self, drained: bool, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.resting {
            self.resting = false;
            output::take_up(&mut self.out);
        }
        if self.taken == 0 {
            self.now = self.hub.clock.now();
            self.heard = false;
        }
        if self.connection.poll_aborted(cx).is_ready() {
            return Poll::Ready(Wake::Aborted);
        }
        if let Poll::Ready(done) = self.poll_handlers(cx) {
            return Poll::Ready(Wake::Done(done));
        }
        if self.timer.poll(cx).is_ready() {
            // What was sent is read before the client is taken for silent, and so is the rest of
            // the batch, however long ago it began: a process can be stopped anywhere.
            self.now = self.hub.clock.now();
            if self.heard {
                self.machine.handle_activity(self.now);
            }
            self.socket.ask_kernel();
            let incoming = match self.poll_incoming(cx) {
                Poll::Ready(incoming) => Some(incoming),
                Poll::Pending => None,
            };
            return Poll::Ready(Wake::Timeout(incoming));
        }
        let writable = self.socket.is_writable();
        let takes = self.may_take();
        if takes && let Poll::Ready(wake) = self.poll_sources(drained, cx) {
            self.taken += 1;
            return Poll::Ready(wake);
        }
        self.taken = 0;
        self.requests.shrink();
        self.signals.shrink();
        self.publish();
        let was_stalled = self.socket.is_stalled();
        let flushed = match self.socket.poll_flush(cx) {
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "cannot write");
                return Poll::Ready(Wake::Broken);
            }
            flushed => flushed.is_ready(),
        };
        let unsent = if flushed { 0 } else { self.socket.unsent() };
        self.connection.counts().holds(unsent);
        if !was_stalled && self.socket.is_stalled() {
            self.connection.counts().stalled();
        }
        if self.fed_signals > 0 {
            self.fed_signals = if flushed { 0 } else { self.fed_signals };
            self.connection.inbox().hold(self.fed_signals.min(unsent));
        }
        if !takes || flushed && !writable {
            // There may be more input: come back after other tasks had a turn.
            R::Stream::give_way(cx);
        }
        self.resting = true;
        output::give_up(&mut self.out);
        Poll::Pending
    }

    /// Shows what was counted since the last time.
    fn publish(&mut self) {
        let counts = self.connection.counts();
        counts.add(&self.machine.take_counters());
        counts.runs(self.machine.running_handlers());
        if self.heard {
            counts.heard(self.now);
        }
    }

    /// Returns whether more input may be taken before the output is written.
    const fn may_take(&self) -> bool {
        self.taken < BATCH && !self.socket.wants_flush()
    }

    /// Returns whether the next message of the client may be taken before anything else is polled.
    /// That is so in the middle of a batch; everything else is polled before the task sleeps.
    fn may_go_on(&self) -> bool {
        self.taken > 0
            && self.may_take()
            && self.held.is_empty()
            && self.connection.inbox().is_quiet()
    }

    /// Returns the next handler that has ended, as soon as its reply may be sent.
    fn poll_handlers(&mut self, cx: &mut Context<'_>) -> Poll<Done> {
        let writable = self.socket.is_writable();
        if writable && let Some(done) = self.held.pop_front() {
            return Poll::Ready(done);
        }
        while let Poll::Ready(Some(done)) = Pin::new(&mut self.running).poll_next(cx) {
            if writable {
                return Poll::Ready(done);
            }
            self.held.push_back(done);
        }
        Poll::Pending
    }

    /// Returns the input of others and of the client, in turns if there is always more of both.
    /// `drained` says that the client was just polled.
    fn poll_sources(&mut self, drained: bool, cx: &mut Context<'_>) -> Poll<Wake> {
        let clients_turn = !drained && self.clients_turn;
        if clients_turn && let Poll::Ready(incoming) = self.poll_incoming(cx) {
            self.clients_turn = false;
            return Poll::Ready(Wake::Incoming(incoming));
        }
        if let Poll::Ready(input) =
            self.connection.inbox().poll_take_if(self.socket.is_writable(), cx)
        {
            self.clients_turn = true;
            return Poll::Ready(Wake::Input(input));
        }
        if drained || clients_turn {
            return Poll::Pending;
        }
        self.poll_incoming(cx).map(Wake::Incoming)
    }

    /// Returns the input of the client, if it may be taken. A part of a message is a sign of life
    /// as well.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if !self.may_read() || !self.machine.wants_input() {
            return Poll::Pending;
        }
        if self.rare.is_some()
            && let Some(first) = self.take_rare(|rare| rare.first.take())
        {
            return Poll::Ready(*first);
        }
        let incoming = self.socket.poll_incoming(cx);
        if self.socket.was_active() && incoming.is_pending() {
            self.machine.handle_activity(self.hub.clock.now());
        }
        incoming
    }

    /// Returns whether only the machine can keep the socket from being read. A hook that has asked the
    /// client something needs the answer; other messages wait in the machine until the client is connected.
    fn may_read(&self) -> bool {
        let reads = self.reading && !self.has_hooks();
        (reads || self.machine.open_questions() > 0) && self.socket.is_writable()
    }

    fn start_connected(&self) {
        let (handler, connection) = (self.handler, self.connection);
        self.running.push(Box::pin(async move {
            connection.call_hook("connected", || handler.connected(connection)).await;
            Done::Connected
        }));
    }

    fn take_incoming(&mut self, incoming: Incoming) -> Option<End> {
        let now = self.now;
        self.heard = true;
        match incoming {
            Incoming::Message(frame) => {
                self.connection.note_received(&frame);
                self.machine.handle_message(now, frame, &mut self.out);
            }
            Incoming::Text(frame) => {
                self.connection.note_received(&frame);
                self.machine.handle_text(now, frame, &mut self.out);
            }
            Incoming::Ping | Incoming::Pong => self.machine.handle_activity(now),
            Incoming::Closed(frame) => return Some(End::Left(frame)),
            Incoming::Failed(error) => {
                tracing::debug!(%error, "socket failed");
                return Some(violation(&error).map_or(End::Left(None), End::Violated));
            }
        }
        None
    }

    fn take_timeout(&mut self) {
        let now = self.hub.clock.now();
        if !self.may_read() {
            // A client that is not read is not silent.
            self.machine.handle_activity(now);
        }
        self.machine.handle_timeout(now, &mut self.out);
    }

    /// Handles the end of a handler. What it did before, such as sending signals, comes before its
    /// reply.
    fn take_done(&mut self, done: Done) {
        self.hear_others();
        match done {
            Done::Connected => {
                self.reading = true;
                self.release_messages();
                self.next_change();
                if self.drained {
                    self.hub.drained(self.connection.connection_id());
                }
            }
            Done::Request(id, reply, traced) => self.reply(id, reply, traced),
            Done::Signal(id) => self.signal_handled(id),
            Done::SessionChange => self.change_told(),
        }
    }

    /// Takes all input of others that has come by now.
    fn hear_others(&mut self) {
        for _ in 0..self.connection.inbox().len() {
            if let Some(input) = self.connection.inbox().take() {
                self.take_input(input);
            }
        }
    }

    /// Takes what has come about the session by now. Nobody is left for other input, nor for messages that have
    /// waited for it.
    fn hear_of_session(&mut self) {
        self.machine.hold_messages();
        for _ in 0..self.connection.inbox().len() {
            if let Some(outcome @ Input::Session(_)) = self.connection.inbox().take() {
                self.take_input(outcome);
                self.carry_out_rest();
            }
        }
    }

    fn reply(&mut self, id: RequestId, reply: Reply, traced: Option<Box<Traced>>) {
        let (outcome, before) = (traced.as_ref().map(|_| Outcome::of(&reply)), self.out.len());
        if let Err(error) = self.machine.reply(id, reply, &mut self.out) {
            self.note_late(&error);
        } else if let (Some(traced), Some(outcome)) = (traced, outcome) {
            let mut caused = self.out.iter().skip(before);
            let is_too_large = caused.any(|action| matches!(action, Action::ReplyTooLarge { .. }));
            traced.is(if is_too_large { Outcome::TooLarge } else { outcome });
        }
    }

    fn signal_handled(&mut self, id: SignalId) {
        if let Err(error) = self.machine.signal_handled(id, &mut self.out) {
            self.note_late(&error);
        }
    }

    fn note_late(&self, error: &dyn fmt::Display) {
        tracing::debug!(%error, "a handler ended too late; its reply is dropped");
    }

    fn take_input(&mut self, input: Input) {
        let now = self.hub.clock.now();
        match input {
            Input::Signal(signal) => {
                self.fed_signals += signal.len();
                if let Err(error) = signal.send(&mut self.machine, &mut self.out) {
                    tracing::debug!(%error, "signal dropped");
                }
            }
            Input::Ask(asked) => self.ask(*asked),
            Input::CancelAsk(id) => self.cancel_ask(id),
            Input::CreateSession { info, done } => match self.create_session(info) {
                Ok(()) => self.rare().creating = Some(done),
                Err(error) => answer(Some(done), Err(error)),
            },
            Input::CloseSession { done } => match self.machine.close_session(&mut self.out) {
                Ok(true) => self.rare().closing = Some(done),
                Ok(false) => answer(Some(done), Ok(false)),
                Err(misuse) => answer(Some(done), Err(SessionError::Misuse(misuse))),
            },
            Input::EditSession { edit, done } => match self.edit_session(*edit) {
                Ok(None) => self.rare().editing.push_back(done),
                Ok(Some(session)) => answer(Some(done), Ok(session)),
                Err(error) => answer(Some(done), Err(error)),
            },
            Input::Session(outcome) => {
                if outcome.change == Change::NotFound {
                    self.note_unknown_key();
                }
                self.machine.handle_writable(self.socket.is_writable(), &mut self.out);
                self.machine.handle_session(now, outcome, &mut self.out);
                self.connection.show_session(self.machine.session());
            }
            Input::Recovery(news) => {
                self.machine.handle_writable(self.socket.is_writable(), &mut self.out);
                self.machine.handle_recovery(now, *news, &mut self.out);
            }
            Input::Close => self.machine.close(now, &mut self.out),
            Input::CloseWith(frame) => self.machine.close_with(now, frame, &mut self.out),
            Input::MoveAway => self.machine.move_away(now, &mut self.out),
            Input::ShutDown { deadline, idle } => {
                self.machine.shut_down(now, deadline, idle, &mut self.out);
            }
        }
    }

    /// Logs that the client asked for an unknown session: it is old, or the key was guessed.
    fn note_unknown_key(&self) {
        if let Some(keys) = self.hub.unknown_keys.count(self.hub.clock.now()) {
            let (connection, remote) = (self.connection.id(), self.connection.info().remote_addr);
            tracing::info!(keys, connection, %remote, "unknown session keys; the last client is shown");
        }
    }

    fn create_session(&mut self, info: SessionInfo) -> Result<(), SessionError> {
        let key = self.session_key()?;
        self.machine
            .create_session(key, self.hub.clock.unix_now(), info, &mut self.out)
            .map(drop)
            .map_err(SessionError::Misuse)
    }

    /// Begins an edit. Returns the session at once if nothing is to be changed.
    fn edit_session(&mut self, edit: SessionEdit) -> Result<Option<Session>, SessionError> {
        let edit = edit.into_edit(self.hub.clock.unix_now(), || self.session_key())?;
        let Some(edit) = edit else {
            let session = self.machine.session().cloned();
            return session.ok_or(SessionError::Misuse(Misuse::NoSession)).map(Some);
        };
        let begun = self.machine.edit_session(edit, &mut self.out);
        begun.map(|_| None).map_err(SessionError::Misuse)
    }

    /// Makes a new session key.
    fn session_key(&self) -> Result<SessionKey, SessionError> {
        let connection = self.connection.id();
        caught(|| self.hub.keys.generate())
            .map_err(|panic| {
                tracing::error!(connection, %panic, "the generator of session keys panicked");
                SessionError::NoKey
            })?
            .map_err(|error| {
                tracing::error!(connection, %error, "no session key could be made");
                SessionError::NoKey
            })
    }
}
