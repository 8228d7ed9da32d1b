//! Scripts: a world without chance, step by step.

mod server;

use std::time::Duration;

use wwr::client::{
    Client, Config, DisconnectReason, Event as Told, Misuse, RequestError, RequestId,
};
use wwr::server::HubConfig;
use wwr::{Instant, Session, SessionKey};

use crate::bytes::Bytes;
use crate::dice::Dice;
use crate::event::{ClientId, millis};
use crate::network::{Conditions, SocketId, Way};
use crate::record::{Record, Sent};
use crate::reference::{Act, Kind, Notice, Reference, ReferenceId};
use crate::setup::{Setup, scripted_client};
use crate::store::Habits;
use crate::world::World;

/// How many of the last lines of the trace are shown when something does not hold.
const LAST_LINES: usize = 40;

/// One server, and what a test does with it, step by step.
///
/// Nothing is left to chance: a message takes 10 ms in either direction, the store 5 ms, a handler as
/// long as its request takes at most. Nothing goes wrong but what the script breaks. All the
/// [invariants](crate::Invariant) are checked in between; if one does not hold, the call panics with
/// the last lines of the trace.
///
/// ```
/// use wwr::client::Event;
/// use wwr::server::{self, HubConfig};
/// use wwr_world::Script;
///
/// let mut script = Script::new(server::Config::default(), HubConfig::default());
/// let [ada] = script.connected();
/// assert_eq!(script.ask(ada, "login"), Ok("welcome".into()));
/// script.cut(script.socket(ada));
/// script.run();
/// let told = script.told(ada);
/// assert!(matches!(&told[..], [.., Event::SessionRestored(_), Event::Connected]));
/// let frames = script.frames(|script| assert!(script.ask(ada, "echo").is_ok()));
/// assert_eq!(frames[0].frame, &b"\x80\x03\0\0\0\0\0\0\0\x04echo1"[..]);
/// script.finish();
/// ```
pub struct Script {
    world: World,
}

impl Script {
    /// A server with these settings.
    pub fn new(connection: wwr::server::Config, hub: HubConfig) -> Self {
        let conditions =
            Conditions { latency: millis(10), jitter: Duration::ZERO, per_kib: Duration::ZERO };
        Self::of(connection, hub, conditions, Dice::loaded())
    }

    /// The same with chance from a seed: a message takes from 5 to 10 ms, the store up to 5 ms, and a
    /// handler up to what its request takes at most.
    pub fn with_chance(seed: u64, connection: wwr::server::Config, hub: HubConfig) -> Self {
        let conditions =
            Conditions { latency: millis(5), jitter: millis(5), per_kib: Duration::ZERO };
        Self::of(connection, hub, conditions, Dice::seeded(seed))
    }

    fn of(
        connection: wwr::server::Config,
        hub: HubConfig,
        conditions: Conditions,
        dice: Dice,
    ) -> Self {
        let habits = Habits { slowness: HALF_OF_A_JOB, ..Habits::good() };
        let setup = Setup::scripted(connection, hub, conditions, habits);
        let aside = dice.aside();
        // Nothing changes by that, and WebSockets carry what scripts are about as well.
        let carrier = Some(Bytes::new(aside.aside(), None));
        let mut world = World::of(setup, carrier, dice, aside, true);
        world.stage.record = Some(Record::default());
        Self { world }
    }

    fn record(&mut self) -> &mut Record {
        self.world.stage.record.get_or_insert_default()
    }

    /// Carries something out, and sees that all invariants hold.
    #[track_caller]
    fn does<T>(&mut self, what: impl FnOnce(&mut World) -> T) -> T {
        let result = what(&mut self.world);
        if let Some(violation) = &self.world.stage.violation {
            let lines = &self.world.stage.trace.lines;
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            panic!("{violation}\n\n{}", last.join("\n"));
        }
        result
    }
}

/// Each of the two halves of what the store does takes this long.
const HALF_OF_A_JOB: Duration = Duration::from_micros(2500);

/// Later than anything happens.
const END_OF_TIME: Instant = Instant::from_nanos(u64::MAX);

/// Time.
impl Script {
    /// The time, by the clock of all.
    pub const fn now(&self) -> Instant {
        self.world.stage.now
    }

    /// Runs until nothing is under way any more but pings and heartbeats. Then each client holds the
    /// session that its connection does, and no call is without an outcome, unless a socket has fallen
    /// silent.
    #[track_caller]
    pub fn run(&mut self) {
        self.does(|world| {
            while !world.is_at_rest() && world.advance(END_OF_TIME) {}
            let network = &world.stage.network;
            let is_silent = network.ids().into_iter().any(|socket| network.is_silent(socket));
            if !is_silent {
                world.check_rest();
            }
        });
    }

    /// Runs for so long.
    #[track_caller]
    pub fn run_for(&mut self, duration: Duration) {
        self.does(|world| world.run_for(duration));
    }

    /// Runs for so many milliseconds.
    #[track_caller]
    pub fn run_for_millis(&mut self, duration: u64) {
        self.run_for(millis(duration));
    }

    /// Closes all clients, and sees that nothing is left: no connection, no socket, nothing that the hub
    /// or the store has to do, no call without an outcome.
    #[track_caller]
    pub fn finish(&mut self) {
        for client in 0..self.world.clients.len() {
            self.close(client);
        }
        self.does(|world| {
            world.rest();
            world.check_empty();
        });
    }
}

/// Clients.
impl Script {
    /// A client, which does nothing yet. Leave the timeout of requests at its default; a request may
    /// [have one of its own](Self::request_within).
    pub fn add_client(&mut self, config: Config) -> ClientId {
        let client = self.world.add_client(scripted_client(config));
        self.world.clients[client].is_settled = true;
        client
    }

    /// Some clients with the default settings, connected.
    #[track_caller]
    pub fn connected<const N: usize>(&mut self) -> [ClientId; N] {
        let clients = std::array::from_fn(|_| self.add_client(Config::default()));
        clients.into_iter().for_each(|client| self.connect(client));
        self.run();
        clients.into_iter().for_each(|client| assert_eq!(self.told(client), [Told::Connected]));
        clients
    }

    /// The machine of a client, to be asked.
    pub fn client(&self, client: ClientId) -> &Client {
        &self.world.clients[client].machine
    }

    /// Its application wants it connected.
    #[track_caller]
    pub fn connect(&mut self, client: ClientId) {
        self.does(|world| world.clients[client].connect(&mut world.stage));
    }

    /// Its application closes it.
    #[track_caller]
    pub fn close(&mut self, client: ClientId) {
        self.does(|world| world.clients[client].close(&mut world.stage));
    }

    /// Makes the request of this name. See [`request_names`](crate::request_names): others fail with a
    /// long message.
    #[track_caller]
    pub fn request(&mut self, client: ClientId, name: &str) -> RequestId {
        let made = self.try_request(client, name);
        made.unwrap_or_else(|misuse| panic!("client {client} cannot make a request: {misuse}"))
    }

    /// The same; it may be refused.
    #[track_caller]
    pub fn try_request(&mut self, client: ClientId, name: &str) -> Result<RequestId, Misuse> {
        self.does(|world| world.clients[client].request_within(name, None, &mut world.stage))
    }

    /// The same, with a timeout of its own.
    #[track_caller]
    pub fn request_within(
        &mut self,
        client: ClientId,
        name: &str,
        timeout: Duration,
    ) -> Result<RequestId, Misuse> {
        let timeout = Some(timeout);
        self.does(|world| world.clients[client].request_within(name, timeout, &mut world.stage))
    }

    /// Makes a request, and runs until nothing is under way any more. Returns its
    /// [outcome](Self::outcome).
    #[track_caller]
    pub fn ask(&mut self, client: ClientId, name: &str) -> Result<String, RequestError> {
        let id = self.request(client, name);
        self.run();
        self.outcome(client, id)
    }

    /// Restores a session.
    #[track_caller]
    pub fn restore(&mut self, client: ClientId, key: &SessionKey) -> RequestId {
        let made =
            self.does(|world| world.clients[client].restore_patiently(key, &mut world.stage));
        made.unwrap_or_else(|misuse| panic!("client {client} cannot restore a session: {misuse}"))
    }

    /// Closes the session.
    #[track_caller]
    pub fn close_session(&mut self, client: ClientId) -> RequestId {
        let made =
            self.does(|world| world.clients[client].close_session_within(None, &mut world.stage));
        made.unwrap_or_else(|misuse| panic!("client {client} cannot close a session: {misuse}"))
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&mut self, client: ClientId) -> Result<(), Misuse> {
        self.does(|world| world.clients[client].send_signal(&mut world.stage))
    }

    /// Cancels a request.
    #[track_caller]
    pub fn cancel(&mut self, client: ClientId, id: RequestId) {
        self.does(|world| world.clients[client].cancel_one(id, &mut world.stage));
    }

    /// How a call ended: what the handler said, without the number of the request before it. Panics if
    /// it has not ended.
    #[track_caller]
    pub fn outcome(&self, client: ClientId, id: RequestId) -> Result<String, RequestError> {
        let outcome = self.outcome_if_any(client, id);
        outcome.unwrap_or_else(|| panic!("{id} of client {client} has no outcome"))
    }

    /// The same, if it has ended.
    pub fn outcome_if_any(
        &self,
        client: ClientId,
        id: RequestId,
    ) -> Option<Result<String, RequestError>> {
        let outcomes = self.world.stage.record.as_ref().map(|record| &record.outcomes)?;
        let outcome = outcomes.get(&(client, id))?;
        Some(outcome.clone().map(|payload| {
            let text = String::from_utf8_lossy(payload.as_bytes());
            text.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().into()
        }))
    }

    /// What a client was told since the script last asked, but for signals and anomalies.
    pub fn told(&mut self, client: ClientId) -> Vec<Told> {
        let mut told = self.record().told.remove(&client).unwrap_or_default();
        told.retain(|event| !matches!(event, Told::Signal(_) | Told::Anomaly(_)));
        told
    }

    /// Returns why a client lost its connection, and the session that it then restored by itself. Panics
    /// unless it was told just that since the script last asked.
    #[track_caller]
    pub fn resumed(&mut self, client: ClientId) -> (DisconnectReason, Session) {
        let told = self.told(client);
        let [
            Told::Disconnected { reason, retry: Some(_) },
            Told::SessionRestored(session),
            Told::Connected,
        ] = &told[..]
        else {
            panic!("client {client} did not resume its session: {told:?}")
        };
        (reason.clone(), Session::clone(session))
    }

    /// The key of the session that a client holds.
    pub fn key(&self, client: ClientId) -> Option<SessionKey> {
        self.client(client).session().map(|session| session.key.clone())
    }

    /// How many numbered signals came on the socket there is.
    pub fn signals(&self, client: ClientId) -> u64 {
        self.world.clients[client].signals
    }

    /// The socket of a client, open or about to be.
    #[track_caller]
    pub fn socket(&self, client: ClientId) -> SocketId {
        let socket = self.world.clients[client].socket();
        socket.unwrap_or_else(|| panic!("client {client} has no socket"))
    }
}

/// Clients made by hand.
impl Script {
    /// A client made by hand, which does nothing yet.
    pub fn add_reference(&mut self, kind: Kind) -> ReferenceId {
        let id = self.world.references.len();
        self.world.references.push(Reference::new(id, kind));
        id
    }

    /// One of them.
    pub fn reference(&self, reference: ReferenceId) -> &Reference {
        &self.world.references[reference]
    }

    /// It does something.
    #[track_caller]
    pub fn act(&mut self, reference: ReferenceId, act: Act) {
        self.does(|world| world.references[reference].act(act, &mut world.stage));
    }

    /// What it was told since the script last asked.
    pub fn noticed(&mut self, reference: ReferenceId) -> Vec<Notice> {
        std::mem::take(&mut self.world.references[reference].told)
    }
}

/// The network.
impl Script {
    /// The messages that are sent while something is done, by both sides and on all sockets.
    #[track_caller]
    pub fn frames(&mut self, what: impl FnOnce(&mut Self)) -> Vec<Sent> {
        self.record().frames.clear();
        what(self);
        std::mem::take(&mut self.record().frames)
    }

    /// Breaks a socket: what is on its way is lost, and both sides learn of it 10 ms later.
    #[track_caller]
    pub fn cut(&mut self, socket: SocketId) {
        self.does(|world| world.stage.cut(socket, Duration::ZERO));
    }

    /// From now on a socket loses what is sent in a direction. Neither side is told.
    pub fn silence(&mut self, socket: SocketId, way: Way) {
        self.world.stage.network.silence(socket, way);
    }

    /// From now on the receiver of a direction takes so long for each message.
    pub fn drag(&mut self, socket: SocketId, way: Way, drag: Duration) {
        self.world.stage.network.drag(socket, way, drag);
    }

    /// Breaks the sockets that have fallen silent.
    #[track_caller]
    pub fn end_silence(&mut self) {
        self.does(World::end_silence);
    }
}

/// Returns settings with a change, in one expression.
pub fn with<C>(mut settings: C, change: impl FnOnce(&mut C)) -> C {
    change(&mut settings);
    settings
}
