//! Signals to the client of a connection.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use serde::Serialize;
use wwr::server::{self, Misuse};
use wwr::wire::{InvalidName, check_signal};
use wwr::{Actions, CloseFrame, Name, Payload, PreparedSignal, SlowReader};

use super::{Connection, Input, SignalError};
use crate::inbox::Refused;

/// The close code for clients that read too slowly: try again later (IANA, RFC 6455 §7.4).
const TOO_SLOW: u16 = 1013;

/// What a waiting signal counts in addition to its own bytes.
const SIGNAL: usize = 16;

/// A signal on its way to the client.
#[derive(Debug)]
pub(in crate::server) enum Outgoing {
    /// For this client alone. The task encodes it, small ones together.
    Own(Name, Payload),
    /// For other connections, too.
    Prepared(PreparedSignal),
}

impl Outgoing {
    /// Returns about how many bytes it takes.
    pub(in crate::server) fn len(&self) -> usize {
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

    pub(in crate::server) fn send(
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

impl Connection {
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
    /// [`ServerHandle::signal_all`](crate::server::ServerHandle::signal_all) and
    /// [`Group::signal_prepared`](crate::server::Group::signal_prepared) do this for many connections. The
    /// results for any choice of connections can be collected into a
    /// [`Broadcast`](crate::server::Broadcast).
    ///
    /// # Errors
    ///
    /// [`SignalError`], but not for the name. Then nothing was sent.
    pub fn signal_prepared(&self, signal: &PreparedSignal) -> Result<(), SignalError> {
        self.send_prepared(signal, None).map(drop)
    }

    /// Sends a signal to this connection among others. The policy is that of the signal, if it has one.
    /// Returns how many earlier signals were dropped or replaced for it.
    pub(in crate::server) fn send_prepared(
        &self,
        signal: &PreparedSignal,
        policy: Option<SlowReader>,
    ) -> Result<usize, SignalError> {
        signal.check(self.dialect(), self.shared.reads.longest())?;
        self.push_signal(Outgoing::Prepared(signal.clone()), policy)
    }

    /// Waits until the bytes that wait for the client are at most half of
    /// [`max_signal_backlog`](crate::server::Limits::max_signal_backlog). Returns at once if that is so.
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
    /// disconnected after the [stall timeout](crate::server::Limits::stall_timeout), so this waits no
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
    /// fast client, too. The policy counts instead of what the [server](crate::server::Limits::slow_readers) or a
    /// [group signal](crate::server::Group::slow_readers) says; `None` ends that. It holds for the signals of
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
}
