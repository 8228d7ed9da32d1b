//! The questions of a server that have no outcome yet (protocol §10.4).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::error::{Misuse, QuestionError};
use super::peer::{Peer, TooLarge};
use crate::time::{Instant, Span};
use crate::wire::{Identifier, Name, Payload, length};

/// A question of a server. A connection never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct QuestionId(u64);

impl QuestionId {
    /// The identifier of the question on the wire: a counter, little-endian.
    pub const fn identifier(self) -> Identifier {
        Identifier::from_counter(self.0)
    }

    /// Returns a number for tables of the host: questions of a connection count from 1.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Returns the identifier with this [number](Self::as_u64). One that no open question has is
    /// harmless: to [cancel](super::Connection::cancel_question) it does nothing.
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

/// How a question ended: with an answer, or with the reason why there is none.
pub type Answered = Result<Payload, QuestionError>;

/// The open questions of a connection. Most connections never have one.
#[derive(Debug)]
pub(super) struct Questions {
    /// The most that may be open, by the settings of the server.
    most: u16,
    timeout: Span,
    counter: u64,
    open: BTreeMap<QuestionId, Open>,
    deadlines: BTreeSet<(Instant, QuestionId)>,
}

/// A question without an outcome.
#[derive(Debug)]
struct Open {
    deadline: Instant,
    /// Name and payload, until the client has stated whether it answers questions.
    unsent: Option<(Name, Payload)>,
}

/// A question that was recorded.
pub(super) struct Asked {
    pub(super) id: QuestionId,
    /// Name and payload, if the question is to be sent now.
    pub(super) send: Option<(Name, Payload)>,
}

/// What the statement of the client means for questions that have waited for it.
pub(super) enum Settled {
    /// It is sent.
    Send(QuestionId, Name, Payload),
    /// It ends without having been sent.
    End(QuestionId, Misuse),
}

/// A question was ended by the server.
pub(super) struct Removed {
    /// Whether the client knows of it.
    pub(super) sent: bool,
}

impl Questions {
    pub(super) const fn new(most: u16, timeout: Span) -> Self {
        Self { most, timeout, counter: 0, open: BTreeMap::new(), deadlines: BTreeSet::new() }
    }

    /// Returns how many questions are open.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Returns when the next question times out.
    pub(super) fn due(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Records a question, if the peer may be asked.
    pub(super) fn ask(
        &mut self,
        peer: &Peer,
        name: Name,
        payload: Payload,
        timeout: Option<Span>,
        now: Instant,
    ) -> Result<Asked, Misuse> {
        if name.is_empty() && payload.is_empty() {
            return Err(Misuse::EmptyQuestion);
        }
        let dialect = peer.dialect();
        let most = match peer.answers() {
            Some(0) => return Err(Misuse::NoQuestions { dialect }),
            Some(stated) => stated.min(self.most),
            None => self.most,
        };
        if self.open.len() >= usize::from(most) {
            return Err(Misuse::TooManyQuestions { most });
        }
        peer.reads(length::request(&name, &payload))
            .map_err(|TooLarge { length, buffer }| Misuse::QuestionTooLarge { length, buffer })?;
        self.counter += 1;
        let id = QuestionId(self.counter);
        let deadline = now + timeout.unwrap_or(self.timeout);
        let (send, unsent) = match peer.answers() {
            Some(_) => (Some((name, payload)), None),
            None => (None, Some((name, payload))),
        };
        self.deadlines.insert((deadline, id));
        self.open.insert(id, Open { deadline, unsent });
        Ok(Asked { id, send })
    }

    /// The client has stated whether it answers questions, and how many at once. Returns the
    /// questions that have waited for that, in their order.
    pub(super) fn settle(&mut self, peer: &Peer) -> Vec<Settled> {
        let most = peer.answers().unwrap_or_default();
        let waiting: Vec<_> = (self.open.iter_mut())
            .filter_map(|(id, open)| open.unsent.take().map(|unsent| (*id, unsent)))
            .collect();
        let mut settled = Vec::with_capacity(waiting.len());
        for (index, (id, (name, payload))) in waiting.into_iter().enumerate() {
            if index < usize::from(most) {
                settled.push(Settled::Send(id, name, payload));
                continue;
            }
            self.remove(id);
            let misuse = match most {
                0 => Misuse::NoQuestions { dialect: peer.dialect() },
                most => Misuse::TooManyQuestions { most },
            };
            settled.push(Settled::End(id, misuse));
        }
        settled
    }

    /// Ends the question of this identifier, if it is open and was sent.
    pub(super) fn answered(&mut self, id: Identifier) -> Option<QuestionId> {
        let id = QuestionId(id.counter());
        let sent = self.open.get(&id).is_some_and(|open| open.unsent.is_none());
        if !sent {
            return None;
        }
        self.remove(id).map(|_| id)
    }

    /// Ends a question, if it is open.
    pub(super) fn remove(&mut self, id: QuestionId) -> Option<Removed> {
        let open = self.open.remove(&id)?;
        self.deadlines.remove(&(open.deadline, id));
        Some(Removed { sent: open.unsent.is_none() })
    }

    /// Ends a question whose time is over, if there is one.
    pub(super) fn take_expired(&mut self, now: Instant) -> Option<(QuestionId, Removed)> {
        let (deadline, id) = *self.deadlines.first()?;
        if deadline > now {
            return None;
        }
        self.remove(id).map(|removed| (id, removed))
    }

    /// Ends all questions, and returns them in their order.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = QuestionId> + use<> {
        self.deadlines.clear();
        core::mem::take(&mut self.open).into_keys()
    }
}
