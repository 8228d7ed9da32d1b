//! Idempotent requests on several nodes that share an engine.

use alloc::collections::VecDeque;

use super::*;
use crate::cluster::{
    ClusterAction, ClusterConfig, DataId, EngineFailed, EngineJob, MemoryEngine, OutcomeStep,
    Request,
};
use crate::server::{RecoveryCommand, RecoveryConfig, RecoveryNews, RequestId};
use crate::session::{Begun, Fingerprint, Instance, OutcomesConfig};
use crate::wire::Payload;

const TEA: Fingerprint = Fingerprint([1; 16]);
const ADA: Instance = Instance([7; 16]);

/// Two nodes, each with three connections of one client, which it has not told of yet.
struct Nodes {
    engine: MemoryEngine,
    now: Instant,
    nodes: Vec<Node>,
    /// Whether the engine answers.
    works: bool,
    /// What it has not answered yet: ends of requests, while there is a list.
    slow: Option<Vec<EngineJob>>,
}

struct Node {
    hub: Hub,
    out: Actions<HubAction>,
    jobs: VecDeque<EngineJob>,
    told: Vec<String>,
    scope: u64,
}

impl Nodes {
    fn new() -> Self {
        Self::with(OutcomesConfig::default())
    }

    fn with(config: OutcomesConfig) -> Self {
        let outcomes = Some(config);
        let recovery = RecoveryConfig { history: None, outcomes }.validate().unwrap();
        let node = |secret| {
            let cluster = ClusterConfig::new("node").validate().unwrap();
            let mut hub =
                Hub::clustered_with_recovery(&Valid::default(), &cluster, &recovery, [secret; 16]);
            let mut out = Actions::new();
            for _ in 0..3 {
                let id = hub.admit(Instant::EPOCH).unwrap();
                hub.opened(Instant::EPOCH, id, &mut out);
            }
            Node { hub, out, jobs: VecDeque::new(), told: Vec::new(), scope: 0 }
        };
        let nodes = [1, 2].map(node).into();
        let (engine, now) = (MemoryEngine::new(), Instant::EPOCH);
        let mut nodes = Self { engine, now, nodes, works: true, slow: None };
        nodes.pass(0);
        nodes
    }

    /// So much time passes, and questions are answered.
    fn pass(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        loop {
            for id in 0..self.nodes.len() {
                let node = &mut self.nodes[id];
                node.hub.handle_timeout(self.now, &mut node.out);
                assert!(node.hub.next_timeout().is_none_or(|next| next > self.now));
                self.carry_out(id);
            }
            let next = self.nodes.iter().filter_map(|node| node.hub.next_timeout()).min();
            match next.filter(|next| *next <= until) {
                Some(next) => self.now = next,
                None => break,
            }
        }
        self.now = until;
    }

    fn carry_out(&mut self, id: usize) {
        let node = &mut self.nodes[id];
        loop {
            while let Some(action) = node.out.pop() {
                match action {
                    HubAction::Cluster(action) => {
                        if let ClusterAction::Engine(job) = *action {
                            node.jobs.push_back(job);
                        }
                    }
                    HubAction::Recover { to, news: RecoveryNews::Kept(kept) } => {
                        node.scope = kept.scope.max(node.scope);
                        let scope = if kept.scope == 0 { "nothing" } else { "a scope" };
                        node.told.push(format!("{} knows {scope}", to.0));
                    }
                    HubAction::Recover { to, news: RecoveryNews::Begun { request, begun } } => {
                        let begun = match begun {
                            Begun::Done(outcome) => format!("Done {:?}", outcome.unwrap().text()),
                            other => format!("{other:?}"),
                        };
                        node.told.push(format!("{} {} {begun}", to.0, request.as_u64()));
                    }
                    HubAction::Close { to } => node.told.push(format!("{} closes", to.0)),
                    _ => {}
                }
            }
            let Some(job) = node.jobs.pop_front() else { return };
            let is_end = matches!(&*job.request, Request::Outcome(request)
                if matches!(request.step, OutcomeStep::Finish { .. } | OutcomeStep::Undo { .. }));
            if let Some(slow) = self.slow.as_mut().filter(|_| is_end) {
                slow.push(job);
                continue;
            }
            let answer = match self.works {
                true => Ok(self.engine.perform(self.now, *job.request, &mut Vec::new())),
                false => Err(EngineFailed),
            };
            node.hub.engine_answered(self.now, job.id, answer, &mut node.out);
        }
    }

    fn ask(&mut self, id: usize, from: u64, command: RecoveryCommand) {
        let node = &mut self.nodes[id];
        node.hub.recover(self.now, ConnectionId(from), command, &mut node.out);
        self.carry_out(id);
    }

    fn attach(&mut self, id: usize, from: u64) {
        self.ask(id, from, RecoveryCommand::Attach(ADA));
    }

    fn begin(&mut self, id: usize, from: u64, token: u64) {
        let request = RequestId::from_u64(token);
        self.ask(id, from, RecoveryCommand::Begin { request, token, content: TEA });
    }

    fn finish(&mut self, id: usize, from: u64, token: u64, text: &'static str) {
        let outcome = Box::new(Ok(Payload::utf8(text)));
        self.ask(id, from, RecoveryCommand::Finish { token, outcome });
    }

    #[track_caller]
    fn told(&mut self, id: usize, expected: &[&str]) {
        assert_eq!(core::mem::take(&mut self.nodes[id].told), expected);
    }
}

/// A connection of each node knows the scope.
fn attached() -> Nodes {
    let mut nodes = Nodes::new();
    nodes.attach(0, 1);
    nodes.attach(1, 1);
    nodes.told(0, &["1 knows a scope"]);
    nodes.told(1, &["1 knows a scope"]);
    assert_eq!(nodes.nodes[0].scope, nodes.nodes[1].scope);
    nodes
}

#[test]
fn a_request_is_executed_by_one_node_and_others_wait_for_its_outcome() {
    let mut nodes = attached();
    nodes.begin(0, 1, 5);
    nodes.told(0, &["1 5 Fresh"]);
    nodes.begin(1, 1, 5);
    // On the same node, the engine is not asked.
    nodes.attach(0, 2);
    let asked = nodes.nodes[0].hub.cluster_counters().unwrap().requests;
    nodes.begin(0, 2, 5);
    assert_eq!(nodes.nodes[0].hub.cluster_counters().unwrap().requests, asked);
    nodes.pass(3000);
    nodes.told(1, &[]);
    nodes.finish(0, 1, 5, "order 1");
    nodes.told(0, &["2 knows a scope", "2 5 Done Ok(\"order 1\")"]);
    nodes.pass(1000);
    nodes.told(1, &["1 5 Done Ok(\"order 1\")"]);
}

#[test]
fn what_a_node_that_is_gone_has_begun_is_unknown() {
    let mut nodes = attached();
    nodes.begin(0, 1, 5);
    nodes.begin(1, 1, 5);
    nodes.nodes.remove(0);
    nodes.pass(9_000);
    nodes.told(0, &[]);
    nodes.pass(5_000);
    nodes.told(0, &["1 5 Unknown"]);
    nodes.begin(0, 1, 6);
    nodes.told(0, &["1 6 Fresh"]);
}

#[test]
fn while_the_engine_is_away_requests_are_refused_at_once() {
    let mut nodes = attached();
    nodes.works = false;
    nodes.begin(0, 1, 5);
    nodes.told(0, &["1 5 NotNow"]);
    nodes.begin(0, 1, 6);
    nodes.told(0, &["1 6 NotNow"]);
    nodes.attach(0, 2);
    nodes.begin(0, 2, 7);
    nodes.told(0, &["2 knows nothing", "2 7 NotNow"]);
    nodes.works = true;
    nodes.pass(1_000);
    nodes.told(0, &["2 knows a scope"]);
    // What was refused was not begun.
    nodes.begin(1, 1, 5);
    nodes.told(1, &["1 5 Fresh"]);
}

#[test]
fn all_ends_are_told_when_the_engine_is_back() {
    const MANY: u64 = 1_000;
    let max_per_client = NonZeroUsize::new(2_000).unwrap();
    let mut nodes = Nodes::with(OutcomesConfig { max_per_client, ..OutcomesConfig::default() });
    nodes.attach(0, 1);
    nodes.attach(1, 1);
    (1..=MANY).for_each(|token| nodes.begin(0, 1, token));
    nodes.works = false;
    (1..=MANY).for_each(|token| nodes.finish(0, 1, token, "tea"));
    nodes.works = true;
    nodes.pass(10_000);
    nodes.nodes[1].told.clear();
    (1..=MANY).for_each(|token| nodes.begin(1, 1, token));
    let is_known = |told: &&String| told.ends_with(r#"Done Ok("tea")"#);
    assert_eq!(nodes.nodes[1].told.iter().filter(is_known).count(), 1_000);
}

#[test]
fn while_too_many_ends_wait_nothing_is_begun() {
    // Each counts for 384 bytes.
    let (max_bytes, max_bytes_per_client) = (10 * 384, 10);
    let config = OutcomesConfig { max_bytes, max_bytes_per_client, ..OutcomesConfig::default() };
    let mut nodes = Nodes::with(config);
    nodes.attach(0, 1);
    nodes.told(0, &["1 knows a scope"]);
    nodes.slow = Some(Vec::new());
    for token in 1..=10 {
        nodes.begin(0, 1, token);
        nodes.told(0, &[&format!("1 {token} Fresh")]);
        nodes.finish(0, 1, token, "");
    }
    nodes.begin(0, 1, 11);
    nodes.told(0, &["1 11 NotNow"]);
    for job in nodes.slow.take().unwrap() {
        let answer = nodes.engine.perform(nodes.now, *job.request, &mut Vec::new());
        let node = &mut nodes.nodes[0];
        node.hub.engine_answered(nodes.now, job.id, Ok(answer), &mut node.out);
        nodes.carry_out(0);
    }
    nodes.begin(0, 1, 11);
    nodes.told(0, &["1 11 Fresh"]);
}

#[test]
fn a_connection_whose_scope_is_gone_executes_nothing_any_more() {
    let mut nodes = attached();
    nodes.works = false;
    nodes.begin(0, 1, 4);
    nodes.attach(0, 2);
    nodes.works = true;
    nodes.pass(1_000);
    nodes.told(0, &["1 4 NotNow", "2 knows nothing", "2 knows a scope"]);
    nodes.engine.take_over(DataId(9));
    nodes.begin(0, 1, 5);
    // The other one was told that nothing is kept, and repeats nothing.
    nodes.told(0, &["1 5 NotNow", "1 closes", "2 knows a scope"]);
    nodes.begin(0, 2, 6);
    nodes.told(0, &["2 6 Fresh"]);
    nodes.begin(0, 1, 7);
    nodes.told(0, &["1 7 NotNow", "1 closes"]);
    nodes.attach(0, 3);
    nodes.begin(0, 3, 8);
    nodes.told(0, &["3 knows a scope", "3 8 Fresh"]);
}

#[test]
fn a_node_that_enters_again_begins_nothing_in_its_old_run() {
    let mut nodes = attached();
    nodes.begin(0, 1, 5);
    nodes.told(0, &["1 5 Fresh"]);
    nodes.works = false;
    nodes.pass(9_000);
    nodes.begin(0, 1, 6);
    nodes.told(0, &["1 6 NotNow"]);
    nodes.works = true;
    nodes.pass(10_000);
    // Its handler has run on. Nobody else learns how it has ended.
    nodes.finish(0, 1, 5, "order 1");
    nodes.attach(0, 2);
    nodes.begin(0, 2, 5);
    nodes.told(0, &["2 knows a scope", "2 5 Unknown"]);
    nodes.begin(0, 1, 7);
    nodes.told(0, &["1 7 Fresh"]);
}

#[test]
fn nothing_is_left_of_connections_that_have_left() {
    let mut nodes = attached();
    nodes.begin(0, 1, 5);
    nodes.begin(1, 1, 5);
    for id in [1, 0] {
        let node = &mut nodes.nodes[id];
        for connection in 1..=3 {
            node.hub.left(nodes.now, ConnectionId(connection), &mut node.out);
        }
        nodes.carry_out(id);
        assert!(nodes.nodes[id].hub.is_idle());
    }
}
