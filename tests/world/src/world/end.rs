//! The end: faults are over, all comes to rest, and what has to hold then is seen to hold.

use std::time::Duration;

use wwr::client::{RequestError, Status};

use super::World;
use crate::client::Node;
use crate::event::{Event, millis};
use crate::invariants::Invariant;
use crate::network::Packet;
use crate::reference::Reference;
use crate::server::State;
use crate::setup::{ENOUGH, READ_TIMEOUT, versatile};
use crate::store::{Habits, short};
use crate::trace::Actor;

/// Longer than it takes a server to find out that a peer is gone, whatever it speaks: up to two
/// read timeouts after the last handler has ended, of those for the messages that wait.
const NOTICED: Duration = millis(40_000);

/// Longer than it takes to connect, to resume a session and to have all requests answered.
const SETTLED: Duration = millis(12_000);

/// How often all is given time to settle while clients are on their way to a server. A handler that
/// was queued for long may just have sent one of them away again.
const RECONNECTS: usize = 4;

/// How many sessions are restored in the end, to see whether that is so.
const TRIED: usize = 3;

impl World {
    pub(super) fn end(&mut self) {
        let stages: [fn(&mut Self); 8] = [
            Self::heal,
            Self::notice_silence,
            Self::settle,
            Self::stay_healthy,
            Self::close_clients,
            Self::try_sessions,
            Self::close_clients,
            Self::check_floor,
        ];
        for stage in stages {
            if !self.has_failed() {
                stage(self);
            }
        }
    }

    /// The faults are over.
    fn heal(&mut self) {
        self.stage.note(Actor::World, 1, || "the faults are over".into());
        for adversary in &mut self.adversaries {
            adversary.stop(&mut self.stage);
        }
        self.modest.iter_mut().for_each(|peer| peer.stop(&mut self.stage));
        self.setup.habits = Habits::good();
        self.stage.store.habits = Habits::good();
        self.stage.network.hurry();
        for server in 0..self.servers.len() {
            self.servers[server].refuses = false;
            // Those that could not come in do so now.
            if self.servers[server].settings.hub.max_connections < ENOUGH {
                self.servers[server].settings.hub.max_connections = ENOUGH;
                self.servers[server].crash(&mut self.stage);
            }
            self.restart(server, None);
        }
        self.clients.iter_mut().for_each(|client| client.is_settled = true);
    }

    /// Peers that are gone silently are given up, unless a handler of theirs still runs.
    fn notice_silence(&mut self) {
        let silent = |server: &crate::server::Server| -> Vec<_> {
            let gone = server.connections.keys().copied();
            gone.filter(|socket| self.stage.network.is_mute(*socket)).collect()
        };
        let gone: Vec<_> = self.servers.iter().map(silent).collect();
        if gone.iter().all(Vec::is_empty) {
            return;
        }
        self.run_for(NOTICED);
        for (server, gone) in gone.iter().enumerate() {
            for socket in gone {
                let Some(served) = self.servers[server].connections.get(socket) else { continue };
                let busy = served.machine.running_handlers() > 0;
                self.stage.check(busy, Invariant::SilenceIsNoticed, || {
                    format!("server {server}: #{socket} is gone and was not given up")
                });
            }
        }
    }

    /// Runs until all is at rest, or only clients are left that find no server for them.
    fn settle(&mut self) {
        self.end_silence();
        for _ in 0..RECONNECTS {
            self.run_for(SETTLED);
            if !self.clients.iter().any(is_lost) {
                break;
            }
        }
        for client in 0..self.clients.len() {
            let status = self.clients[client].machine.status();
            if !is_on_the_way(&self.clients[client]) {
                continue;
            }
            let lost = is_lost(&self.clients[client]);
            self.stage.check(!lost, Invariant::Recovery, || {
                format!("client {client} is {status:?}, although all is well")
            });
            self.clients[client].close(&mut self.stage);
        }
        self.rest();
        self.check_rest();
    }

    /// Runs until nothing happens any more but that each side makes sure of the other.
    pub(crate) fn rest(&mut self) {
        for _ in 0..120 {
            if self.is_at_rest() || self.has_failed() {
                return;
            }
            self.run_for(millis(500));
        }
        let busy = self.stage.queue.iter().find(|event| self.is_business(event)).cloned();
        self.stage.check(false, Invariant::Termination, || format!("no rest; next: {busy:?}"));
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        !self.clients.iter().any(Node::is_busy)
            && !self.references.iter().any(Reference::is_busy)
            && !self.servers.iter().any(crate::server::Server::is_busy)
            && self.stage.store.is_idle()
            && !self.stage.queue.iter().any(|event| self.is_business(event))
    }

    /// Whether something is more than care for the other side.
    fn is_business(&self, event: &Event) -> bool {
        let has =
            |socket| self.servers.iter().any(|server| server.connections.contains_key(socket));
        match event {
            Event::Packet { packet: Packet::Ping | Packet::Pong, .. } => false,
            Event::Packet { packet: Packet::Frame(frame), .. } if **frame == [0x21] => false,
            Event::Packet { socket, .. } => self.stage.network.get(*socket).is_some(),
            Event::Work { socket, .. } | Event::Inbox { socket } => has(socket),
            Event::Opens { server, epoch, .. }
            | Event::Left { server, epoch, .. }
            | Event::ShutDownAgain { server, epoch } => self.servers[*server].epoch == *epoch,
            Event::Broken { .. } | Event::Exit { .. } | Event::Restart { .. } => true,
            Event::Apply { .. } | Event::Answer { .. } => true,
            Event::Probe { .. } | Event::Probed { .. } => true,
            Event::Accepts { .. } | Event::StoreRecovers => false,
        }
    }

    pub(crate) fn check_rest(&mut self) {
        let stage = &mut self.stage;
        self.clients.iter().for_each(|client| client.check_rest(stage));
        self.servers.iter().for_each(|server| server.check_rest(stage));
        for (id, client) in self.clients.iter().enumerate() {
            let Some(socket) = client.socket().filter(|_| client.is_connected()) else { continue };
            let held = self.servers.iter().find_map(|server| server.connections.get(&socket));
            let Some(served) = held else {
                stage.check(false, Invariant::Recovery, || {
                    format!("client {id} is connected by #{socket}, which nobody serves")
                });
                continue;
            };
            let (told, sent) = (client.states, served.states.last_taken);
            let all = told == sent || !stage.network.is_healthy(socket);
            stage.check(all, Invariant::LastValueWins, || {
                format!("client {id} was told {told:?} last, and {sent:?} was sent")
            });
            let seen = |session: &wwr::Session| (session.key.clone(), session.info.to_public());
            let there = served.machine.session().map(seen).filter(|_| !served.is_too_long);
            let here = client.machine.session().map(seen).filter(|_| !served.is_too_long);
            stage.check(here == there, Invariant::SessionsAgree, || {
                let name = |seen: Option<(_, _)>| {
                    seen.map_or("none".into(), |(key, info)| format!("{} {info:?}", short(&key)))
                };
                format!("client {id} holds {}, its connection {}", name(here), name(there))
            });
        }
    }

    /// Idle peers stay connected, each on the socket that it has. Before, one may still find out
    /// that its server became another version while it dialled, now that no handler excuses its
    /// silence.
    fn stay_healthy(&mut self) {
        let sockets = |world: &Self| -> Vec<_> {
            let connected = world.clients.iter().filter(|client| client.is_connected());
            connected.map(|client| client.socket()).collect()
        };
        let (mut before, mut after) = (Vec::new(), sockets(self));
        for _ in 0..2 {
            before = after;
            self.run_for(4 * READ_TIMEOUT);
            after = sockets(self);
            if before == after {
                break;
            }
        }
        self.stage.check(before == after, Invariant::Recovery, || {
            format!("idle clients were on {before:?} and are on {after:?}")
        });
    }

    fn close_clients(&mut self) {
        for client in 0..self.clients.len() {
            self.clients[client].close(&mut self.stage);
        }
        self.rest();
    }

    /// What was closed for good cannot be restored; what was announced can, if it is durable.
    fn try_sessions(&mut self) {
        let stage = &self.stage;
        let closed = stage.ledger.keys.iter().filter(|key| stage.store.deleted_by(key).is_some());
        let closed = closed.rev().take(TRIED).map(|key| (key.clone(), false));
        let durable = stage.ledger.due().filter(|_| stage.durable).take(TRIED);
        let tried: Vec<_> = closed.chain(durable.map(|key| (key.clone(), true))).collect();
        if tried.is_empty() {
            return;
        }
        let client = self.add_client(versatile());
        self.clients[client].is_settled = true;
        let home = self.clients[client].home;
        let config = &self.servers[home].settings.connection;
        if matches!(config.sessions, wwr::server::Sessions::Disabled) {
            return;
        }
        let buffer = config.advertised.message_buffer as usize;
        for (key, is_due) in tried {
            self.clients[client].restored = None;
            self.clients[client].connect(&mut self.stage);
            self.run_for(millis(3000));
            let _ = self.clients[client].restore_patiently(&key, &mut self.stage);
            self.run_for(millis(2000));
            let outcome = self.clients[client].restored.take();
            let is_long = self.stage.store.length(&key) + 9 > buffer;
            // It may have expired meanwhile.
            let has_expired = is_due && self.stage.ledger.session(&key).unwanted;
            let fits = match &outcome {
                Some(Ok(_)) => is_due,
                Some(Err(RequestError::SessionNotFound)) => !is_due || has_expired,
                Some(Err(RequestError::Internal)) => is_due && is_long,
                _ => false,
            };
            let invariant =
                if is_due { Invariant::AnnouncedIsDurable } else { Invariant::ClosedStaysClosed };
            self.stage
                .check(fits, invariant, || format!("{} in the end: {outcome:?}", short(&key)));
            self.clients[client].close(&mut self.stage);
            self.clients[client].forget_session(&mut self.stage);
            self.rest();
        }
    }

    /// All is over, and the servers serve.
    fn check_floor(&mut self) {
        self.check_empty();
        let up = self.servers.iter().all(|server| server.state == State::Up);
        self.stage.check(up, Invariant::Recovery, || "a server does not serve".into());
    }

    /// Nothing is left.
    pub(crate) fn check_empty(&mut self) {
        self.check_rest();
        let connections: usize = self.servers.iter().map(|server| server.connections.len()).sum();
        let idle = self.servers.iter().all(crate::server::Server::is_idle);
        let sockets = self.stage.network.ids();
        let store = self.stage.store.is_idle();
        let holds = connections == 0 && idle && sockets.is_empty() && store;
        self.stage.check(holds, Invariant::MemoryFloor, || {
            format!(
                "{connections} connections, sockets {sockets:?}, hubs idle: {idle}, store \
                 idle: {store}"
            )
        });
    }
}

/// Whether a client is neither connected nor content without a connection.
fn is_on_the_way(client: &Node) -> bool {
    matches!(client.machine.status(), Status::Connecting | Status::Waiting)
}

/// The same of one that every server suits.
fn is_lost(client: &Node) -> bool {
    client.settings.is_versatile && is_on_the_way(client)
}
