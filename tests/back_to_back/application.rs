//! What the server serves: what a request of each name does, and a record of it.

use std::collections::BTreeMap;
use std::time::Duration;

use wwr::server::{self, RequestId, SignalId};
use wwr::{Content, Payload};

/// A handler gets further.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Handle { id: RequestId, deed: Deed, token: Token },
    SignalHandled(SignalId),
}

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Sends the payload back.
    Echo,
    /// As `Echo`, after a long time.
    Slow,
    /// Never replies.
    Never,
    Fail,
    /// Fails inside.
    Crash,
    /// Creates a session.
    LogIn,
    /// Closes it.
    LogOut,
    /// Closes it for everybody.
    Kick,
    /// The same, and disconnects them.
    KickOut,
    /// Replies with the key.
    WhoAmI,
    /// Closes the connection, then replies.
    Leave,
    /// Sends three signals, then replies.
    Tell,
    /// Replies with more than fits into any buffer.
    Large,
    /// Fails, with as much to say.
    LargeFailure,
    /// Creates a session with as much in it.
    LargeLogIn,
    /// Fails as if the client had not kept to the protocol.
    Blame,
    /// Sends signals of odd kinds and sizes, then replies.
    Shout,
}

/// The deeds by the names of their requests, and how long each takes.
pub(crate) const DEEDS: [(&str, Deed, Duration); 18] = [
    ("echo", Deed::Echo, Duration::ZERO),
    ("slow", Deed::Slow, Duration::from_secs(5)),
    ("never", Deed::Never, Duration::ZERO),
    ("fail", Deed::Fail, Duration::from_millis(1)),
    ("crash", Deed::Crash, Duration::from_millis(1)),
    ("login", Deed::LogIn, Duration::ZERO),
    ("logout", Deed::LogOut, Duration::ZERO),
    ("kick", Deed::Kick, Duration::ZERO),
    ("kick out", Deed::KickOut, Duration::ZERO),
    ("whoami", Deed::WhoAmI, Duration::ZERO),
    ("leave", Deed::Leave, Duration::from_millis(1)),
    ("tell", Deed::Tell, Duration::from_millis(2)),
    ("long", Deed::Echo, Duration::ZERO),
    ("large", Deed::Large, Duration::ZERO),
    ("large failure", Deed::LargeFailure, Duration::ZERO),
    ("large login", Deed::LargeLogIn, Duration::ZERO),
    ("blame", Deed::Blame, Duration::ZERO),
    ("shout", Deed::Shout, Duration::ZERO),
];

/// More than the message buffers in these worlds have, in bytes.
pub(crate) const LARGE: usize = 9000;

pub(crate) fn deed(content: &Content) -> (Deed, Duration) {
    let known = DEEDS.iter().find(|(name, _, _)| name.as_bytes() == content.name());
    known.map(|(_, deed, takes)| (*deed, *takes)).expect("a request of a known name")
}

/// Which request of which client it is: no two are the same.
pub(crate) type Token = (usize, u64);

/// The token is the payload of a request, and of a signal.
pub(crate) fn payload((client, number): Token) -> Payload {
    Payload::utf8(format!("{client}/{number}"))
}

/// The payload of a request: the token, and much more in a long one.
pub(crate) fn request_payload(name: &str, (client, number): Token) -> Payload {
    let padding = if name == "long" { LARGE } else { 0 };
    Payload::utf8(format!("{client}/{number}{}", " ".repeat(padding)))
}

pub(crate) fn token(content: &Content) -> Token {
    let text = content.text().expect("text");
    let (client, number) = text.split_once('/').expect("a token");
    (client.parse().expect("a client"), number.trim_end().parse().expect("a number"))
}

pub(crate) type Reply = Result<Payload, server::RequestError>;

/// What reached the handlers, and what they said. `None`: nothing as yet.
#[derive(Debug, Default)]
pub(crate) struct Record {
    handled: BTreeMap<Token, Option<Reply>>,
}

impl Record {
    pub(crate) fn reached(&mut self, token: Token) {
        assert!(self.handled.insert(token, None).is_none(), "{token:?} came twice");
    }

    pub(crate) fn replied(&mut self, token: Token, reply: Reply) {
        let before = self.handled.insert(token, Some(reply));
        assert_eq!(before, Some(None), "{token:?} was replied to twice");
    }

    pub(crate) fn has_reached(&self, token: Token) -> bool {
        self.handled.contains_key(&token)
    }

    pub(crate) fn reply(&self, token: Token) -> Option<&Reply> {
        self.handled.get(&token)?.as_ref()
    }
}
