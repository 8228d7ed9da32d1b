//! The stages of a shutdown.

use std::time::Duration;

use wwr::Instant;
use wwr::server::{CloseReason, HubAction, IdleConnections};
use wwr::session::ConnectionId;

use super::control::{Member, Shutdown};
use super::{Server, State};
use crate::coverage::{Fact, HubStage};
use crate::event::{Event, millis};
use crate::invariants::Invariant;
use crate::network::SocketId;
use crate::stage::Stage;

impl Shutdown {
    /// Whether all connections are to close, or more.
    fn is_closing(&self) -> bool {
        self.stage >= HubStage::Closing
    }
}

impl Server {
    /// Shuts down gracefully, or sooner than it was to.
    pub(crate) fn shut_down(&mut self, within: Duration, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        self.state = State::Draining;
        self.control.hub.shut_down(now, within, &mut self.control.out);
        let deadline = self.clock.latest() + within;
        let not_before = now + within;
        let rest = self.timers_rest_until.saturating_since(stage.now);
        let stops_by = deadline + 2 * self.settings.hub.abort_after + rest;
        let tells = |action: &HubAction| matches!(action, HubAction::ShutDown { .. });
        let is_told = self.control.out.iter().any(tells);
        let id = self.id;
        match &mut self.control.shutdown {
            None => {
                let shutdown =
                    Shutdown { not_before, deadline, stops_by, stage: HubStage::Serving };
                self.control.shutdown = Some(shutdown);
                self.enters(HubStage::Draining, stage);
            }
            // A second call.
            Some(shutdown) => {
                let holds = !is_told || !shutdown.is_closing() && not_before < shutdown.deadline;
                stage.check(holds, Invariant::ShutdownInStages, || {
                    format!("server {id}: a second call, by {deadline:?}, changes {shutdown:?}")
                });
                if is_told {
                    shutdown.not_before = not_before.min(shutdown.not_before);
                    shutdown.deadline = deadline.min(shutdown.deadline);
                    shutdown.stops_by = stops_by.min(shutdown.stops_by);
                }
            }
        }
        self.carry_out(stage);
    }

    pub(crate) const fn has_stopped(&self) -> bool {
        matches!(self.control.shutdown, Some(Shutdown { stage: HubStage::Stopped, .. }))
    }

    /// The hub goes on to a stage, or is there already.
    pub(super) fn enters(&mut self, next: HubStage, stage: &mut Stage) {
        if let Some(shutdown) = &mut self.control.shutdown
            && shutdown.stage < next
        {
            stage.count(Fact::Stage(shutdown.stage, next));
            shutdown.stage = next;
        }
    }

    /// The host was late, or its clock has jumped: that is not the hub's fault.
    pub(crate) fn excuse(&mut self, by: Duration) {
        if let Some(shutdown) = &mut self.control.shutdown {
            shutdown.stops_by = shutdown.stops_by + by;
        }
    }

    /// The connections that are open, as the hub was told.
    fn open_members(&self) -> impl Iterator<Item = &Member> {
        self.control.members.values().filter(|member| member.is_open)
    }

    fn nothing_runs(&self) -> bool {
        self.open_members().all(|member| member.is_drained)
    }

    pub(super) fn is_told_to_shut_down(
        &mut self,
        to: ConnectionId,
        deadline: Instant,
        idle: IdleConnections,
        stage: &mut Stage,
    ) {
        let configured = self.settings.hub.idle_connections;
        let fits = self.control.shutdown.is_some_and(|shutdown| {
            deadline <= shutdown.deadline
                && (idle == configured || shutdown.is_closing() && idle == IdleConnections::Close)
        });
        self.expect_told(to, fits, "shut down", stage);
        if let Some(member) = self.control.members.get_mut(&to) {
            member.is_told = true;
            member.is_told_to_close |= idle == IdleConnections::Close;
        }
    }

    /// The hub closes all connections: nothing runs any more, or the time is over.
    pub(super) fn is_told_to_close(&mut self, to: ConnectionId, stage: &mut Stage) {
        let (latest, nothing_runs) = (self.clock.latest(), self.nothing_runs());
        let is_due = self.control.shutdown.is_some_and(|shutdown| {
            shutdown.is_closing() || nothing_runs || shutdown.not_before <= latest
        });
        self.expect_told(to, true, "close", stage);
        let id = self.id;
        stage.check(is_due, Invariant::IdleStay, || {
            format!("server {id}: {to:?} is closed, although handlers of the server run")
        });
        self.enters(HubStage::Closing, stage);
        if let Some(member) = self.control.members.get_mut(&to) {
            member.is_told_to_close = true;
        }
    }

    /// A machine says that nothing runs on it.
    pub(super) fn drained(&mut self, socket: SocketId, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        let Some(&id) = self.control.ids.get(&socket) else { return };
        let idle = self
            .connections
            .get(&socket)
            .is_some_and(|served| served.machine.running_handlers() == 0 && served.asked.is_none());
        self.expect_told(id, idle, "drained", stage);
        if let Some(member) = self.control.members.get_mut(&id) {
            member.is_drained = true;
        }
        self.control.hub.drained(now, id, &mut self.control.out);
    }

    /// After each step: the hub counts the connections that are there, those that are open apart.
    pub(super) fn check_counts(&self, stage: &mut Stage) {
        let hub = &self.control.hub;
        let counted = (hub.admitted_count(), hub.connection_count());
        let there = (self.control.members.len(), self.open_members().count());
        let id = self.id;
        stage.check(counted == there, Invariant::AdmissionLimit, || {
            format!("server {id}: {counted:?} connections are counted, {there:?} are there")
        });
    }

    /// After each step: if nothing runs any more, all connections are to close.
    pub(super) fn check_stage(&mut self, stage: &mut Stage) {
        let nothing_runs = self.nothing_runs();
        let kept = self.open_members().any(|member| !member.is_told_to_close);
        let id = self.id;
        let Some(shutdown) = self.control.shutdown else { return };
        if !shutdown.is_closing() && nothing_runs {
            self.enters(HubStage::Closing, stage);
            stage.check(!kept, Invariant::IdleStay, || {
                format!("server {id}: nothing runs any more, and not all connections are closed")
            });
        }
        let (hub, account) = (self.control.hub.is_stopped(), self.has_stopped());
        stage.check(hub == account, Invariant::ShutdownEnds, || {
            format!("server {id}: stopped: {hub}; but said so: {account}")
        });
        let untold = self.open_members().any(|member| !member.is_told);
        stage.check(!untold, Invariant::ShutdownInStages, || {
            format!("server {id}: a connection was not told of the shutdown")
        });
        let due = self.control.members.is_empty();
        stage.check(account || !due, Invariant::ShutdownEnds, || {
            format!("server {id}: no connection is left, and it has not stopped")
        });
    }

    /// An idle connection closes because of a shutdown, and for that reason, when all do.
    pub(super) fn check_shut_down(
        &self,
        socket: SocketId,
        reason: &CloseReason,
        stage: &mut Stage,
    ) {
        let (Some(served), Some(id)) =
            (self.connections.get(&socket), self.control.ids.get(&socket))
        else {
            return;
        };
        let Some(told) = served.shut_down else { return };
        let actor = self.actor(socket);
        let fits = *reason == CloseReason::Shutdown || !told.was_open;
        stage.check(fits, Invariant::IdleStay, || {
            format!("{actor}: is closed by a shutdown for another reason: {reason:?}")
        });
        let member = self.control.members.get(id);
        let may = member.is_some_and(|member| member.is_told_to_close)
            || served.may_close
            || !told.was_open
            || !served.peer.keeps_to_rules()
            || told.deadline <= self.clock.latest();
        stage.check(may, Invariant::IdleStay, || {
            format!("{actor}: is closed, although it was to stay: {reason:?}")
        });
    }

    /// The hub has stopped: for a good reason, and no waiter was forgotten.
    pub(super) fn stopped(&mut self, stage: &mut Stage) {
        let id = self.id;
        let latest = self.clock.latest();
        let forgotten = self.open_members().any(|member| !member.is_aborted);
        let Some(shutdown) = self.control.shutdown else {
            return stage.check(false, Invariant::ShutdownEnds, || {
                format!("server {id} stops and was not told to")
            });
        };
        let again = self.has_stopped();
        self.enters(HubStage::Stopped, stage);
        stage.check(!again, Invariant::ShutdownEnds, || format!("server {id} stops twice"));
        stage.check(latest <= shutdown.stops_by, Invariant::ShutdownEnds, || {
            format!("server {id} stops at {latest:?}, after {:?}", shutdown.stops_by)
        });
        stage.check(!forgotten, Invariant::ShutdownInStages, || {
            format!("server {id} stops and has not dropped all connections")
        });
        let early = shutdown.not_before + 2 * self.settings.hub.abort_after > latest;
        let left = self.control.members.len();
        stage.check(!early || left == 0, Invariant::ShutdownInStages, || {
            format!("server {id} stops early, with {left} connections: {shutdown:?}")
        });
        let exit = stage.aside.up_to(millis(20));
        stage.after(exit, Event::Exit { server: id, epoch: self.epoch });
    }

    /// A server that shuts down does not take longer than it may.
    pub(super) fn check_stops(&self, now: Instant, stage: &mut Stage) {
        let id = self.id;
        let ends_by = self.control.shutdown.map(|shutdown| shutdown.stops_by);
        let late = !self.has_stopped() && ends_by.is_some_and(|end| end < now);
        stage.check(!late, Invariant::ShutdownEnds, || {
            format!("server {id} has not stopped by {now:?}: {:?}", self.control.shutdown)
        });
    }
}
