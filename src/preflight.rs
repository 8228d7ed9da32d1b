//! The metadata exchange that precedes a 1.x connection (protocol §4.1).
//!
//! Before each attempt to connect, a client sends an HTTP request of its own method, [`METHOD`].
//! The server answers with its version as JSON, [`body`]; the client reads that answer with
//! [`Answer::evaluate`].

use core::fmt;

use bytes::Bytes;
use serde::Deserializer;
use serde::de::{Deserialize, IgnoredAny, MapAccess, Visitor};

use crate::dialect::Dialect;

/// The HTTP method of the request for metadata. Case matters.
pub const METHOD: &str = "WEBWIRE";

/// The `Content-Type` of the answer.
pub const CONTENT_TYPE: &str = "application/json";

/// The longest body that is looked at, in bytes. A host need not read further.
pub const MAX_BODY: usize = 64 * 1024;

/// The HTTP statuses of a server that is not available at the moment: 503 while it shuts down
/// (protocol §4.2), 502 and 504 from a proxy while it is down.
const UNAVAILABLE: core::ops::RangeInclusive<u16> = 502..=504;

/// The one version text that a 1.4 client accepts, character for character.
const VERSION_1_4: &str = "1.4";

/// The body with which a server of `dialect` answers, to be sent with status 200 and
/// [`CONTENT_TYPE`].
///
/// A server that serves all versions ([`Dialect::Unknown`]) names itself 1.4, since 2.0 clients
/// never ask (protocol §7.2). `None` for 2.0, which has no preflight, and for 1.5, whose answer
/// also has a read timeout and which no 1.4 client accepts.
///
/// ```
/// use wwr::{Dialect, preflight};
///
/// assert_eq!(preflight::body(Dialect::V1_4), Some("{\"protocol-version\":\"1.4\"}\n"));
/// assert_eq!(preflight::body(Dialect::V2_0), None);
/// ```
pub const fn body(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::V1_4 | Dialect::Unknown => Some("{\"protocol-version\":\"1.4\"}\n"),
        Dialect::V1_5 | Dialect::V2_0 => None,
    }
}

/// The HTTP answer to the request for metadata, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The body, or its first bytes if it has more than [`MAX_BODY`].
    pub body: Bytes,
}

/// No HTTP answer came: the name was not found, the connection failed or ended too early, or what
/// came back was no HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[error("the server gave no HTTP answer")]
pub struct ProbeFailed;

/// What a client concludes from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Open the WebSocket and speak this dialect.
    Connect(Dialect),
    /// The server is not available now; ask again later.
    TryLater,
    /// A WebWire server of a version that this client does not speak. Asking again does not help.
    Incompatible(Version),
    /// This is no WebWire server, or none with a preflight. Asking again does not help.
    NotWebWire,
}

impl Answer {
    /// Reads the answer as a 1.4 client does: the status matters only if the server is not
    /// available, members other than the version are ignored, and the version has to be "1.4"
    /// exactly.
    ///
    /// The statuses for "not available" are 502, 503 and 504. The reference knows only 503, and
    /// gives up for good when a proxy answers while the server behind it is being restarted.
    ///
    /// The work is bounded by [`MAX_BODY`]; a longer body is no WebWire answer.
    ///
    /// ```
    /// use wwr::Dialect;
    /// use wwr::preflight::{Answer, Verdict};
    ///
    /// let answer = Answer { status: 200, body: "{\"protocol-version\":\"1.4\"}\n".into() };
    /// assert_eq!(answer.evaluate(), Verdict::Connect(Dialect::V1_4));
    /// ```
    pub fn evaluate(&self) -> Verdict {
        if UNAVAILABLE.contains(&self.status) {
            return Verdict::TryLater;
        }
        if self.body.len() > MAX_BODY {
            return Verdict::NotWebWire;
        }
        match serde_json::from_slice(&self.body) {
            Ok(Metadata { version }) if version.is(VERSION_1_4) => Verdict::Connect(Dialect::V1_4),
            Ok(Metadata { version }) => Verdict::Incompatible(version),
            Err(_) => Verdict::NotWebWire,
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Answer {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let body: &[u8] = u.arbitrary()?;
        Ok(Self { status: u.arbitrary()?, body: Bytes::copy_from_slice(body) })
    }
}

/// The version a server claims: its first [`Version::MAX_LENGTH`] bytes, cut where a character
/// ends; empty if the server named none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Version {
    text: [u8; Self::MAX_LENGTH],
    length: u8,
    cut: bool,
}

impl Version {
    /// The most that is kept of a version text, in bytes.
    pub const MAX_LENGTH: usize = 22;

    const MISSING: Self = Self { text: [0; Self::MAX_LENGTH], length: 0, cut: false };

    fn new(version: &str) -> Self {
        let end = version.len().min(Self::MAX_LENGTH);
        let end = (0..=end).rev().find(|end| version.is_char_boundary(*end)).unwrap_or(0);
        let mut kept = Self { cut: end < version.len(), ..Self::MISSING };
        for (byte, source) in kept.text.iter_mut().zip(version.bytes().take(end)) {
            *byte = source;
            kept.length += 1;
        }
        kept
    }

    fn is(&self, version: &str) -> bool {
        !self.cut && self.as_str() == version
    }

    /// The text, as the server wrote it.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for Version {
    /// The text with unprintable characters escaped, so that it may go into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_str().escape_debug(), f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The JSON object of an answer. Read as the reference does: names match in any case, of several
/// versions the last one counts, and `null` stands for nothing, also in place of the object.
struct Metadata {
    version: Version,
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a protocol version")
    }

    fn visit_unit<E>(self) -> Result<Metadata, E> {
        Ok(Metadata { version: Version::MISSING })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Metadata, A::Error> {
        let mut version = Version::MISSING;
        while let Some(name) = members.next_key::<alloc::borrow::Cow<'de, str>>()? {
            if name.eq_ignore_ascii_case("protocol-version") {
                let text = members.next_value::<Option<alloc::borrow::Cow<'de, str>>>()?;
                version = text.map_or(version, |text| Version::new(&text));
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Metadata { version })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use std::string::ToString;

    use super::*;

    fn verdict(status: u16, body: &'static str) -> Verdict {
        Answer { status, body: body.into() }.evaluate()
    }

    #[test]
    fn what_a_server_answers_a_client_accepts() {
        let body = body(Dialect::V1_4).unwrap();
        assert_eq!(body.len(), 27);
        assert_eq!(verdict(200, body), Verdict::Connect(Dialect::V1_4));
        assert_eq!(super::body(Dialect::Unknown), Some(body));
        assert_eq!(super::body(Dialect::V1_5), None);
    }

    #[test]
    fn the_status_matters_only_if_the_server_is_not_available() {
        let body = body(Dialect::V1_4).unwrap();
        assert_eq!(verdict(404, body), Verdict::Connect(Dialect::V1_4));
        assert_eq!(verdict(503, body), Verdict::TryLater);
        assert_eq!(verdict(503, "Server shutting down\n"), Verdict::TryLater);
        assert_eq!(verdict(502, "<h1>Bad Gateway</h1>"), Verdict::TryLater);
        assert_eq!(verdict(504, "<h1>Gateway Timeout</h1>"), Verdict::TryLater);
        for status in [200, 404, 500, 501, 505] {
            assert_eq!(verdict(status, "<h1>Hello</h1>"), Verdict::NotWebWire);
        }
        assert_eq!(verdict(400, "Bad Request\nInternal Server Error\n"), Verdict::NotWebWire);
    }

    #[test]
    fn only_an_object_with_exactly_this_version_connects() {
        for body in [
            r#"{"protocol-version":"1.4"}"#,
            r#"{"other":[1,{"x":null}],"protocol-version":"1.4"}"#,
            r#"{"Protocol-Version":"1.4"}"#,
            r#"{"protocol-version":"1.5","protocol-version":"1.4"}"#,
            r#"{"protocol-version":"1\u002e4","protocol-version":null}"#,
        ] {
            assert_eq!(verdict(200, body), Verdict::Connect(Dialect::V1_4), "{body}");
        }
        for (body, version) in [
            (r#"{"protocol-version":"1.5","read-timeout":60}"#, "1.5"),
            (r#"{"protocol-version":"2.0"}"#, "2.0"),
            (r#"{"protocol-version":"1.4.0"}"#, "1.4.0"),
            (r#"{"protocol-version":" 1.4"}"#, " 1.4"),
            (r#"{"protocol-version":""}"#, ""),
            (r#"{"protocol-version":null}"#, ""),
            ("{}", ""),
            ("null", ""),
        ] {
            let Verdict::Incompatible(claimed) = verdict(200, body) else { panic!("{body}") };
            assert_eq!(claimed.as_str(), version, "{body}");
        }
        for body in [
            "",
            " ",
            "no json",
            "[]",
            "\"1.4\"",
            r#"{"protocol-version":1.4}"#,
            r#"{"protocol-version":"1.4"} x"#,
            r#"{"protocol-version":"1.4""#,
        ] {
            assert_eq!(verdict(200, body), Verdict::NotWebWire, "{body}");
        }
    }

    #[test]
    fn a_hostile_answer_costs_little() {
        let mut long = vec![b' '; MAX_BODY];
        long.splice(..0, br#"{"protocol-version":"1.4"}"#.iter().copied());
        let answer = |body: &[u8]| Answer { status: 200, body: Bytes::copy_from_slice(body) };
        assert_eq!(answer(&long).evaluate(), Verdict::NotWebWire);
        assert_eq!(answer(&long[..MAX_BODY]).evaluate(), Verdict::Connect(Dialect::V1_4));
        let mut nested = br#"{"x":"#.to_vec();
        nested.resize(MAX_BODY, b'[');
        assert_eq!(answer(&nested).evaluate(), Verdict::NotWebWire);
    }

    #[test]
    fn versions_are_cut_between_characters_and_printed_safely() {
        let exact = "x".repeat(Version::MAX_LENGTH);
        assert_eq!(Version::new(&exact).as_str(), exact);
        assert!(Version::new(&exact).is(&exact));
        let longer = exact.clone() + "y";
        assert_eq!(Version::new(&longer).as_str(), exact);
        assert!(!Version::new(&longer).is(&exact));
        let wide = "x".repeat(Version::MAX_LENGTH - 1) + "\u{e9}";
        assert_eq!(Version::new(&wide).as_str(), &wide[..Version::MAX_LENGTH - 1]);
        assert_eq!(Version::new("1.\n4").to_string(), "1.\\n4");
        assert_eq!(std::format!("{:?}", Version::new("1.\n4")), "\"1.\\n4\"");
    }
}
