//! Names and payloads: from the command line, and as JSON.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, stdin};
use std::path::{Path, PathBuf};

use serde::Serialize;
use wwr::{Encoding, Name, Payload};

use crate::args::ContentArguments;
use crate::blocking::Blocking;
use crate::failure::Failure;
use crate::hex::Hex;
use crate::row::EncodingName;
use crate::text::for_terminal;

/// The longest payload that is read from a file or from standard input, in bytes.
pub(crate) const MOST_PAYLOAD: u64 = 64 * 1024 * 1024;

impl ContentArguments {
    pub(crate) fn name(&self) -> Name {
        self.name.clone().unwrap_or_default()
    }

    /// Reads the payload from its source. The source may never end, so this runs where the caller
    /// can stop waiting.
    pub(crate) async fn read_payload(&self) -> Result<Payload, Failure> {
        let stdin = Path::new("-");
        let data = match (self.payload.as_deref(), self.file.as_deref()) {
            (Some("-"), _) => read(stdin.into()).await?,
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(file)) => read(file.into()).await?,
            (None, None) => Vec::new(),
        };
        encode(self.encoding.into(), data)
    }
}

/// Reads a file, or standard input for `-`.
async fn read(file: PathBuf) -> Result<Vec<u8>, Failure> {
    smol::unblock(move || {
        if file == Path::new("-") {
            read_from("standard input", Ok(Blocking(stdin().lock())), MOST_PAYLOAD)
        } else {
            read_from(&file.display().to_string(), File::open(&file), MOST_PAYLOAD)
        }
    })
    .await
}

/// Reads everything, unless that is longer than allowed.
fn read_from(what: &str, file: io::Result<impl Read>, most: u64) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    let read = file.and_then(|file| file.take(most.saturating_add(1)).read_to_end(&mut data));
    match read {
        Ok(length) if length as u64 > most => Err(Failure::TooLong { what: what.into(), most }),
        Ok(_) => Ok(data),
        Err(error) => Err(Failure::Read { what: what.into(), error }),
    }
}

/// Returns the payload in an encoding, made from bytes or UTF-8.
fn encode(encoding: Encoding, data: Vec<u8>) -> Result<Payload, Failure> {
    if encoding == Encoding::Binary {
        return Ok(Payload::binary(data));
    }
    let text = String::from_utf8(data).map_err(|_| Failure::NotUtf8)?;
    Ok(match encoding {
        Encoding::Utf16 => Payload::utf16(&text),
        Encoding::Binary | Encoding::Utf8 => Payload::utf8(text),
    })
}

/// Returns the text of a payload that was sent as text, if it is valid text and shown without loss.
pub(crate) fn exact_text(payload: &Payload) -> Option<Cow<'_, str>> {
    let text = payload.text().ok()?;
    match payload.encoding() {
        Encoding::Binary => None,
        Encoding::Utf8 => Some(text),
        Encoding::Utf16 => (Payload::utf16(&text) == *payload).then_some(text),
    }
}

/// Returns the bytes to print: those of the payload, or the UTF-8 of its UTF-16.
pub(crate) fn printable(payload: &Payload) -> Cow<'_, [u8]> {
    match (payload.encoding(), payload.text()) {
        (Encoding::Utf16, Ok(text)) => Cow::Owned(text.into_owned().into_bytes()),
        (Encoding::Binary | Encoding::Utf8, _) | (Encoding::Utf16, Err(_)) => {
            Cow::Borrowed(payload.as_bytes())
        }
    }
}

/// The same for a terminal: characters that could harm it are escaped.
pub(crate) fn printable_on_terminal(payload: &Payload) -> String {
    for_terminal(&String::from_utf8_lossy(&printable(payload)))
}

/// A payload as members of an object.
#[derive(Debug, Serialize)]
pub(crate) struct PayloadRow {
    encoding: EncodingName,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<Hex>,
}

impl PayloadRow {
    pub(crate) fn new(payload: &Payload) -> Self {
        let text = exact_text(payload).map(Cow::into_owned);
        let bytes = || Hex(payload.clone().into_bytes());
        let payload_hex = text.is_none().then(bytes);
        Self { encoding: payload.encoding().into(), payload: text, payload_hex }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_encoded_and_bytes_are_not() {
        let text = "né 😀";
        for (encoding, expected) in [
            (Encoding::Binary, Payload::binary(text)),
            (Encoding::Utf8, text.into()),
            (Encoding::Utf16, Payload::utf16(text)),
        ] {
            assert_eq!(encode(encoding, text.into()).unwrap(), expected);
        }
        assert_eq!(encode(Encoding::Binary, vec![0xff]).unwrap(), Payload::binary(vec![0xff]));
        for encoding in [Encoding::Utf8, Encoding::Utf16] {
            assert!(matches!(encode(encoding, vec![0xff]), Err(Failure::NotUtf8)));
        }
    }

    #[test]
    fn only_text_is_shown_as_text() {
        let json = |payload: &Payload| serde_json::to_string(&PayloadRow::new(payload)).unwrap();
        let lone = Payload::new(Encoding::Utf16, vec![0x00, 0xd8]).unwrap();
        let broken = Payload::new(Encoding::Utf8, vec![0xff]).unwrap();
        for (payload, expected) in [
            ("hi".into(), r#"{"encoding":"utf8","payload":"hi"}"#),
            (Payload::utf16("😀"), r#"{"encoding":"utf16","payload":"😀"}"#),
            (Payload::binary("hi"), r#"{"encoding":"binary","payload_hex":"6869"}"#),
            (lone, r#"{"encoding":"utf16","payload_hex":"00d8"}"#),
            (broken, r#"{"encoding":"utf8","payload_hex":"ff"}"#),
        ] {
            assert_eq!(json(&payload), expected);
        }
    }

    #[test]
    fn endless_input_is_read_up_to_a_limit() {
        let read = |length: u64, most| read_from("x", Ok(io::repeat(b'x').take(length)), most);
        assert_eq!(read(9, 10).unwrap().len(), 9);
        assert_eq!(read(10, 10).unwrap().len(), 10);
        let error = read(u64::MAX, 10).unwrap_err();
        assert_eq!(error.to_string(), "x: longer than the 10 bytes that a payload may have");
    }

    #[test]
    fn a_terminal_gets_no_escape_sequences() {
        let shown = |payload: &Payload| printable_on_terminal(payload);
        assert_eq!(shown(&"a\n\u{1b}[2J\u{202e}".into()), "a\n\\u{1b}[2J\\u{202e}");
        assert_eq!(shown(&Payload::utf16("\u{9b}2J")), "\\u{9b}2J");
        assert_eq!(shown(&Payload::binary(vec![b'a', 0xff, 7])), "a\u{fffd}\\u{7}");
    }

    #[test]
    fn utf16_is_printed_as_utf8() {
        assert_eq!(*printable(&Payload::utf16("né")), *"né".as_bytes());
        assert_eq!(*printable(&Payload::binary(vec![0, 0xff])), [0, 0xff]);
    }
}
