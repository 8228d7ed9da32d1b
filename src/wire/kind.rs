//! Message types.

use core::fmt;

use crate::dialect::Dialect;

use super::payload::Encoding;

/// Which side may send a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// Only the server.
    Server,
    /// Only the client.
    Client,
    /// Both.
    Both,
}

/// Whether a kind that is known to `all`, or by this rule, is known in a dialect.
macro_rules! is_known {
    ($dialect:ident all) => {
        true
    };
    ($dialect:ident $rule:ident) => {
        $dialect.rules().$rule
    };
}

/// One row for each kind: number, name, which side sends it, and the dialects that know it: `all`, or
/// the member of [`Rules`](crate::dialect::Rules) that says so.
macro_rules! kinds {
    ($($byte:literal $name:ident $sender:ident $known:ident $doc:literal,)*) => {
        /// The type of a message: its first byte (protocol §1.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Kind {
            $(#[doc = $doc] $name = $byte,)*
        }

        impl Kind {
            /// All kinds of all versions, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the kind with this number in any version.
            #[inline(always)]
            pub const fn from_byte(byte: u8) -> Option<Self> {
                match byte {
                    $($byte => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Returns which side may send it.
            pub const fn sender(self) -> Sender {
                match self {
                    $(Self::$name => Sender::$sender,)*
                }
            }

            /// Returns whether peers of `dialect` know this kind.
            #[inline(always)]
            pub const fn is_known_in(self, dialect: Dialect) -> bool {
                match self {
                    $(Self::$name => is_known!(dialect $known),)*
                }
            }
        }
    };
}

kinds! {
    0 ErrorReply Server all "The request failed with a code and a message.",
    1 ReplyShutdown Server all "The request was refused: the server is shutting down.",
    2 ReplyInternalError Server all "The request failed, without details.",
    3 ReplySessionNotFound Server all "There is no session of that key.",
    4 ReplyMaxSessionConnections Server all "The session has all the connections it may have.",
    5 ReplySessionsDisabled Server all "The server has no sessions.",
    6 ReplyProtocolError Server knows_protocol_error "The request could not be parsed; 1.x and wwr.1.",
    7 ReplyOutcomeUnknown Server knows_recovery "Whether the idempotent request was executed, or how it ended, is not known; wwr.1.",
    8 ReplyNotExecuted Server knows_recovery "The server cannot keep the outcome of the idempotent request now, and does not execute it; wwr.1.",
    11 QuestionBinary Server knows_questions "A question to the client with a binary payload; wwr.1.",
    12 QuestionUtf8 Server knows_questions "A question to the client with a UTF-8 payload; wwr.1.",
    13 QuestionUtf16 Server knows_questions "A question to the client with a UTF-16 payload; wwr.1.",
    14 QuestionCancelled Server knows_questions "The server does not wait for the answer any more; wwr.1.",
    15 HistorySignalBinary Server knows_recovery "A signal of the history of the session with a binary payload; wwr.1.",
    16 HistorySignalUtf8 Server knows_recovery "A signal of the history of the session with a UTF-8 payload; wwr.1.",
    17 HistorySignalUtf16 Server knows_recovery "A signal of the history of the session with a UTF-16 payload; wwr.1.",
    18 HistoryMark Server knows_recovery "Where the client is in the history of its session; wwr.1.",
    19 KeptOutcomes Server knows_recovery "Which outcomes of idempotent requests the server keeps; wwr.1.",
    21 SessionCreated Server all "The server created a session for this connection.",
    22 SessionClosed Server all "The session of this connection was closed.",
    23 AcceptConf Server knows_accept_conf "The server's settings, the first message of a connection of 2.0 and wwr.1.",
    24 ClientSettings Client states_limits "The client's settings, its first message in wwr.1.",
    25 AnswerBinary Client knows_questions "An answer with a binary payload; wwr.1.",
    26 AnswerUtf8 Client knows_questions "An answer with a UTF-8 payload; wwr.1.",
    27 AnswerUtf16 Client knows_questions "An answer with a UTF-16 payload; wwr.1.",
    28 AnswerError Client knows_questions "The question failed with a code and a message; wwr.1.",
    29 AnswerRefused Client knows_questions "The question failed for a reason that has a number; wwr.1.",
    30 ResumeSession Client knows_recovery "Asks to continue the session of a key from a place in its history; wwr.1.",
    31 CloseSession Client all "Asks to close the session of this connection.",
    32 RestoreSession Client all "Asks to continue the session of a key.",
    33 Heartbeat Client knows_heartbeat "Keeps a connection alive; 1.5, 2.0 and wwr.1.",
    63 SignalBinary Both all "A signal with a binary payload.",
    64 SignalUtf8 Both all "A signal with a UTF-8 payload.",
    65 SignalUtf16 Both all "A signal with a UTF-16 payload.",
    127 RequestBinary Client all "A request with a binary payload.",
    128 RequestUtf8 Client all "A request with a UTF-8 payload.",
    129 RequestUtf16 Client all "A request with a UTF-16 payload.",
    130 IdempotentRequestBinary Client knows_recovery "A request that may be repeated, with a binary payload; wwr.1.",
    131 IdempotentRequestUtf8 Client knows_recovery "A request that may be repeated, with a UTF-8 payload; wwr.1.",
    132 IdempotentRequestUtf16 Client knows_recovery "A request that may be repeated, with a UTF-16 payload; wwr.1.",
    191 ReplyBinary Server all "A reply with a binary payload.",
    192 ReplyUtf8 Server all "A reply with a UTF-8 payload.",
    193 ReplyUtf16 Server all "A reply with a UTF-16 payload.",
}

impl fmt::Display for Kind {
    /// The name of the kind, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ErrorReply => "error reply",
            Self::ReplyShutdown => "reply, shutting down",
            Self::ReplyInternalError => "reply, internal error",
            Self::ReplySessionNotFound => "reply, session not found",
            Self::ReplyMaxSessionConnections => "reply, too many connections of the session",
            Self::ReplySessionsDisabled => "reply, sessions disabled",
            Self::ReplyProtocolError => "reply, protocol error",
            Self::ReplyOutcomeUnknown => "reply, outcome unknown",
            Self::ReplyNotExecuted => "reply, not executed",
            Self::HistorySignalBinary => "history signal, binary",
            Self::HistorySignalUtf8 => "history signal, UTF-8",
            Self::HistorySignalUtf16 => "history signal, UTF-16",
            Self::HistoryMark => "history mark",
            Self::KeptOutcomes => "kept outcomes",
            Self::ResumeSession => "resume session",
            Self::IdempotentRequestBinary => "idempotent request, binary",
            Self::IdempotentRequestUtf8 => "idempotent request, UTF-8",
            Self::IdempotentRequestUtf16 => "idempotent request, UTF-16",
            Self::SessionCreated => "session created",
            Self::SessionClosed => "session closed",
            Self::AcceptConf => "accept-conf",
            Self::ClientSettings => "client settings",
            Self::CloseSession => "close session",
            Self::RestoreSession => "restore session",
            Self::Heartbeat => "heartbeat",
            Self::SignalBinary => "signal, binary",
            Self::SignalUtf8 => "signal, UTF-8",
            Self::SignalUtf16 => "signal, UTF-16",
            Self::RequestBinary => "request, binary",
            Self::RequestUtf8 => "request, UTF-8",
            Self::RequestUtf16 => "request, UTF-16",
            Self::ReplyBinary => "reply, binary",
            Self::ReplyUtf8 => "reply, UTF-8",
            Self::ReplyUtf16 => "reply, UTF-16",
            Self::QuestionBinary => "question, binary",
            Self::QuestionUtf8 => "question, UTF-8",
            Self::QuestionUtf16 => "question, UTF-16",
            Self::QuestionCancelled => "question cancelled",
            Self::AnswerBinary => "answer, binary",
            Self::AnswerUtf8 => "answer, UTF-8",
            Self::AnswerUtf16 => "answer, UTF-16",
            Self::AnswerError => "answer, error",
            Self::AnswerRefused => "answer, refused",
        })
    }
}

impl Kind {
    /// Returns the number of this kind, the first byte of its messages.
    pub const fn as_byte(self) -> u8 {
        self as u8
    }

    /// Returns whether a client that sends it expects exactly one reply: requests, close-session,
    /// restore-session, resume-session. Questions of a server are answered by messages of other kinds (protocol
    /// §10.4).
    pub const fn requires_reply(self) -> bool {
        matches!(
            self,
            Self::CloseSession
                | Self::RestoreSession
                | Self::ResumeSession
                | Self::IdempotentRequestBinary
                | Self::IdempotentRequestUtf8
                | Self::IdempotentRequestUtf16
                | Self::RequestBinary
                | Self::RequestUtf8
                | Self::RequestUtf16
        )
    }

    pub(crate) const fn signal(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Binary => Self::SignalBinary,
            Encoding::Utf8 => Self::SignalUtf8,
            Encoding::Utf16 => Self::SignalUtf16,
        }
    }

    pub(crate) const fn request(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Binary => Self::RequestBinary,
            Encoding::Utf8 => Self::RequestUtf8,
            Encoding::Utf16 => Self::RequestUtf16,
        }
    }

    /// Whether a message that begins with this byte may be one that a server handles as soon as it
    /// comes, even if others wait: a heartbeat, client settings, or an answer. True for some more.
    #[inline(always)]
    pub(crate) const fn may_overtake(byte: u8) -> bool {
        matches!(byte, 24..=33)
    }

    /// Returns whether this is the answer to a question, or the reason why there is none.
    pub(crate) const fn is_answer(self) -> bool {
        matches!(
            self,
            Self::AnswerBinary
                | Self::AnswerUtf8
                | Self::AnswerUtf16
                | Self::AnswerError
                | Self::AnswerRefused
        )
    }

    pub(crate) const fn question(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Binary => Self::QuestionBinary,
            Encoding::Utf8 => Self::QuestionUtf8,
            Encoding::Utf16 => Self::QuestionUtf16,
        }
    }

    pub(crate) const fn history_signal(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Binary => Self::HistorySignalBinary,
            Encoding::Utf8 => Self::HistorySignalUtf8,
            Encoding::Utf16 => Self::HistorySignalUtf16,
        }
    }

    pub(crate) const fn idempotent_request(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Binary => Self::IdempotentRequestBinary,
            Encoding::Utf8 => Self::IdempotentRequestUtf8,
            Encoding::Utf16 => Self::IdempotentRequestUtf16,
        }
    }

    pub(crate) const fn answer(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Binary => Self::AnswerBinary,
            Encoding::Utf8 => Self::AnswerUtf8,
            Encoding::Utf16 => Self::AnswerUtf16,
        }
    }

    pub(crate) const fn reply(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Binary => Self::ReplyBinary,
            Encoding::Utf8 => Self::ReplyUtf8,
            Encoding::Utf16 => Self::ReplyUtf16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_convert_to_numbers_and_back() {
        for byte in 0..=u8::MAX {
            assert_eq!(Kind::from_byte(byte).map_or(byte, Kind::as_byte), byte);
        }
        assert_eq!(Kind::ALL.len(), 43);
        assert!(Kind::ALL.iter().all(|kind| Kind::from_byte(kind.as_byte()) == Some(*kind)));
    }

    #[test]
    fn what_overtakes_is_among_what_may() {
        for kind in Kind::ALL {
            let overtakes =
                kind.is_answer() || matches!(kind, Kind::Heartbeat | Kind::ClientSettings);
            assert!(!overtakes || Kind::may_overtake(kind.as_byte()), "{kind:?}");
        }
        for kind in [Kind::SignalUtf8, Kind::RequestBinary, Kind::RequestUtf16] {
            assert!(!Kind::may_overtake(kind.as_byte()), "{kind:?}");
        }
    }

    #[test]
    fn versions_differ_in_four_kinds_and_wwr_1_has_questions() {
        let known = |dialect| Kind::ALL.iter().filter(|kind| kind.is_known_in(dialect)).count();
        assert_eq!(known(Dialect::V1_4), 20);
        assert_eq!(known(Dialect::V1_5), 21);
        assert_eq!(known(Dialect::V2_0), 21);
        assert_eq!(known(Dialect::Unknown), 22);
        assert_eq!(known(Dialect::Wwr1), 43);
        assert!(!Kind::ClientSettings.is_known_in(Dialect::Unknown));
        assert!(!Kind::QuestionUtf8.is_known_in(Dialect::V2_0));
        assert!(!Kind::AnswerUtf8.is_known_in(Dialect::Unknown));
        assert!(!Kind::ReplyProtocolError.is_known_in(Dialect::V2_0));
        assert!(!Kind::AcceptConf.is_known_in(Dialect::V1_5));
        assert!(!Kind::Heartbeat.is_known_in(Dialect::V1_4));
    }
}
