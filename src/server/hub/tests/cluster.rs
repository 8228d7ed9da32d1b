//! Hubs of several nodes over an engine in memory.

use super::*;
use crate::cluster::{
    Answer, Audience, Closing, ClusterAction, ClusterConfig, ClusterState, EngineFailed, EngineJob,
    Epoch, LostBy, MemoryEngine, News, Request, SendOutcome, SessionAnswer,
};
use crate::server::RecoveryConfig;
use crate::session::HistoryConfig;
use bytes::Bytes;

/// Nodes, whose questions wait until they are passed on.
pub(super) struct Nodes {
    engine: MemoryEngine,
    pub(super) now: Instant,
    pub(super) nodes: Vec<Node>,
}

pub(super) struct Node {
    pub(super) hub: Hub,
    pub(super) out: Actions<HubAction>,
    jobs: Vec<EngineJob>,
    pub(super) news: Vec<(Epoch, News)>,
    epoch: Option<Epoch>,
    pub(super) told: Vec<String>,
}

impl Nodes {
    /// Nodes that take part, each with three connections.
    fn new(count: usize, limit: usize, change: fn(&mut ClusterConfig)) -> Self {
        Self::of(count, limit, change, None)
    }

    /// Nodes that keep histories.
    pub(super) fn keeping(count: usize, change: fn(&mut ClusterConfig)) -> Self {
        Self::of(count, 9, change, Some(HistoryConfig::default()))
    }

    fn of(
        count: usize,
        limit: usize,
        change: fn(&mut ClusterConfig),
        history: Option<HistoryConfig>,
    ) -> Self {
        let recovery = RecoveryConfig { history, outcomes: None }.validate().unwrap();
        let mut nodes =
            Self { engine: MemoryEngine::new(), now: Instant::EPOCH, nodes: Vec::new() };
        let mut config = HubConfig::default();
        config.sessions.max_connections = NonZeroUsize::new(limit);
        let config = config.validate().unwrap();
        for secret in 0..count as u8 {
            let mut cluster = ClusterConfig::new("node");
            change(&mut cluster);
            let cluster = cluster.validate().unwrap();
            let mut hub = Hub::clustered_with_recovery(&config, &cluster, &recovery, [secret; 16]);
            let mut out = Actions::new();
            for _ in 0..3 {
                let id = hub.admit(Instant::EPOCH).unwrap();
                hub.opened(Instant::EPOCH, id, &mut out);
            }
            let (jobs, news, told) = (Vec::new(), Vec::new(), Vec::new());
            nodes.nodes.push(Node { hub, out, jobs, news, epoch: None, told });
        }
        nodes.pass(0);
        nodes.settle();
        nodes
    }

    /// So much time passes, in milliseconds.
    pub(super) fn pass(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        for id in 0..self.nodes.len() {
            let node = &mut self.nodes[id];
            node.hub.handle_timeout(self.now, &mut node.out);
            assert!(node.hub.next_timeout().is_none_or(|next| next > self.now));
            self.carry_out(id);
        }
    }

    pub(super) fn asks(&mut self, id: usize, from: u64, command: Command) {
        let node = &mut self.nodes[id];
        node.hub.handle(self.now, ConnectionId(from), command, &mut node.out);
        self.carry_out(id);
    }

    pub(super) fn carry_out(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        while let Some(action) = node.out.pop() {
            match action {
                HubAction::Cluster(action) => match *action {
                    ClusterAction::Engine(job) => node.jobs.push(job),
                    ClusterAction::Entered { epoch } => node.epoch = Some(epoch),
                    ClusterAction::EngineTimedOut { .. } => node.told.push("timed out".into()),
                    ClusterAction::Message { message, .. } => {
                        node.told.push(format!("message {message:?}"));
                    }
                    other => node.told.push(format!("{other:?}")),
                },
                other => node.told.push(line(&other)),
            }
        }
    }

    /// The engine carries out the questions of a node. Returns the answers, which do not come yet.
    pub(super) fn perform(&mut self, id: usize) -> Vec<(crate::cluster::EngineJobId, Answer)> {
        let jobs = core::mem::take(&mut self.nodes[id].jobs);
        let mut news = Vec::new();
        let perform =
            |job: EngineJob| (job.id, self.engine.perform(self.now, *job.request, &mut news));
        let answers = jobs.into_iter().map(perform).collect();
        for node in &mut self.nodes {
            let its = news.iter().filter(|(epoch, _)| node.epoch == Some(*epoch));
            node.news.extend(its.cloned());
        }
        answers
    }

    pub(super) fn answer(
        &mut self,
        id: usize,
        job: crate::cluster::EngineJobId,
        answer: Result<Answer, EngineFailed>,
    ) {
        let node = &mut self.nodes[id];
        node.hub.engine_answered(self.now, job, answer, &mut node.out);
        self.carry_out(id);
    }

    /// All questions of a node fail.
    pub(super) fn fail(&mut self, id: usize) {
        for job in core::mem::take(&mut self.nodes[id].jobs) {
            self.answer(id, job.id, Err(EngineFailed));
        }
    }

    /// Questions, answers and news come, as long as there are any.
    pub(super) fn settle(&mut self) {
        while self.nodes.iter().any(|node| !node.jobs.is_empty() || !node.news.is_empty()) {
            for id in 0..self.nodes.len() {
                for (job, answer) in self.perform(id) {
                    self.answer(id, job, Ok(answer));
                }
                self.hear(id);
            }
        }
    }

    /// The news of a node come.
    pub(super) fn hear(&mut self, id: usize) {
        for (epoch, news) in core::mem::take(&mut self.nodes[id].news) {
            let node = &mut self.nodes[id];
            node.hub.handle_news(self.now, epoch, news, &mut node.out);
            self.carry_out(id);
        }
    }

    #[track_caller]
    pub(super) fn told(&mut self, id: usize, expected: &[&str]) {
        assert_eq!(core::mem::take(&mut self.nodes[id].told), expected);
    }

    fn places(&self) -> u32 {
        self.engine.places(self.now, &key("k"))
    }

    /// The session exists, and the first connection of the first node holds it.
    fn with_session(count: usize, limit: usize, change: fn(&mut ClusterConfig)) -> Self {
        let mut nodes = Self::new(count, limit, change);
        nodes.asks(0, 1, Command::Create(session("k")));
        nodes.told(0, &[]);
        nodes.settle();
        nodes.told(0, &["tell 1 k Created", "tell 1 k Stored"]);
        nodes
    }

    pub(super) fn restores(&mut self, id: usize, from: u64, expected: &str) {
        self.asks(id, from, Command::Restore(key("k")));
        self.settle();
        self.told(id, &[&format!("tell {from} k {expected}")]);
    }
}

fn edit(number: u64) -> Command {
    let info = SessionInfo::new().public("number", number);
    Command::Edit(Box::new(EditCommand { key: key("k"), edit: Edit::Info(info) }))
}

#[test]
fn the_limit_holds_over_all_nodes() {
    let mut nodes = Nodes::with_session(2, 2, |_| {});
    nodes.restores(1, 1, "Restored");
    nodes.restores(1, 2, "LimitReached");
    nodes.restores(0, 2, "LimitReached");
    assert_eq!(nodes.places(), 2);
    // A place that was left is free once the engine knows.
    let node = &mut nodes.nodes[0];
    node.hub.left(nodes.now, ConnectionId(1), &mut node.out);
    nodes.carry_out(0);
    nodes.settle();
    nodes.restores(1, 2, "Restored");
}

#[test]
fn the_last_holder_of_all_nodes_closes_a_session() {
    let mut nodes = Nodes::with_session(2, 9, |_| {});
    nodes.restores(1, 1, "Restored");
    nodes.asks(0, 1, Command::Close(key("k")));
    nodes.settle();
    nodes.told(0, &["tell 1 k Detached"]);
    nodes.asks(1, 1, Command::Close(key("k")));
    nodes.settle();
    nodes.told(1, &["tell 1 k Closed"]);
    nodes.restores(0, 1, "NotFound");
}

#[test]
fn a_restoration_waits_for_what_comes_of_a_close() {
    for (others, told) in [
        (1, ["tell 1 k Detached", "tell 2 k Restored"]),
        (0, ["tell 1 k Closed", "tell 2 k NotFound"]),
    ] {
        let mut nodes = Nodes::with_session(2, 2, |_| {});
        if others > 0 {
            nodes.restores(1, 1, "Restored");
        }
        nodes.asks(0, 1, Command::Close(key("k")));
        nodes.asks(0, 2, Command::Restore(key("k")));
        nodes.told(0, &[]);
        nodes.settle();
        nodes.told(0, &told);
    }
}

#[test]
fn a_close_of_unknown_outcome_is_told_once_that_is_known() {
    for is_carried_out in [false, true] {
        let mut nodes = Nodes::with_session(2, 1, |_| {});
        nodes.asks(0, 1, Command::Close(key("k")));
        if is_carried_out {
            nodes.perform(0);
        } else {
            nodes.nodes[0].jobs.clear();
        }
        nodes.pass(2_000);
        nodes.told(0, &["timed out"]);
        // The lease is renewed, then the session is checked.
        nodes.pass(300);
        nodes.settle();
        nodes.pass(300);
        nodes.settle();
        let told = if is_carried_out { "tell 1 k Closed" } else { "tell 1 k CloseFailed" };
        nodes.told(0, &[told]);
        assert_eq!(nodes.places(), u32::from(!is_carried_out));
    }
}

#[test]
fn other_nodes_are_told_of_changes_and_closings() {
    let mut nodes = Nodes::with_session(2, 9, |_| {});
    nodes.restores(1, 1, "Restored");
    nodes.asks(0, 1, edit(5));
    nodes.settle();
    nodes.told(0, &["tell 1 k Updated own true"]);
    nodes.told(1, &["tell 1 k Updated own false"]);
    let node = &mut nodes.nodes[0];
    node.hub.close_session(nodes.now, key("k"), false, &mut node.out);
    nodes.carry_out(0);
    nodes.settle();
    nodes.told(0, &["tell 1 k ClosedByKey { disconnect: false }", "done 1 told 1 ok"]);
    nodes.told(1, &["tell 1 k ClosedByKey { disconnect: false }"]);
    assert!(nodes.nodes.iter().all(|node| node.hub.active_sessions() == 0));
}

/// The news overtake the answer, and are all that says that the connection is to be closed, too.
#[test]
fn a_session_that_is_closed_while_another_node_restores_it_is_closed_there_at_once() {
    let mut nodes = Nodes::with_session(2, 9, |_| {});
    nodes.asks(1, 1, Command::Restore(key("k")));
    let answers = nodes.perform(1);
    let node = &mut nodes.nodes[0];
    node.hub.close_session(nodes.now, key("k"), true, &mut node.out);
    nodes.carry_out(0);
    for (job, answer) in nodes.perform(0) {
        nodes.answer(0, job, Ok(answer));
    }
    nodes.hear(1);
    nodes.told(1, &[]);
    for (job, answer) in answers {
        nodes.answer(1, job, Ok(answer));
    }
    nodes.settle();
    nodes.told(1, &["tell 1 k Restored", "tell 1 k ClosedByKey { disconnect: true }"]);
}

/// A node that is told more than it can read is interrupted again and again, faster than it confirms all sessions.
#[test]
fn interruptions_do_not_keep_sessions_from_being_confirmed() {
    let mut nodes = Nodes::new(1, 2, |_| {});
    let keys: Vec<_> = (100..200).map(|number| format!("k{number}")).collect();
    for name in &keys {
        let node = &mut nodes.nodes[0];
        let id = node.hub.admit(nodes.now).unwrap();
        node.hub.opened(nodes.now, id, &mut node.out);
        node.hub.handle(nodes.now, id, Command::Create(session(name)), &mut node.out);
        nodes.carry_out(0);
    }
    nodes.settle();
    for _ in 0..70 {
        nodes.pass(1000);
        let node = &mut nodes.nodes[0];
        let epoch = node.epoch.unwrap();
        node.hub.handle_news(nodes.now, epoch, News::Interrupted, &mut node.out);
        nodes.carry_out(0);
        for (job, answer) in nodes.perform(0) {
            nodes.answer(0, job, Ok(answer));
        }
    }
    for name in &keys {
        assert_eq!(nodes.engine.places(nodes.now, &key(name)), 1, "the engine forgot {name}");
    }
    // What was missed meanwhile is looked for, and not at full speed for ever.
    nodes.settle();
    let before = nodes.nodes[0].hub.cluster_counters().unwrap().confirms;
    for _ in 0..8 {
        nodes.pass(1000);
        nodes.settle();
    }
    let confirms = nodes.nodes[0].hub.cluster_counters().unwrap().confirms - before;
    assert!((100..=200).contains(&confirms), "{confirms}");
}

#[test]
fn a_change_without_news_is_seen_within_a_lease() {
    let mut nodes = Nodes::with_session(2, 9, |_| {});
    nodes.restores(1, 1, "Restored");
    nodes.asks(0, 1, edit(5));
    let answers = nodes.perform(0);
    nodes.nodes[1].news.clear();
    for (job, answer) in answers {
        nodes.answer(0, job, Ok(answer));
    }
    nodes.told(1, &[]);
    for _ in 0..4 {
        nodes.pass(2_600);
        nodes.settle();
    }
    nodes.told(1, &["tell 1 k Updated own false"]);
}

/// What the engine has of one session cannot be read. Others are not affected, whoever asks for it.
#[test]
fn a_session_that_the_engine_cannot_serve_fails_alone() {
    let mut nodes = Nodes::new(1, 2, |_| {});
    nodes.asks(0, 1, Command::Restore(key("k")));
    let job = nodes.nodes[0].jobs.pop().unwrap();
    nodes.answer(0, job.id, Ok(Answer::Session(SessionAnswer::Failed)));
    nodes.told(0, &["tell 1 k LookupFailed"]);
    assert!(nodes.nodes[0].jobs.is_empty());
    assert!(matches!(nodes.nodes[0].hub.cluster_state(), Some(ClusterState::Member { .. })));
    nodes.asks(0, 2, Command::Create(session("other")));
    nodes.settle();
    nodes.told(0, &["tell 2 other Created", "tell 2 other Stored"]);

    // One that is held is asked for again and again, with pauses, and dropped before the engine forgets its places.
    let mut told = Vec::new();
    let mut asked = 0;
    for _ in 0..60 {
        nodes.pass(1000);
        for job in core::mem::take(&mut nodes.nodes[0].jobs) {
            let is_session = matches!(*job.request, Request::Session(_));
            asked += usize::from(is_session);
            let answer = if is_session {
                Answer::Session(SessionAnswer::Failed)
            } else {
                nodes.engine.perform(nodes.now, *job.request, &mut Vec::new())
            };
            nodes.answer(0, job.id, Ok(answer));
        }
        told.append(&mut nodes.nodes[0].told);
    }
    assert_eq!(told, ["move 2 away"]);
    assert!((4..60).contains(&asked), "{asked}");
    assert!(nodes.nodes[0].hub.pending_engine_jobs() == 0);
}

#[test]
fn while_the_engine_is_away_commands_fail_at_once() {
    let mut nodes = Nodes::with_session(1, 9, |_| {});
    nodes.asks(0, 1, edit(5));
    nodes.fail(0);
    nodes.told(0, &["tell 1 k EditFailed(Store)"]);
    let state = nodes.nodes[0].hub.cluster_state();
    assert!(matches!(state, Some(ClusterState::Away { .. })));
    nodes.asks(0, 2, Command::Restore(key("k")));
    nodes.asks(0, 3, Command::Create(session("other")));
    nodes.asks(0, 1, Command::Close(key("k")));
    nodes.told(0, &["tell 2 k LookupFailed", "tell 3 other CreateFailed", "tell 1 k CloseFailed"]);
    assert!(nodes.nodes[0].jobs.is_empty());
}

#[test]
fn a_node_without_an_answer_drops_its_sessions_and_enters_again() {
    let mut nodes = Nodes::with_session(1, 9, |_| {});
    let before = nodes.nodes[0].epoch;
    // The last renewal was sent at 0 s.
    for _ in 0..15 {
        nodes.pass(500);
        nodes.nodes[0].jobs.clear();
    }
    nodes.told(0, &["timed out"]);
    assert_eq!(nodes.nodes[0].hub.active_sessions(), 1);
    nodes.pass(499);
    assert_eq!(nodes.nodes[0].hub.active_sessions(), 1);
    // The clock is looked at before anything is done.
    nodes.nodes[0].told.clear();
    nodes.nodes[0].jobs.clear();
    nodes.now = nodes.now + Duration::from_millis(1);
    nodes.asks(0, 1, edit(5));
    let lost = format!("{:?}", ClusterAction::Lost { cause: LostBy::Silence, connections: 1 });
    nodes.told(0, &["move 1 away", &lost, "tell 1 k EditFailed(Store)"]);
    nodes.asks(0, 2, Command::Restore(key("k")));
    nodes.told(0, &["tell 2 k LookupFailed"]);
    for _ in 0..3 {
        nodes.pass(2_000);
        nodes.settle();
    }
    assert!(nodes.nodes[0].epoch > before);
    nodes.nodes[0].told.clear();
    nodes.restores(0, 2, "Restored");
    assert_eq!(nodes.places(), 1);
    // The one that was dropped gets nothing any more.
    nodes.asks(0, 1, Command::Restore(key("k")));
    nodes.told(0, &["tell 1 k LookupFailed"]);
}

#[test]
fn with_availability_first_connections_keep_their_sessions() {
    let mut nodes = Nodes::with_session(1, 9, |config| config.availability_first = true);
    for _ in 0..30 {
        nodes.pass(500);
        nodes.nodes[0].jobs.clear();
    }
    assert_eq!(nodes.nodes[0].hub.active_sessions(), 1);
    for _ in 0..3 {
        nodes.pass(2_000);
        nodes.settle();
    }
    assert_eq!(nodes.nodes[0].hub.active_sessions(), 1);
    assert_eq!(nodes.places(), 1, "it has entered anew, and confirmed what it has");
}

#[test]
fn messages_come_to_other_nodes_or_have_another_outcome() {
    let mut nodes = Nodes::new(2, 9, |_| {});
    nodes.nodes[1].hub.join(ConnectionId(1), "a").unwrap();
    nodes.pass(1);
    nodes.settle();
    for to in [Audience::All, Audience::Group("a".into()), Audience::Group("b".into())] {
        let node = &mut nodes.nodes[0];
        node.hub.send(nodes.now, to, Bytes::from_static(b"x"), &mut node.out);
        nodes.carry_out(0);
    }
    nodes.settle();
    nodes.told(1, &["message b\"x\"", "message b\"x\""]);
    let sent: Vec<_> = core::mem::take(&mut nodes.nodes[0].told);
    let count = |nodes| {
        let outcome = format!("{:?}", SendOutcome::Sent { nodes });
        sent.iter().filter(|line| line.contains(&outcome)).count()
    };
    assert_eq!((count(1), count(0)), (2, 1));
    // One that may be lost is not sent again, and later ones fail at once.
    for _ in 0..2 {
        let node = &mut nodes.nodes[0];
        node.hub.send(nodes.now, Audience::All, Bytes::from_static(b"y"), &mut node.out);
        nodes.carry_out(0);
        nodes.fail(0);
    }
    let lines = core::mem::take(&mut nodes.nodes[0].told);
    assert!(lines[0].contains("Unknown") && lines[1].contains("Unavailable"), "{lines:?}");
}

#[test]
fn messages_may_wait_for_the_engine() {
    let mut nodes = Nodes::new(2, 9, |config| {
        config.message_age = Some(seconds(1));
        config.message_bytes = 1024;
    });
    // Each counts 256 bytes more than it has.
    const LONG: &[u8] = &[0; 400];
    let send = |nodes: &mut Nodes, bytes: &'static [u8]| {
        let node = &mut nodes.nodes[0];
        node.hub.send(nodes.now, Audience::All, Bytes::from_static(bytes), &mut node.out);
        nodes.carry_out(0);
    };
    send(&mut nodes, b"1");
    nodes.fail(0);
    nodes.nodes[0].told.clear();
    send(&mut nodes, b"22");
    send(&mut nodes, LONG);
    send(&mut nodes, LONG);
    let full = core::mem::take(&mut nodes.nodes[0].told);
    assert!(full.len() == 1 && full[0].contains("Full"), "{full:?}");
    nodes.pass(300);
    nodes.settle();
    let heard = core::mem::take(&mut nodes.nodes[1].told);
    assert!(heard.len() == 2 && heard[0] == "message b\"22\"", "{heard:?}");
    send(&mut nodes, b"4");
    nodes.fail(0);
    send(&mut nodes, b"55");
    nodes.nodes[0].told.clear();
    for _ in 0..10 {
        nodes.pass(100);
        nodes.fail(0);
    }
    let late = core::mem::take(&mut nodes.nodes[0].told);
    assert!(late.len() == 1 && late[0].contains("Expired"), "{late:?}");
}

/// What the engine has of one group cannot be read. Nothing else is affected, and it is asked again once in a lease.
#[test]
fn a_group_that_the_engine_cannot_serve_fails_alone() {
    let mut nodes = Nodes::with_session(1, 9, |_| {});
    let mut asked = 0;
    let mut fail = |nodes: &mut Nodes| {
        while !nodes.nodes[0].jobs.is_empty() {
            for job in core::mem::take(&mut nodes.nodes[0].jobs) {
                let answer = match *job.request {
                    Request::Follow { .. } | Request::Unfollow { .. } | Request::Send { .. } => {
                        asked += 1;
                        Answer::Failed
                    }
                    other => nodes.engine.perform(nodes.now, other, &mut Vec::new()),
                };
                nodes.answer(0, job.id, Ok(answer));
            }
        }
        asked
    };
    nodes.nodes[0].hub.join(ConnectionId(1), "a").unwrap();
    nodes.pass(1);
    assert_eq!(fail(&mut nodes), 1);
    for _ in 0..25 {
        nodes.pass(1000);
        fail(&mut nodes);
    }
    assert_eq!(fail(&mut nodes), 3);
    let node = &mut nodes.nodes[0];
    node.hub.send(nodes.now, Audience::Group("a".into()), Bytes::from_static(b"x"), &mut node.out);
    nodes.carry_out(0);
    assert_eq!(fail(&mut nodes), 4);
    let told = core::mem::take(&mut nodes.nodes[0].told);
    assert!(told.len() == 1 && told[0].contains("Unavailable"), "{told:?}");
    nodes.nodes[0].hub.leave(ConnectionId(1), "a");
    nodes.pass(1);
    assert_eq!(fail(&mut nodes), 5);
    assert!(matches!(nodes.nodes[0].hub.cluster_state(), Some(ClusterState::Member { .. })));
    let node = &mut nodes.nodes[0];
    for id in 1..=3 {
        node.hub.left(nodes.now, ConnectionId(id), &mut node.out);
    }
    nodes.carry_out(0);
    nodes.settle();
    assert!(nodes.nodes[0].hub.is_idle());
}

#[test]
fn a_new_key_is_not_given_if_another_node_has_changed_the_session() {
    let rotate = || {
        let now = UnixTime::from_seconds(1);
        let new = NewKey { key: key("new"), now, info: None, others: OtherConnections::Keep };
        Command::Edit(Box::new(EditCommand { key: key("k"), edit: Edit::NewKey(new) }))
    };
    let mut nodes = Nodes::with_session(2, 9, |_| {});
    nodes.restores(1, 1, "Restored");
    nodes.asks(0, 1, rotate());
    for _ in 0..2 {
        // It is found, and stored under the new key.
        for (job, answer) in nodes.perform(0) {
            nodes.answer(0, job, Ok(answer));
        }
    }
    nodes.asks(1, 1, edit(5));
    for (job, answer) in nodes.perform(1) {
        nodes.answer(1, job, Ok(answer));
    }
    nodes.settle();
    nodes.told(0, &["tell 1 k EditFailed(Store)", "tell 1 k Updated own false"]);
    assert!(nodes.engine.session(&key("new")).is_none());
    // Otherwise it is, and connections of other nodes are told that the session is closed.
    nodes.nodes[1].told.clear();
    nodes.asks(0, 1, rotate_to("newer"));
    nodes.settle();
    nodes.told(0, &["tell 1 k Rotated newer own true"]);
    nodes.told(1, &["tell 1 k ClosedByOther"]);
    assert_eq!(nodes.engine.places(nodes.now, &key("newer")), 1);
}

fn rotate_to(text: &str) -> Command {
    let now = UnixTime::from_seconds(1);
    let new = NewKey { key: key(text), now, info: None, others: OtherConnections::Keep };
    Command::Edit(Box::new(EditCommand { key: key("k"), edit: Edit::NewKey(new) }))
}

#[test]
fn late_and_repeated_answers_and_news_of_earlier_runs_change_nothing() {
    let mut nodes = Nodes::with_session(2, 9, |_| {});
    nodes.asks(0, 2, Command::Restore(key("k")));
    let answers = nodes.perform(0);
    nodes.pass(2_000);
    nodes.nodes[0].jobs.clear();
    nodes.told(0, &["tell 2 k LookupFailed", "timed out"]);
    for (job, answer) in answers {
        nodes.answer(0, job, Ok(answer));
    }
    nodes.told(0, &[]);
    assert_eq!(nodes.nodes[0].hub.session_connections(&key("k")).count(), 1);
    let node = &mut nodes.nodes[0];
    let stale = Epoch(core::num::NonZeroU64::MAX);
    let news = News::Closed { key: key("k"), closing: Closing::ByOther };
    node.hub.handle_news(nodes.now, stale, news, &mut node.out);
    nodes.carry_out(0);
    nodes.told(0, &[]);
    // What the engine has too much is given back.
    for _ in 0..4 {
        nodes.pass(500);
        nodes.settle();
    }
    assert_eq!(nodes.places(), 1);
}

#[test]
fn a_node_that_retires_frees_its_places() {
    let mut nodes = Nodes::with_session(2, 1, |_| {});
    nodes.restores(1, 1, "LimitReached");
    let node = &mut nodes.nodes[0];
    node.hub.retire(nodes.now, &mut node.out);
    nodes.carry_out(0);
    nodes.settle();
    assert_eq!(nodes.nodes[0].hub.cluster_state(), Some(ClusterState::Retired));
    assert_eq!(nodes.nodes[0].hub.next_timeout(), None);
    nodes.pass(3_400);
    nodes.settle();
    nodes.restores(1, 1, "Restored");
    assert_eq!(nodes.nodes[1].hub.nodes().len(), 1);
}
