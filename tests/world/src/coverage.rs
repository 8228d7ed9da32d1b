//! What the worlds came across: states, transitions, faults, outcomes.

use std::collections::BTreeMap;
use std::fmt;

use wwr::wire::Kind;

use crate::faults::Fault;

/// A point and what happened there. Both are small numbers with names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fact {
    /// A fault was injected.
    Fault(Fault),
    /// A connection of a server went from one state to another.
    Connection(ServerState, ServerState),
    /// A client's link did.
    Link(LinkState, LinkState),
    /// What a hub knows of a session did.
    Entry(EntryState, EntryState),
    /// A message of this type (256: of none) had this effect on a server.
    ToServer(u16, Effect),
    /// The same on a client.
    ToClient(u16, Effect),
    /// A request ended like this.
    Outcome(&'static str),
    /// A connection was closed for this reason.
    Closed(&'static str),
    /// The application of a client was told.
    Told(&'static str),
    /// A hub wanted this, or was told it.
    Hub(&'static str),
    /// A server went from one stage of its life to another.
    Stage(HubStage, HubStage),
}

/// A stage of the life of a server, as far as its host can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum HubStage {
    Serving,
    Draining,
    Closing,
    Aborting,
    Stopped,
}

/// A connection of a server: its phase, and its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ServerState(pub(crate) Phase, pub(crate) Slot);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Phase {
    Open,
    Draining,
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Slot {
    Empty,
    Restoring,
    Creating,
    Held,
    Closing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LinkState {
    Idle,
    Probing,
    Dialing,
    AwaitingConf,
    Resuming,
    Ready,
    Waiting,
    Closed,
}

/// What a hub knows of a session, as far as its host can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct EntryState {
    pub(crate) held: bool,
    pub(crate) storing: bool,
    pub(crate) looking_up: bool,
    pub(crate) destroying: bool,
    pub(crate) closing: bool,
}

/// What a message did first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Effect {
    Nothing,
    Handler,
    Registry,
    Answer,
    Learned,
    Closed,
    Done,
    Failed,
    Event,
    Anomaly,
    Hangup,
    Sent,
}

impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}", self.0, self.1)
    }
}

impl fmt::Display for EntryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.held, "held"),
            (self.storing, "storing"),
            (self.looking_up, "looking up"),
            (self.destroying, "destroying"),
            (self.closing && !self.destroying, "to be destroyed"),
        ];
        let parts: Vec<_> = parts.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        f.pad(&if parts.is_empty() { "unknown".into() } else { parts.join("+") })
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = |byte: u16| {
            let kind = u8::try_from(byte).ok().and_then(Kind::from_byte);
            kind.map_or_else(|| "no type".into(), |kind| format!("{kind:?}"))
        };
        match self {
            Self::Fault(fault) => write!(f, "{fault:?}"),
            Self::Connection(from, to) => write!(f, "{from} -> {to}"),
            Self::Stage(from, to) => write!(f, "{from:?} -> {to:?}"),
            Self::Link(from, to) => write!(f, "{from:?} -> {to:?}"),
            Self::Entry(from, to) => write!(f, "{from} -> {to}"),
            Self::ToServer(byte, effect) | Self::ToClient(byte, effect) => {
                write!(f, "{}: {effect:?}", kind(*byte))
            }
            Self::Outcome(name) | Self::Closed(name) | Self::Told(name) | Self::Hub(name) => {
                f.write_str(name)
            }
        }
    }
}

impl Fact {
    const fn area(&self) -> &'static str {
        match self {
            Self::Fault(_) => "faults injected",
            Self::Connection(..) => "server connections (phase/session)",
            Self::Link(..) => "client links",
            Self::Entry(..) => "sessions in hubs",
            Self::ToServer(..) => "messages to servers",
            Self::ToClient(..) => "messages to clients",
            Self::Outcome(_) => "outcomes of requests",
            Self::Closed(_) => "reasons to close",
            Self::Told(_) => "told to applications",
            Self::Hub(_) => "hubs",
            Self::Stage(..) => "stages of servers",
        }
    }
}

/// How often each was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<Fact, u64>,
}

impl Coverage {
    pub(crate) fn count(&mut self, fact: Fact) {
        *self.counts.entry(fact).or_default() += 1;
    }

    /// Adds what another world came across.
    pub fn merge(&mut self, other: &Self) {
        for (fact, count) in &other.counts {
            *self.counts.entry(*fact).or_default() += count;
        }
    }

    /// How often something was seen that is written like this in the tables.
    pub fn seen(&self, name: &str) -> u64 {
        self.counts
            .iter()
            .filter(|(fact, _)| fact.to_string() == name)
            .map(|(_, count)| count)
            .sum()
    }

    /// How many different things were seen.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// How many faults were injected.
    pub fn faults(&self) -> u64 {
        let faults = self.counts.iter().filter(|(fact, _)| matches!(fact, Fact::Fault(_)));
        faults.map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut areas: BTreeMap<&str, Vec<(String, u64)>> = BTreeMap::new();
        for (fact, count) in &self.counts {
            areas.entry(fact.area()).or_default().push((fact.to_string(), *count));
        }
        for (area, facts) in areas {
            let sum: u64 = facts.iter().map(|(_, count)| count).sum();
            writeln!(f, "{area}: {} kinds, {sum} in all", facts.len())?;
            for (name, count) in facts {
                writeln!(f, "{count:>14}  {name}")?;
            }
        }
        Ok(())
    }
}
