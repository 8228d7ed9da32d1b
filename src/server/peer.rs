//! What a connection knows about its peer, and what follows from it.

use super::config::Config;
use super::protocol::{Observed, Protocol};
use crate::dialect::{Dialect, Rules};
use crate::wire::{ClientSettings, Name, Payload, PreparedSignal, UnreadableSignal, check_signal};

/// The peer of one connection.
#[derive(Debug)]
pub(super) struct Peer {
    protocol: Protocol,
    dialect: Dialect,
    strict: bool,
    /// The longest message that the peer reads, in bytes, if its dialect has such a limit: the
    /// advertised message buffer, or what the peer has stated.
    reads: u32,
    /// The longest message that the peer may send, in bytes, if there is such a limit: the
    /// advertised message buffer, or what the server has stated.
    sends: u32,
    /// Whether the peer has stated what it reads.
    has_stated: bool,
    /// How many questions the peer answers at once, as it has stated.
    answers: u16,
}

/// A message is longer than the peer reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct TooLarge {
    /// The length of the message in bytes.
    pub(super) length: usize,
    /// The most that the peer reads.
    pub(super) buffer: usize,
}

impl Peer {
    pub(super) const fn new(config: &Config, observed: Observed) -> Self {
        let dialect = config.classify(observed);
        let (reads, sends) = if dialect.rules().states_limits {
            (Dialect::MIN_STATED, config.max_message_size)
        } else {
            let buffer = config.advertised.message_buffer;
            (buffer, buffer)
        };
        let (protocol, strict) = (config.protocol, config.strict);
        Self { protocol, dialect, strict, reads, sends, has_stated: false, answers: 0 }
    }

    /// Returns the longest message that the peer reads, in bytes, if its dialect has such a limit.
    pub(super) const fn buffer(&self) -> usize {
        self.reads as usize
    }

    /// Returns whether the peer has stated what it reads. A second statement does not count.
    pub(super) const fn has_stated(&self) -> bool {
        self.has_stated
    }

    /// Returns how many questions the peer answers at once. `None` if it will state that.
    pub(super) const fn answers(&self) -> Option<u16> {
        if !self.has_stated && self.dialect.rules().knows_questions {
            return None;
        }
        Some(self.answers)
    }

    /// Records what the peer reads, as it has stated. Returns the limit that counts from now on.
    pub(super) fn states(&mut self, settings: ClientSettings) -> u32 {
        self.has_stated = true;
        self.answers = settings.max_questions;
        self.reads = settings.max_message_size.max(Dialect::MIN_STATED);
        self.reads
    }

    pub(super) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the dialect in which to read messages of the peer. A server of all versions may have
    /// taken a 2.0 client for one of 1.x, and reads what either sends (protocol §7.2).
    pub(super) const fn read_as(&self) -> Dialect {
        match self.dialect {
            Dialect::V1_4 | Dialect::V1_5 if self.protocol.sends_accept_conf() => Dialect::Unknown,
            dialect => dialect,
        }
    }

    pub(super) const fn rules(&self) -> &'static Rules {
        if self.strict { self.dialect.strict_rules() } else { self.dialect.rules() }
    }

    /// Records a heartbeat. Returns the dialect if the heartbeat shows another one than assumed.
    pub(super) fn sent_heartbeat(&mut self) -> Option<Dialect> {
        let dialect = self.protocol.after_heartbeat(self.dialect);
        (dialect != self.dialect).then(|| {
            self.dialect = dialect;
            dialect
        })
    }

    /// Checks whether a message of this length may be sent (protocol §4.6).
    pub(super) const fn reads(&self, length: usize) -> Result<(), TooLarge> {
        if length > self.buffer() && self.rules().bounded_by_buffer {
            return Err(TooLarge { length, buffer: self.buffer() });
        }
        Ok(())
    }

    /// Returns whether a message of this length is longer than the server receives.
    pub(super) const fn exceeds(&self, length: usize) -> bool {
        let rules = self.rules();
        length > self.sends as usize && (rules.strict || rules.states_limits)
    }

    pub(super) fn reads_signal(
        &self,
        name: &Name,
        payload: &Payload,
    ) -> Result<(), UnreadableSignal> {
        check_signal(self.dialect, self.buffer(), name, payload)
    }

    pub(super) const fn reads_prepared(
        &self,
        signal: &PreparedSignal,
    ) -> Result<(), UnreadableSignal> {
        signal.check(self.dialect, self.buffer())
    }
}
