//! What the reference of 2.0 did and ours does differently.

use crate::difference::{Difference, differs};

const INTERNAL_ERROR: &[&str] = &["1: 020100000000000000"];
const COMPOSED: &str = "Q20-02: what cannot be composed is an internal error of its request";
const PANICKED: &str = "Q20-07: a handler that panics fails its request and nothing else";
const KEY_FORMAT: &str = "only keys the generator could have made reach the store";
const REPLACED: &str =
    "Q14-05, in part also in 2.0: a session is not replaced by restoring another";
const CLOSING: &str = "Q20-19: what comes while the connection closes is refused, not dropped";
const SHUT_DOWN: &str =
    "when no handler runs any more, a server that shuts down closes all connections";
const HANDLED: &str = "time spent in handlers is no silence; at most one more read timeout";

/// Whatever ours is set to.
pub(crate) const ALWAYS: &[Difference] = &[
    differs(
        "accept-conf-short-timeout",
        "1: 17020060ea000000200000",
        &["1: 170200e703000000200000"],
        "the reference takes the default instead of timeouts under one second",
    ),
    differs("odd-utf16-reply", "1: ", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-empty-code", "1: ", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-empty-code-raw", "1: ", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-long-code", "1: ", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-non-ascii-code", "1: ", INTERNAL_ERROR, COMPOSED),
    differs(
        "signal-utf16-without-payload-to-client",
        "1: 41036f646400",
        &[],
        "signals that no client reads are refused where they are sent",
    ),
    differs("handler-panic", "handler panics", INTERNAL_ERROR, PANICKED),
    differs(
        "handler-panic",
        "1 sent 800200000000000000046563686f616e796f6e653f",
        &[r#"OnRequest(name "echo")"#, "1: c00200000000000000616e796f6e653f"],
        PANICKED,
    ),
    differs("session-restore-odd-keys", r#"OnSessionLookup("\x00\x00").."#, &[], KEY_FORMAT),
    differs("session-restore-odd-keys", r#"OnSessionLookup("kkkkkk.."#, &[], KEY_FORMAT),
    differs("session-restore-odd-keys", r#"OnSessionLookup("\xff\xfe").."#, &[], KEY_FORMAT),
    differs(
        "session-restore-over-active",
        r#"OnSessionLookup("session-key-0002"): found"#,
        &[],
        REPLACED,
    ),
    differs(
        "session-restore-over-active",
        r#"1: c00200000000000000 {"i":{"second":true},"k":"session-key-0002"}"#,
        &["1: 020200000000000000"],
        REPLACED,
    ),
    differs(
        "session-restore-over-active",
        "1: c0030000000000000073657373696f6e2d6b65792d30303032",
        &["1: c0030000000000000073657373696f6e2d6b65792d30303031"],
        REPLACED,
    ),
    differs(
        "session-restore-over-active",
        "SessionConnectionsNum first 1, second 2",
        &["SessionConnectionsNum first 1, second 1"],
        REPLACED,
    ),
    differs(
        "session-restore-over-active",
        "SessionConnectionsNum first 1, second 1",
        &["SessionConnectionsNum first 0, second 1"],
        REPLACED,
    ),
    differs(
        "session-close-by-key",
        "nothing more",
        &[r#"OnSessionClosed("session-key-0001")"#],
        "the second time there might be a session that nobody is connected with",
    ),
    differs(
        "connection-close-deferred-concurrent",
        "1 sent 800200000000000000046563686f64726f70706564",
        &["1: 010200000000000000"],
        CLOSING,
    ),
    differs(
        "connection-close-deferred-concurrent",
        "1 sent 2003000000000000006b",
        &["1: 010300000000000000"],
        CLOSING,
    ),
    differs("shutdown", "1: 010200000000000000", &["1: closed, Shutdown"], SHUT_DOWN),
    differs("shutdown", "nothing more", &["2: closed, Shutdown"], SHUT_DOWN),
    differs(
        "shutdown-signal",
        r#"OnSignal(name "ack")"#,
        &[],
        "Q20-05: signals are dropped while the server shuts down",
    ),
    differs(
        "shutdown-signal",
        "2: 400561636b656468616e646c6564",
        &[],
        "Q20-05: signals are dropped while the server shuts down",
    ),
    differs(
        "shutdown-signal",
        "nothing more",
        &["1: closed, Shutdown", "2: closed, Shutdown"],
        SHUT_DOWN,
    ),
    differs("read-timeout-pings", "1: closed", &["1: closed, 101 ms later"], HANDLED),
    differs(
        "read-timeout-slow-handler",
        "1: c00100000000000000646f6e652061",
        &["1: ping", "1: c00100000000000000646f6e652061"],
        "a peer that is silent while its handler runs is asked whether it is still there",
    ),
    differs("read-timeout-slow-handler", "1: closed", &["1: closed, 463 ms later"], HANDLED),
    differs(
        "buffer-overflow-to-client",
        "1: bf04000000000000004c4c..",
        &["reply of 65 bytes, buffer of 64", "1: 020400000000000000"],
        "Q20-08: a reply that its client cannot read is an internal error of its request",
    ),
];

const TOLERATED: &str = "not strict: what cannot be read is ignored, and the connection serves on";
const READ: &str = "not strict: what can be read is read";

/// If ours is not strict.
pub(crate) const LENIENT: &[Difference] = &[
    differs("signal-utf16-without-payload", "1: closed", &[], TOLERATED),
    differs("refused-name", "1: closed", &[], TOLERATED),
    differs("refused-request-name", "1: closed", &[], TOLERATED),
    differs("session-restore-odd-keys", "1: closed", &[], TOLERATED),
    differs("malformed", "*: closed", &[], TOLERATED).times(26),
    differs("unknown-types", "*: closed", &[], TOLERATED).times(15),
    differs("empty-message", "1: closed", &[], TOLERATED),
    differs(
        "text-frames",
        "1: closed",
        &[r#"OnRequest(name "echo")"#, "1: bf01020304050607086869"],
        READ,
    ),
    differs(
        "buffer-overflow",
        "1: closed",
        &[r#"OnRequest(name "empty")"#, "1: bf0200000000000000"],
        READ,
    ),
    differs(
        "buffer-overflow",
        "2: closed",
        &[r#"OnRequest(name "empty")"#, "2: bf0300000000000000"],
        READ,
    ),
    differs(
        "buffer-overflow-by-client",
        "1: closed",
        &[r#"OnRequest(name "echo")"#, "reply of 69 bytes, buffer of 64", "1: 020100000000000000"],
        "not strict: the request is read, but its reply has no room in the client's buffer",
    ),
];

const MAPPED: &str = "the special errors of handlers are mapped as in 1.4, all clients know them";
const NOTIFIED: &str = "clients of 1.4 are told before the reply, those of 2.0 do not mind";
const ANSWERED: &str = "clients of 1.4 wait for an answer, those of 2.0 know this one";
const PATIENT: &str = "only clients that have sent a heartbeat have to send more of them";

/// If ours may be set to speak any version.
pub(crate) const ANY: &[Difference] = &[
    differs("handler-special-errors", "1: 020100000000000000", &["1: 030100000000000000"], MAPPED),
    differs("handler-special-errors", "1: 020200000000000000", &["1: 040200000000000000"], MAPPED),
    differs("handler-special-errors", "1: 020300000000000000", &["1: 050300000000000000"], MAPPED),
    differs("session-create-disabled", "1: 020100000000000000", &["1: 050100000000000000"], MAPPED),
    differs(
        "session-close-without-session",
        "1: bf0300000000000000",
        &["1: 16", "1: bf0300000000000000"],
        NOTIFIED,
    ),
    differs("malformed", "4: closed", &["4: 02a1a2a3a4a5a6a7a8"], ANSWERED),
    differs("malformed", "5: closed", &["5: 02a1a2a3a4a5a6a7a8"], ANSWERED),
    differs("malformed", "9: closed", &["9: 02a1a2a3a4a5a6a7a8"], ANSWERED),
    differs("malformed", "*: closed", &[], TOLERATED).times(23),
    differs("read-timeout", "1: closed", &[], PATIENT),
    differs("read-timeout-pings", "1: closed", &[], PATIENT),
    differs(
        "read-timeout-slow-handler",
        "1: c00100000000000000646f6e652061",
        &["1: c00100000000000000646f6e652061"],
        PATIENT,
    ),
    differs("read-timeout-slow-handler", "1: closed", &[], PATIENT),
];
