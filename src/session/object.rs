//! Sessions and their JSON: on the wire (protocol §3.1) and in storage (protocol §3.3).

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

use serde::Serialize;
use serde_json::value::RawValue;

use super::info::{Fields, InvalidInfo, OnUnreadable, SessionInfo, members};
use super::key::SessionKey;
use crate::time::UnixTime;

/// A session: state of the application that outlives connections.
#[derive(Clone, Debug, PartialEq)]
pub struct Session {
    /// The secret that identifies it.
    pub key: SessionKey,
    /// When it was created.
    pub created: UnixTime,
    /// When it was last looked up before; the time of creation if it never was.
    pub last_lookup: UnixTime,
    /// What the application knows about it.
    pub info: SessionInfo,
}

/// Why a JSON text is not a session, or a session has no readable JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSession {
    /// It is longer than [`Session::MAX_JSON`], or [`Session::MAX_STORED`] if it is stored.
    #[error("longer than any session")]
    TooLong,
    /// It is not JSON, or not an object.
    #[error("not a JSON object")]
    NotAnObject,
    /// A member has the wrong JSON type.
    #[error("member {0:?} has the wrong JSON type")]
    WrongType(char),
    /// A time that cannot be read.
    #[error("member {0:?} is not an RFC 3339 time")]
    InvalidTime(char),
    /// The key is missing or empty.
    #[error("there is no session key")]
    NoKey,
    /// A field of a member cannot be read.
    #[error(
        "member {0:?} has a field that is nested more than {most} levels deep, a number beyond \
         64-bit floating point, or half of a surrogate pair",
        most = SessionInfo::MAX_DEPTH
    )]
    UnreadableField(char),
}

/// The wire form. Serialised in the order of its fields, as the reference does.
#[derive(Serialize)]
struct WireForm<'a> {
    k: &'a str,
    c: String,
    l: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    i: Option<Fields<'a>>,
}

/// The stored form; `p` is ours, the reference ignores it.
#[derive(Serialize)]
struct StoredForm<'a> {
    c: String,
    l: String,
    i: Option<Fields<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<Fields<'a>>,
}

impl Session {
    /// The longest JSON that a client accepts from a server, in bytes: 256 KiB. Reading JSON takes
    /// many times its memory.
    pub const MAX_JSON: usize = 256 * 1024;

    /// The longest JSON that is stored, in bytes: 4 MiB.
    pub const MAX_STORED: usize = 4 * 1024 * 1024;

    /// An upper bound for what the JSON has beside the key and the fields: the names of the members
    /// and two times. In bytes.
    const MAX_FRAME: usize = 256;

    /// Creates a session at `now`.
    pub const fn new(key: SessionKey, now: UnixTime, info: SessionInfo) -> Self {
        Self { key, created: now, last_lookup: now, info }
    }

    /// Returns the JSON that is sent to clients (protocol §3.1): members `k`, `c`, `l` and, if
    /// there are public fields, `i`. It has the form of the reference: this order, fields sorted by
    /// name, no white space, times in UTC, and characters escaped that could end a script in a
    /// page.
    pub fn to_json(&self) -> String {
        json(&WireForm {
            k: self.key.as_str(),
            c: self.created.to_string(),
            l: self.last_lookup.to_string(),
            i: self.info.public_fields(),
        })
    }

    /// Reads the JSON that servers send. As tolerant as the clients of the reference: member names
    /// in any case, unknown members ignored, missing times are [`UnixTime::NEVER`], bytes that are
    /// not UTF-8 become U+FFFD. A field that cannot be read, for one of the reasons of
    /// [`InvalidSession::UnreadableField`], is left out, so that the client can still resume the
    /// session.
    ///
    /// # Errors
    ///
    /// [`InvalidSession`] if the text is not a session, or has no key.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidSession> {
        if json.len() > Self::MAX_JSON {
            return Err(InvalidSession::TooLong);
        }
        Self::read(&String::from_utf8_lossy(json), None, OnUnreadable::LeaveOut)
    }

    /// Returns the JSON that is stored (protocol §3.3): members `c`, `l`, `i` and, if there are
    /// private fields, `p`. The key is not part of it.
    pub fn to_stored(&self) -> String {
        json(&StoredForm {
            c: self.created.to_string(),
            l: self.last_lookup.to_string(),
            i: self.info.public_fields(),
            p: self.info.private_fields(),
        })
    }

    /// Reads what [`to_stored`](Self::to_stored) or the reference stored under `key`. The result is
    /// complete, so that it may be written again.
    ///
    /// # Errors
    ///
    /// [`InvalidSession`] if the text is not a session, or has a field that cannot be read.
    pub fn from_stored(key: SessionKey, json: &[u8]) -> Result<Self, InvalidSession> {
        if json.len() > Self::MAX_STORED {
            return Err(InvalidSession::TooLong);
        }
        let json = core::str::from_utf8(json).map_err(|_| InvalidSession::NotAnObject)?;
        Self::read(json, Some(key), OnUnreadable::Refuse)
    }

    /// Checks whether clients and stores can read this session from its JSON. Checks the lengths as
    /// well.
    ///
    /// # Errors
    ///
    /// [`InvalidSession::UnreadableField`] if a field is nested more deeply than
    /// [`SessionInfo::MAX_DEPTH`]; [`InvalidSession::TooLong`] if the JSON is longer than
    /// [`MAX_JSON`](Self::MAX_JSON), or [`MAX_STORED`](Self::MAX_STORED) for the store.
    pub fn check(&self) -> Result<(), InvalidSession> {
        if self.info.is_too_deep() {
            return Err(InvalidSession::UnreadableField('i'));
        }
        // Nearly all sessions are so small that nothing has to be written to see it.
        let bound = self.info.max_json_length().saturating_add(self.key.as_str().len() * 6);
        if bound.saturating_add(Self::MAX_FRAME) <= Self::MAX_JSON {
            return Ok(());
        }
        if self.to_json().len() > Self::MAX_JSON || self.to_stored().len() > Self::MAX_STORED {
            return Err(InvalidSession::TooLong);
        }
        Ok(())
    }

    /// Reads either form. A known key counts instead of the one in the JSON.
    fn read(
        json: &str,
        known_key: Option<SessionKey>,
        on_unreadable: OnUnreadable,
    ) -> Result<Self, InvalidSession> {
        let (mut key, mut info) = (None, SessionInfo::new());
        let (mut created, mut last_lookup) = (UnixTime::NEVER, UnixTime::NEVER);
        // The reference reads `null` as an empty session.
        let members = match json.trim_ascii() {
            "null" => BTreeMap::new(),
            json => members(json).ok_or(InvalidSession::NotAnObject)?,
        };
        let (mut public, mut private) = (None, None);
        for (name, value) in &members {
            if value.get() == "null" {
                continue;
            }
            match name.as_str() {
                "k" | "K" => key = Some(text('k', value)?),
                "c" | "C" => created = time('c', value)?,
                "l" | "L" => last_lookup = time('l', value)?,
                "i" | "I" => public = Some(value),
                "p" | "P" => private = Some(value),
                _ => {}
            }
        }
        if let Some(fields) = public {
            info = info
                .with_public_json(fields.get(), on_unreadable)
                .map_err(|invalid| in_member('i', invalid))?;
        }
        if let Some(fields) = private {
            info = info
                .with_private_json(fields.get(), on_unreadable)
                .map_err(|invalid| in_member('p', invalid))?;
        }
        let key = match known_key {
            Some(key) => key,
            None => SessionKey::new(key.unwrap_or_default()).map_err(|_| InvalidSession::NoKey)?,
        };
        Ok(Self { key, created, last_lookup, info })
    }
}

const fn in_member(member: char, invalid: InvalidInfo) -> InvalidSession {
    match invalid {
        InvalidInfo::NotAnObject => InvalidSession::WrongType(member),
        InvalidInfo::UnreadableField => InvalidSession::UnreadableField(member),
    }
}

fn text(member: char, value: &RawValue) -> Result<String, InvalidSession> {
    serde_json::from_str(value.get()).map_err(|_| InvalidSession::WrongType(member))
}

fn time(member: char, value: &RawValue) -> Result<UnixTime, InvalidSession> {
    text(member, value)?.parse().map_err(|_| InvalidSession::InvalidTime(member))
}

/// Returns JSON as the reference writes it: without white space, and with the characters escaped
/// that could end a script in a page. These occur only inside of strings.
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
    fn numbers_are_preserved() {
        for number in [2.0546950501119882e-81, 1.7976931348623157e308, 5e-324, -0.1, 1e23] {
            let session = session(SessionInfo::new().public("n", number));
            let stored = Session::from_stored(session.key.clone(), session.to_stored().as_bytes());
            assert_eq!(stored.as_ref(), Ok(&session));
            assert_eq!(Session::from_json(session.to_json().as_bytes()).as_ref(), Ok(&session));
        }
    }

    #[test]
    fn every_digit_is_preserved_in_both_forms() {
        let numbers = r#"{"a":123456789012345678901234567890,"b":[0.10000000000000000001]}"#;
        let stored = alloc::format!(
            r#"{{"c":"2018-06-13T08:20:30.5Z","l":"0001-01-01T00:00:00Z","i":{numbers},"p":{{"c":[9e-999,1e2]}}}}"#
        );
        let key = SessionKey::new("KEY1").unwrap();
        let read = Session::from_stored(key.clone(), stored.as_bytes()).unwrap();
        assert_eq!(read.to_stored(), stored);
        let public = SessionInfo::from_public_json(numbers).unwrap();
        let sent = session(public);
        assert!(sent.to_json().ends_with(&alloc::format!(r#","i":{numbers}}}"#)));
        assert_eq!(Session::from_json(sent.to_json().as_bytes()), Ok(sent));
    }

    #[test]
    fn every_time_and_every_key_is_preserved() {
        for seconds in [i64::MIN, -1, 0, 253_402_300_799, 253_402_300_800, i64::MAX] {
            for key in ["\0", "\u{2028}<\"\\", "\u{10ffff}"] {
                let time = UnixTime::from_seconds(seconds);
                let key = SessionKey::new(key).unwrap();
                let session = Session::new(key, time, SessionInfo::new().public("\0\"", "\u{7f}"));
                assert_eq!(Session::from_json(session.to_json().as_bytes()), Ok(session));
            }
        }
    }

    #[test]
    fn a_session_passes_the_check_exactly_if_it_can_be_read() {
        let nested = |levels| {
            let value = (0..levels).fold(json!(1), |inner, _| json!([inner]));
            session(SessionInfo::new().public("a", value.clone()).private("b", value))
        };
        let most = SessionInfo::MAX_DEPTH;
        let deepest = nested(most);
        assert_eq!(deepest.check(), Ok(()));
        assert!(Session::from_json(deepest.to_json().as_bytes()).is_ok());
        let read = Session::from_stored(deepest.key.clone(), deepest.to_stored().as_bytes());
        assert_eq!(read.as_ref(), Ok(&deepest));
        let deeper = nested(most + 1);
        assert_eq!(deeper.check(), Err(InvalidSession::UnreadableField('i')));
        let read = Session::from_stored(deeper.key.clone(), deeper.to_stored().as_bytes());
        assert_eq!(read, Err(InvalidSession::UnreadableField('i')));
        let long = session(SessionInfo::new().public("a", "x".repeat(Session::MAX_JSON)));
        assert_eq!(long.check(), Err(InvalidSession::TooLong));
        let long = session(SessionInfo::new().private("a", "x".repeat(Session::MAX_STORED)));
        assert_eq!(long.check(), Err(InvalidSession::TooLong));
    }

    #[test]
    fn the_longest_session_is_told_from_longer_ones_to_the_byte() {
        let longest = |character: &str| {
            let bare = session(SessionInfo::new().public("a", "")).to_json().len();
            let escaped = session(SessionInfo::new().public("a", character)).to_json().len() - bare;
            let most = (Session::MAX_JSON - bare) / escaped;
            let with = |count| session(SessionInfo::new().public("a", character.repeat(count)));
            (with(most), with(most + 1))
        };
        for character in ["x", "\u{1}", "<", "\u{2028}", "\u{e9}"] {
            let (fits, longer) = longest(character);
            assert_eq!(fits.check(), Ok(()), "{character:?}");
            assert_eq!(longer.check(), Err(InvalidSession::TooLong), "{character:?}");
        }
        // Of a key, every character may be escaped too.
        let key = SessionKey::new("<".repeat(Session::MAX_JSON / 6)).unwrap();
        let session = Session { key, ..session(SessionInfo::new()) };
        assert_eq!(session.check(), Err(InvalidSession::TooLong));
    }

    #[test]
    fn unreadable_fields_do_not_hide_the_key() {
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        let json = alloc::format!(
            r#"{{"k":"a","x":{deep},"i":{{"deep":{deep},"half":"\ud800","large":1e999,"u":1}}}}"#
        );
        let read = Session::from_json(json.as_bytes()).unwrap();
        assert_eq!(read.key.as_str(), "a");
        assert_eq!(read.info, SessionInfo::new().public("u", 1));
        let read = Session::from_json(b"{\"k\":\"a\",\"i\":{\"u\":\"\xff\"}}").unwrap();
        assert_eq!(read.info, SessionInfo::new().public("u", "\u{fffd}"));
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
