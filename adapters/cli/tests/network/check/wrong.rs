//! The mistakes of a host, put in between the core and the socket.

use std::collections::HashSet;

use wwr::Dialect;
use wwr::server::gate::Answer;
use wwr::wire::{Kind, decode};

/// What a host does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistake {
    /// The version in the metadata is a number.
    MetadataWithNumber,
    /// `Sec-WebSocket-Accept` is made from something else.
    AcceptOfAnotherKey,
    /// Pages of all origins may connect.
    ForeignOrigin,
    /// The accept-conf waits until there is something else to send, unless in `wwr.1`.
    AcceptConfLate,
    /// Replies repeat only 32 bits of an identifier.
    IdentifierCut,
    /// What is replied at once goes out last first.
    RepliesReversed,
    /// A request whose identifier was used before gets two replies.
    RepliesTwice,
    /// An error reply has type 7.
    ErrorReplyType,
    /// Messages may have any length, whatever was stated.
    ReadsAnyLength,
    /// A signal that cannot be read ends the connection, unless that is one of `wwr.1`.
    EndsAtMalformedSignal,
    /// Twenty messages of unknown type in a row end the connection.
    EndsAtFewUnknown,
    /// Pings have no answer.
    NoPong,
    /// A restored session is announced like a new one.
    RestoreAnnounced,
    /// A session key with a slash ends the connection.
    EndsAtPathAsKey,
    /// A head that does not come to its end holds up all others.
    HeldUpByHandshakes,
    /// A close frame is answered with another code.
    CloseCodeChanged,
}

/// A mistake on one connection.
pub(super) struct Wrong {
    mistake: Option<Mistake>,
    stated: u32,
    /// A message that waits for another one.
    held: Option<Vec<u8>>,
    unknown_in_a_row: usize,
    /// The identifiers of restores that were not answered.
    restores: HashSet<Vec<u8>>,
    used: HashSet<Vec<u8>>,
    repeated: HashSet<Vec<u8>>,
}

impl Wrong {
    pub(super) fn new(mistake: Option<Mistake>, stated: u32) -> Self {
        Self {
            mistake,
            stated,
            held: None,
            unknown_in_a_row: 0,
            restores: HashSet::new(),
            used: HashSet::new(),
            repeated: HashSet::new(),
        }
    }

    /// An answer to an HTTP request is to be sent.
    pub(super) fn answer(&self, answer: &mut Answer) {
        match self.mistake {
            Some(Mistake::MetadataWithNumber) if answer.body.starts_with(b"{") => {
                answer.body = (&b"{\"protocol-version\":1.4}\n"[..]).into();
            }
            Some(Mistake::AcceptOfAnotherKey) => {
                for (name, value) in &mut answer.headers {
                    if *name == "Sec-WebSocket-Accept" {
                        *value = wwr::handshake::accept_value(b"another").into();
                    }
                }
            }
            _ => {}
        }
    }

    /// A message has come. Returns the code with which that ends the connection; 0 for none.
    pub(super) fn received(&mut self, message: &[u8], is_plain: bool) -> Option<u16> {
        let kind = message.first().copied().and_then(Kind::from_byte);
        let id = message.get(1..9).unwrap_or_default().to_vec();
        if kind == Some(Kind::RestoreSession) {
            self.restores.insert(id.clone());
        }
        if !self.used.insert(id.clone()) {
            self.repeated.insert(id);
        }
        self.unknown_in_a_row = if kind.is_none() { self.unknown_in_a_row + 1 } else { 0 };
        match self.mistake? {
            Mistake::EndsAtMalformedSignal if is_plain => {
                let is_signal = matches!(message.first(), Some(0x3f..=0x41));
                let is_read = decode(Dialect::Unknown, message.to_vec().into()).is_ok();
                (is_signal && !is_read).then_some(0)
            }
            Mistake::EndsAtFewUnknown => (self.unknown_in_a_row >= 20).then_some(1008),
            Mistake::EndsAtPathAsKey => {
                let is_path = message.get(9..).is_some_and(|key| key.contains(&b'/'));
                (kind == Some(Kind::RestoreSession) && is_path).then_some(0)
            }
            _ => None,
        }
    }

    /// Returns what is sent in place of a message.
    pub(super) fn sent(&mut self, message: &[u8], is_plain: bool) -> Vec<Vec<u8>> {
        let mut message = message.to_vec();
        let (kind, id) = (message[0], message.get(1..9).unwrap_or_default().to_vec());
        let is_reply = matches!(kind, 0xbf..=0xc1);
        match self.mistake {
            Some(Mistake::AcceptConfLate) if is_plain && kind == 0x17 => {
                self.held = Some(message);
                return Vec::new();
            }
            Some(Mistake::AcceptConfLate) => {
                return [message].into_iter().chain(self.held.take()).collect();
            }
            Some(Mistake::IdentifierCut) if is_reply => message[5..9].fill(0),
            Some(Mistake::RepliesTwice) if is_reply && self.repeated.contains(&id) => {
                return vec![message.clone(), message];
            }
            Some(Mistake::ErrorReplyType) if kind == 0x00 => message[0] = 0x60,
            Some(Mistake::ReadsAnyLength) if kind == 0x17 && !is_plain => {
                message[7..11].copy_from_slice(&self.stated.to_le_bytes());
            }
            Some(Mistake::RestoreAnnounced) if kind == 0xc0 && self.restores.remove(&id) => {
                return vec![[&[0x15], &message[9..]].concat(), message];
            }
            _ => {}
        }
        vec![message]
    }

    /// Returns messages in the order in which they are sent.
    pub(super) fn ordered(&self, mut messages: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let is_reply = |message: &Vec<u8>| matches!(message.first(), Some(0xbf..=0xc1));
        if self.mistake == Some(Mistake::RepliesReversed) && messages.iter().all(is_reply) {
            messages.reverse();
        }
        messages
    }

    pub(super) fn omits_pongs(&self) -> bool {
        self.mistake == Some(Mistake::NoPong)
    }

    /// Returns the payload of the close frame that answers one.
    pub(super) fn close_payload(&self, payload: Vec<u8>) -> Vec<u8> {
        match self.mistake {
            Some(Mistake::CloseCodeChanged) if !payload.is_empty() => {
                1001_u16.to_be_bytes().to_vec()
            }
            _ => payload,
        }
    }
}
