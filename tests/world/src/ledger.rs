//! What really happened to the requests and sessions, from those parts that know it.

use std::collections::{BTreeMap, BTreeSet};

use wwr::{CloseFrame, Payload, SessionKey, server};

use crate::network::SocketId;

/// Which request it is: no two are the same.
pub(crate) type Token = usize;

pub(crate) type Reply = Result<Payload, server::RequestError>;

/// A request of the application of a client.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// The socket it went out on.
    pub(crate) sent: Option<SocketId>,
    pub(crate) reached: bool,
    /// What the handler said.
    pub(crate) reply: Option<Reply>,
}

/// What became of a session.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Some client was told of it.
    pub(crate) announced: bool,
    /// A caller wanted it closed: whether it can still be restored is open from here on.
    pub(crate) unwanted: bool,
    /// Whether the store took the latest change of its info is open.
    pub(crate) is_open: bool,
    /// The first key that the session had, if this is a later one.
    pub(crate) first: Option<SessionKey>,
    /// The connection that alone was to get this key.
    pub(crate) only: Option<SocketId>,
    /// The connections whose clients have shown that they know it.
    pub(crate) known_by: BTreeSet<SocketId>,
    /// The store may keep it, though it has failed to store or to destroy it.
    pub(crate) is_stray: bool,
}

/// The truth.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) requests: Vec<Entry>,
    /// Every session that was ever made, in the order of the making.
    pub(crate) keys: Vec<SessionKey>,
    pub(crate) sessions: BTreeMap<SessionKey, Known>,
    /// The last word of a server on each socket that it has closed.
    pub(crate) close_frames: BTreeMap<SocketId, CloseFrame>,
    /// The requests that went out on each socket, in order.
    sent: BTreeMap<SocketId, Vec<Token>>,
}

impl Ledger {
    pub(crate) fn next_token(&mut self) -> Token {
        self.requests.push(Entry::default());
        self.requests.len() - 1
    }

    pub(crate) fn entry(&mut self, token: Token) -> &mut Entry {
        if token >= self.requests.len() {
            self.requests.resize_with(token + 1, Entry::default);
        }
        &mut self.requests[token]
    }

    /// A request goes out; whether for the first time.
    pub(crate) fn sends(&mut self, token: Token, socket: SocketId) -> bool {
        self.sent.entry(socket).or_default().push(token);
        self.entry(token).sent.replace(socket).is_none()
    }

    /// The request that went out on a socket after this many others.
    pub(crate) fn sent_on(&self, socket: SocketId, number: usize) -> Option<Token> {
        self.sent.get(&socket)?.get(number).copied()
    }

    pub(crate) fn session(&mut self, key: &SessionKey) -> &mut Known {
        self.sessions.entry(key.clone()).or_default()
    }

    /// A session was made.
    pub(crate) fn made(&mut self, key: &SessionKey) {
        self.keys.push(key.clone());
        self.session(key);
    }

    /// A session is to get another key.
    pub(crate) fn renamed(
        &mut self,
        before: &SessionKey,
        key: &SessionKey,
        only: Option<SocketId>,
    ) {
        let first = self.session(before).first.clone().unwrap_or_else(|| before.clone());
        let known = self.session(key);
        (known.first, known.only) = (Some(first), only);
    }

    /// The first key of the session of this key.
    pub(crate) fn first_key(&mut self, key: &SessionKey) -> SessionKey {
        self.session(key).first.clone().unwrap_or_else(|| key.clone())
    }

    /// The sessions that have to be in the store if they are durable.
    pub(crate) fn due(&self) -> impl Iterator<Item = &SessionKey> {
        let due = self.sessions.iter().filter(|(_, known)| known.announced && !known.unwanted);
        due.map(|(key, _)| key)
    }
}
