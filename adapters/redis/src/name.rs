//! The names of sessions.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};
use wwr_async::SessionKey;
use wwr_async::cluster::Instance;

/// Stands before each key in the digest, so that a digest of the same key for another purpose differs. Zero ends it,
/// so that no other purpose can begin with it.
const PURPOSE: &[u8] = b"wwr-redis session 1\0";

/// Returns the name under which a session is stored. The key cannot be found from it.
pub(crate) fn of(prefix: &str, key: &SessionKey) -> String {
    let digest = Sha256::new().chain_update(PURPOSE).chain_update(key.as_str()).finalize();
    let mut name = String::with_capacity(prefix.len() + 43);
    name.push_str(prefix);
    BASE64URL_NOPAD.encode_append(digest.as_slice(), &mut name);
    name
}

/// The same for clients.
const CLIENT: &[u8] = b"wwr-redis client 1\0";

/// Returns the name under which a client is stored that makes idempotent requests. What it calls itself cannot be found
/// from it.
pub(crate) fn of_client(prefix: &str, instance: &Instance) -> String {
    let digest = Sha256::new().chain_update(CLIENT).chain_update(instance.0).finalize();
    let mut name = String::from(prefix);
    BASE64URL_NOPAD.encode_append(digest.as_slice(), &mut name);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_in_every_version() {
        let key = SessionKey::new("secret").unwrap();
        // printf 'wwr-redis session 1\0secret' | openssl dgst -sha256 -binary | base64 | tr '+/' '-_'
        assert_eq!(of("p:", &key), "p:JDvg09gnNJpxACiZ9vVNFWIv47T0TI1TLB7lSJXxeVY");
    }
}
