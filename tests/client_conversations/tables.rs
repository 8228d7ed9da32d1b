//! What the references did and ours does differently.

use crate::difference::{Difference, differs};

const TIMED_OUT: &str = "TimedRequest failed (webwire.ReqTimeoutErr)";
const CONNECTION_LOST: &[&str] = &["Failed(ConnectionLost)"];
const LOST_AT_ONCE: &str = "Q14-13: the reference's requests outlive the connection";
const NEEDS_PAYLOAD: &[&str] = &["Refused(UnreadableSignal(NeedsPayload))"];
const UNREAD: &str = "Q14-27: the reference sends signals that no peer reads";
const EMPTY_REQUEST: &[&str] = &["Refused(EmptyRequest)"];
const WRONG_CALL: &str = "a wrong call is no failed request here";

/// 1.4, whatever ours is set to.
pub(crate) const ALWAYS_1_4: &[Difference] = &[
    differs("odd-utf16-reply", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    differs("error-reply-empty-code", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    differs("error-reply-long-code", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    differs("error-reply-non-ascii-code", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    differs("handler-panic", TIMED_OUT, CONNECTION_LOST, LOST_AT_ONCE),
    differs(
        "handler-special-errors",
        TIMED_OUT,
        &["Failed(Protocol)"],
        "Q14-12: the reference ignores the protocol-error reply",
    ),
    differs(
        "connect-wrong-version",
        "5: Connect failed (webwire.ConnIncompErr)",
        NOT_WEBWIRE,
        NAMELESS,
    ),
    differs(
        "connect-wrong-version",
        "6: Connect failed (webwire.ConnIncompErr)",
        NOT_WEBWIRE,
        NAMELESS,
    ),
    differs(
        "name-only-requests",
        "Request failed (webwire.ProtocolErr)",
        EMPTY_REQUEST,
        WRONG_CALL,
    ),
    differs(
        "signals-without-payload",
        r#"Signal(name "ack"; binary, empty)"#,
        NEEDS_PAYLOAD,
        UNREAD,
    ),
    differs("signals-without-payload", "sent 3f0361636b", &[], UNREAD),
    differs(
        "signals-without-payload",
        r#"Signal(name "ack"; utf16, empty)"#,
        NEEDS_PAYLOAD,
        UNREAD,
    ),
    differs("signals-without-payload", "sent 410361636b00", &[], UNREAD),
    differs(
        "signals-without-payload",
        r#"Signal(name ""; binary, empty)"#,
        &["Refused(UnreadableSignal(Empty))"],
        UNREAD,
    ),
    differs("signals-without-payload", "sent 3f00", &[], UNREAD),
    differs(
        "client-gets-odd-messages",
        r#"OnSessionCreated(key ""; info null)"#,
        &[],
        "a session without a key is invalid, it could never be restored",
    ),
    differs(
        "client-gets-odd-messages",
        "OnSessionClosed",
        &[],
        "there is no session to close; the reference tells of it each time",
    ),
];

const NOT_WEBWIRE: &[&str] = &["ConnectFailed(NotWebWire { client: V1_4 })"];
const NAMELESS: &str = "an answer that names no version is not one of WebWire";
const ANY_VERSION: &str = "ours speaks all versions, and the server might advertise 2.0";

/// 1.4, if ours finds out the version.
pub(crate) const AUTO_1_4: &[Difference] = &[
    differs(
        "connect-wrong-version",
        "1: Connect failed (webwire.ConnIncompErr)",
        &["Connected"],
        "the preflight names 1.5, which ours speaks too",
    ),
    differs(
        "connect-wrong-version",
        "5: Connect failed (webwire.ConnIncompErr)",
        SILENT,
        ANY_VERSION,
    ),
    differs(
        "connect-wrong-version",
        "6: Connect failed (webwire.ConnIncompErr)",
        SILENT,
        ANY_VERSION,
    ),
    differs(
        "connect-wrong-version",
        "7: Connect failed (webwire.ProtocolErr)",
        SILENT,
        ANY_VERSION,
    ),
    differs(
        "connect-wrong-version",
        "8: Connect failed (webwire.ProtocolErr)",
        SILENT,
        ANY_VERSION,
    ),
    differs(
        "connect-wrong-version",
        "9: Connect failed (webwire.ProtocolErr)",
        SILENT,
        ANY_VERSION,
    ),
    differs(
        "connect-wrong-version",
        "10: Connect failed (webwire.ProtocolErr)",
        SILENT,
        ANY_VERSION,
    ),
];

const SILENT: &[&str] = &["ConnectFailed(NoAcceptConf)"];
const STOPS: &str = "stops reading";
const TOLERATED: &str = "Q20-01: nothing that ours cannot read keeps it from reading on";
const HONOURED: &str =
    "the server's message buffer is honoured, not demanded to equal the client's";
const NO_BUFFER: &str = "ours has no message buffer of its own, and reads what comes";
const EXCEEDED: &str = "what the server does not read is refused where it is sent";
const NOT_PRINTABLE: &[&str] = &["NoName(NotPrintable { position: 3, byte: 10 })"];
const NO_NAME: &str = "Q20-02: what is refused sends no empty message";

/// 2.0, whatever ours is set to.
pub(crate) const ALWAYS_2_0: &[Difference] = &[
    differs(
        "connect-buffer-mismatch",
        "1: Connect failed (*errors.errorString)",
        &["Connected"],
        HONOURED,
    ),
    differs(
        "connect-odd-accept-conf",
        "4: Connect failed (*errors.errorString)",
        &["Connected"],
        HONOURED,
    ),
    differs(
        "name-only-requests",
        "Request failed (webwire.ErrProtocol)",
        EMPTY_REQUEST,
        WRONG_CALL,
    ),
    differs("odd-utf16-reply", STOPS, &[], TOLERATED),
    differs("error-reply-empty-code", STOPS, &[], TOLERATED),
    differs("error-reply-long-code", STOPS, &[], TOLERATED),
    differs("error-reply-non-ascii-code", STOPS, &[], TOLERATED),
    differs(
        "signal-utf16-without-payload",
        r#"Signal(name "ack"; utf16, empty)"#,
        NEEDS_PAYLOAD,
        "Q20-13: the reference sends signals that no peer reads",
    ),
    differs("signal-utf16-without-payload", "sent 410361636b00", &[], "Q20-13"),
    differs("signal-utf16-without-payload-to-client", STOPS, &[], TOLERATED),
    differs(
        "signal-utf16-without-payload-to-client",
        "Request failed (webwire.ErrDeadlineExceeded)",
        &["reply (binary, empty)"],
        TOLERATED,
    ),
    differs("refused-name", "sent ", &[], NO_NAME),
    differs("refused-name", "Signal failed (*errors.errorString)", NOT_PRINTABLE, WRONG_CALL),
    differs("refused-request-name", "sent ", &[], NO_NAME),
    differs(
        "refused-request-name",
        "Request failed (webwire.ErrTransmission)",
        NOT_PRINTABLE,
        WRONG_CALL,
    ),
    differs("buffer-overflow-to-client", STOPS, &[], NO_BUFFER),
    differs(
        "buffer-overflow-to-client",
        "Request failed (webwire.ErrDeadlineExceeded)",
        &["reply (binary, 56 bytes starting 0x4c4c4c4c)"],
        NO_BUFFER,
    ),
    differs("buffer-overflow-by-client", "sent 8001..", &[], EXCEEDED),
    differs(
        "buffer-overflow-by-client",
        "Request failed (webwire.ErrDeadlineExceeded)",
        &["Refused(TooLarge { length: 74, buffer: 64 })"],
        EXCEEDED,
    ),
    differs("client-gets-odd-messages", STOPS, &[], TOLERATED).times(12),
    differs(
        "client-gets-odd-messages",
        r#"OnSessionCreated(key ""; info null)"#,
        &[],
        "a session without a key is invalid, it could never be restored",
    ),
    differs(
        "client-gets-odd-messages",
        "OnSessionClosed",
        &[],
        "there is no session to close; the reference tells of it each time",
    ),
];
