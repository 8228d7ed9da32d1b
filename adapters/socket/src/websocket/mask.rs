//! Masking (RFC 6455 section 5.3).

/// A masking key.
pub type Key = [u8; 4];

/// The width in which bytes are masked at once.
const WIDE: usize = size_of::<u64>();

/// Masks or unmasks the whole payload of a frame: the same operation.
pub(crate) fn apply(key: Key, payload: &mut [u8]) {
    let [a, b, c, d] = key;
    let wide_key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // The compiler makes vectors of this.
    let (chunks, rest) = payload.as_chunks_mut::<WIDE>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide_key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn every_byte_is_masked_with_its_byte_of_the_key() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..70 {
            for start in 0..WIDE {
                let mut bytes: Vec<u8> = (0..start + length).map(|at| at as u8).collect();
                apply(key, &mut bytes[start..]);
                for (at, byte) in bytes[start..].iter().enumerate() {
                    assert_eq!(*byte, (start + at) as u8 ^ key[at % 4], "{length} from {start}");
                }
            }
        }
    }
}
