//! Reading the vector files.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use wwr::wire::Identifier;
use wwr::{Dialect, Encoding};

/// A file of one version: what the reference did, or for `wwr.1` what the protocol says.
pub(crate) struct File {
    pub(crate) dialect: Dialect,
    pub(crate) text: &'static str,
}

pub(crate) const COMPOSE_1_4: File =
    File { dialect: Dialect::V1_4, text: include_str!("../vectors/compose-1.4.jsonl") };
pub(crate) const COMPOSE_2_0: File =
    File { dialect: Dialect::V2_0, text: include_str!("../vectors/compose-2.0.jsonl") };
pub(crate) const PARSE_1_4: File =
    File { dialect: Dialect::V1_4, text: include_str!("../vectors/parse-1.4.jsonl") };
pub(crate) const PARSE_2_0: File =
    File { dialect: Dialect::V2_0, text: include_str!("../vectors/parse-2.0.jsonl") };
pub(crate) const COMPOSE_WWR1: File =
    File { dialect: Dialect::Wwr1, text: include_str!("../vectors/compose-wwr.1.jsonl") };
pub(crate) const PARSE_WWR1: File =
    File { dialect: Dialect::Wwr1, text: include_str!("../vectors/parse-wwr.1.jsonl") };
pub(crate) const UTF16: &str = include_str!("../vectors/utf16.jsonl");

/// The rows of a file.
pub(crate) fn rows<T: DeserializeOwned>(text: &str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Bytes written as lowercase hex.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Hex(pub(crate) Bytes);

impl TryFrom<String> for Hex {
    type Error = data_encoding::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        HEXLOWER.decode(text.as_bytes()).map(|bytes| Self(bytes.into()))
    }
}

/// The eight bytes of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Hex")]
pub(crate) struct Id(pub(crate) Identifier);

impl TryFrom<Hex> for Id {
    type Error = &'static str;

    fn try_from(hex: Hex) -> Result<Self, Self::Error> {
        let bytes = <[u8; 8]>::try_from(&hex.0[..]).map_err(|_| "eight bytes are needed")?;
        Ok(Self(Identifier::from_bytes(bytes)))
    }
}

/// The vectors' names of the encodings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tag {
    Binary,
    Utf8,
    Utf16,
}

impl From<Tag> for Encoding {
    fn from(tag: Tag) -> Self {
        match tag {
            Tag::Binary => Self::Binary,
            Tag::Utf8 => Self::Utf8,
            Tag::Utf16 => Self::Utf16,
        }
    }
}
