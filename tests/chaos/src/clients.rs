//! Many clients in one process. They work in families that share a session.

mod client;
mod recorder;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::sync::watch;
use wwr_tokio::SessionKey;

use crate::history::{Client, Session};
use client::Mind;
use recorder::Recorder;

/// How many clients share a session: one more than may have it.
pub(crate) const FAMILY: u32 = 4;

/// How many groups there are, at most.
const GROUPS: u32 = 50;

/// What the process of clients is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ClientsArguments {
    /// The number of the first client.
    #[arg(long)]
    pub(crate) first: Client,
    /// How many.
    #[arg(long)]
    pub(crate) count: u32,
    /// How many calls one makes in a second, on average.
    #[arg(long)]
    pub(crate) rate: f64,
    /// What they do is drawn from this.
    #[arg(long)]
    pub(crate) seed: u64,
    /// The ports of the nodes.
    #[arg(long, value_delimiter = ',', required = true)]
    pub(crate) ports: Vec<u16>,
    /// Where it writes what they see.
    #[arg(long)]
    pub(crate) history: PathBuf,
    /// Whether they resume signals.
    #[arg(long)]
    pub(crate) resume_signals: bool,
}

/// What all clients do at the moment. The conductor says this in a line of standard input, and hears in lines of standard
/// output how many are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing, as at the start.
    Rest,
    /// They write down where they are connected, and join their group.
    Begin,
    /// They work.
    Play,
    /// All of a family but one get the same session with the same value.
    Settle,
    /// All close their sessions.
    Close,
}

impl Phase {
    /// Its name in the line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Begin => "begin",
            Self::Play => "play",
            Self::Settle => "settle",
            Self::Close => "close",
        }
    }

    fn named(name: &str) -> Option<Self> {
        let all = [Self::Rest, Self::Begin, Self::Play, Self::Settle, Self::Close];
        all.into_iter().find(|phase| phase.name() == name)
    }
}

/// What the clients of a process share.
struct Shared {
    arguments: ClientsArguments,
    nodes: Vec<SocketAddr>,
    phase: watch::Sender<Phase>,
    recorder: Recorder,
    /// How many have begun.
    begun: AtomicUsize,
    /// How many calls they have made.
    calls: AtomicU64,
    /// How many signals they have heard.
    heard: AtomicU64,
}

/// The session that a family shares, and its key.
type Shareable = Mutex<Option<(Session, SessionKey)>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the clients until standard input ends.
pub(crate) async fn run(arguments: ClientsArguments) -> Result<(), Failure> {
    let nodes = arguments.ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
    let shared = Arc::new(Shared {
        nodes,
        phase: watch::channel(Phase::Rest).0,
        recorder: Recorder::to(&arguments.history)?,
        begun: AtomicUsize::new(0),
        calls: AtomicU64::new(0),
        heard: AtomicU64::new(0),
        arguments,
    });
    let mut families: Vec<Vec<Arc<Mind>>> = Vec::new();
    for number in 0..shared.arguments.count {
        if number % FAMILY == 0 {
            families.push(Vec::new());
        }
        let family = families.last_mut().expect("the first one was just made");
        let shareable = family.first().map_or_else(Arc::default, |mind| mind.family.clone());
        family.push(Mind::start(shared.clone(), shareable, shared.arguments.first + number)?);
        if number % 50 == 0 {
            // Not all at once.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let mut lines = BufReader::new(stdin()).lines();
    loop {
        tokio::select! {
            line = lines.next_line() => {
                let Some(phase) = line?.as_deref().and_then(Phase::named) else { return Ok(()) };
                if phase == Phase::Begin {
                    shared.begun.store(0, Ordering::Relaxed);
                }
                shared.phase.send_replace(phase);
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => report(&shared, &families),
        }
    }
}

/// Says in a line how many are there.
fn report(shared: &Shared, families: &[Vec<Arc<Mind>>]) {
    let phase = *shared.phase.borrow();
    let all = shared.arguments.count as usize;
    let connected = families.iter().flatten().filter(|mind| mind.is_connected()).count();
    let mut late = String::new();
    let (there, of) = match phase {
        Phase::Rest | Phase::Play => (connected, all),
        Phase::Begin => (shared.begun.load(Ordering::Relaxed), all),
        Phase::Settle => {
            let unsettled: Vec<_> =
                families.iter().filter(|family| !client::are_settled(family)).collect();
            if let Some(family) = unsettled.first() {
                late = family.iter().map(|mind| mind.describe()).collect::<Vec<_>>().join("; ");
            }
            (families.len() - unsettled.len(), families.len())
        }
        Phase::Close => {
            let mut holders = families.iter().flatten().filter(|mind| mind.holds().is_some());
            let first = holders.next();
            late = first.map(|mind| mind.describe()).unwrap_or_default();
            (all - usize::from(first.is_some()) - holders.count(), all)
        }
    };
    let (calls, heard) = (&shared.calls, &shared.heard);
    let (calls, heard) = (calls.load(Ordering::Relaxed), heard.load(Ordering::Relaxed));
    shared.recorder.flush();
    println!("{} {there} {of} {calls} {heard} {late}", phase.name());
}
