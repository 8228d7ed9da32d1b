//! What peers of `wwr.1` say about histories and kept outcomes.

use bytes::{Buf, Bytes};

use super::length;

/// Where a client is in the history of its session (protocol §10.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct HistoryMark {
    /// What this says.
    pub state: HistoryState,
    /// Which history it is.
    pub incarnation: u64,
    /// The offset of the last signal before this place. The next one has the offset after that.
    pub offset: u64,
}

/// What a [`HistoryMark`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum HistoryState {
    /// The client follows the history from here on. Nothing was missed that it could know of.
    Started,
    /// The client has got everything that it had missed.
    Resumed,
    /// What lies between the client's place and this one is missing.
    Gap,
}

impl HistoryState {
    /// Returns the number of the state.
    pub const fn as_byte(self) -> u8 {
        self as u8
    }

    /// Returns the state with this number. An unknown one is a gap, so that nothing is missed in silence.
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Started,
            1 => Self::Resumed,
            _ => Self::Gap,
        }
    }
}

/// Which outcomes of idempotent requests a server keeps for the client of a connection (protocol §10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct KeptOutcomes {
    /// What the server remembers of this client, as a number. Requests that were sent under another one
    /// must not be repeated.
    pub scope: u64,
    /// How long an outcome is kept, in milliseconds.
    pub window_ms: u32,
    /// How many outcomes are kept for a client: those of its last requests.
    pub outcomes: u32,
}

impl KeptOutcomes {
    /// The scope of a server that can keep nothing at the moment. Requests that were sent under it are not repeated.
    pub const NOTHING: u64 = 0;
}

/// A request to continue a session from a place in its history: one slice of the frame.
#[derive(Clone, PartialEq, Eq)]
pub struct Resume {
    /// Incarnation and offset, then the key.
    data: Bytes,
}

impl Resume {
    /// Creates a request to continue the session of `key` behind the signal of this offset.
    pub fn new(incarnation: u64, offset: u64, key: &[u8]) -> Self {
        let place = [incarnation.to_le_bytes(), offset.to_le_bytes()].concat();
        Self { data: [&place[..], key].concat().into() }
    }

    /// For data that is long enough.
    pub(super) const fn checked(data: Bytes) -> Self {
        Self { data }
    }

    /// Returns which history the client knows.
    pub fn incarnation(&self) -> u64 {
        self.number(0)
    }

    /// Returns the offset of the last signal that the client has.
    pub fn offset(&self) -> u64 {
        self.number(8)
    }

    /// Returns the key of the session: one or more bytes, of any value.
    pub fn key(&self) -> Bytes {
        let mut key = self.data.clone();
        key.advance(length::PLACE.min(key.len()));
        key
    }

    /// Returns all of it as bytes: incarnation, offset, key.
    pub const fn as_bytes(&self) -> &Bytes {
        &self.data
    }

    fn number(&self, at: usize) -> u64 {
        let bytes = self.data.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

impl core::fmt::Debug for Resume {
    /// Omits the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Resume")
            .field("incarnation", &self.incarnation())
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_come_back_from_their_numbers_and_unknown_ones_are_gaps() {
        for (number, state) in
            [(0, HistoryState::Started), (1, HistoryState::Resumed), (2, HistoryState::Gap)]
        {
            assert_eq!((state.as_byte(), HistoryState::from_byte(number)), (number, state));
        }
        assert_eq!(HistoryState::from_byte(3), HistoryState::Gap);
    }

    #[test]
    fn a_request_to_resume_has_a_place_and_a_key_and_does_not_show_it() {
        let resume = Resume::new(7, 300, b"secret");
        assert_eq!((resume.incarnation(), resume.offset()), (7, 300));
        assert_eq!(&resume.key()[..], b"secret");
        assert!(!alloc::format!("{resume:?}").contains("secret"));
    }
}
