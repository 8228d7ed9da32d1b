//! Why a store failed, without showing the key.

use core::error::Error;
use core::fmt;

use wwr::SessionKey;

/// Why a store could not carry out a call.
///
/// Its text says what failed, on what, and what to do about it; [`source`](Error::source) is the
/// cause. Neither may contain a session key, since errors end up in logs: see [`ShortKey`].
///
/// ```
/// use wwr_async::{StoreError, StoreErrorKind};
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let error = StoreError::new(StoreErrorKind::Failed, "cannot reach the session database; is it up?")
///     .with_source(refused);
/// assert_eq!(error.kind(), StoreErrorKind::Failed);
/// ```
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kind of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// A new session has the key of an existing one.
    KeyExists,
    /// The store cannot keep sessions of such a key.
    InvalidKey,
    /// The stored data is not a session.
    Broken,
    /// The storage refused or could not be reached.
    Failed,
    /// The store does not support this kind of call.
    Unsupported,
}

impl StoreError {
    /// Creates an error without a cause. `message` says what failed, on what, and what to do.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Creates the error for a new session whose key is taken.
    pub fn key_exists(key: &SessionKey) -> Self {
        let key = ShortKey(key);
        let message =
            format!("a session {key} exists already; check that the key generator never repeats");
        Self::new(StoreErrorKind::KeyExists, message)
    }

    /// Returns the same error with its cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind of failure.
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

/// Displays the beginning of a session key: enough to find it in a log, too little to use it.
///
/// Shows a quarter of the key, at most 8 characters, and escapes unprintable ones.
///
/// ```
/// use wwr_async::SessionKey;
/// use wwr_async::ShortKey;
///
/// let key = SessionKey::from_entropy([7; 48]);
/// assert_eq!(ShortKey(&key).to_string(), "BwcHBwcH…");
/// ```
#[derive(Clone, Copy)]
pub struct ShortKey<'a>(pub &'a SessionKey);

impl fmt::Display for ShortKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_str();
        // The count stops where it no longer matters, however long the key is.
        let shown = text.chars().take(32).count() / 4;
        for character in text.chars().take(shown).flat_map(char::escape_debug) {
            fmt::Write::write_char(f, character)?;
        }
        f.write_str("…")
    }
}

impl fmt::Debug for ShortKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_key_shows_a_quarter_and_nothing_that_harms_a_log() {
        for (key, short) in [
            ("k", "…"),
            ("secret", "s…"),
            ("abcdefghijkl", "abc…"),
            ("\n\u{1b}[31m\r234567890", "\\n\\u{1b}[3…"),
            ("ééééé", "é…"),
        ] {
            assert_eq!(ShortKey(&SessionKey::new(key).unwrap()).to_string(), short);
        }
        let long = SessionKey::new("abcdefghi".repeat(1000)).unwrap();
        assert_eq!(ShortKey(&long).to_string(), "abcdefgh…");
    }
}
