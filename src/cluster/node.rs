//! The machine of one node: its lease, and what it asks the engine.

mod groups;
mod histories;
mod jobs;
mod messages;
mod outcomes;
mod sessions;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::string::String;

use bytes::Bytes;

use self::groups::Groups;
pub(crate) use self::histories::Grown;
use self::histories::Mirrors;
use self::jobs::{Jobs, Purpose};
use self::messages::Outbox;
use self::outcomes::Outcomes;
pub(crate) use self::sessions::Content;
use self::sessions::Held;
use super::action::{
    ClusterAction, ClusterCounters, ClusterState, EngineJob, EngineJobId, LostBy, MessageId,
    SendOutcome,
};
use super::config::ClusterConfig;
use super::engine::{
    Answer, Audience, DataId, EngineFailed, Epoch, Lease, Membership, News, Node, Request,
};
use crate::actions::Actions;
use crate::session::{Batch, Begun, ConnectionId, Effect, Registry, SessionKey, StoreFailed};
use crate::time::Instant;
use crate::valid::Valid;
use crate::wire::KeptOutcomes;

/// The part of a node in the cluster. It knows what the engine has of each session that connections here hold,
/// and asks for what it should have: the [`Registry`] says what that is. So nothing is counted twice.
///
/// One request about a session is under way at a time. Others wait. A request says how many places the node has
/// afterwards, as many as the registry has connections at that moment. Whatever has changed meanwhile, or is not
/// known because a request has failed, is settled by a *check*: a request that sets the places, and returns what
/// was missed.
#[derive(Debug)]
pub(crate) struct LocalNode {
    config: ClusterConfig,
    link: Link,
    jobs: Jobs,
    /// Which data the engine had last.
    data: Option<DataId>,
    /// The last runs before this one.
    earlier: VecDeque<Epoch>,
    /// The number of the last request about a session.
    number: u64,
    sessions: BTreeMap<SessionKey, Held>,
    /// The sessions for which requests wait.
    queued: BTreeSet<SessionKey>,
    /// When sessions are checked.
    checks: BTreeSet<(Instant, SessionKey)>,
    /// The sessions that are being checked.
    checking: BTreeSet<SessionKey>,
    round: Round,
    /// When the engine was told last of all groups.
    groups_told: Instant,
    groups: Groups,
    outbox: Outbox,
    /// If signals to sessions have histories.
    mirrors: Option<Mirrors>,
    /// If nodes share outcomes of idempotent requests.
    outcomes: Option<Box<Outcomes>>,
    /// How many failures there were since the last success of a request about a session.
    failures: u32,
    out: Actions<NodeOut>,
    counters: ClusterCounters,
}

/// How the node stands to the engine.
#[derive(Debug)]
enum Link {
    /// It takes no part. It enters then, or does so already.
    Outside {
        next: Instant,
        is_asked: bool,
    },
    Member(Box<Run>),
    Retired,
}

/// A run of the node.
#[derive(Debug)]
struct Run {
    lease: Lease,
    membership: Membership,
    /// When the node is fenced by itself.
    ends: Instant,
    renews: Instant,
    is_asked: bool,
    /// Whether the engine has answered the last questions.
    works: bool,
}

/// All sessions are checked once in each lease, and when news may have been lost. A round is never begun anew before it has
/// come to its end: otherwise the last sessions would not be checked for as long as news are lost again and again.
#[derive(Debug)]
struct Round {
    started: Instant,
    next: Instant,
    is_active: bool,
    /// The last session of the round so far.
    at: Option<SessionKey>,
    /// Whether the engine may have lost what it knew: nobody gets a session until this round has ended.
    confirms: bool,
}

/// What a node wants of its hub.
#[derive(Debug)]
pub(crate) enum NodeOut {
    Action(ClusterAction),
    /// The sessions of this connection are lost here, for now: close it.
    Drop(ConnectionId),
    /// A request about a session has ended. If it has got another key by that, which.
    Concluded {
        key: SessionKey,
        new_key: Option<SessionKey>,
        result: Result<(), StoreFailed>,
    },
    /// What is kept of the idempotent requests of the client of a connection.
    Kept {
        to: ConnectionId,
        kept: KeptOutcomes,
    },
    /// The client of this connection has to begin anew: close it once its handlers have ended.
    Close(ConnectionId),
    /// Whether a connection executes an idempotent request.
    Begun {
        to: ConnectionId,
        request: u64,
        begun: Begun<Bytes>,
    },
    /// Whoever waits for the end of any session waits in vain.
    AllLost,
    /// What follows the place that a connection has asked for.
    Batch {
        key: SessionKey,
        to: ConnectionId,
        number: u32,
        batch: Box<Batch<Bytes>>,
    },
    /// A history has grown.
    Grown(Grown),
}

/// The registry of the hub.
pub(crate) struct Desk<'a> {
    pub(crate) registry: &'a mut Registry,
    pub(crate) effects: &'a mut Actions<Effect>,
}

/// How many checks, and how many questions about groups, are under way at a time.
const WINDOW: usize = 32;

/// Between the starts of two rounds there is at least this part of the lease.
const ROUNDS_IN_LEASE: u32 = 10;

/// How many earlier runs of its own a node knows: more than there can be while a message is under way.
const EARLIER: usize = 64;

impl Round {
    const fn none(now: Instant) -> Self {
        Self { started: now, next: now, is_active: false, at: None, confirms: false }
    }
}

impl LocalNode {
    pub(crate) fn new(config: &Valid<ClusterConfig>) -> Self {
        Self {
            config: (**config).clone(),
            link: Link::Outside { next: Instant::EPOCH, is_asked: false },
            jobs: Jobs::default(),
            data: None,
            earlier: VecDeque::new(),
            number: 0,
            sessions: BTreeMap::new(),
            queued: BTreeSet::new(),
            checks: BTreeSet::new(),
            checking: BTreeSet::new(),
            round: Round::none(Instant::EPOCH),
            groups_told: Instant::EPOCH,
            groups: Groups::default(),
            outbox: Outbox::default(),
            mirrors: None,
            outcomes: None,
            failures: 0,
            out: Actions::new(),
            counters: ClusterCounters::default(),
        }
    }

    pub(crate) fn pop(&mut self) -> Option<NodeOut> {
        self.out.pop()
    }

    pub(crate) const fn counters(&self) -> &ClusterCounters {
        &self.counters
    }

    pub(crate) fn state(&self) -> ClusterState {
        match &self.link {
            Link::Outside { .. } => ClusterState::Outside,
            Link::Member(run) if run.works => {
                ClusterState::Member { epoch: run.lease.epoch, confirms: self.round.confirms }
            }
            Link::Member(run) => ClusterState::Away { epoch: run.lease.epoch },
            Link::Retired => ClusterState::Retired,
        }
    }

    /// Returns the nodes that were alive when the lease was renewed last.
    pub(crate) fn nodes(&self) -> &[Node] {
        match &self.link {
            Link::Member(run) => &run.lease.nodes,
            Link::Outside { .. } | Link::Retired => &[],
        }
    }

    /// Returns how many questions the engine has not answered yet.
    pub(crate) fn pending_jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Returns whether nothing is left of any session, message or group.
    pub(crate) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
            && self.checks.is_empty()
            && self.checking.is_empty()
            && self.queued.is_empty()
            && self.outbox.is_empty()
            && self.groups.is_empty()
            && self.mirrors.as_ref().is_none_or(Mirrors::is_empty)
            && self.outcomes.as_ref().is_none_or(|outcomes| outcomes.is_idle())
    }

    /// Ends the work on sessions if the lease may have run out, and returns whether that is so. Called before
    /// anything else is done.
    pub(crate) fn watch(&mut self, now: Instant, desk: &mut Desk<'_>) -> bool {
        if let Link::Member(run) = &self.link
            && run.ends <= now
            && !self.config.availability_first
        {
            self.lose(now, LostBy::Silence, desk);
            return true;
        }
        false
    }

    /// Handles an answer of the engine.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        job: EngineJobId,
        answer: Result<Answer, EngineFailed>,
        desk: &mut Desk<'_>,
    ) {
        let Some(purpose) = self.jobs.take(job) else { return };
        self.counters.failed += u64::from(answer.is_err());
        self.conclude(now, purpose, answer, desk);
    }

    /// Handles news for a run of this node. Those for earlier runs are ignored.
    pub(crate) fn news(&mut self, now: Instant, epoch: Epoch, news: News, desk: &mut Desk<'_>) {
        if self.epoch() != Some(epoch) {
            return;
        }
        match news {
            News::Changed { key, revision } => self.hint(now, key, revision),
            News::Appended { key, end } => self.history_hint(&key, end),
            News::Closed { key, closing } => self.closed(key, closing, desk),
            // What it has sent itself, in an earlier run, comes back to it.
            News::Message { from, .. } if self.earlier.contains(&from) => {}
            News::Message { to, message, .. } => {
                self.counters.messages_received += 1;
                self.act(ClusterAction::Message { to, message });
            }
            News::Interrupted => {
                self.counters.interruptions += 1;
                let soonest = self.round.started + self.config.lease / ROUNDS_IN_LEASE;
                if self.round.is_active || now < soonest {
                    self.round.next = self.round.next.min(soonest.max(now));
                } else {
                    self.start_round(now);
                }
            }
        }
    }

    /// Passes a message on to other nodes.
    pub(crate) fn send(&mut self, now: Instant, to: Audience, message: Bytes) -> MessageId {
        self.post(now, to, message, false)
    }

    fn post(&mut self, now: Instant, to: Audience, message: Bytes, appends: bool) -> MessageId {
        let id = self.outbox.new_id();
        let may_wait = self.config.message_age.is_some() && !matches!(self.link, Link::Retired);
        if !self.is_ready() && !may_wait {
            self.sent(id, SendOutcome::Unavailable);
        } else if !self.outbox.has_room(&to, &message, self.config.message_bytes) {
            self.sent(id, SendOutcome::Full);
        } else {
            self.outbox.push(id, to, message, appends, now);
        }
        id
    }

    /// Records whether a group has members here.
    pub(crate) fn set_group(&mut self, name: String, has_members: bool) {
        self.groups.set(name, has_members);
    }

    /// Takes no part any more.
    pub(crate) fn retire(&mut self, now: Instant, desk: &mut Desk<'_>) {
        let epoch = self.epoch();
        match self.link {
            Link::Retired => return,
            Link::Outside { .. } => self.jobs.give_up(),
            Link::Member(_) => self.lose(now, LostBy::Retired, desk),
        }
        self.link = Link::Retired;
        if let Some(epoch) = epoch {
            self.ask_engine(now, Purpose::Retire, Request::Retire { epoch });
        }
        while let Some((id, _)) = self.outbox.expired(now, None) {
            self.sent(id, SendOutcome::Unavailable);
        }
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let link = match &self.link {
            Link::Outside { next, is_asked: false } => Some(*next),
            Link::Member(run) => {
                let ends = (!self.config.availability_first).then_some(run.ends);
                [ends, (!run.is_asked).then_some(run.renews)].into_iter().flatten().min()
            }
            Link::Outside { is_asked: true, .. } | Link::Retired => None,
        };
        let first = self.checks.first().map(|(at, _)| *at);
        let check = first.filter(|_| self.is_ready() && self.checking.len() < WINDOW);
        let round = (self.is_ready() && !self.round.is_active).then_some(self.round.next);
        let has_groups = self.groups.has_open() && self.groups.asked < WINDOW;
        let groups = (self.is_ready() && has_groups).then_some(Instant::EPOCH);
        let oldest = self.outbox.oldest().zip(self.config.message_age);
        let message = oldest.map(|(since, age)| since + age);
        let mirrors = self.mirrors.as_ref();
        let histories = mirrors.and_then(|mirrors| mirrors.next_timeout(self.is_ready()));
        let outcomes = self.outcomes.as_ref().filter(|_| self.is_ready());
        let outcomes = outcomes.and_then(|outcomes| outcomes.next_timeout());
        let timeouts =
            [self.jobs.next_deadline(), link, check, round, groups, message, histories, outcomes];
        timeouts.into_iter().flatten().min()
    }

    /// Fails what was not answered in time, and does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, desk: &mut Desk<'_>) {
        while let Some((job, purpose)) = self.jobs.take_overdue(now) {
            self.counters.timed_out += 1;
            self.act(ClusterAction::EngineTimedOut { job });
            self.conclude(now, purpose, Err(EngineFailed), desk);
        }
        while let Some(age) = self.config.message_age
            && let Some((id, waited)) = self.outbox.expired(now, Some(age))
        {
            self.sent(id, SendOutcome::Expired { waited });
        }
        if let Some(mirrors) = &mut self.mirrors {
            mirrors.expire(now);
        }
    }

    /// Asks the engine what there is to ask now. Called last.
    pub(crate) fn run(&mut self, now: Instant, desk: &mut Desk<'_>) {
        self.run_link(now);
        if !self.is_ready() {
            return;
        }
        self.run_checks(now, desk);
        self.run_outcomes(now);
        while self.groups.asked < WINDOW
            && let Some(epoch) = self.epoch()
            && let Some((name, follow)) = self.groups.next()
        {
            let group = name.clone();
            let request = if follow {
                Request::Follow { epoch, group }
            } else {
                Request::Unfollow { epoch, group }
            };
            self.ask_engine(now, Purpose::Group { name, follow }, request);
        }
        self.run_histories(now);
        while let Some(from) = self.epoch()
            && let Some((id, to, message, appends)) = self.outbox.next()
        {
            match to {
                Audience::Session(key) if appends => {
                    let purpose = Purpose::Append { id, key: key.clone(), signal: message.clone() };
                    if let Some(request) = self.append_request(key, message) {
                        self.ask_engine(now, purpose, request);
                    }
                }
                to => {
                    self.ask_engine(now, Purpose::Message(id), Request::Send { from, to, message })
                }
            }
        }
    }

    fn run_link(&mut self, now: Instant) {
        let lease = self.config.lease;
        let request = match &mut self.link {
            Link::Outside { next, is_asked } if *next <= now && !*is_asked => {
                *is_asked = true;
                Request::Enter { name: self.config.name.clone(), lease }
            }
            Link::Member(run) if run.renews <= now && !run.is_asked => {
                run.is_asked = true;
                Request::Renew { epoch: run.lease.epoch, lease }
            }
            Link::Outside { .. } | Link::Member(_) | Link::Retired => return,
        };
        self.ask_engine(now, Purpose::Lease { sent: now }, request);
    }

    /// Handles the end of a question.
    fn conclude(
        &mut self,
        now: Instant,
        purpose: Purpose,
        answer: Result<Answer, EngineFailed>,
        desk: &mut Desk<'_>,
    ) {
        match (purpose, answer) {
            (Purpose::Lease { sent }, answer) => self.leased(now, sent, answer, desk),
            (Purpose::Retire, _) => {}
            (Purpose::Session(key), Ok(Answer::Session(answer))) => {
                self.session_answered(now, &key, Ok(answer), None, desk);
            }
            (Purpose::Session(key), Ok(Answer::WithHistory { answer, end })) => {
                self.session_answered(now, &key, Ok(answer), Some(end), desk);
            }
            (Purpose::Session(key), _) => {
                self.session_answered(now, &key, Err(EngineFailed), None, desk);
            }
            (Purpose::Outcome(asked), answer) => self.outcome_answered(now, asked, answer, desk),
            (Purpose::Message(id), Ok(Answer::Sent { nodes })) => {
                if self.outbox.ended(id) {
                    self.sent(id, SendOutcome::Sent { nodes });
                }
            }
            (Purpose::Message(id), Ok(Answer::Failed)) => {
                if self.outbox.ended(id) {
                    self.sent(id, SendOutcome::Unavailable);
                }
            }
            (Purpose::Message(id), _) => {
                if self.outbox.ended(id) {
                    self.sent(id, SendOutcome::Unknown);
                }
                self.trip(now, desk);
            }
            (Purpose::Append { id, key, signal }, answer) => {
                self.appended(now, id, &key, signal, answer, desk);
            }
            (Purpose::Fetch { key, serial }, answer) => {
                self.fetched(now, &key, serial, answer, desk);
            }
            (Purpose::Read { key, to, serial }, answer) => {
                self.read_for(now, (&key, to, serial), answer, desk);
            }
            (Purpose::Group { name, follow }, Ok(Answer::Done)) => {
                self.groups.answered(name, follow, true);
            }
            (Purpose::Group { name, follow }, Ok(Answer::Failed)) => {
                self.groups.refused(name, follow);
            }
            (Purpose::Group { name, follow }, _) => {
                self.groups.answered(name, follow, false);
                self.trip(now, desk);
            }
        }
    }

    /// Handles the answer about the lease.
    fn leased(
        &mut self,
        now: Instant,
        sent: Instant,
        answer: Result<Answer, EngineFailed>,
        desk: &mut Desk<'_>,
    ) {
        // What counts is when the question was sent: the engine cannot have granted the lease before.
        let ends = sent + self.config.fenced_after();
        let renews = sent + self.config.lease / 3;
        match (&mut self.link, answer) {
            (Link::Outside { .. }, Ok(Answer::Lease(lease))) if now < ends => {
                let epoch = lease.epoch;
                let membership = lease.membership();
                let is_asked = false;
                if self.data.replace(lease.data).is_some_and(|before| before != lease.data) {
                    self.counters.data_changes += 1;
                    self.forget_revisions();
                }
                let run = Run { lease, membership, ends, renews, is_asked, works: true };
                self.link = Link::Member(Box::new(run));
                self.counters.entered += 1;
                self.groups.restart();
                self.start_round(now);
                // With another run, sessions that were kept have no places.
                self.round.confirms = !self.sessions.is_empty();
                self.act(ClusterAction::Entered { epoch });
            }
            (Link::Outside { next, is_asked }, _) => {
                self.failures += 1;
                *next = now + self.config.backoff(self.failures);
                *is_asked = false;
            }
            (Link::Member(run), Ok(Answer::Lease(lease))) if lease.epoch == run.lease.epoch => {
                let is_other_data = self.data.replace(lease.data) != Some(lease.data);
                run.membership = lease.membership();
                **run = Run {
                    lease,
                    membership: core::mem::take(&mut run.membership),
                    ends: run.ends.max(ends),
                    renews: renews.max(now),
                    is_asked: false,
                    works: true,
                };
                if is_other_data {
                    self.counters.data_changes += 1;
                    self.groups.tell_again();
                    self.forget_revisions();
                    self.start_round(now);
                    self.round.confirms = true;
                }
            }
            (Link::Member(_), Ok(Answer::Dead)) => self.lose(now, LostBy::LeaseEnded, desk),
            (Link::Member(run), _) => {
                run.is_asked = false;
                // The pause is that of the failures before this one.
                run.renews = now + self.config.backoff(self.failures + 1);
                self.failures += u32::from(!run.works);
                self.trip(now, desk);
            }
            (Link::Retired, _) => {}
        }
    }

    /// The engine has failed: nothing is asked of it but to renew the lease, until that succeeds.
    fn trip(&mut self, now: Instant, desk: &mut Desk<'_>) {
        let Link::Member(run) = &mut self.link else { return };
        if !run.works {
            return;
        }
        run.works = false;
        self.failures += 1;
        self.counters.away += 1;
        run.renews = run.renews.min(now + self.config.backoff(self.failures));
        self.refuse_all(now, desk);
        self.refuse_outcomes();
    }

    /// The node takes no part any more. It enters again, at once if the engine answers.
    fn lose(&mut self, now: Instant, cause: LostBy, desk: &mut Desk<'_>) {
        let pause = match cause {
            LostBy::Silence => self.config.backoff(self.failures.max(1)),
            LostBy::LeaseEnded | LostBy::Fenced | LostBy::Retired => core::time::Duration::ZERO,
        };
        if let Some(epoch) = self.epoch() {
            self.earlier.push_back(epoch);
            if self.earlier.len() > EARLIER {
                self.earlier.pop_front();
            }
        }
        self.link = Link::Outside { next: now + pause, is_asked: false };
        self.counters.lost += 1;
        self.jobs.give_up();
        self.lose_outcomes(now);
        self.checking.clear();
        self.round = Round::none(now);
        self.groups.restart();
        let mut connections = 0;
        if self.config.availability_first && cause != LostBy::Retired {
            self.fail_all(now, desk);
        } else {
            self.sessions.clear();
            if let Some(mirrors) = &mut self.mirrors {
                mirrors.clear();
            }
            self.queued.clear();
            self.checks.clear();
            for connection in desk.registry.clear() {
                connections += 1;
                self.drop_connection(connection);
            }
            self.out.push(NodeOut::AllLost);
        }
        self.act(ClusterAction::Lost { cause, connections });
    }

    fn drop_connection(&mut self, connection: ConnectionId) {
        self.counters.dropped += 1;
        self.out.push(NodeOut::Drop(connection));
    }

    fn start_round(&mut self, now: Instant) {
        let next = now + self.config.lease;
        let confirms = self.round.confirms;
        self.round = Round { started: now, next, is_active: true, at: None, confirms };
    }

    fn sent(&mut self, id: MessageId, outcome: SendOutcome) {
        *match outcome {
            SendOutcome::Sent { .. } => &mut self.counters.messages_sent,
            SendOutcome::Unknown => &mut self.counters.messages_lost,
            SendOutcome::Unavailable | SendOutcome::Expired { .. } | SendOutcome::Full => {
                &mut self.counters.messages_refused
            }
        } += 1;
        self.act(ClusterAction::Sent { id, outcome });
    }

    fn act(&mut self, action: ClusterAction) {
        self.out.push(NodeOut::Action(action));
    }

    fn ask_engine(&mut self, now: Instant, purpose: Purpose, request: Request) {
        let id = self.jobs.start(purpose, now + self.config.request_timeout);
        self.counters.requests += 1;
        self.act(ClusterAction::Engine(EngineJob { id, request: Box::new(request) }));
    }

    /// Returns whether the node takes part, and the engine answers.
    fn is_ready(&self) -> bool {
        matches!(&self.link, Link::Member(run) if run.works)
    }

    fn epoch(&self) -> Option<Epoch> {
        match &self.link {
            Link::Member(run) => Some(run.lease.epoch),
            Link::Outside { .. } | Link::Retired => None,
        }
    }
}
