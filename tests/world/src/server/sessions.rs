//! Sessions: what is between the hub, the store and the connections.

use std::time::Duration;

use wwr::SessionKey;
use wwr::server::{HubAction, Job, JobId, StoreAnswer, WaiterId, Work};
use wwr::session::{Change, Command, ConnectionId, Edit};

use super::Server;
use super::backlog::BUSY;
use super::control::{Asked, JobKind, News, Waiting};
use crate::application::Task;
use crate::coverage::{EntryState, Fact, Slot};
use crate::event::Event;
use crate::invariants::Invariant;
use crate::network::{SocketId, Way};
use crate::stage::Stage;
use crate::store::{self, Asker, short};

impl Server {
    /// A connection asks something about a session.
    pub(super) fn ask_hub(&mut self, socket: SocketId, command: Command, stage: &mut Stage) {
        let Some(&id) = self.control.ids.get(&socket) else { return };
        let key = match &command {
            Command::Restore(key) | Command::Close(key) | Command::Leave(key) => key.clone(),
            Command::Create(session) => session.key.clone(),
            Command::Edit(edit) => edit.key.clone(),
        };
        // The connection may not have heard of its new key yet.
        let mut current = &key;
        while let Some(new) = self.control.rotated.get(current) {
            current = new;
        }
        let is_last = self.control.hub.session_connections(current).eq([id]);
        let current = current.clone();
        // Whether the old key lives on is open until the rotation has ended.
        let ends = matches!(command, Command::Close(_)) && is_last;
        let is_rotation = match &command {
            Command::Edit(edit) => matches!(edit.edit, Edit::NewKey(_)),
            _ => false,
        };
        if ends || is_rotation {
            stage.ledger.session(&current).unwanted = true;
        }
        if let Command::Restore(_) = command {
            stage.ledger.session(&key).known_by.insert(socket);
        }
        let code = key.as_str().bytes().fold(0, |word, byte| word << 1 ^ u64::from(byte));
        let name = match &command {
            Command::Restore(_) => "restores",
            Command::Create(_) => "creates",
            Command::Close(_) => "closes",
            Command::Edit(_) if is_rotation => "rotates",
            Command::Edit(_) => "updates",
            Command::Leave(_) => "leaves",
        };
        stage.note(self.actor(socket), code, || format!("{name} {}", short(&key)));
        let now = self.clock.read(stage.now);
        let closes = matches!(command, Command::Close(_));
        self.control.hub.handle(now, id, command, &mut self.control.out);
        if closes && let Some(served) = self.connections.get_mut(&socket) {
            served.others_hold = self.control.hub.session_connections(&current).next().is_some();
        }
        self.touch(&key, stage);
    }

    /// Closes a session for all its connections. The handler of a request is answered when that is
    /// done. Returns how many connections are told.
    pub(super) fn close_everywhere(
        &mut self,
        key: &SessionKey,
        disconnect: bool,
        task: Option<(SocketId, Task)>,
        stage: &mut Stage,
    ) -> usize {
        stage.ledger.session(key).unwanted = true;
        let now = self.clock.read(stage.now);
        let control = &mut self.control;
        let before = control.out.len();
        let waiter = control.hub.close_session(now, key.clone(), disconnect, &mut control.out);
        let told = control.out.iter().skip(before).filter(|action| is_close_of(action, key));
        let told = told.count();
        let mut waiting =
            Waiting { key: key.clone(), told, task, is_gone: None, new_keys: Vec::new() };
        if told > 0 {
            // It was its key, and it may just be getting another one.
            let first = stage.ledger.first_key(key);
            let new_keys = control.new_keys.iter().filter(|new| *new != key).cloned();
            waiting.new_keys =
                new_keys.filter(|new| stage.ledger.first_key(new) == first).collect();
        }
        let again = control.waiters.insert(waiter, waiting).is_some();
        stage.check(!again, Invariant::WaitersAreTold, || format!("{waiter:?} names two callers"));
        stage.note(self.actor(0), u64::from(disconnect), || {
            format!("{} is closed everywhere, {told} told", short(key))
        });
        self.touch(key, stage);
        told
    }

    /// A caller is told that a session is closed.
    pub(super) fn done(
        &mut self,
        waiter: WaiterId,
        told: usize,
        destroyed: bool,
        stage: &mut Stage,
    ) {
        let waiting = self.control.waiters.remove(&waiter);
        let fits = waiting
            .as_ref()
            .is_some_and(|waiting| waiting.told == told && waiting.is_gone == Some(destroyed));
        let id = self.id;
        stage.check(fits, Invariant::WaitersAreTold, || {
            format!("server {id}: {waiter:?}, {told} told, destroyed: {destroyed}; {waiting:?}")
        });
        for key in waiting.iter().filter(|_| destroyed).flat_map(|waiting| &waiting.new_keys) {
            let is_stray = stage.ledger.session(key).is_stray;
            let lives = self.known_holders(key).next().is_some() || stage.store.keeps(key);
            stage.check(is_stray || !lives, Invariant::WaitersAreTold, || {
                format!("server {id}: {waiter:?}, {} is closed, and lives on", short(key))
            });
        }
        if let Some((socket, task)) = waiting.and_then(|waiting| waiting.task) {
            self.kicked(socket, task, told, stage);
        }
    }

    /// The hub has work for the store.
    pub(super) fn ask_store(&mut self, mut job: Job, stage: &mut Stage) {
        let (id, key) = (job.id, store::key_of(&job.work).cloned());
        let kind = match &job.work {
            Work::LookUp(_) => JobKind::LookUp,
            Work::Create(_) => JobKind::Create,
            Work::Update(_) => JobKind::Update,
            Work::Destroy(_) => JobKind::Destroy,
            Work::Expire { .. } => JobKind::Expire,
        };
        if kind == JobKind::Create
            && let Some(key) = &key
            && stage.ledger.session(key).first.is_some()
        {
            self.control.new_keys.insert(key.clone());
        }
        if kind == JobKind::Destroy
            && let Some(key) = &key
        {
            let known = stage.ledger.session(key).clone();
            let wanted = known.unwanted || !known.announced;
            stage.check(wanted, Invariant::AnnouncedIsDurable, || {
                format!("{} is destroyed, though nobody closed it", short(key))
            });
            // It may be told of its new key, and is closed under that.
            stage.ledger.session(key).unwanted = true;
        }
        if let Work::Expire { unused_for, at } = &mut job.work {
            // The age counts to the start of the round.
            *unused_for += self.clock.read(stage.now).saturating_since(*at);
            let mut expiring = stage.store.unused(stage.now, *unused_for);
            expiring.retain(|key| !stage.ledger.session(key).unwanted);
            self.check_expired(self.epoch, &expiring, stage);
        }
        let within = self.settings.hub.store_timeout;
        let every = self.settings.hub.expiry.map_or(Duration::ZERO, |expiry| expiry.every);
        let longest = if kind == JobKind::Expire { within.max(every) } else { within };
        let patient_until = self.clock.read(stage.now) + within;
        let due = self.clock.latest() + longest;
        let asked = Asked { key: key.clone(), kind, patient_until, due };
        let is_new = self.control.last_job < Some(id);
        let server = self.id;
        stage.check(is_new, Invariant::JobsEndOnce, || format!("server {server}: {id:?} again"));
        self.control.last_job = Some(id);
        self.control.jobs.insert(id, asked);
        store::begin(stage, self.id, self.epoch, job);
        key.iter().for_each(|key| self.touch(key, stage));
    }

    /// The store has answered, maybe after the hub has given up.
    pub(crate) fn answered(&mut self, asker: Asker, answer: StoreAnswer, stage: &mut Stage) {
        if asker.epoch != self.epoch {
            return;
        }
        let now = self.clock.read(stage.now);
        let asked = self.control.jobs.remove(&asker.job);
        let is_destroyed = matches!(answer, StoreAnswer::Destroyed(Ok(())));
        let has_failed = matches!(
            answer,
            StoreAnswer::LookedUp(Err(_))
                | StoreAnswer::Created(Err(_))
                | StoreAnswer::Updated(Err(_))
                | StoreAnswer::Destroyed(Err(_))
                | StoreAnswer::Expired(Err(_))
        );
        self.control.hub.answered(now, asker.job, answer.clone(), &mut self.control.out);
        let id = self.id;
        match &asked {
            None => {
                let silent = self.control.out.is_empty();
                stage.check(silent, Invariant::JobsEndOnce, || {
                    format!("server {id}: {:?} timed out and is answered", asker.job)
                });
                stage.count(Fact::Hub("answer to a job that timed out"));
            }
            Some(asked) => {
                self.concluded(asked, !has_failed, stage);
                if let Some(key) = &asked.key {
                    let holders = self.control.hub.session_connections(key).count();
                    let holds = !is_destroyed || holders == 0;
                    stage.check(holds, Invariant::ClosedStaysClosed, || {
                        format!("{} is destroyed and held by {holders}", short(key))
                    });
                    self.touch(key, stage);
                }
            }
        }
        let length = self.control.out.len();
        self.control.hub.answered(now, asker.job, answer, &mut self.control.out);
        let silent = self.control.out.len() == length;
        stage.check(silent, Invariant::JobsEndOnce, || {
            format!("server {id}: {:?} is answered twice", asker.job)
        });
        self.carry_out(stage);
    }

    /// A job has ended; callers that wait for its session may learn from that.
    pub(super) fn concluded(&mut self, asked: &Asked, is_done: bool, stage: &mut Stage) {
        if let (JobKind::Update, Some(key)) = (asked.kind, &asked.key) {
            stage.ledger.session(key).is_open = !is_done;
        }
        if let (JobKind::Create | JobKind::Destroy, Some(key)) = (asked.kind, &asked.key) {
            stage.ledger.session(key).is_stray |= !is_done;
        }
        let is_gone = match asked.kind {
            JobKind::Destroy => is_done,
            // The store may have done it nevertheless.
            JobKind::Create if !is_done => false,
            JobKind::Create | JobKind::LookUp | JobKind::Update | JobKind::Expire => return,
        };
        let waiters = self.control.waiters.values_mut();
        let Some(key) = &asked.key else { return };
        let concerns =
            |waiting: &&mut Waiting| waiting.key == *key || waiting.new_keys.contains(key);
        waiters.filter(concerns).for_each(|waiting| waiting.is_gone = Some(is_gone));
        if asked.kind == JobKind::Destroy {
            self.control.new_keys.remove(key);
        }
    }

    /// A job times out once, and not before its time.
    pub(super) fn check_timed_out(&self, job: JobId, asked: Option<&Asked>, stage: &mut Stage) {
        let (id, latest) = (self.id, self.clock.latest());
        let fits = asked.is_some_and(|asked| asked.patient_until <= latest);
        stage.check(fits, Invariant::JobsEndOnce, || {
            format!("server {id}: {job:?} times out at {latest:?}: {asked:?}")
        });
    }

    /// No job is forgotten, and no caller waits for an idle store.
    pub(super) fn check_jobs(&self, now: wwr::Instant, stage: &mut Stage) {
        let late = self.control.jobs.iter().find(|(_, asked)| asked.due < now);
        let id = self.id;
        stage.check(late.is_none(), Invariant::JobsEndOnce, || {
            format!("server {id}: neither answered nor timed out by {now:?}: {late:?}")
        });
    }

    /// The hub counts the jobs that are with the store, and no others.
    pub(super) fn check_pending(&self, stage: &mut Stage) {
        let (pending, asked) = (self.control.hub.pending_jobs(), self.control.jobs.len());
        let id = self.id;
        stage.check(pending == asked, Invariant::CountersAddUp, || {
            format!("server {id}: {pending} jobs pending, and {asked} asked for")
        });
        let store = &self.control.hub.counters().store;
        let ended = [&store.look_up, &store.create, &store.update, &store.destroy, &store.expire];
        let ended: u64 = ended.into_iter().map(wwr::server::JobCounters::ended).sum();
        let begun = self.control.begun;
        stage.check(ended + pending as u64 == begun, Invariant::CountersAddUp, || {
            format!("server {id}: {store:?}, {pending} pending, of {begun}")
        });
    }

    pub(super) fn check_waiters(&self, stage: &mut Stage) {
        let holds = !self.control.jobs.is_empty() || self.control.waiters.is_empty();
        let id = self.id;
        stage.check(holds, Invariant::WaitersAreTold, || {
            format!("server {id}: wait for nothing: {:?}", self.control.waiters)
        });
    }

    /// Sessions have expired, or would now: no connection holds one of them.
    pub(crate) fn check_expired(&self, epoch: u64, keys: &[SessionKey], stage: &mut Stage) {
        if epoch != self.epoch || stage.time_is_torn {
            return;
        }
        for key in keys {
            let held = self.holders(key, |slot| slot == Slot::Held).next();
            let id = self.id;
            stage.count(Fact::Hub("session expires"));
            stage.check(held.is_none(), Invariant::InUseNeverExpires, || {
                format!("server {id}: {} expires, and {held:?} holds it", short(key))
            });
        }
    }

    /// Takes news to a connection, at once or later.
    pub(super) fn deliver(&mut self, to: ConnectionId, news: News, stage: &mut Stage) {
        let Some(socket) = self.control.members.get(&to).map(|member| member.socket) else {
            return;
        };
        let delay = stage.dice.up_to(self.settings.inbox_delay);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        if delay.is_zero() && served.inbox.is_empty() {
            return self.tell(socket, news, stage);
        }
        served.inbox.push_back(news);
        served.inbox_last = served.inbox_last.max(stage.now + delay);
        stage.queue.schedule(served.inbox_last, Event::Inbox { socket });
    }

    pub(super) fn tell(&mut self, socket: SocketId, news: News, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let actor = super::Actor::Server(self.id, socket);
        match news {
            News::Session(outcome) => {
                let writable = stage.network.outstanding(socket, Way::Down) < BUSY;
                served.machine.handle_writable(writable, &mut self.out);
                self.touched.insert(outcome.key.clone());
                stage.note(actor, 30, || {
                    format!("{}: {}", short(&outcome.key), name_of(&outcome.change))
                });
                served.hears(&outcome.change);
                served.machine.handle_session(now, outcome, &mut self.out);
            }
            News::ShutDown { deadline, idle } => {
                stage.note(actor, 31, || format!("is to shut down by {deadline:?}, {idle:?}"));
                served.is_shut_down(deadline);
                served.machine.shut_down(now, deadline, idle, &mut self.out);
            }
            News::Close => {
                stage.note(actor, 32, || "is to close, as all are".into());
                served.machine.close(now, &mut self.out);
            }
        }
        self.collect(socket, stage);
    }

    /// Something was done to a session.
    pub(super) fn touch(&mut self, key: &SessionKey, stage: &mut Stage) {
        self.touched.insert(key.clone());
        let jobs = self.control.jobs.values();
        let of_key: Vec<_> = jobs.filter(|asked| asked.key.as_ref() == Some(key)).collect();
        let asked = |kind| of_key.iter().any(|asked| asked.kind == kind);
        let state = EntryState {
            held: self.known_holders(key).next().is_some(),
            storing: asked(JobKind::Create),
            looking_up: asked(JobKind::LookUp),
            destroying: asked(JobKind::Destroy),
            closing: self.control.waiters.values().any(|waiting| waiting.key == *key),
        };
        let before = self.entries.insert(key.clone(), state).unwrap_or_default();
        if before != state {
            stage.count(Fact::Entry(before, state));
        }
    }

    /// The connections that the hub knows to hold a session.
    pub(super) fn known_holders(
        &self,
        key: &SessionKey,
    ) -> impl Iterator<Item = ConnectionId> + '_ {
        self.control.hub.session_connections(key)
    }
}

/// Whether a hub tells a connection that this session is closed for all.
fn is_close_of(action: &HubAction, key: &SessionKey) -> bool {
    match action {
        HubAction::Deliver { outcome, .. } => {
            outcome.key == *key && matches!(outcome.change, Change::ClosedByKey { .. })
        }
        _ => false,
    }
}

pub(super) const fn name_of(change: &Change) -> &'static str {
    match change {
        Change::Restored(_) => "restored",
        Change::NotFound => "not found",
        Change::LimitReached => "limit reached",
        Change::LookupFailed => "look-up failed",
        Change::Created => "created",
        Change::Stored => "stored",
        Change::CreateFailed => "creation failed",
        Change::Closed => "closed",
        Change::Detached => "detached",
        Change::CloseFailed => "closing failed",
        Change::Updated { .. } => "updated",
        Change::Rotated { .. } => "rotated",
        Change::EditFailed(_) => "not changed",
        Change::ClosedByOther { .. } => "closed by other",
        Change::ClosedByKey { disconnect: false } => "closed by key",
        Change::ClosedByKey { disconnect: true } => "closed by key, disconnect",
    }
}
