//! Request identifiers.

use core::fmt;

/// The eight bytes that tie a reply to its request (protocol §2).
///
/// Clients choose them, servers repeat them and give them no meaning: duplicates and zeros are
/// legal.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Identifier([u8; 8]);

impl Identifier {
    /// Eight zero bytes: what a 1.x server answers with when it could not read the identifier.
    pub const ZERO: Self = Self([0; 8]);

    /// Creates the identifier from these bytes, in the order of the wire.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// Creates the identifier that clients make from a counter: little-endian.
    pub const fn from_counter(counter: u64) -> Self {
        Self(counter.to_le_bytes())
    }

    /// Returns the counter from which this identifier was made.
    pub const fn counter(self) -> u64 {
        u64::from_le_bytes(self.0)
    }

    /// Returns the bytes in the order of the wire.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for Identifier {
    /// Sixteen hexadecimal digits, in the order of the wire.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_shown_in_the_order_of_the_wire() {
        let id = Identifier::from_counter(0x0123_4567_89ab_cd0e);
        assert_eq!(alloc::format!("{id}"), "0ecdab8967452301");
        assert_eq!(alloc::format!("{id:?}"), "0ecdab8967452301");
    }
}
