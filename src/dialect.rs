//! Every difference between the protocol versions, in one table.

/// The version of the protocol that a peer speaks, as far as that is known.
///
/// 1.4 and 2.0 clients cannot be told apart when they connect (protocol §7.2), so a connection may
/// start out as [`Unknown`](Self::Unknown), which behaves in the way that is safe for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Dialect {
    /// Protocol 1.4: preflight, no heartbeats, protocol-error replies.
    V1_4,
    /// Protocol 1.5: as 1.4, with heartbeats and a read timeout.
    V1_5,
    /// Protocol 2.0: accept-conf instead of the preflight, no protocol-error replies.
    V2_0,
    /// Not yet known: any of the above.
    Unknown,
}

/// What a server answers to a request that it cannot parse (protocol §5.2, §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MalformedRequest {
    /// A protocol-error reply, with an identifier of zeros if none could be read.
    ProtocolError,
    /// An internal-error reply if the identifier could be read, otherwise nothing: understood by
    /// all, fatal to none.
    InternalError,
    /// Nothing.
    Ignore,
}

/// How a server translates the errors of a handler that have a reply type of their own
/// (protocol §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialErrors {
    /// Each to its own type.
    Mapped,
    /// Each to its own type, except the protocol error, which kills 2.0 clients: that one becomes
    /// an internal error.
    MappedButProtocol,
    /// All become internal errors.
    Internal,
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
    /// A binary or UTF-8 signal with a name and no payload parses.
    pub accepts_name_only_signals: bool,
    /// A binary or UTF-8 signal with a name and no payload may be sent to the peer.
    pub sends_name_only_signals: bool,
    /// The server opens each connection with accept-conf.
    pub announces_configuration: bool,
    /// What a request that does not parse is answered with.
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
    accepts_name_only_signals: false,
    sends_name_only_signals: false,
    announces_configuration: false,
    malformed_request: MalformedRequest::ProtocolError,
    special_errors: SpecialErrors::Mapped,
    notifies_own_close: true,
};

const V1_5: Rules = Rules { knows_heartbeat: true, ..V1_4 };

const V2_0: Rules = Rules {
    knows_protocol_error: false,
    knows_accept_conf: true,
    knows_heartbeat: true,
    accepts_name_only_signals: true,
    sends_name_only_signals: true,
    announces_configuration: true,
    malformed_request: MalformedRequest::Ignore,
    special_errors: SpecialErrors::Internal,
    notifies_own_close: false,
};

const UNKNOWN: Rules = Rules {
    knows_protocol_error: true,
    knows_accept_conf: true,
    knows_heartbeat: true,
    accepts_name_only_signals: true,
    sends_name_only_signals: true,
    announces_configuration: true,
    malformed_request: MalformedRequest::InternalError,
    special_errors: SpecialErrors::MappedButProtocol,
    notifies_own_close: true,
};

impl Dialect {
    /// The row of the table for this dialect.
    pub const fn rules(self) -> &'static Rules {
        match self {
            Self::V1_4 => &V1_4,
            Self::V1_5 => &V1_5,
            Self::V2_0 => &V2_0,
            Self::Unknown => &UNKNOWN,
        }
    }
}
