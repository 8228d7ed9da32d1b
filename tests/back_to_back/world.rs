//! A world: one server, some clients, and what is between them.

use std::num::NonZeroUsize;
use std::time::Duration;

use wwr::client::{Config, Event as Told, Misuse, Outcome, RequestId};
use wwr::session::RegistryConfig;
use wwr::{Instant, SessionKey, Valid};

use crate::client::Node;
use crate::fabric::{ClientId, Conditions, Event, Fabric, SocketId, Way};
use crate::reference::{self, Reference};
use crate::server::{Server, Settings};
use crate::store::Habits;

/// More steps than any run takes: one that takes more goes round in circles.
const MANY: usize = 200_000;

pub(crate) struct World {
    pub(crate) fabric: Fabric,
    pub(crate) server: Server,
    pub(crate) clients: Vec<Node>,
    /// Clients made by hand.
    pub(crate) references: Vec<Reference>,
}

/// 10 ms each way, a store that takes 5 ms, everything by the default settings.
pub(crate) fn calm() -> Settings {
    Settings {
        connection: wwr::server::Config::default(),
        registry: RegistryConfig::default(),
        habits: Habits { slowness: Duration::from_millis(5), failures: 0 },
    }
}

/// As [`calm`], with a limit of connections for each session.
pub(crate) fn limited(max_connections: usize) -> Settings {
    let mut settings = calm();
    settings.registry.max_connections = NonZeroUsize::new(max_connections);
    settings
}

/// Settings of a client that differ from the default ones in this.
pub(crate) fn configured(change: impl FnOnce(&mut Config)) -> Valid<Config> {
    let mut config = Config::default();
    change(&mut config);
    config.validate().expect("usual settings")
}

pub(crate) const CALM: Conditions =
    Conditions { latency: Duration::from_millis(10), jitter: Duration::ZERO };

impl World {
    pub(crate) fn new(seed: u64, conditions: Conditions, settings: Settings) -> Self {
        let fabric = Fabric::new(seed, conditions);
        Self { fabric, server: Server::new(settings), clients: Vec::new(), references: Vec::new() }
    }

    /// A world without chance.
    pub(crate) fn scripted(settings: Settings) -> Self {
        Self::new(0, CALM, settings)
    }

    pub(crate) fn client(&mut self, config: Valid<Config>) -> ClientId {
        let seed = self.fabric.dice.below(u64::MAX);
        self.clients.push(Node::new(self.clients.len(), &config, seed));
        self.clients.len() - 1
    }

    pub(crate) fn reference(&mut self, kind: reference::Kind) -> usize {
        self.references.push(Reference::new(self.references.len(), kind));
        self.references.len() - 1
    }

    /// Some clients with the default settings, connected.
    pub(crate) fn connected<const N: usize>(&mut self) -> [ClientId; N] {
        let clients = std::array::from_fn(|_| self.client(Valid::default()));
        for client in clients {
            self.connect(client);
        }
        self.run();
        clients.into_iter().for_each(|client| assert_eq!(self.told(client), [Told::Connected]));
        clients
    }

    /// When something happens next.
    fn next(&self) -> Option<Instant> {
        let clients = self.clients.iter().filter_map(|node| node.machine.next_timeout());
        let references = self.references.iter().filter_map(Reference::next_timeout);
        let all = clients.chain(references).chain(self.fabric.next());
        all.chain(self.server.next_timeout()).min()
    }

    /// Whether nothing happens any more by itself, but for each side making sure that the other is
    /// still there.
    fn is_at_rest(&self) -> bool {
        self.fabric.is_at_rest()
            && !self.server.is_closing()
            && !self.clients.iter().any(Node::is_busy)
            && !self.references.iter().any(Reference::is_busy)
    }

    /// Does everything that is due.
    fn step(&mut self) {
        let fabric = &mut self.fabric;
        while let Some(event) = fabric.pop() {
            match event {
                Event::Probe { client, attempt } => self.server.probe(client, attempt, fabric),
                Event::Probed { client, attempt, answer } => match reference::index(client) {
                    Some(index) => self.references[index].probed(attempt, answer, fabric),
                    None => self.clients[client].probed(attempt, answer, fabric),
                },
                Event::Packet { socket, way: Way::Up, packet } => {
                    self.server.receive(socket, packet, fabric);
                }
                Event::Packet { socket, way: Way::Down, packet } => {
                    let client = fabric.owner(socket);
                    match reference::index(client) {
                        Some(index) => self.references[index].receive(socket, packet, fabric),
                        None => self.clients[client].receive(socket, packet, fabric),
                    }
                }
                Event::Broken { socket, way: Way::Up, .. } => self.server.lose(socket, fabric),
                Event::Broken { client, socket, way: Way::Down } => {
                    match reference::index(client) {
                        Some(index) => self.references[index].lose(socket, fabric),
                        None => self.clients[client].lose(socket, fabric),
                    }
                }
                Event::Stored { epoch, ticket } => self.server.stored(epoch, ticket, fabric),
                Event::Work { socket, work } => self.server.work(socket, work, fabric),
            }
        }
        self.clients.iter_mut().for_each(|client| client.due(fabric));
        self.references.iter_mut().for_each(|reference| reference.due(fabric));
        self.server.due(fabric);
    }

    /// Goes to what happens next, and does it.
    fn advance(&mut self, next: Instant) {
        self.fabric.now = next.max(self.fabric.now);
        self.step();
    }

    /// Runs until the world is at rest.
    pub(crate) fn run(&mut self) {
        for _ in 0..MANY {
            match self.next() {
                Some(next) if !self.is_at_rest() => self.advance(next),
                _ => return,
            }
        }
        panic!("the world does not come to rest");
    }

    pub(crate) fn run_for(&mut self, duration: Duration) {
        let end = self.fabric.now + duration;
        for _ in 0..MANY {
            match self.next() {
                Some(next) if next <= end => self.advance(next),
                _ => {
                    self.fabric.now = end;
                    return;
                }
            }
        }
        panic!("too much happens");
    }

    pub(crate) fn run_for_millis(&mut self, millis: u64) {
        self.run_for(Duration::from_millis(millis));
    }
}

/// What scripts do.
impl World {
    pub(crate) fn connect(&mut self, client: ClientId) {
        self.clients[client].connect(&mut self.fabric);
    }

    pub(crate) fn close(&mut self, client: ClientId) {
        self.clients[client].close(&mut self.fabric);
    }

    pub(crate) fn request(&mut self, client: ClientId, name: &str) -> RequestId {
        self.clients[client].request(name, None, &mut self.fabric).expect("a possible request")
    }

    /// Makes a request and waits until the world is at rest.
    pub(crate) fn ask(&mut self, client: ClientId, name: &str) -> Outcome {
        let id = self.request(client, name);
        self.run();
        self.outcome(client, id)
    }

    pub(crate) fn restore(
        &mut self,
        client: ClientId,
        key: &SessionKey,
    ) -> Result<RequestId, Misuse> {
        self.clients[client].restore(key, &mut self.fabric)
    }

    pub(crate) fn close_session(&mut self, client: ClientId) -> RequestId {
        self.clients[client].close_session(&mut self.fabric).expect("a possible call")
    }

    pub(crate) fn outcome(&self, client: ClientId, id: RequestId) -> Outcome {
        self.clients[client].outcomes.get(&id).expect("an outcome by now").clone()
    }

    /// What a client was told, but for signals, since it was last looked at.
    pub(crate) fn told(&mut self, client: ClientId) -> Vec<Told> {
        let told = std::mem::take(&mut self.clients[client].told);
        let is_of_interest = |event: &Told| !matches!(event, Told::Anomaly(_));
        told.into_iter().filter(is_of_interest).collect()
    }

    /// The key of the session that a client holds.
    pub(crate) fn key(&self, client: ClientId) -> Option<SessionKey> {
        self.clients[client].machine.session().map(|session| session.key.clone())
    }

    pub(crate) fn socket(&self, client: ClientId) -> SocketId {
        self.clients[client].socket().expect("a socket")
    }

    pub(crate) fn cut(&mut self, client: ClientId) {
        let socket = self.socket(client);
        self.fabric.cut(socket);
    }
}
