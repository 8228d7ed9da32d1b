//! Generators of session keys.

use wwr::{KeyFormat, SessionKey};

use crate::runtime::Runtime;

/// Makes the keys of new sessions.
///
/// Any client that guesses a key gets the session. So keys need at least 128 bits from a
/// cryptographic random source and must never repeat.
///
/// ```
/// use wwr_async::{KeyFormat, SessionKey};
/// use wwr_async::{KeyError, KeyGenerator, RandomKeys};
///
/// /// Keys that say which service they belong to.
/// struct ShopKeys;
///
/// impl KeyGenerator for ShopKeys {
///     fn generate(&self) -> Result<SessionKey, KeyError> {
///         let random = RandomKeys.generate()?;
///         SessionKey::new(format!("shop-{}", random.as_str())).map_err(KeyError::new)
///     }
///
///     fn format(&self) -> KeyFormat {
///         KeyFormat::Custom(|key| key.len() == 69 && key.starts_with("shop-"))
///     }
/// }
///
/// let key = ShopKeys.generate()?;
/// assert_eq!(ShopKeys.format().parse(key.as_str().as_bytes()), Some(key));
/// # Ok::<(), KeyError>(())
/// ```
pub trait KeyGenerator: Send + Sync + 'static {
    /// Returns a key that was never made before. The tasks of connections call this, so it must not
    /// block.
    ///
    /// # Errors
    ///
    /// [`KeyError`] if no random bytes are available. Then no session is created.
    fn generate(&self) -> Result<SessionKey, KeyError>;

    /// Returns which keys of clients this generator could have made. Other keys never reach the
    /// store.
    fn format(&self) -> KeyFormat;
}

/// Why no session key could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a session key")]
pub struct KeyError {
    source: Box<dyn core::error::Error + Send + Sync>,
}

impl KeyError {
    /// Creates an error with its cause.
    pub fn new(source: impl Into<Box<dyn core::error::Error + Send + Sync>>) -> Self {
        Self { source: source.into() }
    }
}

/// Keys of 48 bytes from the system's cryptographic random source, in the form of the default
/// generator (protocol §3.2): 64 characters of URL-safe base64.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomKeys;

impl KeyGenerator for RandomKeys {
    fn generate(&self) -> Result<SessionKey, KeyError> {
        generate_with(getrandom::fill)
    }

    fn format(&self) -> KeyFormat {
        KeyFormat::Generated
    }
}

/// The same of the random bytes of a runtime.
pub(crate) struct RuntimeKeys<R>(pub(crate) R);

impl<R: Runtime> KeyGenerator for RuntimeKeys<R> {
    fn generate(&self) -> Result<SessionKey, KeyError> {
        generate_with(|bytes| self.0.fill_random(bytes))
    }

    fn format(&self) -> KeyFormat {
        KeyFormat::Generated
    }
}

/// Makes a key from the bytes that `fill` writes.
fn generate_with<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<SessionKey, KeyError>
where
    E: core::error::Error + Send + Sync + 'static,
{
    let mut entropy = [0; SessionKey::ENTROPY];
    fill(&mut entropy).map_err(KeyError::new)?;
    Ok(SessionKey::from_entropy(entropy))
}

#[cfg(test)]
mod tests {
    use core::error::Error;
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn random_keys_have_their_format_and_differ() {
        let keys: HashSet<_> = (0..100).map(|_| RandomKeys.generate().unwrap()).collect();
        assert_eq!(keys.len(), 100);
        for key in keys {
            assert_eq!(RandomKeys.format().parse(key.as_str().as_bytes()), Some(key));
        }
    }

    #[test]
    fn every_byte_of_the_key_comes_from_the_source() {
        let key = generate_with::<getrandom::Error>(|entropy| {
            entropy.fill(0xff);
            Ok(())
        });
        assert_eq!(key.unwrap().as_str(), "_".repeat(64));
    }

    #[test]
    fn a_failing_source_is_an_error_that_says_why() {
        let error = generate_with(|_| Err(getrandom::Error::UNEXPECTED)).unwrap_err();
        assert!(error.source().is_some_and(|source| source.is::<getrandom::Error>()));
    }
}
