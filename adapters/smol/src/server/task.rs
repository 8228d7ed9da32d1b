//! The task of one connection: carries frames, answers and time between socket, machine, handlers.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, Stream};
use smol::Timer;
use wwr::server::{self, Action, Misuse, RequestError, RequestId, SessionEvent, SignalId};
use wwr::{Actions, Instant, Payload, Session, SessionInfo};

use super::connection::{Connection, Input, SessionError};
use super::handler::Handler;
use super::hub::{Arrival, Hub};
use crate::clock::{Clock, sleep};
use crate::websocket::{Incoming, WebSocket};

/// How many messages are taken from a busy socket before what they caused is written.
const BATCH: usize = 256;

/// The task of one connection.
pub(super) struct Task<H> {
    hub: Arc<Hub>,
    handler: Arc<H>,
    connection: Connection,
    machine: server::Connection,
    out: Actions<Action>,
    socket: WebSocket,
    /// Whether the socket may be read: not before the hook for new connections is done.
    reading: bool,
    /// What was taken from others and from the client since the last flush.
    taken: usize,
    handlers: FuturesUnordered<BoxFuture<'static, Done>>,
    timer: Timer,
    timer_at: Option<Instant>,
    creating: Option<oneshot::Sender<Result<Session, SessionError>>>,
    closing: Option<oneshot::Sender<Result<bool, SessionError>>>,
    patience: Patience,
}

/// How long a connection that ends waits for others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the client to answer the close frame.
    pub(super) close: Duration,
    /// For handlers that run on after the client has gone.
    pub(super) drain: Duration,
}

/// A handler that has ended.
enum Done {
    Connected,
    Request(RequestId, Result<Payload, RequestError>),
    Signal(SignalId),
}

/// What a task waits for.
enum Wake {
    Input(Input),
    Done(Done),
    Incoming(Incoming),
    Timeout,
    /// The socket takes nothing more.
    Broken,
    /// The server gives the connection up.
    Aborted,
}

/// How a connection ends.
enum End {
    /// By the server, with a close frame.
    Closed(server::CloseReason),
    /// The socket is gone.
    Gone,
    /// The server has no patience left: neither for the client nor for handlers.
    Aborted,
}

impl<H: Handler> Task<H> {
    pub(super) fn new(
        hub: Arc<Hub>,
        handler: Arc<H>,
        connection: Connection,
        config: &server::Config,
        dialect: wwr::Dialect,
        socket: WebSocket,
        patience: Patience,
    ) -> Self {
        let mut out = Actions::new();
        let machine = server::Connection::accept(config, dialect, hub.clock.now(), &mut out);
        Self {
            hub,
            handler,
            connection,
            machine,
            out,
            socket,
            reading: false,
            taken: 0,
            handlers: FuturesUnordered::new(),
            timer: Timer::never(),
            timer_at: None,
            creating: None,
            closing: None,
            patience,
        }
    }

    /// Serves the connection until it ends.
    pub(super) async fn run(mut self, arrival: Arrival) {
        self.hub.enter(self.connection.clone());
        drop(arrival);
        tracing::debug!(connection = self.connection.id(), "connected");
        self.start_connected();
        let end = self.serve().await;
        self.machine.handle_disconnect(&mut self.out);
        while let Some(action) = self.out.pop() {
            if let Action::Session(command) = action {
                self.hub.handle(self.connection.connection_id(), command);
            }
        }
        self.connection.ended();
        self.creating = None;
        self.closing = None;
        match end {
            End::Closed(reason) => {
                tracing::debug!(connection = self.connection.id(), ?reason, "closed");
                self.socket.close(reason.code(), reason.text(), self.patience.close).await;
            }
            End::Gone => {
                tracing::debug!(connection = self.connection.id(), "gone");
                drop(self.socket);
                finish(self.handlers, self.patience.drain).await;
            }
            End::Aborted => {
                tracing::warn!(connection = self.connection.id(), "given up");
                drop((self.socket, self.handlers));
            }
        }
        caught(self.handler.disconnected(&self.connection), "disconnected").await;
        self.hub.leave(&self.connection);
    }

    async fn serve(&mut self) -> End {
        loop {
            if let Some(end) = self.carry_out().await {
                return end;
            }
            self.rearm();
            match poll_fn(|cx| self.poll_wake(cx)).await {
                Wake::Broken => return End::Gone,
                Wake::Aborted => return End::Aborted,
                Wake::Input(input) => self.take_input(input),
                Wake::Done(done) => self.take_done(done),
                Wake::Incoming(Incoming::Message(frame)) => self.take_message(frame),
                Wake::Incoming(Incoming::Control) => {}
                Wake::Incoming(Incoming::Closed) => {
                    // Writes the answer to the close frame, if there was one. Bounded by the
                    // stall timeout; whether the client still takes it does not matter.
                    let _ = poll_fn(|cx| self.socket.poll_flush(cx)).await;
                    return End::Gone;
                }
                Wake::Incoming(Incoming::Failed(error)) => {
                    tracing::debug!(connection = self.connection.id(), %error, "socket failed");
                    return End::Gone;
                }
                Wake::Timeout => {
                    self.timer_at = None;
                    let now = self.hub.clock.now();
                    self.machine.handle_timeout(now, &mut self.out);
                }
            }
        }
    }

    /// Waits for what comes first. Writes only when nothing else is ready, so that everything that
    /// was caused by one read leaves in one write.
    ///
    /// While the client leaves what it was sent unread, nothing is taken that would be answered:
    /// neither its messages nor signals for it. They wait where they are bounded.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if self.connection.inbox().poll_closed(cx).is_ready() {
            return Poll::Ready(Wake::Aborted);
        }
        if let Poll::Ready(Some(done)) = Pin::new(&mut self.handlers).poll_next(cx) {
            return Poll::Ready(Wake::Done(done));
        }
        if Pin::new(&mut self.timer).poll(cx).is_ready() {
            return Poll::Ready(Wake::Timeout);
        }
        let takes = self.socket.is_writable() && self.taken < BATCH;
        if takes && let Poll::Ready(wake) = self.poll_sources(cx) {
            self.taken += 1;
            return Poll::Ready(wake);
        }
        if let Err(error) = std::task::ready!(self.socket.poll_flush(cx)) {
            tracing::debug!(connection = self.connection.id(), %error, "cannot write");
            return Poll::Ready(Wake::Broken);
        }
        self.taken = 0;
        if !takes {
            // There may be more to take: come back after others had a turn.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// What others and the client want.
    fn poll_sources(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if let Poll::Ready(input) = self.connection.inbox().poll_take(cx) {
            return Poll::Ready(Wake::Input(input));
        }
        if self.reading && self.machine.wants_input() {
            return self.socket.poll_incoming(cx).map(Wake::Incoming);
        }
        Poll::Pending
    }

    /// Does what the machine wants done.
    async fn carry_out(&mut self) -> Option<End> {
        while let Some(action) = self.out.pop() {
            match action {
                Action::Send(frame) => {
                    if let Err(error) = self.socket.feed(frame) {
                        tracing::debug!(connection = self.connection.id(), %error, "cannot send");
                        return Some(End::Gone);
                    }
                }
                Action::Request(request) => {
                    let (handler, connection) = (self.handler.clone(), self.connection.clone());
                    self.start(async move {
                        let work = handler.request(&connection, request.content);
                        let result = caught(work, "request").await;
                        Done::Request(request.id, result.unwrap_or(Err(RequestError::Internal)))
                    })
                    .await;
                }
                Action::Signal(signal) => {
                    let (handler, connection) = (self.handler.clone(), self.connection.clone());
                    self.start(async move {
                        caught(handler.signal(&connection, signal.content), "signal").await;
                        Done::Signal(signal.id)
                    })
                    .await;
                }
                Action::Session(command) => {
                    self.hub.handle(self.connection.connection_id(), command);
                }
                Action::SessionEvent(event) => self.take_session_event(event),
                Action::Close(reason) => return Some(End::Closed(reason)),
            }
        }
        None
    }

    /// Starts a handler. One that is ready at once is done right here.
    async fn start(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        let mut work = work.boxed();
        match poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx))).await {
            Poll::Ready(done) => self.take_done(done),
            Poll::Pending => self.handlers.push(work),
        }
    }

    fn start_connected(&self) {
        let (handler, connection) = (self.handler.clone(), self.connection.clone());
        self.handlers.push(Box::pin(async move {
            caught(handler.connected(&connection), "connected").await;
            Done::Connected
        }));
    }

    fn take_message(&mut self, frame: Bytes) {
        self.machine.handle_message(self.hub.clock.now(), frame, &mut self.out);
    }

    fn take_done(&mut self, done: Done) {
        let result = match done {
            Done::Connected => {
                self.reading = true;
                Ok(())
            }
            Done::Request(id, result) => self.machine.reply(id, result, &mut self.out),
            Done::Signal(id) => self.machine.signal_handled(id, &mut self.out),
        };
        if let Err(error) = result {
            tracing::debug!(connection = self.connection.id(), %error, "a handler ended too late");
        }
    }

    fn take_input(&mut self, input: Input) {
        let now = self.hub.clock.now();
        match input {
            Input::Signal { name, payload } => {
                if let Err(error) = self.machine.signal(&name, &payload, &mut self.out) {
                    tracing::debug!(connection = self.connection.id(), %error, "signal dropped");
                }
            }
            Input::CreateSession { info, done } => match self.create_session(info) {
                Ok(()) => self.creating = Some(done),
                Err(error) => answer(Some(done), Err(error)),
            },
            Input::CloseSession { done } => match self.machine.close_session(&mut self.out) {
                Ok(true) => self.closing = Some(done),
                Ok(false) => answer(Some(done), Ok(false)),
                Err(misuse) => answer(Some(done), Err(SessionError::Misuse(misuse))),
            },
            Input::Session(outcome) => {
                self.machine.handle_session(now, outcome, &mut self.out);
                self.connection.show_session(self.machine.session());
            }
            Input::Close => self.machine.close(now, &mut self.out),
            Input::ShutDown => self.machine.shut_down(now, &mut self.out),
        }
    }

    fn create_session(&mut self, info: SessionInfo) -> Result<(), SessionError> {
        let key = std::panic::catch_unwind(AssertUnwindSafe(|| self.hub.keys.generate()))
            .map_err(|_| SessionError::NoKey)?
            .map_err(|error| {
                tracing::error!(%error, "no session key");
                SessionError::NoKey
            })?;
        self.machine
            .create_session(key, Clock::unix_now(), info, &mut self.out)
            .map_err(SessionError::Misuse)
    }

    fn take_session_event(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Created => {
                let session = self.machine.session().cloned();
                let session = session.ok_or(SessionError::Misuse(Misuse::SessionBusy));
                answer(self.creating.take(), session);
            }
            SessionEvent::CreateFailed => answer(self.creating.take(), Err(SessionError::Store)),
            SessionEvent::Restored => {}
            SessionEvent::Closed => answer(self.closing.take(), Ok(true)),
            SessionEvent::CloseFailed => answer(self.closing.take(), Err(SessionError::Store)),
        }
    }

    /// Sets the timer if the machine's deadline has moved.
    fn rearm(&mut self) {
        let next = self.machine.next_timeout();
        if next == self.timer_at {
            return;
        }
        self.timer_at = next;
        match next.and_then(|instant| self.hub.clock.moment(instant)) {
            Some(moment) => self.timer.set_at(moment),
            None => self.timer = Timer::never(),
        }
    }
}

/// Runs something of the application; nothing if it panics.
async fn caught<T>(work: impl Future<Output = T>, what: &str) -> Option<T> {
    let result = AssertUnwindSafe(work).catch_unwind().await;
    if result.is_err() {
        tracing::error!("the handler for \"{what}\" panicked");
    }
    result.ok()
}

/// Lets handlers run on whose client has gone.
async fn finish(handlers: FuturesUnordered<BoxFuture<'static, Done>>, patience: Duration) {
    if handlers.is_empty() {
        return;
    }
    let mut handlers = handlers;
    let all = poll_fn(|cx| {
        loop {
            match Pin::new(&mut handlers).poll_next(cx) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    let patience = async {
        sleep(patience).await;
        tracing::warn!("handlers of an ended connection take too long and are dropped");
    };
    smol::future::or(all, patience).await;
}

/// Answers a caller, who may have lost interest.
fn answer<T>(waiting: Option<oneshot::Sender<T>>, value: T) {
    if let Some(waiting) = waiting {
        let _ = waiting.send(value);
    }
}
