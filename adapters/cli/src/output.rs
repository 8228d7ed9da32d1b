//! Standard output, written on a thread of its own, so that a caller can stop waiting.

use std::io::{self, Write, stdout};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::blocking::Blocking;
use crate::deadline::{Deadline, Stage};
use crate::failure::Failure;
use crate::text::{is_hidden, json_escape};

/// Prints at once. If the future is dropped, the output may be incomplete.
pub(crate) async fn print(bytes: Vec<u8>) -> io::Result<()> {
    smol::unblock(move || {
        let mut out = Blocking(stdout().lock());
        out.write_all(&bytes).and_then(|()| out.flush()).map_err(named)
    })
    .await
}

/// The same with styles, which are left out unless it is a terminal.
pub(crate) async fn print_styled(bytes: Vec<u8>) -> io::Result<()> {
    smol::unblock(move || {
        let mut out = Blocking(anstream::stdout().lock());
        out.write_all(&bytes).and_then(|()| out.flush()).map_err(named)
    })
    .await
}

/// Adds the name of the stream to an error.
fn named(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("standard output: {error}"))
}

/// Prints at once, if there is something to print, and if there is time for it. The outer error is
/// that of a closed or broken output.
pub(crate) async fn print_within(
    deadline: Deadline,
    bytes: Vec<u8>,
) -> io::Result<Result<(), Failure>> {
    if bytes.is_empty() {
        return Ok(Ok(()));
    }
    match deadline.limit(Stage::Printing, async { Ok(print(bytes).await) }).await {
        Ok(printed) => printed.map(Ok),
        Err(late) => Ok(Err(late)),
    }
}

/// Returns an object and the end of its line. Characters that are invisible, or that change how
/// others look, are escaped: it may be text of a peer, and go to a terminal.
pub(crate) fn row(row: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    write_row(&mut line, row)?;
    Ok(line)
}

/// Writes such an object and the end of its line.
pub(crate) fn write_row(out: &mut impl Write, row: &impl Serialize) -> io::Result<()> {
    row.serialize(&mut Serializer::with_formatter(&mut *out, Visible))?;
    out.write_all(b"\n")
}

/// JSON without spaces, in which every character is visible.
struct Visible;

impl Formatter for Visible {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() && !fragment.contains('\u{7f}') {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(is_hidden) {
            let (plain, hidden) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut after = hidden.chars();
            if let Some(character) = after.next() {
                writer.write_all(json_escape(character).as_bytes())?;
            }
            rest = after.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_escaped_without_changing_the_value() {
        for (text, expected) in [
            ("plain \"quoted\"\n", r#""plain \"quoted\"\n""#),
            ("n\u{e9} \u{1f600} \u{4f60}\u{597d}", "\"n\u{e9} \u{1f600} \u{4f60}\u{597d}\""),
            ("\u{1b}[2J\u{9b}2J\u{7f}", r#""\u001b[2J\u009b2J\u007f""#),
            ("a\u{202e}b\u{2066}c\u{200e}\u{61c}", r#""a\u202eb\u2066c\u200e\u061c""#),
            ("\u{feff}\u{200b}\u{2028}\u{2029}\u{ad}", r#""\ufeff\u200b\u2028\u2029\u00ad""#),
            ("\u{e0041}", r#""\udb40\udc41""#),
        ] {
            let line = String::from_utf8(row(&text).unwrap()).unwrap();
            assert_eq!(line, format!("{expected}\n"));
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }

    #[test]
    fn names_of_members_are_text_of_peers_too() {
        let object = serde_json::json!({ "a\u{202e}b": { "\u{9b}": [1, null] } });
        let line = String::from_utf8(row(&object).unwrap()).unwrap();
        assert_eq!(line, "{\"a\\u202eb\":{\"\\u009b\":[1,null]}}\n");
    }
}
