//! Paths with settings of their own.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt::Write;

/// A path with settings of its own, in normal form (RFC 3986 section 6.2.2): unreserved characters
/// without `%`, all others with it. Paths of requests are compared in this form.
///
/// ```
/// use wwr::server::gate::{EndpointPath, InvalidPath};
///
/// let path = EndpointPath::new("/b\u{fc}cher/%7eada")?;
/// assert_eq!(path.as_str(), "/b%C3%BCcher/~ada");
/// assert_eq!(EndpointPath::normal("/b%c3%bccher/%7Eada"), path.as_str());
/// assert_eq!(EndpointPath::new("chat"), Err(InvalidPath::NoSlash));
/// # Ok::<(), InvalidPath>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointPath(String);

/// Why no request can have such a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPath {
    /// It does not begin with a slash.
    #[error("a path begins with a slash, like /chat")]
    NoSlash,
    /// It has a query or a fragment.
    #[error("a path has no ? and no #: queries do not count, and fragments are not sent")]
    Query,
    /// It has a blank or a control character.
    #[error("a path has no blanks and no control characters; write %20 and the like")]
    Blank,
    /// It has a `%` without two hexadecimal digits behind it.
    #[error("a % in a path has two hexadecimal digits behind it, like %20")]
    Percent,
    /// A segment is `.` or `..`.
    #[error("a path has no . and no .. between slashes: clients resolve them before they connect")]
    Dots,
}

impl EndpointPath {
    /// Parses a path.
    ///
    /// # Errors
    ///
    /// [`InvalidPath`] if clients cannot ask for it.
    pub fn new(path: &str) -> Result<Self, InvalidPath> {
        if !path.starts_with('/') {
            return Err(InvalidPath::NoSlash);
        }
        if path.contains(['?', '#']) {
            return Err(InvalidPath::Query);
        }
        if path.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
            return Err(InvalidPath::Blank);
        }
        let mut escapes = path.split('%').skip(1);
        if !escapes.all(|after| escaped(after.as_bytes()).is_some()) {
            return Err(InvalidPath::Percent);
        }
        let normal = Self::normal(path).into_owned();
        if normal.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(InvalidPath::Dots);
        }
        Ok(Self(normal))
    }

    /// Returns the path of a request in normal form. Broken escapes stay as they are, because no
    /// endpoint has them.
    pub fn normal(path: &str) -> Cow<'_, str> {
        if path.bytes().all(is_plain) {
            return path.into();
        }
        let mut normal = String::with_capacity(path.len());
        let mut rest = path.as_bytes();
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            match (byte, escaped(after)) {
                (b'%', Some(byte)) => {
                    rest = after.get(2..).unwrap_or_default();
                    push(&mut normal, byte, is_unreserved(byte));
                }
                (b'%', None) => normal.push('%'),
                (byte, _) => push(&mut normal, byte, is_plain(byte)),
            }
        }
        normal.into()
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn push(normal: &mut String, byte: u8, plain: bool) {
    if plain {
        normal.push(char::from(byte));
    } else {
        // Writing to a string never fails.
        let _ = write!(normal, "%{byte:02X}");
    }
}

/// Returns the byte that two hexadecimal digits stand for.
fn escaped(digits: &[u8]) -> Option<u8> {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// Returns whether a byte means the same with and without a `%`.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Returns whether a byte may be in a path as it is.
const fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'')
        || matches!(byte, b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_spellings_of_a_path_are_equal() {
        for (written, normal) in [
            ("/", "/"),
            ("/a/b/", "/a/b/"),
            ("//", "//"),
            ("/ü", "/%C3%BC"),
            ("/%c3%bc", "/%C3%BC"),
            ("/%41%2d%7e", "/A-~"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2fb", "/a%2Fb"),
            ("/%25", "/%25"),
            ("/{a}", "/%7Ba%7D"),
            ("/a;b=c,d:@!$&'()*+", "/a;b=c,d:@!$&'()*+"),
            ("/...", "/..."),
        ] {
            assert_eq!(EndpointPath::new(written).unwrap().as_str(), normal, "{written}");
            assert_eq!(EndpointPath::normal(normal), normal, "{written}");
        }
        for broken in ["/%", "/%4", "/%zz", "/%%41"] {
            let normal = EndpointPath::normal(broken);
            assert!(normal.contains('%'), "{broken} {normal}");
        }
    }

    #[test]
    fn paths_that_no_client_can_ask_for_are_refused() {
        use InvalidPath::{Blank, Dots, NoSlash, Percent, Query};
        for (path, error) in [
            ("", NoSlash),
            ("chat", NoSlash),
            ("*", NoSlash),
            ("http://host/chat", NoSlash),
            ("/a?b", Query),
            ("/a#b", Query),
            ("/a b", Blank),
            ("/a ", Blank),
            ("/a\n", Blank),
            ("/\u{a0}", Blank),
            ("/%", Percent),
            ("/%4", Percent),
            ("/%zz", Percent),
            ("/%%41", Percent),
            ("/a/..", Dots),
            ("/./a", Dots),
            ("/%2e%2E/a", Dots),
        ] {
            assert_eq!(EndpointPath::new(path), Err(error), "{path:?}");
        }
    }
}
