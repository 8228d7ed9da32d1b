//! Every difference between the protocol versions, in one table.

use core::fmt;

/// The version of the protocol that a peer speaks, as far as that is known.
///
/// When clients connect, 1.4 and 2.0 cannot be told apart (protocol §7.2). So a connection may
/// start out as [`Unknown`](Self::Unknown), which behaves in the way that is safe for all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Dialect {
    /// Protocol 1.4: preflight, no heartbeats, protocol-error replies.
    V1_4,
    /// Protocol 1.5: as 1.4, with heartbeats and a read timeout.
    V1_5,
    /// Protocol 2.0: accept-conf instead of the preflight, no protocol-error replies.
    V2_0,
    /// The sub-protocol `wwr.1` between peers of this project (protocol §10): as 2.0, with the
    /// protocol-error replies of 1.x, and both sides state the longest message that they read. It is
    /// agreed on in the WebSocket handshake, so that it is known from the first byte.
    Wwr1,
    /// Not yet known: 1.4, 1.5 or 2.0.
    Unknown,
}

impl fmt::Display for Dialect {
    /// The number of the version, "wwr.1", or "unknown".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V1_4 => "1.4",
            Self::V1_5 => "1.5",
            Self::V2_0 => "2.0",
            Self::Wwr1 => "wwr.1",
            Self::Unknown => "unknown",
        })
    }
}

/// What a server answers to a request that it cannot parse (protocol §5.2, §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MalformedRequest {
    /// A protocol-error reply, with an identifier of zeros if none could be read.
    ProtocolError,
    /// An internal-error reply if the identifier could be read, otherwise nothing. Clients of all
    /// versions understand that, and none fails.
    InternalError,
    /// Nothing.
    Ignore,
}

/// How a server translates the errors of a handler that have a reply type of their own
/// (protocol §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpecialErrors {
    /// Each to its own type.
    Mapped,
    /// Each to its own type, except the protocol error, which crashes 2.0 clients: that one becomes
    /// an internal error.
    MappedButProtocol,
    /// All become internal errors.
    Internal,
}

/// How a server finds out that a silent peer has gone (protocol §4.6, §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Liveness {
    /// The peer need not send anything by itself: the server sends WebSocket pings.
    Pings,
    /// The peer sends heartbeats: silence for the advertised read timeout ends the connection.
    ReadTimeout,
}

/// Whether a server answers WebSocket pings, as the reference does (protocol §4.4). A server that
/// answers a ping although the reference would not is another implementation, and answers all of
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pongs {
    /// It answers when it reads. It does not read while it handles a message (protocol §5.3).
    BetweenMessages,
    /// It never answers.
    Never,
    /// It answers whenever it reads, and shows in another way that it is there while it does not read.
    /// It may begin to read late: not before its hook for new connections is done.
    Always,
}

/// One row of the table: how to behave towards a peer of a dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Type 6, the protocol-error reply, is a known message.
    pub knows_protocol_error: bool,
    /// Type 23, accept-conf, is a known message.
    pub knows_accept_conf: bool,
    /// Type 33, the heartbeat, is a known message.
    pub knows_heartbeat: bool,
    /// Type 24, client settings, is a known message. With it a client states the longest message
    /// that it reads; the server does so in its accept-conf. Each side sends nothing longer than
    /// the other has stated, and before that nothing longer than
    /// [`MIN_STATED`](Dialect::MIN_STATED).
    pub states_limits: bool,
    /// The server may ask the client questions, if the client has stated that it answers some: types
    /// 11 to 14 and 25 to 29 are known messages (protocol §10.4).
    pub knows_questions: bool,
    /// The server may keep histories of signals, and outcomes of idempotent requests, if both sides have said
    /// that they do so: types 7, 15 to 19, 30 and 130 to 132 are known messages (protocol §10.5, §10.6).
    pub knows_recovery: bool,
    /// A binary or UTF-8 signal with a name and no payload parses.
    pub accepts_name_only_signals: bool,
    /// A binary or UTF-8 signal with a name and no payload may be sent to the peer.
    pub sends_name_only_signals: bool,
    /// Messages to the peer must fit into its message buffer: the advertised one (a longer message
    /// ends a client of 2.0), or the one that the peer has stated.
    pub bounded_by_buffer: bool,
    /// What silence of the peer means. Clients of a dialect with a read timeout send heartbeats.
    pub liveness: Liveness,
    /// Whether servers answer pings.
    pub pongs: Pongs,
    /// What the peer speaks if it sends a heartbeat although a server of 1.4 or 1.5 would not have
    /// told it to.
    pub after_heartbeat: Dialect,
    /// Everything for which the reference disconnects is fatal here too: text, messages that cannot
    /// be read, and messages longer than the advertised buffer.
    pub strict: bool,
    /// What answers a request that does not parse.
    pub malformed_request: MalformedRequest,
    /// How a handler's special errors are translated.
    pub special_errors: SpecialErrors,
    /// A session-closed message precedes the reply to the client's own close-session request.
    pub notifies_own_close: bool,
}

const V1_4: Rules = Rules {
    knows_protocol_error: true,
    knows_accept_conf: false,
    knows_heartbeat: false,
    states_limits: false,
    knows_questions: false,
    knows_recovery: false,
    accepts_name_only_signals: false,
    sends_name_only_signals: false,
    bounded_by_buffer: false,
    liveness: Liveness::Pings,
    pongs: Pongs::BetweenMessages,
    after_heartbeat: Dialect::V2_0,
    strict: false,
    malformed_request: MalformedRequest::ProtocolError,
    special_errors: SpecialErrors::Mapped,
    notifies_own_close: true,
};

const V1_5: Rules = Rules {
    knows_heartbeat: true,
    liveness: Liveness::ReadTimeout,
    pongs: Pongs::Never,
    after_heartbeat: Dialect::V1_5,
    ..V1_4
};

const V2_0: Rules = Rules {
    knows_protocol_error: false,
    knows_accept_conf: true,
    knows_heartbeat: true,
    states_limits: false,
    knows_questions: false,
    knows_recovery: false,
    accepts_name_only_signals: true,
    sends_name_only_signals: true,
    bounded_by_buffer: true,
    liveness: Liveness::ReadTimeout,
    pongs: Pongs::Never,
    after_heartbeat: Dialect::V2_0,
    strict: false,
    malformed_request: MalformedRequest::Ignore,
    special_errors: SpecialErrors::Internal,
    notifies_own_close: false,
};

const V2_0_STRICT: Rules = Rules { strict: true, ..V2_0 };

const WWR1: Rules = Rules {
    knows_protocol_error: true,
    states_limits: true,
    knows_questions: true,
    knows_recovery: true,
    pongs: Pongs::Always,
    after_heartbeat: Dialect::Wwr1,
    malformed_request: MalformedRequest::ProtocolError,
    special_errors: SpecialErrors::Mapped,
    ..V2_0
};

const UNKNOWN: Rules = Rules {
    knows_protocol_error: true,
    knows_accept_conf: true,
    knows_heartbeat: true,
    states_limits: false,
    knows_questions: false,
    knows_recovery: false,
    accepts_name_only_signals: true,
    sends_name_only_signals: true,
    bounded_by_buffer: true,
    liveness: Liveness::Pings,
    pongs: Pongs::Never,
    after_heartbeat: Dialect::V2_0,
    strict: false,
    malformed_request: MalformedRequest::InternalError,
    special_errors: SpecialErrors::MappedButProtocol,
    notifies_own_close: true,
};

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 5] = [Self::V1_4, Self::V1_5, Self::V2_0, Self::Wwr1, Self::Unknown];

    /// The longest message in bytes that each peer reads where both state a limit: 8192. It holds
    /// before a peer has stated its limit, and if it states less (protocol §10.2).
    pub const MIN_STATED: u32 = 8192;

    /// Returns the row of the table for this dialect.
    pub const fn rules(self) -> &'static Rules {
        match self {
            Self::V1_4 => &V1_4,
            Self::V1_5 => &V1_5,
            Self::V2_0 => &V2_0,
            Self::Wwr1 => &WWR1,
            Self::Unknown => &UNKNOWN,
        }
    }

    /// Returns the name of the setting that bounds messages to clients of this dialect, for logs.
    pub const fn limit_setting(self) -> &'static str {
        if self.rules().states_limits {
            "max_message_size of the client"
        } else {
            "the message buffer"
        }
    }

    /// Returns the row for a server that is as strict as the reference. It differs for 2.0 only:
    /// 1.x servers never disconnect for bad input, an unknown peer may speak 1.x, and peers of
    /// `wwr.1` are not of the reference.
    pub const fn strict_rules(self) -> &'static Rules {
        match self {
            Self::V2_0 => &V2_0_STRICT,
            Self::V1_4 | Self::V1_5 | Self::Wwr1 | Self::Unknown => self.rules(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn every_dialect_has_a_name_of_its_own() {
        let names = Dialect::ALL.map(|dialect| dialect.to_string());
        assert_eq!(names, ["1.4", "1.5", "2.0", "wwr.1", "unknown"]);
    }

    #[test]
    fn wwr_1_has_every_feature_that_any_version_has() {
        let rules = Dialect::Wwr1.rules();
        assert!(rules.knows_protocol_error && rules.knows_accept_conf && rules.knows_heartbeat);
        assert!(rules.accepts_name_only_signals && rules.sends_name_only_signals);
        assert!(rules.states_limits && rules.bounded_by_buffer && !rules.strict);
        assert!(rules.knows_questions && rules.knows_recovery);
        assert!(!rules.notifies_own_close, "the reply tells");
        assert_eq!(rules.special_errors, SpecialErrors::Mapped);
        assert_eq!(rules.malformed_request, MalformedRequest::ProtocolError);
        assert_eq!((rules.liveness, rules.pongs), (Liveness::ReadTimeout, Pongs::Always));
        assert_eq!(rules.after_heartbeat, Dialect::Wwr1);
        assert_eq!(Dialect::Wwr1.strict_rules(), rules);
    }

    #[test]
    fn only_peers_of_wwr_1_state_limits() {
        let stating = Dialect::ALL.into_iter().filter(|dialect| dialect.rules().states_limits);
        assert!(stating.eq([Dialect::Wwr1]));
    }
}
