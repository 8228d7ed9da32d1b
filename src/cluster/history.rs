//! Histories of sessions that all nodes share: what nodes ask, and what that means (protocol §10.5).

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::engine::Epoch;
use crate::session::{Batch, HistoryConfig, Position, SessionKey};
use crate::time::Instant;

/// Something about the history of a session.
///
/// An engine makes a history when it is first asked for one of a session that exists, also by
/// [a request about the session](super::SessionRequest::history), and removes it together with the session, in the same
/// step. It also makes a new one, without signals, if its [data](super::DataId) are others than
/// when the history was made: the last signals may be lost then, and their offsets must not be given to others.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryRequest {
    /// The key of the session.
    pub key: SessionKey,
    /// The run of the node that asks.
    pub epoch: Epoch,
    /// The incarnation of the history, if one has to be made. Random, never the same twice.
    pub incarnation: u64,
    /// How much is kept. [`max_total_bytes`](HistoryConfig::max_total_bytes) does not count.
    pub limits: HistoryConfig,
    /// What to do.
    pub step: HistoryStep,
}

/// What to do with a history.
#[derive(Clone, Debug, PartialEq)]
pub enum HistoryStep {
    /// Append a signal. The other nodes that have places of the session get
    /// [`News::Appended`](super::News::Appended). Not to be repeated: it would be appended twice. Answered by
    /// [`Appended`](HistoryAnswer::Appended) or [`NotFound`](HistoryAnswer::NotFound).
    Append {
        /// The signal: the bytes of a [`NodeSignal`](super::NodeSignal).
        signal: Bytes,
    },
    /// Return what follows a place. Answered by [`Read`](HistoryAnswer::Read) or
    /// [`NotFound`](HistoryAnswer::NotFound).
    Read {
        /// The place.
        after: Position,
        /// How many signals are returned at most.
        most: usize,
        /// How many bytes of them, if they are more than one.
        max_bytes: usize,
    },
}

/// What the engine answers about a history.
#[derive(Clone, Debug, PartialEq)]
pub enum HistoryAnswer {
    /// The signal is appended.
    Appended {
        /// The place behind it.
        end: Position,
        /// How many other nodes were told.
        nodes: u32,
    },
    /// What follows the place.
    Read(Box<Batch<Bytes>>),
    /// There is no such session, or it is closed. Nothing was changed.
    NotFound,
    /// The engine works, and cannot carry out this request, as [`SessionAnswer::Failed`](super::SessionAnswer::Failed).
    Failed,
}

/// The history of a session in an engine in memory.
#[derive(Clone, Debug)]
pub(super) struct Log {
    incarnation: u64,
    /// Which data the engine had when the history was made.
    data: u64,
    /// The offset of the last signal.
    last: u64,
    /// When each was appended, and the signal.
    entries: VecDeque<(Instant, Bytes)>,
    bytes: usize,
    limits: HistoryConfig,
}

impl Log {
    /// Returns the history. Makes a new one if there is none, or if the old one may have lost signals.
    pub(super) fn of(log: &mut Option<Self>, data: u64, incarnation: u64) -> &mut Self {
        let known = log.take().filter(|log| log.data == data);
        log.insert(known.unwrap_or_else(|| Self {
            incarnation,
            data,
            last: 0,
            entries: VecDeque::new(),
            bytes: 0,
            limits: HistoryConfig::default(),
        }))
    }

    pub(super) fn append(&mut self, now: Instant, limits: HistoryConfig, signal: Bytes) {
        self.last += 1;
        self.bytes += signal.len();
        self.entries.push_back((now, signal));
        self.limits = limits;
        self.forget_old(now);
        while self.entries.len() > limits.max_signals
            || self.bytes > limits.max_bytes && self.entries.len() > 1
        {
            self.forget_first();
        }
    }

    pub(super) fn read(
        &mut self,
        now: Instant,
        after: Position,
        most: usize,
        max_bytes: usize,
    ) -> Batch<Bytes> {
        self.forget_old(now);
        let Self { incarnation, last, .. } = *self;
        let kept = last - self.entries.len() as u64;
        let is_known = after.incarnation == incarnation;
        let gap = !is_known || after.offset > last || after.offset < kept;
        let place = if gap { kept } else { after.offset };
        let (mut signals, mut bytes) = (Vec::new(), 0);
        let skipped = usize::try_from(place - kept).unwrap_or(usize::MAX);
        for (_, signal) in self.entries.iter().skip(skipped).take(most) {
            bytes += signal.len();
            if bytes > max_bytes && !signals.is_empty() {
                break;
            }
            signals.push(signal.clone());
        }
        Batch { incarnation, first: place + 1, gap, signals, last }
    }

    /// Returns the place behind the last signal.
    pub(super) const fn end(&self) -> Position {
        Position { incarnation: self.incarnation, offset: self.last }
    }

    /// Forgets the signals that are too old.
    pub(super) fn forget_old(&mut self, now: Instant) {
        let max_age = self.limits.max_age;
        while self.entries.front().is_some_and(|(at, _)| *at + max_age <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, signal)) = self.entries.pop_front() {
            self.bytes -= signal.len();
        }
    }
}
