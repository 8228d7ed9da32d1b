//! Text of others on a terminal.

use core::fmt;

/// Characters of a text that are shown before it is cut.
const TEXT_LIMIT: usize = 120;

/// A number of bytes.
pub(crate) struct Count(pub(crate) usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// Text of a peer in quotes: whatever could harm a terminal or break the line is escaped.
pub(crate) struct Quoted(String);

impl Quoted {
    /// A text, cut if it is long.
    pub(crate) fn text(text: &str) -> Self {
        Self::at_most(TEXT_LIMIT, text)
    }

    /// A text, however long.
    pub(crate) fn whole(text: &str) -> Self {
        Self::at_most(usize::MAX, text)
    }

    fn at_most(limit: usize, text: &str) -> Self {
        let mut quoted = String::from("\"");
        let mut characters = text.chars();
        for character in characters.by_ref().take(limit) {
            match character {
                '\'' => quoted.push(character),
                _ => quoted.extend(character.escape_debug()),
            }
        }
        quoted.push_str(if characters.next().is_some() { "\"..." } else { "\"" });
        Self(quoted)
    }

    /// As text if it is UTF-8, otherwise byte by byte.
    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        match core::str::from_utf8(bytes) {
            Ok(text) => Self::text(text),
            Err(_) => Self(format!("\"{}\"", bytes.escape_ascii())),
        }
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that may repeat parts of somebody's input: what could break the line or move a terminal's
/// cursor is escaped.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
