//! The names of the requests and signals that a server has handlers for, as it lists them if the
//! application allows that (protocol §4.7).
//!
//! They are asked for with the method `OPTIONS` and the header `Accept: application/vnd.webwire.names+json`
//! ([`CONTENT_TYPE`]). A server that does not list them, or knows nothing of this, answers as always.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::valid::InvalidConfig;
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

    /// Checks that clients read the list. `setting` is what the error calls it.
    ///
    /// ```
    /// use wwr::names::Names;
    ///
    /// let mut names = Names::default();
    /// names.signals.push("two\nlines".into());
    /// let error = names.check("names").unwrap_err().to_string();
    /// assert!(error.starts_with("names has a name that is not allowed: "), "{error}");
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidConfig::Name`] for one that cannot be sent, [`InvalidConfig::ListTooLong`] for a list of more
    /// than [`MAX_BODY`] bytes.
    pub fn check(&self, setting: &'static str) -> Result<(), InvalidConfig> {
        for name in self.requests.iter().chain(&self.signals) {
            Name::try_from(name.as_str())
                .map_err(|reason| InvalidConfig::Name { setting, reason })?;
        }
        match self.to_body().len() {
            0..=MAX_BODY => Ok(()),
            length => Err(InvalidConfig::ListTooLong { setting, length, max: MAX_BODY }),
        }
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

    #[test]
    fn a_list_is_right_if_clients_read_it() {
        // 255 bytes each, in quotes and with a comma.
        let requests = (0..300).map(|number| format!("{number:0255}")).collect();
        let mut names = Names { requests, ..Names::default() };
        let length = names.to_body().len();
        let too_long = InvalidConfig::ListTooLong { setting: "names", length, max: MAX_BODY };
        assert_eq!(names.check("names"), Err(too_long));
        assert_eq!(Names::from_body(&names.to_body()), None);
        while names.to_body().len() > MAX_BODY {
            names.requests.pop();
        }
        assert_eq!(names.check("names"), Ok(()));
        assert!(Names::from_body(&names.to_body()).is_some());
        for name in ["a\n", "\u{e4}", &"x".repeat(256)] {
            let names = Names { signals: [name.into()].into(), ..Names::default() };
            assert!(matches!(names.check("names"), Err(InvalidConfig::Name { .. })), "{name}");
        }
    }
}
