//! JSON, read by the browser.

use js_sys::{JSON, Object};
use wasm_bindgen::prelude::*;

use crate::browser::property;

/// The members of a JSON object.
pub(crate) struct Members;

impl Members {
    /// Returns the members of the object in this text, in their order. `None` if it is no JSON object. Bytes that
    /// are not UTF-8 become U+FFFD.
    pub(crate) fn parse(json: &[u8]) -> Option<Vec<(String, JsValue)>> {
        let object = JSON::parse(&String::from_utf8_lossy(json)).ok()?;
        if !object.is_object() || js_sys::Array::is_array(&object) {
            return None;
        }
        let names = Object::keys(object.unchecked_ref::<Object>()).into_iter();
        let members = names.filter_map(|name| {
            let name = name.as_string()?;
            let value = property(&object, &name)?;
            Some((name, value))
        });
        Some(members.collect())
    }
}

/// Reads a session object (protocol §3.1) as [`wwr::Session::from_json`] does, and leaves the info to JavaScript.
#[cfg(feature = "js")]
pub(crate) fn session(json: &[u8]) -> Result<wwr::Session, wwr::session::InvalidSession> {
    use wwr::session::InvalidSession;
    use wwr::{Session, SessionInfo, SessionKey, UnixTime};

    let text =
        |member: char, value: &JsValue| value.as_string().ok_or(InvalidSession::WrongType(member));
    let time = |member: char, value: &JsValue| {
        let milliseconds = js_sys::Date::parse(&text(member, value)?);
        if milliseconds.is_nan() {
            return Err(InvalidSession::InvalidTime(member));
        }
        let seconds = (milliseconds / 1e3).floor();
        let nanos = (milliseconds - seconds * 1e3) * 1e6;
        Ok(UnixTime::from_parts(seconds as i64, nanos as u32))
    };
    if json.len() > Session::MAX_JSON {
        return Err(InvalidSession::TooLong);
    }
    let mut key = None;
    let (mut created, mut last_lookup) = (UnixTime::NEVER, UnixTime::NEVER);
    let mut info = SessionInfo::new();
    for (name, value) in Members::parse(json).ok_or(InvalidSession::NotAnObject)? {
        match name.as_str() {
            "k" | "K" => key = Some(text('k', &value)?),
            "c" | "C" => created = time('c', &value)?,
            "l" | "L" => last_lookup = time('l', &value)?,
            "i" | "I" if value.is_object() => {
                let text = JSON::stringify(&value).map_err(|_| InvalidSession::WrongType('i'))?;
                info = SessionInfo::unread(String::from(text));
            }
            "i" | "I" => return Err(InvalidSession::WrongType('i')),
            _ => {}
        }
    }
    let key = SessionKey::new(key.unwrap_or_default()).map_err(|_| InvalidSession::NoKey)?;
    Ok(Session { key, created, last_lookup, info })
}
