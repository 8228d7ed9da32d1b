//! The settings a client of `wwr.1` states.

/// The first message of a client on a connection of `wwr.1` (protocol §10.2).
///
/// Later versions append to it. Bytes after the known members are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ClientSettings {
    /// The longest message the client reads, in bytes. A value below
    /// [`MIN_STATED`](crate::Dialect::MIN_STATED) counts as that minimum.
    pub max_message_size: u32,
    /// How many questions of the server the client handles at once (protocol §10.4). 0 if it answers
    /// none, which is written by leaving the number out.
    pub max_questions: u16,
}
