//! The task of a client: carries calls, frames and time between application, machine and socket.

mod hearing;

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use wwr::client::{self, Action, Discovered, QuestionId, RequestId};
use wwr::preflight::ProbeFailed;
use wwr::{Actions, CloseFrame, Instant, Payload};

use super::answers::{Answered, Answering};
use super::dial::{Opened, Probed, Reached, Target};
use super::error::{ConnectError, Error};
use super::event::Event;
use super::handle::{Answer, Call, CallId, Input, Shared};
use super::http::Failure;
use crate::clock::{Clock, Timer};
use crate::runtime::{Runtime, Stream as _};
use crate::websocket::{Incoming, WebSocket};

/// How many inputs are taken before their output is written.
const BATCH: usize = 256;

pub(super) struct Task<R: Runtime> {
    runtime: R,
    target: Target<R>,
    clock: Clock,
    machine: client::Client,
    out: Actions<Action>,
    shared: Arc<Shared>,
    link: Link<R>,
    /// Sockets that are no longer used, until the server has closed them, too.
    closings: FuturesUnordered<BoxFuture<'static, ()>>,
    /// The callers that wait for that.
    closing: Vec<Answer<()>>,
    /// How many inputs were taken since the last flush.
    taken: usize,
    calls: HashMap<RequestId, (CallId, Answer<Result<Payload, Error>>)>,
    ids: HashMap<CallId, RequestId>,
    connecting: Vec<Answer<Result<(), ConnectError>>>,
    answering: Answering,
    /// What the system or the server said about the failed attempt.
    cause: Option<Arc<str>>,
    /// Where the preflight of this attempt reached the server.
    reached: Option<Box<Reached>>,
    timer: Timer<R::Timer>,
    /// The status that the application sees.
    shown: client::Status,
    /// The `Discovered` that the application sees.
    shown_discovered: Discovered,
}

/// The connection to the server.
enum Link<R: Runtime> {
    None,
    Probing(BoxFuture<'static, Probed>),
    Dialing(BoxFuture<'static, Result<Opened<R>, Failure>>),
    Open(Box<WebSocket<R>>),
}

/// What the task waits for.
enum Wake<R: Runtime> {
    Input(Input),
    Probed(Probed),
    Dialed(Result<Opened<R>, Failure>),
    Incoming(Incoming),
    /// A question of the server has an answer.
    Answered(QuestionId, Answered),
    /// The machine's deadline has passed. Holds what the server had sent by then, or the next part.
    Timeout(Option<Incoming>),
    /// The socket accepts nothing more.
    Broken,
}

impl<R: Runtime> Task<R> {
    pub(super) fn new(
        runtime: R,
        target: Target<R>,
        clock: Clock,
        machine: client::Client,
        shared: Arc<Shared>,
        answering: Answering,
    ) -> Self {
        let timer = Timer::new(runtime.timer());
        Self {
            runtime,
            target,
            clock,
            shown: machine.status(),
            shown_discovered: machine.discovered().clone(),
            machine,
            out: Actions::new(),
            shared,
            link: Link::None,
            closings: FuturesUnordered::new(),
            closing: Vec::new(),
            taken: 0,
            calls: HashMap::new(),
            ids: HashMap::new(),
            connecting: Vec::new(),
            answering,
            cause: None,
            reached: None,
            timer,
        }
    }

    /// Serves the application until it has dropped all handles.
    pub(super) async fn run(mut self) {
        loop {
            self.carry_out();
            self.timer.set(self.machine.next_timeout(), &self.clock);
            match poll_fn(|cx| self.poll_wake(cx)).await {
                Wake::Input(Input::End) => break,
                Wake::Input(input) => self.take_input(input),
                Wake::Probed(probed) => self.probed(probed),
                Wake::Dialed(dialed) => self.dialed(dialed),
                Wake::Incoming(incoming) => self.take_incoming(incoming),
                Wake::Answered(id, answer) => {
                    self.machine.answer(self.clock.now(), id, answer, &mut self.out);
                }
                Wake::Broken => self.disconnected(),
                Wake::Timeout(incoming) => {
                    if let Some(incoming) = incoming {
                        self.take_incoming(incoming);
                    }
                    self.machine.handle_timeout(self.clock.now(), &mut self.out);
                }
            }
        }
        self.machine.close(self.clock.now(), &mut self.out);
        self.carry_out();
        self.end();
        while self.closings.next().await.is_some() {}
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake<R>> {
        if self.timer.poll(cx).is_ready() {
            return Poll::Ready(Wake::Timeout(self.hear(cx)));
        }
        self.poll_closings(cx);
        if self.taken < BATCH
            && let Poll::Ready(wake) = self.poll_sources(cx)
        {
            self.taken += 1;
            return Poll::Ready(wake);
        }
        let (enough, full) = (self.taken >= BATCH, !self.link.is_writable());
        self.taken = 0;
        if let Link::Open(socket) = &mut self.link
            && let Poll::Ready(Err(error)) = socket.poll_flush(cx)
        {
            tracing::debug!(url = %self.target.url, %error, "cannot write");
            return Poll::Ready(Wake::Broken);
        }
        if enough || full && self.link.is_writable() {
            // There may be more input: come back after other tasks had a turn.
            R::Stream::give_way(cx);
        }
        Poll::Pending
    }

    /// Returns the input of the application and the server, in turns.
    fn poll_sources(&mut self, cx: &mut Context<'_>) -> Poll<Wake<R>> {
        type Source<R> = fn(&mut Task<R>, &mut Context<'_>) -> Poll<Wake<R>>;
        // At most as many as the server has asked questions since.
        if let Poll::Ready((id, answer)) = self.answering.poll(self.link.is_writable(), cx) {
            return Poll::Ready(Wake::Answered(id, answer));
        }
        let sources: [Source<R>; 2] = if self.taken & 1 == 0 {
            [Self::poll_input, Self::poll_link]
        } else {
            [Self::poll_link, Self::poll_input]
        };
        let [first, second] = sources;
        match first(self, cx) {
            Poll::Ready(wake) => Poll::Ready(wake),
            Poll::Pending => second(self, cx),
        }
    }

    /// Returns the input of the application. Not while the server reads nothing, unless the client
    /// is to close.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Wake<R>> {
        if self.link.is_writable() || self.shared.inbox.poll_urgent(cx) {
            self.shared.inbox.poll_take(cx).map(Wake::Input)
        } else {
            Poll::Pending
        }
    }

    /// Returns the input of the server. The task reads even while the server does not: the server
    /// may be waiting for that.
    fn poll_link(&mut self, cx: &mut Context<'_>) -> Poll<Wake<R>> {
        match &mut self.link {
            Link::None => Poll::Pending,
            Link::Probing(probe) => probe.as_mut().poll(cx).map(Wake::Probed),
            Link::Dialing(dial) => dial.as_mut().poll(cx).map(Wake::Dialed),
            Link::Open(socket) => {
                let incoming = socket.poll_incoming(cx);
                // A part of a message is a sign of life as well.
                if socket.was_active() && incoming.is_pending() {
                    self.machine.handle_activity(self.clock.now());
                }
                incoming.map(Wake::Incoming)
            }
        }
    }

    fn poll_closings(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some(())) = self.closings.poll_next_unpin(cx) {}
        if self.closings.is_empty() {
            for answer in self.closing.drain(..) {
                let _ = answer.send(());
            }
        }
    }

    /// Carries out the actions of the machine.
    fn carry_out(&mut self) {
        self.show_state();
        while let Some(action) = self.out.pop() {
            match action {
                Action::Probe => {
                    (self.cause, self.reached) = (None, None);
                    self.shared.show_preflight_status(None);
                    self.target.has_session = self.machine.session().is_some();
                    self.link =
                        Link::Probing(Box::pin(self.target.clone().probe(self.runtime.clone())));
                }
                Action::Dial => {
                    self.target.has_session = self.machine.session().is_some();
                    let dial = self.target.clone().dial(self.runtime.clone(), self.reached.take());
                    self.link = Link::Dialing(Box::pin(dial));
                }
                Action::Send(frame) => {
                    if let Link::Open(socket) = &mut self.link
                        && let Err(error) = socket.feed(frame)
                    {
                        tracing::debug!(url = %self.target.url, %error, "cannot send");
                        self.disconnected();
                    }
                }
                Action::Ping => {
                    if let Link::Open(socket) = &mut self.link
                        && let Err(error) = socket.ping()
                    {
                        tracing::debug!(url = %self.target.url, %error, "cannot ping");
                        self.disconnected();
                    }
                }
                Action::Hangup => self.part(CloseFrame::NORMAL),
                Action::Done { id, outcome } => self.done(id, outcome),
                Action::Event(event) => self.tell(event),
            }
        }
    }

    /// Drops the connection to the server. A socket goes through its close handshake in the
    /// background.
    fn part(&mut self, frame: CloseFrame) {
        if let Some(socket) = self.take_socket() {
            self.closings.push(Box::pin(socket.close(frame, self.target.close_timeout)));
        }
    }

    fn take_socket(&mut self) -> Option<Box<WebSocket<R>>> {
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Open(socket) => Some(socket),
            Link::None | Link::Probing(_) | Link::Dialing(_) => None,
        }
    }

    fn show_state(&mut self) {
        let discovered = self.machine.discovered();
        if self.shown_discovered != *discovered {
            self.shown_discovered.clone_from(discovered);
            self.shared.show_discovered(discovered);
        }
        let status = self.machine.status();
        if self.shown != status {
            self.shown = status;
            self.shared.show_status(status);
        }
    }

    fn done(&mut self, id: RequestId, outcome: client::Outcome) {
        if let Some((call, answer)) = self.calls.remove(&id) {
            self.ids.remove(&call);
            self.count();
            // The caller may have dropped its future.
            let _ = answer.send(outcome.map_err(Error::Request));
        }
    }

    fn count(&self) {
        self.shared.pending.store(self.calls.len(), Ordering::Relaxed);
    }

    fn tell(&mut self, event: client::Event) {
        // First the state, then the listeners, then the callers: when one of them is woken, the
        // earlier ones are up to date.
        self.show_state();
        let now = self.clock.now();
        let in_time = |at: Option<Instant>| at.map(|at| at.saturating_since(now));
        if changes_session(&event) {
            self.shared.show_session(self.machine.session());
        }
        let event = match event {
            client::Event::Connected => {
                let dialect = self.machine.dialect();
                tracing::debug!(url = %self.target.url, %dialect, "connected");
                Event::Connected
            }
            client::Event::Disconnected { reason, retry } => {
                Event::Disconnected { reason, retry_in: in_time(retry) }
            }
            client::Event::ConnectFailed { error: kind, retry } => {
                let error = ConnectError::Failed { kind, cause: self.cause.take() };
                Event::ConnectFailed { error, retry_in: in_time(retry) }
            }
            client::Event::Signal(content) => Event::Signal(content),
            client::Event::Question(question) => {
                return self.answering.start(question.id, question.content);
            }
            client::Event::QuestionCancelled(id) => return self.answering.cancel(id),
            client::Event::SessionCreated(session) => Event::SessionCreated(session),
            client::Event::SessionUpdated(session) => Event::SessionUpdated(session),
            client::Event::SessionRestored(session) => Event::SessionRestored(session),
            client::Event::SessionClosed => Event::SessionClosed,
            client::Event::SessionLost(loss) => Event::SessionLost(loss),
            client::Event::SignalsResumed { missed } => Event::SignalsResumed { missed },
            client::Event::SignalGap { from, to } => Event::SignalGap { from, to },
            client::Event::Anomaly(anomaly) => {
                tracing::debug!(url = %self.target.url, ?anomaly, "anomaly of the server");
                return;
            }
            // Of a newer core, which this adapter does not know yet.
            other => {
                tracing::debug!(url = %self.target.url, event = ?other, "event without a meaning here");
                return;
            }
        };
        self.shared.audience.tell(&event);
        match event {
            Event::Connected => self.answer_connecting(&Ok(())),
            Event::ConnectFailed { error, .. } => self.answer_connecting(&Err(error)),
            _ => {}
        }
    }

    fn answer_connecting(&mut self, result: &Result<(), ConnectError>) {
        for answer in self.connecting.drain(..) {
            let _ = answer.send(result.clone());
        }
    }

    fn take_input(&mut self, input: Input) {
        let now = self.clock.now();
        match input {
            Input::Connect(answer) => {
                self.machine.connect(now, &mut self.out);
                if self.machine.status() == client::Status::Connected {
                    let _ = answer.send(Ok(()));
                } else {
                    self.connecting.retain(|waiting| !waiting.is_canceled());
                    self.connecting.push(answer);
                }
            }
            // Cancelled before it was handled.
            Input::Call { answer, .. } if answer.is_canceled() => {}
            Input::Call { id, call, timeout, answer } => self.call(now, id, call, timeout, answer),
            Input::Cancel(id) => {
                if let Some(request) = self.ids.get(&id) {
                    self.machine.cancel(*request, &mut self.out);
                }
            }
            Input::Signal { name, payload, answer } => {
                let sent = self.machine.signal(now, &name, &payload, &mut self.out);
                let _ = answer.send(sent);
            }
            Input::Close(answer) => {
                self.machine.close(now, &mut self.out);
                self.carry_out();
                self.answer_connecting(&Err(ConnectError::Closed));
                self.closing.push(answer);
            }
            Input::End => {}
        }
    }

    fn call(
        &mut self,
        now: Instant,
        call_id: CallId,
        call: Call,
        timeout: Option<Duration>,
        answer: Answer<Result<Payload, Error>>,
    ) {
        let machine = &mut self.machine;
        let made = match call {
            Call::Request(name, payload) => {
                machine.request(now, name, payload, timeout, &mut self.out)
            }
            Call::Idempotent(name, payload) => {
                machine.request_idempotent(now, name, payload, timeout, &mut self.out)
            }
            Call::Restore(key) => machine.restore_session(now, key, timeout, &mut self.out),
            Call::CloseSession => machine.close_session(now, timeout, &mut self.out),
        };
        match made {
            Ok(id) => {
                self.calls.insert(id, (call_id, answer));
                self.ids.insert(call_id, id);
                self.count();
            }
            Err(misuse) => {
                let _ = answer.send(Err(Error::Misuse(misuse)));
            }
        }
    }

    fn probed(&mut self, probed: Probed) {
        self.link = Link::None;
        self.reached = probed.reached;
        if let Some(promise) = probed.promise {
            self.machine.expect_accept_conf(promise);
        }
        let status = probed.answer.as_ref().ok().map(|answer| answer.status);
        self.shared.show_preflight_status(status);
        if let Some(refusal) = probed.refusal {
            tracing::debug!(url = %self.target.url, %refusal, "the preflight was refused");
            self.cause = Some(refusal.to_string().into());
        }
        let mut is_of_proxy = false;
        let answer = probed.answer.map_err(|error| {
            tracing::debug!(url = %self.target.url, %error, "the preflight failed");
            self.cause = Some(error.to_string().into());
            is_of_proxy = error.is_of_proxy();
            ProbeFailed
        });
        let now = self.clock.now();
        if is_of_proxy {
            return self.machine.handle_proxy_refused(now, &mut self.out);
        }
        self.machine.handle_probed(now, answer, &mut self.out);
    }

    fn dialed(&mut self, dialed: Result<Opened<R>, Failure>) {
        let now = self.clock.now();
        match dialed {
            Ok(Opened { socket, agreed }) => {
                self.cause = None;
                self.link = Link::Open(socket);
                self.machine.handle_opened(now, agreed, &mut self.out);
            }
            Err(error) => {
                tracing::debug!(url = %self.target.url, %error, "the WebSocket was not opened");
                self.cause = Some(error.to_string().into());
                self.link = Link::None;
                match error {
                    error if error.is_of_proxy() => {
                        self.machine.handle_proxy_refused(now, &mut self.out);
                    }
                    Failure::Refused { status, retry_after, .. } => {
                        self.machine.handle_refused(now, status, retry_after, &mut self.out);
                    }
                    #[cfg(feature = "rustls")]
                    Failure::Tls(_) => self.machine.handle_disconnect(now, &mut self.out),
                    Failure::Io(_)
                    | Failure::Handshake(_)
                    | Failure::SpeaksTls
                    | Failure::NotHttp(_)
                    | Failure::HeadTooLarge
                    | Failure::Http(_)
                    | Failure::Request(_)
                    | Failure::Randomness(_)
                    | Failure::Ended => self.machine.handle_disconnect(now, &mut self.out),
                }
            }
        }
    }

    /// The server has closed the WebSocket, with a close frame or without.
    fn closed(&mut self, frame: Option<CloseFrame>) {
        if let Some(socket) = self.take_socket() {
            // Answer the close frame of the server.
            self.closings.push(Box::pin(socket.finish(self.target.close_timeout)));
        }
        match frame {
            Some(frame) => {
                let (url, code, reason) = (&self.target.url, frame.code(), frame.reason());
                tracing::debug!(%url, code, ?reason, "closed by the server");
                self.machine.handle_closed(self.clock.now(), frame, &mut self.out);
            }
            None => self.disconnected(),
        }
    }

    fn disconnected(&mut self) {
        self.link = Link::None;
        self.machine.handle_disconnect(self.clock.now(), &mut self.out);
    }

    /// Ends all calls and events of the application.
    fn end(&self) {
        self.shared.show_status(client::Status::Closed);
        self.shared.inbox.close();
        self.shared.audience.end();
    }
}

impl<R: Runtime> Drop for Task<R> {
    /// The executor may end before the application does.
    fn drop(&mut self) {
        // In order, so that callers wake in the same order each time.
        let calls: BTreeMap<_, _> = std::mem::take(&mut self.calls).into_iter().collect();
        drop(calls);
        self.answering.stop();
        self.count();
        self.end();
    }
}

/// Returns whether the session may change with an event.
const fn changes_session(event: &client::Event) -> bool {
    !matches!(
        event,
        client::Event::Connected
            | client::Event::Disconnected { .. }
            | client::Event::ConnectFailed { .. }
            | client::Event::Signal(_)
            | client::Event::Question(_)
            | client::Event::QuestionCancelled(_)
            | client::Event::Anomaly(_)
    )
}

impl<R: Runtime> Link<R> {
    fn is_writable(&self) -> bool {
        match self {
            Self::Open(socket) => socket.is_writable(),
            Self::None | Self::Probing(_) | Self::Dialing(_) => true,
        }
    }
}
