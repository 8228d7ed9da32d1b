//! Bytes as hexadecimal digits.

use std::borrow::Cow;

use bytes::Bytes;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use wwr::wire::Identifier;

/// Why a text is not hexadecimal.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotHex {
    #[error("an odd number of hexadecimal digits, {0}")]
    Odd(usize),
    #[error("'{}' at column {column} is not a hexadecimal digit", byte.escape_ascii())]
    Digit { byte: u8, column: usize },
}

/// Parses digits of either case with white space around them.
pub(crate) fn parse(text: &[u8]) -> Result<Bytes, NotHex> {
    let digits = text.trim_ascii();
    HEXLOWER_PERMISSIVE.decode(digits).map(Bytes::from).map_err(|_| {
        let skipped = text.len() - text.trim_ascii_start().len();
        let mut columns = (skipped + 1..).zip(digits);
        match columns.find(|(_, byte)| !byte.is_ascii_hexdigit()) {
            Some((column, &byte)) => NotHex::Digit { byte, column },
            None => NotHex::Odd(digits.len()),
        }
    })
}

/// Bytes that are written as lowercase digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hex(pub(crate) Bytes);

impl Hex {
    pub(crate) fn copy(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl From<Identifier> for Hex {
    fn from(id: Identifier) -> Self {
        Self::copy(id.as_bytes())
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&HEXLOWER.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        parse(text.as_bytes()).map(Self).map_err(de::Error::custom)
    }
}
