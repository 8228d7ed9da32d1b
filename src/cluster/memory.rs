//! An engine in memory.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::num::{NonZeroU64, NonZeroUsize};

use super::engine::{
    Answer, Audience, DataId, Epoch, Lease, Membership, News, Node, REMEMBERED, Request, Revision,
    SessionAnswer, SessionRequest, Step,
};
use super::history::{HistoryAnswer, HistoryRequest, HistoryStep, Log};
use super::outcomes::{self, Client};
use crate::session::{Instance, Session, SessionKey};
use crate::time::Instant;

/// An engine in the memory of one process, for tests and simulations, and for nodes that are threads. It also
/// says, as code, what each [`Request`] means: others have to answer as it does.
///
/// Clones are replicas as they are at that moment.
///
/// ```
/// use core::time::Duration;
/// use wwr::Instant;
/// use wwr::cluster::{Answer, MemoryEngine, Request};
///
/// let (mut engine, mut news) = (MemoryEngine::new(), Vec::new());
/// let lease = Duration::from_secs(10);
/// let enter = Request::Enter { name: "a".into(), lease };
/// let Answer::Lease(a) = engine.perform(Instant::EPOCH, enter, &mut news) else { panic!() };
/// assert_eq!(a.nodes.len(), 1);
///
/// // The lease runs out.
/// let late = Instant::EPOCH + lease * 2;
/// let renew = Request::Renew { epoch: a.epoch, lease };
/// assert_eq!(engine.perform(late, renew, &mut news), Answer::Dead);
/// ```
#[derive(Clone, Debug)]
pub struct MemoryEngine {
    data: u64,
    last_epoch: u64,
    nodes: BTreeMap<Epoch, Run>,
    sessions: BTreeMap<SessionKey, Record>,
    groups: BTreeMap<String, BTreeSet<Epoch>>,
    /// The clients that make idempotent requests.
    clients: BTreeMap<Instance, Client>,
    /// When old records were removed last.
    swept: Instant,
}

/// A run of a node that is alive.
#[derive(Clone, Debug)]
struct Run {
    name: String,
    until: Instant,
}

/// What is known about a session.
#[derive(Clone, Debug, Default)]
struct Record {
    content: Content,
    revision: Revision,
    holders: BTreeMap<Epoch, Holder>,
    /// The signals to the session, if a node has asked for any.
    history: Option<Log>,
}

#[derive(Clone, Debug, Default)]
enum Content {
    /// Nothing was ever stored.
    #[default]
    Nothing,
    Open(Box<Session>),
    /// Kept so that nothing late brings the session back.
    Closed {
        since: Instant,
    },
}

/// What is known about a node that has, or had, places of a session.
#[derive(Clone, Debug)]
struct Holder {
    places: u32,
    /// The number of its last request.
    number: u64,
    /// What that was answered, for a repetition. `None` if the repetition finds the same.
    answer: Option<SessionAnswer>,
    /// When that was carried out.
    at: Instant,
    /// Whether its places were taken from it.
    is_fenced: bool,
}

impl Holder {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_since(self.at) > REMEMBERED
    }
}

impl MemoryEngine {
    /// Creates an engine without data.
    pub const fn new() -> Self {
        Self {
            data: 1,
            last_epoch: 0,
            nodes: BTreeMap::new(),
            sessions: BTreeMap::new(),
            groups: BTreeMap::new(),
            clients: BTreeMap::new(),
            swept: Instant::EPOCH,
        }
    }

    /// Forgets a session, as engines do with those that were not used for long. There is no trace of it.
    pub fn expire(&mut self, key: &SessionKey) {
        self.sessions.remove(key);
    }

    /// Returns how many records there are, those included of sessions that were closed a moment ago.
    pub fn record_count(&self) -> usize {
        self.sessions.len()
    }

    /// Records that acknowledged changes may be lost: this was a replica, and takes over.
    pub const fn take_over(&mut self, data: DataId) {
        self.data = data.0;
    }

    /// Returns how many places of a session all living nodes have. `now` is the time of the engine's clock.
    pub fn places(&self, now: Instant, key: &SessionKey) -> u32 {
        let holders = self.sessions.get(key).into_iter().flat_map(|record| &record.holders);
        let counts = |(epoch, holder): &(&Epoch, &Holder)| {
            self.nodes.contains_key(epoch) && !holder.is_old(now)
        };
        holders.filter(counts).map(|(_, of)| of.places).sum()
    }

    /// Returns a session and its revision, unless it is closed or does not exist.
    pub fn session(&self, key: &SessionKey) -> Option<(&Session, Revision)> {
        let record = self.sessions.get(key)?;
        match &record.content {
            Content::Open(session) => Some((session, record.revision)),
            Content::Nothing | Content::Closed { .. } => None,
        }
    }

    /// Carries out a request. Appends the news that it causes for other nodes, each with the node that gets it.
    /// `now` is the time of the engine's clock.
    pub fn perform(
        &mut self,
        now: Instant,
        request: Request,
        news: &mut Vec<(Epoch, News)>,
    ) -> Answer {
        match request {
            Request::Enter { name, lease } => {
                self.bury(now);
                let clock = now.saturating_since(Instant::EPOCH).as_millis();
                let clock = u64::try_from(clock).unwrap_or(u64::MAX);
                self.last_epoch = self.last_epoch.saturating_add(1).max(clock);
                let epoch = Epoch(NonZeroU64::MIN.saturating_add(self.last_epoch - 1));
                self.nodes.insert(epoch, Run { name, until: now + lease });
                Answer::Lease(self.lease(epoch))
            }
            Request::Renew { epoch, lease } => {
                self.bury(now);
                let Some(run) = self.nodes.get_mut(&epoch) else { return Answer::Dead };
                run.until = now + lease;
                Answer::Lease(self.lease(epoch))
            }
            Request::Retire { epoch } => {
                self.nodes.remove(&epoch);
                Answer::Done
            }
            Request::Session(request) => {
                let record = self.sessions.entry(request.key.clone()).or_default();
                let (key, history) = (request.key.clone(), request.history);
                let answer = record.perform(now, *request, news);
                let end = match (&answer, history) {
                    (
                        SessionAnswer::Created | SessionAnswer::Found { .. } | SessionAnswer::Same,
                        Some(incarnation),
                    ) => record.history(self.data, incarnation).map(|log| log.end()),
                    (_, _) => None,
                };
                if record.is_forgotten(now) {
                    self.sessions.remove(&key);
                }
                match end {
                    Some(end) => Answer::WithHistory { answer, end },
                    None => Answer::Session(answer),
                }
            }
            Request::History(request) => Answer::History(self.history(now, *request, news)),
            Request::Outcome(request) => {
                let (instance, data) = (request.instance, DataId(self.data));
                let mut client = self.clients.remove(&instance);
                let answer = outcomes::perform(&mut client, now, data, *request);
                self.clients.extend(client.map(|client| (instance, client)));
                Answer::Outcome(answer)
            }
            Request::Send { from, to, message } => {
                let is_alive = |epoch: &Epoch| self.nodes.contains_key(epoch);
                let receivers: Vec<Epoch> = match &to {
                    // Also those of nodes that have died: sessions are apart from nodes.
                    Audience::Session(key) => {
                        let record = self.sessions.get(key);
                        record.into_iter().flat_map(Record::present).collect()
                    }
                    Audience::Group(name) => {
                        let followers = self.groups.get(name).into_iter().flatten().copied();
                        followers.filter(is_alive).collect()
                    }
                    Audience::All => self.nodes.keys().copied().collect(),
                };
                let mut nodes = 0;
                for epoch in receivers.into_iter().filter(|epoch| *epoch != from) {
                    nodes += 1;
                    let (to, message) = (to.clone(), message.clone());
                    news.push((epoch, News::Message { from, to, message }));
                }
                Answer::Sent { nodes }
            }
            Request::Follow { epoch, group } => {
                self.groups.entry(group).or_default().insert(epoch);
                Answer::Done
            }
            Request::Unfollow { epoch, group } => {
                if let Some(followers) = self.groups.get_mut(&group) {
                    followers.remove(&epoch);
                }
                self.groups.retain(|_, followers| !followers.is_empty());
                Answer::Done
            }
        }
    }

    fn history(
        &mut self,
        now: Instant,
        request: HistoryRequest,
        news: &mut Vec<(Epoch, News)>,
    ) -> HistoryAnswer {
        let HistoryRequest { key, epoch, incarnation, limits, step } = request;
        let Some(record) = self.sessions.get_mut(&key) else { return HistoryAnswer::NotFound };
        let Some(log) = record.history(self.data, incarnation) else {
            return HistoryAnswer::NotFound;
        };
        match step {
            HistoryStep::Append { signal } => {
                log.append(now, limits, signal);
                let (end, told) = (log.end(), news.len());
                record.tell(epoch, || News::Appended { key: key.clone(), end }, news);
                let nodes = u32::try_from(news.len() - told).unwrap_or(u32::MAX);
                HistoryAnswer::Appended { end, nodes }
            }
            HistoryStep::Read { after, most, max_bytes } => {
                HistoryAnswer::Read(Box::new(log.read(now, after, most, max_bytes)))
            }
        }
    }

    /// Removes the nodes whose lease has run out.
    fn bury(&mut self, now: Instant) {
        self.nodes.retain(|_, run| run.until > now);
        if now.saturating_since(self.swept) > REMEMBERED {
            self.swept = now;
            let data = DataId(self.data);
            self.clients.retain(|_, client| !client.is_over(now, data));
            self.sessions.retain(|_, record| {
                record.fence(now, &Membership::default());
                if let Some(history) = &mut record.history {
                    history.forget_old(now);
                }
                !record.is_forgotten(now)
            });
        }
        let nodes = &self.nodes;
        self.groups.retain(|_, followers| {
            followers.retain(|epoch| nodes.contains_key(epoch));
            !followers.is_empty()
        });
    }

    fn lease(&self, epoch: Epoch) -> Lease {
        let node = |(&epoch, run): (&Epoch, &Run)| Node { epoch, name: run.name.clone() };
        let nodes = self.nodes.iter().map(node).collect();
        Lease { epoch, data: DataId(self.data), through: self.last_epoch, nodes }
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Record {
    fn perform(
        &mut self,
        now: Instant,
        request: SessionRequest,
        news: &mut Vec<(Epoch, News)>,
    ) -> SessionAnswer {
        let SessionRequest { key, epoch, number, membership, step, .. } = request;
        self.fence(now, &membership);
        let before = match self.holders.get(&epoch) {
            Some(holder) if holder.is_fenced => return SessionAnswer::Fenced,
            Some(holder) if holder.number > number => return SessionAnswer::Overtaken,
            Some(Holder { number: last, answer: Some(answer), .. }) if *last == number => {
                return answer.clone();
            }
            Some(holder) => holder.places,
            None => 0,
        };
        let mut holder = Holder { places: before, number, answer: None, at: now, is_fenced: false };
        // Guessed keys cost nothing.
        let leaves_no_trace =
            matches!(step, Step::Join { .. }) && !self.holders.contains_key(&epoch);
        let others: u32 =
            self.holders.iter().filter(|(of, _)| **of != epoch).map(|(_, of)| of.places).sum();
        let is_full = |places: u32, limit: Option<NonZeroUsize>| {
            limit.is_some_and(|limit| u64::from(others) + u64::from(places) > limit.get() as u64)
        };
        let answer = match (step, &mut self.content) {
            (Step::Create { session, places }, Content::Nothing) => {
                holder.places = places;
                self.content = Content::Open(session);
                self.revision.0 += 1;
                SessionAnswer::Created
            }
            (Step::Create { .. }, Content::Open(_) | Content::Closed { .. }) => {
                SessionAnswer::Exists
            }
            (Step::Join { places, limit, now }, Content::Open(session)) => {
                if is_full(places, limit) {
                    SessionAnswer::LimitReached
                } else {
                    holder.places = places;
                    let found = session.clone();
                    session.last_lookup = now;
                    SessionAnswer::Found { session: found, revision: self.revision }
                }
            }
            (Step::Confirm { places, limit, known }, Content::Open(session)) => {
                if is_full(places, limit) {
                    holder.places = 0;
                    SessionAnswer::LimitReached
                } else {
                    holder.places = places;
                    if known == self.revision {
                        SessionAnswer::Same
                    } else {
                        let session = session.clone();
                        SessionAnswer::Found { session, revision: self.revision }
                    }
                }
            }
            (Step::Edit { info }, Content::Open(session)) => {
                session.info = info;
                self.revision.0 += 1;
                let revision = self.revision;
                self.tell(epoch, || News::Changed { key: key.clone(), revision }, news);
                SessionAnswer::Edited { revision }
            }
            (
                Step::Join { .. } | Step::Confirm { .. } | Step::Edit { .. },
                Content::Nothing | Content::Closed { .. },
            ) => {
                holder.places = 0;
                SessionAnswer::NotFound
            }
            (Step::Place { places }, content) => {
                holder.places = if let Content::Open(_) = content { places } else { 0 };
                SessionAnswer::Placed
            }
            (Step::Close, Content::Open(_)) if others > 0 => {
                holder.places = 0;
                SessionAnswer::Detached
            }
            (Step::CloseForAll { expected: Some(expected), .. }, Content::Open(_))
                if expected != self.revision =>
            {
                SessionAnswer::Changed
            }
            // Somebody else has closed it: this one is too late.
            (
                Step::CloseForAll { expected: Some(_), .. },
                Content::Nothing | Content::Closed { .. },
            ) => {
                holder.places = 0;
                SessionAnswer::Changed
            }
            (step @ (Step::Close | Step::CloseForAll { .. }), Content::Open(_)) => {
                holder.places = 0;
                if let Step::CloseForAll { closing, .. } = step {
                    self.tell(epoch, || News::Closed { key: key.clone(), closing }, news);
                }
                self.content = Content::Closed { since: now };
                self.history = None;
                self.revision.0 += 1;
                SessionAnswer::Closed
            }
            (Step::Close | Step::CloseForAll { .. }, Content::Nothing | Content::Closed { .. }) => {
                holder.places = 0;
                SessionAnswer::Closed
            }
        };
        holder.answer = match answer {
            SessionAnswer::Found { .. } | SessionAnswer::Same => None,
            _ => Some(answer.clone()),
        };
        if !(leaves_no_trace && matches!(self.content, Content::Nothing)) {
            self.holders.insert(epoch, holder);
        }
        answer
    }

    /// Returns the history, as [`Log::of`] does. `None` if the session is not open.
    fn history(&mut self, data: u64, incarnation: u64) -> Option<&mut Log> {
        let is_open = matches!(self.content, Content::Open(_));
        is_open.then(|| Log::of(&mut self.history, data, incarnation))
    }

    /// Takes the places of the nodes that are known to be dead, and forgets what is old.
    fn fence(&mut self, now: Instant, membership: &Membership) {
        for (epoch, holder) in &mut self.holders {
            if membership.is_dead(*epoch) && !holder.is_fenced {
                holder.places = 0;
                holder.at = now;
                holder.is_fenced = true;
            }
        }
        self.holders.retain(|_, holder| !holder.is_old(now));
    }

    /// Returns the nodes that have places.
    fn present(&self) -> impl Iterator<Item = Epoch> + '_ {
        self.holders.iter().filter(|(_, holder)| holder.places > 0).map(|(epoch, _)| *epoch)
    }

    fn tell(&self, from: Epoch, what: impl Fn() -> News, news: &mut Vec<(Epoch, News)>) {
        news.extend(self.present().filter(|epoch| *epoch != from).map(|epoch| (epoch, what())));
    }

    /// Returns whether nobody can tell the record from none.
    fn is_forgotten(&self, now: Instant) -> bool {
        match self.content {
            Content::Open(_) => false,
            Content::Nothing => self.holders.is_empty(),
            Content::Closed { since } => now.saturating_since(since) > REMEMBERED,
        }
    }
}
