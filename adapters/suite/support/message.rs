//! WebWire messages, composed by hand.

pub(crate) const BINARY: u8 = 127;
pub(crate) const UTF8: u8 = 128;
pub(crate) const UTF16: u8 = 129;

/// The kinds of special replies.
pub(crate) const SHUTDOWN: u8 = 1;
pub(crate) const INTERNAL: u8 = 2;
pub(crate) const NOT_FOUND: u8 = 3;
pub(crate) const MAX_CONNECTIONS: u8 = 4;
pub(crate) const DISABLED: u8 = 5;
pub(crate) const PROTOCOL: u8 = 6;

/// Accept-conf with the defaults: 2.0, a read timeout of 60 s, a message buffer of 8192 bytes.
pub(crate) const ACCEPT_CONF: &[u8] = &[23, 2, 0, 0x60, 0xea, 0, 0, 0, 0x20, 0, 0];

/// A heartbeat.
pub(crate) const HEARTBEAT: &[u8] = &[33];

/// The message that a session was closed.
pub(crate) const SESSION_CLOSED: &[u8] = &[22];

pub(crate) fn request(kind: u8, id: u64, name: &str, payload: &[u8]) -> Vec<u8> {
    let padded = kind == UTF16 && name.len() % 2 == 1;
    let mut message = vec![kind];
    message.extend(id.to_be_bytes());
    message.push(name.len().try_into().unwrap());
    message.extend(name.as_bytes());
    message.extend(padded.then_some(0));
    message.extend(payload);
    message
}

/// A request with a UTF-8 payload.
pub(crate) fn ask(id: u64, name: &str, payload: &str) -> Vec<u8> {
    request(UTF8, id, name, payload.as_bytes())
}

/// The reply to a request of this kind.
pub(crate) fn reply(to: u8, id: u64, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![to + 64];
    message.extend(id.to_be_bytes());
    message.extend((to == UTF16).then_some(0));
    message.extend(payload);
    message
}

/// A reply with a UTF-8 payload.
pub(crate) fn answer(id: u64, payload: &str) -> Vec<u8> {
    reply(UTF8, id, payload.as_bytes())
}

/// The reply without payload to a request to close the session.
pub(crate) fn empty_reply(id: u64) -> Vec<u8> {
    reply(BINARY, id, b"")
}

pub(crate) fn special(kind: u8, id: u64) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend(id.to_be_bytes());
    message
}

pub(crate) fn error(id: u64, code: &str, text: &str) -> Vec<u8> {
    let mut message = special(0, id);
    message.push(code.len().try_into().unwrap());
    message.extend(code.as_bytes());
    message.extend(text.as_bytes());
    message
}

/// A signal with a payload of the encoding that requests of this kind have.
pub(crate) fn signal(kind: u8, name: &str, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![kind - 64, name.len().try_into().unwrap()];
    message.extend(name.as_bytes());
    message.extend((kind == UTF16 && name.len() % 2 == 1).then_some(0));
    message.extend(payload);
    message
}

pub(crate) fn restore(id: u64, key: &str) -> Vec<u8> {
    let mut message = special(32, id);
    message.extend(key.as_bytes());
    message
}

pub(crate) fn close_session(id: u64) -> Vec<u8> {
    special(31, id)
}

pub(crate) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
