//! Session keys.

#[cfg(target_has_atomic = "ptr")]
use alloc::sync::Arc;
use core::fmt;
use core::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
#[cfg(not(target_has_atomic = "ptr"))]
use portable_atomic_util::Arc;

/// The secret that identifies a session and lets a client continue it: a non-empty text.
///
/// Any client that knows the key can use the session, so `Debug` shows only its length. Clones
/// share the text.
///
/// ```
/// use wwr::SessionKey;
///
/// let key = SessionKey::from_entropy([7; 48]);
/// assert_eq!(key.as_str().len(), 64);
/// assert_eq!(format!("{key:?}"), "SessionKey(64 bytes)");
/// assert!(SessionKey::new("").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(Arc<str>);

/// A session key needs at least one character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session key has at least one character")]
pub struct EmptyKey;

impl SessionKey {
    /// How many random bytes the default generator uses for a key (protocol §3.2).
    pub const ENTROPY: usize = 48;

    /// Takes a key that was made elsewhere, and copies its text. JavaScript clients need printable ASCII.
    ///
    /// # Errors
    ///
    /// [`EmptyKey`] if `text` is empty.
    pub fn new(text: impl AsRef<str>) -> Result<Self, EmptyKey> {
        let text = text.as_ref();
        if text.is_empty() { Err(EmptyKey) } else { Ok(Self(text.into())) }
    }

    /// Returns the key of the default generator: 48 bytes from a cryptographic random source,
    /// written as 64 characters of URL-safe base64 (protocol §3.2).
    pub fn from_entropy(entropy: [u8; Self::ENTROPY]) -> Self {
        Self(URL_SAFE_NO_PAD.encode(entropy).into())
    }

    /// Returns the text of the key. A secret: keep it out of logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SessionKey {
    type Err = EmptyKey;

    fn from_str(text: &str) -> Result<Self, EmptyKey> {
        Self::new(text)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({} bytes)", self.0.len())
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for SessionKey {
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        Ok(Self::from_entropy([u.arbitrary()?; Self::ENTROPY]))
    }
}

/// Which keys of clients may reach the store. Any other key is "not found" without a look-up.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub enum KeyFormat {
    /// What [`SessionKey::from_entropy`] makes: 64 characters of the URL-safe base64 alphabet.
    #[default]
    Generated,
    /// What this function accepts, for a generator of your own. It sees any non-empty text that a
    /// peer sends.
    Custom(fn(&str) -> bool),
}

impl KeyFormat {
    /// Returns the key, if these bytes have its format.
    pub fn parse(self, bytes: &[u8]) -> Option<SessionKey> {
        let text = core::str::from_utf8(bytes).ok()?;
        self.accepts(text).then(|| SessionKey(text.into()))
    }

    /// Returns whether this text has the format of a key.
    pub fn accepts(self, text: &str) -> bool {
        match self {
            Self::Generated => {
                let in_alphabet =
                    |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
                text.len() == SessionKey::ENTROPY / 3 * 4 && text.bytes().all(in_alphabet)
            }
            Self::Custom(accepts) => !text.is_empty() && accepts(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_keys_use_the_url_safe_alphabet_without_padding() {
        let key =
            SessionKey::from_entropy(core::array::from_fn(|index| 251u8.wrapping_add(index as u8)));
        assert_eq!(key.as_str().len(), 64);
        assert!(key.as_str().starts_with("-_z9_v8AAQID"));
        assert_eq!(KeyFormat::Generated.parse(key.as_str().as_bytes()), Some(key));
    }

    #[test]
    fn a_key_is_read_from_any_text_but_the_empty_one() {
        assert_eq!("a secret".parse(), SessionKey::new("a secret"));
        assert_eq!("".parse::<SessionKey>(), Err(EmptyKey));
    }

    #[test]
    fn debug_output_does_not_show_a_key() {
        let key = SessionKey::new("a secret").unwrap();
        assert_eq!(alloc::format!("{key:?}"), "SessionKey(8 bytes)");
    }

    #[test]
    fn only_keys_of_the_generator_match_its_format() {
        let good = "a".repeat(64);
        assert!(KeyFormat::Generated.parse(good.as_bytes()).is_some());
        for bad in [
            "",
            "a",
            &good[1..],
            &(good.clone() + "a"),
            &good.replacen('a', "/", 1),
            &good.replacen('a', ".", 1),
        ] {
            assert!(KeyFormat::Generated.parse(bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(KeyFormat::Generated.parse(&[0xff; 64]).is_none());
    }

    #[test]
    fn a_custom_format_decides_but_never_sees_an_empty_key() {
        let any = KeyFormat::Custom(|_| true);
        assert!(any.parse(b"k").is_some());
        assert!(any.parse(b"").is_none());
        assert!(any.parse(&[0xff]).is_none());
        assert!(KeyFormat::Custom(|key| key.starts_with("s-")).parse(b"k").is_none());
    }
}
