//! The histories of the sessions that connections of a node hold, as far as the node has read them (protocol §10.5).

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::jobs::Purpose;
use super::{Desk, LocalNode, NodeOut, WINDOW};
use crate::cluster::action::{MessageId, SendOutcome};
use crate::cluster::engine::{Answer, Audience, EngineFailed, Request, SessionAnswer};
use crate::cluster::history::{HistoryAnswer, HistoryRequest, HistoryStep};
use crate::cluster::message::NodeSignal;
use crate::session::Numbers;
use crate::session::{Batch, ConnectionId, Histories, HistoryConfig, Position, SessionKey};
use crate::time::Instant;
use crate::wire::PreparedSignal;

/// How many signals of a history are read at a time.
const BATCH: usize = 64;

/// How many bytes of signals are read at a time, if they are more than one.
const BATCH_BYTES: usize = 16 * 1024;

/// What a node knows of the histories of its sessions.
///
/// For each session, the node reads what is new once, when it hears that there is something, and keeps the last
/// signals: its connections read those at their own pace. A place that the node does not know is read from the engine,
/// for one connection.
#[derive(Debug)]
pub(super) struct Mirrors {
    limits: HistoryConfig,
    /// The incarnations that are proposed.
    incarnations: Numbers,
    /// How many questions were asked.
    serial: u64,
    kept: Histories<Bytes>,
    sessions: BTreeMap<SessionKey, Mirror>,
    /// The sessions for which there may be something to ask.
    queue: VecDeque<SessionKey>,
    /// When those are asked again for which that has failed.
    later: BTreeSet<(Instant, SessionKey)>,
    /// How many questions the engine has not answered.
    asked: usize,
}

/// What is known of one history, and who waits for more.
#[derive(Debug)]
struct Mirror {
    /// How far the node has read.
    end: Position,
    /// Where the history ended when the node was given its last place of the session.
    placed: Position,
    /// Whether there may be more.
    is_stale: bool,
    /// The last end that there was news of since the question that is under way was asked.
    hinted: Option<Position>,
    /// The question for what is new, if it is under way.
    fetch: Option<u64>,
    readers: BTreeMap<ConnectionId, Reader>,
    is_queued: bool,
    due: Option<Instant>,
    failures: u32,
}

/// A connection that waits for what follows a place.
#[derive(Clone, Copy, Debug)]
struct Reader {
    number: u32,
    after: Position,
    /// The question to the engine for it alone, if it is under way.
    asked: Option<u64>,
}

/// Where what follows a place is.
enum Lies {
    /// It is kept here.
    Here,
    /// Nothing follows it.
    AtEnd,
    /// What the node is about to read.
    Ahead,
    /// Only the engine knows.
    Elsewhere,
}

impl Mirror {
    /// The history of a session of which the node has its first place.
    const fn new(end: Position) -> Self {
        Self {
            end,
            placed: end,
            is_stale: false,
            hinted: None,
            fetch: None,
            readers: BTreeMap::new(),
            is_queued: false,
            due: None,
            failures: 0,
        }
    }

    const fn is_busy(&self) -> bool {
        self.is_stale || self.fetch.is_some()
    }

    /// Records that the history ends there, or ended there a moment ago.
    fn hint(&mut self, end: Position) {
        if !self.has_read(end) {
            self.is_stale = true;
            self.hinted = Some(end);
        }
    }

    const fn has_read(&self, place: Position) -> bool {
        self.end.incarnation == place.incarnation && self.end.offset >= place.offset
    }
}

/// Signals that a node has read.
#[derive(Debug, PartialEq)]
pub(crate) struct Grown {
    pub(crate) key: SessionKey,
    pub(crate) incarnation: u64,
    /// The offset of the first of them.
    pub(crate) first: u64,
    pub(crate) signals: Vec<PreparedSignal>,
}

impl Mirrors {
    pub(super) const fn new(limits: HistoryConfig, secret: [u8; 16]) -> Self {
        Self {
            limits,
            incarnations: Numbers::new(secret, b'm'),
            serial: 0,
            kept: Histories::new(limits, secret),
            sessions: BTreeMap::new(),
            queue: VecDeque::new(),
            later: BTreeSet::new(),
            asked: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.later.is_empty() && self.kept.is_empty()
    }

    /// Returns when there is something to do.
    pub(super) fn next_timeout(&self, is_ready: bool) -> Option<Instant> {
        let later = self.later.first().map(|(at, _)| *at);
        let later = later.filter(|_| is_ready && self.asked < WINDOW);
        [later, self.kept.next_timeout()].into_iter().flatten().min()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let sessions = &self.sessions;
        self.kept.expire(now, |key| sessions.contains_key(key));
    }

    /// No connection here holds the session any more.
    pub(super) fn remove(&mut self, key: &SessionKey) {
        if let Some(mirror) = self.sessions.remove(key)
            && let Some(at) = mirror.due
        {
            self.later.remove(&(at, key.clone()));
        }
        self.kept.remove(key);
    }

    /// No session is held any more, and no question is under way.
    pub(super) fn clear(&mut self) {
        self.kept.clear();
        self.sessions.clear();
        self.queue.clear();
        self.later.clear();
        self.asked = 0;
    }

    /// No question is under way any more, and the sessions are kept.
    pub(super) fn restart(&mut self) {
        self.asked = 0;
        self.update_all(|mirror| {
            mirror.fetch = None;
            mirror.is_stale = true;
            mirror.readers.values_mut().for_each(|reader| reader.asked = None);
        });
    }

    /// All histories may be others.
    pub(super) fn doubt(&mut self) {
        self.update_all(|mirror| mirror.is_stale = true);
    }

    fn update_all(&mut self, update: impl Fn(&mut Mirror)) {
        let keys: Vec<_> = self.sessions.keys().cloned().collect();
        for key in keys {
            self.update(&key, &update);
        }
    }

    /// Changes what is known of a session, which is then asked for what is missing.
    fn update<T>(&mut self, key: &SessionKey, update: impl FnOnce(&mut Mirror) -> T) -> Option<T> {
        let mirror = self.sessions.get_mut(key)?;
        let result = update(mirror);
        if mirror.due.is_none() && !core::mem::replace(&mut mirror.is_queued, true) {
            self.queue.push_back(key.clone());
        }
        Some(result)
    }

    /// What was asked has failed, and is asked again in a while.
    fn postpone(&mut self, key: &SessionKey, at: impl FnOnce(u32) -> Instant) {
        let Some(mirror) = self.sessions.get_mut(key) else { return };
        mirror.failures += 1;
        if mirror.due.is_none() {
            let at = at(mirror.failures);
            mirror.due = Some(at);
            self.later.insert((at, key.clone()));
        }
    }

    fn take_due(&mut self, now: Instant) {
        while let Some((at, key)) = self.later.first().cloned()
            && at <= now
        {
            self.later.pop_first();
            if let Some(mirror) = self.sessions.get_mut(&key) {
                mirror.due = None;
            }
            self.update(&key, |_| ());
        }
    }

    /// Returns the next question, and what it is for.
    fn next(&mut self) -> Option<(Purpose, Position)> {
        while let Some(key) = self.queue.pop_front() {
            let Some(mirror) = self.sessions.get_mut(&key) else { continue };
            mirror.is_queued = false;
            if mirror.due.is_some() {
                continue;
            }
            let serial = self.serial + 1;
            let question = if mirror.fetch.is_none() && mirror.is_stale {
                mirror.fetch = Some(serial);
                (mirror.is_stale, mirror.hinted) = (false, None);
                Some((Purpose::Fetch { key: key.clone(), serial }, mirror.end))
            } else {
                self.next_reader(&key).map(|(to, reader)| {
                    reader.asked = Some(serial);
                    (Purpose::Read { key: key.clone(), to, serial }, reader.after)
                })
            };
            if let Some(question) = question {
                (self.serial, self.asked) = (serial, self.asked + 1);
                // There may be more.
                self.update(&key, |_| ());
                return Some(question);
            }
        }
        None
    }

    /// Returns a connection for which the engine has to be asked.
    fn next_reader(&mut self, key: &SessionKey) -> Option<(ConnectionId, &mut Reader)> {
        let mirror = self.sessions.get(key)?;
        let to = mirror.readers.iter().find_map(|(to, reader)| {
            let lies = reader.asked.is_none().then(|| self.lies(key, mirror, reader.after))?;
            matches!(lies, Lies::Elsewhere).then_some(*to)
        })?;
        let mirror = self.sessions.get_mut(key)?;
        mirror.readers.get_mut(&to).map(|reader| (to, reader))
    }

    fn lies(&self, key: &SessionKey, mirror: &Mirror, after: Position) -> Lies {
        let (end, is_busy) = (mirror.end, mirror.is_busy());
        if end.incarnation != after.incarnation {
            return Lies::Elsewhere;
        }
        let kept = self.kept.span(key).filter(|(kept, _)| *kept == end);
        match after.offset {
            offset if offset >= end.offset && is_busy => Lies::Ahead,
            offset if offset == end.offset => Lies::AtEnd,
            offset if offset > end.offset => Lies::Elsewhere,
            offset if kept.is_some_and(|(_, first)| offset + 1 >= first) => Lies::Here,
            _ => Lies::Elsewhere,
        }
    }

    /// Returns what a connection reads that the node knows by now.
    fn next_batch(&mut self, now: Instant, key: &SessionKey) -> Option<NodeOut> {
        let mirror = self.sessions.get(key)?;
        let (to, reader, is_here) = mirror.readers.iter().find_map(|(to, reader)| {
            let lies = reader.asked.is_none().then(|| self.lies(key, mirror, reader.after))?;
            match lies {
                Lies::Here => Some((*to, *reader, true)),
                Lies::AtEnd => Some((*to, *reader, false)),
                Lies::Ahead | Lies::Elsewhere => None,
            }
        })?;
        let Reader { number, after, .. } = reader;
        let batch = if is_here {
            self.kept.read(now, key, after, BATCH, BATCH_BYTES)
        } else {
            let Position { incarnation, offset: last } = after;
            Batch { incarnation, first: last + 1, gap: false, signals: Vec::new(), last }
        };
        self.sessions.get_mut(key)?.readers.remove(&to);
        Some(NodeOut::Batch { key: key.clone(), to, number, batch: Box::new(batch) })
    }

    /// Takes signals of a history that the node has asked for. Returns those that are new. `None` if nothing is.
    fn take(&mut self, now: Instant, key: &SessionKey, batch: Batch<Bytes>) -> Option<Grown> {
        let mirror = self.sessions.get_mut(key)?;
        let Batch { incarnation, mut first, mut gap, signals, .. } = readable(batch);
        let mut signals = signals;
        let before = mirror.end;
        if before.incarnation == incarnation && first <= before.offset {
            // It has come another way meanwhile.
            let known = usize::try_from(before.offset + 1 - first).unwrap_or(usize::MAX);
            signals.drain(..known.min(signals.len()));
            (first, gap) = (before.offset + 1, false);
        }
        let offset = first - 1 + signals.len() as u64;
        mirror.end = Position { incarnation, offset };
        if mirror.end == before && !gap {
            return None;
        }
        let frames = signals.iter().zip(first..).map(|(signal, offset)| {
            let frame = signal.to_history(offset);
            (frame.len(), frame)
        });
        self.kept.mirror(now, key, incarnation, first, frames);
        Some(Grown { key: key.clone(), incarnation, first, signals })
    }
}

/// Returns whether a batch has offsets that a history can have.
fn is_sound(batch: &Batch<Bytes>) -> bool {
    let end = batch.first.checked_add(batch.signals.len() as u64);
    let fits = |end: u64| end - 1 <= batch.last && batch.last < u64::MAX;
    batch.first > 0 && end.is_some_and(fits)
}

/// Returns the signals of a batch up to the first that this release cannot read. If that is the first of all, those
/// that cannot be read are a gap.
fn readable(batch: Batch<Bytes>) -> Batch<PreparedSignal> {
    let Batch { incarnation, mut first, mut gap, signals, last } = batch;
    let mut read = Vec::new();
    for signal in signals {
        match NodeSignal::decode(signal) {
            Ok(signal) => read.push(signal.signal),
            Err(_) if read.is_empty() => (first, gap) = (first + 1, true),
            Err(_) => break,
        }
    }
    Batch { incarnation, first, gap, signals: read, last }
}

impl LocalNode {
    /// From now on, signals to sessions have histories. `secret` is random.
    pub(crate) fn keep_histories(&mut self, limits: HistoryConfig, secret: [u8; 16]) {
        self.mirrors = Some(Mirrors::new(limits, secret));
    }

    /// Returns where the history of a session ended when the engine gave the last place of it, and how far it is read.
    /// `None` if the session is closed already.
    pub(crate) fn placed(&self, key: &SessionKey) -> Option<(Position, Position)> {
        let mirror = self.mirrors.as_ref()?.sessions.get(key)?;
        Some((mirror.placed, mirror.end))
    }

    /// A connection wants to know what follows a place: [`NodeOut::Batch`].
    pub(crate) fn read(
        &mut self,
        now: Instant,
        key: &SessionKey,
        to: ConnectionId,
        number: u32,
        after: Position,
    ) {
        if let Some(mirrors) = &mut self.mirrors {
            let reader = Reader { number, after, asked: None };
            mirrors.update(key, |mirror| mirror.readers.insert(to, reader));
            self.serve(now, key);
        }
    }

    /// A session has another key, and with that another history. Connections that read
    /// the old one read the new one from now on.
    pub(super) fn move_history(&mut self, from: &SessionKey, to: &SessionKey) {
        let Some(mirrors) = &mut self.mirrors else { return };
        let Some(old) = mirrors.sessions.get_mut(from) else { return };
        let readers = core::mem::take(&mut old.readers).into_iter();
        mirrors.update(to, |mirror| {
            mirror.readers.extend(readers.map(|(to, of)| (to, Reader { asked: None, ..of })));
        });
    }

    /// Appends a signal to the history of a session. Ends with
    /// [`ClusterAction::Sent`](crate::cluster::ClusterAction::Sent).
    pub(crate) fn append(
        &mut self,
        now: Instant,
        key: &SessionKey,
        signal: &PreparedSignal,
    ) -> MessageId {
        let signal = NodeSignal { signal: signal.clone(), slow_readers: None };
        let (to, message) = (Audience::Session(key.clone()), signal.encode());
        self.post(now, to, message, true)
    }

    /// The history of a session ends there, or did so a moment ago. Returns whether the node knows it.
    pub(super) fn history_grows(&mut self, key: &SessionKey, end: Position) -> bool {
        let mirrors = self.mirrors.as_mut();
        mirrors.and_then(|mirrors| mirrors.update(key, |mirror| mirror.hint(end))).is_some()
    }

    /// Returns whether an answer about a session says where its history ends. That of one that was created says it
    /// unless it is closed already.
    pub(super) const fn needs_history(&self, answer: &SessionAnswer) -> bool {
        self.mirrors.is_some()
            && matches!(answer, SessionAnswer::Found { .. } | SessionAnswer::Same)
    }

    /// The engine has said where the history of a session ends, of which this node has places: another one, or as many
    /// as it had.
    pub(super) fn history_ends(&mut self, key: &SessionKey, end: Position, has_another: bool) {
        let Some(mirrors) = &mut self.mirrors else { return };
        let mirror = mirrors.sessions.entry(key.clone()).or_insert_with(|| Mirror::new(end));
        if has_another {
            mirror.placed = end;
        }
        if mirror.end != end {
            mirrors.update(key, |mirror| mirror.is_stale = true);
        }
    }

    /// Returns the incarnation of a history that a request about a session may have to make.
    pub(super) fn new_history(&mut self) -> Option<u64> {
        self.mirrors.as_mut().map(|mirrors| mirrors.incarnations.next())
    }

    /// Asks the engine what there is to ask.
    pub(super) fn run_histories(&mut self, now: Instant) {
        if let Some(mirrors) = &mut self.mirrors {
            mirrors.take_due(now);
        }
        while let Some(epoch) = self.epoch()
            && let Some(mirrors) = self.mirrors.as_mut().filter(|mirrors| mirrors.asked < WINDOW)
            && let Some((purpose, after)) = mirrors.next()
        {
            let (Purpose::Fetch { key, .. } | Purpose::Read { key, .. }) = &purpose else { return };
            let step = HistoryStep::Read { after, most: BATCH, max_bytes: BATCH_BYTES };
            let request = HistoryRequest {
                key: key.clone(),
                epoch,
                incarnation: mirrors.incarnations.next(),
                limits: mirrors.limits,
                step,
            };
            self.counters.history_reads += 1;
            self.ask_engine(now, purpose, Request::History(Box::new(request)));
        }
    }

    /// Returns the request that appends a signal.
    pub(super) fn append_request(&mut self, key: SessionKey, signal: Bytes) -> Option<Request> {
        let epoch = self.epoch()?;
        let mirrors = self.mirrors.as_mut()?;
        let incarnation = mirrors.incarnations.next();
        let (limits, step) = (mirrors.limits, HistoryStep::Append { signal });
        let request = HistoryRequest { key, epoch, incarnation, limits, step };
        Some(Request::History(Box::new(request)))
    }

    /// Handles what became of a signal that was to be appended.
    pub(super) fn appended(
        &mut self,
        now: Instant,
        id: MessageId,
        key: &SessionKey,
        signal: Bytes,
        answer: Result<Answer, EngineFailed>,
        desk: &mut Desk<'_>,
    ) {
        let outcome = match answer {
            Ok(Answer::History(HistoryAnswer::Appended { end, nodes }))
                if (1..u64::MAX).contains(&end.offset) =>
            {
                self.take_own(now, key, end, signal);
                SendOutcome::Sent { nodes }
            }
            // Nobody holds it.
            Ok(Answer::History(HistoryAnswer::NotFound)) => SendOutcome::Sent { nodes: 0 },
            Ok(Answer::History(HistoryAnswer::Failed)) => SendOutcome::Unavailable,
            Ok(_) | Err(EngineFailed) => {
                self.trip(now, desk);
                SendOutcome::Unknown
            }
        };
        if self.outbox.ended(id) {
            self.sent(id, outcome);
        }
    }

    /// What it has appended itself, the node need not read.
    fn take_own(&mut self, now: Instant, key: &SessionKey, end: Position, signal: Bytes) {
        let Position { incarnation, offset } = end;
        let before = Position { incarnation, offset: offset - 1 };
        if self.placed(key).is_some_and(|(_, read)| read == before) {
            let signals = Vec::from([signal]);
            let batch = Batch { incarnation, first: offset, gap: false, signals, last: offset };
            self.take_batch(now, key, batch);
            self.serve(now, key);
        } else {
            self.history_hint(key, end);
        }
    }

    /// Handles what the engine has of a history, for all connections of the session.
    pub(super) fn fetched(
        &mut self,
        now: Instant,
        key: &SessionKey,
        serial: u64,
        answer: Result<Answer, EngineFailed>,
        desk: &mut Desk<'_>,
    ) {
        let Some(mirrors) = &mut self.mirrors else { return };
        mirrors.asked = mirrors.asked.saturating_sub(1);
        let is_expected = |mirror: &Mirror| mirror.fetch == Some(serial);
        if mirrors.sessions.get(key).is_some_and(is_expected) {
            match answer {
                Ok(Answer::History(HistoryAnswer::Read(batch))) if is_sound(&batch) => {
                    let end = Position { incarnation: batch.incarnation, offset: batch.last };
                    self.take_batch(now, key, *batch);
                    self.fetched_through(key, end);
                    self.serve(now, key);
                }
                answer => {
                    mirrors.update(key, |mirror| (mirror.fetch, mirror.is_stale) = (None, true));
                    self.history_failed(now, key, answer, desk);
                }
            }
        }
    }

    /// A question for what is new was answered, and the history ended there.
    fn fetched_through(&mut self, key: &SessionKey, end: Position) {
        let Some(mirrors) = &mut self.mirrors else { return };
        mirrors.update(key, |mirror| {
            (mirror.fetch, mirror.failures) = (None, 0);
            mirror.hint(end);
            if let Some(hinted) = mirror.hinted {
                mirror.is_stale |= !mirror.has_read(hinted);
            }
        });
    }

    /// Handles what the engine has behind the place of one connection.
    pub(super) fn read_for(
        &mut self,
        now: Instant,
        (key, to, serial): (&SessionKey, ConnectionId, u64),
        answer: Result<Answer, EngineFailed>,
        desk: &mut Desk<'_>,
    ) {
        let Some(mirrors) = &mut self.mirrors else { return };
        mirrors.asked = mirrors.asked.saturating_sub(1);
        let reader = mirrors.sessions.get(key).and_then(|mirror| mirror.readers.get(&to).copied());
        if let Some(Reader { number, .. }) = reader.filter(|reader| reader.asked == Some(serial)) {
            match answer {
                Ok(Answer::History(HistoryAnswer::Read(batch))) if is_sound(&batch) => {
                    let batch = readable(*batch);
                    let Batch { incarnation, first, gap, signals, last } = batch;
                    mirrors.update(key, |mirror| {
                        mirror.failures = 0;
                        mirror.readers.remove(&to);
                        mirror.hint(Position { incarnation, offset: last });
                    });
                    let frames = signals.iter().zip(first..);
                    let signals = frames.map(|(signal, offset)| signal.to_history(offset));
                    let signals = signals.collect();
                    let batch = Box::new(Batch { incarnation, first, gap, signals, last });
                    self.out.push(NodeOut::Batch { key: key.clone(), to, number, batch });
                }
                answer => {
                    mirrors.update(key, |mirror| {
                        if let Some(reader) = mirror.readers.get_mut(&to) {
                            reader.asked = None;
                        }
                    });
                    self.history_failed(now, key, answer, desk);
                }
            }
        }
    }

    /// Handles a question about a history that has failed. It is asked again: who waits for the answer waits until the
    /// session is lost here at the latest.
    fn history_failed(
        &mut self,
        now: Instant,
        key: &SessionKey,
        answer: Result<Answer, EngineFailed>,
        desk: &mut Desk<'_>,
    ) {
        let config = &self.config;
        if let Some(mirrors) = &mut self.mirrors {
            mirrors.postpone(key, |failures| now + config.backoff(failures));
        }
        match answer {
            Ok(Answer::History(HistoryAnswer::Failed)) => {}
            // News of its end were lost, or are under way.
            Ok(Answer::History(HistoryAnswer::NotFound)) => self.schedule(key.clone(), now),
            Ok(_) | Err(EngineFailed) => self.trip(now, desk),
        }
    }

    fn take_batch(&mut self, now: Instant, key: &SessionKey, batch: Batch<Bytes>) {
        let mirrors = self.mirrors.as_mut();
        if let Some(grown) = mirrors.and_then(|mirrors| mirrors.take(now, key, batch)) {
            self.out.push(NodeOut::Grown(grown));
        }
    }

    /// Answers the connections that read what the node knows.
    fn serve(&mut self, now: Instant, key: &SessionKey) {
        while let Some(batch) =
            self.mirrors.as_mut().and_then(|mirrors| mirrors.next_batch(now, key))
        {
            self.out.push(batch);
        }
    }
}
