//! What the reference of 1.4 did and ours does differently.

use crate::difference::{Difference, differs};

const INTERNAL_ERROR: &[&str] = &["1: 020100000000000000"];
const COMPOSED: &str = "Q14-16: what cannot be composed is an internal error of its request";
const OWN_CLOSE: &str = "closing by key destroys the session and tells each connection";
const KEY_FORMAT: &str = "Q14-08: only keys the generator could have made reach the store";
const NO_PAYLOAD: &str = "Q14-27: signals that no client reads are refused where they are sent";
const DESTROYED: &str = r#"OnSessionClosed("session-key-0001")"#;
const DESTROYS: &str = "Q14-01: a session that is closed on its last connection is destroyed";
const SHUT_DOWN: &str =
    "when no handler runs any more, a server that shuts down closes all connections";

/// Whatever ours is set to speak.
pub(crate) const ALWAYS: &[Difference] = &[
    differs("odd-utf16-reply", "1: closed", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-empty-code", "1: closed", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-long-code", "1: closed", INTERNAL_ERROR, COMPOSED),
    differs("error-reply-non-ascii-code", "1: closed", INTERNAL_ERROR, COMPOSED),
    differs(
        "handler-panic",
        "1: closed",
        INTERNAL_ERROR,
        "Q14-04: a handler that panics fails its request and nothing else",
    ),
    differs("signals-without-payload", "1: 40046e6f7465", &[], NO_PAYLOAD),
    differs("signals-without-payload", "1: 41036f646400", &[], NO_PAYLOAD),
    differs("signals-without-payload", "1: 3f00", &[], NO_PAYLOAD),
    differs(
        "session-create-generic-info",
        r#"1: 15 {"i":{"":null,"b":2.0},"k":"session-key-0002"}"#,
        &[r#"1: 15 {"i":{"a":1.0,"b":2.0,"c":3.0},"k":"session-key-0002"}"#],
        "Q14-20: the info is complete",
    ),
    differs(
        "session-restore-lookup-error",
        "1: closed",
        &[],
        "Q14-04: the connection survives an error of the store",
    ),
    differs("session-restore-odd-keys", r#"OnSessionLookup("\x00\x00").."#, &[], KEY_FORMAT),
    differs("session-restore-odd-keys", r#"OnSessionLookup("kkkkkk.."#, &[], KEY_FORMAT),
    differs("session-restore-odd-keys", r#"OnSessionLookup("\xff\xfe").."#, &[], KEY_FORMAT),
    differs(
        "session-restore-over-active",
        r#"1: c00200000000000000 {"i":{"second":true},"k":"session-key-0002"}"#,
        &["1: 060200000000000000"],
        "Q14-05: a session is not replaced by restoring another",
    ),
    differs(
        "session-restore-over-active",
        r#"OnSessionLookup("session-key-0002"): found"#,
        &[],
        "Q14-05: a session is not replaced by restoring another",
    ),
    differs(
        "session-restore-over-active",
        "1: c0030000000000000073657373696f6e2d6b65792d30303032",
        &["1: c0030000000000000073657373696f6e2d6b65792d30303031"],
        "Q14-05: the connection still has its first session",
    ),
    differs(
        "session-restore-over-active",
        "SessionConnectionsNum first 1, second 2",
        &["SessionConnectionsNum first 1, second 1"],
        "Q14-05: nothing leaks",
    ),
    differs(
        "session-restore-over-active",
        "SessionConnectionsNum first 1, second 1",
        &["SessionConnectionsNum first 0, second 1"],
        "Q14-05: nothing leaks",
    ),
    differs("session-close-by-key", "1: closed", &["1: 16", "1: closed, SessionClosed"], OWN_CLOSE),
    differs("session-close-by-key", "2: closed", &["2: 16", "2: closed, SessionClosed"], OWN_CLOSE),
    differs(
        "session-close-by-key",
        "CloseSession of the same key again returned -1",
        &["CloseSession of the same key again returned 0"],
        "no connection was told, whether the session is unknown or unused",
    ),
    differs(
        "session-close-by-key-3",
        "1: closed",
        &["1: 16", "1: closed, SessionClosed"],
        OWN_CLOSE,
    ),
    differs(
        "session-close-by-key-3",
        "3: closed",
        &["3: 16", "3: closed, SessionClosed"],
        OWN_CLOSE,
    ),
    differs(
        "session-close-by-key-3",
        r#"OnRequest(name "whoami")"#,
        &[],
        "Q14-03: no connection is forgotten",
    ),
    differs(
        "session-close-by-key-3",
        "2: c0020000000000000073657373696f6e2d6b65792d30303031",
        &["2: 16", "2: closed, SessionClosed"],
        "Q14-03: no connection is forgotten",
    ),
    differs("session-create-generic-info", "nothing more", &[DESTROYED], DESTROYS),
    differs("session-close-without-session", "nothing more", &[DESTROYED], DESTROYS),
    differs("session-close-by-server", "nothing more", &[DESTROYED], DESTROYS),
    differs("session-close-by-key-3", "nothing more", &[DESTROYED], DESTROYS),
    differs(
        "session-close-by-key",
        "nothing more",
        &[DESTROYED, DESTROYED],
        "Q14-01, and the second time there might be a session that nobody is connected with",
    ),
    differs("shutdown", "1: 010200000000000000", &["1: closed, Shutdown"], SHUT_DOWN),
    differs("shutdown", "nothing more", &["2: closed, Shutdown"], SHUT_DOWN),
];

const WITHOUT_PAYLOAD: &str = "clients of 2.0 send signals without payload";
const MALFORMED: &str = "what kills 2.0 clients is sent to known 1.x clients only";

/// If ours may be set to speak any version. Clients made by hand send no preflight, so that it is
/// not known what they speak.
pub(crate) const ANY: &[Difference] = &[
    differs("malformed", "1: 060000000000000000", &[], MALFORMED).times(12),
    differs("malformed", "1: 06a1a2a3a4a5a6a7a8", &["1: 02a1a2a3a4a5a6a7a8"], MALFORMED).times(4),
    differs("malformed", "1 sent 400161", &[r#"OnSignal(name "a")"#], WITHOUT_PAYLOAD),
    differs(
        "signals-without-payload",
        "1 sent 3f0361636b",
        &[r#"OnSignal(name "ack")"#],
        WITHOUT_PAYLOAD,
    ),
    differs("session-restore-odd-keys", "1: 060000000000000000", &[], MALFORMED),
    differs(
        "session-restore-over-active",
        r#"1: c00200000000000000 {"i":{"second":true},"k":"session-key-0002"}"#,
        &["1: 020200000000000000"],
        MALFORMED,
    ),
];
