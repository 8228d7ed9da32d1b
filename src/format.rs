//! Payloads that are JSON, and what is wrong with those that are not.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write as _};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::{Content, Encoding, Payload, text};

/// How errors and logs call JSON.
const JSON: &str = "JSON";

/// How many characters of a path and of a reason are kept: both may repeat what a peer has sent.
const MOST: usize = 256;

/// A value cannot be read from a payload, or not be written to one.
///
/// Says where: as a path like `users[3].name`, and for JSON with line and column. Peers choose parts of
/// both, so the texts have a bounded length, and control characters are escaped. They are for the caller
/// and the log. The peer gets none of it: as a [`RequestError`](crate::server::RequestError) of a
/// handler, a payload that cannot be read is the code `BAD_PAYLOAD` with a fixed message, and one that
/// cannot be written is an internal error.
///
/// ```
/// use wwr::{FormatError, Payload};
///
/// let payload = Payload::utf8(r#"{"ages":[41,"old"]}"#);
/// let ages = payload.read_json::<std::collections::HashMap<String, Vec<u8>>>();
/// let error: FormatError = ages.unwrap_err();
/// assert_eq!(error.path(), "ages[1]");
/// assert_eq!(error.position(), Some((1, 17)));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct FormatError(Box<Details>);

#[derive(Clone, PartialEq, Eq)]
struct Details {
    format: &'static str,
    kind: FormatErrorKind,
    path: String,
    reason: String,
    position: Option<(usize, usize)>,
}

/// Which way a [`FormatError`] came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FormatErrorKind {
    /// The payload does not hold such a value.
    Unreadable,
    /// The format cannot express the value.
    Unwritable,
}

impl FormatError {
    /// A payload does not hold a value of the expected type.
    ///
    /// `format` names the format, for people. `path` says where in the payload; it may be empty.
    pub fn unreadable(
        format: &'static str,
        path: &dyn fmt::Display,
        reason: &dyn fmt::Display,
    ) -> Self {
        Self::new(FormatErrorKind::Unreadable, format, path, reason)
    }

    /// The format cannot express a value.
    pub fn unwritable(format: &'static str, reason: &dyn fmt::Display) -> Self {
        Self::new(FormatErrorKind::Unwritable, format, &"", reason)
    }

    fn new(
        kind: FormatErrorKind,
        format: &'static str,
        path: &dyn fmt::Display,
        reason: &dyn fmt::Display,
    ) -> Self {
        let (path, reason) = (bounded(path), bounded(reason));
        Self(Box::new(Details { format, kind, path, reason, position: None }))
    }

    /// Returns whether a payload was unreadable or a value unwritable.
    pub fn kind(&self) -> FormatErrorKind {
        self.0.kind
    }

    /// Returns the name of the format.
    pub fn format(&self) -> &'static str {
        self.0.format
    }

    /// Returns where in the payload the error is, as `users[3].name`. Empty if it is the whole payload,
    /// or the format does not say.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Returns what is wrong there.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// Returns line and column of text, each counted from 1. Column 0 is the end of the line before.
    /// `None` if the format has no lines.
    pub fn position(&self) -> Option<(usize, usize)> {
        self.0.position
    }

    fn at(mut self, line: usize, column: usize) -> Self {
        self.0.position = (line > 0).then_some((line, column));
        self
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { format, kind, path, reason, .. } = &*self.0;
        match kind {
            FormatErrorKind::Unreadable => write!(f, "cannot read the {format}: ")?,
            FormatErrorKind::Unwritable => write!(f, "cannot write the {format}: ")?,
        }
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(reason)
    }
}

impl fmt::Debug for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FormatError({self})")
    }
}

impl core::error::Error for FormatError {}

/// Returns the first characters of a text, without such as change the look of a log.
fn bounded(text: &dyn fmt::Display) -> String {
    struct Bounded {
        text: String,
        left: usize,
    }

    impl fmt::Write for Bounded {
        /// Ends with an error once there is enough.
        fn write_str(&mut self, part: &str) -> fmt::Result {
            for character in part.chars() {
                if self.left == 0 {
                    self.text.push('…');
                    return Err(fmt::Error);
                }
                self.left -= 1;
                if matches!(character, ' '..='~') {
                    self.text.push(character);
                } else {
                    self.text.extend(character.escape_debug());
                }
            }
            Ok(())
        }
    }

    let mut bounded = Bounded { text: String::new(), left: MOST };
    // An error means that there was more.
    let _ = write!(bounded, "{text}");
    bounded.text
}

/// Reads JSON. Nothing is nothing: an empty text is read as `null`.
fn read_json<T: DeserializeOwned>(encoding: Encoding, data: &[u8]) -> Result<T, FormatError> {
    if data.is_empty() {
        return read(b"null");
    }
    match encoding {
        Encoding::Binary | Encoding::Utf8 => read(data),
        Encoding::Utf16 => {
            // UTF-16 is always text: what is wrong with it is replaced.
            let text = text(encoding, data).unwrap_or(Cow::Borrowed(""));
            read(text.as_bytes())
        }
    }
}

pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<String, FormatError> {
    serde_json::to_string(value).map_err(|error| FormatError::unwritable(JSON, &error))
}

pub(crate) fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, FormatError> {
    serde_json::from_slice(json).map_err(|error| locate::<T>(json, &error))
}

/// Reads JSON again to find out where it is wrong, which would slow down the reading of what is right.
#[cold]
fn locate<T: DeserializeOwned>(json: &[u8], error: &serde_json::Error) -> FormatError {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let failed = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err();
    // If the value could be read, something follows it, and that is nowhere in the value.
    let path = failed.map(|failed| bounded(failed.path())).filter(|path| path != ".");
    let path = path.unwrap_or_default();
    FormatError::unreadable(JSON, &path, error).at(error.line(), error.column())
}

impl Payload {
    /// Creates a UTF-8 payload that is this value as JSON.
    ///
    /// ```
    /// use wwr::Payload;
    ///
    /// let payload = Payload::json(&vec![("ada", 36)])?;
    /// assert_eq!(payload.text().unwrap(), r#"[["ada",36]]"#);
    /// assert_eq!(payload.read_json::<Vec<(String, u32)>>()?, [("ada".to_owned(), 36)]);
    /// # Ok::<(), wwr::FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FormatError`] if JSON cannot express the value: for example, if it has a map whose keys are no
    /// texts.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, FormatError> {
        Ok(Self::checked(Encoding::Utf8, write(value)?.into()))
    }

    /// Reads a value from JSON in any encoding. A payload without bytes is read as `null`, so that it
    /// suits `()` and `Option`.
    ///
    /// Values may be nested 127 levels deep.
    ///
    /// # Errors
    ///
    /// [`FormatError`] if it is no JSON, or not of this type. It says where.
    pub fn read_json<T: DeserializeOwned>(&self) -> Result<T, FormatError> {
        read_json(self.encoding(), self.as_bytes())
    }
}

impl Content {
    /// Reads a value from a payload of JSON, like [`Payload::read_json`].
    ///
    /// ```
    /// use wwr::{Content, Payload};
    ///
    /// let request = Content::new(b"add", &Payload::json(&[1, 2, 3])?).unwrap();
    /// assert_eq!(request.json::<Vec<u32>>()?.into_iter().sum::<u32>(), 6);
    /// let error = request.json::<Vec<String>>().unwrap_err();
    /// assert!(error.to_string().starts_with("cannot read the JSON: [0]: invalid type"), "{error}");
    /// # Ok::<(), wwr::FormatError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`FormatError`] if it is no JSON, or not of this type. It says where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, FormatError> {
        read_json(self.encoding(), self.payload())
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::string::ToString;
    use alloc::vec::Vec;
    use alloc::{format, vec};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct User {
        name: String,
        age: Option<u8>,
    }

    fn error(json: &str) -> FormatError {
        Payload::utf8(json).read_json::<Vec<User>>().unwrap_err()
    }

    #[test]
    fn a_value_comes_back_in_every_encoding() {
        let users = vec![User { name: "Adä 😀".into(), age: Some(36) }];
        let payload = Payload::json(&users).unwrap();
        assert_eq!(payload.encoding(), Encoding::Utf8);
        let text = payload.text().unwrap();
        assert_eq!(text, r#"[{"name":"Adä 😀","age":36}]"#);
        for payload in [payload.clone(), Payload::binary(&payload), Payload::utf16(&text)] {
            assert_eq!(payload.read_json::<Vec<User>>().unwrap(), users);
            let content = Content::new(b"users", &payload).unwrap();
            assert_eq!(content.json::<Vec<User>>().unwrap(), users);
        }
    }

    #[test]
    fn an_empty_payload_is_null() {
        for payload in [Payload::EMPTY, Payload::utf16(""), Payload::utf8("null")] {
            payload.read_json::<()>().unwrap();
            assert_eq!(payload.read_json::<Option<User>>().unwrap(), None);
            assert!(payload.read_json::<User>().is_err());
        }
    }

    #[test]
    fn errors_say_where() {
        for (json, path, position, reason) in [
            (
                r#"[{"name":1}]"#,
                "[0].name",
                (1, 10),
                "invalid type: integer `1`, expected a string",
            ),
            ("[{\"name\":\"x\"},\n{}]", "[1]", (2, 2), "missing field `name`"),
            ("[\n", "", (2, 0), "EOF while parsing a list"),
            ("[] x", "", (1, 4), "trailing characters"),
            (r#"[{"name":"x","age":300}]"#, "[0].age", (1, 22), "invalid value: integer `300`"),
        ] {
            let error = error(json);
            assert_eq!((error.path(), error.position()), (path, Some(position)), "{error}");
            assert!(error.reason().starts_with(reason), "{error}");
            assert_eq!((error.format(), error.kind()), ("JSON", FormatErrorKind::Unreadable));
            let shown = error.to_string();
            assert!(shown.starts_with("cannot read the JSON: ") && shown.contains(path), "{shown}");
        }
    }

    #[test]
    fn peers_do_not_fill_logs() {
        let key = "\u{1b}[2J\n".repeat(1000);
        let json = serde_json::to_string(&BTreeMap::from([(&key, 1)])).unwrap();
        let error = Payload::utf8(json).read_json::<BTreeMap<String, String>>().unwrap_err();
        assert!(error.path().starts_with(r"\u{1b}[2J\n\u{1b}"), "{error}");
        assert!(error.path().ends_with('…'));
        assert!(error.to_string().len() < 4000);
        assert!(error.to_string().chars().all(|character| !character.is_control()));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let nested = |levels| Payload::utf8("[".repeat(levels) + &"]".repeat(levels));
        assert!(nested(127).read_json::<serde_json::Value>().is_ok());
        for levels in [128, 1_000_000] {
            let error = nested(levels).read_json::<serde_json::Value>().unwrap_err();
            assert!(error.reason().starts_with("recursion limit exceeded"), "{error}");
        }
    }

    #[test]
    fn what_json_cannot_express_is_an_error() {
        let error = Payload::json(&BTreeMap::from([(vec![1], 1)])).unwrap_err();
        assert_eq!(error.to_string(), "cannot write the JSON: key must be a string");
        assert_eq!(error.kind(), FormatErrorKind::Unwritable);
        assert_eq!(format!("{error:?}"), format!("FormatError({error})"));
    }
}
