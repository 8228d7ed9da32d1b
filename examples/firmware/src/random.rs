//! Random bytes that nobody can guess.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A random source.
pub struct Random(ChaCha8Rng);

impl Random {
    /// Begins with 32 bytes as 64 hexadecimal digits; `None` if there are not that many. They have to come
    /// from a true random source, and no two starts may have the same.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        let mut seed = [0; 32];
        if digits.len() != 2 * seed.len() || !digits.is_ascii() {
            return None;
        }
        for (place, byte) in seed.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).ok()?;
        }
        Some(Self(ChaCha8Rng::from_seed(seed)))
    }

    /// Random bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A random number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }
}
