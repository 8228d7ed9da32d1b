//! What the servers serve: what a request of each name does.

use std::time::Duration;

use wwr::client::AnswerError;
use wwr::server::{RequestId, SignalId};
use wwr::{Content, Payload};

use crate::event::millis;
use crate::ledger::Token;

/// A handler gets further.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    Handle(Task),
    SignalHandled(SignalId),
}

/// A request in the hands of its handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) id: RequestId,
    pub(crate) deed: Deed,
    /// Which request it is, if a client of ours made it.
    pub(crate) token: Option<Token>,
}

/// What a handler does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Sends the payload back.
    Echo,
    /// Never replies.
    Never,
    Fail,
    /// Fails inside.
    Crash,
    /// Creates a session.
    LogIn,
    /// Closes it.
    LogOut,
    /// Changes its info.
    Update,
    /// Gives it another key.
    Rotate,
    /// Gives it another key and other info, and closes it for all other connections.
    TakeOver,
    /// Closes it for all connections.
    Kick,
    /// The same, and disconnects them.
    KickOut,
    /// Closes the connection, then replies.
    Leave,
    /// Sends three signals, then replies.
    Tell,
    /// Sends a signal to each connection of the session, then replies.
    TellAll,
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
    /// Joins a group.
    Join,
    /// Leaves it.
    LeaveGroup,
    /// Sends a signal to each connection of a group, then replies.
    TellGroup,
    /// Replies with the key of the session.
    WhoAmI,
}

/// The deeds by the names of their requests, and how long each takes at most.
pub(crate) const DEEDS: [(&str, Deed, Duration); 26] = [
    ("echo", Deed::Echo, Duration::ZERO),
    ("echo soon", Deed::Echo, millis(20)),
    ("slow", Deed::Echo, millis(5000)),
    ("stall", Deed::Echo, millis(1500)),
    ("never", Deed::Never, Duration::ZERO),
    ("fail", Deed::Fail, millis(1)),
    ("crash", Deed::Crash, millis(1)),
    ("login", Deed::LogIn, Duration::ZERO),
    ("login late", Deed::LogIn, millis(100)),
    ("logout", Deed::LogOut, Duration::ZERO),
    ("kick", Deed::Kick, Duration::ZERO),
    ("kick out", Deed::KickOut, Duration::ZERO),
    ("leave", Deed::Leave, millis(1)),
    ("tell", Deed::Tell, millis(2)),
    ("tell all", Deed::TellAll, millis(2)),
    ("long", Deed::Echo, Duration::ZERO),
    ("large", Deed::Large, Duration::ZERO),
    ("large login", Deed::LargeLogIn, Duration::ZERO),
    ("blame", Deed::Blame, Duration::ZERO),
    ("shout", Deed::Shout, Duration::ZERO),
    ("join", Deed::Join, Duration::ZERO),
    ("leave group", Deed::LeaveGroup, Duration::ZERO),
    ("tell group", Deed::TellGroup, millis(2)),
    ("update", Deed::Update, Duration::ZERO),
    ("rotate", Deed::Rotate, Duration::ZERO),
    ("take over", Deed::TakeOver, millis(20)),
];

/// As [`DEEDS`], for scripts: chance never chooses it, so that the worlds of old seeds stay the same.
const WHO_AM_I: (&str, Deed, Duration) = ("whoami", Deed::WhoAmI, Duration::ZERO);

/// As [`DEEDS`], what a request of another name does.
const OTHER: (Deed, Duration) = (Deed::LargeFailure, Duration::ZERO);

/// The names of all requests that do something of their own.
pub fn request_names() -> impl Iterator<Item = &'static str> {
    DEEDS.iter().chain([&WHO_AM_I]).map(|(name, _, _)| *name).chain(["large failure"])
}

/// More than the message buffers in these worlds have, in bytes.
pub(crate) const LARGE: usize = 9000;

pub(crate) fn deed(content: &Content) -> (Deed, Duration) {
    let mut deeds = DEEDS.iter().chain([&WHO_AM_I]);
    let known = deeds.find(|(name, _, _)| name.as_bytes() == content.name());
    known.map_or(OTHER, |(_, deed, takes)| (*deed, *takes))
}

/// The payload of a request: its token, and much more in a long one.
pub(crate) fn request_payload(name: &str, token: Token) -> Payload {
    let padding = if name == "long" { LARGE } else { 0 };
    Payload::utf8(format!("{token}{}", " ".repeat(padding)))
}

/// The number at the beginning of a payload or message.
pub(crate) fn leading_number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(bytes.get(..digits)?).ok()?.parse().ok()
}

/// The payload of the signal of this number on a socket.
pub(crate) fn signal_payload(socket: u64, number: u64) -> Payload {
    Payload::utf8(format!("{socket}/{number}"))
}

/// The names of signals of which some may be dropped when a peer reads slowly: none, the oldest, and all but
/// the last value.
pub(crate) const STATES: [&str; 4] = ["kept", "recent", "state", "other state"];

/// The name of the questions to clients.
pub(crate) const QUESTION: &str = "question";

/// What the application of a client answers to the question of this number, if it answers at all.
pub(crate) fn answer_to(question: &[u8]) -> Option<Result<Payload, AnswerError>> {
    match leading_number(question)? % 4 {
        0 | 1 => Some(Ok(Payload::binary(question.to_vec()))),
        2 => Some(Err(AnswerError::failed("NO", "not now"))),
        _ => None,
    }
}

/// The name of the signals that are numbered.
pub(crate) const NEWS: &str = "news";
