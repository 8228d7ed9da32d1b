//! Heads of frames (RFC 6455 section 5.2).

use alloc::vec::Vec;

use super::mask::{self, Key};
use super::{Role, Violation};

/// The longest payload of a control frame (RFC 6455 section 5.5).
pub(super) const MAX_CONTROL: usize = 125;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The head of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) opcode: Opcode,
    /// Whether it is the last frame of its message.
    pub(super) is_last: bool,
    pub(super) mask: Option<Key>,
    /// Its length in bytes.
    pub(super) length: usize,
    /// The length of the payload in bytes.
    pub(super) payload: u64,
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

impl Opcode {
    const fn of(nibble: u8) -> Option<Self> {
        Some(match nibble {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    const fn as_byte(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Head {
    /// Reads a head at the start of `bytes`. `None` if that needs more bytes.
    ///
    /// A length may be written in more bytes than it needs. The RFC forbids that to senders, and small
    /// clients do it nevertheless.
    #[inline]
    pub(super) fn parse(bytes: &[u8], from: Role) -> Result<Option<Self>, Violation> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        if first & RESERVED != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::of(first & 0xf).ok_or(Violation::UnknownOpcode)?;
        let is_last = first & FIN != 0;
        let is_masked = second & MASKED != 0;
        // Only clients mask, and all of them do (RFC 6455 section 5.1).
        if is_masked != (from == Role::Client) {
            return Err(Violation::Masking);
        }
        let short = second & !MASKED;
        if opcode.is_control() && (!is_last || usize::from(short) > MAX_CONTROL) {
            return Err(Violation::ControlFrame);
        }
        let (payload, rest, extra) = match short {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u16::from_be_bytes(*length).into(), rest, 2),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest, 8),
                None => return Ok(None),
            },
            short => (short.into(), rest, 0),
        };
        let mask = match is_masked {
            true => match rest.first_chunk() {
                Some(key) => Some(*key),
                None => return Ok(None),
            },
            false => None,
        };
        let length = 2 + extra + if is_masked { size_of::<Key>() } else { 0 };
        Ok(Some(Self { opcode, is_last, mask, length, payload }))
    }
}

/// The longest head in bytes.
pub(super) const MAX_HEAD: usize = 2 + size_of::<u64>() + size_of::<Key>();

/// Appends a whole frame that is the last of its message.
pub(super) fn write(opcode: Opcode, payload: &[u8], mask: Option<Key>, out: &mut Vec<u8>) {
    out.reserve(MAX_HEAD + payload.len());
    let masked = if mask.is_some() { MASKED } else { 0 };
    let first = FIN | opcode.as_byte();
    match payload.len() {
        short @ 0..=125 => out.extend_from_slice(&[first, masked | short as u8]),
        length => match u16::try_from(length) {
            Ok(length) => {
                let [high, low] = length.to_be_bytes();
                out.extend_from_slice(&[first, masked | 126, high, low]);
            }
            Err(_) => {
                out.extend_from_slice(&[first, masked | 127]);
                out.extend_from_slice(&(length as u64).to_be_bytes());
            }
        },
    }
    let Some(key) = mask else { return out.extend_from_slice(payload) };
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(key, &mut out[start..]);
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn parse(bytes: &[u8]) -> Result<Option<Head>, Violation> {
        Head::parse(bytes, Role::Server)
    }

    #[test]
    fn what_is_written_is_read_at_every_length_and_byte_by_byte() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let payload = vec![0x5a; length];
                let mut frame = Vec::new();
                write(Opcode::Binary, &payload, mask, &mut frame);
                let from = if mask.is_some() { Role::Client } else { Role::Server };
                let head = Head::parse(&frame, from).unwrap().unwrap();
                assert_eq!((head.opcode, head.is_last), (Opcode::Binary, true));
                assert_eq!((head.mask, head.payload), (mask, length as u64));
                assert_eq!(head.length + length, frame.len());
                for end in 0..head.length {
                    assert_eq!(Head::parse(&frame[..end], from), Ok(None), "{length}, {end}");
                }
                let mut body = frame.split_off(head.length);
                mask::apply(mask.unwrap_or_default(), &mut body);
                assert_eq!(body, payload);
            }
        }
    }

    #[test]
    fn what_the_rfc_forbids_is_a_violation() {
        for (bytes, violation) in [
            (&[0xc2, 0][..], Violation::ReservedBits),
            (&[0xa2, 0], Violation::ReservedBits),
            (&[0x92, 0], Violation::ReservedBits),
            (&[0x83, 0], Violation::UnknownOpcode),
            (&[0x87, 0], Violation::UnknownOpcode),
            (&[0x8b, 0], Violation::UnknownOpcode),
            (&[0x8f, 0], Violation::UnknownOpcode),
            (&[0x82, 0x80], Violation::Masking),
            (&[0x09, 0], Violation::ControlFrame),
            (&[0x08, 0], Violation::ControlFrame),
            (&[0x89, 126], Violation::ControlFrame),
            (&[0x8a, 127], Violation::ControlFrame),
        ] {
            assert_eq!(parse(bytes), Err(violation), "{bytes:x?}");
        }
        assert_eq!(Head::parse(&[0x82, 0], Role::Client), Err(Violation::Masking));
    }

    #[test]
    fn a_length_may_take_more_bytes_than_it_needs() {
        for bytes in [&[0x82, 126, 0, 5][..], &[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5]] {
            let head = parse(bytes).unwrap().unwrap();
            assert_eq!((head.length, head.payload), (bytes.len(), 5));
        }
    }
}
