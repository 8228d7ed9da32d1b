//! The payloads that requests accept.

use std::borrow::Cow;

use wwr::server::RequestError;
use wwr::{Content, InvalidInfo, SessionInfo};

/// The longest information of a session, in bytes of UTF-8. Escaped it takes up to six times that,
/// and clients read sessions of up to [`Session::MAX_JSON`](wwr::Session::MAX_JSON).
const LONGEST_INFO: usize = 32 * 1024;

/// The payload was not this.
#[derive(Clone, Copy, Debug)]
pub(super) struct BadPayload(pub(super) &'static str);

impl From<BadPayload> for RequestError {
    fn from(BadPayload(wanted): BadPayload) -> Self {
        Self::failed("BAD_PAYLOAD", format!("expected {wanted}"))
    }
}

/// Returns the payload as text, whatever its encoding.
pub(super) fn text<'a>(
    request: &'a Content,
    wanted: &BadPayload,
) -> Result<Cow<'a, str>, BadPayload> {
    request.text().map_err(|_| *wanted)
}

/// Returns the payload as a JSON object of public fields. No payload is an empty object.
pub(super) fn info(request: &Content) -> Result<SessionInfo, BadPayload> {
    let wanted = BadPayload("a JSON object of up to 32 KiB, or nothing");
    let text = text(request, &wanted)?;
    match text.len() {
        0 => Ok(SessionInfo::new()),
        1..=LONGEST_INFO => SessionInfo::from_public_json(&text).map_err(|invalid| match invalid {
            InvalidInfo::UnreadableField => BadPayload(
                "JSON nested at most 125 levels deep, with numbers below 1.8e308 and whole \
                 surrogate pairs",
            ),
            _ => wanted,
        }),
        _ => Err(wanted),
    }
}

#[cfg(test)]
mod tests {
    use wwr::{Payload, Session, SessionKey, UnixTime};

    use super::*;

    fn request(payload: impl Into<Payload>) -> Content {
        Content::new(b"login", &payload.into()).unwrap()
    }

    #[test]
    fn an_object_comes_in_any_encoding() {
        let json = r#"{"user":"ada 😀"}"#;
        let expected = SessionInfo::new().public("user", "ada 😀");
        for payload in [json.into(), Payload::utf16(json), Payload::binary(json)] {
            assert_eq!(info(&request(payload)).unwrap(), expected);
        }
        assert!(info(&request("")).unwrap().is_empty());
        for payload in ["[]".into(), "{".into(), "null".into(), Payload::binary(vec![0xff])] {
            assert!(info(&request(payload)).is_err());
        }
    }

    #[test]
    fn the_longest_object_makes_a_session_that_clients_read() {
        let json = format!(r#"{{"a":"{}"}}"#, "<".repeat(LONGEST_INFO - 8));
        let longest = info(&request(json.clone())).unwrap();
        let key = SessionKey::from_entropy([0; 48]);
        let session = Session::new(key, UnixTime::from_seconds(0), longest);
        assert_eq!(Session::from_json(session.to_json().as_bytes()), Ok(session));
        assert!(info(&request(json + " ")).is_err());
    }

    #[test]
    fn unreadable_sessions_are_refused_and_numbers_keep_their_digits() {
        let nested = |levels| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(info(&request(nested(SessionInfo::MAX_DEPTH))).is_ok());
        let BadPayload(wanted) = info(&request(nested(SessionInfo::MAX_DEPTH + 1))).unwrap_err();
        assert!(wanted.contains(&format!("{} levels", SessionInfo::MAX_DEPTH)));
        let exact = info(&request(r#"{"n":123456789012345678901234567890}"#)).unwrap();
        assert_eq!(exact.json("n").as_deref(), Some("123456789012345678901234567890"));
    }
}
