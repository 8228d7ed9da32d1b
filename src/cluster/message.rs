//! What nodes send each other.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the version: 1 |
//! | 1 | what happens to signals that wait for a slow reader: 0 as its node is set, 1 refuse, 2 drop the oldest, 3 coalesce, 4 disconnect |
//! | the rest | the signal, as clients read it (protocol §1.4) |

use alloc::vec::Vec;

use bytes::{Buf as _, Bytes};

use crate::backlog::SlowReader;
use crate::wire::{InvalidFrame, PreparedSignal};

const VERSION: u8 = 1;

/// The byte of each policy.
const POLICIES: [(u8, Option<SlowReader>); 5] = [
    (0, None),
    (1, Some(SlowReader::Refuse)),
    (2, Some(SlowReader::DropOldest)),
    (3, Some(SlowReader::Coalesce)),
    (4, Some(SlowReader::Disconnect)),
];

/// A signal for connections of other nodes: the message of [`Hub::send`](crate::server::Hub::send), and of
/// [`ClusterAction::Message`](super::ClusterAction::Message).
///
/// ```
/// use wwr::cluster::NodeSignal;
/// use wwr::{PreparedSignal, SlowReader};
///
/// let signal = PreparedSignal::new("news", "tea is ready")?;
/// let sent = NodeSignal { signal, slow_readers: Some(SlowReader::Coalesce) };
/// assert_eq!(NodeSignal::decode(sent.encode())?, sent);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSignal {
    /// The signal.
    pub signal: PreparedSignal,
    /// What happens to it where it waits. `None`: as the node of the reader is set.
    pub slow_readers: Option<SlowReader>,
}

/// Why a message of another node cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableMessage {
    /// It is too short.
    #[error("the message has {0} bytes, which is too short")]
    TooShort(usize),
    /// It is longer than [`NodeSignal::MAX`].
    #[error("the message has {0} bytes; nodes read at most {max}", max = NodeSignal::MAX)]
    TooLong(usize),
    /// It is of a release that this one does not know.
    #[error(
        "the message has version {0}, this release reads version {VERSION}; bring all nodes to the same release"
    )]
    Version(u8),
    /// It says something about slow readers that this release does not know.
    #[error("the message has the policy {0} for slow readers, which this release does not know")]
    Policy(u8),
    /// It has no signal that clients read.
    #[error("the message has no signal: {0}")]
    Signal(InvalidFrame),
}

impl NodeSignal {
    /// The longest message that nodes read, in bytes: 16 MiB.
    pub const MAX: usize = 16 * 1024 * 1024;

    /// How much longer a message is than its signal, in bytes.
    pub const HEAD: usize = 2;

    /// Returns the message. It is [`HEAD`](Self::HEAD) bytes longer than the signal.
    pub fn encode(&self) -> Bytes {
        let frame = self.signal.frame();
        let policy = POLICIES.iter().find(|(_, policy)| *policy == self.slow_readers);
        let mut message = Vec::with_capacity(Self::HEAD + frame.len());
        message.extend([VERSION, policy.map_or(0, |(byte, _)| *byte)]);
        message.extend_from_slice(frame);
        message.into()
    }

    /// Reads a message. Copies nothing.
    ///
    /// # Errors
    ///
    /// [`UnreadableMessage`].
    pub fn decode(mut message: Bytes) -> Result<Self, UnreadableMessage> {
        if message.len() > Self::MAX {
            return Err(UnreadableMessage::TooLong(message.len()));
        }
        let policy = match *message {
            [VERSION, policy, ..] => policy,
            [] | [VERSION] => return Err(UnreadableMessage::TooShort(message.len())),
            [version, ..] => return Err(UnreadableMessage::Version(version)),
        };
        let known = POLICIES.iter().find(|(byte, _)| *byte == policy);
        let (_, slow_readers) = *known.ok_or(UnreadableMessage::Policy(policy))?;
        message.advance(Self::HEAD);
        let signal = PreparedSignal::from_frame(message).map_err(UnreadableMessage::Signal)?;
        Ok(Self { signal, slow_readers })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn signal() -> PreparedSignal {
        PreparedSignal::new("n", "p").unwrap()
    }

    #[test]
    fn messages_are_the_same_in_every_release() {
        for (byte, slow_readers) in POLICIES {
            let sent = NodeSignal { signal: signal(), slow_readers };
            let expected = [&[1, byte], &signal().frame()[..]].concat();
            assert_eq!(sent.encode(), expected);
            assert_eq!(NodeSignal::decode(expected.into()), Ok(sent));
        }
    }

    #[test]
    fn what_is_no_message_is_refused_and_the_error_says_why() {
        let frame = signal().frame().clone();
        let read = |head: &[u8]| NodeSignal::decode([head, &frame].concat().into());
        assert_eq!(read(&[2, 0]), Err(UnreadableMessage::Version(2)));
        assert_eq!(read(&[1, 5]), Err(UnreadableMessage::Policy(5)));
        for length in [0, 1] {
            let short = NodeSignal::decode(Bytes::from_static(&[1][..length]));
            assert_eq!(short, Err(UnreadableMessage::TooShort(length)));
        }
        let long = NodeSignal::decode(vec![1; NodeSignal::MAX + 1].into());
        assert_eq!(long, Err(UnreadableMessage::TooLong(NodeSignal::MAX + 1)));
        // No frame, a request, a heartbeat, a name that is cut off.
        for frame in [&b""[..], b"\x7f12345678\x01nx", b"\x1a", b"\x3f\x05n"] {
            let message = [&[1, 0], frame].concat();
            let refused = NodeSignal::decode(message.into());
            assert!(matches!(refused, Err(UnreadableMessage::Signal(_))), "{frame:?}: {refused:?}");
        }
    }
}
