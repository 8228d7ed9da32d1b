//! While it lasts: what applications, peers, operators and fate do.

use super::World;
use crate::coverage::Fact;
use crate::event::{Event, ServerId, millis};
use crate::faults::Fault;
use crate::network::{Packet, Peer, Way};
use crate::server::State;
use crate::setup::{PROTOCOLS, reconfigure};
use crate::trace::Actor;

impl World {
    pub(super) fn live(&mut self) {
        for client in 0..self.clients.len() {
            self.clients[client].connect(&mut self.stage);
        }
        for _ in 0..self.setup.steps {
            if self.has_failed() {
                return;
            }
            if self.setup.extras.late_timers && self.stage.aside.chance(15) {
                self.delay_timers();
            }
            if self.stage.dice.chance(self.setup.faults) {
                self.cause_fault();
            } else {
                self.somebody_acts();
            }
            let most = self.stage.dice.choose(&[0, 5, 50, 300, 300, 1500]);
            let pause = self.stage.dice.up_to(millis(most));
            self.run_for(pause);
        }
    }

    fn somebody_acts(&mut self) {
        let count = self.clients.len() + self.adversaries.len();
        let index = self.stage.dice.index(count).unwrap_or_default();
        match self.clients.get_mut(index) {
            Some(client) => client.act(&mut self.stage),
            None => {
                let adversary = &mut self.adversaries[index - self.clients.len()];
                adversary.act(self.servers.len(), &mut self.stage);
            }
        }
    }

    /// What goes wrong, or what an operator does.
    fn cause_fault(&mut self) {
        let stage = &mut self.stage;
        let sockets = stage.network.ids();
        let socket = stage.dice.index(sockets.len()).map(|index| sockets[index]);
        let server = stage.dice.index(self.servers.len()).unwrap_or_default();
        match (stage.dice.below(32), socket) {
            (0..=3, Some(socket)) => {
                self.blame(Fault::Cut, socket);
                self.stage.cut(socket, millis(0));
            }
            (4, Some(socket)) => {
                self.blame(Fault::CutLate, socket);
                self.stage.cut(socket, millis(2000));
            }
            (5 | 6, Some(socket)) => {
                self.blame(Fault::HalfOpen, socket);
                let ways: &[Way] = match self.stage.dice.below(3) {
                    0 => &[Way::Up],
                    1 => &[Way::Down],
                    _ => &[Way::Up, Way::Down],
                };
                ways.iter().for_each(|way| self.stage.network.silence(socket, *way));
            }
            (7 | 8, _) => self.end_silence(),
            (9, _) => {
                self.blame(Fault::RefusedDial, server as u64);
                self.servers[server].refuses = true;
                let pause = self.stage.dice.up_to(millis(3000));
                self.stage.after(pause, Event::Accepts { server });
            }
            (10, Some(socket)) => {
                self.blame(Fault::SlowReader, socket);
                let drag = self.stage.dice.up_to(millis(150));
                let way = if self.stage.dice.chance(70) { Way::Down } else { Way::Up };
                self.stage.network.drag(socket, way, drag);
            }
            (11, Some(socket)) => self.make_noise(socket),
            (12, _) => {
                self.blame(Fault::StoreSlow, 0);
                self.stage.store.habits.slowness = millis(2500);
                self.store_recovers();
            }
            (13, _) => {
                self.blame(Fault::StoreDown, 0);
                self.stage.store.habits.failures = 100;
                self.store_recovers();
            }
            (14 | 15, _) => {
                self.blame(Fault::Crash, server as u64);
                self.crash(server, millis(2000));
            }
            (16 | 17, _) => self.shut_down(server),
            (18, _) => {
                self.blame(Fault::OtherVersion, server as u64);
                self.stage.is_deceptive = true;
                self.servers[server].crash(&mut self.stage);
                let protocol = self.stage.dice.choose(&PROTOCOLS);
                self.restart(server, Some(protocol));
            }
            (27, _) => {
                self.blame(Fault::ForeignServer, server as u64);
                self.servers[server].give_way(&mut self.stage);
                let pause = self.stage.dice.up_to(millis(2000));
                self.stage.after(pause, Event::Restart { server });
            }
            (19 | 20, _) => self.jump(),
            (21..=24, _) => {
                let count = self.stage.ledger.keys.len();
                let Some(index) = self.stage.dice.index(count) else { return };
                let key = self.stage.ledger.keys[index].clone();
                // No caller can close what another server is still storing.
                if self.servers.len() > 1 && !self.stage.store.keeps(&key) {
                    return;
                }
                self.blame(Fault::CloseKey, index as u64);
                let disconnect = self.stage.dice.chance(50);
                self.servers[server].close_key(&key, disconnect, &mut self.stage);
            }
            (25, Some(socket)) => {
                self.blame(Fault::CloseConnection, socket);
                let stage = &mut self.stage;
                self.servers.iter_mut().for_each(|server| server.close(socket, stage));
            }
            (28 | 29, Some(socket)) => {
                let stage = &mut self.stage;
                self.servers.iter_mut().for_each(|server| server.stir_groups(socket, stage));
            }
            (26, _) => {
                self.blame(Fault::EarlyTimeout, 0);
                let stage = &mut self.stage;
                self.clients.iter_mut().for_each(|client| client.call_early(stage));
                self.servers.iter_mut().for_each(|server| server.call_early(stage));
            }
            _ => self.somebody_acts(),
        }
    }

    fn blame(&mut self, fault: Fault, what: u64) {
        self.stage.count(Fact::Fault(fault));
        self.stage.note(Actor::World, what << 8 | fault as u64, || format!("{fault:?} of #{what}"));
    }

    /// The hosts notice at last that a socket is silent.
    pub(crate) fn end_silence(&mut self) {
        for socket in self.stage.network.ids() {
            if self.stage.network.is_silent(socket) {
                self.blame(Fault::SilenceEnds, socket);
                self.stage.cut(socket, millis(0));
            }
        }
    }

    fn store_recovers(&mut self) {
        let pause = self.stage.dice.up_to(millis(4000));
        self.stage.after(pause, Event::StoreRecovers);
    }

    /// A server that is down is there again.
    pub(super) fn restart(&mut self, server: ServerId, protocol: Option<wwr::server::Protocol>) {
        let is_gone = matches!(self.servers[server].state, State::Down | State::Foreign);
        if is_gone && self.setup.extras.reconfigures && self.stage.aside.chance(50) {
            self.blame(Fault::Reconfigured, server as u64);
            reconfigure(&mut self.servers[server].settings, &mut self.stage.aside);
        }
        self.servers[server].start(protocol);
    }

    /// A host is busy with other things; what it receives comes before its timers.
    fn delay_timers(&mut self) {
        let aside = &mut self.stage.aside;
        let index = aside.index(self.clients.len() + self.servers.len()).unwrap_or_default();
        let until = self.stage.now + aside.up_to(millis(800));
        // Heartbeats come late, too.
        self.stage.is_deceptive = true;
        self.blame(Fault::LateTimers, index as u64);
        match self.clients.get_mut(index) {
            Some(client) => client.timers_rest_until = until,
            None => {
                let server = &mut self.servers[index - self.clients.len()];
                server.timers_rest_until = until;
                server.excuse(until.saturating_since(self.stage.now));
            }
        }
    }

    fn crash(&mut self, server: ServerId, most: std::time::Duration) {
        self.servers[server].crash(&mut self.stage);
        let pause = self.stage.dice.up_to(most);
        self.stage.after(pause, Event::Restart { server });
    }

    fn shut_down(&mut self, server: ServerId) {
        if self.servers[server].state != State::Up {
            return;
        }
        self.blame(Fault::Shutdown, server as u64);
        let stage = &mut self.stage;
        let within = stage.dice.up_to(millis(600));
        self.servers[server].shut_down(within, stage);
        if stage.aside.chance(30) {
            let pause = stage.aside.up_to(within);
            let epoch = self.servers[server].epoch;
            stage.after(pause, Event::ShutDownAgain { server, epoch });
        }
    }

    /// The operator is in a hurry, or is not any more.
    pub(super) fn shut_down_again(&mut self, server: ServerId, epoch: u64) {
        if self.servers[server].epoch != epoch {
            return;
        }
        self.blame(Fault::ShutdownAgain, server as u64);
        let within = self.stage.aside.up_to(millis(600));
        self.servers[server].shut_down(within, &mut self.stage);
    }

    /// A server that shut down is gone; another takes its place.
    pub(super) fn exit(&mut self, server: ServerId, epoch: u64) {
        if self.servers[server].epoch != epoch || !self.servers[server].has_stopped() {
            return;
        }
        // That of a script stays until the script starts it again.
        let left = self.servers[server].connections.len();
        let holds = left == 0;
        self.stage.check(holds, crate::Invariant::ShutdownEnds, || {
            format!("server {server}: {left} connections are open after the shutdown")
        });
        if self.setup.restarts {
            self.crash(server, millis(1000));
        }
    }

    fn make_noise(&mut self, socket: u64) {
        let Some(found) = self.stage.network.get(socket) else { return };
        let Peer::Client(client) = found.peer else { return };
        if !self.clients[client].is_connected() || self.clients[client].socket() != Some(socket) {
            return;
        }
        self.blame(Fault::NoiseToClient, socket);
        self.stage.network.make_noisy(socket);
        let frames: [&[u8]; 7] = [
            b"",
            b"\x07",
            b"\x16\0",
            b"\x21",
            b"\x7f\x01\0\0\0\0\0\0\0\x04echo",
            b"\xbf\x01\0\0\0\0\0\0\xf0late",
            b"\x06\0\0\0\0\0\0\0\0",
        ];
        let frame = bytes::Bytes::from_static(self.stage.dice.choose(&frames));
        self.clients[client].receive(socket, Packet::Frame(frame), &mut self.stage);
    }

    fn jump(&mut self) {
        let count = self.clients.len() + self.servers.len();
        let index = self.stage.dice.index(count).unwrap_or_default();
        let by = self.stage.dice.choose(&[1, 100, 1500, 60_000]);
        let forward = self.stage.dice.chance(60);
        (self.stage.is_deceptive, self.stage.time_is_torn) = (true, true);
        self.blame(if forward { Fault::ClockForward } else { Fault::ClockBack }, index as u64);
        if forward && let Some(server) = index.checked_sub(self.clients.len()) {
            self.servers[server].excuse(millis(by));
        }
        let clock = match self.clients.get_mut(index) {
            Some(client) => &mut client.clock,
            None => &mut self.servers[index - self.clients.len()].clock,
        };
        if forward {
            clock.jump_forward(millis(by));
        } else {
            clock.jump_back(millis(by.min(1500)));
        }
    }
}
