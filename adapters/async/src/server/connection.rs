//! The application's view of a connection.

mod error;
mod info;
mod session;
mod signals;

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_channel::oneshot;
use wwr::server::{CloseReason, IdleConnections, RecoveryNews};
use wwr::session::{ConnectionId, Outcome};
use wwr::{CloseFrame, Dialect, Instant, InvalidCloseFrame, Session, SessionInfo, SlowReader};

use super::ask::{AskId, Asked};
use super::context::Data;
use super::counts::Counts;
use super::edit::SessionEdit;
use super::handle::ServerHandle;
use super::hub::Hub;
#[cfg(feature = "inspect")]
use super::recorder::{About, Direction, Recorder};
use super::slow_reader::Policy;
use super::stats::{ConnectionStats, Load, Traffic};
use crate::clock::{Clock, Timer};
use crate::inbox::{Inbox, Refused};
use crate::panics::caught_async;
use crate::runtime;

pub use error::{SessionError, SignalError};
pub use info::{ConnectionInfo, TlsInfo, TlsVersion};
pub(super) use signals::Outgoing;

/// The deadline of a server that does not shut down.
const NO_SHUTDOWN: u64 = u64::MAX;

/// One connected client, as the application sees it. Cheap to clone, and equal to its clones only. It may
/// be kept and used from any task, even after the connection has ended.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

/// Why a connection has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// The server closed it. [`CloseReason::frame`] is the close frame that the client got.
    ByServer(CloseReason),
    /// The client closed it, with this close frame.
    ByClient(CloseFrame),
    /// The client broke the rules of WebSocket, and got this close frame (RFC 6455 §7.4.1).
    Violated(CloseFrame),
    /// The network failed, the client ended the connection without a close frame, or it read
    /// nothing of what was sent to it for the [stall timeout](super::Limits::stall_timeout).
    Lost,
    /// A shutdown of the server took too long.
    Aborted,
}

/// Messages to the task of a connection.
#[derive(Debug)]
pub(super) enum Input {
    Signal(Outgoing),
    Ask(Box<Asked>),
    CancelAsk(AskId),
    CreateSession {
        info: SessionInfo,
        done: oneshot::Sender<Result<Session, SessionError>>,
    },
    CloseSession {
        done: oneshot::Sender<Result<bool, SessionError>>,
    },
    EditSession {
        edit: Box<SessionEdit>,
        done: oneshot::Sender<Result<Session, SessionError>>,
    },
    /// News of the hub.
    Session(Outcome),
    /// News of the hub about histories and outcomes.
    Recovery(Box<RecoveryNews>),
    Close,
    CloseWith(CloseFrame),
    /// Its session is lost on this node.
    MoveAway,
    ShutDown {
        deadline: Instant,
        idle: IdleConnections,
    },
}

struct Shared {
    id: ConnectionId,
    hub: Arc<Hub>,
    info: ConnectionInfo,
    data: Data,
    reads: Reads,
    inbox: Inbox<Input>,
    counts: Counts,
    #[cfg(feature = "inspect")]
    recorder: Recorder,
    slow_reader: Policy,
    open: AtomicBool,
    /// Until when handlers may run during a shutdown: nanoseconds of an [`Instant`].
    shut_down_by: AtomicU64,
    aborted: AtomicBool,
    last_ask: AtomicU64,
    state: Mutex<State>,
}

/// The changing state of a connection that the application sees.
#[derive(Default)]
struct State {
    session: Option<Session>,
    ended: Option<Box<End>>,
}

/// How a connection has ended.
struct End {
    why: Ended,
    /// The groups that it was in then.
    groups: Vec<String>,
}

/// What the client is known to read.
#[derive(Debug)]
pub(super) struct Reads {
    /// A [`Dialect`] as a number.
    dialect: AtomicU8,
    /// The longest message that it reads in bytes, if its dialect has such a limit.
    longest: AtomicUsize,
}

impl Reads {
    pub(super) const fn new(dialect: Dialect, longest: usize) -> Self {
        Self { dialect: AtomicU8::new(dialect as u8), longest: AtomicUsize::new(longest) }
    }

    fn longest(&self) -> usize {
        self.longest.load(Ordering::Relaxed)
    }

    fn dialect(&self) -> Dialect {
        let known = self.dialect.load(Ordering::Relaxed);
        let mut dialects = Dialect::ALL.into_iter();
        dialects.find(|dialect| *dialect as u8 == known).unwrap_or(Dialect::Unknown)
    }
}

impl Connection {
    pub(super) fn new(
        hub: Arc<Hub>,
        id: ConnectionId,
        info: ConnectionInfo,
        data: Data,
        reads: Reads,
        max_signal_backlog: usize,
        slow_reader: SlowReader,
    ) -> Self {
        let counts = Counts::new(hub.clock.now());
        let shared = Shared {
            id,
            hub,
            info,
            data,
            reads,
            inbox: Inbox::holding(max_signal_backlog),
            counts,
            #[cfg(feature = "inspect")]
            recorder: Recorder::default(),
            slow_reader: Policy::new(slow_reader),
            open: AtomicBool::new(true),
            shut_down_by: AtomicU64::new(NO_SHUTDOWN),
            aborted: AtomicBool::new(false),
            last_ask: AtomicU64::new(0),
            state: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns a number that no other connection of this server has or had.
    pub fn id(&self) -> u64 {
        self.shared.id.0
    }

    /// Returns the server of this connection.
    pub fn server(&self) -> ServerHandle {
        ServerHandle::new(self.shared.hub.clone(), self.shared.hub.address())
    }

    /// Returns when and from where the client connected.
    pub fn info(&self) -> &ConnectionInfo {
        &self.shared.info
    }

    /// Returns the value of this type that the application has handed on in
    /// [`before_upgrade`](super::Handler::before_upgrade), by
    /// [`ConnectionOptions::insert`](super::ConnectionOptions::insert). It is there as long as the
    /// connection is, also in [`disconnected`](super::Handler::disconnected).
    pub fn data<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.shared.data.get()
    }

    /// Returns what the client speaks, as far as that is known. A server of all versions learns it
    /// from a preflight before the connection, or from the first heartbeat on it (protocol §7.2).
    /// With clients of this project the handshake agrees on it (protocol §10.1).
    pub fn dialect(&self) -> Dialect {
        self.shared.reads.dialect()
    }

    /// Returns whether the connection serves. False as soon as it was told to close, or has ended.
    pub fn is_connected(&self) -> bool {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Returns what was exchanged on the connection so far, and what goes on. Cheap. The numbers are those
    /// of the last time at which the server wrote to the client: what the client has seen is in them, and
    /// a handler does not find itself in them. After the end, they stay.
    pub fn stats(&self) -> ConnectionStats {
        let now = self.shared.hub.clock.now();
        ConnectionStats {
            dialect: self.dialect(),
            age: self.info().connected_at.elapsed().unwrap_or_default(),
            silent_for: now.saturating_since(self.shared.counts.last_heard()),
            traffic: self.traffic(),
            load: self.load(),
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        let mut traffic = self.shared.counts.traffic();
        traffic.signals_dropped = self.dropped_signals();
        traffic
    }

    pub(super) fn load(&self) -> Load {
        let mut load = self.shared.counts.load();
        load.queued_bytes += self.shared.inbox.queued_bytes();
        load
    }

    /// Returns whether something waits for the client that its socket did not accept, for the inspection page.
    #[cfg(feature = "inspect")]
    pub(crate) fn is_behind(&self) -> bool {
        self.shared.counts.unsent() > 0
    }

    /// The counters, for the task of the connection.
    /// Calls a hook of the application. One that panics just ends; it is counted, and the log names it.
    pub(super) async fn call_hook<F: Future<Output = ()>>(
        &self,
        hook: &'static str,
        call: impl FnOnce() -> F,
    ) {
        if let Err(panic) = caught_async(call).await {
            self.counts().panicked();
            tracing::error!(connection = self.id(), hook, %panic, "a hook panicked");
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.shared.counts
    }

    /// The recorder of the messages, for the inspection page.
    #[cfg(feature = "inspect")]
    pub(crate) fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Counts a message that came, and keeps it while somebody looks.
    pub(super) fn note_received(&self, frame: &[u8]) {
        self.counts().received(frame.len());
        #[cfg(feature = "inspect")]
        self.shared.recorder.record(Direction::Received, frame, || self.about());
    }

    /// The same for a message to the client.
    pub(super) fn note_sent(&self, frame: &[u8]) {
        self.counts().sent(frame.len());
        #[cfg(feature = "inspect")]
        self.shared.recorder.record(Direction::Sent, frame, || self.about());
    }

    /// What the recorder has to know of the connection.
    #[cfg(feature = "inspect")]
    fn about(&self) -> About {
        About { dialect: self.dialect(), secret: self.session_key() }
    }

    /// Returns why the connection has ended; `None` before that. For example in the
    /// [`disconnected`](super::Handler::disconnected) hook.
    pub fn ended(&self) -> Option<Ended> {
        self.state().ended.as_ref().map(|end| end.why.clone())
    }

    /// Closes the connection once its running handlers have ended and their replies are sent.
    /// Meanwhile new requests of the client are refused. The session is kept for the client to
    /// restore. Calling it again does nothing.
    pub fn close(&self) {
        if self.is_connected() {
            self.close_by(Input::Close);
        }
    }

    /// Like [`close`](Self::close), with a code and a reason for the client (RFC 6455 §7.4). The
    /// codes 4000 to 4999 are for applications. A client may know codes after which it does not
    /// reconnect. Does nothing if the connection is already closing.
    ///
    /// ```
    /// use wwr_async::server::Connection;
    ///
    /// fn ban(connection: &Connection) -> Result<(), wwr_async::InvalidCloseFrame> {
    ///     connection.close_with(4003, "banned")
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidCloseFrame`] if the code is outside of 1000 to 1003, 1007 to 1013 and 3000 to 4999,
    /// or the reason has more than 123 bytes of UTF-8. Then the connection stays open.
    pub fn close_with(
        &self,
        code: u16,
        reason: impl Into<String>,
    ) -> Result<(), InvalidCloseFrame> {
        let frame = CloseFrame::new(code, reason)?;
        if self.is_connected() {
            self.close_by(Input::CloseWith(frame));
        }
        Ok(())
    }

    /// Closes the connection by one of the close messages.
    pub(super) fn close_by(&self, input: Input) {
        self.shared.open.store(false, Ordering::Release);
        // An error means that it has ended already.
        let _ = self.push(input, 0);
    }

    /// Records a shutdown of the server: handlers may not run beyond the deadline, even if the
    /// client has gone before.
    pub(super) fn shut_down_by(&self, deadline: Instant, idle: IdleConnections) {
        self.shared.shut_down_by.fetch_min(deadline.as_nanos(), Ordering::AcqRel);
        self.close_by(Input::ShutDown { deadline, idle });
        self.shared.inbox.wake();
    }

    /// Drops the connection, whatever it is doing.
    pub(super) fn abort(&self) {
        self.shared.aborted.store(true, Ordering::Release);
        self.shared.inbox.close();
    }

    /// Becomes ready once the connection is to be dropped. For its task.
    pub(super) fn poll_aborted(&self, cx: &Context<'_>) -> Poll<()> {
        self.shared.inbox.register(cx);
        if self.shared.aborted.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Waits until handlers may not run any more: for `drain`, or less if the server shuts down. For the
    /// task of the connection.
    pub(super) async fn overdue<T: runtime::Timer>(
        &self,
        drain: Duration,
        timer: &mut Timer<T>,
        clock: &Clock,
    ) {
        let drained_by = clock.now() + drain;
        poll_fn(|cx| {
            self.shared.inbox.register(cx);
            let shut_down_by = self.shared.shut_down_by.load(Ordering::Acquire);
            let deadline = drained_by.min(Instant::from_nanos(shut_down_by));
            if deadline <= clock.now() {
                return Poll::Ready(());
            }
            timer.set(Some(deadline), clock);
            timer.poll(cx)
        })
        .await;
    }

    pub(super) fn next_ask(&self) -> AskId {
        self.shared.last_ask.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn push(&self, input: Input, bytes: usize) -> Result<(), Refused> {
        self.shared.inbox.push(input, bytes)
    }

    pub(super) fn inbox(&self) -> &Inbox<Input> {
        &self.shared.inbox
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.shared.hub
    }

    pub(super) fn connection_id(&self) -> ConnectionId {
        self.shared.id
    }

    /// Records what the client has turned out to speak.
    pub(super) fn show_dialect(&self, dialect: Dialect) {
        self.shared.reads.dialect.store(dialect as u8, Ordering::Relaxed);
    }

    /// Records what the client has stated to read, in bytes.
    pub(super) fn show_longest(&self, bytes: u32) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.shared.reads.longest.store(bytes, Ordering::Relaxed);
    }

    /// Shows the application the session of the machine.
    pub(super) fn show_session(&self, session: Option<&Session>) {
        self.state().session = session.cloned();
    }

    /// Returns the groups that the connection was in when it ended, once it has.
    pub(super) fn last_groups(&self) -> Option<Vec<String>> {
        self.state().ended.as_ref().map(|end| end.groups.clone())
    }

    /// Records why the connection has ended, and the groups that it was in. The first reason counts. The connection accepts no
    /// more messages.
    pub(super) fn end(&self, why: Ended, groups: Vec<String>) {
        self.shared.open.store(false, Ordering::Release);
        let mut state = self.state();
        state.ended.get_or_insert_with(|| Box::new(End { why, groups }));
        drop(state);
        self.shared.inbox.close();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Connection {}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, info) = (self.id(), self.info());
        f.debug_struct("Connection").field("id", &id).field("info", info).finish_non_exhaustive()
    }
}
