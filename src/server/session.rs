//! The session of one connection.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::action::{Action, CloseReason, ClosedBy, Edited, Fate, SessionEvent};
use super::error::Misuse;
use super::peer::{Peer, TooLarge};
use super::reply;
use crate::actions::Actions;
use crate::session::{
    Change, Command, Edit, EditCommand, EditFailure, KeyFormat, NewKey, Outcome, Session,
    SessionInfo, SessionKey,
};
use crate::time::UnixTime;
use crate::wire::{Encoder, Identifier, Payload, SpecialReply, length};

type Out = Actions<Action>;

/// The session of one connection, from the first command to the registry to its last answer.
#[derive(Debug)]
pub(super) struct SessionSlot {
    /// The format of keys that clients may use. `None` without sessions.
    key_format: Option<KeyFormat>,
    state: State,
    /// How many sessions the application has asked for. There is never more than one under way, the
    /// latest.
    creations: u64,
    /// How many edits the application has asked for.
    edits: u64,
    /// How many of them have no outcome yet. They get it in order.
    edits_open: u8,
    output: Output,
}

/// Whether the socket takes output. While it does not, changes of the session wait.
#[derive(Debug)]
enum Output {
    Writable,
    /// With the last state of the session that the client has not been told, if there is one.
    Stalled(Box<Option<Json>>),
}

/// How many edits of a connection may wait for an outcome.
const MAX_EDITS: u8 = 8;

/// Identifies a session that the application creates on a connection, until its
/// [`SessionEvent`](super::SessionEvent) comes. A connection never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CreationId(u64);

impl CreationId {
    /// Returns a number for tables of the host: those of a connection count from 1.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// Identifies an edit of the session that the application asks for on a connection, until its
/// [`SessionEvent`](super::SessionEvent) comes. A connection never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EditId(u64);

impl EditId {
    /// Returns a number for tables of the host: those of a connection count from 1, and the edits of a
    /// connection end in this order.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
enum State {
    Empty,
    /// The client asked to continue a session. The registry has not answered yet.
    Restoring {
        id: Identifier,
        key: SessionKey,
    },
    /// The application created a session. The registry has not answered yet.
    Creating(Box<Creation>),
    Held {
        session: Box<Session>,
        stored: Stored,
    },
    /// A close was requested. The registry has not answered yet.
    Closing {
        session: Box<Session>,
        stored: Stored,
        closer: Closer,
    },
}

/// A session that is being created, with the JSON of its session-created message.
#[derive(Debug)]
struct Creation {
    session: Box<Session>,
    json: Json,
}

/// The JSON of a session-created message.
struct Json(Box<str>);

impl Json {
    /// Returns how long the message is.
    fn message_len(&self) -> usize {
        length::KIND + self.0.len()
    }

    fn send(&self, out: &mut Out) {
        let frame = out.encoder.session_created(self.0.as_bytes());
        out.push(Action::Send(frame));
    }
}

impl fmt::Debug for Json {
    /// Omits the text, which contains the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Json").finish_non_exhaustive()
    }
}

/// Whether the application waits for the store's answer about a new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Settled,
    Awaited,
}

/// The side that asked to close the session.
#[derive(Clone, Copy, Debug)]
enum Closer {
    /// The client, with a request of this identifier.
    Client(Identifier),
    Application,
}

impl Closer {
    const fn by(&self) -> ClosedBy {
        match self {
            Self::Client(_) => ClosedBy::Client,
            Self::Application => ClosedBy::Application,
        }
    }
}

impl SessionSlot {
    pub(super) const fn new(key_format: Option<KeyFormat>) -> Self {
        Self {
            key_format,
            state: State::Empty,
            creations: 0,
            edits: 0,
            edits_open: 0,
            output: Output::Writable,
        }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Held { session, .. } | State::Closing { session, .. } => Some(session),
            State::Empty | State::Restoring { .. } | State::Creating(_) => None,
        }
    }

    /// Returns the key under which the registry knows this connection.
    fn key(&self) -> Option<&SessionKey> {
        match &self.state {
            State::Empty => None,
            State::Restoring { key, .. } => Some(key),
            State::Creating(creation) => Some(&creation.session.key),
            State::Held { session, .. } | State::Closing { session, .. } => Some(&session.key),
        }
    }

    /// Returns whether the connection has no session, and is not about to get one.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    /// Returns whether later messages have to wait for the registry.
    pub(super) const fn holds_up_messages(&self) -> bool {
        matches!(self.state, State::Restoring { .. } | State::Closing { .. })
    }

    /// Returns whether the registry still has to answer.
    pub(super) const fn is_changing(&self) -> bool {
        matches!(self.state, State::Restoring { .. } | State::Creating(_) | State::Closing { .. })
            || self.edits_open > 0
    }

    /// Leaves the session, because the connection ends. One that is being closed counts as closed, if the
    /// application knows it.
    pub(super) fn leave(&mut self, out: &mut Out) {
        if let Some(key) = self.key() {
            out.push(Action::Session(Command::Leave(key.clone())));
        }
        if let State::Closing { session, stored: Stored::Settled, closer } =
            core::mem::replace(&mut self.state, State::Empty)
        {
            let (by, fate) = (closer.by(), Fate::Unknown);
            out.push(Action::SessionEvent(SessionEvent::Closed { session, by, fate }));
        }
        self.edits_open = 0;
        self.forget_untold();
    }

    /// Handles whether the socket takes output.
    pub(super) fn handle_writable(&mut self, writable: bool, out: &mut Out) {
        match &self.output {
            Output::Stalled(_) if writable => {
                self.tell_last(out);
                self.output = Output::Writable;
            }
            Output::Writable if !writable => self.output = Output::Stalled(Box::default()),
            Output::Stalled(_) | Output::Writable => {}
        }
    }

    /// Tells the client how the session is now, if that has waited.
    #[inline]
    pub(super) fn tell_last(&mut self, out: &mut Out) {
        if let Output::Stalled(untold) = &mut self.output
            && let Some(json) = untold.take()
        {
            json.send(out);
        }
    }

    /// The session of the client has ended.
    fn forget_untold(&mut self) {
        if let Output::Stalled(untold) = &mut self.output {
            **untold = None;
        }
    }

    /// Handles a restore-session of the client (protocol §5.6).
    pub(super) fn restore(&mut self, peer: &Peer, id: Identifier, key: &[u8], out: &mut Out) {
        let Some(format) = self.key_format else {
            return reply::special(id, SpecialReply::SessionsDisabled, out);
        };
        if !matches!(self.state, State::Empty) {
            // The session of this connection stays untouched (unlike Q14-05).
            return reply::translated(peer, id, SpecialReply::ProtocolError, out);
        }
        match format.parse(key) {
            Some(key) => {
                self.state = State::Restoring { id, key: key.clone() };
                out.push(Action::Session(Command::Restore(key)));
            }
            None => reply::special(id, SpecialReply::SessionNotFound, out),
        }
    }

    /// Handles a close-session of the client (protocol §5.7).
    pub(super) fn close_by_client(&mut self, id: Identifier, out: &mut Out) {
        if self.key_format.is_none() {
            return reply::special(id, SpecialReply::SessionsDisabled, out);
        }
        match self.state {
            State::Held { .. } => self.begin_closing(Closer::Client(id), out),
            // The client does not know a session that is just being created. The other two states
            // hold up messages, so this message cannot arrive in them.
            State::Empty | State::Creating(_) | State::Restoring { .. } | State::Closing { .. } => {
                reply::done(id, out);
            }
        }
    }

    /// Creates a session for the application (protocol §5.5).
    pub(super) fn create(
        &mut self,
        peer: &Peer,
        key: SessionKey,
        now: UnixTime,
        info: SessionInfo,
        out: &mut Out,
    ) -> Result<CreationId, Misuse> {
        let format = self.key_format.ok_or(Misuse::SessionsDisabled)?;
        match self.state {
            State::Empty => {}
            State::Held { .. } => return Err(Misuse::SessionExists),
            State::Restoring { .. } | State::Creating(_) | State::Closing { .. } => {
                return Err(Misuse::SessionBusy);
            }
        }
        if !format.accepts(key.as_str()) {
            return Err(Misuse::InvalidKey);
        }
        let session = Box::new(Session::new(key, now, info));
        let json = readable(peer, &session)?;
        self.creations += 1;
        let json = Json(json.into());
        self.state = State::Creating(Box::new(Creation { session: session.clone(), json }));
        out.push(Action::Session(Command::Create(session)));
        Ok(CreationId(self.creations))
    }

    /// Closes the session for the application (protocol §5.8). Returns whether there was one.
    pub(super) fn close(&mut self, out: &mut Out) -> Result<bool, Misuse> {
        if self.key_format.is_none() {
            return Err(Misuse::SessionsDisabled);
        }
        match self.state {
            State::Empty => Ok(false),
            State::Held { .. } => {
                self.begin_closing(Closer::Application, out);
                Ok(true)
            }
            State::Restoring { .. } | State::Creating(_) | State::Closing { .. } => {
                Err(Misuse::SessionBusy)
            }
        }
    }

    /// Changes the session for the application (protocol §5.13).
    pub(super) fn edit(
        &mut self,
        peer: &Peer,
        edit: Edit,
        out: &mut Out,
    ) -> Result<EditId, Misuse> {
        let format = self.key_format;
        let held = self.editable()?;
        let key = held.key.clone();
        match &edit {
            Edit::Info(info) => {
                readable(peer, &Session { info: info.clone(), ..held.clone() })?;
            }
            Edit::NewKey(NewKey { key: to, info, .. }) => {
                if key == *to || !format.is_some_and(|format| format.accepts(to.as_str())) {
                    return Err(Misuse::InvalidKey);
                }
                if info.is_some() || to.as_str().len() > key.as_str().len() {
                    let info = info.as_ref().unwrap_or(&held.info).clone();
                    readable(peer, &Session { key: to.clone(), info, ..held.clone() })?;
                }
            }
        }
        self.edits += 1;
        self.edits_open += 1;
        out.push(Action::Session(Command::Edit(Box::new(EditCommand { key, edit }))));
        Ok(EditId(self.edits))
    }

    /// Returns the session, if the application may change it now.
    fn editable(&self) -> Result<&Session, Misuse> {
        if self.key_format.is_none() {
            return Err(Misuse::SessionsDisabled);
        }
        match &self.state {
            State::Held { session, .. } if self.edits_open < MAX_EDITS => Ok(session),
            State::Held { .. }
            | State::Restoring { .. }
            | State::Creating(_)
            | State::Closing { .. } => Err(Misuse::SessionBusy),
            State::Empty => Err(Misuse::NoSession),
        }
    }

    /// Returns the oldest edit without an outcome, which has one now.
    const fn end_edit(&mut self) -> Option<EditId> {
        if self.edits_open == 0 {
            return None;
        }
        self.edits_open -= 1;
        Some(EditId(self.edits - self.edits_open as u64))
    }

    /// Changes the session, and tells the client, if that makes a difference for it. Its session-created
    /// message replaces what it knows of the session (protocol §6.2, §6.4). So if the socket takes no output,
    /// only the last one is kept for it.
    fn carry_out(
        &mut self,
        peer: &Peer,
        session: &mut Session,
        edit: impl FnOnce(&mut Session),
        own: bool,
        out: &mut Out,
    ) -> Box<Edited> {
        let before = session.clone();
        edit(session);
        let (json, mut too_long) = (session.to_json(), None);
        if json != before.to_json() {
            match peer.reads(length::KIND + json.len()) {
                Ok(()) => match (&mut self.output, Json(json.into())) {
                    (Output::Writable, json) => json.send(out),
                    (Output::Stalled(untold), json) => **untold = Some(json),
                },
                Err(TooLarge { buffer, .. }) => {
                    too_long = Some((json.len(), buffer - length::KIND));
                }
            }
        }
        let edit = if own { self.end_edit() } else { None };
        Box::new(Edited { before, after: session.clone(), edit, too_long })
    }

    /// Handles news of the registry about edits, or returns it.
    fn handle_edit(
        &mut self,
        peer: &Peer,
        session: &mut Session,
        change: Change,
        out: &mut Out,
    ) -> Option<Change> {
        match change {
            Change::Updated { info, own } => {
                let edited =
                    self.carry_out(peer, session, |session| session.info = *info, own, out);
                out.push(Action::SessionEvent(SessionEvent::Updated(edited)));
            }
            Change::Rotated { session: new, own } => {
                let rotate = |session: &mut Session| {
                    (session.key, session.info) = (new.key, new.info);
                };
                let edited = self.carry_out(peer, session, rotate, own, out);
                out.push(Action::SessionEvent(SessionEvent::Rotated(edited)));
            }
            Change::EditFailed(failure) => {
                if let Some(edit) = self.end_edit() {
                    out.push(Action::SessionEvent(SessionEvent::EditFailed(edit, failure)));
                }
            }
            other => return Some(other),
        }
        None
    }

    fn begin_closing(&mut self, closer: Closer, out: &mut Out) {
        self.state = match core::mem::replace(&mut self.state, State::Empty) {
            State::Held { session, stored } => {
                out.push(Action::Session(Command::Close(session.key.clone())));
                State::Closing { session, stored, closer }
            }
            other => other,
        };
    }

    /// Handles news of the registry. Returns a reason if the connection has to be closed. News that
    /// do not fit the state change nothing.
    pub(super) fn handle(
        &mut self,
        peer: &Peer,
        outcome: Outcome,
        out: &mut Out,
    ) -> Option<CloseReason> {
        if self.key() != Some(&outcome.key) {
            return None;
        }
        let mut disconnects = None;
        let latest = CreationId(self.creations);
        let mut state = core::mem::replace(&mut self.state, State::Empty);
        let mut change = outcome.change;
        if let State::Held { session, .. } | State::Closing { session, .. } = &mut state {
            match self.handle_edit(peer, session, change, out) {
                Some(other) => change = other,
                None => {
                    self.state = state;
                    return None;
                }
            }
        }
        self.state = match (state, change) {
            (State::Restoring { id, key }, Change::Restored(session)) => {
                if reply::payload(peer, id, &Payload::utf8(session.to_json()), out) {
                    out.push(Action::SessionEvent(SessionEvent::Restored(session.clone())));
                    State::Held { session, stored: Stored::Settled }
                } else {
                    out.push(Action::Session(Command::Leave(key)));
                    State::Empty
                }
            }
            (State::Restoring { id, .. }, Change::NotFound) => {
                reply::special(id, SpecialReply::SessionNotFound, out);
                State::Empty
            }
            (State::Restoring { id, .. }, Change::LimitReached) => {
                reply::special(id, SpecialReply::MaxSessionConnections, out);
                State::Empty
            }
            (State::Restoring { id, .. }, Change::LookupFailed) => {
                reply::special(id, SpecialReply::InternalError, out);
                State::Empty
            }
            (State::Creating(creation), Change::Created)
                if peer.reads(creation.json.message_len()).is_err() =>
            {
                // It fitted before the peer turned out to have a message buffer. The client was not
                // told about it: the session is destroyed, and nothing waits for the outcome.
                let key = creation.session.key;
                out.push(Action::Session(Command::Close(key.clone())));
                out.push(Action::Session(Command::Leave(key)));
                out.push(Action::SessionEvent(SessionEvent::CreateFailed(latest)));
                State::Empty
            }
            (State::Creating(creation), Change::Created) => {
                creation.json.send(out);
                State::Held { session: creation.session, stored: Stored::Awaited }
            }
            (State::Creating(_), Change::CreateFailed) => {
                out.push(Action::SessionEvent(SessionEvent::CreateFailed(latest)));
                State::Empty
            }
            (State::Held { session, stored }, Change::Stored) => {
                settle(stored, &session, latest, out);
                State::Held { session, stored: Stored::Settled }
            }
            (State::Closing { session, stored, closer }, Change::Stored) => {
                settle(stored, &session, latest, out);
                State::Closing { session, stored: Stored::Settled, closer }
            }
            (State::Held { session, stored }, Change::ClosedByKey { disconnect }) => {
                disconnects = disconnect.then_some(CloseReason::SessionClosed);
                end(peer, Closer::Application, stored, &session, latest, out);
                self.ended(session, ClosedBy::Key, Fate::Destroyed, out)
            }
            (State::Closing { session, stored, closer }, Change::ClosedByKey { disconnect }) => {
                disconnects = disconnect.then_some(CloseReason::SessionClosed);
                end(peer, closer, stored, &session, latest, out);
                self.ended(session, ClosedBy::Key, Fate::Destroyed, out)
            }
            (State::Held { session, stored }, Change::ClosedByOther { destroyed }) => {
                end(peer, Closer::Application, stored, &session, latest, out);
                self.ended(session, ClosedBy::OtherConnection, Fate::of(destroyed), out)
            }
            (State::Closing { session, stored, closer }, Change::ClosedByOther { destroyed }) => {
                end(peer, closer, stored, &session, latest, out);
                // It is destroyed as this connection wanted.
                let by = if destroyed { closer.by() } else { ClosedBy::OtherConnection };
                self.ended(session, by, Fate::of(destroyed), out)
            }
            (State::Closing { session, stored, closer }, Change::Closed) => {
                end(peer, closer, stored, &session, latest, out);
                self.ended(session, closer.by(), Fate::Destroyed, out)
            }
            (State::Closing { session, stored, closer }, Change::Detached) => {
                end(peer, closer, stored, &session, latest, out);
                self.ended(session, closer.by(), Fate::LivesOn, out)
            }
            (State::Closing { session, stored, closer }, Change::CloseFailed) => {
                if let Closer::Client(id) = closer {
                    reply::special(id, SpecialReply::InternalError, out);
                }
                out.push(Action::SessionEvent(SessionEvent::CloseFailed));
                State::Held { session, stored }
            }
            (state, _) => state,
        };
        disconnects
    }

    /// Tells the application that the session has ended, and with it what it has asked for.
    fn ended(&mut self, session: Box<Session>, by: ClosedBy, fate: Fate, out: &mut Out) -> State {
        self.forget_untold();
        while let Some(edit) = self.end_edit() {
            let failed = SessionEvent::EditFailed(edit, EditFailure::Ended);
            out.push(Action::SessionEvent(failed));
        }
        out.push(Action::SessionEvent(SessionEvent::Closed { session, by, fate }));
        State::Empty
    }
}

/// Ends the session. Sends `16` to a client that did not ask for it, and in 1.x also to one that
/// did (protocol §5.7), which gets its reply as well.
fn end(
    peer: &Peer,
    closer: Closer,
    stored: Stored,
    session: &Session,
    id: CreationId,
    out: &mut Out,
) {
    let told = match closer {
        Closer::Client(_) => peer.rules().notifies_own_close,
        Closer::Application => true,
    };
    if told {
        out.push(Action::Send(Encoder::session_closed()));
    }
    if let Closer::Client(id) = closer {
        reply::done(id, out);
    }
    settle(stored, session, id, out);
}

/// Returns the JSON of a session, if stores and this client read it.
fn readable(peer: &Peer, session: &Session) -> Result<String, Misuse> {
    // Checked before anything is made from it: that takes a stack as deep as the session.
    if session.info.is_too_deep() {
        return Err(Misuse::SessionTooDeep { most: SessionInfo::MAX_DEPTH });
    }
    let stored = session.to_stored().len();
    if stored > Session::MAX_STORED {
        return Err(Misuse::StoredTooLarge { length: stored, most: Session::MAX_STORED });
    }
    let json = session.to_json();
    let length = json.len();
    if length > Session::MAX_JSON {
        return Err(Misuse::SessionTooLarge { length, most: Session::MAX_JSON });
    }
    if let Err(TooLarge { buffer, .. }) = peer.reads(length::KIND + length) {
        return Err(Misuse::SessionTooLarge { length, most: buffer - length::KIND });
    }
    Ok(json)
}

/// Tells the application that the store has answered, if it waits for that.
fn settle(stored: Stored, session: &Session, id: CreationId, out: &mut Out) {
    if stored == Stored::Awaited {
        let session = Box::new(session.clone());
        out.push(Action::SessionEvent(SessionEvent::Created(id, session)));
    }
}
