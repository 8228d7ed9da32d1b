//! Conversion of keys to file names and back.

use core::fmt;
use std::path::{Path, PathBuf};

use wwr::SessionKey;

use crate::store::ShortKey;

/// Keeps names below the 255 bytes that file systems allow.
pub(super) const MAX_KEY_LENGTH: usize = 200;

/// The suffix of a session file (protocol §3.3).
const SESSION_SUFFIX: &str = ".wwrsess";

/// The prefix of a file that is not a session yet. No key begins with it.
pub(super) const TEMPORARY_PREFIX: &str = ".";

/// The suffix of a file that is not a session yet.
pub(super) const TEMPORARY_SUFFIX: &str = ".wwrsess-new";

/// Returns whether a key may be part of a file name.
pub(super) fn is_valid(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_KEY_LENGTH).contains(&key.len()) && !key.starts_with('.') && key.bytes().all(allowed)
}

/// The file of a session. Displays as its path with the key shortened.
pub(super) struct SessionFile<'a> {
    directory: &'a Path,
    key: &'a SessionKey,
}

impl<'a> SessionFile<'a> {
    /// Returns `None` if the key cannot be part of a file name.
    pub(super) fn new(directory: &'a Path, key: &'a SessionKey) -> Option<Self> {
        is_valid(key.as_str()).then_some(Self { directory, key })
    }

    /// Returns the key of the session.
    pub(super) const fn key(&self) -> &'a SessionKey {
        self.key
    }

    /// Returns the path. It contains the key: keep it out of errors and logs.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(format!("{}{SESSION_SUFFIX}", self.key.as_str()))
    }
}

impl fmt::Display for SessionFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{}{SESSION_SUFFIX}", ShortKey(self.key));
        fmt::Display::fmt(&self.directory.join(name).display(), f)
    }
}

/// What a file of the directory is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// The file of this session.
    Session(SessionKey),
    /// An unfinished write.
    Temporary,
    /// A foreign file.
    Foreign,
}

impl Entry {
    /// Classifies a name.
    pub(super) fn of(name: &str) -> Self {
        if name.starts_with(TEMPORARY_PREFIX) && name.ends_with(TEMPORARY_SUFFIX) {
            return Self::Temporary;
        }
        name.strip_suffix(SESSION_SUFFIX)
            .filter(|key| is_valid(key))
            .and_then(|key| SessionKey::new(key).ok())
            .map_or(Self::Foreign, Self::Session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_letters_digits_dash_underscore_and_inner_dots_are_valid() {
        for key in ["a", "KEY-1_2.3", "..."] {
            assert_eq!(is_valid(key), !key.starts_with('.'), "{key}");
        }
        assert!(is_valid(&"k".repeat(200)));
        assert!(!is_valid(&"k".repeat(201)));
        for key in ["", ".", "..", ".a", "a/b", "../evil", "a\\b", "a\0", "a b", "é", "a:b", "a\n"]
        {
            assert!(!is_valid(key), "{key:?}");
        }
    }

    #[test]
    fn names_tell_sessions_from_leftovers_and_foreign_files() {
        let session = |key: &str| Entry::Session(SessionKey::new(key).unwrap());
        for (name, entry) in [
            ("KEY1.wwrsess", session("KEY1")),
            ("a.wwrsess.wwrsess", session("a.wwrsess")),
            (".x1.wwrsess-new", Entry::Temporary),
            ("x1.wwrsess-new", Entry::Foreign),
            (".wwrsess", Entry::Foreign),
            (".a.wwrsess", Entry::Foreign),
            ("a b.wwrsess", Entry::Foreign),
            ("KEY1.json", Entry::Foreign),
            ("", Entry::Foreign),
        ] {
            assert_eq!(Entry::of(name), entry, "{name}");
        }
    }

    #[test]
    fn displayed_paths_do_not_contain_the_key() {
        let key = SessionKey::from_entropy([7; 48]);
        let file = SessionFile::new(Path::new("/sessions"), &key).unwrap();
        assert!(file.path().to_str().unwrap().contains(key.as_str()));
        assert!(file.to_string().ends_with("BwcHBwcH….wwrsess"));
    }
}
