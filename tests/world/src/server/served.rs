//! A connection, as its task has it.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use wwr::Dialect;
use wwr::Instant;
use wwr::Session;
use wwr::server::{Connection, Counters, EditId, QuestionId, RequestId, SignalId};
use wwr::session::{Change, Command};
use wwr::wire::{Identifier, Kind, Message, decode};

use super::backlog::States;
use super::control::News;
use crate::adversary::HEARTBEAT;
use crate::application::Task;
use crate::coverage::{Phase, ServerState, Slot};
use crate::network::Peer;
use crate::trace::is_reply;

/// More messages than wait in any machine of these worlds.
const MOST_WAITING: usize = 16;

/// What was received and not yet read.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Binary(Bytes),
    Text(Bytes),
    Ping,
}

/// What the hub was asked and has not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Restore,
    Create,
    Close,
}

/// How a connection was told to shut down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ToldToShutDown {
    pub(crate) deadline: Instant,
    /// It was not closing before.
    pub(crate) was_open: bool,
}

/// What the machine has counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) started: u64,
    pub(crate) ended: u64,
    /// Those that have ended without an answer.
    pub(crate) lost: u64,
}

impl Counted {
    const NOTHING: Self = Self { started: 0, ended: 0, lost: 0 };

    fn add(&mut self, counters: &Counters) {
        let Counters { requests, replied, failed, internal, lost, .. } = *counters;
        self.started += u64::from(requests);
        self.lost += u64::from(lost);
        self.ended += [replied, failed, internal, lost].map(u64::from).iter().sum::<u64>();
    }
}

pub(crate) struct Served {
    pub(crate) machine: Connection,
    pub(crate) peer: Peer,
    /// What came while the machine wanted no input, or the peer did not read.
    pub(crate) unread: VecDeque<Input>,
    /// News of the hub on their way, and when the last of them arrives.
    pub(crate) inbox: VecDeque<News>,
    pub(crate) inbox_last: Instant,
    pub(crate) asked: Option<Asked>,
    /// The same when it last left a session without waiting for that.
    given_up: Option<Asked>,
    /// Handlers that wait for their session to be created, or closed.
    pub(crate) creating: VecDeque<Task>,
    pub(crate) closing: VecDeque<Task>,
    /// Those that wait for a change of its info or key, in order.
    pub(crate) editing: VecDeque<(EditId, Task)>,
    /// The session that the application was told of.
    pub(crate) story: Option<Session>,
    /// Other connections held it when the hub last detached this one, or closed it for this one.
    pub(crate) others_hold: bool,
    /// The session has become longer than the client reads.
    pub(crate) is_too_long: bool,
    /// Signals that wait until the peer reads.
    pub(crate) states: States,
    pub(crate) signals_sent: u64,
    /// The questions without an outcome, and when their time is over.
    pub(crate) questions: BTreeMap<QuestionId, Instant>,
    pub(crate) signals_heard: u64,
    pub(crate) requests_heard: usize,
    /// The requests whose handlers run.
    pub(crate) running: Vec<RequestId>,
    /// The handlers that ended last, to be ended once more.
    pub(crate) ended_request: Option<RequestId>,
    pub(crate) ended_signal: Option<SignalId>,
    /// How the server told it to shut down first.
    pub(crate) shut_down: Option<ToldToShutDown>,
    /// Something else than the shutdown may close it.
    pub(crate) may_close: bool,
    /// By when it has to be closed.
    pub(crate) drains_by: Option<Instant>,
    /// The lengths of the latest messages that were handed to the machine: all that may wait.
    lengths: VecDeque<usize>,
    /// How many messages in a row may have meant nothing, now and at most.
    ignorable: (u32, u32),
    /// How many answers are still owed to each identifier.
    owed: BTreeMap<Identifier, i64>,
    pub(crate) counted: Counted,
    /// Where it stood after the last call.
    pub(crate) state: ServerState,
}

impl Served {
    /// Takes what the machine has counted since the last call.
    pub(crate) fn take_counters(&mut self) -> Counted {
        self.counted.add(&self.machine.take_counters());
        self.counted
    }

    pub(crate) const fn new(machine: Connection, peer: Peer) -> Self {
        Self {
            machine,
            peer,
            unread: VecDeque::new(),
            inbox: VecDeque::new(),
            inbox_last: Instant::EPOCH,
            asked: None,
            given_up: None,
            creating: VecDeque::new(),
            closing: VecDeque::new(),
            editing: VecDeque::new(),
            story: None,
            others_hold: false,
            is_too_long: false,
            counted: Counted::NOTHING,
            states: States::new(),
            signals_sent: 0,
            questions: BTreeMap::new(),
            signals_heard: 0,
            requests_heard: 0,
            running: Vec::new(),
            ended_request: None,
            ended_signal: None,
            shut_down: None,
            may_close: false,
            drains_by: None,
            lengths: VecDeque::new(),
            ignorable: (0, 0),
            owed: BTreeMap::new(),
            state: ServerState(Phase::Open, Slot::Empty),
        }
    }

    /// Where it stands.
    pub(crate) fn state_now(&self) -> ServerState {
        let phase = if self.machine.is_open() {
            Phase::Open
        } else if self.machine.next_timeout().is_some() {
            Phase::Draining
        } else {
            Phase::Closed
        };
        let slot = match self.asked {
            Some(Asked::Restore) => Slot::Restoring,
            Some(Asked::Create) => Slot::Creating,
            Some(Asked::Close) => Slot::Closing,
            None if self.machine.session().is_some() => Slot::Held,
            None => Slot::Empty,
        };
        ServerState(phase, slot)
    }

    /// It has to be closed by then.
    pub(crate) fn drains_within(&mut self, deadline: Instant) {
        let deadline = self.drains_by.map_or(deadline, |earlier| earlier.min(deadline));
        self.drains_by = Some(deadline);
    }

    /// The server shuts down.
    pub(crate) fn is_shut_down(&mut self, deadline: Instant) {
        let was_open = self.shut_down.map_or(self.machine.is_open(), |told| told.was_open);
        self.shut_down = Some(ToldToShutDown { deadline, was_open });
        self.drains_within(deadline);
    }

    /// Whether a session message is half done, behind which all others wait.
    pub(crate) const fn holds_up(&self) -> bool {
        matches!(self.asked, Some(Asked::Restore | Asked::Close))
    }

    /// The machine asks the hub.
    pub(crate) const fn asks(&mut self, command: &Command) {
        if let Command::Edit(_) = command {
            return;
        }
        if let Command::Leave(_) = command {
            self.given_up = self.asked;
        }
        self.asked = match command {
            Command::Restore(_) => Some(Asked::Restore),
            Command::Create(_) => Some(Asked::Create),
            Command::Close(_) => Some(Asked::Close),
            Command::Edit(_) | Command::Leave(_) => None,
        };
    }

    /// The hub answers.
    pub(crate) fn hears(&mut self, change: &Change) {
        let answers = match change {
            Change::Restored(_)
            | Change::NotFound
            | Change::LimitReached
            | Change::LookupFailed => Asked::Restore,
            Change::Created | Change::CreateFailed => Asked::Create,
            Change::Closed
            | Change::Detached
            | Change::CloseFailed
            | Change::ClosedByKey { .. }
            | Change::ClosedByOther { .. } => Asked::Close,
            Change::Stored
            | Change::Updated { .. }
            | Change::Rotated { .. }
            | Change::EditFailed(_) => return,
        };
        self.may_close |= matches!(change, Change::ClosedByKey { disconnect: true });
        self.asked = self.asked.filter(|asked| *asked != answers);
    }

    /// A message is handed to the machine.
    pub(crate) fn owes_for(&mut self, frame: &Bytes) {
        // Heartbeats and answers never wait.
        let overtakes = frame[..] == *HEARTBEAT || matches!(frame.first(), Some(25..=29));
        if !overtakes {
            self.lengths.push_back(frame.len());
            self.lengths.drain(..self.lengths.len().saturating_sub(MOST_WAITING));
        }
        if frame[..] != *HEARTBEAT {
            let (row, most) = self.ignorable;
            let row = if has_meaning(frame) { 0 } else { row + 1 };
            self.ignorable = (row, most.max(row));
        }
        let kind = frame.first().and_then(|byte| Kind::from_byte(*byte));
        if kind.is_some_and(Kind::requires_reply)
            && let Some(id) = identifier(frame)
        {
            *self.owed.entry(id).or_default() += 1;
        }
    }

    /// The longest row of messages that may have meant nothing.
    pub(crate) const fn ignorable_in_a_row(&self) -> u32 {
        self.ignorable.1
    }

    /// How many bytes of messages wait in the machine, by the count of the task that fed them.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.lengths.iter().rev().take(self.machine.waiting_messages()).sum()
    }

    /// The machine sends; whether it owed that, if it is an answer.
    pub(crate) fn answers(&mut self, frame: &Bytes) -> bool {
        let kind = frame.first().and_then(|byte| Kind::from_byte(*byte));
        if !kind.is_some_and(is_reply) {
            return true;
        }
        let Some(id) = identifier(frame) else { return false };
        let Some(owed) = self.owed.get_mut(&id) else { return false };
        *owed -= 1;
        if *owed == 0 {
            self.owed.remove(&id);
        }
        true
    }

    /// How many answers may be owed for good reason: by handlers, and the hub.
    pub(crate) fn may_owe(&self) -> i64 {
        let asked = matches!(self.given_up, Some(Asked::Restore | Asked::Close));
        self.running.len() as i64 + i64::from(asked)
    }

    /// How many answers are owed.
    pub(crate) fn owed(&self) -> i64 {
        self.owed.values().sum()
    }
}

/// Whether a message is one of a client in every version.
fn has_meaning(frame: &Bytes) -> bool {
    Dialect::ALL.into_iter().all(|dialect| {
        let message = decode(dialect, frame.clone());
        message.is_ok_and(|message| {
            message.kind().requires_reply() || matches!(message, Message::Signal(_))
        })
    })
}

/// The identifier of a message that has one.
pub(crate) fn identifier(frame: &[u8]) -> Option<Identifier> {
    let bytes = frame.get(1..9)?.try_into().ok()?;
    Some(Identifier::from_bytes(bytes))
}
