//! The sessions that connections of a node hold, ask for, or held a moment ago.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::ops::Bound;

use super::jobs::Purpose;
use super::{Desk, Link, LocalNode, NodeOut, ROUNDS_IN_LEASE, WINDOW};
use crate::cluster::action::LostBy;
use crate::cluster::engine::{
    Closing, EngineFailed, REMEMBERED, Request, Revision, SessionAnswer, SessionRequest, Step,
};
use crate::session::{Asked, Position, Session, SessionInfo, SessionKey, StoreFailed, Ticket};
use crate::time::{Instant, UnixTime};

/// What is known of a session.
#[derive(Debug)]
pub(super) struct Held {
    /// The last revision that the connections here were told.
    known: Revision,
    /// The last revision that there was news of.
    hinted: Revision,
    /// How many places the engine has for this node. `None` if that is not known.
    placed: Option<u32>,
    /// Where its history ended by news that came while the node had no place yet.
    grown: Option<Position>,
    /// Whether the session may have been changed by a request that has failed.
    in_doubt: bool,
    /// When the last request was sent that the engine has answered.
    confirmed: Instant,
    /// How often requests have failed since the last one that did not.
    failures: u32,
    /// When it is checked.
    due: Option<Instant>,
    /// Whether it is checked as soon as what is under way has ended.
    check_next: bool,
    /// A close by the last holder here that has failed: a check will tell what came of it.
    closing: Option<Ticket>,
    /// The session was closed while the request under way was: its answer may be older.
    closed: Option<Closing>,
    under_way: Option<UnderWay>,
    waiting: VecDeque<Task>,
}

impl Held {
    fn new(now: Instant) -> Self {
        Self {
            known: Revision(0),
            hinted: Revision(0),
            placed: None,
            grown: None,
            in_doubt: false,
            confirmed: now,
            failures: 0,
            due: None,
            check_next: false,
            closing: None,
            closed: None,
            under_way: None,
            waiting: VecDeque::new(),
        }
    }
}

/// Something that the registry has asked.
#[derive(Debug)]
struct Task {
    ticket: Ticket,
    what: Content,
}

/// What the request for it says.
#[derive(Debug)]
pub(crate) enum Content {
    /// Nothing more.
    Key,
    Session(Box<Session>),
    Info(SessionInfo),
}

/// The request that the engine has not answered.
#[derive(Debug)]
struct UnderWay {
    /// What the registry has asked. `None` for a check.
    ticket: Option<Ticket>,
    kind: Kind,
    /// How many places the node has if the answer is yes.
    places: u32,
    sent: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Check,
    Join,
    Find,
    Create,
    Edit,
    Close,
    CloseForAll,
}

impl Kind {
    /// Returns whether this is one of the answers to such a request.
    const fn fits(self, answer: &SessionAnswer) -> bool {
        use SessionAnswer::*;
        match self {
            Self::Check => matches!(answer, Same | Found { .. } | NotFound | LimitReached | Placed),
            Self::Join | Self::Find => matches!(answer, Found { .. } | NotFound | LimitReached),
            Self::Create => matches!(answer, Created | Exists),
            Self::Edit => matches!(answer, Edited { .. } | NotFound),
            Self::Close => matches!(answer, Closed | Detached),
            Self::CloseForAll => matches!(answer, Closed | Changed),
        }
    }
}

impl LocalNode {
    /// The registry asks something about a session.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        key: SessionKey,
        ticket: Ticket,
        what: Content,
        desk: &mut Desk<'_>,
    ) {
        let may_begin = match desk.registry.asked(ticket) {
            // Until all sessions are confirmed, there may be more places than the engine knows of.
            Some(Asked::Join { .. } | Asked::Create { .. }) => !self.round.confirms,
            Some(_) => true,
            None => return,
        };
        if !self.is_ready() || !may_begin {
            self.counters.refused += 1;
            self.fail(&key, ticket, desk);
            return self.settle(now, &key, desk);
        }
        self.queued.insert(key.clone());
        let held = self.sessions.entry(key.clone()).or_insert_with(|| Held::new(now));
        held.waiting.push_back(Task { ticket, what });
        self.start_next(now, &key, desk);
    }

    /// The connections of a session have changed.
    pub(crate) fn touch(&mut self, now: Instant, key: &SessionKey, desk: &mut Desk<'_>) {
        self.settle(now, key, desk);
    }

    /// There is news of a change.
    pub(super) fn hint(&mut self, now: Instant, key: SessionKey, revision: Revision) {
        let Some(held) = self.sessions.get_mut(&key) else { return };
        if revision > held.known && revision > held.hinted {
            held.hinted = revision;
            self.counters.hints += 1;
            self.schedule(key, now);
        }
    }

    /// There is news that a session was closed, which it stays.
    pub(super) fn closed(&mut self, key: SessionKey, closing: Closing, desk: &mut Desk<'_>) {
        if desk.registry.places(&key) > 0 {
            match closing {
                Closing::ByKey { disconnect } => {
                    desk.registry.close_key(key, disconnect, desk.effects);
                }
                Closing::ByOther => desk.registry.close_by_other(key, desk.effects),
            }
        } else if let Some(held) = self.sessions.get_mut(&key)
            && held.under_way.is_some()
        {
            held.closed = Some(closing);
        }
    }

    /// There is news that the history of a session has grown.
    pub(super) fn history_hint(&mut self, key: &SessionKey, end: Position) {
        // It may be faster than the answer that gives the place.
        if !self.history_grows(key, end)
            && let Some(held) = self.sessions.get_mut(key)
        {
            held.grown = Some(end);
        }
    }

    /// Starts the checks that are due, as many as may be under way.
    pub(super) fn run_checks(&mut self, now: Instant, desk: &mut Desk<'_>) {
        if !self.round.is_active && self.round.next <= now {
            self.start_round(now);
            if now.saturating_since(self.groups_told) >= self.config.lease / 2 {
                self.groups_told = now;
                self.groups.tell_again();
            }
        }
        while self.checking.len() < WINDOW
            && let Some((at, key)) = self.checks.first().cloned()
            && at <= now
        {
            self.checks.remove(&(at, key.clone()));
            if let Some(held) = self.sessions.get_mut(&key) {
                held.due = None;
            }
            self.check(now, &key, desk);
        }
        while self.round.is_active && self.checking.len() < WINDOW {
            let after = match &self.round.at {
                Some(key) => Bound::Excluded(key),
                None => Bound::Unbounded,
            };
            let next = self.sessions.range((after, Bound::Unbounded)).next();
            let Some((key, _)) = next else {
                self.round.is_active = false;
                let soonest = now + self.config.lease / ROUNDS_IN_LEASE;
                self.round.next = self.round.next.max(soonest);
                break;
            };
            let key = key.clone();
            self.round.at = Some(key.clone());
            if desk.registry.places(&key) > 0 {
                self.give_up_unconfirmed(now, &key, desk);
                self.check(now, &key, desk);
            }
        }
        if !self.round.is_active && self.checking.is_empty() {
            self.round.confirms = false;
        }
    }

    /// Drops the connections of a session of which the engine forgets that they have places.
    fn give_up_unconfirmed(&mut self, now: Instant, key: &SessionKey, desk: &mut Desk<'_>) {
        let confirmed = self.sessions.get(key).map(|held| held.confirmed);
        let since = confirmed.map(|confirmed| now.saturating_since(confirmed));
        if since.is_some_and(|since| since >= REMEMBERED * 3 / 4) && !self.config.availability_first
        {
            for connection in desk.registry.evict(key) {
                self.drop_connection(connection);
            }
        }
    }

    /// The engine may have lost changes: what it has is read again, and may be older.
    pub(super) fn forget_revisions(&mut self) {
        for held in self.sessions.values_mut() {
            (held.known, held.hinted) = (Revision(0), Revision(0));
        }
        if let Some(mirrors) = &mut self.mirrors {
            mirrors.doubt();
        }
    }

    /// Checks a session now, or as soon as what is under way has ended.
    fn check(&mut self, now: Instant, key: &SessionKey, desk: &mut Desk<'_>) {
        if let Some(held) = self.sessions.get_mut(key) {
            held.check_next = true;
            self.start_next(now, key, desk);
        }
    }

    /// Starts the next request about a session, if none is under way.
    fn start_next(&mut self, now: Instant, key: &SessionKey, desk: &mut Desk<'_>) {
        while let Some(held) = self.sessions.get_mut(key)
            && held.under_way.is_none()
            && self.is_ready()
        {
            let Some(held) = self.sessions.get_mut(key) else { return };
            if core::mem::take(&mut held.check_next) && !desk.registry.is_reserved(key) {
                let (known, places) = (held.known, desk.registry.places(key));
                let limit = desk.registry.limit();
                let step = match places {
                    0 => Step::Place { places },
                    _ => Step::Confirm { places, limit, known },
                };
                self.counters.confirms += 1;
                self.checking.insert(key.clone());
                let under_way = UnderWay { ticket: None, kind: Kind::Check, places, sent: now };
                self.request(now, key, under_way, step);
                break;
            }
            let Some(task) = held.waiting.pop_front() else { break };
            if held.waiting.is_empty() {
                self.queued.remove(key);
            }
            if let Some((under_way, step)) = self.begin(now, key, task, desk) {
                self.request(now, key, under_way, step);
            }
        }
        self.settle(now, key, desk);
    }

    /// Returns the request for what was asked. `None` if nobody waits for it any more.
    fn begin(
        &mut self,
        now: Instant,
        key: &SessionKey,
        task: Task,
        desk: &mut Desk<'_>,
    ) -> Option<(UnderWay, Step)> {
        let Task { ticket, what } = task;
        let asked = desk.registry.asked(ticket)?;
        let held = desk.registry.places(key);
        let limit = desk.registry.limit();
        let (kind, places, step) = match (asked, what) {
            (Asked::Join { wanted: true }, _) => {
                let (places, now) = (held + 1, self.unix(now));
                (Kind::Join, places, Step::Join { places, limit, now })
            }
            (Asked::Find, _) if held > 0 => {
                // All there is to know.
                let known = Revision(0);
                (Kind::Find, held, Step::Confirm { places: held, limit, known })
            }
            (Asked::Create { wanted: true }, Content::Session(session)) => {
                (Kind::Create, 1, Step::Create { session, places: 1 })
            }
            (Asked::Move { places }, Content::Session(session)) => {
                (Kind::Create, places, Step::Create { session, places })
            }
            (Asked::Edit, Content::Info(info)) => (Kind::Edit, 0, Step::Edit { info }),
            (Asked::Close | Asked::Undo, _) => (Kind::Close, 0, Step::Close),
            (Asked::CloseForAll { disconnect }, _) => {
                let closing = Closing::ByKey { disconnect };
                (Kind::CloseForAll, 0, Step::CloseForAll { expected: None, closing })
            }
            (Asked::CloseOld, _) => {
                // A change by another node would be lost.
                let expected = Some(self.sessions.get(key)?.known);
                (Kind::CloseForAll, 0, Step::CloseForAll { expected, closing: Closing::ByOther })
            }
            (
                Asked::Join { .. }
                | Asked::Find
                | Asked::Create { .. }
                | Asked::Move { .. }
                | Asked::Edit,
                _,
            ) => {
                self.fail(key, ticket, desk);
                return None;
            }
        };
        Some((UnderWay { ticket: Some(ticket), kind, places, sent: now }, step))
    }

    fn request(&mut self, now: Instant, key: &SessionKey, under_way: UnderWay, step: Step) {
        let history = self.new_history();
        let Link::Member(run) = &self.link else { return };
        let Some(held) = self.sessions.get_mut(key) else { return };
        held.under_way = Some(under_way);
        self.number += 1;
        let request = SessionRequest {
            key: key.clone(),
            epoch: run.lease.epoch,
            number: self.number,
            membership: run.membership.clone(),
            history,
            step,
        };
        let request = Request::Session(Box::new(request));
        self.ask_engine(now, Purpose::Session(key.clone()), request);
    }

    /// Handles the answer to the request about a session that is under way.
    pub(super) fn session_answered(
        &mut self,
        now: Instant,
        key: &SessionKey,
        answer: Result<SessionAnswer, EngineFailed>,
        history: Option<Position>,
        desk: &mut Desk<'_>,
    ) {
        self.checking.remove(key);
        let lacks_history = |answer| history.is_none() && self.needs_history(answer);
        let is_whole = !answer.as_ref().is_ok_and(lacks_history);
        let Some(held) = self.sessions.get_mut(key) else { return };
        let Some(under_way) = held.under_way.take() else { return };
        let closed = held.closed.take();
        match answer {
            Ok(SessionAnswer::Fenced) => {
                // It fails with all others.
                held.under_way = Some(under_way);
                return self.lose(now, LostBy::Fenced, desk);
            }
            Ok(answer) if under_way.kind.fits(&answer) && is_whole => {
                held.failures = 0;
                held.confirmed = under_way.sent;
                self.failures = 0;
                let grown = held.grown.take();
                if let Some(end) = history {
                    let has_another = matches!(under_way.kind, Kind::Join | Kind::Create);
                    self.history_ends(key, end, has_another);
                    if let Some(grown) = grown {
                        self.history_grows(key, grown);
                    }
                }
                self.apply(now, key, &under_way, answer, desk);
                if let Some(closing) = closed {
                    self.closed(key.clone(), closing, desk);
                }
            }
            Ok(SessionAnswer::Failed) => self.session_failed(key, &under_way, desk),
            Ok(_) | Err(EngineFailed) => {
                self.request_failed(key, &under_way, desk);
                self.trip(now, desk);
            }
        }
        self.start_next(now, key, desk);
    }

    /// Applies an answer.
    fn apply(
        &mut self,
        now: Instant,
        key: &SessionKey,
        under_way: &UnderWay,
        answer: SessionAnswer,
        desk: &mut Desk<'_>,
    ) {
        self.note(key, under_way, &answer, desk);
        let closing = match under_way.kind {
            Kind::Check => self.sessions.get_mut(key).and_then(|held| held.closing.take()),
            _ => None,
        };
        let ticket = under_way.ticket.or(closing);
        let is_gone = matches!(answer, SessionAnswer::NotFound);
        let is_evicted = matches!(
            (under_way.kind, &answer),
            (Kind::Check | Kind::Find, SessionAnswer::LimitReached)
        );
        if let Some(ticket) = ticket {
            self.tell(now, key, ticket, answer, desk);
        }
        if is_gone && desk.registry.places(key) > 0 {
            // News of that was lost, or are under way.
            desk.registry.close_key(key.clone(), false, desk.effects);
        }
        if is_evicted {
            for connection in desk.registry.evict(key) {
                self.drop_connection(connection);
            }
        }
    }

    /// Records what the engine has now, and passes on what connections here have not heard of.
    fn note(
        &mut self,
        key: &SessionKey,
        under_way: &UnderWay,
        answer: &SessionAnswer,
        desk: &mut Desk<'_>,
    ) {
        let Some(held) = self.sessions.get_mut(key) else { return };
        match answer {
            SessionAnswer::Created => {
                (held.placed, held.known) = (Some(under_way.places), Revision(1));
            }
            SessionAnswer::Found { session, revision } => {
                held.placed = Some(under_way.places);
                // It is a lower one after the engine has lost the last changes.
                if *revision != held.known {
                    held.known = *revision;
                    desk.registry.refresh(key, &session.info, desk.effects);
                }
            }
            SessionAnswer::Placed | SessionAnswer::Same => held.placed = Some(under_way.places),
            SessionAnswer::NotFound
            | SessionAnswer::Closed
            | SessionAnswer::Detached
            | SessionAnswer::Exists => held.placed = Some(0),
            SessionAnswer::LimitReached if under_way.kind != Kind::Join => held.placed = Some(0),
            SessionAnswer::Edited { revision } => held.known = held.known.max(*revision),
            SessionAnswer::Changed => held.in_doubt = true,
            SessionAnswer::LimitReached
            | SessionAnswer::Fenced
            | SessionAnswer::Overtaken
            | SessionAnswer::Failed => {}
        }
        if matches!(under_way.kind, Kind::Check | Kind::Find) {
            held.in_doubt = false;
            // The hint was followed, whatever there was to find.
            held.hinted = held.known;
        }
    }

    /// Passes an answer on to the registry.
    fn tell(
        &mut self,
        now: Instant,
        key: &SessionKey,
        ticket: Ticket,
        answer: SessionAnswer,
        desk: &mut Desk<'_>,
    ) {
        let (registry, effects) = (&mut *desk.registry, &mut *desk.effects);
        let Some(asked) = registry.asked(ticket) else { return };
        let mut new_key = None;
        match (asked, answer) {
            (Asked::Join { .. } | Asked::Find, SessionAnswer::Found { session, .. }) => {
                registry.looked_up(ticket, Ok(Some(session)), effects);
            }
            (Asked::Join { .. } | Asked::Find, SessionAnswer::NotFound) => {
                registry.looked_up(ticket, Ok(None), effects);
            }
            (Asked::Join { .. }, SessionAnswer::LimitReached) => {
                registry.limit_reached(ticket, effects);
            }
            (Asked::Create { .. } | Asked::Move { .. }, SessionAnswer::Created) => {
                registry.stored(ticket, Ok(()), effects);
            }
            (Asked::Edit, SessionAnswer::Edited { .. }) => {
                registry.updated(ticket, Ok(true), effects);
            }
            (Asked::Edit, SessionAnswer::NotFound) => registry.updated(ticket, Ok(false), effects),
            (Asked::Close, SessionAnswer::Detached | SessionAnswer::LimitReached) => {
                registry.detached(ticket, effects);
            }
            (
                Asked::CloseForAll { .. },
                SessionAnswer::Detached
                | SessionAnswer::LimitReached
                | SessionAnswer::Same
                | SessionAnswer::Found { .. }
                | SessionAnswer::Placed,
            ) => {
                // The application has closed it while its last holder here did.
                registry.detached(ticket, effects);
            }
            (
                Asked::Close | Asked::CloseForAll { .. } | Asked::CloseOld | Asked::Undo,
                SessionAnswer::Closed | SessionAnswer::NotFound | SessionAnswer::Detached,
            ) => {
                new_key = registry.reserved_key(key).cloned();
                registry.destroyed(ticket, Ok(()), effects);
            }
            (_, _) => {
                self.fail(key, ticket, desk);
                return;
            }
        }
        if let Some(new_key) = &new_key {
            self.move_history(key, new_key);
            self.touch(now, new_key, desk);
        }
        self.concluded(key, new_key, Ok(()), desk);
    }

    /// Reports the end of a request about a session, unless that is closed next: then what comes of that counts.
    fn concluded(
        &mut self,
        key: &SessionKey,
        new_key: Option<SessionKey>,
        result: Result<(), StoreFailed>,
        desk: &Desk<'_>,
    ) {
        if !desk.registry.is_closing(key) {
            self.out.push(NodeOut::Concluded { key: key.clone(), new_key, result });
        }
    }

    /// Handles a request that the engine cannot carry out for this session alone. One that is held is asked for
    /// again, until it is given up because it could not be confirmed.
    fn session_failed(&mut self, key: &SessionKey, under_way: &UnderWay, desk: &mut Desk<'_>) {
        if let Some(ticket) = under_way.ticket {
            self.fail(key, ticket, desk);
        }
        let Some(held) = self.sessions.get_mut(key) else { return };
        held.failures += 1;
        if desk.registry.places(key) == 0 {
            // There is nothing to give up that the engine would not forget by itself.
            (held.placed, held.in_doubt) = (Some(0), false);
            if let Some(ticket) = held.closing.take() {
                self.fail(key, ticket, desk);
            }
        }
    }

    /// Handles a request of which it is not known whether it was carried out.
    fn request_failed(&mut self, key: &SessionKey, under_way: &UnderWay, desk: &mut Desk<'_>) {
        let Some(held) = self.sessions.get_mut(key) else { return };
        held.placed = None;
        held.in_doubt = true;
        held.failures += 1;
        let Some(ticket) = under_way.ticket else { return };
        // Whether the connection still has the session is not known, and nothing untrue is said.
        if under_way.kind == Kind::Close
            && let Some(Asked::Close) = desk.registry.asked(ticket)
        {
            held.closing = Some(ticket);
        } else {
            self.fail(key, ticket, desk);
        }
    }

    /// Tells the registry that the engine has failed.
    fn fail(&mut self, key: &SessionKey, ticket: Ticket, desk: &mut Desk<'_>) {
        let (registry, effects) = (&mut *desk.registry, &mut *desk.effects);
        match registry.asked(ticket) {
            Some(Asked::Join { .. } | Asked::Find) => {
                registry.looked_up(ticket, Err(StoreFailed), effects);
            }
            Some(Asked::Create { .. } | Asked::Move { .. }) => {
                registry.stored(ticket, Err(StoreFailed), effects);
            }
            Some(Asked::Edit) => registry.updated(ticket, Err(StoreFailed), effects),
            Some(Asked::Close | Asked::CloseForAll { .. } | Asked::CloseOld | Asked::Undo) => {
                registry.destroyed(ticket, Err(StoreFailed), effects)
            }
            None => return,
        }
        self.concluded(key, None, Err(StoreFailed), desk);
    }

    /// Fails all that waits: the engine is away.
    pub(super) fn refuse_all(&mut self, now: Instant, desk: &mut Desk<'_>) {
        for key in core::mem::take(&mut self.queued) {
            let Some(held) = self.sessions.get_mut(&key) else { continue };
            for task in core::mem::take(&mut held.waiting) {
                self.counters.refused += 1;
                self.fail(&key, task.ticket, desk);
            }
            self.settle(now, &key, desk);
        }
    }

    /// Fails all that is under way or waits: the run has ended, and the sessions are kept all the same.
    pub(super) fn fail_all(&mut self, now: Instant, desk: &mut Desk<'_>) {
        self.refuse_all(now, desk);
        if let Some(mirrors) = &mut self.mirrors {
            mirrors.restart();
        }
        let keys: alloc::vec::Vec<_> = self.sessions.keys().cloned().collect();
        for key in keys {
            let Some(held) = self.sessions.get_mut(&key) else { continue };
            // The new run has none.
            held.placed = Some(0);
            if let Some(under_way) = held.under_way.take() {
                self.request_failed(&key, &under_way, desk);
            }
            self.settle(now, &key, desk);
        }
    }

    /// Sees to it that the engine has as many places as there are connections.
    fn settle(&mut self, now: Instant, key: &SessionKey, desk: &mut Desk<'_>) {
        let Some(held) = self.sessions.get_mut(key) else { return };
        if held.under_way.is_some() {
            return;
        }
        // Who will hold the session under its new key holds it under the old one so far.
        let is_reserved = desk.registry.is_reserved(key);
        let places = desk.registry.places(key);
        let is_known = held.hinted <= held.known && !held.in_doubt;
        let is_placed = held.placed == Some(places) && held.closing.is_none();
        let is_settled = is_placed && (is_known || places == 0);
        if !is_settled && !is_reserved {
            let at = match held.failures {
                0 => now,
                failures => now + self.config.backoff(failures),
            };
            return self.schedule(key.clone(), at);
        }
        if let Some(at) = held.due.take() {
            self.checks.remove(&(at, key.clone()));
        }
        if places == 0 && !is_reserved && held.waiting.is_empty() {
            self.sessions.remove(key);
            if let Some(mirrors) = &mut self.mirrors {
                mirrors.remove(key);
            }
        }
    }

    pub(super) fn schedule(&mut self, key: SessionKey, at: Instant) {
        let Some(held) = self.sessions.get_mut(&key) else { return };
        match held.due {
            Some(due) if due <= at => return,
            Some(due) => {
                self.checks.remove(&(due, key.clone()));
            }
            None => {}
        }
        held.due = Some(at);
        self.checks.insert((at, key));
    }

    fn unix(&self, now: Instant) -> UnixTime {
        let since = now.saturating_since(Instant::EPOCH).as_secs();
        let since = i64::try_from(since).unwrap_or(i64::MAX);
        UnixTime::from_seconds(self.config.epoch.seconds().saturating_add(since))
    }
}
