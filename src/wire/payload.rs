//! Payloads and their encodings.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::str::Utf8Error;

use bytes::Bytes;

/// How to read a payload. A tag for the application: the library only checks that UTF-16 has an
/// even number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Encoding {
    /// Bytes without a declared meaning.
    #[default]
    Binary,
    /// Text as UTF-8.
    Utf8,
    /// Text as UTF-16, little-endian, without a byte order mark.
    Utf16,
}

/// A payload: bytes and their encoding. UTF-16 always has an even number of bytes.
///
/// Received payloads are slices of the received frame, so cloning is cheap.
///
/// ```
/// use wwr::{Encoding, Payload};
///
/// let greeting = Payload::utf16("hi 😀");
/// assert_eq!(greeting.encoding(), Encoding::Utf16);
/// assert_eq!(greeting.text()?, "hi 😀");
/// assert!(Payload::new(Encoding::Utf16, &b"odd"[..]).is_err());
/// # Ok::<(), core::str::Utf8Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    data: Bytes,
    encoding: Encoding,
}

/// A UTF-16 payload has an odd number of bytes; each code unit takes two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a UTF-16 payload has an even number of bytes, this one has {length}")]
pub struct OddUtf16 {
    /// The number of bytes given.
    pub length: usize,
}

impl Payload {
    /// The empty binary payload.
    pub const EMPTY: Self = Self { data: Bytes::new(), encoding: Encoding::Binary };

    /// Creates a payload of these bytes.
    ///
    /// `data` is whatever can become a payload, of which only the bytes count: `Bytes`, `Vec<u8>` and
    /// `String` are taken as they are, `&[u8]` and `&str` are copied.
    ///
    /// # Errors
    ///
    /// [`OddUtf16`] if the encoding is UTF-16 and the number of bytes is odd. UTF-8 is not checked,
    /// as in the reference.
    pub fn new(encoding: Encoding, data: impl Into<Self>) -> Result<Self, OddUtf16> {
        let data = data.into().data;
        if encoding == Encoding::Utf16 && data.len() % 2 == 1 {
            return Err(OddUtf16 { length: data.len() });
        }
        Ok(Self { data, encoding })
    }

    /// Creates a payload whose bytes were checked while parsing.
    pub(crate) const fn checked(encoding: Encoding, data: Bytes) -> Self {
        Self { data, encoding }
    }

    /// Creates a binary payload.
    pub fn binary(data: impl Into<Self>) -> Self {
        Self { data: data.into().data, encoding: Encoding::Binary }
    }

    /// Creates a binary payload of bytes that live as long as the program. Copies and allocates
    /// nothing.
    pub const fn binary_static(data: &'static [u8]) -> Self {
        Self { data: Bytes::from_static(data), encoding: Encoding::Binary }
    }

    /// Creates a UTF-8 payload of this text.
    pub fn utf8(text: impl Into<String>) -> Self {
        Self { data: Bytes::from(text.into().into_bytes()), encoding: Encoding::Utf8 }
    }

    /// Creates a UTF-8 payload of a text that lives as long as the program; allocates nothing.
    pub const fn utf8_static(text: &'static str) -> Self {
        Self { data: Bytes::from_static(text.as_bytes()), encoding: Encoding::Utf8 }
    }

    /// Creates a UTF-16 payload of this text.
    pub fn utf16(text: &str) -> Self {
        let mut data = Vec::with_capacity(text.len() * 2);
        for unit in text.encode_utf16() {
            data.extend_from_slice(&unit.to_le_bytes());
        }
        Self { data: data.into(), encoding: Encoding::Utf16 }
    }

    /// Returns the encoding.
    pub const fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Returns the bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.data
    }

    /// Returns the bytes, shared.
    #[inline]
    pub fn into_bytes(self) -> Bytes {
        self.data
    }

    /// Returns how many bytes it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// Returns whether it has no bytes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Returns the payload as text (protocol §1.7): binary and UTF-8 as they are, UTF-16 decoded,
    /// with U+FFFD for each unpaired surrogate.
    ///
    /// # Errors
    ///
    /// If the bytes of a binary or UTF-8 payload are not valid UTF-8.
    pub fn text(&self) -> Result<Cow<'_, str>, Utf8Error> {
        text(self.encoding, &self.data)
    }
}

/// Returns the text of a payload that is passed in parts; see [`Payload::text`].
pub(crate) fn text(encoding: Encoding, data: &[u8]) -> Result<Cow<'_, str>, Utf8Error> {
    match encoding {
        Encoding::Binary | Encoding::Utf8 => core::str::from_utf8(data).map(Cow::Borrowed),
        Encoding::Utf16 => {
            let units = data.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
            let characters = char::decode_utf16(units);
            Ok(characters.map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
    }
}

impl From<&str> for Payload {
    /// A UTF-8 payload. Copies the text; [`utf8_static`](Self::utf8_static) does not.
    fn from(text: &str) -> Self {
        Self { data: Bytes::copy_from_slice(text.as_bytes()), encoding: Encoding::Utf8 }
    }
}

impl From<&[u8]> for Payload {
    /// A binary payload. Copies the bytes; [`binary_static`](Self::binary_static) does not.
    fn from(data: &[u8]) -> Self {
        Self { data: Bytes::copy_from_slice(data), encoding: Encoding::Binary }
    }
}

impl<const N: usize> From<&[u8; N]> for Payload {
    /// A binary payload. Copies the bytes; [`binary_static`](Self::binary_static) does not.
    fn from(data: &[u8; N]) -> Self {
        Self::from(&data[..])
    }
}

impl From<&Self> for Payload {
    /// Shares the bytes.
    fn from(other: &Self) -> Self {
        other.clone()
    }
}

impl From<String> for Payload {
    /// A UTF-8 payload.
    fn from(text: String) -> Self {
        Self::utf8(text)
    }
}

impl From<Vec<u8>> for Payload {
    /// A binary payload.
    fn from(data: Vec<u8>) -> Self {
        Self { data: data.into(), encoding: Encoding::Binary }
    }
}

impl From<Bytes> for Payload {
    /// A binary payload.
    fn from(data: Bytes) -> Self {
        Self { data, encoding: Encoding::Binary }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Payload {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let encoding = u.arbitrary()?;
        let mut data: Vec<u8> = u.arbitrary()?;
        if encoding == Encoding::Utf16 {
            data.truncate(data.len() & !1);
        }
        Ok(Self { data: data.into(), encoding })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_type_of_a_payload_decides_its_encoding() {
        let utf16 = b"\xe9\0\x3d\xd8\0\xde";
        for (payload, encoding, data) in [
            (Payload::default(), Encoding::Binary, &b""[..]),
            (Payload::from("\u{e9}"), Encoding::Utf8, b"\xc3\xa9"),
            (Payload::from(String::from("\u{e9}")), Encoding::Utf8, b"\xc3\xa9"),
            (Payload::from(Vec::from(*b"\xff\0")), Encoding::Binary, b"\xff\0"),
            (Payload::from(Bytes::from_static(b"\xff")), Encoding::Binary, b"\xff"),
            (Payload::from(String::from("\u{e9}").as_str()), Encoding::Utf8, b"\xc3\xa9"),
            (Payload::from(Vec::from(*b"\xff").as_slice()), Encoding::Binary, b"\xff"),
            (Payload::from(b"\xff"), Encoding::Binary, b"\xff"),
            (Payload::binary("\u{e9}"), Encoding::Binary, b"\xc3\xa9"),
            (Payload::binary_static(b"\xff"), Encoding::Binary, b"\xff"),
            (Payload::from(&Payload::utf8_static("x")), Encoding::Utf8, b"x"),
            (Payload::utf16("\u{e9}\u{1f600}"), Encoding::Utf16, utf16),
            (Payload::new(Encoding::Utf16, &utf16[..]).unwrap(), Encoding::Utf16, utf16),
            (Payload::new(Encoding::Utf8, &b"\xff"[..]).unwrap(), Encoding::Utf8, b"\xff"),
        ] {
            assert_eq!((payload.encoding(), payload.as_bytes()), (encoding, data));
            assert_eq!((payload.len(), payload.is_empty()), (data.len(), data.is_empty()));
            assert_eq!(payload.into_bytes(), data);
        }
    }

    #[test]
    fn utf_16_has_an_even_number_of_bytes() {
        for length in 0..4 {
            let payload =
                Payload::new(Encoding::Utf16, Bytes::from_static(&[0; 4]).slice(..length));
            assert_eq!(payload.err(), (length % 2 == 1).then_some(OddUtf16 { length }));
        }
    }

    #[test]
    fn only_valid_utf_8_is_text() {
        let text = |encoding, data: &'static [u8]| {
            let payload = Payload::new(encoding, data).unwrap();
            payload.text().map(Cow::into_owned).ok()
        };
        assert_eq!(text(Encoding::Binary, b"\xc3\xa9").as_deref(), Some("\u{e9}"));
        assert_eq!(text(Encoding::Utf8, b"\xc3\xa9").as_deref(), Some("\u{e9}"));
        assert_eq!(text(Encoding::Utf8, b"\xff"), None);
        assert_eq!(text(Encoding::Utf16, b"\0\xd8a\0").as_deref(), Some("\u{fffd}a"));
    }
}
