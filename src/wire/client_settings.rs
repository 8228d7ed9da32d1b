//! The settings a client of `wwr.1` states.

/// The first message of a client on a connection of `wwr.1` (protocol §10.2).
///
/// Later versions append to it; what follows the known members is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ClientSettings {
    /// The longest message the client reads, in bytes. Less than
    /// [`MIN_STATED`](crate::Dialect::MIN_STATED) counts as that.
    pub max_message_size: u32,
}
