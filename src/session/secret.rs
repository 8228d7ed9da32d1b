//! Numbers that tell nothing of each other.

use sha1_smol::Sha1;

/// Numbers in a row that peers may see: who knows some of them, and not the secret, cannot compute others. Each is the
/// begin of a SHA-1 over the secret and how many there were before, all of the same length.
#[derive(Debug)]
pub(crate) struct Numbers {
    secret: Secret,
    /// What they are for, so that those for something else differ.
    purpose: u8,
    made: u64,
}

struct Secret([u8; 16]);

impl core::fmt::Debug for Secret {
    /// Omits the bytes.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Secret(16 bytes)")
    }
}

impl Numbers {
    pub(crate) const fn new(secret: [u8; 16], purpose: u8) -> Self {
        Self { secret: Secret(secret), purpose, made: 0 }
    }

    /// Returns the next number, never zero.
    pub(crate) fn next(&mut self) -> u64 {
        self.made += 1;
        let digest = digest(&[&self.secret.0, &[self.purpose], &self.made.to_le_bytes()]);
        let number = digest.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
        number.max(1)
    }
}

/// Returns the first 128 bits of the SHA-1 of these parts in a row.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    let mut first = [0; 16];
    first.copy_from_slice(&hash.digest().bytes()[..16]);
    first
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_differ_by_secret_purpose_and_place() {
        let numbers = |secret, purpose| {
            let mut numbers = Numbers::new([secret; 16], purpose);
            (0..100).map(move |_| numbers.next())
        };
        let all: BTreeSet<_> =
            numbers(1, b's').chain(numbers(1, b'h')).chain(numbers(2, b's')).collect();
        assert_eq!((all.len(), all.contains(&0)), (300, false));
        assert!(numbers(1, b's').eq(numbers(1, b's')));
    }
}
