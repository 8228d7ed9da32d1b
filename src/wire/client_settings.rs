//! The settings a client of `wwr.1` states.

use core::fmt;

/// The first message of a client on a connection of `wwr.1` (protocol §10.2).
///
/// Later versions append to it. Bytes after the known members are ignored.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct ClientSettings {
    /// The longest message the client reads, in bytes. A value below
    /// [`MIN_STATED`](crate::Dialect::MIN_STATED) counts as that minimum.
    pub max_message_size: u32,
    /// How many questions of the server the client handles at once (protocol §10.4). 0 if it answers
    /// none, which is written by leaving the number out.
    pub max_questions: u16,
    /// Whether the client wants the signals to its session with their offsets, so that it gets those that it
    /// misses when it comes back (protocol §10.5).
    pub resumes_signals: bool,
    /// What the client calls itself on all its connections: 16 random bytes. With them it may repeat
    /// idempotent requests (protocol §10.6). `None` if it never does.
    pub instance: Option<[u8; 16]>,
}

impl ClientSettings {
    /// The bit of the abilities that says [`resumes_signals`](Self::resumes_signals).
    pub(super) const RESUMES_SIGNALS: u8 = 1;

    /// The bit of the abilities that says that there is an [`instance`](Self::instance).
    pub(super) const HAS_INSTANCE: u8 = 2;

    /// Creates settings of a client that reads messages of so many bytes, and does nothing that it need not
    /// do.
    pub const fn new(max_message_size: u32) -> Self {
        Self { max_message_size, max_questions: 0, resumes_signals: false, instance: None }
    }

    /// Returns the abilities as a byte.
    pub(super) fn abilities(&self) -> u8 {
        let resumes = if self.resumes_signals { Self::RESUMES_SIGNALS } else { 0 };
        let instance = if self.instance.is_some() { Self::HAS_INSTANCE } else { 0 };
        resumes | instance
    }
}

impl fmt::Debug for ClientSettings {
    /// Omits the bytes of the instance: it is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("max_message_size", &self.max_message_size)
            .field("max_questions", &self.max_questions)
            .field("resumes_signals", &self.resumes_signals)
            .field("has_instance", &self.instance.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_do_not_show_the_instance() {
        let instance = Some([251; 16]);
        let shown =
            alloc::format!("{:?}", ClientSettings { instance, ..ClientSettings::new(8192) });
        assert!(shown.contains("has_instance: true") && !shown.contains("251"), "{shown}");
    }
}
