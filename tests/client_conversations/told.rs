//! What applications learn, from the reference and from ours.

use serde_json::Value;
use wwr::client::{ConnectError, Misuse, RequestError};
use wwr::wire::UnreadableSignal;
use wwr::{Content, InvalidName, Payload, Session};

use crate::recording::{Described, Reference, quoted};

/// What an application learns, by an outcome or by an event.
#[derive(Debug, PartialEq)]
pub(crate) enum Told {
    Connected,
    ConnectFailed(ConnectError),
    Reply(Payload),
    Restored(Session),
    Failed(RequestError),
    Refused(Misuse),
    /// There is no such name, so that nothing could be called with it.
    NoName(InvalidName),
    Signal(Content),
    SessionCreated(Session),
    /// By the client itself, on a new connection, or by the application.
    SessionRestored(Session),
    SessionClosed,
    Disconnected,
}

/// The names of the references' errors.
struct Errors {
    failed: &'static str,
    internal: &'static str,
    shutdown: &'static str,
    session_not_found: &'static str,
    max_connections: &'static str,
    sessions_disabled: &'static str,
    timed_out: &'static str,
    incompatible_version: &'static str,
    incompatible_sub_protocol: &'static str,
    /// What the server sends cannot be made sense of.
    unintelligible: &'static str,
    /// There is no connection, for whatever other reason.
    disconnected: &'static str,
    empty_signal: &'static str,
}

const ERRORS_1_4: Errors = Errors {
    failed: "webwire.ReqErr",
    internal: "webwire.ReqInternalErr",
    shutdown: "webwire.ReqSrvShutdownErr",
    session_not_found: "webwire.SessNotFoundErr",
    max_connections: "webwire.MaxSessConnsReachedErr",
    sessions_disabled: "webwire.SessionsDisabledErr",
    timed_out: "webwire.ReqTimeoutErr",
    incompatible_version: "webwire.ConnIncompErr",
    incompatible_sub_protocol: "none",
    unintelligible: "webwire.ProtocolErr",
    disconnected: "webwire.DisconnectedErr",
    empty_signal: "none",
};

const ERRORS_2_0: Errors = Errors {
    failed: "webwire.ErrRequest",
    internal: "webwire.ErrInternal",
    shutdown: "webwire.ErrServerShutdown",
    session_not_found: "webwire.ErrSessionNotFound",
    max_connections: "webwire.ErrMaxSessConnsReached",
    sessions_disabled: "webwire.ErrSessionsDisabled",
    timed_out: "webwire.ErrDeadlineExceeded",
    incompatible_version: "webwire.ErrIncompatibleProtocolVersion",
    incompatible_sub_protocol: "client.ErrMismatchSubProto",
    unintelligible: "*errors.errorString",
    disconnected: "webwire.ErrDisconnected",
    empty_signal: "webwire.ErrProtocol",
};

/// Whether what the reference told its application is what ours tells.
pub(crate) fn agrees(reference: Reference, recorded: &str, told: &Told) -> bool {
    let errors = match reference {
        Reference::V1_4 => &ERRORS_1_4,
        Reference::V2_0 => &ERRORS_2_0,
    };
    let error = |kind: &str| recorded.ends_with(&format!(" failed ({kind})"));
    match told {
        Told::Connected => recorded == "connected",
        Told::ConnectFailed(connect_error) => error(match connect_error {
            ConnectError::IncompatibleVersion { .. } => errors.incompatible_version,
            ConnectError::IncompatibleSubProtocol { .. } => errors.incompatible_sub_protocol,
            ConnectError::NotWebWire { .. } | ConnectError::NotAcceptConf => errors.unintelligible,
            ConnectError::ProbeFailed
            | ConnectError::ProbeTimedOut
            | ConnectError::Unavailable
            | ConnectError::NoAcceptConf
            | ConnectError::DialFailed
            | ConnectError::DialTimedOut
            | ConnectError::LostBeforeReady
            | ConnectError::ClosedBeforeReady(_) => errors.disconnected,
            other => panic!("{other:?} is not compared"),
        }),
        Told::Failed(RequestError::Failed(reply)) => {
            let (code, message) = (json(&reply.code()), json(&reply.message()));
            let kind = errors.failed;
            recorded == format!("Request failed ({kind}, code {code}, message {message})")
        }
        Told::Failed(RequestError::Internal) => error(errors.internal),
        Told::Failed(RequestError::ServerShutdown) => error(errors.shutdown),
        Told::Failed(RequestError::SessionNotFound) => error(errors.session_not_found),
        Told::Failed(RequestError::MaxSessionConnections) => error(errors.max_connections),
        Told::Failed(RequestError::SessionsDisabled) => error(errors.sessions_disabled),
        Told::Failed(RequestError::TimedOut { sent: true }) => error(errors.timed_out),
        Told::Refused(Misuse::UnreadableSignal(UnreadableSignal::Empty)) => {
            error(errors.empty_signal)
        }
        Told::Failed(_) | Told::Refused(_) | Told::NoName(_) => false,
        Told::Reply(payload) => is_payload(recorded, "reply (", payload),
        Told::Signal(content) => {
            let payload = content.clone().into_payload();
            let name = json(content.name_str().expect("the recordings have no other names"));
            match reference {
                // It does not tell the name.
                Reference::V1_4 => is_payload(recorded, "OnSignal(", &payload),
                Reference::V2_0 => {
                    is_payload(recorded, &format!("OnSignal(name {name}; "), &payload)
                }
            }
        }
        Told::Restored(session) => is_session(recorded, "session is now key ", ", info ", session),
        Told::SessionCreated(session) => {
            is_session(recorded, "OnSessionCreated(key ", "; info ", session)
        }
        // One hook for both.
        Told::SessionRestored(session) => {
            reference == Reference::V2_0
                && is_session(recorded, "OnSessionCreated(key ", "; info ", session)
        }
        Told::SessionClosed => recorded == "OnSessionClosed",
        Told::Disconnected => recorded == "OnDisconnected",
    }
}

fn is_payload(recorded: &str, prefix: &str, payload: &Payload) -> bool {
    let rest = recorded.strip_prefix(prefix);
    rest.is_some_and(|rest| Described::parse(rest).0.is(payload))
}

fn is_session(recorded: &str, prefix: &str, separator: &str, session: &Session) -> bool {
    let Some(rest) = recorded.strip_prefix(prefix) else { return false };
    let (key, rest) = quoted(rest);
    let info = rest.strip_prefix(separator).unwrap().trim_end_matches(')');
    let info: Value = serde_json::from_str(info).unwrap();
    let held = session.info.to_public();
    let held = if held.is_empty() { Value::Null } else { Value::Object(held) };
    key == session.key.as_str() && info == held
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}
