//! Foreign text on a terminal.

use core::fmt::{self, Write as _};
use std::borrow::Cow;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Characters of a text that are shown before it is cut.
const TEXT_LIMIT: usize = 120;

/// A number of bytes.
pub(crate) struct Count(pub(crate) usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} byte{}", self.0, if self.0 == 1 { "" } else { "s" })
    }
}

/// Text of a peer in quotes. Characters that could harm a terminal or break the line are escaped.
pub(crate) struct Quoted(String);

impl Quoted {
    /// Quotes a text, and cuts it if it is long.
    pub(crate) fn text(text: &str) -> Self {
        Self::at_most(TEXT_LIMIT, text)
    }

    /// Quotes a text of any length.
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

    /// Quotes bytes: as text if they are UTF-8, otherwise byte by byte.
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

/// Returns whether a character is invisible and does something else: moves a cursor, ends a line,
/// changes the direction of others, joins or hides them.
pub(crate) fn is_hidden(character: char) -> bool {
    match character {
        ' '..='~' => false,
        _ => matches!(
            character.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
        ),
    }
}

/// Returns a text that may repeat foreign input, on one line: hidden characters are escaped.
pub(crate) fn one_line(text: &str) -> String {
    escaped(text, is_hidden)
}

/// Returns a text with our own lines and styles and foreign parts. Hidden characters are escaped,
/// except for ASCII.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    let is_theirs = |character: char| !character.is_ascii() && is_hidden(character);
    if text.contains(is_theirs) { Cow::Owned(escaped(text, is_theirs)) } else { text.into() }
}

/// Returns a text of a peer as a terminal can show it: hidden characters are escaped, except for
/// line feeds and tabs.
pub(crate) fn for_terminal(text: &str) -> String {
    escaped(text, |character| !matches!(character, '\n' | '\t') && is_hidden(character))
}

/// Returns JSON in which hidden characters are escaped. Outside of its strings, JSON contains no
/// hidden characters except white space.
pub(crate) fn visible_json(json: &str) -> String {
    let mut visible = String::new();
    for character in json.chars() {
        if is_hidden(character) {
            visible.push_str(&json_escape(character));
        } else {
            visible.push(character);
        }
    }
    visible
}

/// Returns the character as JSON writes it with digits.
pub(crate) fn json_escape(character: char) -> String {
    let mut escape = String::new();
    for unit in character.encode_utf16(&mut [0; 2]) {
        // Writing to a string never fails.
        let _ = write!(escape, "\\u{unit:04x}");
    }
    escape
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut line = String::new();
    for character in text.chars() {
        if is_escaped(character) {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// C0, C1, directions, zero widths, line ends, and characters beyond the first plane.
    const HIDDEN: &str = "\0\u{7}\u{1b}\u{7f}\u{80}\u{9b}\u{9f}\u{ad}\u{61c}\u{180e}\u{200b}\u{200c}\
        \u{200d}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2066}\
        \u{2067}\u{2068}\u{2069}\u{206f}\u{feff}\u{fff9}\u{1d173}\u{e0001}\u{e007f}";

    #[test]
    fn hidden_characters_are_escaped_everywhere() {
        for character in HIDDEN.chars() {
            assert!(is_hidden(character), "{character:?}");
            let text = format!("a{character}b");
            for shown in [
                one_line(&text),
                for_terminal(&text),
                visible_json(&text),
                Quoted::whole(&text).to_string(),
            ] {
                assert!(!shown.contains(is_hidden), "{character:?}: {shown:?}");
            }
            assert!(character.is_ascii() || !visible(&text).contains(is_hidden), "{character:?}");
        }
    }

    #[test]
    fn visible_characters_are_unchanged() {
        let text = "a ~ n\u{e9} e\u{301} \u{a0}\u{3000} \u{4f60}\u{597d} \u{5e9}\u{5dc} \u{1f600}";
        assert_eq!(one_line(text), text);
        assert_eq!(visible(text), text);
        assert_eq!(visible_json(text), text);
        assert_eq!(for_terminal("a\n\tb"), "a\n\tb");
        assert_eq!(visible("\u{1b}[1ma\u{1b}[0m\n"), "\u{1b}[1ma\u{1b}[0m\n");
        assert_eq!(one_line("a\nb"), "a\\nb");
    }
}
