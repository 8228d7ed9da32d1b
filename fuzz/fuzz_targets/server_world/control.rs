//! The hub and the session store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wwr::server::{
    Hub, HubAction, HubConfig, IdleConnections, Job, JobId, StoreAnswer, WaiterId, Work,
};
use wwr::session::{Change, Command, ConnectionId, Outcome, StoreFailed, Update};
use wwr::{Actions, Instant, Session, SessionKey, Valid};

/// What the hub wants of a connection.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Session(Outcome),
    ShutDown(Instant, IdleConnections),
    Close,
    Abort,
}

pub(crate) struct Control {
    pub(crate) hub: Hub,
    config: Valid<HubConfig>,
    out: Actions<HubAction>,
    told: Vec<(ConnectionId, Input)>,
    jobs: Vec<(JobId, Task)>,
    stored: BTreeMap<SessionKey, Session>,
    /// Destroyed, and not stored again since.
    gone: BTreeSet<SessionKey>,
    /// What the hub has to answer.
    open: BTreeMap<ConnectionId, Open>,
    /// The callers that wait for a session to be destroyed.
    waiters: BTreeSet<WaiterId>,
    /// The members of each group.
    groups: BTreeMap<String, BTreeSet<ConnectionId>>,
    shutting_down: bool,
    stopped: bool,
}

/// What the store was asked and has not answered.
enum Task {
    /// With what it found when it was asked; it writes that back when it answers.
    LookUp(SessionKey, Option<Session>),
    Create(Box<Session>),
    Update(Box<Update>),
    Destroy(SessionKey),
    Expire,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Restore,
    Create,
    Close,
}

impl Control {
    pub(crate) fn new(config: Valid<HubConfig>) -> Self {
        Self {
            hub: Hub::new(&config),
            config,
            out: Actions::new(),
            told: Vec::new(),
            jobs: Vec::new(),
            stored: BTreeMap::new(),
            gone: BTreeSet::new(),
            open: BTreeMap::new(),
            waiters: BTreeSet::new(),
            groups: BTreeMap::new(),
            shutting_down: false,
            stopped: false,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub(crate) fn take_told(&mut self) -> Vec<(ConnectionId, Input)> {
        std::mem::take(&mut self.told)
    }

    /// A connection comes in and opens, unless it is refused with good reason.
    pub(crate) fn connect(&mut self, now: Instant) -> Option<ConnectionId> {
        let full = self.hub.admitted_count() >= self.config.max_connections;
        let admitted = self.hub.admit(now);
        assert_eq!(admitted.is_err(), full || self.shutting_down, "{admitted:?}");
        let id = admitted.ok()?;
        self.hub.opened(now, id, &mut self.out);
        self.carry_out();
        Some(id)
    }

    pub(crate) fn handle(&mut self, now: Instant, from: ConnectionId, command: Command) {
        let open = match &command {
            Command::Restore(_) => Some(Open::Restore),
            Command::Create(_) => Some(Open::Create),
            Command::Close(_) => Some(Open::Close),
            Command::Edit(_) | Command::Leave(_) => None,
        };
        let is_edit = matches!(command, Command::Edit(_));
        let before = if is_edit { None } else { self.open.remove(&from) };
        if let Some(open) = open {
            assert_eq!(before, None, "one thing at a time");
            self.open.insert(from, open);
        }
        self.hub.handle(now, from, command, &mut self.out);
        self.carry_out();
    }

    pub(crate) fn drained(&mut self, now: Instant, id: ConnectionId) {
        self.hub.drained(now, id, &mut self.out);
        self.carry_out();
    }

    pub(crate) fn leave(&mut self, now: Instant, connection: ConnectionId) {
        self.open.remove(&connection);
        self.hub.left(now, connection, &mut self.out);
        for members in self.groups.values_mut() {
            members.remove(&connection);
        }
        self.carry_out();
    }

    pub(crate) fn join(&mut self, id: ConnectionId, group: u8) {
        let name = "g".repeat(usize::from(group) * 8);
        let count = self.hub.groups_of(id).count();
        match self.hub.join(id, &name) {
            Ok(joined) => {
                assert_eq!(joined, self.groups.entry(name).or_default().insert(id));
            }
            Err(_) => {
                assert!(name.is_empty() || name.len() > 255 || count >= self.config.max_groups)
            }
        }
    }

    pub(crate) fn leave_group(&mut self, id: ConnectionId, group: u8) {
        let name = "g".repeat(usize::from(group) * 8);
        let left = self.hub.leave(id, &name);
        assert_eq!(left, self.groups.get_mut(&name).is_some_and(|members| members.remove(&id)));
    }

    pub(crate) fn close_session(&mut self, now: Instant, key: SessionKey, disconnect: bool) {
        let waiter = self.hub.close_session(now, key, disconnect, &mut self.out);
        assert!(self.waiters.insert(waiter), "it waits already");
        self.carry_out();
    }

    pub(crate) fn shut_down(&mut self, now: Instant, within: Duration) {
        self.shutting_down = true;
        self.hub.shut_down(now, within, &mut self.out);
        assert!(!self.hub.is_serving());
        self.carry_out();
    }

    /// The clock shows `now`; the latest it ever showed is `latest`.
    pub(crate) fn pass(&mut self, now: Instant, latest: Instant) {
        self.hub.handle_timeout(now, &mut self.out);
        let next = self.hub.next_timeout();
        assert!(next.is_none_or(|next| next > latest), "the next timeout does not lie ahead");
        self.carry_out();
    }

    pub(crate) fn store_answers(&mut self, now: Instant, which: u8, fails: bool) {
        if self.jobs.is_empty() {
            return;
        }
        let answer = if fails { Err(StoreFailed) } else { Ok(()) };
        let (id, task) = self.jobs.remove(usize::from(which) % self.jobs.len());
        let answer = match task {
            Task::LookUp(key, found) => {
                if let Some(session) = &found {
                    self.stored.insert(key, session.clone());
                }
                StoreAnswer::LookedUp(answer.map(|()| found.map(Box::new)))
            }
            Task::Create(session) => {
                if answer.is_ok() {
                    self.gone.remove(&session.key);
                    self.stored.insert(session.key.clone(), *session);
                }
                StoreAnswer::Created(answer)
            }
            Task::Update(update) => {
                let stored = self.stored.get_mut(&update.key).filter(|_| answer.is_ok());
                let updated = stored.map(|session| session.info = update.info).is_some();
                StoreAnswer::Updated(answer.map(|()| updated))
            }
            Task::Destroy(key) => {
                if answer.is_ok() {
                    self.stored.remove(&key);
                    self.gone.insert(key);
                }
                StoreAnswer::Destroyed(answer)
            }
            Task::Expire => StoreAnswer::Expired(answer),
        };
        self.hub.answered(now, id, answer, &mut self.out);
        self.carry_out();
        self.repeat(now, id);
    }

    /// Answers once more, to every question: nothing happens.
    fn repeat(&mut self, now: Instant, id: JobId) {
        for answer in [
            StoreAnswer::LookedUp(Ok(None)),
            StoreAnswer::Created(Ok(())),
            StoreAnswer::Updated(Ok(true)),
            StoreAnswer::Destroyed(Ok(())),
            StoreAnswer::Expired(Ok(())),
        ] {
            self.hub.answered(now, id, answer, &mut self.out);
            assert!(self.out.is_empty());
        }
    }

    fn carry_out(&mut self) {
        while let Some(action) = self.out.pop() {
            match action {
                HubAction::Store(Job { id, work }) => {
                    let task = match work {
                        Work::LookUp(key) => {
                            let found = self.stored.get(&key).cloned();
                            Task::LookUp(key, found)
                        }
                        Work::Create(session) => Task::Create(session),
                        Work::Update(update) => Task::Update(update),
                        Work::Destroy(key) => Task::Destroy(key),
                        Work::Expire { .. } => Task::Expire,
                    };
                    assert!(self.jobs.iter().all(|(other, _)| *other != id));
                    self.jobs.push((id, task));
                }
                HubAction::StoreTimedOut { job } => {
                    let index = self.jobs.iter().position(|(id, _)| *id == job);
                    self.jobs.remove(index.expect("it was not answered"));
                }
                HubAction::Deliver { to, outcome } => {
                    self.answered(to, &outcome);
                    self.told.push((to, Input::Session(outcome)));
                }
                HubAction::ShutDown { to, deadline, idle } => {
                    self.told.push((to, Input::ShutDown(deadline, idle)));
                }
                HubAction::Recover { .. } => panic!("nothing is kept"),
                HubAction::Close { to } => self.told.push((to, Input::Close)),
                HubAction::Abort { to } => self.told.push((to, Input::Abort)),
                HubAction::Done { waiter, .. } => {
                    assert!(self.waiters.remove(&waiter), "it does not wait");
                }
                HubAction::MoveAway { .. } | HubAction::Cluster(_) => {
                    unreachable!("the hub is of no cluster")
                }
                HubAction::ExpirySkipped => assert!(self.config.expiry.is_some()),
                HubAction::Stopped => {
                    assert!(self.shutting_down && !self.stopped);
                    self.stopped = true;
                }
            }
        }
    }

    /// Each question of a connection that has not left is answered once.
    fn answered(&mut self, connection: ConnectionId, outcome: &Outcome) {
        let open = self.open.get(&connection).copied();
        let answers = match &outcome.change {
            Change::Restored(session) => {
                assert_eq!(session.key, outcome.key);
                assert!(!self.gone.contains(&outcome.key), "restored after its end");
                Some(Open::Restore)
            }
            Change::NotFound | Change::LimitReached | Change::LookupFailed => Some(Open::Restore),
            Change::Created | Change::CreateFailed => Some(Open::Create),
            Change::Closed | Change::Detached | Change::CloseFailed => Some(Open::Close),
            Change::ClosedByKey { .. } | Change::ClosedByOther { .. } => {
                open.filter(|open| *open == Open::Close)
            }
            // A key is known once it is told, and destroyed before.
            Change::Rotated { session, .. } => {
                assert!(self.gone.contains(&outcome.key), "two live keys");
                assert!(self.stored.contains_key(&session.key), "a dead key is told");
                None
            }
            Change::Stored | Change::Updated { .. } | Change::EditFailed(_) => None,
        };
        if answers.is_some() {
            assert_eq!(open, answers, "{:?}", outcome.change);
            self.open.remove(&connection);
        }
    }

    pub(crate) fn check(&self, key: &SessionKey) {
        let count = self.hub.session_connections(key).count();
        let limit = self.config.sessions.max_connections;
        assert!(limit.is_none_or(|limit| count <= limit.get()), "the limit is exceeded");
        assert!(!self.jobs.is_empty() || self.open.is_empty(), "something was never answered");
        assert!(!self.jobs.is_empty() || self.waiters.is_empty(), "somebody waits for nothing");
        assert!(self.hub.admitted_count() <= self.config.max_connections);
        assert_eq!(self.stopped, self.hub.is_stopped());
        for (name, members) in &self.groups {
            assert!(self.hub.members(name).eq(members.iter().copied()), "{name}");
        }
        let next = self.hub.next_timeout();
        assert!(self.stopped || !self.shutting_down || next.is_some(), "no stage ends");
    }

    /// No connection is left.
    pub(crate) fn check_end(&self) {
        assert!(self.hub.is_idle() && self.waiters.is_empty());
        assert_eq!((self.hub.active_sessions(), self.hub.connection_count()), (0, 0));
        assert_eq!(self.stopped, self.shutting_down);
    }
}
