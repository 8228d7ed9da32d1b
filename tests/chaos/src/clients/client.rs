//! One client: what it does next, and what it hears.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{sleep, timeout};
use wwr_tokio::client::{
    self as wire, Config, Destination, Dial, Dialed, Error, Pings, RequestError, SessionLoss, Tcp,
};
use wwr_tokio::{SessionKey, Tokio};

use super::{FAMILY, Failure, GROUPS, Phase, Shareable, Shared, lock};
use crate::history::{Ask, Client, Event, Node, Op, Outcome, Session};
use crate::node::session_of;

/// A client.
pub(super) struct Mind {
    shared: Arc<Shared>,
    number: Client,
    pub(super) family: Arc<Shareable>,
    wire: wire::Client,
    line: Arc<Line>,
    last_call: AtomicU32,
    held: Mutex<Option<(Session, Op)>>,
    /// The connection on which it has joined its group.
    joined: AtomicUsize,
}

/// The connection of a client.
struct Line {
    shared: Arc<Shared>,
    number: Client,
    /// The node that was dialled last.
    node: AtomicUsize,
    /// How often it has connected; 0 while it is not.
    connected: AtomicUsize,
}

impl Dial<Tokio> for LineDialer {
    async fn dial(&self, runtime: &Tokio, to: &Destination) -> io::Result<Dialed<Tokio>> {
        let Line { shared, number, node, .. } = &*self.0;
        // What a preflight has found has to be the same node.
        let reached = to.reached().and_then(|at| shared.nodes.iter().position(|node| *node == at));
        let chosen = reached.unwrap_or_else(|| fastrand::usize(..shared.nodes.len()));
        let at = shared.nodes[chosen];
        node.store(chosen, Ordering::Relaxed);
        shared.recorder.write(Event::Dials(*number, chosen as Node));
        Tcp.dial(runtime, &to.clone().at(at.ip().to_string(), at.port())).await
    }
}

/// Dials any of the nodes.
struct LineDialer(Arc<Line>);

fn config(shared: &Shared) -> Config {
    let mut config = Config::default();
    let machine = &mut config.machine;
    machine.pings = Some(Pings::new(Duration::from_secs(2), Duration::from_millis(1500)));
    machine.request_timeout = Duration::from_secs(3);
    machine.probe_timeout = Duration::from_secs(3);
    machine.dial_timeout = Duration::from_secs(3);
    machine.initial_backoff = Duration::from_millis(100);
    machine.max_backoff = Duration::from_secs(1);
    machine.backoff_reset_after = Duration::ZERO;
    machine.resume_timeout = Duration::from_secs(3);
    // One that has lost its place to another gives up soon.
    machine.resume_attempts = 4;
    machine.resume_signals = shared.arguments.resume_signals;
    config
}

impl Mind {
    pub(super) fn start(
        shared: Arc<Shared>,
        family: Arc<Shareable>,
        number: Client,
    ) -> Result<Arc<Self>, Failure> {
        let line = Arc::new(Line {
            shared: shared.clone(),
            number,
            node: AtomicUsize::new(0),
            connected: AtomicUsize::new(0),
        });
        let wire = wire::Client::builder("ws://any.node/")?.dial(LineDialer(line.clone()));
        let wire = wire.config(config(&shared)).build()?;
        let (last_call, held, joined) = (AtomicU32::new(0), Mutex::default(), AtomicUsize::new(0));
        let mind = Arc::new(Self { shared, number, family, wire, line, last_call, held, joined });
        tokio::spawn(mind.clone().hear());
        tokio::spawn(mind.clone().act());
        Ok(mind)
    }

    fn write(&self, event: Event) {
        self.shared.recorder.write(event);
    }

    pub(super) fn is_connected(&self) -> bool {
        self.line.connected.load(Ordering::Relaxed) != 0
    }

    /// The session that it has, and its value.
    pub(super) fn holds(&self) -> Option<(Session, Op)> {
        *lock(&self.held)
    }

    fn place(&self) -> u32 {
        self.number % FAMILY
    }

    fn group(&self) -> u32 {
        self.number / FAMILY % GROUPS
    }

    fn shared_session(&self) -> Option<(Session, SessionKey)> {
        lock(&self.family).clone()
    }

    fn forget(&self, session: Session) {
        let mut family = lock(&self.family);
        family.take_if(|(shared, _)| *shared == session);
    }

    pub(super) fn describe(&self) -> String {
        let node = self.line.node.load(Ordering::Relaxed);
        let is = if self.is_connected() { "on" } else { "not connected, last" };
        let held = self.holds().map_or("no session".into(), |(session, value)| {
            format!("session {session} with {value}")
        });
        let shared = self.shared_session().map(|(session, _)| session);
        format!("client {} {is} node {node}: {held} (family: {shared:?})", self.number)
    }

    /// Writes down all that it hears.
    async fn hear(self: Arc<Self>) {
        let mut events = self.wire.events();
        let (client, mut connections) = (self.number, 0);
        while let Some(event) = events.next().await {
            match event {
                wire::Event::Connected => {
                    connections += 1;
                    self.write(Event::Connected(client));
                    self.line.connected.store(connections, Ordering::Relaxed);
                }
                wire::Event::Disconnected { .. } => {
                    self.line.connected.store(0, Ordering::Relaxed);
                    self.write(Event::Disconnected(client));
                }
                wire::Event::SessionCreated(session) | wire::Event::SessionRestored(session) => {
                    let has = session_of(&session.info);
                    *lock(&self.held) = has;
                    if let Some((session, value)) = has {
                        self.write(Event::Has(client, session, value));
                    }
                }
                wire::Event::SessionUpdated(session) => {
                    let has = session_of(&session.info);
                    *lock(&self.held) = has;
                    if let Some((session, value)) = has {
                        self.write(Event::Updated(client, session, value));
                    }
                }
                wire::Event::SessionClosed => {
                    lock(&self.held).take();
                    self.write(Event::Left(client));
                }
                wire::Event::SessionLost(why) => {
                    let held = lock(&self.held).take();
                    let lost = held.filter(|_| why == SessionLoss::NotFound);
                    self.write(
                        lost.map_or(Event::Left(client), |held| Event::Lost(client, held.0)),
                    );
                    if let Some((session, _)) = lost {
                        self.forget(session);
                    }
                }
                wire::Event::Signal(signal) => {
                    let number = signal.text().ok().and_then(|text| text.parse().ok());
                    self.shared.heard.fetch_add(1, Ordering::Relaxed);
                    self.write(Event::Heard(client, Op(number.unwrap_or_default())));
                }
                wire::Event::SignalsResumed { missed } => {
                    self.write(Event::Resumed(client, missed));
                }
                wire::Event::SignalGap { .. } => self.write(Event::Gap(client)),
                wire::Event::Missed(_) => self.write(Event::Missed(client)),
                _ => {}
            }
        }
    }

    /// Does what the phase is for.
    async fn act(self: Arc<Self>) {
        let mut random = fastrand::Rng::with_seed(
            self.shared.arguments.seed.wrapping_add(u64::from(self.number) * 0x9e37),
        );
        let mut phases = self.shared.phase.subscribe();
        self.connect().await;
        loop {
            let phase = *phases.borrow_and_update();
            let pause = match phase {
                Phase::Rest => Duration::MAX,
                Phase::Begin => {
                    self.begin().await;
                    self.shared.begun.fetch_add(1, Ordering::Relaxed);
                    Duration::MAX
                }
                Phase::Play => {
                    self.play(&mut random).await;
                    let pause = 2.0 * random.f64() / self.shared.arguments.rate;
                    Duration::from_secs_f64(pause)
                }
                Phase::Settle => {
                    self.settle().await;
                    Duration::from_millis(random.u64(100..300))
                }
                Phase::Close => {
                    self.end().await;
                    Duration::from_millis(random.u64(100..300))
                }
            };
            tokio::select! {
                changed = phases.changed() => if changed.is_err() { return },
                () = sleep(pause) => {}
            }
            if *phases.borrow() == Phase::Play && phase != Phase::Play {
                let spread = random.f64() / self.shared.arguments.rate;
                sleep(Duration::from_secs_f64(spread)).await;
            }
        }
    }

    /// Connects. If that takes long, it goes on by itself.
    async fn connect(&self) {
        // An error is why it tries again.
        let _ = timeout(Duration::from_secs(2), self.wire.connect()).await;
    }

    async fn begin(&self) {
        if self.shared.arguments.resume_signals {
            self.write(Event::Resumes(self.number));
        }
        if self.is_connected() {
            let node = self.line.node.load(Ordering::Relaxed) as Node;
            self.write(Event::Dials(self.number, node));
            self.write(Event::Connected(self.number));
            self.joined.store(0, Ordering::Relaxed);
            self.join().await;
        }
    }

    /// Joins its group, unless it has done so on this connection.
    async fn join(&self) {
        let connected = self.line.connected.load(Ordering::Relaxed);
        if connected != 0 && self.joined.swap(connected, Ordering::Relaxed) != connected {
            let group = self.group();
            if self.request(Ask::Join(group), |_| ("join", group.to_string())).await.is_err() {
                self.joined.store(0, Ordering::Relaxed);
            }
        }
    }

    async fn play(&self, random: &mut fastrand::Rng) {
        if !self.is_connected() {
            return;
        }
        self.join().await;
        let shared = self.shared_session();
        let Some((session, _)) = self.holds() else {
            match shared {
                Some((session, key)) => self.restore(session, key).await,
                None => self.log_in().await,
            }
            return;
        };
        match random.u32(..1000) {
            ..350 => drop(self.update(session).await),
            350..600 => {
                if let Some((session, key)) = shared {
                    let text = |op: Op| ("to-session", format!("{} {}", op.0, key.as_str()));
                    drop(self.request(Ask::ToSession(session), text).await);
                }
            }
            600..700 => {
                let group = random.u32(..GROUPS);
                let text = |op: Op| ("to-group", format!("{} {group}", op.0));
                drop(self.request(Ask::ToGroup(group), text).await);
            }
            700..703 => {
                drop(self.request(Ask::ToAll, |op| ("to-all", op.0.to_string())).await);
            }
            703..770 => self.log_out(session, random.bool()).await,
            770..810 => self.close(shared).await,
            810..890 => {
                self.wire.close().await;
                self.connect().await;
            }
            _ => {}
        }
    }

    async fn log_in(&self) {
        let reply = self.request(Ask::Login, |op| ("login", op.0.to_string())).await;
        if let Ok((op, key)) = reply
            && let Ok(key) = SessionKey::new(key)
        {
            *lock(&self.family) = Some((op, key));
        }
    }

    async fn restore(&self, session: Session, key: SessionKey) {
        let op = self.ask(Ask::Restore(session));
        let restored = self.wire.restore_session(key).await;
        let outcome = match &restored {
            Ok(restored) => match session_of(&restored.info) {
                Some((_, value)) => Outcome::Restored(value),
                None => Outcome::Failed,
            },
            Err(Error::Request(RequestError::SessionNotFound)) => Outcome::NotFound,
            Err(Error::Request(RequestError::MaxSessionConnections)) => Outcome::Limit,
            Err(_) => Outcome::Failed,
        };
        self.write(Event::Ends(op, outcome));
        if outcome == Outcome::NotFound {
            self.forget(session);
        }
    }

    async fn update(&self, session: Session) -> Result<(Op, String), Error> {
        let text = |op: Op| ("update", format!("{} {}", session.0, op.0));
        self.request(Ask::Update(session), text).await
    }

    /// Gives up its session, by itself or by a request.
    async fn log_out(&self, session: Session, by_itself: bool) {
        if !by_itself {
            drop(self.request(Ask::Logout(session), |_| ("logout", String::new())).await);
            return;
        }
        let op = self.ask(Ask::Logout(session));
        let outcome = match self.wire.close_session().await {
            Ok(()) => Outcome::Done,
            Err(_) => Outcome::Failed,
        };
        self.write(Event::Ends(op, outcome));
    }

    async fn close(&self, shared: Option<(Session, SessionKey)>) {
        let Some((session, key)) = shared else { return };
        let text = |_| ("close", format!("{} {}", session.0, key.as_str()));
        if self.request(Ask::Close(session), text).await.is_ok() {
            self.forget(session);
        }
    }

    fn ask(&self, ask: Ask) -> Op {
        let op = Op::new(self.number, self.last_call.fetch_add(1, Ordering::Relaxed) + 1);
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
        self.write(Event::Asks(op, ask));
        op
    }

    /// Makes a request, and writes down how it ends.
    async fn request(
        &self,
        ask: Ask,
        text: impl FnOnce(Op) -> (&'static str, String),
    ) -> Result<(Op, String), Error> {
        let op = self.ask(ask);
        let (name, text) = text(op);
        let reply = self.wire.request(name, text).await;
        let reply = reply.map(|reply| reply.text().unwrap_or_default().to_string());
        let outcome = match &reply {
            Err(_) => Outcome::Failed,
            Ok(text) if matches!(ask, Ask::ToSession(_) | Ask::ToGroup(_) | Ask::ToAll) => {
                match text.split_once(' ') {
                    Some(("sent", nodes)) => Outcome::Sent(nodes.parse().unwrap_or_default()),
                    _ if text == "not-sent" => Outcome::NotSent,
                    _ => Outcome::Unclear,
                }
            }
            Ok(_) => Outcome::Done,
        };
        self.write(Event::Ends(op, outcome));
        reply.map(|text| (op, text))
    }

    /// Does a step on the way to the session of the family, or away from it.
    async fn settle(&self) {
        if self.place() == FAMILY - 1 {
            if let Some((session, _)) = self.holds() {
                if self.is_connected() {
                    self.log_out(session, true).await;
                } else {
                    // It forgets the session, which it need not resume.
                    self.wire.close().await;
                    let _ = self.wire.close_session().await;
                    lock(&self.held).take();
                    self.write(Event::Left(self.number));
                    self.connect().await;
                }
            }
            return;
        }
        if !self.is_connected() {
            return;
        }
        match (self.holds(), self.shared_session()) {
            (Some((session, _)), Some((shared, _))) if session == shared => {}
            (Some((session, _)), _) => self.log_out(session, true).await,
            (None, Some((session, key))) => self.restore(session, key).await,
            (None, None) if self.place() == 0 => self.log_in().await,
            (None, None) => {}
        }
    }

    /// One of a family closes its session for all; the others are told.
    async fn end(&self) {
        if self.place() == 0 && self.is_connected() {
            self.close(self.shared_session()).await;
        }
    }
}

/// Whether all of a family but one have the same session with the same value.
pub(super) fn are_settled(family: &[Arc<Mind>]) -> bool {
    let Some(shared) = family.first().and_then(|mind| mind.shared_session()) else { return false };
    let value = family[0].holds();
    value.is_some_and(|(session, _)| session == shared.0)
        && family.iter().all(|mind| {
            let is_last = mind.place() == FAMILY - 1;
            let settled = if is_last { None } else { value };
            mind.holds() == settled && (is_last || mind.is_connected())
        })
}
