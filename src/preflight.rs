//! The preflight: the exchange of metadata that precedes a 1.x connection (protocol §4.1).
//!
//! Before each attempt to connect, a client sends an HTTP request with a method of its own,
//! [`METHOD`]: the preflight. The server answers with its metadata, its version as JSON:
//! [`Metadata::to_body`]. The client reads that answer with [`Answer::evaluate`].

use alloc::borrow::Cow;
use alloc::format;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;
use serde::Deserializer;
use serde::de::{Deserialize, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::dialect::Dialect;
use crate::handshake::SubProtocol;

/// The HTTP method of the preflight. Case matters.
pub const METHOD: &str = "WEBWIRE";

/// The `Content-Type` of the answer.
pub const CONTENT_TYPE: &str = "application/json";

/// A header of the answer. With it, servers of this crate say that each connection begins with an
/// accept-conf. Its value is a [`Promise`], and the status of the answer does not matter. An answer with 200 names
/// 1.x for clients that know nothing else, and the server speaks 2.0 as well. One with 400, of a server without a
/// preflight, says that there is a server of 2.0 all the same. The references neither send nor read it.
pub const ACCEPT_CONF: &str = "webwire-accept-conf";

/// What the header [`ACCEPT_CONF`] promises.
///
/// ```
/// use wwr::preflight::Promise;
///
/// let promise = Promise { wwr1: true };
/// assert_eq!(promise.as_str(), "2.0, wwr.1");
/// assert_eq!(Promise::read(b"2.0, wwr.1"), promise);
/// assert_eq!(Promise::read(b"2.0"), Promise { wwr1: false });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Promise {
    /// Whether the server selects `wwr.1` in a handshake that offers it (protocol §10.1).
    pub wwr1: bool,
}

impl Promise {
    /// Reads the value of the header. Any value promises an accept-conf.
    pub fn read(value: &[u8]) -> Self {
        Self { wwr1: SubProtocol::Wwr1.is_in(value) }
    }

    /// Returns the value of the header.
    pub const fn as_str(self) -> &'static str {
        if self.wwr1 { "2.0, wwr.1" } else { "2.0" }
    }
}

/// The longest body that is evaluated, in bytes. A host need not read further.
pub const MAX_BODY: usize = 64 * 1024;

/// Returns whether an HTTP status means that the server is not available at the moment: 503 while
/// it shuts down (protocol §4.2), 502 and 504 from a proxy while it is down, 429 from a server that
/// limits how often a client may ask.
pub const fn is_unavailable(status: u16) -> bool {
    matches!(status, 429 | 502..=504)
}

/// The read timeout of a 1.5 server that names no timeout, or one below the minimum: protocol §4.6.
pub(crate) const DEFAULT_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The metadata: what a server says about itself.
///
/// ```
/// use wwr::preflight::Metadata;
///
/// assert_eq!(&Metadata::V1_4.to_body()[..], b"{\"protocol-version\":\"1.4\"}\n");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metadata {
    /// It speaks 1.4.
    V1_4,
    /// It speaks 1.5.
    V1_5 {
        /// How long it waits for a message before it closes the connection. Written in whole
        /// seconds, rounded down, at least one.
        read_timeout: Duration,
    },
}

impl Metadata {
    /// Returns the dialect that this metadata belongs to.
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::V1_4 => Dialect::V1_4,
            Self::V1_5 { .. } => Dialect::V1_5,
        }
    }

    /// Returns the body of the server's answer, for status 200 and [`CONTENT_TYPE`].
    pub fn to_body(&self) -> Bytes {
        match self {
            Self::V1_4 => Bytes::from_static(b"{\"protocol-version\":\"1.4\"}\n"),
            Self::V1_5 { read_timeout } => {
                let seconds = read_timeout.as_secs().max(1);
                let body = format!("{{\"protocol-version\":\"1.5\",\"read-timeout\":{seconds}}}\n");
                body.into()
            }
        }
    }
}

/// The HTTP answer to a preflight, as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status code.
    pub status: u16,
    /// The body, or its first bytes if it has more than [`MAX_BODY`]. It does not matter with a
    /// status that [is unavailable](is_unavailable).
    pub body: Bytes,
    /// How long the server wants the client to wait before it asks again: its header `Retry-After`
    /// (RFC 9110 §10.2.3), if it has a valid one.
    pub retry_after: Option<Duration>,
}

/// No HTTP answer came: the name was not found, the connection failed or ended too early, or the
/// answer was not HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[error("the server gave no HTTP answer")]
pub struct ProbeFailed;

/// What a client concludes from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A server of 1.4 or 1.5, perhaps also of others.
    Speaks(Metadata),
    /// The server is not available now; ask again later.
    TryLater,
    /// A server that names another version. For an answer without a version, a 1.4 client of the
    /// reference reports the same; here such an answer is not taken for one of WebWire.
    Unknown(Version),
    /// This is not a WebWire server, or a WebWire server without a preflight, as those of 2.0. Those of this crate
    /// say by the header [`ACCEPT_CONF`] which of the two.
    NotWebWire,
}

impl Answer {
    /// Reads the answer as 1.x clients do: the status matters only if the server is not available,
    /// the version counts character for character, and members that the version does not have are
    /// ignored.
    ///
    /// The statuses for "not available" are 429, 502, 503 and 504. The reference knows only 503,
    /// and never tries again after a proxy has answered instead of the server.
    ///
    /// The work is bounded by [`MAX_BODY`]. A longer body is not a WebWire answer.
    ///
    /// ```
    /// use wwr::preflight::{Answer, Metadata, Verdict};
    ///
    /// let body = "{\"protocol-version\":\"1.4\"}\n".into();
    /// let answer = Answer { status: 200, body, retry_after: None };
    /// assert_eq!(answer.evaluate(), Verdict::Speaks(Metadata::V1_4));
    /// ```
    pub fn evaluate(&self) -> Verdict {
        if is_unavailable(self.status) {
            return Verdict::TryLater;
        }
        if self.body.len() > MAX_BODY {
            return Verdict::NotWebWire;
        }
        match serde_json::from_slice(&self.body) {
            Ok(Members { version, read_timeout }) => Verdict::of(version, read_timeout.0),
            Err(_) => Verdict::NotWebWire,
        }
    }
}

impl Verdict {
    /// As [`Answer::evaluate`], for a host that has a reader of JSON, as browsers do, and has read the body with
    /// it. `version` is the member `protocol-version`, and `read_timeout` the member `read-timeout` if that is a
    /// whole number. Names of members match in any case, and the last one of several counts. Without an object,
    /// or without a version that is text, there is no version.
    ///
    /// ```
    /// use wwr::preflight::{Metadata, Verdict};
    ///
    /// assert_eq!(Verdict::from_members(200, Some("1.4"), None), Verdict::Speaks(Metadata::V1_4));
    /// assert_eq!(Verdict::from_members(200, None, None), Verdict::NotWebWire);
    /// assert_eq!(Verdict::from_members(503, Some("1.4"), None), Verdict::TryLater);
    /// ```
    pub fn from_members(status: u16, version: Option<&str>, read_timeout: Option<u64>) -> Self {
        if is_unavailable(status) {
            return Self::TryLater;
        }
        version.map_or(Self::NotWebWire, |version| Self::of(Version::new(version), read_timeout))
    }

    fn of(version: Version, read_timeout: Option<u64>) -> Self {
        if version.is("1.4") {
            Self::Speaks(Metadata::V1_4)
        } else if version.is("1.5") {
            let named = read_timeout.filter(|seconds| *seconds > 0).map(Duration::from_secs);
            Self::Speaks(Metadata::V1_5 { read_timeout: named.unwrap_or(DEFAULT_READ_TIMEOUT) })
        } else if version.as_str().is_empty() {
            Self::NotWebWire
        } else {
            Self::Unknown(version)
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Answer {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let body: &[u8] = u.arbitrary()?;
        let body = Bytes::copy_from_slice(body);
        Ok(Self { status: u.arbitrary()?, body, retry_after: u.arbitrary()? })
    }
}

/// The version that a server claims: its first [`Version::MAX_LENGTH`] bytes, cut at the end of a
/// character.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Version {
    text: [u8; Self::MAX_LENGTH],
    length: u8,
    cut: bool,
}

impl Version {
    /// The most bytes of a version text that are kept.
    pub const MAX_LENGTH: usize = 22;

    const MISSING: Self = Self { text: [0; Self::MAX_LENGTH], length: 0, cut: false };

    pub(crate) fn new(version: &str) -> Self {
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

    /// Returns the text as the server wrote it.
    pub fn as_str(&self) -> &str {
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default()
    }
}

impl fmt::Display for Version {
    /// The text with all characters but printable ASCII escaped, so that it may go into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_str().escape_default(), f)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The JSON object of an answer, read as the reference reads it: names match in any case, the last
/// one of several members with the same name counts, and `null` stands for nothing, also in place
/// of the object.
struct Members {
    version: Version,
    read_timeout: Seconds,
}

impl Members {
    const NONE: Self = Self { version: Version::MISSING, read_timeout: Seconds(None) };
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a protocol version")
    }

    fn visit_unit<E>(self) -> Result<Members, E> {
        Ok(Members::NONE)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Members, A::Error> {
        let mut members = Members::NONE;
        while let Some(name) = object.next_key::<Cow<'de, str>>()? {
            if name.eq_ignore_ascii_case("protocol-version") {
                let text = object.next_value::<Option<Cow<'de, str>>>()?;
                members.version = text.map_or(members.version, |text| Version::new(&text));
            } else if name.eq_ignore_ascii_case("read-timeout") {
                members.read_timeout = object.next_value()?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(members)
    }
}

/// A number of seconds. `None` for any other JSON, which an answer of 1.4 may contain.
struct Seconds(Option<u64>);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

struct SecondsVisitor;

impl<'de> Visitor<'de> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds")
    }

    fn visit_u64<E>(self, seconds: u64) -> Result<Seconds, E> {
        Ok(Seconds(Some(seconds)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seconds, E> {
        Ok(Seconds(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seconds, E> {
        Ok(Seconds(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Seconds, E> {
        Ok(Seconds(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Seconds, E> {
        Ok(Seconds(None))
    }

    fn visit_unit<E>(self) -> Result<Seconds, E> {
        Ok(Seconds(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Seconds, A::Error> {
        IgnoredAny.visit_seq(list).map(|_| Seconds(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Seconds, A::Error> {
        IgnoredAny.visit_map(object).map(|_| Seconds(None))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use std::string::ToString;

    use super::*;

    fn verdict(status: u16, body: &'static str) -> Verdict {
        Answer { status, body: body.into(), retry_after: None }.evaluate()
    }

    const ANSWER_1_4: &str = "{\"protocol-version\":\"1.4\"}\n";
    const SPEAKS_1_4: Verdict = Verdict::Speaks(Metadata::V1_4);

    fn speaks_1_5(seconds: u64) -> Verdict {
        Verdict::Speaks(Metadata::V1_5 { read_timeout: Duration::from_secs(seconds) })
    }

    #[test]
    fn a_client_understands_what_a_server_answers() {
        let read_timeout = Duration::from_secs(90);
        for metadata in [Metadata::V1_4, Metadata::V1_5 { read_timeout }] {
            let answer = Answer { status: 200, body: metadata.to_body(), retry_after: None };
            assert_eq!(answer.evaluate(), Verdict::Speaks(metadata));
        }
        assert_eq!(Metadata::V1_4.to_body(), ANSWER_1_4);
        let read_timeout = Duration::from_millis(1999);
        assert_eq!(
            Metadata::V1_5 { read_timeout }.to_body(),
            "{\"protocol-version\":\"1.5\",\"read-timeout\":1}\n"
        );
        let read_timeout = Duration::ZERO;
        assert!(Metadata::V1_5 { read_timeout }.to_body().ends_with(b":1}\n"));
    }

    #[test]
    fn a_promise_is_a_list_of_what_connections_may_speak() {
        for wwr1 in [true, false] {
            let promise = Promise { wwr1 };
            assert_eq!(Promise::read(promise.as_str().as_bytes()), promise);
        }
        for (value, wwr1) in [
            ("wwr.1", true),
            ("2.0,wwr.1", true),
            ("2.0 , wwr.2 ,wwr.1", true),
            ("", false),
            ("1", false),
            ("2.0 wwr.1", false),
            ("2.0, wwr.10", false),
            ("2.0, WWR.1", false),
        ] {
            assert_eq!(Promise::read(value.as_bytes()), Promise { wwr1 }, "{value}");
        }
    }

    #[test]
    fn the_status_matters_only_if_the_server_is_not_available() {
        assert_eq!(verdict(404, ANSWER_1_4), SPEAKS_1_4);
        assert_eq!(verdict(503, ANSWER_1_4), Verdict::TryLater);
        assert_eq!(verdict(503, "Server shutting down\n"), Verdict::TryLater);
        assert_eq!(verdict(502, "<h1>Bad Gateway</h1>"), Verdict::TryLater);
        assert_eq!(verdict(504, "<h1>Gateway Timeout</h1>"), Verdict::TryLater);
        assert_eq!(verdict(429, "<h1>Too Many Requests</h1>"), Verdict::TryLater);
        for status in [200, 404, 500, 501, 505] {
            assert_eq!(verdict(status, "<h1>Hello</h1>"), Verdict::NotWebWire);
        }
        assert_eq!(verdict(400, "Bad Request\nInternal Server Error\n"), Verdict::NotWebWire);
    }

    #[test]
    fn the_version_counts_character_for_character() {
        for (body, expected) in [
            (r#"{"protocol-version":"1.4"}"#, SPEAKS_1_4),
            (r#"{"other":[1,{"x":null}],"protocol-version":"1.4"}"#, SPEAKS_1_4),
            (r#"{"Protocol-Version":"1.4"}"#, SPEAKS_1_4),
            (r#"{"protocol-version":"1.5","protocol-version":"1.4"}"#, SPEAKS_1_4),
            (r#"{"protocol-version":"1\u002e4","protocol-version":null}"#, SPEAKS_1_4),
            (r#"{"protocol-version":"1.5","read-timeout":30}"#, speaks_1_5(30)),
            (r#"{"READ-TIMEOUT":30,"protocol-version":"1.5"}"#, speaks_1_5(30)),
            (r#"{"protocol-version":"1.5"}"#, speaks_1_5(60)),
        ] {
            assert_eq!(verdict(200, body), expected, "{body}");
        }
        for number in ["0", "-1", "1.5", "\"30\"", "null", "true", "[30]", "{\"x\":[]}"] {
            let body = |version| {
                let body =
                    format!("{{\"protocol-version\":\"{version}\",\"read-timeout\":{number}}}");
                Answer { status: 200, body: body.into(), retry_after: None }
            };
            assert_eq!(body("1.5").evaluate(), speaks_1_5(60), "{number}");
            assert_eq!(body("1.4").evaluate(), SPEAKS_1_4, "{number}");
        }
        for (body, version) in [
            (r#"{"protocol-version":"2.0"}"#, "2.0"),
            (r#"{"protocol-version":"1.4.0"}"#, "1.4.0"),
            (r#"{"protocol-version":" 1.4"}"#, " 1.4"),
        ] {
            let Verdict::Unknown(claimed) = verdict(200, body) else { panic!("{body}") };
            assert_eq!(claimed.as_str(), version, "{body}");
        }
        for body in [
            "",
            " ",
            r#"{"protocol-version":""}"#,
            r#"{"protocol-version":null}"#,
            r#"{"error":"not found"}"#,
            "{}",
            "null",
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
        let most = 65_536;
        assert_eq!(MAX_BODY, most);
        let mut long = vec![b' '; most];
        long.splice(..0, br#"{"protocol-version":"1.4"}"#.iter().copied());
        let answer = |body: &[u8]| {
            let body = Bytes::copy_from_slice(body);
            Answer { status: 200, body, retry_after: None }
        };
        assert_eq!(answer(&long[..=most]).evaluate(), Verdict::NotWebWire);
        assert_eq!(answer(&long[..most]).evaluate(), SPEAKS_1_4);
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
