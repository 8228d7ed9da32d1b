//! A node: hub, connections and application. What it keeps in memory is gone when its process ends.

use std::collections::{BTreeMap, VecDeque};
use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use wwr::cluster::{ClusterAction, ClusterConfig};
use wwr::server::{
    Action, Config, Connection, Hub, HubAction, Observed, RecoveryConfig, RecoveryNews,
};
use wwr::session::{Begun, ConnectionId, OutcomesConfig};
use wwr::wire::{Message, decode};
use wwr::{Actions, Dialect, Instant, Payload, Valid};

use super::engine::Way;
use super::{Event, ForNode, SharingMistake, Stage};
use crate::event::millis;
use crate::invariants::Invariant;

const LEASE: Duration = millis(3_000);

pub(super) struct Node {
    id: usize,
    /// `None` while its process does not run.
    hub: Option<Hub>,
    /// Which process it is.
    pub(super) run: u64,
    config: Valid<Config>,
    way: Way,
    rate: u64,
    control: Actions<HubAction>,
    out: Actions<Action>,
    connections: BTreeMap<u64, Served>,
    /// Whether it does not reach the engine.
    pub(super) is_split: bool,
    /// Whether its process stands still.
    pub(super) is_paused: bool,
    pub(super) missed: Vec<ForNode>,
}

struct Served {
    id: ConnectionId,
    machine: Connection,
    news: VecDeque<RecoveryNews>,
    has_ended: bool,
}

impl Node {
    pub(super) fn new(id: usize, stage: &mut Stage) -> Self {
        let mut config = Config::default();
        config.keeps_outcomes = true;
        config.concurrency = NonZeroU16::new(1 + stage.dice.below(3) as u16).expect("some");
        config.pings = None;
        Self {
            id,
            hub: None,
            run: 0,
            config: config.validate().expect("settings that are valid"),
            way: Way::new(stage),
            rate: 970_000 + stage.dice.below(60_001),
            control: Actions::new(),
            out: Actions::new(),
            connections: BTreeMap::new(),
            is_split: false,
            is_paused: false,
            missed: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, stage: &mut Stage) {
        if self.hub.is_some() {
            return;
        }
        let mut cluster = ClusterConfig::new(format!("node-{}", self.id));
        cluster.lease = LEASE;
        cluster.request_timeout = LEASE / 4;
        let mut outcomes = OutcomesConfig::default();
        outcomes.window = Duration::from_secs(15);
        outcomes.max_per_client = NonZeroUsize::new(4).expect("more than zero");
        let mut recovery = RecoveryConfig::default();
        recovery.outcomes = Some(outcomes);
        let recovery = recovery.validate().expect("settings that are valid");
        let cluster = cluster.validate().expect("settings that are valid");
        let mut secret = [0; 16];
        secret[..8].copy_from_slice(&stage.dice.number().to_le_bytes());
        let hub = Hub::clustered_with_recovery(&Valid::default(), &cluster, &recovery, secret);
        self.hub = Some(hub);
        self.run += 1;
        let id = self.id;
        stage.note(|| format!("node {id} starts"));
    }

    /// The process ends without a word.
    pub(super) fn kill(&mut self, stage: &mut Stage) {
        if self.hub.take().is_none() {
            return;
        }
        let id = self.id;
        stage.note(|| format!("node {id} is killed"));
        stage.saw("killed");
        self.run += 1;
        (self.control, self.out) = (Actions::new(), Actions::new());
        self.is_paused = false;
        self.missed.clear();
        for link in std::mem::take(&mut self.connections).into_keys() {
            stage.cut(link);
        }
    }

    /// The task of a connection ends, and with it all its handlers.
    pub(super) fn kill_task(&mut self, stage: &mut Stage) {
        let links: Vec<_> = self.connections.keys().copied().collect();
        let Some(index) = stage.dice.index(links.len()).filter(|_| !self.is_paused) else { return };
        let link = links[index];
        stage.note(|| format!("the task of #{link} ends"));
        let now = self.clock(stage.now);
        if let (Some(served), Some(hub)) = (self.connections.remove(&link), &mut self.hub) {
            hub.left(now, served.id, &mut self.control);
            self.control(stage);
        }
        stage.cut(link);
    }

    fn clock(&self, now: Instant) -> Instant {
        let shown = u128::from(now.as_nanos()) * u128::from(self.rate) / 1_000_000;
        Instant::from_nanos(shown as u64)
    }

    fn when(&self, shown: Instant) -> Instant {
        let rate = u128::from(self.rate);
        Instant::from_nanos((u128::from(shown.as_nanos()) * 1_000_000).div_ceil(rate) as u64)
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let hub = self.hub.as_ref().filter(|_| !self.is_paused)?;
        let timeouts = self.connections.values().filter_map(|served| served.machine.next_timeout());
        timeouts.chain(hub.next_timeout()).min().map(|next| self.when(next))
    }

    pub(super) fn due(&mut self, stage: &mut Stage) {
        let now = self.clock(stage.now);
        if self.is_paused {
            return;
        }
        let links: Vec<_> = self.connections.keys().copied().collect();
        for link in links {
            if let Some(served) = self.connections.get_mut(&link)
                && served.machine.next_timeout().is_some_and(|next| next <= now)
            {
                served.machine.handle_timeout(now, &mut self.out);
                self.carry_out(link, stage);
            }
        }
        let Some(hub) = &mut self.hub else { return };
        if hub.next_timeout().is_some_and(|next| next <= now) {
            hub.handle_timeout(now, &mut self.control);
            let next = hub.next_timeout();
            let id = self.id;
            stage.check(next.is_none_or(|next| next > now), Invariant::DeadlinesForward, || {
                format!("node {id} is due at {next:?}, and it is {now:?}")
            });
            self.control(stage);
        }
    }

    pub(super) fn accept(&mut self, link: u64, stage: &mut Stage) -> bool {
        let now = self.clock(stage.now);
        let Some(hub) = self.hub.as_mut().filter(|_| !self.is_paused) else { return false };
        let Ok(id) = hub.admit(now) else { return false };
        let machine = Connection::accept(&self.config, Observed::SubProtocol, now, &mut self.out);
        let served = Served { id, machine, news: VecDeque::new(), has_ended: false };
        self.connections.insert(link, served);
        hub.opened(now, id, &mut self.control);
        self.carry_out(link, stage);
        true
    }

    /// Something comes to the process of this run.
    pub(super) fn take(&mut self, run: u64, what: ForNode, stage: &mut Stage) {
        if run != self.run {
            return;
        }
        if self.is_paused {
            return self.missed.push(what);
        }
        let now = self.clock(stage.now);
        match what {
            ForNode::Message { link, frame } => self.receive(link, frame, stage),
            ForNode::Loses(link) => self.lose(link, stage),
            ForNode::Inbox(link) => {
                let served = self.connections.get_mut(&link).filter(|served| !served.has_ended);
                let Some(served) = served else { return };
                if let Some(news) = served.news.pop_front() {
                    served.machine.handle_recovery(now, news, &mut self.out);
                    self.carry_out(link, stage);
                }
            }
            ForNode::Close(link) => {
                let served = self.connections.get_mut(&link).filter(|served| !served.has_ended);
                let Some(served) = served else { return };
                served.machine.close(now, &mut self.out);
                self.carry_out(link, stage);
            }
            ForNode::Handled { link, request, reply } => {
                if let Some(served) = self.connections.get_mut(&link) {
                    let _ = served.machine.reply(request, Ok(Payload::utf8(reply)), &mut self.out);
                    self.carry_out(link, stage);
                    self.leave_if_done(link, stage);
                }
            }
            ForNode::Answer { job, answer } => {
                if self.is_split {
                    return;
                }
                let Some(hub) = &mut self.hub else { return };
                hub.engine_answered(now, job, answer, &mut self.control);
                self.control(stage);
            }
            ForNode::Interrupted(epoch) => {
                let Some(hub) = &mut self.hub else { return };
                let news = wwr::cluster::News::Interrupted;
                hub.handle_news(now, epoch, news, &mut self.control);
                self.control(stage);
            }
        }
    }

    fn receive(&mut self, link: u64, frame: bytes::Bytes, stage: &mut Stage) {
        let now = self.clock(stage.now);
        let served = self.connections.get_mut(&link).filter(|served| !served.has_ended);
        let Some(served) = served else { return };
        if let Ok(Message::IdempotentRequest { content, .. }) = decode(Dialect::Wwr1, frame.clone())
            && let Ok(token) = content.text()
        {
            stage.requests.entry(token.into()).or_default().came_to.insert(self.id);
        }
        served.machine.handle_message(now, frame, &mut self.out);
        self.carry_out(link, stage);
    }

    /// The socket is gone. Handlers of idempotent requests run on.
    fn lose(&mut self, link: u64, stage: &mut Stage) {
        let served = self.connections.get_mut(&link).filter(|served| !served.has_ended);
        let Some(served) = served else { return };
        served.has_ended = true;
        served.news.clear();
        served.machine.handle_disconnect(&mut self.out);
        self.carry_out(link, stage);
        self.leave_if_done(link, stage);
    }

    fn leave_if_done(&mut self, link: u64, stage: &mut Stage) {
        let is_done =
            |served: &Served| served.has_ended && served.machine.running_idempotent() == 0;
        let now = self.clock(stage.now);
        if self.connections.get(&link).is_some_and(is_done)
            && let Some(served) = self.connections.remove(&link)
            && let Some(hub) = &mut self.hub
        {
            hub.left(now, served.id, &mut self.control);
            self.control(stage);
        }
    }

    fn carry_out(&mut self, link: u64, stage: &mut Stage) {
        let now = self.clock(stage.now);
        while let Some(action) = self.out.pop() {
            match action {
                Action::Send(frame) => stage.send(link, false, frame),
                Action::Request(request) => {
                    let token = request.content.text().map(String::from).unwrap_or_default();
                    let reply = stage.execute(self.id, &token);
                    let takes = match stage.dice.below(4) {
                        0 => stage.delay(8000),
                        _ => stage.delay(50),
                    };
                    let what = ForNode::Handled { link, request: request.id, reply };
                    stage.at(takes, Event::Node { node: self.id, run: self.run, what });
                }
                Action::Recover(command) => {
                    if let (Some(served), Some(hub)) = (self.connections.get(&link), &mut self.hub)
                    {
                        hub.recover(now, served.id, *command, &mut self.control);
                    }
                }
                Action::Close(_) => stage.close(link),
                _ => {}
            }
        }
        self.control(stage);
    }

    fn control(&mut self, stage: &mut Stage) {
        while let Some(action) = self.control.pop() {
            let (node, run) = (self.id, self.run);
            match action {
                HubAction::Recover { to, mut news } => {
                    spoil(&mut news, stage);
                    let found = self.connections.iter_mut().find(|(_, served)| served.id == to);
                    if let Some((&link, served)) = found.filter(|(_, served)| !served.has_ended) {
                        served.news.push_back(news);
                        let what = ForNode::Inbox(link);
                        stage.at(millis(1), Event::Node { node, run, what });
                    }
                }
                HubAction::Close { to } => {
                    stage.saw("scope gone");
                    let found = self.connections.iter_mut().find(|(_, served)| served.id == to);
                    if let Some((&link, _)) = found.filter(|(_, served)| !served.has_ended) {
                        let what = ForNode::Close(link);
                        stage.at(millis(1), Event::Node { node, run, what });
                    }
                }
                HubAction::Cluster(action) => match *action {
                    ClusterAction::Engine(job) => {
                        self.way.ask((node, run), !self.is_split, job, stage);
                    }
                    ClusterAction::Entered { epoch } => {
                        let what = ForNode::Interrupted(epoch);
                        stage.at(millis(1), Event::Node { node, run, what });
                    }
                    ClusterAction::Lost { cause, .. } => {
                        stage.note(|| format!("node {node} is lost by {cause:?}"));
                        stage.saw("lost");
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// All have left.
    pub(super) fn check_end(&self, stage: &mut Stage) {
        let id = self.id;
        let left = self.hub.as_ref().filter(|hub| !hub.is_idle()).map(|hub| format!("{hub:?}"));
        stage.check(left.is_none(), Invariant::MemoryFloor, || {
            format!("something is left on node {id}: {}", left.unwrap_or_default())
        });
    }
}

/// Does what is to be done wrong.
fn spoil(news: &mut RecoveryNews, stage: &Stage) {
    if let RecoveryNews::Begun { begun: begun @ Begun::NotNow, .. } = news
        && stage.does(SharingMistake::RefusedIsExecuted)
    {
        *begun = Begun::Fresh;
    }
}
