//! What the payloads of requests have to be.

use std::borrow::Cow;

use serde_json::{Map, Value};
use wwr::Content;
use wwr::server::RequestError;

/// The longest information of a session, in bytes of UTF-8. Escaped it takes up to six times that,
/// and clients read sessions of up to [`Session::MAX_JSON`](wwr::Session::MAX_JSON).
const LONGEST_INFO: usize = 32 * 1024;

/// A payload was not this.
#[derive(Clone, Copy, Debug)]
pub(super) struct BadPayload(pub(super) &'static str);

impl From<BadPayload> for RequestError {
    fn from(BadPayload(wanted): BadPayload) -> Self {
        Self::failed("BAD_PAYLOAD", format!("expected {wanted}"))
    }
}

/// The payload as text, in whichever encoding it is.
pub(super) fn text<'a>(
    request: &'a Content,
    wanted: &BadPayload,
) -> Result<Cow<'a, str>, BadPayload> {
    request.text().map_err(|_| *wanted)
}

/// The payload as a JSON object; none is one without members.
pub(super) fn object(request: &Content) -> Result<Map<String, Value>, BadPayload> {
    let wanted = BadPayload("a JSON object of up to 32 KiB, or nothing");
    let text = text(request, &wanted)?;
    match text.len() {
        0 => Ok(Map::new()),
        1..=LONGEST_INFO => serde_json::from_str(&text).map_err(|_| wanted),
        _ => Err(wanted),
    }
}

#[cfg(test)]
mod tests {
    use wwr::{Payload, Session, SessionInfo, SessionKey, UnixTime};

    use super::*;

    fn request(payload: impl Into<Payload>) -> Content {
        Content::new(b"login", &payload.into()).unwrap()
    }

    #[test]
    fn an_object_comes_in_any_encoding() {
        let json = r#"{"user":"ada 😀"}"#;
        let expected: Map<String, Value> = serde_json::from_str(json).unwrap();
        for payload in [json.into(), Payload::utf16(json), Payload::binary(json)] {
            assert_eq!(object(&request(payload)).unwrap(), expected);
        }
        assert_eq!(object(&request("")).unwrap(), Map::new());
        for payload in ["[]".into(), "{".into(), "null".into(), Payload::binary(vec![0xff])] {
            assert!(object(&request(payload)).is_err());
        }
    }

    #[test]
    fn the_longest_object_makes_a_session_that_clients_read() {
        let json = format!(r#"{{"a":"{}"}}"#, "<".repeat(LONGEST_INFO - 8));
        let info = SessionInfo::from_public(object(&request(json.clone())).unwrap());
        let key = SessionKey::from_entropy([0; 48]);
        let session = Session::new(key, UnixTime::from_seconds(0), info);
        assert_eq!(Session::from_json(session.to_json().as_bytes()), Ok(session));
        assert!(object(&request(json + " ")).is_err());
    }
}
