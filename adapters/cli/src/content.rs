//! Names and payloads: from the command line, and as JSON.

use std::borrow::Cow;
use std::fs;
use std::io::{Read as _, stdin};
use std::path::Path;

use serde::Serialize;
use wwr::{Encoding, Name, Payload};

use crate::args::ContentArguments;
use crate::failure::Failure;
use crate::hex::Hex;
use crate::row::EncodingName;

impl ContentArguments {
    pub(crate) fn name(&self) -> Name {
        self.name.clone().unwrap_or_default()
    }

    /// Reads the payload from where it is.
    pub(crate) fn read_payload(&self) -> Result<Payload, Failure> {
        let stdin = Path::new("-");
        let data = match (self.payload.as_deref(), self.file.as_deref()) {
            (Some("-"), _) => read(stdin)?,
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(file)) => read(file)?,
            (None, None) => Vec::new(),
        };
        encode(self.encoding.into(), data)
    }
}

/// Reads a file, or standard input for `-`.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let (what, data) = if file == Path::new("-") {
        let mut data = Vec::new();
        ("standard input".into(), stdin().lock().read_to_end(&mut data).map(|_| data))
    } else {
        (file.display().to_string(), fs::read(file))
    };
    data.map_err(|error| Failure::Read { what, error })
}

/// The payload in an encoding, of bytes or of UTF-8.
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

/// The text of a payload that was sent as text, if it is text and nothing is lost by showing it so.
pub(crate) fn exact_text(payload: &Payload) -> Option<Cow<'_, str>> {
    let text = payload.text().ok()?;
    match payload.encoding() {
        Encoding::Binary => None,
        Encoding::Utf8 => Some(text),
        Encoding::Utf16 => (Payload::utf16(&text) == *payload).then_some(text),
    }
}

/// The bytes to print: those of the payload, or the UTF-8 of its UTF-16.
pub(crate) fn printable(payload: &Payload) -> Cow<'_, [u8]> {
    match (payload.encoding(), payload.text()) {
        (Encoding::Utf16, Ok(text)) => Cow::Owned(text.into_owned().into_bytes()),
        (Encoding::Binary | Encoding::Utf8, _) | (Encoding::Utf16, Err(_)) => {
            Cow::Borrowed(payload.as_bytes())
        }
    }
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
    fn utf16_is_printed_as_utf8() {
        assert_eq!(*printable(&Payload::utf16("né")), *"né".as_bytes());
        assert_eq!(*printable(&Payload::binary(vec![0, 0xff])), [0, 0xff]);
    }
}
