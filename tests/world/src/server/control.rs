//! The hub of a server, and what its host knows without it: the connections, the open jobs, the
//! waiters, and the members of groups.

use std::collections::{BTreeMap, BTreeSet};

use wwr::server::{Hub, HubAction, HubConfig, JobId, Refusal, WaiterId};
use wwr::session::{Change, ConnectionId};
use wwr::{Actions, Instant, SessionKey};

use super::{Server, State};
use crate::application::{Deed, Task};
use crate::coverage::{Fact, HubStage};
use crate::event::Event;
use crate::faults::Fault;
use crate::invariants::Invariant;
use crate::network::SocketId;
use crate::stage::Stage;
use crate::store;

/// A connection that was admitted and has not left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) socket: SocketId,
    pub(super) is_open: bool,
    /// The hub was told that nothing runs on it.
    pub(super) is_drained: bool,
    /// It was told that the server shuts down.
    pub(super) is_told: bool,
    /// The hub wants it closed, or dropped.
    pub(super) is_told_to_close: bool,
    pub(super) is_aborted: bool,
    /// It has ended, and has not left.
    pub(super) has_ended: bool,
}

/// What the store was asked and has not answered.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) key: Option<SessionKey>,
    pub(super) kind: JobKind,
    /// It times out between these two times.
    pub(super) patient_until: Instant,
    pub(super) due: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobKind {
    LookUp,
    Create,
    Update,
    Destroy,
    Expire,
}

/// A caller that waits until a session is destroyed.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) key: SessionKey,
    /// How many connections were told.
    pub(super) told: usize,
    /// The handler that waits.
    pub(super) task: Option<(SocketId, Task)>,
    /// Whether the session is gone, by the latest answer of the store that tells.
    pub(super) is_gone: Option<bool>,
    /// The keys that the session was just getting, which have to be gone as well.
    pub(super) new_keys: Vec<SessionKey>,
}

/// A shutdown, by the host's account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shutdown {
    /// The deadline, if the clock has jumped back: the earliest that it may be, and the latest.
    pub(super) not_before: Instant,
    pub(super) deadline: Instant,
    /// By when the server has to have stopped.
    pub(super) stops_by: Instant,
    pub(super) stage: HubStage,
}

pub(super) struct Control {
    pub(super) hub: Hub,
    pub(super) out: Actions<HubAction>,
    pub(super) members: BTreeMap<ConnectionId, Member>,
    pub(super) ids: BTreeMap<SocketId, ConnectionId>,
    last: ConnectionId,
    pub(super) jobs: BTreeMap<JobId, Asked>,
    /// How many jobs there were.
    pub(super) begun: u64,
    pub(super) last_job: Option<JobId>,
    pub(super) waiters: BTreeMap<WaiterId, Waiting>,
    pub(super) groups: BTreeMap<&'static str, BTreeSet<ConnectionId>>,
    /// The new keys of sessions by their old ones.
    pub(super) rotated: BTreeMap<SessionKey, SessionKey>,
    /// The keys under which the store is keeping sessions that have another one still.
    pub(super) new_keys: BTreeSet<SessionKey>,
    pub(super) shutdown: Option<Shutdown>,
}

impl Control {
    pub(super) fn new(config: HubConfig) -> Self {
        Self {
            hub: Hub::new(&config.validate().expect("settings that are valid")),
            out: Actions::new(),
            members: BTreeMap::new(),
            ids: BTreeMap::new(),
            last: ConnectionId(0),
            jobs: BTreeMap::new(),
            begun: 0,
            last_job: None,
            waiters: BTreeMap::new(),
            groups: BTreeMap::new(),
            rotated: BTreeMap::new(),
            new_keys: BTreeSet::new(),
            shutdown: None,
        }
    }
}

/// How connections come and go.
impl Server {
    /// The hub decides whether a connection comes in; it is right.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        socket: SocketId,
        stage: &mut Stage,
    ) -> Result<(), Refusal> {
        let (count, max) = (self.control.members.len(), self.settings.hub.max_connections);
        let asked = self.control.hub.check_admission();
        let admitted = self.control.hub.admit(now);
        let expected = match self.state {
            State::Up if count < max => Ok(()),
            State::Up => Err(Refusal::Full { max }),
            State::Draining | State::Foreign | State::Down => Err(Refusal::ShuttingDown),
        };
        let is_new = admitted.is_ok_and(|id| id > self.control.last) || admitted.is_err();
        let holds = asked == expected && admitted.map(drop) == expected && is_new;
        let id = self.id;
        stage.check(holds, Invariant::AdmissionLimit, || {
            format!("server {id}: {admitted:?} and {asked:?} with {count} of {max} connections")
        });
        if let Err(Refusal::Full { .. }) = admitted {
            stage.count(Fact::Fault(Fault::Full));
        }
        let id = admitted?;
        self.control.last = id;
        self.control.ids.insert(socket, id);
        let member = Member {
            socket,
            is_open: false,
            is_drained: false,
            is_told: false,
            is_told_to_close: false,
            is_aborted: false,
            has_ended: false,
        };
        self.control.members.insert(id, member);
        Ok(())
    }

    /// Tells the hub that a connection is open.
    pub(super) fn tell_opened(&mut self, now: Instant, socket: SocketId) {
        let Some(id) = self.control.ids.get(&socket) else { return };
        if let Some(member) = self.control.members.get_mut(id) {
            member.is_open = true;
            self.control.hub.opened(now, *id, &mut self.control.out);
        }
    }

    pub(super) fn is_handshaking(&self, socket: SocketId) -> bool {
        let member = self.control.ids.get(&socket).and_then(|id| self.control.members.get(id));
        member.is_some_and(|member| !member.is_open)
    }

    /// A connection is over; its host is done with it soon.
    pub(super) fn departs(&mut self, socket: SocketId, stage: &mut Stage) {
        let Some(&id) = self.control.ids.get(&socket) else { return };
        let delay = stage.aside.up_to(self.settings.linger);
        if delay.is_zero() {
            return self.left(id, stage);
        }
        self.ended(id, stage);
        stage.after(delay, Event::Left { server: self.id, epoch: self.epoch, id });
    }

    /// A connection has ended, and its host is not done with it.
    fn ended(&mut self, id: ConnectionId, stage: &mut Stage) {
        let Some(member) = self.control.members.get_mut(&id) else { return };
        member.has_ended = true;
        for members in self.control.groups.values_mut() {
            members.remove(&id);
        }
        self.control.hub.ended(id);
        self.check_groups(stage);
    }

    /// Nothing is left of a connection.
    pub(super) fn left(&mut self, id: ConnectionId, stage: &mut Stage) {
        let Some(member) = self.control.members.remove(&id) else { return };
        self.control.ids.remove(&member.socket);
        for members in self.control.groups.values_mut() {
            members.remove(&id);
        }
        let now = self.clock.read(stage.now);
        self.control.hub.left(now, id, &mut self.control.out);
        let length = self.control.out.len();
        self.control.hub.left(now, id, &mut self.control.out);
        let silent = self.control.out.len() == length;
        stage.check(silent, Invariant::CallsAreHonoured, || format!("{id:?} leaves twice"));
        self.check_groups(stage);
    }

    /// The same, some time after its end.
    pub(crate) fn left_late(&mut self, epoch: u64, id: ConnectionId, stage: &mut Stage) {
        if epoch == self.epoch {
            self.left(id, stage);
            self.carry_out(stage);
        }
    }

    /// The hub wants a connection dropped, whatever it is doing. Not every host is able to do that
    /// at once.
    pub(super) fn abort(&mut self, id: ConnectionId, stage: &mut Stage) {
        let latest = self.clock.latest();
        let due = self
            .control
            .shutdown
            .is_some_and(|shutdown| shutdown.not_before + self.settings.hub.abort_after <= latest);
        self.expect_told(id, due, "abort", stage);
        self.enters(HubStage::Aborting, stage);
        let Some(member) = self.control.members.get_mut(&id) else { return };
        (member.is_told, member.is_told_to_close, member.is_aborted) = (true, true, true);
        let socket = member.socket;
        if let Some(served) = self.connections.remove(&socket) {
            self.touched.extend(served.machine.session().map(|session| session.key.clone()));
            self.actions.retain(|(of, _)| *of != socket);
            stage.cut(socket, std::time::Duration::ZERO);
        }
        if stage.aside.chance(20) {
            let delay = stage.aside.up_to(2 * self.settings.hub.abort_after);
            stage.after(delay, Event::Left { server: self.id, epoch: self.epoch, id });
        } else {
            self.left(id, stage);
        }
    }

    /// What the hub wants of a connection concerns one that is there, and the time for it has come.
    pub(super) fn expect_told(
        &self,
        to: ConnectionId,
        is_due: bool,
        what: &str,
        stage: &mut Stage,
    ) {
        let is_there = self.control.members.get(&to).is_some_and(|member| member.is_open);
        let (id, shutdown) = (self.id, self.control.shutdown);
        stage.check(is_there && is_due, Invariant::ShutdownInStages, || {
            format!("server {id}: {what} {to:?}, open: {is_there}; {shutdown:?}")
        });
    }

    /// Carries out what the hub wants.
    pub(super) fn take_hub_actions(&mut self, stage: &mut Stage) {
        while let Some(action) = self.control.out.pop() {
            stage.count(Fact::Hub(name_of(&action)));
            match action {
                HubAction::Deliver { to, outcome } => {
                    self.check_news(to, &outcome, stage);
                    if let Change::ClosedByOther { .. } = outcome.change {
                        self.note_others(to, &outcome.key);
                    }
                    if let Change::Rotated { session, .. } = &outcome.change {
                        let new = session.key.clone();
                        self.control.new_keys.remove(&new);
                        self.touched.insert(new.clone());
                        // Another rotation that was asked for under the old key comes next.
                        let tasks = self.connections.values().flat_map(|one| &one.editing);
                        let rotations = tasks
                            .filter(|(_, task)| matches!(task.deed, Deed::Rotate | Deed::TakeOver));
                        if rotations.count() > 1 {
                            stage.ledger.session(&new).unwanted = true;
                        }
                        self.control.rotated.insert(outcome.key.clone(), new);
                    }
                    self.deliver(to, News::Session(outcome), stage);
                }
                HubAction::ShutDown { to, deadline, idle } => {
                    self.is_told_to_shut_down(to, deadline, idle, stage);
                    self.deliver(to, News::ShutDown { deadline, idle }, stage);
                }
                HubAction::Close { to } => {
                    self.is_told_to_close(to, stage);
                    self.deliver(to, News::Close, stage);
                }
                HubAction::Abort { to } => self.abort(to, stage),
                // This hub is of no cluster: `nodes` has those that are.
                HubAction::MoveAway { .. } | HubAction::Cluster(_) => {}
                HubAction::Store(job) => {
                    self.control.begun += 1;
                    self.ask_store(job, stage);
                }
                HubAction::StoreTimedOut { job } => {
                    let asked = self.control.jobs.remove(&job);
                    self.check_timed_out(job, asked.as_ref(), stage);
                    if let Some(asked) = asked {
                        store::give_up(stage, self.id, self.epoch, job);
                        self.concluded(&asked, false, stage);
                        asked.key.iter().for_each(|key| self.touch(key, stage));
                    }
                }
                HubAction::ExpirySkipped => {
                    let id = self.id;
                    let expires = self.settings.hub.expiry.is_some();
                    stage.check(expires, Invariant::InUseNeverExpires, || {
                        format!("server {id} skips a round, but has none")
                    });
                }
                HubAction::Done { waiter, told, result } => {
                    self.done(waiter, told, result.is_ok(), stage);
                }
                HubAction::Stopped => self.stopped(stage),
            }
        }
    }
}

/// What the hub wants of the task of a connection.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Session(wwr::session::Outcome),
    ShutDown { deadline: Instant, idle: wwr::server::IdleConnections },
    Close,
}

const fn name_of(action: &HubAction) -> &'static str {
    match action {
        HubAction::Deliver { .. } => "hub: deliver",
        HubAction::ShutDown { idle: wwr::server::IdleConnections::Stay, .. } => {
            "hub: shut down, idle ones stay"
        }
        HubAction::ShutDown { .. } => "hub: shut down, idle ones close",
        HubAction::Close { .. } => "hub: close",
        HubAction::Abort { .. } => "hub: abort",
        HubAction::MoveAway { .. } => "hub: move away",
        HubAction::Cluster(_) => "hub: cluster",
        HubAction::Store(_) => "hub: job",
        HubAction::StoreTimedOut { .. } => "hub: job timed out",
        HubAction::ExpirySkipped => "hub: expiry skipped",
        HubAction::Done { result: Ok(()), .. } => "hub: session destroyed for a caller",
        HubAction::Done { .. } => "hub: session not destroyed for a caller",
        HubAction::Stopped => "hub: stopped",
    }
}
