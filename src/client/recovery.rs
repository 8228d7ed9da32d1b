//! Signals with offsets, and requests that are repeated (protocol §10.5, §10.6).

use core::num::NonZeroU64;
use core::time::Duration;

use super::action::{Action, Anomaly, Event};
use super::error::{Misuse, RequestError};
use super::link::Link;
use super::machine::{Client, done};
use super::requests::{Call, Kept, Purpose, Repeat, RequestId};
use crate::actions::Actions;
use crate::dialect::Dialect;
use crate::session::{Instance, Position, SessionKey};
use crate::time::Instant;
use crate::wire::{
    AcceptConf, Content, HistoryMark, HistoryState, KeptOutcomes, Kind, Name, Payload,
};

/// The place of a client that holds a session whose server keeps its history, and has not said where that is.
/// If the connection is lost now, nobody knows how much was missed: no history has this incarnation.
const UNKNOWN: Position = Position { incarnation: 0, offset: 0 };

/// What a client knows of histories and outcomes.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// Behind the last signal of the session that is held, if the server keeps its history.
    place: Option<Position>,
    /// Behind the last signal of the session that was held before: if it is restored and its place is not known, the
    /// server sends again what came then.
    left: Option<Position>,
    /// How many signals have come since the session was resumed, until all have that were missed.
    missed: Option<u64>,
    /// What the client calls itself.
    instance: Option<Instance>,
    /// Whether the server of the present connection knows what the client calls itself.
    has_stated: bool,
    /// What the server of the present connection has said that it keeps, last.
    kept: Option<KeptOutcomes>,
    /// The scope of which it has told first, that of nothing apart.
    first_scope: Option<NonZeroU64>,
}

/// What the application does.
impl Client {
    /// Makes a request that may be executed once although it is sent twice: if the connection is lost, the
    /// client repeats it by itself on the next one, and gets the outcome of the first time if there is one
    /// (protocol §10.6). Otherwise as [`request`](Self::request).
    ///
    /// This needs a server of `wwr.1` that keeps outcomes, and a client with an
    /// [instance](Self::set_instance). Without them, and if it does not fit into
    /// [`Config::max_queued_bytes`](super::Config::max_queued_bytes) with the others that have no outcome, it is
    /// a request as any other. Where the server cannot tell any more whether it was executed, the outcome is
    /// [`RequestError::ConnectionLost`], as ever.
    ///
    /// The outcome alone is kept. A session that the handler creates belongs to the connection on which it ran: do
    /// not log in by such a request.
    ///
    /// # Errors
    ///
    /// As for [`request`](Self::request).
    pub fn request_idempotent(
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
        self.submit(Call::Idempotent { name, payload }, timeout, out)
    }

    /// Sets what the client calls itself on its connections from the next one on: 16 random bytes, a secret that
    /// no other client has. It is needed for [idempotent requests](Self::request_idempotent).
    ///
    /// Make new ones for each `Client`, and do not keep them for the next run of the application: identifiers of
    /// requests begin anew with each client, and the server would take new requests for those of the last run,
    /// and answer them with the outcomes of those.
    pub const fn set_instance(&mut self, instance: Instance) {
        self.recovery.instance = Some(instance);
    }

    /// Returns the place in the history of the session behind the last signal that was reported, if the
    /// server keeps it ([`Config::resume_signals`](super::Config::resume_signals)).
    pub fn place(&self) -> Option<Position> {
        self.recovery.place.filter(|place| *place != UNKNOWN)
    }

    /// Holds the session of an earlier run, as [`resume_session`](Self::resume_session) does, with the
    /// [place](Self::place) in its history that the earlier run has kept.
    ///
    /// # Errors
    ///
    /// As for [`resume_session`](Self::resume_session).
    pub fn resume_session_at(&mut self, key: SessionKey, place: Position) -> Result<(), Misuse> {
        self.resume_session(key)?;
        self.recovery.place = Some(place);
        Ok(())
    }
}

/// Histories.
impl Client {
    /// Returns whether the server of the present connection has said that it keeps this.
    fn server_keeps(&self, what: u8) -> bool {
        let conf = self.discovery.found.accept_conf.as_ref();
        self.dialect() == Dialect::Wwr1 && conf.is_some_and(|conf| conf.minor & what != 0)
    }

    /// Returns from where to resume the session, if the server can be asked for that.
    pub(super) fn resumes_from(&self) -> Option<Position> {
        let asks = self.config.resume_signals && self.server_keeps(AcceptConf::KEEPS_HISTORIES);
        self.recovery.place.filter(|_| asks)
    }

    /// A new connection begins.
    pub(super) const fn forget_connection(&mut self) {
        (self.recovery.kept, self.recovery.missed) = (None, None);
        self.recovery.first_scope = None;
        self.recovery.has_stated = false;
    }

    /// Returns what the client calls itself, to state it on the present connection.
    pub(super) fn state_instance(&mut self) -> Option<[u8; 16]> {
        self.recovery.has_stated = self.recovery.instance.is_some();
        self.recovery.instance.map(|Instance(bytes)| bytes)
    }

    /// The client holds another session, or none.
    pub(super) fn forget_place(&mut self) {
        self.recovery.left = self.place().or(self.recovery.left);
        (self.recovery.place, self.recovery.missed) = (None, None);
    }

    /// The client has come to hold a session on this connection. If the server keeps its history, it says
    /// next where that is.
    pub(super) fn expect_mark(&mut self) {
        if self.config.resume_signals && self.server_keeps(AcceptConf::KEEPS_HISTORIES) {
            self.recovery.place.get_or_insert(UNKNOWN);
        }
    }

    /// The session was resumed.
    pub(super) fn session_resumed(&mut self, out: &mut Actions<Action>) {
        let Some(from) = self.recovery.place else { return self.expect_mark() };
        if self.resumes_from().is_some() {
            self.recovery.missed = Some(0);
        } else {
            // This server keeps no history: nobody knows what was missed.
            self.forget_place();
            out.push(Action::Event(Event::SignalGap { from: Some(from), to: None }));
        }
    }

    /// A signal of the history of the session.
    #[cold]
    pub(super) fn handle_history_signal(
        &mut self,
        offset: u64,
        content: Content,
        out: &mut Actions<Action>,
    ) {
        let Some(place) = self.recovery.place else {
            let anomaly = Anomaly::Unexpected(Kind::history_signal(content.encoding()));
            return out.push(Action::Event(Event::Anomaly(anomaly)));
        };
        if offset <= place.offset {
            return;
        }
        let before = Position { offset: offset - 1, ..place };
        if before != place {
            // The server should have said so.
            out.push(Action::Event(Event::SignalGap { from: Some(place), to: Some(before) }));
        }
        let behind = Position { offset, ..place };
        self.recovery.place = Some(behind);
        let left = self.recovery.left.filter(|left| left.incarnation == behind.incarnation);
        if left.is_some_and(|left| offset <= left.offset) {
            return;
        }
        self.recovery.missed = self.recovery.missed.map(|missed| missed.saturating_add(1));
        out.push(Action::Event(Event::Signal(content)));
    }

    /// The server says where the client is in the history of its session.
    #[cold]
    pub(super) fn handle_history_mark(&mut self, mark: HistoryMark, out: &mut Actions<Action>) {
        if !self.config.resume_signals || self.session.is_none() {
            let anomaly = Anomaly::Unexpected(Kind::HistoryMark);
            return out.push(Action::Event(Event::Anomaly(anomaly)));
        }
        let to = Position { incarnation: mark.incarnation, offset: mark.offset };
        let from = self.recovery.place.replace(to);
        let missed = self.recovery.missed.take();
        match mark.state {
            HistoryState::Started if from.is_none_or(|from| from == to) => {}
            HistoryState::Started if from == Some(UNKNOWN) && missed.is_none() => {}
            HistoryState::Resumed if from == Some(to) => {
                let missed = missed.unwrap_or_default();
                out.push(Action::Event(Event::SignalsResumed { missed }));
            }
            HistoryState::Started | HistoryState::Resumed | HistoryState::Gap => {
                let from = from.filter(|from| *from != UNKNOWN);
                out.push(Action::Event(Event::SignalGap { from, to: Some(to) }));
            }
        }
    }
}

/// Requests that are repeated.
impl Client {
    /// Returns whether an idempotent request can be sent as one, and kept.
    pub(super) fn may_keep(&self, call: &Call) -> bool {
        let kept = self.requests.kept_bytes().saturating_add(call.size());
        self.recovery.has_stated
            && self.server_keeps(AcceptConf::KEEPS_OUTCOMES)
            && kept <= self.config.max_queued_bytes
    }

    /// The server says what it keeps.
    #[cold]
    pub(super) fn handle_kept(&mut self, kept: KeptOutcomes, out: &mut Actions<Action>) {
        if !self.recovery.has_stated {
            let anomaly = Anomaly::Unexpected(Kind::KeptOutcomes);
            return out.push(Action::Event(Event::Anomaly(anomaly)));
        }
        self.recovery.first_scope = self.recovery.first_scope.or(NonZeroU64::new(kept.scope));
        self.recovery.kept = Some(kept);
        if kept.scope == KeptOutcomes::NOTHING {
            // Nor is anything repeated on this connection once there is a scope.
            self.end_repeats(out);
        }
        if matches!(self.link, Link::Ready { .. }) {
            self.send_repeats(out);
            self.release_queued(out);
        }
    }

    /// Returns the scope in which idempotent requests are sent, if the server has said it.
    pub(super) fn kept_scope(&self) -> Option<u64> {
        self.recovery.kept.map(|kept| kept.scope)
    }

    /// Sends what has waited, also for requests that are to be repeated before, unless it still does.
    pub(super) fn release_queued(&mut self, out: &mut Actions<Action>) {
        if matches!(self.link, Link::Ready { .. }) && !self.requests.has_repeats() {
            self.send_queued(out);
        }
    }

    /// The connection is lost, and the client will connect again or not. What can be repeated then is kept.
    pub(super) fn keep_or_end_sent(&mut self, will_retry: bool, out: &mut Actions<Action>) {
        let kept = self.recovery.kept.filter(|_| will_retry);
        while let Some((id, purpose)) = self.requests.take_sent() {
            if let (Purpose::Idempotent(request), Some(KeptOutcomes { window_ms, .. })) =
                (purpose, kept)
                && let Some(scope) =
                    request.scope.or(self.recovery.first_scope.map(NonZeroU64::get))
                && scope != KeptOutcomes::NOTHING
            {
                let until = self.now() + Duration::from_millis(window_ms.into());
                self.requests.repeat(id, Repeat { request, scope, until });
            } else {
                done(id, Err(RequestError::ConnectionLost), out);
            }
        }
        if !will_retry {
            self.end_repeats(out);
        }
    }

    /// Ends the requests that were to be repeated.
    pub(super) fn end_repeats(&mut self, out: &mut Actions<Action>) {
        while let Some((id, _)) = self.requests.take_repeat() {
            done(id, Err(RequestError::ConnectionLost), out);
        }
    }

    /// Repeats what was sent on an earlier connection, once the server has said whether it still knows of
    /// that.
    pub(super) fn send_repeats(&mut self, out: &mut Actions<Action>) {
        if self.recovery.kept.is_none() && self.server_keeps(AcceptConf::KEEPS_OUTCOMES) {
            return;
        }
        let scope = self.recovery.kept.map(|kept| kept.scope);
        self.end_expired(out);
        while let Some((id, repeat)) = self.requests.take_repeat() {
            let Repeat { request, scope: known, until } = repeat;
            let Kept { name, payload, deadline, .. } = *request;
            let call = Call::Idempotent { name, payload };
            let is_known = scope == Some(known) && self.now() < until;
            if is_known && self.check_length(call.size()).is_ok() && self.may_keep(&call) {
                self.send(id, call, deadline, out);
                self.requests.mark_repeated(id);
            } else {
                done(id, Err(RequestError::ConnectionLost), out);
            }
        }
    }
}
