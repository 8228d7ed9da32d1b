//! The application of the recordings' server.

use wwr::server::RequestError;
use wwr::{Content, Encoding, Name, Payload, SessionInfo};

use crate::transcript::Reference;

/// What a handler does with a request.
pub(crate) enum Step {
    Reply(Result<Payload, RequestError>),
    /// Sends a signal, then replies without payload.
    Signal(Name, Payload),
    /// Creates a session with this info, then replies `ok`.
    Login(SessionInfo),
    /// Closes the session, then replies `bye`.
    Logout,
    /// Replies with the key of the session.
    WhoAmI,
    /// Waits until it is told to go on, then replies [`done`].
    Slow(Payload),
    /// Closes the connection, then replies `closing`.
    CloseMe,
    Panic,
}

/// The handler of requests.
pub(crate) fn on_request(content: &Content) -> Step {
    let payload = content.clone().into_payload();
    let failed = |error| Step::Reply(Err(error));
    match content.name() {
        b"empty" => Step::Reply(Ok(Payload::EMPTY)),
        b"empty-utf8" => Step::Reply(Ok(Payload::utf8_static(""))),
        b"empty-utf16" => Step::Reply(Ok(Payload::utf16(""))),
        b"odd-utf16" => match Payload::new(Encoding::Utf16, &b"\x01\x02\x03"[..]) {
            Ok(payload) => Step::Reply(Ok(payload)),
            // An adapter answers so for whatever a handler could not make a reply of.
            Err(_) => failed(RequestError::Internal),
        },
        b"error" | b"error-ptr" => {
            let text = payload.text().unwrap_or_default().into_owned();
            let (code, message) = text.split_once('|').unwrap_or((&text, ""));
            failed(RequestError::failed(code.to_owned(), message.to_owned()))
        }
        b"internal" | b"err-shutdown" => failed(RequestError::Internal),
        b"panic" => Step::Panic,
        b"err-session-not-found" => failed(RequestError::SessionNotFound),
        b"err-max-conns" => failed(RequestError::MaxSessionConnections),
        b"err-sessions-disabled" => failed(RequestError::SessionsDisabled),
        b"err-protocol" => failed(RequestError::Protocol),
        b"login" | b"login-generic" if payload.is_empty() => Step::Login(SessionInfo::new()),
        b"login" | b"login-generic" => {
            let object = serde_json::from_slice(payload.as_bytes()).expect("a JSON object");
            Step::Login(SessionInfo::from_public(object))
        }
        b"logout" => Step::Logout,
        b"whoami" => Step::WhoAmI,
        b"slow" => Step::Slow(payload),
        b"close-me" => Step::CloseMe,
        b"long" => Step::Reply(Ok(letters(&payload))),
        b"long-signal" => {
            Step::Signal(Name::from_static("long").expect("ASCII"), letters(&payload))
        }
        name => {
            let signal = |name: &[u8], payload| {
                let name = Name::try_from(bytes::Bytes::copy_from_slice(name));
                Step::Signal(name.expect("printable"), payload)
            };
            if let Some(name) = name.strip_prefix(b"sig:") {
                signal(name, payload)
            } else if let Some(name) = name.strip_prefix(b"sig-empty:") {
                signal(name, Payload::new(payload.encoding(), bytes::Bytes::new()).expect("even"))
            } else {
                Step::Reply(Ok(payload))
            }
        }
    }
}

/// As many letters L as a payload says.
fn letters(count: &Payload) -> Payload {
    let count = count.text().unwrap_or_default().parse().expect("a number");
    Payload::binary(vec![b'L'; count])
}

/// What a slow handler replies in the end.
pub(crate) fn done(reference: Reference, payload: &Payload) -> Payload {
    match reference {
        Reference::V1_4 => Payload::utf8_static("done"),
        Reference::V2_0 => Payload::utf8(format!("done {}", payload.text().unwrap_or_default())),
    }
}
