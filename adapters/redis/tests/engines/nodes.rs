//! Nodes that share an engine.

mod contract;
mod failures;
mod stored;

use core::time::Duration;

use smol::block_on;
use wwr_async::cluster::{
    Answer, Audience, Engine as _, EngineError, Epoch, HistoryAnswer, HistoryConfig,
    HistoryRequest, HistoryStep, Instance, Lease, News, OutcomeAnswer, OutcomeLimits,
    OutcomeRequest, OutcomeStep, Position, Request, SessionAnswer, SessionRequest, Step,
};
use wwr_async::{Runtime, UnixTime, timeout};
use wwr_redis::{Cluster, Engine as Place, RedisConfig};
use wwr_smol::Smol;

use crate::support::{SAFETY, key, session};

pub(crate) const LEASE: Duration = Duration::from_secs(3600);

/// A node with an engine of its own.
pub(crate) struct Node<R: Runtime = Smol> {
    pub(crate) cluster: Cluster<R>,
    pub(crate) lease: Lease,
    number: u64,
}

pub(crate) fn open(place: impl Into<Place>, config: RedisConfig) -> Cluster<Smol> {
    block_on(Cluster::connect(place, config)).unwrap()
}

impl<R: Runtime> Node<R> {
    /// Enters, and listens.
    pub(crate) fn enter(cluster: Cluster<R>, name: &str) -> Self {
        let enter = Request::Enter { name: name.into(), lease: LEASE };
        let Answer::Lease(lease) = block_on(cluster.perform(enter)).unwrap() else { panic!() };
        let mut node = Self { cluster, lease, number: 0 };
        assert_eq!(node.hear(), Some(News::Interrupted));
        node
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.lease.epoch
    }

    pub(crate) fn hear(&mut self) -> Option<News> {
        let runtime = Smol::default();
        let heard = timeout(&runtime, SAFETY, self.cluster.next_news(self.epoch()));
        block_on(heard).expect("there is no news")
    }

    /// Asks with the number of the request before.
    pub(crate) fn again(&mut self, name: &str, step: Step) -> Result<SessionAnswer, EngineError> {
        let request = SessionRequest {
            key: key(name),
            epoch: self.epoch(),
            number: self.number,
            membership: self.lease.membership(),
            history: Some(self.new_incarnation()),
            step,
        };
        let answer = block_on(self.cluster.perform(Request::Session(Box::new(request))))?;
        match answer {
            Answer::Session(answer) | Answer::WithHistory { answer, .. } => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn ask(&mut self, name: &str, step: Step) -> Result<SessionAnswer, EngineError> {
        self.number += 1;
        self.again(name, step)
    }

    /// Asks about the idempotent requests of a client.
    pub(crate) fn outcome(
        &mut self,
        client: u8,
        step: OutcomeStep,
    ) -> Result<OutcomeAnswer, EngineError> {
        self.number += 1;
        let (bytes, keep) = (1_000, Duration::from_secs(100));
        let request = OutcomeRequest {
            instance: Instance([client; 16]),
            epoch: self.epoch(),
            number: self.number,
            membership: self.lease.membership(),
            limits: OutcomeLimits { keep, outcomes: 10, bytes },
            step,
        };
        match block_on(self.cluster.perform(Request::Outcome(Box::new(request))))? {
            Answer::Outcome(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    fn new_incarnation(&self) -> u64 {
        self.epoch().0.get() * 1_000 + self.number
    }

    /// Asks about a history, which keeps one signal. Each request proposes another incarnation.
    pub(crate) fn history(
        &mut self,
        name: &str,
        step: HistoryStep,
    ) -> Result<HistoryAnswer, EngineError> {
        self.number += 1;
        let (key, epoch) = (key(name), self.epoch());
        let incarnation = self.new_incarnation();
        let mut limits = HistoryConfig::default();
        limits.max_signals = 1;
        let request = HistoryRequest { key, epoch, incarnation, limits, step };
        match block_on(self.cluster.perform(Request::History(Box::new(request))))? {
            Answer::History(answer) => Ok(answer),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn append(&mut self, name: &str, signal: &'static str) -> Position {
        let append = HistoryStep::Append { signal: signal.into() };
        match self.history(name, append).unwrap() {
            HistoryAnswer::Appended { end, .. } => end,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn renew(&self) -> Result<Answer, EngineError> {
        let epoch = self.epoch();
        block_on(self.cluster.perform(Request::Renew { epoch, lease: LEASE }))
    }

    pub(crate) fn send(&self, to: Audience, message: &'static str) -> Result<Answer, EngineError> {
        let (from, message) = (self.epoch(), message.into());
        block_on(self.cluster.perform(Request::Send { from, to, message }))
    }
}

pub(crate) fn create(name: &str) -> Step {
    Step::Create { session: Box::new(session(name)), places: 1 }
}

pub(crate) const JOIN: Step =
    Step::Join { places: 1, limit: None, now: UnixTime::from_seconds(300) };

pub(crate) fn message(from: Epoch, text: &'static str) -> Option<News> {
    Some(News::Message { from, to: Audience::All, message: text.into() })
}
