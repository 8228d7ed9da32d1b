//! What the clients of sessions may have missed: bounded logs with offsets.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::key::SessionKey;
use super::secret::Numbers;
use crate::time::Instant;
use crate::valid::{InvalidConfig, not_zero, positive};

/// How many bytes an entry counts for beside its own.
const ENTRY: usize = 64;

/// How many bytes a history counts for beside its entries.
const HISTORY: usize = 256;

/// How much of the signals to a session is kept for clients that come back (protocol §10.5).
///
/// ```
/// use core::time::Duration;
/// use wwr::session::HistoryConfig;
///
/// let mut config = HistoryConfig::default();
/// config.max_age = Duration::from_secs(600);
/// assert!(config.check().is_ok());
/// config.max_signals = 0;
/// assert!(config.check().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryConfig {
    /// How many signals are kept for each session. Not zero. Default: 1024.
    pub max_signals: usize,
    /// How many bytes of signals are kept for each session. The newest signal is kept whatever its
    /// length. Not zero. Default: 256 KiB.
    pub max_bytes: usize,
    /// How long a signal is kept. A history without signals and without connections is forgotten after
    /// the same time. Not zero. Default: 5 min.
    pub max_age: Duration,
    /// How many bytes the histories of all sessions take together: the oldest signals of all are
    /// forgotten first. A signal counts for 64 bytes beside its own, a history for 256 and its key. No less than
    /// [`max_bytes`](Self::max_bytes).
    ///
    /// A history is forgotten as a whole if there is no room for what even those without signals take. Who holds its
    /// session is then told that something may be missing, although nothing is: so allow for 300 bytes for each
    /// session that is held at the same time, and for the signals. 64 MiB are enough for 200 000 sessions without
    /// signals. Default: 64 MiB.
    pub max_total_bytes: usize,
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self {
            max_signals: 1024,
            max_bytes: 256 * 1024,
            max_age: Duration::from_secs(300),
            max_total_bytes: 64 * 1024 * 1024,
        }
    }
}

impl HistoryConfig {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names the setting that is wrong.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        not_zero("history.max_signals", self.max_signals)?;
        not_zero("history.max_bytes", self.max_bytes)?;
        positive("history.max_age", self.max_age)?;
        if self.max_total_bytes < self.max_bytes {
            return Err(InvalidConfig::TooSmall {
                setting: "history.max_total_bytes",
                value: self.max_total_bytes as u64,
                min: self.max_bytes as u64,
            });
        }
        Ok(())
    }
}

/// A place in the history of a session: behind the signal of this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub struct Position {
    /// Which history. A server that has forgotten a history makes another one, with another number.
    pub incarnation: u64,
    /// How many signals of that history lie before this place. The first signal has the offset 1.
    pub offset: u64,
}

/// The answer to [`Histories::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<T> {
    /// Which history was read.
    pub incarnation: u64,
    /// The offset of the first signal that follows, whether or not it is in this batch.
    pub first: u64,
    /// Whether signals are missing between the position that was asked for and `first`, or it is not
    /// known: the position is one of another history.
    pub gap: bool,
    /// Signals from `first` on, each with an offset one greater than that before it.
    pub signals: Vec<T>,
    /// The offset of the last signal of the history. 0 if there never was one.
    pub last: u64,
}

/// The histories of all sessions of a server: each a bounded log, whose entries have rising offsets.
///
/// Pure, and without knowledge of what a signal is. What it answers could as well be answered by an
/// engine that several servers share: [`append`](Self::append), [`mark`](Self::mark) and
/// [`read`](Self::read) are the questions.
///
/// Calls cost O(log n) in the number of sessions and signals, and what they return.
#[derive(Debug)]
pub struct Histories<T> {
    config: HistoryConfig,
    incarnations: Numbers,
    /// How many histories were made.
    made: u64,
    names: BTreeMap<SessionKey, HistoryId>,
    histories: BTreeMap<HistoryId, History<T>>,
    /// All entries, oldest first: when they were appended, and to what.
    entries: BTreeMap<u64, (Instant, HistoryId)>,
    last_entry: u64,
    /// The histories without entries, and since when they are unused.
    empty: BTreeSet<(Instant, HistoryId)>,
    bytes: usize,
    now: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HistoryId(u64);

#[derive(Debug)]
struct History<T> {
    key: SessionKey,
    incarnation: u64,
    /// The offset of the last signal.
    last: u64,
    entries: VecDeque<Entry<T>>,
    bytes: usize,
    /// Since when it has no entries, if it has none.
    empty_since: Instant,
}

#[derive(Debug)]
struct Entry<T> {
    number: u64,
    bytes: usize,
    item: T,
}

impl<T> History<T> {
    /// Returns the offset of the first entry that is left, or of the next one.
    fn first(&self) -> u64 {
        self.last - self.entries.len() as u64 + 1
    }
}

impl<T: Clone> Histories<T> {
    /// Creates a keeper of histories. `secret` is random: by it, histories of another run have other
    /// incarnations, and nobody can tell one from another.
    pub const fn new(config: HistoryConfig, secret: [u8; 16]) -> Self {
        Self {
            config,
            incarnations: Numbers::new(secret, b'h'),
            made: 0,
            names: BTreeMap::new(),
            histories: BTreeMap::new(),
            entries: BTreeMap::new(),
            last_entry: 0,
            empty: BTreeSet::new(),
            bytes: 0,
            now: Instant::EPOCH,
        }
    }

    /// Appends a signal of `bytes` bytes to the history of a session, which is made if there is none.
    /// `item` gets the offset. Forgets the oldest signals of this history, and of all, as far as too
    /// much is kept. Returns the place behind the signal.
    pub fn append(
        &mut self,
        now: Instant,
        key: &SessionKey,
        bytes: usize,
        item: impl FnOnce(u64) -> T,
    ) -> Position {
        let now = self.advance(now);
        let id = self.find_or_make(key);
        self.push(now, id, bytes, item).unwrap_or(Position { incarnation: 0, offset: 0 })
    }

    /// Appends a signal to a history.
    fn push(
        &mut self,
        now: Instant,
        id: HistoryId,
        bytes: usize,
        item: impl FnOnce(u64) -> T,
    ) -> Option<Position> {
        let history = self.histories.get_mut(&id)?;
        if history.entries.is_empty() {
            self.empty.remove(&(history.empty_since, id));
        }
        history.last += 1;
        self.last_entry += 1;
        let (number, offset) = (self.last_entry, history.last);
        history.entries.push_back(Entry { number, bytes, item: item(offset) });
        history.bytes += bytes;
        self.bytes += bytes + ENTRY;
        self.entries.insert(number, (now, id));
        let position = Position { incarnation: history.incarnation, offset };
        let config = self.config;
        while self.histories.get(&id).is_some_and(|history| {
            let (signals, bytes) = (history.entries.len(), history.bytes);
            signals > config.max_signals || bytes > config.max_bytes && signals > 1
        }) {
            self.forget_first(id);
        }
        self.limit(number);
        Some(position)
    }

    /// Records signals of a history that is kept elsewhere, from this offset on: each with its length. If they do not
    /// follow what is known of it, that is forgotten.
    pub(crate) fn mirror(
        &mut self,
        now: Instant,
        key: &SessionKey,
        incarnation: u64,
        first: u64,
        signals: impl IntoIterator<Item = (usize, T)>,
    ) {
        let now = self.advance(now);
        let follows = self.span(key).is_some_and(|(end, _)| {
            end.incarnation == incarnation && end.offset.checked_add(1) == Some(first)
        });
        if !follows {
            self.remove(key);
        }
        let id = self.find_or_make(key);
        if let Some(history) = self.histories.get_mut(&id) {
            (history.incarnation, history.last) = (incarnation, first.saturating_sub(1));
        }
        for (bytes, item) in signals {
            self.push(now, id, bytes, |_| item);
        }
    }

    /// Returns where the history of a session ends, and the offset of the first signal that is kept, or of the next
    /// one. `None` if there is no history.
    pub(crate) fn span(&self, key: &SessionKey) -> Option<(Position, u64)> {
        let history = self.histories.get(self.names.get(key)?)?;
        let end = Position { incarnation: history.incarnation, offset: history.last };
        Some((end, history.first()))
    }

    /// Returns the place behind the last signal of a session. Its history is made if there is none.
    pub fn mark(&mut self, now: Instant, key: &SessionKey) -> Position {
        self.advance(now);
        let id = self.find_or_make(key);
        let known = self.histories.get(&id).map(|history| (history.incarnation, history.last));
        let (incarnation, offset) = known.unwrap_or_default();
        self.limit(0);
        Position { incarnation, offset }
    }

    /// Returns the signals that follow a position, `most` at most, and no more than `max_bytes`
    /// of them if they are more than one.
    ///
    /// If the history does not reach back to the position, or is another one, the answer says so, and has
    /// the signals that are left. Without a history, one is made: nothing is known of an earlier one.
    pub fn read(
        &mut self,
        now: Instant,
        key: &SessionKey,
        after: Position,
        most: usize,
        max_bytes: usize,
    ) -> Batch<T> {
        let Position { incarnation, offset: last } = self.mark(now, key);
        let empty = Batch { incarnation, first: last + 1, gap: true, signals: Vec::new(), last };
        let history = self.names.get(key).and_then(|id| self.histories.get(id));
        let Some(history) = history else { return empty };
        let first = history.first();
        let known = after.incarnation == incarnation;
        let gap = !known || after.offset > last || after.offset < first - 1;
        let first = if gap { first } else { after.offset + 1 };
        let skipped = history.entries.len() - (last + 1 - first) as usize;
        let (mut signals, mut bytes) = (Vec::new(), 0);
        for entry in history.entries.iter().skip(skipped).take(most) {
            bytes += entry.bytes;
            if bytes > max_bytes && !signals.is_empty() {
                break;
            }
            signals.push(entry.item.clone());
        }
        Batch { first, gap, signals, ..empty }
    }

    /// Records that a session has another key.
    pub fn rename(&mut self, from: &SessionKey, to: &SessionKey) {
        let Some(id) = self.names.remove(from) else { return };
        self.remove(to);
        if let Some(history) = self.histories.get_mut(&id) {
            self.bytes = self.bytes - from.as_str().len() + to.as_str().len();
            history.key = to.clone();
            self.names.insert(to.clone(), id);
        }
    }

    /// Forgets the history of a session that has ended.
    pub fn remove(&mut self, key: &SessionKey) {
        if let Some(id) = self.names.get(key).copied() {
            self.forget(id);
        }
    }

    /// Forgets all histories.
    pub(crate) fn clear(&mut self) {
        self.names.clear();
        self.histories.clear();
        self.entries.clear();
        self.empty.clear();
        self.bytes = 0;
    }

    /// Returns when to call [`expire`](Self::expire), if at all.
    pub fn next_timeout(&self) -> Option<Instant> {
        let entry = self.entries.first_key_value().map(|(_, (at, _))| *at);
        let empty = self.empty.first().map(|(since, _)| *since);
        let first = [entry, empty].into_iter().flatten().min();
        first.map(|first| first + self.config.max_age)
    }

    /// Forgets what is too old: signals, and histories without signals whose sessions no connection
    /// holds.
    pub fn expire(&mut self, now: Instant, mut is_held: impl FnMut(&SessionKey) -> bool) {
        let now = self.advance(now);
        let max_age = self.config.max_age;
        while let Some((_, &(at, id))) = self.entries.first_key_value()
            && at + max_age <= now
        {
            self.forget_first(id);
        }
        while let Some(&(since, id)) = self.empty.first()
            && since + max_age <= now
        {
            self.empty.remove(&(since, id));
            match self.histories.get_mut(&id) {
                Some(history) if is_held(&history.key) => {
                    history.empty_since = now;
                    self.empty.insert((now, id));
                }
                _ => self.forget(id),
            }
        }
    }

    /// Returns how many histories there are.
    pub fn len(&self) -> usize {
        self.histories.len()
    }

    /// Returns whether there is no history.
    pub fn is_empty(&self) -> bool {
        self.histories.is_empty()
    }

    /// Returns how many bytes the histories take, as [`HistoryConfig::max_total_bytes`] counts.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn find_or_make(&mut self, key: &SessionKey) -> HistoryId {
        if let Some(id) = self.names.get(key) {
            return *id;
        }
        self.made += 1;
        let id = HistoryId(self.made);
        let history = History {
            key: key.clone(),
            incarnation: self.incarnations.next(),
            last: 0,
            entries: VecDeque::new(),
            bytes: 0,
            empty_since: self.now,
        };
        self.names.insert(key.clone(), id);
        self.histories.insert(id, history);
        self.empty.insert((self.now, id));
        self.bytes += HISTORY + key.as_str().len();
        id
    }

    /// Forgets the oldest of everything, until no more is kept than allowed. What was appended last, and
    /// the history that was asked for last, stay.
    fn limit(&mut self, newest: u64) {
        while self.bytes > self.config.max_total_bytes {
            match self.entries.first_key_value() {
                Some((number, (_, id))) if *number != newest => self.forget_first(*id),
                _ => match self.empty.first().copied() {
                    Some((_, id)) if id.0 != self.made => self.forget(id),
                    _ => break,
                },
            }
        }
    }

    /// Forgets the first entry of a history.
    fn forget_first(&mut self, id: HistoryId) {
        let Some(history) = self.histories.get_mut(&id) else { return };
        let Some(entry) = history.entries.pop_front() else { return };
        history.bytes -= entry.bytes;
        self.bytes -= entry.bytes + ENTRY;
        self.entries.remove(&entry.number);
        if history.entries.is_empty() {
            history.entries = VecDeque::new();
            history.empty_since = self.now;
            self.empty.insert((self.now, id));
        }
    }

    /// Forgets a history.
    fn forget(&mut self, id: HistoryId) {
        let Some(history) = self.histories.remove(&id) else { return };
        self.empty.remove(&(history.empty_since, id));
        self.bytes -= HISTORY + history.key.as_str().len();
        for entry in history.entries {
            self.entries.remove(&entry.number);
            self.bytes -= entry.bytes + ENTRY;
        }
        self.names.remove(&history.key);
    }
}
