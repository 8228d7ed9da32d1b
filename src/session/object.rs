//! Sessions and their JSON: on the wire (protocol §3.1) and in storage (protocol §3.3).

use alloc::string::{String, ToString};

use serde::Serialize;
use serde_json::{Map, Value};

use super::info::SessionInfo;
use super::key::SessionKey;
use crate::time::UnixTime;

/// A session: state of the application that outlives connections.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The secret that names it.
    pub key: SessionKey,
    /// When it was created.
    pub created: UnixTime,
    /// When it was looked up before; the time of creation if it never was.
    pub last_lookup: UnixTime,
    /// What the application knows about it.
    pub info: SessionInfo,
}

/// Why a JSON text is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSession {
    /// It is longer than [`Session::MAX_JSON`].
    #[error("longer than any session")]
    TooLong,
    /// It is no JSON, or JSON that is no object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member has another JSON type than it should.
    #[error("member {0:?} has the wrong JSON type")]
    WrongType(char),
    /// A time that cannot be read.
    #[error("member {0:?} is no RFC 3339 time")]
    InvalidTime(char),
    /// There is no key, or an empty one.
    #[error("there is no session key")]
    NoKey,
}

/// The members of a session that both forms share, as they are found in an object.
struct Members {
    key: Option<String>,
    created: UnixTime,
    last_lookup: UnixTime,
    public: Map<String, Value>,
    private: Map<String, Value>,
}

/// The wire form. Serialised in the order of its fields, as the reference does.
#[derive(Serialize)]
struct WireForm<'a> {
    k: &'a str,
    c: String,
    l: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    i: Map<String, Value>,
}

/// The stored form; `p` is ours, the reference ignores it.
#[derive(Serialize)]
struct StoredForm {
    c: String,
    l: String,
    i: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    p: Map<String, Value>,
}

impl Session {
    /// The longest JSON that is accepted from a server, in bytes: 256 KiB. Reading JSON takes many
    /// times its memory.
    pub const MAX_JSON: usize = 256 * 1024;

    /// A session created at `now`.
    pub const fn new(key: SessionKey, now: UnixTime, info: SessionInfo) -> Self {
        Self { key, created: now, last_lookup: now, info }
    }

    /// The JSON that is sent to clients (protocol §3.1): members `k`, `c`, `l` and, if there are
    /// public fields, `i`. In the form of the reference: this order, fields sorted by name, no white
    /// space, times in UTC, and what could end a script in a page is escaped.
    pub fn to_json(&self) -> String {
        json(&WireForm {
            k: self.key.as_str(),
            c: self.created.to_string(),
            l: self.last_lookup.to_string(),
            i: self.info.to_public(),
        })
    }

    /// Reads the JSON that servers send. As tolerant as the clients of the reference: member names
    /// in any case, unknown members ignored, missing times are [`UnixTime::NEVER`].
    ///
    /// # Errors
    ///
    /// [`InvalidSession`] if it is no session, or one without a key.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidSession> {
        if json.len() > Self::MAX_JSON {
            return Err(InvalidSession::TooLong);
        }
        let members = Members::parse(json)?;
        let key = members.key.as_deref().unwrap_or_default();
        let key = SessionKey::new(key).map_err(|_| InvalidSession::NoKey)?;
        Ok(members.into_session(key))
    }

    /// The JSON that is stored (protocol §3.3): members `c`, `l`, `i` and, if there are private
    /// fields, `p`. The key is not part of it.
    pub fn to_stored(&self) -> String {
        let public = self.info.to_public();
        json(&StoredForm {
            c: self.created.to_string(),
            l: self.last_lookup.to_string(),
            i: Some(public).filter(|fields| !fields.is_empty()),
            p: self.info.to_private(),
        })
    }

    /// Reads what [`to_stored`](Self::to_stored) or the reference stored under `key`.
    ///
    /// # Errors
    ///
    /// [`InvalidSession`] if it is no session.
    pub fn from_stored(key: SessionKey, json: &[u8]) -> Result<Self, InvalidSession> {
        Members::parse(json).map(|members| members.into_session(key))
    }
}

impl Members {
    fn parse(json: &[u8]) -> Result<Self, InvalidSession> {
        let value = serde_json::from_slice(json).map_err(|_| InvalidSession::NotAnObject)?;
        let object = match value {
            Value::Object(object) => object,
            // The reference reads `null` as a session without anything.
            Value::Null => Map::new(),
            _ => return Err(InvalidSession::NotAnObject),
        };
        let mut members = Self {
            key: None,
            created: UnixTime::NEVER,
            last_lookup: UnixTime::NEVER,
            public: Map::new(),
            private: Map::new(),
        };
        for (name, value) in object {
            if value.is_null() {
                continue;
            }
            match name.as_str() {
                "k" | "K" => members.key = Some(text('k', value)?),
                "c" | "C" => members.created = time('c', value)?,
                "l" | "L" => members.last_lookup = time('l', value)?,
                "i" | "I" => members.public = fields('i', value)?,
                "p" | "P" => members.private = fields('p', value)?,
                _ => {}
            }
        }
        Ok(members)
    }

    fn into_session(self, key: SessionKey) -> Session {
        let info = SessionInfo::from_public(self.public);
        let info =
            self.private.into_iter().fold(info, |info, (name, value)| info.private(name, value));
        Session { key, created: self.created, last_lookup: self.last_lookup, info }
    }
}

fn text(member: char, value: Value) -> Result<String, InvalidSession> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(InvalidSession::WrongType(member)),
    }
}

fn time(member: char, value: Value) -> Result<UnixTime, InvalidSession> {
    text(member, value)?.parse().map_err(|_| InvalidSession::InvalidTime(member))
}

fn fields(member: char, value: Value) -> Result<Map<String, Value>, InvalidSession> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(InvalidSession::WrongType(member)),
    }
}

/// JSON as the reference writes it: without white space, and with the characters escaped that
/// could end a script in a page. These stand nowhere in JSON but inside strings.
fn json(form: &impl Serialize) -> String {
    // Maps with text keys and values that were JSON before cannot fail to serialise.
    let plain = serde_json::to_vec(form).unwrap_or_default();
    let plain = String::from_utf8(plain).unwrap_or_default();
    let special = ['<', '>', '&', '\u{2028}', '\u{2029}'];
    if !plain.contains(special) {
        return plain;
    }
    plain.chars().fold(String::with_capacity(plain.len() + 16), |mut escaped, character| {
        if special.contains(&character) {
            escaped.push_str(&alloc::format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(info: SessionInfo) -> Session {
        let key = SessionKey::new("KEY1").unwrap();
        let mut session = Session::new(key, "2018-06-13T08:20:30.5Z".parse().unwrap(), info);
        session.last_lookup = UnixTime::NEVER;
        session
    }

    #[test]
    fn the_wire_form_is_that_of_the_reference() {
        let info = SessionInfo::new()
            .public("u", "<bob>&\u{2028}\u{2029}")
            .public("n", 1)
            .private("p", true);
        let expected = r#"{"k":"KEY1","c":"2018-06-13T08:20:30.5Z","l":"0001-01-01T00:00:00Z","i":{"n":1,"u":"\u003cbob\u003e\u0026\u2028\u2029"}}"#;
        assert_eq!(session(info).to_json(), expected);
        let bare = r#"{"k":"KEY1","c":"2018-06-13T08:20:30.5Z","l":"0001-01-01T00:00:00Z"}"#;
        assert_eq!(session(SessionInfo::new().private("p", 1)).to_json(), bare);
    }

    #[test]
    fn the_stored_form_keeps_private_fields_and_reads_files_of_the_reference() {
        let info = SessionInfo::new().public("u", "ada").private("quota", json!([1, 2]));
        let last_lookup = UnixTime::from_seconds(1);
        let full = Session { last_lookup, ..session(info) };
        let stored = full.to_stored();
        assert_eq!(Session::from_stored(full.key.clone(), stored.as_bytes()), Ok(full));
        let empty = session(SessionInfo::new());
        assert!(empty.to_stored().ends_with(r#","i":null}"#));

        let theirs = br#"{"c":"2026-11-22T12:31:06.249976669Z","l":"0001-01-01T00:00:00Z","i":{"n":1,"u":"bob"},"x":0}"#;
        let read = Session::from_stored(SessionKey::new("k").unwrap(), theirs).unwrap();
        assert_eq!(read.last_lookup, UnixTime::NEVER);
        assert_eq!(read.info, SessionInfo::new().public("n", 1).public("u", "bob"));
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        for number in [2.0546950501119882e-81, 1.7976931348623157e308, 5e-324, -0.1, 1e23] {
            let session = session(SessionInfo::new().public("n", number));
            let stored = Session::from_stored(session.key.clone(), session.to_stored().as_bytes());
            assert_eq!(stored.as_ref(), Ok(&session));
            assert_eq!(Session::from_json(session.to_json().as_bytes()).as_ref(), Ok(&session));
        }
    }

    #[test]
    fn what_a_server_sends_is_bounded() {
        let most = 262_144;
        assert_eq!(Session::MAX_JSON, most);
        let mut json = br#"{"k":"a"}"#.to_vec();
        json.resize(most, b' ');
        assert!(Session::from_json(&json).is_ok());
        json.push(b' ');
        assert_eq!(Session::from_json(&json), Err(InvalidSession::TooLong));
    }

    #[test]
    fn reading_is_as_tolerant_as_the_reference() {
        let read = Session::from_json(
            br#"{"K":"KEY1","C":"2018-06-13T10:20:30.5+02:00","z":[],"i":null}"#,
        );
        assert_eq!(read, Ok(session(SessionInfo::new())));
        let read = Session::from_json(br#"{"k":"a","L":"1970-01-01T00:00:02Z","I":{"u":1}}"#);
        let (created, last_lookup) = (UnixTime::NEVER, UnixTime::from_seconds(2));
        let (key, info) = (SessionKey::new("a").unwrap(), SessionInfo::new().public("u", 1));
        assert_eq!(read, Ok(Session { key, created, last_lookup, info }));
        for (json, error) in [
            (&b"{"[..], InvalidSession::NotAnObject),
            (b"[]", InvalidSession::NotAnObject),
            (b"{}x", InvalidSession::NotAnObject),
            (b"null", InvalidSession::NoKey),
            (b"{}", InvalidSession::NoKey),
            (br#"{"k":""}"#, InvalidSession::NoKey),
            (br#"{"k":1}"#, InvalidSession::WrongType('k')),
            (br#"{"k":"a","i":[]}"#, InvalidSession::WrongType('i')),
            (br#"{"k":"a","c":"today"}"#, InvalidSession::InvalidTime('c')),
        ] {
            assert_eq!(Session::from_json(json), Err(error), "{}", String::from_utf8_lossy(json));
        }
    }
}
