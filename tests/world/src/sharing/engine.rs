//! The engine, and the way to it.

use std::collections::BTreeMap;

use bytes::Bytes;
use wwr::Instant;
use wwr::cluster::{
    Answer, DataId, EngineFailed, EngineJob, EngineJobId, MemoryEngine, OutcomeAnswer, OutcomeStep,
    Request,
};
use wwr::session::{Begun, Instance, Scope};

use super::{Event, ForNode, SharingMistake, Stage};
use crate::event::millis;

pub(super) struct Engine {
    engine: MemoryEngine,
    replica: Option<MemoryEngine>,
    data: u64,
    pub(super) is_down: bool,
    /// The first scope of each client, for a mistake.
    scopes: BTreeMap<Instance, Scope>,
    /// The last outcome that was told, for a mistake.
    last: Option<Bytes>,
    rate: u64,
    way: Way,
}

/// How the way to the engine is, in this world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// How many of a hundred requests, and answers, are lost.
    lost: u64,
    late: u64,
}

impl Way {
    pub(super) fn new(stage: &mut Stage) -> Self {
        Self { lost: stage.dice.choose(&[0, 1, 3]), late: stage.dice.choose(&[0, 1, 5]) }
    }

    fn delay(self, stage: &mut Stage) -> core::time::Duration {
        if !stage.is_settled && stage.dice.chance(self.late) {
            return stage.delay(3000);
        }
        stage.delay(5)
    }

    /// A node asks the engine.
    pub(super) fn ask(
        self,
        (node, run): (usize, u64),
        reaches: bool,
        job: EngineJob,
        stage: &mut Stage,
    ) {
        let EngineJob { id, request } = job;
        if !reaches {
            if stage.dice.chance(50) {
                let what = ForNode::Answer { job: id, answer: Err(EngineFailed) };
                stage.at(millis(5), Event::Node { node, run, what });
            }
            return;
        }
        if !stage.is_settled && stage.dice.chance(self.lost) {
            return stage.saw("request lost");
        }
        let request = *request;
        if matches!(request, Request::Outcome(_)) && !stage.is_settled && stage.dice.chance(2) {
            stage.saw("request twice");
            let (after, request) = (stage.delay(4000), request.clone());
            stage.at(after, Event::Perform { node, run, job: None, request });
        }
        let after = self.delay(stage);
        stage.at(after, Event::Perform { node, run, job: Some(id), request });
    }

    fn answer(
        self,
        (node, run): (usize, u64),
        job: EngineJobId,
        answer: Answer,
        stage: &mut Stage,
    ) {
        if !stage.is_settled && stage.dice.chance(self.lost) {
            return stage.saw("answer lost");
        }
        let after = self.delay(stage);
        let what = ForNode::Answer { job, answer: Ok(answer) };
        stage.at(after, Event::Node { node, run, what });
    }
}

impl Engine {
    pub(super) fn new(stage: &mut Stage) -> Self {
        Self {
            engine: MemoryEngine::new(),
            replica: None,
            data: 1,
            is_down: false,
            scopes: BTreeMap::new(),
            last: None,
            rate: 970_000 + stage.dice.below(60_001),
            way: Way::new(stage),
        }
    }

    fn clock(&self, now: Instant) -> Instant {
        let shown = u128::from(now.as_nanos()) * u128::from(self.rate) / 1_000_000;
        Instant::from_nanos(shown as u64)
    }

    /// The engine carries a request out.
    pub(super) fn perform(
        &mut self,
        (node, run, job): (usize, u64, Option<EngineJobId>),
        mut request: Request,
        stage: &mut Stage,
    ) {
        if self.is_down {
            return;
        }
        let now = self.clock(stage.now);
        self.spoil(&mut request, stage);
        let shown = match &request {
            Request::Outcome(asked) => Some(format!("#{} {:?}", asked.number, asked.step)),
            _ => None,
        };
        let mut answer = self.engine.perform(now, request, &mut Vec::new());
        if let Some(shown) = shown {
            stage.note(|| format!("engine: node {node} {shown}: {answer:?}"));
        }
        if let Answer::Outcome(answer) = &mut answer {
            self.spoil_answer(answer, stage);
        }
        if let Some(job) = job {
            self.way.answer((node, run), job, answer, stage);
        }
    }

    /// What is to go wrong on purpose.
    fn spoil(&mut self, request: &mut Request, stage: &mut Stage) {
        let Request::Outcome(asked) = request else { return };
        match &mut asked.step {
            OutcomeStep::Attach { fresh, .. } if stage.does(SharingMistake::SameScope) => {
                *fresh = *self.scopes.entry(asked.instance).or_insert(*fresh);
            }
            &mut OutcomeStep::Finish { scope, token, begun, .. }
                if stage.does(SharingMistake::FinishedIsUndone) =>
            {
                asked.step = OutcomeStep::Undo { scope, token, begun };
            }
            _ => {}
        }
    }

    fn spoil_answer(&mut self, answer: &mut OutcomeAnswer, stage: &Stage) {
        match answer {
            OutcomeAnswer::Begun(begun @ Begun::Unknown)
                if stage.does(SharingMistake::UnknownIsFresh) =>
            {
                *begun = Begun::Fresh;
            }
            OutcomeAnswer::Running { .. } if stage.does(SharingMistake::RunningIsFresh) => {
                *answer = OutcomeAnswer::Begun(Begun::Fresh);
            }
            OutcomeAnswer::Begun(Begun::Done(outcome)) => {
                let told = self.last.replace(outcome.clone());
                if stage.does(SharingMistake::OutcomesMixedUp) {
                    *outcome = told.unwrap_or_default();
                }
            }
            _ => {}
        }
    }

    pub(super) fn snapshot(&mut self, stage: &mut Stage) {
        self.replica = Some(self.engine.clone());
        let after = stage.delay(3000);
        stage.at(after, Event::Snapshot);
    }

    /// A replica takes over, without some of the last changes or with all of them. Or the engine starts again, empty.
    pub(super) fn fail_over(&mut self, stage: &mut Stage) {
        match stage.dice.below(3) {
            0 => stage.saw("failover"),
            1 => {
                stage.saw("started empty");
                // Epochs go by its clock.
                self.engine = MemoryEngine::new();
            }
            _ => {
                stage.saw("failover with loss");
                if let Some(replica) = self.replica.take() {
                    self.engine = replica;
                }
            }
        }
        stage.note(|| "engine: a replica takes over".into());
        self.data += 1;
        if !stage.does(SharingMistake::LossNotNoticed) {
            self.engine.take_over(DataId(self.data));
        }
    }
}
