//! The hub of one node of several.

use alloc::boxed::Box;

use bytes::Bytes;

use super::expiry::Rounds;
use super::groups::Groups;
use super::{Hub, HubAction, HubConfig, Out, shared_outcomes};
use crate::cluster::{
    Answer, Audience, ClusterConfig, ClusterCounters, ClusterState, Content, Desk, EngineFailed,
    EngineJobId, Epoch, LocalNode, MessageId, News, Node, NodeOut,
};
use crate::server::recovery::RecoveryNews;
use crate::session::{
    Change, Command, ConnectionId, EditFailure, Effect, Outcome, Registry, SessionKey, StoreFailed,
};
use crate::time::Instant;
use crate::valid::Valid;

/// Nodes of a cluster.
impl Hub {
    /// Creates a hub without connections for one node of several, which share an engine (`docs/cluster.md`).
    ///
    /// It asks no session store: the engine has the sessions, and there is no [`HubAction::Store`]. Sessions are
    /// durable: one is announced once the engine has it. They expire as the engine has it, whatever
    /// [`HubConfig::expiry`] says. What the host has to do beyond that comes as [`HubAction::Cluster`] and
    /// [`HubAction::MoveAway`]. Call [`handle_timeout`](Self::handle_timeout) at once, so that the node enters.
    ///
    /// While the node takes no part, sessions are neither created nor restored: that fails at once. Other
    /// connections go on, and requests and signals of all connections never touch the engine.
    ///
    /// ```
    /// use wwr::cluster::{ClusterAction, ClusterConfig, ClusterState, MemoryEngine};
    /// use wwr::server::{Hub, HubAction};
    /// use wwr::{Actions, Instant, Valid};
    ///
    /// let (now, mut out, mut news) = (Instant::EPOCH, Actions::new(), Vec::new());
    /// let mut engine = MemoryEngine::new();
    /// let mut hub = Hub::clustered(&Valid::default(), &ClusterConfig::new("a").validate()?);
    /// hub.handle_timeout(now, &mut out);
    /// while let Some(HubAction::Cluster(action)) = out.pop() {
    ///     if let ClusterAction::Engine(job) = *action {
    ///         let answer = engine.perform(now, *job.request, &mut news);
    ///         hub.engine_answered(now, job.id, Ok(answer), &mut out);
    ///     }
    /// }
    /// assert!(matches!(hub.cluster_state(), Some(ClusterState::Member { .. })));
    /// # Ok::<(), wwr::InvalidConfig>(())
    /// ```
    pub fn clustered(config: &Valid<HubConfig>, cluster: &Valid<ClusterConfig>) -> Self {
        Self {
            registry: Registry::shared(config.sessions),
            node: Some(Box::new(LocalNode::new(cluster))),
            groups: Groups::watched(),
            rounds: Rounds::Off,
            ..Self::new(config)
        }
    }

    /// Handles an answer of the engine, or its failure. Late, repeated and unknown answers are ignored.
    pub fn engine_answered(
        &mut self,
        now: Instant,
        job: EngineJobId,
        answer: Result<Answer, EngineFailed>,
        out: &mut Out,
    ) {
        self.advance(now);
        self.watch(out);
        self.with_node(|node, now, desk| node.answered(now, job, answer, desk));
        self.route(out);
    }

    /// Handles news for the run of this node that has this epoch. Those for other runs are ignored.
    pub fn handle_news(&mut self, now: Instant, epoch: Epoch, news: News, out: &mut Out) {
        self.advance(now);
        self.watch(out);
        self.with_node(|node, now, desk| node.news(now, epoch, news, desk));
        self.route(out);
    }

    /// Passes a message on to the other nodes that it concerns. The connections of this node do not get it.
    /// Ends with [`ClusterAction::Sent`](crate::cluster::ClusterAction::Sent). `None` if the hub is of no
    /// cluster.
    ///
    /// Each node gets a message at most once, and those of one sender in their order, if the host keeps the
    /// order of [`Engine`](crate::cluster::ClusterAction::Engine) jobs.
    pub fn send(
        &mut self,
        now: Instant,
        to: Audience,
        message: Bytes,
        out: &mut Out,
    ) -> Option<MessageId> {
        let now = self.advance(now);
        self.watch(out);
        let id = self.node.as_mut().map(|node| node.send(now, to, message));
        self.route(out);
        id
    }

    /// The node takes no part any more, and never will: its places are free for others at once. Connections
    /// that have a session are closed, and those without stay. A shutdown ends with this.
    pub fn retire(&mut self, now: Instant, out: &mut Out) {
        self.advance(now);
        self.retire_node(out);
    }

    /// Returns the nodes that were alive when the lease was renewed last, this one too. Empty while the node
    /// takes no part.
    pub fn nodes(&self) -> &[Node] {
        self.node.as_ref().map_or(&[], |node| node.nodes())
    }

    /// Returns how the node stands to the engine. `None` if the hub is of no cluster.
    pub fn cluster_state(&self) -> Option<ClusterState> {
        self.node.as_ref().map(|node| node.state())
    }

    /// Returns what the node has counted. `None` if the hub is of no cluster.
    pub fn cluster_counters(&self) -> Option<&ClusterCounters> {
        self.node.as_ref().map(|node| node.counters())
    }

    /// Returns how many questions the engine has not answered yet.
    pub fn pending_engine_jobs(&self) -> usize {
        self.node.as_ref().map_or(0, |node| node.pending_jobs())
    }

    pub(super) fn with_node(&mut self, call: impl FnOnce(&mut LocalNode, Instant, &mut Desk<'_>)) {
        if let Some(node) = &mut self.node {
            let mut desk = Desk { registry: &mut self.registry, effects: &mut self.effects };
            call(node, self.now, &mut desk);
        }
    }

    /// Looks at the clock before anything is done: the lease may have run out.
    pub(super) fn watch(&mut self, out: &mut Out) {
        let mut is_lost = false;
        self.with_node(|node, now, desk| is_lost = node.watch(now, desk));
        if is_lost {
            self.route(out);
        }
    }

    /// The connections of a session have changed.
    pub(super) fn touch(&mut self, key: &SessionKey) {
        self.with_node(|node, now, desk| node.touch(now, key, desk));
    }

    /// Has the node ask what the registry wants to know. Returns what the node has nothing to do with.
    pub(super) fn ask_node(&mut self, effect: Effect) -> Option<Effect> {
        if self.node.is_none() {
            return Some(effect);
        }
        let (key, ticket, what) = match effect {
            Effect::Lookup { ticket, key } | Effect::Destroy { ticket, key } => {
                (key, ticket, Content::Key)
            }
            Effect::Store { ticket, session } => {
                (session.key.clone(), ticket, Content::Session(session))
            }
            Effect::Update { ticket, update } => (update.key, ticket, Content::Info(update.info)),
            Effect::Renewed(_) | Effect::Deliver { .. } => return Some(effect),
        };
        self.with_node(|node, now, desk| node.ask(now, key, ticket, what, desk));
        None
    }

    /// Has the node ask the engine, and does what it wants.
    pub(super) fn run_node(&mut self, out: &mut Out) {
        while let Some(name) = self.groups.take_changed() {
            let has_members = self.groups.member_count(&name) > 0;
            self.with_node(|node, _, _| node.set_group(name.into(), has_members));
        }
        self.with_node(|node, now, desk| node.run(now, desk));
        while let Some(wanted) = self.node.as_mut().and_then(|node| node.pop()) {
            match wanted {
                NodeOut::Action(action) => out.push(HubAction::Cluster(Box::new(action))),
                NodeOut::Drop(to) => self.move_away(to, out),
                NodeOut::Concluded { key, new_key, result } => {
                    self.tell_waiters(key, new_key, result, out);
                }
                NodeOut::Batch { key, to, number, batch } => {
                    self.take_batch(&key, to, number, batch, out);
                }
                NodeOut::Grown(grown) => self.history_grown(&grown, out),
                NodeOut::Kept { to, kept } => {
                    out.push(HubAction::Recover { to, news: RecoveryNews::Kept(kept) });
                }
                NodeOut::Close(to) => out.push(HubAction::Close { to }),
                NodeOut::Begun { to, request, begun } => {
                    out.push(shared_outcomes::begun(to, request, begun));
                }
                NodeOut::AllLost => {
                    for (waiter, told) in core::mem::take(&mut self.waiters).into_values().flatten()
                    {
                        out.push(HubAction::Done { waiter, told, result: Err(StoreFailed) });
                    }
                }
            }
        }
    }

    /// The session of a connection is lost here.
    fn move_away(&mut self, to: ConnectionId, out: &mut Out) {
        let Some(member) = self.connections.get_mut(&to) else { return };
        member.turns_to(None);
        member.moves_away = true;
        if let Some(groups) = &mut member.groups {
            self.groups.leave_session(to, groups);
        }
        out.push(HubAction::MoveAway { to });
    }

    pub(super) fn node_timeout(&self) -> Option<Instant> {
        let node = self.node.as_ref()?;
        let groups = self.groups.has_changed().then_some(self.now);
        [node.next_timeout(), groups].into_iter().flatten().min()
    }

    pub(super) fn node_timed_out(&mut self, out: &mut Out) {
        if self.node.is_some() {
            self.watch(out);
            self.with_node(|node, now, desk| node.handle_timeout(now, desk));
            self.route(out);
        }
    }

    pub(super) fn retire_node(&mut self, out: &mut Out) {
        if self.node.is_some() {
            self.with_node(|node, now, desk| node.retire(now, desk));
            self.route(out);
        }
    }
}

/// Fails the command of a connection that is being closed.
pub(super) fn refuse(to: ConnectionId, command: Command, out: &mut Out) {
    let (key, change) = match command {
        Command::Restore(key) => (key, Change::LookupFailed),
        Command::Create(session) => (session.key, Change::CreateFailed),
        Command::Close(key) => (key, Change::CloseFailed),
        Command::Edit(command) => (command.key, Change::EditFailed(EditFailure::Store)),
        Command::Leave(_) => return,
    };
    out.push(HubAction::Deliver { to, outcome: Outcome { key, change } });
}
