//! The application's view of a connection.

mod error;
mod info;

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_channel::oneshot;
use serde::Serialize;
use wwr::server::{self, CloseReason, IdleConnections, Misuse};
use wwr::session::{ConnectionId, Outcome};
use wwr::wire::{InvalidName, check_signal};
use wwr::{
    Actions, CloseFrame, Dialect, Instant, InvalidCloseFrame, Name, Payload, PreparedSignal,
    Session, SessionInfo, SessionKey, SlowReader,
};

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
use crate::runtime;

pub use error::{SessionError, SignalError};
pub use info::{ConnectionInfo, TlsInfo, TlsVersion};

/// The deadline of a server that does not shut down.
const NO_SHUTDOWN: u64 = u64::MAX;

/// The close code for clients that read too slowly: try again later (IANA, RFC 6455 §7.4).
const TOO_SLOW: u16 = 1013;

/// What a waiting signal counts in addition to its own bytes.
const SIGNAL: usize = 16;

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
    Close,
    CloseWith(CloseFrame),
    ShutDown {
        deadline: Instant,
        idle: IdleConnections,
    },
}

/// A signal on its way to the client.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// For this client alone. The task encodes it, small ones together.
    Own(Name, Payload),
    /// For other connections, too.
    Prepared(PreparedSignal),
}

impl Outgoing {
    /// Returns about how many bytes it takes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Own(name, payload) => name.len() + payload.len(),
            Self::Prepared(signal) => signal.frame().len(),
        }
    }

    fn name(&self) -> &[u8] {
        match self {
            Self::Own(name, _) => name.as_bytes(),
            Self::Prepared(signal) => signal.name(),
        }
    }

    pub(super) fn send(
        &self,
        machine: &mut server::Connection,
        out: &mut Actions<server::Action>,
    ) -> Result<(), Misuse> {
        match self {
            Self::Own(name, payload) => machine.signal(name, payload, out),
            Self::Prepared(signal) => machine.signal_prepared(signal, out),
        }
    }
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

    /// Sends a signal. Signals are sent in the order of the calls, and before the reply of the
    /// handler that sends them. Returns at once: the signal waits in memory until the client reads
    /// it. To send many signals, wait for [`ready`](Self::ready) before each.
    ///
    /// A client that may speak 2.0 reads no message longer than the advertised buffer. A client of
    /// `wwr.1` reads no message longer than it has stated, which it does first of all. A client
    /// that may speak 1.x reads no signal without payload.
    ///
    /// # Errors
    ///
    /// [`SignalError`]. Then nothing was sent.
    pub fn signal<N>(&self, name: N, payload: impl Into<Payload>) -> Result<(), SignalError>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        let name = name.try_into().map_err(InvalidName::from)?;
        let payload = payload.into();
        check_signal(self.dialect(), self.shared.reads.longest(), &name, &payload)?;
        self.push_signal(Outgoing::Own(name, payload), None).map(drop)
    }

    /// Sends a signal of JSON. Like [`signal`](Self::signal) otherwise. To send one to many, make a
    /// [`PreparedSignal`] of [`Payload::json`] once.
    ///
    /// # Errors
    ///
    /// As for [`signal`](Self::signal), and [`SignalError::Unwritable`]. Then nothing was sent.
    pub fn signal_json<N, T>(&self, name: N, value: &T) -> Result<(), SignalError>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
        T: Serialize + ?Sized,
    {
        match Payload::json(value) {
            Ok(payload) => self.signal(name, payload),
            Err(error) => {
                let (connection, value) = (self.id(), std::any::type_name::<T>());
                tracing::error!(connection, value, %error, "a signal cannot be written and is not sent");
                Err(SignalError::Unwritable)
            }
        }
    }

    /// Like [`signal`](Self::signal), with a signal that was encoded before. All connections that
    /// send it share its memory, until it goes into their sockets. Its bytes still count for each
    /// client that reads too slowly.
    ///
    /// [`ServerHandle::signal_all`] and [`Group::signal_prepared`](super::Group::signal_prepared) do this for
    /// many connections. The results for any choice of connections can be collected into a
    /// [`Broadcast`](super::Broadcast).
    ///
    /// # Errors
    ///
    /// [`SignalError`], but not for the name. Then nothing was sent.
    pub fn signal_prepared(&self, signal: &PreparedSignal) -> Result<(), SignalError> {
        self.send_prepared(signal, None).map(drop)
    }

    /// Sends a signal to this connection among others. The policy is that of the signal, if it has one.
    /// Returns how many earlier signals were dropped or replaced for it.
    pub(super) fn send_prepared(
        &self,
        signal: &PreparedSignal,
        policy: Option<SlowReader>,
    ) -> Result<usize, SignalError> {
        signal.check(self.dialect(), self.shared.reads.longest())?;
        self.push_signal(Outgoing::Prepared(signal.clone()), policy)
    }

    /// Waits until the bytes that wait for the client are at most half of
    /// [`max_signal_backlog`](super::Limits::max_signal_backlog). Returns at once if that is so.
    /// The next signal is then accepted, whatever its size. Meanwhile the task writes what can be
    /// written.
    ///
    /// Waiting calls go on in the order in which they came. If several threads send to one client,
    /// another one may use the room before a signal is sent: the result is then
    /// [`SignalError::Backlogged`], and the caller can wait again.
    ///
    /// ```
    /// use wwr_async::server::RequestError;
    /// use wwr_async::{Content, Payload};
    /// use wwr_async::server::{Connection, Handler};
    ///
    /// struct Export;
    ///
    /// impl Handler for Export {
    ///     async fn request(&self, to: &Connection, _: Content) -> Result<Payload, RequestError> {
    ///         for part in 0..1000_u32 {
    ///             to.ready().await.map_err(|_| RequestError::Internal)?;
    ///             let sent = to.signal("part", vec![part as u8; 8192]);
    ///             sent.map_err(|_| RequestError::Internal)?;
    ///         }
    ///         Ok(Payload::utf8("that was all"))
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SignalError::Disconnected`] once the connection has ended. A client that does not read is
    /// disconnected after the [stall timeout](super::Limits::stall_timeout), so this waits no
    /// longer than that.
    pub async fn ready(&self) -> Result<(), SignalError> {
        Ok(self.shared.inbox.room().await?)
    }

    fn push_signal(
        &self,
        signal: Outgoing,
        policy: Option<SlowReader>,
    ) -> Result<usize, SignalError> {
        let bytes = signal.len() + SIGNAL;
        let policy = self.shared.slow_reader.of_signal(policy);
        let inbox = &self.shared.inbox;
        let pushed = match policy {
            SlowReader::Coalesce => {
                let name = Bytes::copy_from_slice(signal.name());
                inbox.push_signal(Input::Signal(signal), bytes, &name, policy)
            }
            // The others do not ask for the name.
            _ => inbox.push_signal(Input::Signal(signal), bytes, &[], policy),
        };
        if pushed == Err(Refused::Overflowed) {
            self.disconnect_slow();
        }
        Ok(pushed?)
    }

    /// Closes the connection because its client reads too slowly.
    #[cold]
    fn disconnect_slow(&self) {
        if self.shared.open.swap(false, Ordering::AcqRel) {
            tracing::debug!(
                connection = self.id(),
                setting = "limits.slow_readers",
                "too many signals wait for this client, which is disconnected"
            );
            let frame = CloseFrame::new(TOO_SLOW, "reads too slowly");
            self.close_by(frame.map_or(Input::Close, Input::CloseWith));
        }
    }

    /// Sets what happens to signals that wait for this client, for example because it reads too slowly.
    /// [`Coalesce`](SlowReader::Coalesce) replaces waiting signals also while there is room, and so for a
    /// fast client, too. The policy counts instead of what the [server](super::Limits::slow_readers) or a
    /// [group signal](super::Group::slow_readers) says; `None` ends that. It holds for the signals of
    /// later calls.
    pub fn set_slow_reader(&self, policy: impl Into<Option<SlowReader>>) {
        self.shared.slow_reader.set(policy.into());
    }

    /// Returns how many signals to this client were dropped or replaced by later ones while they waited:
    /// because it reads too slowly, or because several of one name were sent at once with
    /// [`Coalesce`](SlowReader::Coalesce). Those that were refused are not among them: their senders were told. Nor are those
    /// that wait when the connection ends.
    pub fn dropped_signals(&self) -> u64 {
        self.shared.inbox.dropped()
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

    /// Creates a session with this information, tells the client, and stores the session.
    ///
    /// Unless sessions are durable, an error of the store is only logged.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. Then there is no session.
    pub async fn create_session(&self, info: SessionInfo) -> Result<Session, SessionError> {
        self.change_session(|done| Input::CreateSession { info, done }).await
    }

    /// Closes the session of this connection and tells the client. If no other connection holds the
    /// session, it is destroyed. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. Then the session still exists.
    pub async fn close_session(&self) -> Result<bool, SessionError> {
        self.change_session(|done| Input::CloseSession { done }).await
    }

    /// Changes the session in one step, in the store and for its connections (protocol §5.13): its
    /// information, its key, or both, and whether other connections keep it. Returns the session as it is
    /// then. See [`SessionEdit`] for what can be changed. Each connection of the session calls
    /// [`session_changed`](super::Handler::session_changed), and its client is told unless only private
    /// fields have changed. An edit that changes nothing returns the session.
    ///
    /// Edits of one session happen one after another, for all its connections in the same order: the last one
    /// wins. Restorations of the session wait meanwhile. A client that is just not connected keeps the old key
    /// when there is a new one, and thus loses the session. Other servers that share the store do not hear of
    /// an edit: connections there keep what they have until they end.
    ///
    /// With a new key, the session is stored under that (with its new information), then the one of the old
    /// key is destroyed, then the connections are told, and the session is closed for the others if that is
    /// wanted. If this connection ends before the session of the old key is destroyed, and the others are not
    /// to keep it, nothing is changed. If it ends after that, the session is closed for the others and
    /// destroyed: nobody would have its key.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. Then nothing is changed for any connection: **all of them still hold the session**,
    /// with the old key and information, and nobody knows the new key. The exceptions are
    /// [`Disconnected`](SessionError::Disconnected) and [`Ended`](SessionError::Ended), after which other
    /// connections may get the change nevertheless. If somebody must not keep the session, close it
    /// ([`ServerHandle::close_session`](super::ServerHandle::close_session)).
    ///
    /// If the error is [`Store`](SessionError::Store), the store may have done its part nevertheless, for
    /// example if its answer came too late ([`HubConfig::store_timeout`](super::HubConfig::store_timeout)):
    ///
    /// * It may have the new information.
    /// * What it has under a new key is removed, unless storing it is what has failed. Then, and if the removal
    ///   fails, too, it is left to [expiry](super::HubConfig::expiry). Nobody knows that key.
    /// * It may have removed the session of the old key. Then the session is not stored any more: its
    ///   connections hold it until they end.
    ///
    /// Dropping the future does not undo the call.
    pub async fn edit_session(&self, edit: SessionEdit) -> Result<Session, SessionError> {
        self.change_session(|done| Input::EditSession { edit: Box::new(edit), done }).await
    }

    /// Replaces the information of the session: the same as
    /// [`edit_session`](Self::edit_session) with only [`SessionEdit::info`].
    ///
    /// ```
    /// use wwr_async::server::{Connection, RequestError};
    /// use wwr_async::{Payload, SessionInfo};
    ///
    /// async fn rename(connection: &Connection, name: &str) -> Result<Payload, RequestError> {
    ///     let session = connection.session();
    ///     let session = session.ok_or_else(|| RequestError::failed("NO_SESSION", "log in first"))?;
    ///     // What is not set here again is gone.
    ///     connection.update_session(session.info.public("name", name)).await?;
    ///     Ok(Payload::EMPTY)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`edit_session`](Self::edit_session).
    pub async fn update_session(&self, info: SessionInfo) -> Result<Session, SessionError> {
        self.edit_session(SessionEdit::new().info(info)).await
    }

    /// Returns a copy of the session, if the connection has one. Once the connection has
    /// [ended](Self::ended), the one that it had then: it is detached, and may have been closed or
    /// changed since.
    pub fn session(&self) -> Option<Session> {
        self.state().session.clone()
    }

    /// Returns the key of the [session](Self::session), if there is one.
    pub fn session_key(&self) -> Option<SessionKey> {
        self.state().session.as_ref().map(|session| session.key.clone())
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
        mut timer: Timer<T>,
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

    async fn change_session<T>(
        &self,
        input: impl FnOnce(oneshot::Sender<Result<T, SessionError>>) -> Input,
    ) -> Result<T, SessionError> {
        let (done, answer) = oneshot::channel();
        self.push(input(done), 0).map_err(|_| SessionError::Disconnected)?;
        answer.await.unwrap_or(Err(SessionError::Disconnected))
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
