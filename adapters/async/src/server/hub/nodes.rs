//! A node of a cluster: the questions to the engine, its news, and messages to other nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_channel::{mpsc, oneshot};
use futures_lite::future::{or, poll_once, yield_now};
use futures_util::StreamExt as _;
use wwr::cluster::{
    Audience, ClusterAction, ClusterConfig, EngineFailed, EngineJob, EngineJobId, Epoch,
    HistoryAnswer, HistoryStep, LostBy, MessageId, News, NodeSignal, OutcomeAnswer, Request,
    SendOutcome, SessionAnswer,
};
use wwr::{PreparedSignal, SessionKey, SlowReader};

use super::{Control, Hub, PORTION};
use crate::cluster::{Answer, Engine as _, EngineError, EngineErrorKind, SharedEngine};
use crate::panics::caught_async;
use crate::server::broadcast::Broadcast;
use crate::server::forwarded::{Forwarded, Outcome};
use crate::server::stats::ClusterStats;
use crate::server::throttle::Throttle;
use crate::store::ShortKey;

/// How long a node waits before it listens again to an engine that has no more news for it.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// What a hub has for its node, outside of the lock.
pub(super) struct Node {
    name: String,
    /// Whether signals to sessions are appended to histories.
    keeps_histories: bool,
    engine: SharedEngine,
    /// For the log.
    request_timeout: Duration,
    failures: Throttle,
    unreadable: Throttle,
}

/// What a hub has for its node, behind the lock.
#[derive(Debug)]
pub(super) struct NodeControl {
    /// The questions, in the order in which the engine gets them.
    jobs: mpsc::UnboundedSender<(EngineJob, oneshot::Receiver<()>)>,
    /// The questions that the engine is working on. Dropping one gives it up.
    running: BTreeMap<EngineJobId, Running>,
    /// Which run the listener listens for. `None`: the node takes no part.
    listens: mpsc::UnboundedSender<Option<Epoch>>,
    /// The callers that may want to know what became of their messages.
    outcomes: BTreeMap<MessageId, Outcome>,
    /// Messages of other nodes that are not passed on yet.
    heard: Vec<(Audience, Bytes)>,
}

/// A question that the engine is working on.
#[derive(Debug)]
struct Running {
    /// Whether somebody waits for its answer also when the run of the node has ended.
    outlives_run: bool,
    /// Its other end ends with it.
    _asked: oneshot::Sender<()>,
}

/// The ends of the queues, for the tasks of a node.
pub(super) struct Queues {
    jobs: mpsc::UnboundedReceiver<(EngineJob, oneshot::Receiver<()>)>,
    listens: mpsc::UnboundedReceiver<Option<Epoch>>,
}

impl Node {
    pub(super) fn new(engine: SharedEngine, config: &ClusterConfig, keeps_histories: bool) -> Self {
        Self {
            name: config.name.clone(),
            keeps_histories,
            engine,
            request_timeout: config.request_timeout,
            failures: Throttle::default(),
            unreadable: Throttle::default(),
        }
    }
}

impl NodeControl {
    pub(super) fn new() -> (Self, Queues) {
        let (jobs, asked) = mpsc::unbounded();
        let (listens, epochs) = mpsc::unbounded();
        let (running, outcomes, heard) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let control = Self { jobs, running, listens, outcomes, heard };
        (control, Queues { jobs: asked, listens: epochs })
    }

    /// Ends everything that somebody waits for.
    pub(super) fn abandon(&mut self) {
        self.running.clear();
        self.outcomes.clear();
        self.heard.clear();
        self.jobs.close_channel();
        self.listens.close_channel();
    }

    /// Carries out an action of the node. What takes time is left to its tasks.
    pub(super) fn carry_out(&mut self, action: ClusterAction) {
        match action {
            ClusterAction::Engine(job) => {
                let (asked, given_up) = oneshot::channel();
                let outlives_run = matches!(*job.request, Request::Send { .. });
                self.running.insert(job.id, Running { outlives_run, _asked: asked });
                // An error means that the runtime has ended.
                let _ = self.jobs.unbounded_send((job, given_up));
            }
            ClusterAction::EngineTimedOut { job } => {
                self.running.remove(&job);
            }
            ClusterAction::Entered { epoch } => {
                tracing::info!(epoch = epoch.0, "this node is part of the cluster");
                let _ = self.listens.unbounded_send(Some(epoch));
            }
            ClusterAction::Lost { cause, connections } => {
                note_lost(cause, connections);
                self.running.retain(|_, running| running.outlives_run);
                let _ = self.listens.unbounded_send(None);
            }
            ClusterAction::Message { to, message } => self.heard.push((to, message)),
            // The hub has done it: it knows the connections.
            ClusterAction::Signal { .. } => {}
            ClusterAction::Sent { id, outcome } => {
                if let Some(waiting) = self.outcomes.remove(&id) {
                    waiting.is(outcome);
                }
            }
        }
    }
}

fn note_lost(cause: LostBy, connections: usize) {
    match cause {
        LostBy::Retired => {
            tracing::info!(connections, "this node has left the cluster");
        }
        _ => tracing::warn!(
            ?cause,
            connections,
            "this node has lost its part in the cluster; connections with a session are closed, so that \
             their clients come back, and it enters again"
        ),
    }
}

/// The tasks of a node. They end with the hub.
impl Hub {
    /// Starts the tasks.
    pub(super) fn run_node(self: &Arc<Self>, queues: Queues) {
        let Some(node) = &self.node else { return };
        let Queues { jobs, listens } = queues;
        self.spawn(ask_in_order(Arc::downgrade(self), jobs));
        self.spawn(listen(Arc::downgrade(self), node.engine.clone(), listens));
    }

    #[cfg(feature = "metrics")]
    pub(in crate::server) const fn is_node(&self) -> bool {
        self.node.is_some()
    }

    /// Asks the engine, and reports its answer. `given_up` ends when the hub no longer waits for that.
    async fn ask_engine(self: Arc<Self>, job: EngineJob, given_up: oneshot::Receiver<()>) {
        let EngineJob { id, request } = job;
        let Some(node) = &self.node else { return };
        let about = About::of(&request);
        let alone = fails_alone(&request);
        let answer = async { Some(guard(node.engine.perform(*request)).await) };
        let too_late = async {
            // Always an error, because nothing is ever sent.
            let _ = given_up.await;
            None
        };
        let Some(answer) = or(answer, too_late).await else {
            if let Some(failures) = node.failures.count(self.clock.now()) {
                let About { operation, session } = about;
                tracing::error!(
                    failures, operation, session, request_timeout = ?node.request_timeout,
                    "the engine of the cluster does not answer"
                );
            }
            return;
        };
        if let Err(error) = &answer
            && let Some(failures) = node.failures.count(self.clock.now())
        {
            let About { operation, session } = about;
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(
                failures, operation, session, %error, cause,
                "the engine of the cluster failed"
            );
        }
        let answer = answer.or_else(|error| match error.kind() {
            EngineErrorKind::Broken | EngineErrorKind::Full | EngineErrorKind::Invalid => {
                alone.ok_or(EngineFailed)
            }
            _ => Err(EngineFailed),
        });
        self.call_and(
            |machine, now, out| machine.engine_answered(now, id, answer, out),
            |control, ()| {
                if let Some(node) = &mut control.node {
                    node.running.remove(&id);
                }
            },
        );
    }

    /// Passes news on to the hub, and messages to the connections that they are for. For the listener alone, so
    /// that messages keep their order.
    async fn hear(self: Arc<Self>, epoch: Epoch, news: News) {
        self.call(|machine, now, out| machine.handle_news(now, epoch, news, out));
        let heard = self.lock().node.as_mut().map(|node| std::mem::take(&mut node.heard));
        for (to, message) in heard.unwrap_or_default() {
            match NodeSignal::decode(message) {
                Ok(signal) => self.pass_on(&to, &signal).await,
                Err(error) => {
                    let node = self.node.as_ref();
                    let throttle = node.and_then(|node| node.unreadable.count(self.clock.now()));
                    if let Some(messages) = throttle {
                        tracing::error!(messages, %error, "a signal of another node is dropped");
                    }
                }
            }
        }
    }

    /// Sends a signal of another node to the connections here.
    async fn pass_on(&self, to: &Audience, signal: &NodeSignal) {
        let NodeSignal { signal, slow_readers } = signal;
        let (mut all, mut group, mut session) = (None, None, None);
        match to {
            Audience::All => all = Some(self.walk()),
            Audience::Group(name) => group = Some(self.walk_group(name)),
            Audience::Session(key) => session = Some(self.session_connections(key)),
        }
        let all = all.into_iter().flatten().chain(group.into_iter().flatten());
        for (count, connection) in all.chain(session.into_iter().flatten()).enumerate() {
            // The application that sent it is on another node: connections that refuse the signal are counted here only.
            let _ = connection.send_prepared(signal, *slow_readers);
            if count % PORTION == PORTION - 1 {
                yield_now().await;
            }
        }
    }

    /// Passes a signal on to the other nodes. `None` if there is no cluster.
    pub(in crate::server) fn forward(
        self: &Arc<Self>,
        to: impl FnOnce() -> Audience,
        signal: &PreparedSignal,
        slow_readers: Option<SlowReader>,
    ) -> Option<Forwarded> {
        self.node.as_ref()?;
        let message = NodeSignal { signal: signal.clone(), slow_readers }.encode();
        let (forwarded, outcome) = Forwarded::new();
        if message.len() > NodeSignal::MAX {
            outcome.is(SendOutcome::Full);
            return Some(forwarded);
        }
        self.call_and(
            |machine, now, out| machine.send(now, to(), message, out),
            |control, id| {
                // Dropped if nobody will ever know.
                if let (Some(id), Some(node), false) = (id, &mut control.node, control.abandoned) {
                    node.outcomes.insert(id, outcome);
                }
            },
        );
        Some(forwarded)
    }
}

impl Hub {
    /// Appends a signal to the history of a session. `None` if signals have no histories that nodes share.
    pub(super) fn append(
        self: &Arc<Self>,
        key: &SessionKey,
        signal: &PreparedSignal,
    ) -> Option<Broadcast> {
        self.node.as_ref().filter(|node| node.keeps_histories)?;
        let (forwarded, outcome) = Forwarded::new();
        if signal.frame().len() + NodeSignal::HEAD > NodeSignal::MAX {
            outcome.is(SendOutcome::Full);
            return Some(Broadcast { forwarded: Some(forwarded), ..Broadcast::default() });
        }
        let told = self.call_and(
            |machine, now, out| machine.signal_session(now, key, signal, out),
            |control, told| {
                let waits = control.node.as_mut().filter(|_| !control.abandoned);
                if let (Some(id), Some(node)) = (told.appending, waits) {
                    node.outcomes.insert(id, outcome);
                }
                told
            },
        );
        // Nobody gets a signal that is refused at once.
        let sent = match forwarded.try_outcome() {
            None | Some(SendOutcome::Sent { .. }) => told.following,
            Some(_) => 0,
        };
        Some(Broadcast { sent, forwarded: Some(forwarded), ..Broadcast::default() })
    }
}

/// What it means that the engine works and cannot carry out this: nothing else is to wait because of one session or
/// group. `None` if it means that the engine does not work.
const fn fails_alone(request: &Request) -> Option<Answer> {
    match request {
        Request::Session(_) => Some(Answer::Session(SessionAnswer::Failed)),
        Request::Outcome(_) => Some(Answer::Outcome(OutcomeAnswer::Failed)),
        Request::History(_) => Some(Answer::History(HistoryAnswer::Failed)),
        Request::Send { .. } | Request::Follow { .. } | Request::Unfollow { .. } => {
            Some(Answer::Failed)
        }
        Request::Enter { .. } | Request::Renew { .. } | Request::Retire { .. } => None,
    }
}

impl Control {
    /// Returns how the node stands, and what it has counted.
    pub(super) fn cluster_stats(&self, node: &Node) -> Option<ClusterStats> {
        Some(ClusterStats {
            name: node.name.clone(),
            state: self.machine.cluster_state()?,
            nodes: self.machine.nodes().to_vec(),
            pending: self.machine.pending_engine_jobs(),
            counters: *self.machine.cluster_counters()?,
        })
    }

    /// Returns whether the engine still has to answer something.
    pub(super) fn awaits_engine(&self) -> bool {
        self.node.is_some() && self.machine.pending_engine_jobs() > 0
    }
}

/// What a question is about, for the log.
struct About {
    operation: &'static str,
    session: Option<String>,
}

impl About {
    fn of(request: &Request) -> Self {
        let (operation, session) = match request {
            Request::Enter { .. } => ("enter", None),
            Request::Renew { .. } => ("renew the lease", None),
            Request::Retire { .. } => ("retire", None),
            Request::Session(request) => ("change a session", Some(&request.key)),
            Request::History(request) => match request.step {
                HistoryStep::Append { .. } => ("append to a history", Some(&request.key)),
                HistoryStep::Read { .. } => ("read a history", Some(&request.key)),
            },
            Request::Outcome(_) => ("record an idempotent request", None),
            Request::Send { to: Audience::Session(key), .. } => ("send to a session", Some(key)),
            Request::Send { .. } => ("send", None),
            Request::Follow { .. } => ("follow a group", None),
            Request::Unfollow { .. } => ("unfollow a group", None),
        };
        Self { operation, session: session.map(|key| ShortKey(key).to_string()) }
    }
}

/// How many requests are passed to the engine until others have a turn. Some runtimes let a task do so much and then make its
/// futures wait that could go on: later requests could overtake.
const AT_ONCE: usize = 16;

/// Passes requests to the engine in order. A request does not wait for the answers to earlier ones.
async fn ask_in_order(
    hub: Weak<Hub>,
    mut jobs: mpsc::UnboundedReceiver<(EngineJob, oneshot::Receiver<()>)>,
) {
    let mut count = 0_usize;
    while let Some((job, given_up)) = jobs.next().await {
        count = count.wrapping_add(1);
        if count.is_multiple_of(AT_ONCE) {
            yield_now().await;
        }
        let Some(hub) = hub.upgrade() else { return };
        // The engine has it once this was polled; the rest may take any time.
        let mut asking = Box::pin(hub.clone().ask_engine(job, given_up));
        if poll_once(&mut asking).await.is_none() {
            hub.spawn(asking);
        }
    }
}

/// Listens for the run of the node that takes part.
async fn listen(
    hub: Weak<Hub>,
    engine: SharedEngine,
    mut runs: mpsc::UnboundedReceiver<Option<Epoch>>,
) {
    let mut run = None;
    loop {
        let Some(epoch) = run else {
            match runs.next().await {
                Some(next) => run = next,
                None => return,
            }
            continue;
        };
        let next = async { Next::Run(runs.next().await) };
        let news = async { Next::News(caught_async(|| engine.next_news(epoch)).await) };
        let news = match or(next, news).await {
            Next::Run(Some(next)) => {
                run = next;
                continue;
            }
            Next::Run(None) => return,
            Next::News(Ok(Some(news))) => news,
            Next::News(ended) => {
                let panic = ended.err().map(|panic| panic.to_string());
                tracing::error!(
                    epoch = epoch.0,
                    panic,
                    "the engine of the cluster has no more news; this node listens again"
                );
                let Some(pause) = hub.upgrade().map(|hub| hub.runtime.sleep_boxed(LISTEN_AGAIN))
                else {
                    return;
                };
                let next = async { Some(runs.next().await) };
                let pause = async {
                    pause.await;
                    None
                };
                match or(next, pause).await {
                    Some(Some(next)) => {
                        run = next;
                        continue;
                    }
                    Some(None) => return,
                    // Some may have been lost.
                    None => News::Interrupted,
                }
            }
        };
        let Some(hub) = hub.upgrade() else { return };
        hub.hear(epoch, news).await;
        // An engine that always has news does not keep the thread.
        yield_now().await;
    }
}

/// What ends the wait of a listener.
enum Next {
    Run(Option<Option<Epoch>>),
    News(Result<Option<News>, crate::panics::Panic>),
}

/// Turns a panic of the engine into an error.
async fn guard(
    work: impl Future<Output = Result<Answer, EngineError>>,
) -> Result<Answer, EngineError> {
    caught_async(|| work).await.unwrap_or_else(|panic| {
        let message = format!("the engine of the cluster panicked: {panic}");
        Err(EngineError::new(EngineErrorKind::Unanswered, message))
    })
}
