//! An engine, and the one in memory that says what it has to do.

use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::thread;
use std::time::Instant as SystemInstant;

use wwr::cluster::{
    Answer, Audience, DataId, Epoch, HistoryAnswer, HistoryRequest, HistoryStep, Lease, Membership,
    MemoryEngine, News, OutcomeAnswer, OutcomeRequest, OutcomeStep, Request, SessionAnswer,
    SessionRequest, Step,
};
use wwr::session::{HistoryConfig, Instance};
use wwr::{Instant, SessionKey};

use crate::cluster::Engine;

/// How long anything may take before a check gives up. Never decides whether one passes.
const SAFETY: Duration = Duration::from_secs(60);

/// A lease that does not run out while a check runs, and one that does.
const LEASE: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(1);

/// Asks both engines the same. Nodes are counted from 0; each engine has epochs of its own for them.
pub(super) struct Pair<'a> {
    tested: &'a dyn Tested,
    model: MemoryEngine,
    /// The time of the model. Passes only where it has to.
    now: Instant,
    nodes: Vec<Node>,
    /// What the model said after the last request, in the order of nodes.
    last_news: Vec<(usize, News)>,
    /// What of it the nodes of the tested engine have not been asked for.
    unheard: Vec<(usize, News)>,
    data: Option<DataId>,
    /// The histories that requests about sessions ask for.
    pub(super) new_history: Option<u64>,
}

struct Node {
    /// The last lease of each engine.
    tested: Lease,
    model: Lease,
    number: u64,
    /// Whether it has no news that are compared: it does not listen, or is known to be dead.
    is_over: bool,
}

/// An engine of unknown type that blocks.
trait Tested {
    fn perform(&self, request: Request) -> Answer;
    fn next_news(&self, epoch: Epoch) -> Option<News>;
}

impl<E: Engine> Tested for E {
    fn perform(&self, request: Request) -> Answer {
        let asked = format!("{request:?}");
        let answer = within(SAFETY, Engine::perform(self, request));
        match answer {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => panic!("{asked} failed: {error}: {error:?}"),
            None => panic!("{asked} was not answered within {SAFETY:?}"),
        }
    }

    fn next_news(&self, epoch: Epoch) -> Option<News> {
        let news = within(SAFETY, Engine::next_news(self, epoch));
        news.unwrap_or_else(|| panic!("there was no news for {epoch:?} within {SAFETY:?}"))
    }
}

/// Runs a future on this thread, but not longer than this.
fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let (parker, unparker) = parking::pair();
    let waker = unparker.into();
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    let started = SystemInstant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        let left = limit.checked_sub(started.elapsed())?;
        parker.park_timeout(left);
    }
}

impl<'a> Pair<'a> {
    pub(super) fn new<E: Engine>(tested: &'a E) -> Self {
        Self {
            tested,
            model: MemoryEngine::new(),
            now: Instant::EPOCH,
            nodes: Vec::new(),
            last_news: Vec::new(),
            unheard: Vec::new(),
            data: None,
            new_history: None,
        }
    }

    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn epoch(&self, node: usize) -> Epoch {
        self.nodes[node].tested.epoch
    }

    /// Returns a number that is greater than those of the node before.
    pub(super) fn next_number(&mut self, node: usize) -> u64 {
        self.nodes[node].number += 1;
        self.nodes[node].number
    }

    /// What the last request has caused, in the order of nodes.
    pub(super) fn last_news(&self) -> &[(usize, News)] {
        &self.last_news
    }

    /// Asks both, and compares the answers if they have no epochs in them.
    fn both(&mut self, request: impl Fn(&dyn Fn(usize) -> Lease) -> Request) -> (Answer, Answer) {
        let of_model = request(&|node| self.nodes[node].model.clone());
        let of_tested = request(&|node| self.nodes[node].tested.clone());
        let mut news = Vec::new();
        let expected = self.model.perform(self.now, of_model, &mut news);
        let answer = self.tested.perform(of_tested);
        let node = |epoch: Epoch| self.nodes.iter().position(|node| node.model.epoch == epoch);
        let mut news: Vec<_> = news
            .into_iter()
            .filter_map(|(epoch, mut news)| {
                if let News::Message { from, .. } = &mut news {
                    *from = self.nodes[node(*from)?].tested.epoch;
                }
                Some((node(epoch)?, news))
            })
            .filter(|(node, _)| !self.nodes[*node].is_over)
            .collect();
        // Stable: the news of one node stay in order.
        news.sort_by_key(|(node, _)| *node);
        self.last_news.clone_from(&news);
        self.unheard.extend(news);
        (expected, answer)
    }

    /// Checks that the nodes have heard all that they should have. What they should not have is found by the next
    /// call.
    pub(super) fn hear(&mut self) {
        for (node, expected) in core::mem::take(&mut self.unheard) {
            let heard = self.tested.next_news(self.epoch(node));
            assert_eq!(heard, Some(expected), "news of node {node}");
        }
    }

    /// Returns the new node, which does not listen.
    fn enter_for(&mut self, name: &str, lease: Duration) -> usize {
        let enter = |_: &dyn Fn(usize) -> Lease| Request::Enter { name: name.into(), lease };
        let (expected, answer) = self.both(enter);
        let (Answer::Lease(model), Answer::Lease(tested)) = (expected, answer.clone()) else {
            panic!("a node enters, and the answer is {answer:?}");
        };
        let node = self.nodes.len();
        let epoch = tested.epoch;
        if let Some(last) = self.nodes.last() {
            assert!(epoch > last.tested.epoch, "{epoch:?} is not greater than {:?}", last.tested);
        }
        self.nodes.push(Node { tested, model, number: 0, is_over: true });
        self.compare_leases(node);
        node
    }

    pub(super) fn enter(&mut self, name: &str) -> usize {
        let node = self.enter_unheard(name);
        let heard = self.tested.next_news(self.epoch(node));
        assert_eq!(heard, Some(News::Interrupted), "the first news of node {node}");
        self.nodes[node].is_over = false;
        node
    }

    /// The node does not listen.
    pub(super) fn enter_unheard(&mut self, name: &str) -> usize {
        self.enter_for(name, LEASE)
    }

    /// The lease of this node runs out before the end of [`wait_for_that_moment`](Self::wait_for_that_moment). It does
    /// not listen.
    pub(super) fn enter_for_a_moment(&mut self, name: &str) -> usize {
        self.enter_for(name, MOMENT)
    }

    pub(super) fn wait_for_that_moment(&mut self) {
        thread::sleep(MOMENT * 3);
        self.now = self.now + MOMENT * 3;
    }

    /// Both leases of a node say the same.
    fn compare_leases(&mut self, node: usize) {
        let Node { tested, model, .. } = &self.nodes[node];
        let of_model = |epoch: u64| self.nodes.iter().position(|n| n.model.epoch.0.get() == epoch);
        let of_tested =
            |epoch: u64| self.nodes.iter().position(|n| n.tested.epoch.0.get() == epoch);
        assert_eq!(of_tested(tested.through), of_model(model.through), "{tested:?}");
        let expected: Vec<_> = model
            .nodes
            .iter()
            .map(|node| (of_model(node.epoch.0.get()), node.name.as_str()))
            .collect();
        let listed: Vec<_> = tested
            .nodes
            .iter()
            .map(|node| (of_tested(node.epoch.0.get()), node.name.as_str()))
            .collect();
        assert_eq!(listed, expected, "{tested:?}");
        let data = *self.data.get_or_insert(tested.data);
        assert_eq!(tested.data, data, "no data was lost");
        let membership = model.membership();
        for node in &mut self.nodes {
            node.is_over |= membership.is_dead(node.model.epoch);
        }
    }

    /// Returns `Done` for a lease.
    pub(super) fn renew(&mut self, node: usize) -> Answer {
        let (expected, answer) =
            self.both(|lease| Request::Renew { epoch: lease(node).epoch, lease: LEASE });
        match (expected, answer) {
            (Answer::Lease(model), Answer::Lease(tested)) => {
                assert_eq!(tested.epoch, self.epoch(node));
                self.nodes[node].model = model;
                self.nodes[node].tested = tested;
                self.compare_leases(node);
                Answer::Done
            }
            (expected, answer) => {
                assert_eq!(answer, expected, "node {node} renews its lease");
                self.nodes[node].is_over = true;
                answer
            }
        }
    }

    pub(super) fn retire(&mut self, node: usize) {
        let (expected, answer) = self.both(|lease| Request::Retire { epoch: lease(node).epoch });
        assert_eq!(answer, expected, "node {node} retires");
        self.nodes[node].is_over = true;
        assert_eq!(self.tested.next_news(self.epoch(node)), None, "node {node} has retired");
    }

    pub(super) fn ask(&mut self, node: usize, key: &str, step: Step) -> SessionAnswer {
        let number = self.next_number(node);
        self.numbered(number, node, key, step)
    }

    pub(super) fn numbered(
        &mut self,
        number: u64,
        node: usize,
        key: &str,
        step: Step,
    ) -> SessionAnswer {
        self.knowing(node, number, node, key, step)
    }

    /// Asks with the membership that another node knows.
    pub(super) fn knowing(
        &mut self,
        informant: usize,
        number: u64,
        node: usize,
        key: &str,
        step: Step,
    ) -> SessionAnswer {
        let (key, history) = (SessionKey::new(key).unwrap(), self.new_history);
        let (expected, answer) = self.both(|lease| {
            let membership: Membership = lease(informant).membership();
            let (key, step) = (key.clone(), step.clone());
            let epoch = lease(node).epoch;
            let request = SessionRequest { key, epoch, number, membership, history, step };
            Request::Session(Box::new(request))
        });
        assert_eq!(answer, expected, "node {node} asks, number {number}: {step:?}");
        self.hear();
        match answer {
            Answer::Session(answer) | Answer::WithHistory { answer, .. } => answer,
            other => panic!("{step:?} was answered {other:?}"),
        }
    }

    /// Asks about a history. A new one has this incarnation.
    pub(super) fn history(
        &mut self,
        node: usize,
        key: &str,
        incarnation: u64,
        limits: HistoryConfig,
        step: HistoryStep,
    ) -> HistoryAnswer {
        let key = SessionKey::new(key).unwrap();
        let (expected, answer) = self.both(|lease| {
            let (key, epoch, step) = (key.clone(), lease(node).epoch, step.clone());
            Request::History(Box::new(HistoryRequest { key, epoch, incarnation, limits, step }))
        });
        assert_eq!(answer, expected, "node {node} asks about a history: {step:?}");
        self.hear();
        match answer {
            Answer::History(answer) => answer,
            other => panic!("{step:?} was answered {other:?}"),
        }
    }

    /// Asks about a client. Both engines know the same.
    pub(super) fn outcome(
        &mut self,
        number: u64,
        node: usize,
        instance: Instance,
        step: OutcomeStep,
    ) -> OutcomeAnswer {
        let (expected, answer) = self.both(|lease| {
            let (epoch, membership) = (lease(node).epoch, lease(node).membership());
            let (limits, mut step) = (super::outcomes::LIMITS, step.clone());
            if let OutcomeStep::Attach { data, .. } = &mut step {
                *data = lease(node).data;
            }
            let request = OutcomeRequest { instance, epoch, number, membership, limits, step };
            Request::Outcome(Box::new(request))
        });
        let answer = match (&step, answer) {
            // In a cluster of engines, another server has it.
            (
                &OutcomeStep::Attach { fresh, .. },
                Answer::Outcome(OutcomeAnswer::OtherData(data)),
            ) => {
                let Lease { epoch, .. } = self.nodes[node].tested;
                let membership = self.nodes[node].tested.membership();
                let (limits, step) = (super::outcomes::LIMITS, OutcomeStep::Attach { fresh, data });
                let request = OutcomeRequest { instance, epoch, number, membership, limits, step };
                self.tested.perform(Request::Outcome(Box::new(request)))
            }
            (_, answer) => answer,
        };
        let (Answer::Outcome(mut expected), Answer::Outcome(answer)) = (expected, answer) else {
            panic!("{step:?} was answered otherwise");
        };
        if let OutcomeAnswer::Running { by } = &mut expected {
            let of = self.nodes.iter().find(|node| node.model.epoch == *by);
            *by = of.map_or(*by, |node| node.tested.epoch);
        }
        assert_eq!(answer, expected, "node {node} asks, number {number}: {step:?}");
        answer
    }

    pub(super) fn send(&mut self, node: usize, to: Audience, message: &[u8]) -> Answer {
        let answer = self.send_unheard(node, to, message);
        self.hear();
        answer
    }

    /// Sends, and lets the news wait.
    pub(super) fn send_unheard(&mut self, node: usize, to: Audience, message: &[u8]) -> Answer {
        let (expected, answer) = self.both(|lease| Request::Send {
            from: lease(node).epoch,
            to: to.clone(),
            message: message.to_vec().into(),
        });
        assert_eq!(answer, expected, "node {node} sends to {to:?}");
        answer
    }

    pub(super) fn follow(&mut self, node: usize, group: &str) {
        let (expected, answer) =
            self.both(|lease| Request::Follow { epoch: lease(node).epoch, group: group.into() });
        assert_eq!(answer, expected);
    }

    pub(super) fn unfollow(&mut self, node: usize, group: &str) {
        let (expected, answer) =
            self.both(|lease| Request::Unfollow { epoch: lease(node).epoch, group: group.into() });
        assert_eq!(answer, expected);
    }

    /// Checks that nobody has heard what it should not have heard.
    pub(super) fn finish(mut self) {
        self.hear();
        let last = self.enter("the last");
        self.send(last, Audience::All, b"the last");
    }
}
