//! A world: servers, clients, adversaries, and what is between them.

mod end;
mod life;

use std::time::Duration;

use wwr::Instant;

use crate::Links;
use crate::adversary::Adversary;
use crate::bytes::Bytes;
use crate::client::Node;
use crate::coverage::Coverage;
use crate::dice::Dice;
use crate::event::{Event, Queue};
use crate::invariants::{Invariant, Violation};
use crate::ledger::Ledger;
use crate::modest::Modest;
use crate::network::{Network, Packet, Peer, SocketId, Way};
use crate::reference::Reference;
use crate::server::Server;
use crate::setup::Setup;
use crate::stage::Stage;
use crate::store::{self, Store};
use crate::trace::{Actor, Trace};

/// More steps than any run takes: one that takes more goes round in circles.
const MANY: u64 = 400_000;

/// When worlds begin: late enough for clocks to jump back.
const BEGINNING: Instant = Instant::from_millis(1_000_000);

/// What became of a world.
#[derive(Clone, Debug)]
pub struct Report {
    /// How much time passed in it.
    pub simulated: Duration,
    /// How many events happened in it.
    pub events: u64,
    /// Of everything that happened.
    pub fingerprint: u64,
    /// What it came across.
    pub coverage: Coverage,
    /// What did not hold, if anything.
    pub violation: Option<Violation>,
    /// What happened, if that was asked for: a line each.
    pub trace: Vec<String>,
}

pub(crate) struct World {
    pub(crate) stage: Stage,
    pub(crate) servers: Vec<Server>,
    pub(crate) clients: Vec<Node>,
    adversaries: Vec<Adversary>,
    modest: Vec<Modest>,
    pub(crate) references: Vec<Reference>,
    pub(crate) setup: Setup,
    steps: u64,
}

impl World {
    /// A world of chance.
    pub(crate) fn new(links: Links, mut dice: Dice, shown: bool) -> Self {
        let mut aside = dice.aside();
        // Of its own: whatever is drawn for bytes changes nothing else.
        let carrier = match links {
            Links::Messages => None,
            Links::Bytes => Some(Bytes::new(aside.aside(), None)),
            Links::Broken(mistake) => Some(Bytes::new(aside.aside(), Some(mistake))),
        };
        let setup = Setup::draw(&mut dice, &mut aside);
        Self::of(setup, carrier, dice, aside, shown)
    }

    /// A world that is like this; chance decides what happens in it.
    pub(crate) fn of(
        setup: Setup,
        carrier: Option<Bytes>,
        dice: Dice,
        aside: Dice,
        shown: bool,
    ) -> Self {
        let mut stage = Stage {
            now: BEGINNING,
            queue: Queue::default(),
            network: Network::new(setup.conditions, carrier),
            store: Store::new(setup.habits, setup.style),
            ledger: Ledger::default(),
            trace: Trace::new(shown),
            coverage: Coverage::default(),
            record: None,
            durable: setup.durable,
            is_deceptive: setup.is_deceptive(),
            is_cluster: setup.servers.len() > 1,
            time_is_torn: false,
            violation: None,
            dice,
            aside,
        };
        stage.note(Actor::World, 0, || format!("{setup:#?}"));
        let settings = setup.servers.iter().enumerate();
        let servers: Vec<_> =
            settings.map(|(id, settings)| Server::new(id, settings.clone())).collect();
        let mut world = Self {
            stage,
            servers,
            clients: Vec::new(),
            adversaries: Vec::new(),
            modest: Vec::new(),
            references: Vec::new(),
            steps: 0,
            setup,
        };
        for index in 0..world.setup.clients.len() {
            let settings = world.setup.clients[index].clone();
            world.add_client(settings);
        }
        for id in 0..world.setup.adversaries {
            let answers_pings = world.stage.dice.chance(70);
            world.adversaries.push(Adversary::new(id, answers_pings));
        }
        for id in 0..world.setup.extras.modest {
            let server = world.stage.aside.index(world.servers.len()).unwrap_or_default();
            world.modest.push(Modest::new(id, server, BEGINNING));
        }
        world
    }

    pub(crate) fn add_client(&mut self, settings: crate::client::Settings) -> usize {
        let seed = self.stage.dice.number();
        let servers = self.servers.len();
        let home = self.stage.dice.index(servers).unwrap_or_default();
        let id = self.clients.len();
        let mut client = Node::new(id, settings, seed, home, servers);
        client.use_up(self.setup.extras.used_identifiers);
        self.clients.push(client);
        id
    }

    /// Lives until all is over, or something does not hold.
    pub(crate) fn run(&mut self) {
        self.live();
        self.end();
    }

    /// A machine has panicked.
    pub(crate) fn panicked(&mut self, text: String) {
        self.stage.check(false, Invariant::NoPanic, || text);
    }

    pub(crate) fn into_report(self) -> Report {
        Report {
            simulated: self.stage.now.saturating_since(BEGINNING),
            events: self.stage.queue.count(),
            fingerprint: self.stage.trace.fingerprint(),
            coverage: self.stage.coverage,
            violation: self.stage.violation,
            trace: self.stage.trace.lines,
        }
    }

    pub(crate) const fn has_failed(&self) -> bool {
        self.stage.violation.is_some()
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        let clients = self.clients.iter().filter_map(Node::next_timeout);
        let servers = self.servers.iter().filter_map(Server::next_timeout);
        let modest = self.modest.iter().filter_map(Modest::next_timeout);
        let references = self.references.iter().filter_map(Reference::next_timeout);
        let peers = clients.chain(modest).chain(references);
        peers.chain(servers).chain(self.stage.queue.next()).min()
    }

    /// Does everything that is due.
    fn step(&mut self) {
        while let Some(event) = self.stage.queue.pop(self.stage.now) {
            self.happen(event);
            if self.has_failed() {
                return;
            }
        }
        let stage = &mut self.stage;
        self.clients.iter_mut().for_each(|client| client.due(stage));
        self.servers.iter_mut().for_each(|server| server.due(stage));
        self.modest.iter_mut().for_each(|peer| peer.due(stage));
        self.references.iter_mut().for_each(|peer| peer.due(stage));
    }

    fn happen(&mut self, event: Event) {
        let stage = &mut self.stage;
        match event {
            Event::Probe { from, attempt, server } => {
                let offers = match from {
                    Peer::Client(client) => self.clients[client].offers(),
                    Peer::Adversary(_) | Peer::Modest(_) | Peer::Reference(_) => false,
                };
                self.servers[server].probe(from, attempt, offers, stage);
            }
            Event::Probed { to, attempt, answer } => match to {
                Peer::Client(client) => self.clients[client].probed(attempt, answer, stage),
                Peer::Reference(peer) => self.references[peer].probed(attempt, answer, stage),
                Peer::Adversary(_) | Peer::Modest(_) => {}
            },
            Event::Packet { socket, way, packet, cost } => self.arrive(socket, way, packet, cost),
            Event::Broken { socket, way: Way::Up } => {
                self.servers.iter_mut().for_each(|server| server.lose(socket, stage));
            }
            Event::Broken { socket, way: Way::Down } => {
                self.clients.iter_mut().for_each(|client| client.lose(socket, stage));
                self.adversaries.iter_mut().for_each(|adversary| adversary.lose(socket));
                self.modest.iter_mut().for_each(|peer| peer.lose(socket, stage));
                self.references.iter_mut().for_each(|peer| peer.lose(socket, stage));
            }
            Event::Apply { operation } => {
                if let Some((asker, expired)) = store::apply(stage, operation) {
                    self.servers[asker.server].check_expired(asker.epoch, &expired, stage);
                }
            }
            Event::Answer { operation } => {
                if let Some((asker, answer)) = store::finish(stage, operation) {
                    self.servers[asker.server].answered(asker, answer, stage);
                }
            }
            Event::Opens { server, epoch, socket } => {
                if self.servers[server].epoch == epoch {
                    self.servers[server].open(socket, stage);
                }
            }
            Event::Left { server, epoch, id } => self.servers[server].left_late(epoch, id, stage),
            Event::Inbox { socket } => {
                self.servers.iter_mut().for_each(|server| server.take_inbox(socket, stage));
            }
            Event::Work { socket, work } => {
                let mut servers = self.servers.iter_mut();
                if let Some(server) =
                    servers.find(|server| server.connections.contains_key(&socket))
                {
                    server.work(socket, work, stage);
                }
            }
            Event::Restart { server } => self.restart(server, None),
            Event::ShutDownAgain { server, epoch } => self.shut_down_again(server, epoch),
            Event::Exit { server, epoch } => self.exit(server, epoch),
            Event::Accepts { server } => self.servers[server].refuses = false,
            Event::StoreRecovers => stage.store.habits = self.setup.habits,
        }
    }

    fn arrive(&mut self, socket: SocketId, way: Way, packet: Packet, cost: usize) {
        let stage = &mut self.stage;
        let Some(found) = stage.network.get(socket) else { return };
        let (peer, server) = (found.peer, found.server);
        if !stage.network.arrives(socket, way, cost) {
            return;
        }
        let packet = match stage.network.carried(stage.now, socket, way, packet) {
            Ok(packet) => packet,
            Err(text) => {
                return stage.check(false, Invariant::BytesAreMessages, || {
                    format!("#{socket} {way:?}: {text}")
                });
            }
        };
        match (way, peer) {
            (Way::Up, _) => self.servers[server].receive(socket, packet, stage),
            (Way::Down, Peer::Client(client)) => {
                self.clients[client].receive(socket, packet, stage);
                self.servers[server].resume(socket, stage);
            }
            (Way::Down, Peer::Adversary(adversary)) => {
                self.adversaries[adversary].receive(socket, packet, stage);
                self.servers[server].resume(socket, stage);
            }
            (Way::Down, Peer::Modest(peer)) => {
                self.modest[peer].receive(socket, packet, stage);
                self.servers[server].resume(socket, stage);
            }
            (Way::Down, Peer::Reference(peer)) => {
                self.references[peer].receive(socket, packet, stage);
                self.servers[server].resume(socket, stage);
            }
        }
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.stage.now + duration;
        while self.advance(end) {}
        if !self.has_failed() {
            self.stage.now = end;
        }
    }

    /// Goes to what happens next, if it does so by then, and does it. Returns whether it did.
    pub(crate) fn advance(&mut self, end: Instant) -> bool {
        let Some(next) = self.next().filter(|next| *next <= end) else { return false };
        self.steps += 1;
        let terminates = self.steps < MANY;
        self.stage.check(terminates, Invariant::Termination, || "too much happens".into());
        if self.has_failed() {
            return false;
        }
        self.stage.now = next.max(self.stage.now);
        self.step();
        true
    }
}
