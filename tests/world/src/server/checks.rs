//! What holds on a server after each step.

use std::collections::BTreeSet;

use bytes::Bytes;
use wwr::Instant;
use wwr::SessionKey;
use wwr::server::{CloseReason, HubAction, IdleConnections, Misuse, Observed};
use wwr::session::{Change, ConnectionId, Outcome};

use super::{Server, State};
use crate::application::Task;
use crate::coverage::{Fact, Phase, ServerState, Slot};
use crate::event::millis;
use crate::invariants::Invariant;
use crate::network::{Peer, SocketId, Way};
use crate::stage::Stage;
use crate::store::short;

/// The kind of the message that tells a client of its session.
const SESSION_CREATED: u8 = 21;

impl Server {
    /// A machine was called: its bounds, and where it stands.
    pub(super) fn look_at(&mut self, socket: SocketId, stage: &mut Stage) {
        let actor = self.actor(socket);
        let config = &self.settings.connection;
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let state = served.state_now();
        if state != served.state {
            stage.count(Fact::Connection(served.state, state));
            served.state = state;
        }
        if state.0 == Phase::Draining && served.drains_by.is_none() {
            served.drains_within(self.clock.latest() + config.drain_timeout);
        }
        let running = served.machine.running_handlers();
        let waiting = served.machine.waiting_messages();
        let bounded = running <= usize::from(config.concurrency.get())
            && waiting <= usize::from(config.max_queued_messages.get());
        stage.check(bounded, Invariant::QueuesBounded, || {
            format!("{actor}: {running} handlers run, {waiting} messages wait")
        });
        let counted = served.take_counters();
        let runs = counted.started.checked_sub(counted.ended);
        let adds_up = runs.is_some_and(|runs| runs <= running as u64)
            && (counted.lost == 0 || state.0 == Phase::Closed);
        stage.check(adds_up, Invariant::CountersAddUp, || {
            format!("{actor}: {counted:?}, and {running} handlers run")
        });
        let bytes = served.waiting_bytes();
        let has_room = waiting < usize::from(config.max_queued_messages.get())
            && (waiting == 0 || bytes < config.max_queued_bytes as usize);
        let fits = state.0 != Phase::Open || served.machine.wants_input() == has_room;
        stage.check(fits, Invariant::QueuesBounded, || {
            format!("{actor}: {waiting} messages wait, of {bytes} bytes; has room: {has_room}")
        });
    }

    /// A peer is taken for one that has sent a preflight: it has, and for no other connection.
    pub(super) fn check_observed(
        &mut self,
        socket: SocketId,
        address: u64,
        observed: Observed,
        stage: &mut Stage,
    ) {
        if observed == Observed::Preflight {
            let index = self.asked.iter().position(|asked| *asked == address);
            let used = index.map(|index| self.asked.remove(index));
            let actor = self.actor(socket);
            stage.check(used.is_some(), Invariant::PreflightsCountOnce, || {
                format!("{actor}: taken for a client of 1.x for a preflight of another connection")
            });
        }
    }

    /// A connection is about to be closed: with good reason, and nothing is left unanswered but
    /// what a handler, or the hub, has not answered by the deadline.
    pub(super) fn check_closing(
        &mut self,
        socket: SocketId,
        reason: &CloseReason,
        stage: &mut Stage,
    ) {
        let actor = self.actor(socket);
        let config = &self.settings.connection;
        let Some(served) = self.connections.get(&socket) else { return };
        let is_for_message = matches!(
            reason,
            CloseReason::TooManyIgnored
                | CloseReason::Text
                | CloseReason::Unreadable
                | CloseReason::TooLarge
        );
        let (row, most) = (served.ignorable_in_a_row(), config.max_ignored_in_a_row.get());
        let enough = *reason != CloseReason::TooManyIgnored || row >= most;
        stage.check(enough, Invariant::LifeIsNoticed, || {
            format!(
                "{actor}: is closed for {row} messages in a row without meaning, {most} are allowed"
            )
        });
        let (owed, open) = (served.owed(), served.may_owe());
        let holds = owed <= open || is_for_message || !served.peer.keeps_to_rules();
        stage.check(holds, Invariant::OneAnswer, || {
            format!(
                "{actor}: is closed ({reason:?}) and owes {owed} answers, of {open} that may come"
            )
        });
    }

    /// What is sent fits into the buffer of a peer that has one.
    pub(super) fn check_length(&self, socket: SocketId, length: usize, stage: &mut Stage) {
        let Some(served) = self.connections.get(&socket) else { return };
        let buffer = served.machine.peer_reads();
        let bounded = served.machine.dialect().rules().bounded_by_buffer;
        let actor = self.actor(socket);
        stage.check(!bounded || length <= buffer, Invariant::OnlyReadable, || {
            format!("{actor}: {length} bytes for a peer that reads {buffer}")
        });
    }

    /// Requests are handled once, in the order in which they were sent.
    pub(super) fn heard_request(&mut self, socket: SocketId, task: Task, stage: &mut Stage) {
        let actor = self.actor(socket);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        let Some(token) = task.token else { return };
        let expected = stage.ledger.sent_on(socket, served.requests_heard);
        served.requests_heard += 1;
        stage.check(expected == Some(token), Invariant::RequestsInOrder, || {
            format!("{actor}: request {token} comes instead of {expected:?}")
        });
        let before = std::mem::replace(&mut stage.ledger.entry(token).reached, true);
        stage.check(!before, Invariant::OneAnswer, || {
            format!("{actor}: request {token} is handled twice")
        });
        stage.note(actor, token as u64, || format!("handles request {token}: {:?}", task.deed));
    }

    pub(super) fn heard_signal(&mut self, socket: SocketId, payload: &[u8], stage: &mut Stage) {
        let actor = self.actor(socket);
        let Some(served) = self.connections.get_mut(&socket) else { return };
        if let Peer::Adversary(_) = served.peer {
            return;
        }
        let expected = format!("{socket}/{}", served.signals_heard);
        served.signals_heard += 1;
        stage.check(payload == expected.as_bytes(), Invariant::SignalsInOrder, || {
            format!("{actor}: signal {} instead of {expected}", payload.escape_ascii())
        });
    }

    /// A client is told of a session: it may know the key.
    pub(super) fn check_key(&self, socket: SocketId, frame: &[u8], stage: &mut Stage) {
        let Some((&SESSION_CREATED, json)) = frame.split_first() else { return };
        let Ok(session) = wwr::Session::from_json(json) else { return };
        let known = stage.ledger.session(&session.key);
        let may = known.only.is_none_or(|only| only == socket) || known.known_by.contains(&socket);
        let actor = self.actor(socket);
        stage.check(may, Invariant::NewKeyIsForOne, || {
            format!("{actor}: is told {}, which is for another connection", short(&session.key))
        });
    }

    /// The hub has news: they are possible.
    pub(super) fn check_news(&self, to: ConnectionId, outcome: &Outcome, stage: &mut Stage) {
        let key = &outcome.key;
        let (id, epoch) = (self.id, self.epoch);
        let deleted = stage.store.deleted_by(key) == Some((id, epoch));
        match &outcome.change {
            Change::Rotated { session, .. }
                if stage.ledger.session(&session.key).only.is_some() =>
            {
                let only = stage.ledger.session(&session.key).only;
                let is_right = self.control.members.get(&to).map(|member| member.socket) == only;
                let mut holders = self.known_holders(&session.key).chain(self.known_holders(key));
                let alone = holders.all(|holder| holder == to);
                stage.check(is_right && alone, Invariant::NewKeyIsForOne, || {
                    format!("server {id}: {to:?} gets {}, meant for {only:?}", short(&session.key))
                });
                stage.count(Fact::Hub("session is taken over"));
            }
            Change::Restored(_) => stage.check(!deleted, Invariant::ClosedStaysClosed, || {
                format!("server {id} restores {}, which it has closed", short(key))
            }),
            Change::NotFound => {
                let known = stage.ledger.session(key).clone();
                let due = self.settings.hub.sessions.durable && known.announced && !known.unwanted;
                stage.check(!due, Invariant::AnnouncedIsDurable, || {
                    format!("server {id} does not find {}", short(key))
                });
            }
            _ => {}
        }
    }

    /// A session is closed for all connections but one, as if one after another had closed it. The one holds it
    /// on, if it is told the new key.
    pub(super) fn note_others(&mut self, to: ConnectionId, key: &SessionKey) {
        let others_are_told = self.control.out.iter().any(|action| match action {
            HubAction::Deliver { outcome, .. } => {
                let is_of_it =
                    matches!(outcome.change, Change::Rotated { .. } | Change::ClosedByOther { .. });
                outcome.key == *key && is_of_it
            }
            _ => false,
        });
        let member = self.control.members.get(&to);
        if let Some(served) = member.and_then(|member| self.connections.get_mut(&member.socket)) {
            served.others_hold = others_are_told;
        }
    }

    /// The hub knows what the connections hold, and no session has too many of them.
    pub(super) fn check_sessions(&mut self, stage: &mut Stage) {
        if self.touched.is_empty() {
            return;
        }
        let touched = std::mem::take(&mut self.touched);
        let is_told = self.connections.values().all(|served| served.inbox.is_empty());
        for key in &touched {
            // What is dropped at once, its host may need some time to give up.
            let is_dropped =
                |id: &ConnectionId| self.control.members.get(id).is_some_and(|one| one.is_aborted);
            let known = self.known_holders(key).filter(|id| !is_dropped(id));
            let known: BTreeSet<_> = known.collect();
            if let Some(most) = self.settings.hub.sessions.max_connections {
                // The slot of one that closes its session may be taken before it is told.
                let held = self.holders(key, |slot| slot != Slot::Closing).count();
                let held = held.max(known.len());
                let id = self.id;
                stage.check(held <= most.get(), Invariant::SessionLimit, || {
                    format!("server {id}: {held} connections hold {}, {most} may", short(key))
                });
            }
            if is_told {
                let held: BTreeSet<_> = self.holders(key, |slot| slot == Slot::Held).collect();
                let id = self.id;
                stage.check(known == held, Invariant::RegistryIsUnion, || {
                    format!("server {id}, {}: {known:?} known, {held:?} hold it", short(key))
                });
                self.check_info(key, stage);
            }
        }
        if !is_told {
            self.touched = touched;
        }
    }

    /// All connections of a session know the same of it as the store does. Among several servers, one does
    /// not hear of what another one changes.
    fn check_info(&self, key: &SessionKey, stage: &mut Stage) {
        let is_asked = |asked: &super::control::Asked| asked.key.as_ref() == Some(key);
        let is_open = stage.ledger.session(key).is_open || stage.is_cluster;
        if is_open || self.control.jobs.values().any(is_asked) {
            return;
        }
        let sessions = self.connections.values().filter_map(|served| served.machine.session());
        let mut infos = sessions.filter(|session| session.key == *key).map(|session| &session.info);
        let Some(info) = infos.next() else { return };
        let others = infos.all(|other| other == info);
        let stored = stage.store.info(key).is_none_or(|stored| stored == info);
        let id = self.id;
        stage.check(others && stored, Invariant::InfoIsShared, || {
            format!("server {id}, {}: {info:?}, same: {others}, stored: {stored}", short(key))
        });
    }

    /// The connections that hold a session, as they say themselves.
    pub(super) fn holders(
        &self,
        key: &SessionKey,
        counts: impl Fn(Slot) -> bool,
    ) -> impl Iterator<Item = ConnectionId> {
        let holds = move |(socket, served): (&SocketId, &super::Served)| {
            let ServerState(_, slot) = served.state_now();
            let held = served.machine.session().is_some_and(|session| session.key == *key);
            self.control.ids.get(socket).filter(|_| held && counts(slot)).copied()
        };
        self.connections.iter().filter_map(holds).collect::<Vec<_>>().into_iter()
    }

    /// What was told to close has done so in time. Whatever else happens at the last moment may
    /// come first.
    pub(super) fn check_drains(&mut self, now: Instant, stage: &mut Stage) {
        if stage.now < self.timers_rest_until {
            return;
        }
        let late = |served: &super::Served| served.drains_by.is_some_and(|deadline| deadline < now);
        let late = self.connections.iter().find(|(_, served)| late(served)).map(|(id, _)| *id);
        if let Some(socket) = late {
            let actor = self.actor(socket);
            stage.check(false, Invariant::ShutdownEnds, || {
                format!("{actor}: not closed by {now:?}")
            });
        }
    }

    /// A machine is over: nothing moves it any more.
    pub(super) fn check_end(&mut self, socket: SocketId, stage: &mut Stage) {
        self.check_questions(socket, stage);
        let actor = self.actor(socket);
        let latest = self.clock.latest();
        let Some(served) = self.connections.get_mut(&socket) else { return };
        // What it wanted before is with the others already.
        let machine = &mut served.machine;
        let asks = machine.wants_input() || machine.next_timeout().is_some();
        let out = &mut self.out;
        let frame = Bytes::from_static(b"\x7f\x01\0\0\0\0\0\0\0\x04echo");
        machine.handle_message(latest, frame.clone(), out);
        machine.handle_text(latest, frame, out);
        machine.handle_message(latest, Bytes::from_static(b"\x21"), out);
        machine.handle_activity(latest);
        machine.close(latest, out);
        machine.shut_down(latest, latest + millis(1), IdleConnections::Close, out);
        machine.handle_disconnect(out);
        machine.handle_timeout(latest + millis(1_000_000), out);
        let refused = machine.close_session(out) == Err(Misuse::Closed);
        let counted = served.take_counters();
        stage.check(counted.started == counted.ended, Invariant::CountersAddUp, || {
            format!("{actor}: {counted:?} at the end")
        });
        let silent = out.is_empty();
        stage.check(!asks && silent && refused, Invariant::SilentAfterClose, || {
            format!("{actor}: {out:?} after the end; asks: {asks}, refuses: {refused}")
        });
        while self.out.pop().is_some() {}
    }

    /// How many sessions have connections.
    pub(crate) const fn active_sessions(&self) -> usize {
        self.control.hub.active_sessions()
    }

    /// The sockets of the connections that the hub knows to hold a session.
    pub(crate) fn sockets_of(&self, key: &SessionKey) -> Vec<SocketId> {
        let members = self.known_holders(key).filter_map(|id| self.control.members.get(&id));
        members.map(|member| member.socket).collect()
    }

    /// Whether the hub holds nothing and waits for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.control.hub.is_idle()
    }

    /// Whether something is under way that comes to an end by itself.
    pub(crate) fn is_busy(&self) -> bool {
        let busy = |served: &super::Served| {
            !served.machine.is_open() || !served.inbox.is_empty() || served.asked.is_some()
        };
        (self.state == State::Draining && !self.has_stopped())
            || !self.control.jobs.is_empty()
            || self.connections.values().any(busy)
    }

    /// All is quiet: what is stored is what is held, and no caller waits for an answer.
    pub(crate) fn check_rest(&self, stage: &mut Stage) {
        let mut active = 0;
        for key in stage.ledger.keys.clone() {
            let known: BTreeSet<_> = self.known_holders(&key).collect();
            let held: BTreeSet<_> = self.holders(&key, |_| true).collect();
            active += usize::from(!known.is_empty());
            let id = self.id;
            stage.check(known == held, Invariant::RegistryIsUnion, || {
                format!("server {id} at rest, {}: {known:?}, held by {held:?}", short(&key))
            });
        }
        let hub = &self.control.hub;
        let (id, said, idle) = (self.id, hub.active_sessions(), hub.is_idle());
        let (open, left) = (self.connections.len(), self.control.members.len());
        let counts = hub.connection_count() == open && hub.admitted_count() == left && left == open;
        let holds = said == active && idle == (open == 0) && counts;
        stage.check(holds, Invariant::RegistryIsUnion, || {
            format!(
                "server {id} at rest: {active} sessions, {said} by its account, {open} connections \
                 of {left}, idle: {idle}"
            )
        });
        self.check_waiters(stage);
        self.check_groups(stage);
        for (socket, served) in &self.connections {
            let actor = self.actor(*socket);
            let (owed, running) = (served.owed(), served.machine.running_handlers());
            let pings = served
                .unread
                .iter()
                .filter(|input| matches!(input, super::served::Input::Ping))
                .count();
            let unread = served.unread.len() - pings + served.machine.waiting_messages();
            let is_client = matches!(served.peer, Peer::Client(_));
            let settled = running > 0 || (owed == 0 || !is_client) && unread == 0;
            stage.check(settled, Invariant::OneAnswer, || {
                format!("{actor}: {owed} answers are owed, {unread} messages wait, for nothing")
            });
            let outstanding = stage.network.outstanding(*socket, Way::Down);
            let waits = !served.states.is_empty();
            stage.check(!waits || outstanding > 0, Invariant::LastValueWins, || {
                format!("{actor}: signals wait, for nothing: {:?}", served.states)
            });
            let silent = stage.network.is_silent(*socket);
            stage.check(silent || outstanding < 4096, Invariant::QueuesBounded, || {
                format!("{actor}: {outstanding} bytes are still on their way")
            });
        }
    }
}
