//! The secret that opens the page.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::key::KeyError;

/// How many random bytes a token is made of.
const ENTROPY: usize = 24;

/// The fewest and the most characters of a token.
const LENGTHS: std::ops::RangeInclusive<usize> = 22..=256;

/// The secret that opens an inspection page. Its `Debug` form does not show it.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// Why a text is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token has 22 to 256 characters, which are letters, digits, - and _")]
pub struct InvalidToken;

impl Token {
    /// Makes a token of 192 bits of the system's cryptographic random source: 32 characters of URL-safe
    /// base64.
    ///
    /// # Errors
    ///
    /// If there are no random bytes.
    pub fn random() -> Result<Self, KeyError> {
        let mut entropy = [0; ENTROPY];
        getrandom::fill(&mut entropy).map_err(KeyError::new)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(entropy).into()))
    }

    /// Takes a token that is kept elsewhere, for pages that are reached through the same URL after a restart.
    /// It must be random, with at least 128 bits.
    ///
    /// # Errors
    ///
    /// [`InvalidToken`] if it is too short for that, too long, or cannot stand in a URL.
    pub fn new(text: &str) -> Result<Self, InvalidToken> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let valid = LENGTHS.contains(&text.len()) && text.bytes().all(fits);
        if valid { Ok(Self(text.into())) } else { Err(InvalidToken) }
    }

    /// Returns the secret.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether this is the token. How long that takes does not depend on what is different.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_random_and_only_the_same_one_is_it() {
        let [one, other] = [(); 2].map(|()| Token::random().unwrap());
        assert_eq!(one.as_str().len(), 32);
        assert!(one.is(one.as_str().as_bytes()) && !one.is(other.as_str().as_bytes()));
        assert!(!one.is(b"") && !one.is(&one.as_str().as_bytes()[..31]));
        assert!(Token::new(one.as_str()).unwrap().is(one.as_str().as_bytes()));
        assert_eq!(format!("{one:?}"), "Token(..)");
    }

    #[test]
    fn a_token_of_the_application_is_long_enough_and_fits_into_a_url() {
        assert!(Token::new(&"a".repeat(22)).is_ok() && Token::new(&"a".repeat(256)).is_ok());
        for text in ["", &"a".repeat(21), &"a".repeat(257), &"a b".repeat(10), &"ä".repeat(20)] {
            assert_eq!(Token::new(text).unwrap_err(), InvalidToken, "{text:?}");
        }
    }
}
