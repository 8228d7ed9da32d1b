//! A node: a process with a server that is one of the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use wwr_redis::{Cluster, Engine, RedisConfig};
use wwr_tokio::cluster::{ClusterConfig, ClusterState, SendOutcome};
use wwr_tokio::server::{
    Broadcast, ClosedBy, Config, Connection, Connections, Fate, Handler, HistoryConfig, Pings,
    RequestError, Server, ServerHandle, SessionChange,
};
use wwr_tokio::{Content, Payload, PreparedSignal, SessionInfo, SessionKey, Tokio};

use crate::clock::now;
use crate::history::{self, Entry, Event, Op, Session, Time};

/// How often a node looks at what it holds.
const LOOKS: Duration = Duration::from_millis(50);

/// What a node is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct NodeArguments {
    /// Its place among the nodes.
    #[arg(long)]
    pub(crate) index: history::Node,
    /// Where it listens.
    #[arg(long)]
    pub(crate) port: u16,
    /// The engine.
    #[arg(long)]
    pub(crate) engine: Option<String>,
    /// A sentinel that knows where the engine is.
    #[arg(long)]
    pub(crate) sentinel: Option<String>,
    /// The lease, in milliseconds.
    #[arg(long)]
    pub(crate) lease: u64,
    /// How many connections may have one session.
    #[arg(long)]
    pub(crate) limit: NonZeroUsize,
    /// Where it writes what it sees.
    #[arg(long)]
    pub(crate) history: PathBuf,
    /// Whether it keeps signals for clients that resume them.
    #[arg(long)]
    pub(crate) keeps_signals: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs a node until standard input ends.
pub(crate) async fn run(arguments: NodeArguments) -> Result<(), Failure> {
    let file = File::options().create(true).append(true).open(&arguments.history)?;
    let witness =
        Arc::new(Witness { node: arguments.index, file: Mutex::new(file), keys: Mutex::default() });
    witness.write(&[(now(), Event::Starts(arguments.index))]);
    let engine = match (&arguments.sentinel, &arguments.engine) {
        (Some(sentinel), _) => Engine::sentinel([sentinel.as_str()], "redis://mymaster"),
        (None, Some(engine)) => Engine::at(engine.as_str()),
        (None, None) => return Err("no engine".into()),
    };
    let lease = Duration::from_millis(arguments.lease);
    let mut settings = RedisConfig::default();
    settings.timeout = lease / 2;
    settings.connect_timeout = lease / 4;
    let engine = Cluster::<Tokio>::open(engine, settings).await?;
    let mut cluster = ClusterConfig::new(format!("node {}", arguments.index));
    cluster.lease = lease;
    cluster.request_timeout = lease / 4;
    let mut config = Config::default();
    config.hub.sessions.max_connections = Some(arguments.limit);
    config.hub.sessions.durable = true;
    config.connection.pings = Some(Pings::new(Duration::from_secs(2), Duration::from_secs(2)));
    let mut server = Server::builder(App(witness.clone())).config(config).cluster(engine, cluster);
    if arguments.keeps_signals {
        server = server.history(HistoryConfig::default());
    }
    let server = server.listen(("127.0.0.1", arguments.port)).await?;
    let handle = server.handle();
    thread::spawn(move || witness.watch(&handle));
    thread::spawn(|| {
        // The conductor has gone.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    server.run().await;
    Ok(())
}

/// What a node sees, and writes down at once: it may be killed at any time.
struct Witness {
    node: history::Node,
    file: Mutex<File>,
    /// The keys of the sessions that it has had.
    keys: Mutex<BTreeMap<Session, SessionKey>>,
}

impl Witness {
    fn write(&self, seen: &[(Time, Event)]) {
        let lines: String =
            seen.iter().map(|(at, event)| Entry { at: *at, event: event.clone() }.line()).collect();
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a history, there is nothing to check.
        file.write_all(lines.as_bytes()).expect("the history of a node cannot be written");
    }

    fn knows(&self, session: Session, key: &SessionKey) {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.entry(session).or_insert_with(|| key.clone());
    }

    fn destroyed(&self, session: Session) {
        self.write(&[(now(), Event::Destroyed(self.node, session))]);
    }

    /// Looks at which connections hold which sessions, again and again.
    fn watch(&self, server: &ServerHandle) {
        let mut held = BTreeSet::new();
        let mut troubles = 0;
        loop {
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // What is there now was there at `until` if it was there before, and is there at `from` in any case.
            let until = now();
            let mut holds = BTreeSet::new();
            let mut gone = Vec::new();
            for (session, key) in &keys {
                let connections = server.session_connections(key);
                if connections.is_empty() {
                    gone.push(*session);
                }
                holds.extend(connections.iter().map(|connection| (connection.id(), *session)));
            }
            let from = now();
            let mut seen: Vec<(Time, Event)> = Vec::new();
            for (connection, session) in held.difference(&holds) {
                seen.push((until, Event::Dropped(self.node, *connection, *session)));
            }
            seen.push((until, Event::Look(self.node)));
            if let Some(cluster) = server.stats().cluster {
                let counters = &cluster.counters;
                let now = counters.lost + counters.away + counters.interruptions;
                let is_well = matches!(cluster.state, ClusterState::Member { confirms: false, .. });
                if now != troubles || !is_well {
                    seen.push((from, Event::Troubled(self.node)));
                }
                troubles = now;
            }
            for (connection, session) in holds.difference(&held) {
                seen.push((from, Event::Held(self.node, *connection, *session)));
            }
            self.write(&seen);
            held = holds;
            // Those that come back are told of again.
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            gone.iter().for_each(|session| drop(keys.remove(session)));
            drop(keys);
            thread::sleep(LOOKS);
        }
    }
}

/// What clients of the check can ask for.
struct App(Arc<Witness>);

fn failed(error: &impl std::fmt::Display) -> RequestError {
    RequestError::failed("FAILED", error.to_string())
}

fn no(code: &str) -> RequestError {
    RequestError::failed(code, "")
}

/// The session that an info is about.
pub(crate) fn session_of(info: &SessionInfo) -> Option<(Session, Op)> {
    let number = |name| info.value(name).and_then(|value| value.as_u64()).map(Op);
    Some((number("session")?, number("value")?))
}

fn info(session: Session, value: Op) -> SessionInfo {
    SessionInfo::new().public("session", session.0).public("value", value.0)
}

impl App {
    async fn answer(&self, client: &Connection, asked: &Content) -> Result<String, RequestError> {
        let text = asked.text().map_err(|error| failed(&error))?;
        let mut words = text.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let number = |word: &str| word.parse().map(Op).map_err(|error| failed(&error));
        let key = |word: &str| SessionKey::new(word).map_err(|error| failed(&error));
        match asked.name() {
            b"login" => {
                let op = number(word())?;
                let session = client.create_session(info(op, op)).await;
                let session = session.map_err(|error| failed(&error))?;
                Ok(session.key.as_str().into())
            }
            b"update" => {
                let (session, op) = (number(word())?, number(word())?);
                let has = client.session().and_then(|session| session_of(&session.info));
                if has.map(|(session, _)| session) != Some(session) {
                    return Err(no("OTHER_SESSION"));
                }
                let updated = client.update_session(info(session, op)).await;
                updated.map(|_| String::new()).map_err(|error| failed(&error))
            }
            b"logout" => match client.close_session().await {
                Ok(true) => Ok(String::new()),
                Ok(false) => Err(no("NO_SESSION")),
                Err(error) => Err(failed(&error)),
            },
            b"close" => {
                let (session, key) = (number(word())?, key(word())?);
                let closed = client.server().close_session(key, Connections::Keep).await;
                closed.map_err(|_| no("STORE"))?;
                self.0.destroyed(session);
                Ok(String::new())
            }
            b"join" => {
                client.join(word()).map_err(|error| failed(&error))?;
                Ok(String::new())
            }
            b"to-session" => {
                let (signal, key) = (signal(word())?, key(word())?);
                Ok(outcome(client.server().signal_session(&key, &signal)).await)
            }
            b"to-group" => {
                let (signal, group) = (signal(word())?, word());
                Ok(outcome(client.server().group(group).signal_prepared(&signal)).await)
            }
            b"to-all" => Ok(outcome(client.server().signal_all(&signal(word())?)).await),
            _ => Err(no("UNKNOWN_NAME")),
        }
    }
}

fn signal(number: &str) -> Result<PreparedSignal, RequestError> {
    PreparedSignal::new("op", Payload::utf8(number)).map_err(|error| failed(&error))
}

async fn outcome(told: Broadcast) -> String {
    let Some(forwarded) = told.forwarded else { return "unclear".into() };
    match forwarded.outcome().await {
        SendOutcome::Sent { nodes } => format!("sent {nodes}"),
        SendOutcome::Unavailable | SendOutcome::Expired { .. } | SendOutcome::Full => {
            "not-sent".into()
        }
        _ => "unclear".into(),
    }
}

impl Handler for App {
    async fn request(&self, client: &Connection, asked: Content) -> Result<Payload, RequestError> {
        self.answer(client, &asked).await.map(Payload::utf8)
    }

    async fn session_changed(&self, _: &Connection, change: SessionChange) {
        if let Some(after) = change.after()
            && let Some((session, _)) = session_of(&after.info)
        {
            self.0.knows(session, &after.key);
        }
        // One that is closed by its key is told before the engine has answered, which may fail.
        if let SessionChange::Closed { session, fate: Fate::Destroyed, by } = &change
            && *by != ClosedBy::Key
            && let Some((session, _)) = session_of(&session.info)
        {
            self.0.destroyed(session);
        }
    }
}
