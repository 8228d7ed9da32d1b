//! The names of the requests and signals that a server has handlers for, as it lists them if the
//! application allows that (protocol §4.7).
//!
//! They are asked for with the method `OPTIONS` and the header `Accept: application/vnd.webwire.names+json`
//! ([`CONTENT_TYPE`]). A server that does not list them, or knows nothing of this, answers as always.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::wire::Name;

/// What `Accept` has in the request, and `Content-Type` in an answer with names.
pub const CONTENT_TYPE: &str = "application/vnd.webwire.names+json";

/// The longest body that is read, in bytes.
pub const MAX_BODY: usize = 64 * 1024;

/// Returns whether a `Content-Type` says that an answer has names: case does not count, and parameters are
/// ignored (RFC 9110 §8.3.1).
pub fn is_content_type(value: &[u8]) -> bool {
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(CONTENT_TYPE.as_bytes())
}

/// The names of the handlers of a server.
///
/// ```
/// use wwr::names::Names;
///
/// let mut names = Names::default();
/// names.requests.push("login".into());
/// assert_eq!(names.to_body(), r#"{"requests":["login"],"signals":[]}"#);
/// assert_eq!(Names::from_body(&names.to_body()), Some(names));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Names {
    /// Of requests.
    pub requests: Vec<String>,
    /// Of signals.
    #[serde(default)]
    pub signals: Vec<String>,
}

impl Names {
    /// Returns the body of the server's answer.
    pub fn to_body(&self) -> Bytes {
        // Lists of text can always be written.
        serde_json::to_vec(self).map(Into::into).unwrap_or_default()
    }

    /// Reads the body of an answer, if it is a list of names that can be sent (protocol §1.5) and not longer
    /// than [`MAX_BODY`].
    pub fn from_body(body: &[u8]) -> Option<Self> {
        if body.len() > MAX_BODY {
            return None;
        }
        let names: Self = serde_json::from_slice(body).ok()?;
        let mut all = names.requests.iter().chain(&names.signals);
        all.all(|name| Name::try_from(name.as_str()).is_ok()).then_some(names)
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn the_content_type_is_read_as_http_means_it() {
        for (value, is_it) in [
            (CONTENT_TYPE, true),
            ("Application/VND.webwire.Names+JSON", true),
            ("application/vnd.webwire.names+json ; charset=utf-8", true),
            ("application/vnd.webwire.names+jsonl", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_content_type(value.as_bytes()), is_it, "{value}");
        }
    }

    #[test]
    fn only_lists_of_names_are_read() {
        for (body, requests) in [
            (r#"{"requests":[],"signals":[]}"#, &[][..]),
            (r#"{"requests":["a","","b c"]}"#, &["a", "", "b c"]),
            (r#"{"requests":["a"],"signals":["a"],"more":{"x":[1]}}"#, &["a"]),
        ] {
            let read = Names::from_body(body.as_bytes()).unwrap();
            assert_eq!(read.requests, requests, "{body}");
        }
        for body in [
            r#"{"signals":["a"]}"#,
            r#"{"requests":["a\n"]}"#,
            r#"{"requests":["a"],"signals":["\u00e4"]}"#,
            r#"{"requests":[1]}"#,
            r#"["a"]"#,
            "",
        ] {
            assert_eq!(Names::from_body(body.as_bytes()), None, "{body}");
        }
        let long = |length| format!("{{\"requests\":[]{}}}", " ".repeat(length - 15));
        assert!(Names::from_body(long(MAX_BODY).as_bytes()).is_some());
        assert_eq!(Names::from_body(long(MAX_BODY + 1).as_bytes()), None);
    }
}
