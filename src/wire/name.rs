//! What may be sent as a name or an error code.

use alloc::string::String;
use core::convert::Infallible;
use core::fmt;
use core::str::FromStr;

use bytes::Bytes;

/// The longest name and the longest error code, in bytes.
pub const MAX_NAME_LENGTH: usize = 255;

/// Why a text cannot be a [`Name`] or an [`ErrorCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidName {
    /// It is longer than its length byte can say.
    #[error("at most 255 bytes are allowed, there are {length}")]
    TooLong {
        /// The number of bytes given.
        length: usize,
    },
    /// It has a byte that is not a printable ASCII character.
    #[error("only printable ASCII (20 to 7e) is allowed, byte {position} is {byte:02x}")]
    NotPrintable {
        /// Where that byte stands, counted from zero.
        position: usize,
        /// The byte.
        byte: u8,
    },
    /// An error code needs at least one character.
    #[error("an error code has at least one character")]
    EmptyCode,
}

impl From<Infallible> for InvalidName {
    /// Lets functions that take anything that converts into a name also take a [`Name`].
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Checks what names and error codes have in common (protocol §1.5).
pub(crate) const fn check_name(bytes: &[u8]) -> Result<(), InvalidName> {
    if bytes.len() > MAX_NAME_LENGTH {
        return Err(InvalidName::TooLong { length: bytes.len() });
    }
    let mut position = 0;
    while position < bytes.len() {
        let byte = bytes[position];
        if byte < 0x20 || byte > 0x7e {
            return Err(InvalidName::NotPrintable { position, byte });
        }
        position += 1;
    }
    Ok(())
}

/// Checks an error code (protocol §1.5).
pub(crate) const fn check_code(bytes: &[u8]) -> Result<(), InvalidName> {
    if bytes.is_empty() {
        return Err(InvalidName::EmptyCode);
    }
    check_name(bytes)
}

macro_rules! printable {
    ($(#[$doc:meta])* $type:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Bytes);

        impl $type {
            /// Checks `text` and stores it.
            ///
            /// # Errors
            ///
            /// [`InvalidName`] if the protocol forbids it.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidName> {
                let text = text.into();
                $check(text.as_bytes())?;
                Ok(Self(Bytes::from(text.into_bytes())))
            }

            /// Checks a text that lives as long as the program. Copies and allocates nothing.
            ///
            /// # Errors
            ///
            /// [`InvalidName`] if the protocol forbids it.
            pub const fn from_static(text: &'static str) -> Result<Self, InvalidName> {
                match $check(text.as_bytes()) {
                    Ok(()) => Ok(Self(Bytes::from_static(text.as_bytes()))),
                    Err(error) => Err(error),
                }
            }

            /// Returns the text.
            pub fn as_str(&self) -> &str {
                // Every constructor has checked that it is ASCII.
                core::str::from_utf8(&self.0).unwrap_or_default()
            }

            /// Returns the bytes of the text.
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $type {
            type Error = InvalidName;

            /// Copies the text; [`from_static`](Self::from_static) does not.
            fn try_from(text: &str) -> Result<Self, InvalidName> {
                $check(text.as_bytes())?;
                Ok(Self(Bytes::copy_from_slice(text.as_bytes())))
            }
        }

        impl TryFrom<&[u8]> for $type {
            type Error = InvalidName;

            /// Copies the bytes, as those of a [`Content::name`](crate::Content::name).
            fn try_from(bytes: &[u8]) -> Result<Self, InvalidName> {
                $check(bytes)?;
                Ok(Self(Bytes::copy_from_slice(bytes)))
            }
        }

        impl From<&Self> for $type {
            /// Shares the text.
            fn from(other: &Self) -> Self {
                other.clone()
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl TryFrom<Bytes> for $type {
            type Error = InvalidName;

            fn try_from(bytes: Bytes) -> Result<Self, InvalidName> {
                $check(&bytes)?;
                Ok(Self(bytes))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

printable! {
    /// A name that may be sent with a request or a signal: at most 255 bytes of printable ASCII,
    /// possibly empty (protocol §1.5).
    ///
    /// Received names are plain bytes, since peers may send anything.
    ///
    /// ```
    /// use wwr::Name;
    ///
    /// let name: Name = "login".parse()?;
    /// assert_eq!(name.as_str(), "login");
    /// assert!("naïve".parse::<Name>().is_err());
    /// # Ok::<(), wwr::InvalidName>(())
    /// ```
    Name, check_name
}

impl Name {
    /// The empty name.
    pub const NONE: Self = Self(Bytes::new());

    /// Returns whether it has no characters.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns how many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::NONE
    }
}

printable! {
    /// The error code in a handler's answer: 1 to 255 bytes of printable ASCII (protocol §1.5).
    ErrorCode, check_code
}

#[cfg(feature = "arbitrary")]
fn arbitrary_text(u: &mut arbitrary::Unstructured<'_>, least: u8) -> arbitrary::Result<String> {
    let length = u.int_in_range(least..=u8::MAX)?;
    (0..length).map(|_| u.int_in_range(b' '..=b'~').map(char::from)).collect()
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Name {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(arbitrary_text(u, 0)?.into_bytes().into()))
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for ErrorCode {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self(arbitrary_text(u, 1)?.into_bytes().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable_ascii_of_255_bytes_at_most() {
        assert!(Name::new("").is_ok());
        assert!(Name::new("~ ".repeat(127) + "x").is_ok());
        assert_eq!(Name::new("x".repeat(256)), Err(InvalidName::TooLong { length: 256 }));
        let newline = InvalidName::NotPrintable { position: 1, byte: b'\n' };
        assert_eq!(Name::new("a\n"), Err(newline));
        let delete = InvalidName::NotPrintable { position: 0, byte: 0x7f };
        assert_eq!(Name::new("\u{7f}"), Err(delete));
    }

    #[test]
    fn texts_and_bytes_of_any_life_can_become_names() {
        let text = String::from("name");
        let bytes: &[u8] = text.as_bytes();
        let names = [Name::try_from(&*text), Name::try_from(bytes), Name::from_static("name")];
        assert!(names.iter().all(|name| name.as_ref().is_ok_and(|name| name.as_str() == text)));
        let newline = InvalidName::NotPrintable { position: 0, byte: b'\n' };
        assert_eq!(Name::try_from("\n"), Err(newline));
        assert_eq!(ErrorCode::try_from(&b"\n"[..]), Err(newline));
    }

    #[test]
    fn codes_are_not_empty() {
        assert_eq!(ErrorCode::new(""), Err(InvalidName::EmptyCode));
        assert_eq!(ErrorCode::from_static("C").map(|code| code.as_str().len()), Ok(1));
    }
}
