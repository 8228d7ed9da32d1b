//! Random walks: many connections, few keys, a store that answers late, in any order, and fails at
//! times.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use super::*;

const CONNECTIONS: u64 = 6;
const KEYS: [&str; 3] = ["a", "b", "c"];
const STEPS: usize = 150;

/// The generator of Steele, Lea and Flood (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// A connection as the registry may expect it to be: it asks for one thing at a time.
#[derive(Debug)]
struct Peer {
    id: ConnectionId,
    state: State,
    /// On the way to the registry.
    outbox: VecDeque<Command>,
    /// On the way from the registry.
    inbox: VecDeque<(SessionKey, Change)>,
    /// What the registry has to answer.
    open: Option<Open>,
    /// The number of its session's info, as it was told.
    info: u64,
    /// How many edits it has asked for without an outcome.
    edits: usize,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Idle,
    Restoring(SessionKey),
    Creating(SessionKey),
    Holding(SessionKey),
    Closing(SessionKey),
}

impl State {
    fn held(&self) -> Option<&SessionKey> {
        match self {
            Self::Holding(key) | Self::Closing(key) => Some(key),
            Self::Idle | Self::Restoring(_) | Self::Creating(_) => None,
        }
    }

    const fn held_mut(&mut self) -> Option<&mut SessionKey> {
        match self {
            Self::Holding(key) | Self::Closing(key) => Some(key),
            Self::Idle | Self::Restoring(_) | Self::Creating(_) => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Restore,
    Create,
    Close,
}

/// What the store was asked and has not answered.
#[derive(Debug)]
enum Task {
    /// With what it found when it was asked; it writes that back when it answers.
    Lookup(Ticket, SessionKey, Option<u64>),
    Store(Ticket, SessionKey, u64),
    Update(Ticket, SessionKey, u64),
    Destroy(Ticket, SessionKey),
}

struct Walk {
    random: Random,
    registry: Registry,
    limit: Option<usize>,
    out: Actions<Effect>,
    peers: Vec<Peer>,
    next_id: u64,
    tasks: Vec<Task>,
    /// With the number of its info.
    stored: BTreeMap<SessionKey, u64>,
    /// Those whose creation has failed. An older session may have the key.
    unstored: BTreeSet<SessionKey>,
    /// The keys that clients have known.
    keys: Vec<SessionKey>,
    last_number: u64,
    /// The connections for which alone sessions get these keys.
    owners: BTreeMap<SessionKey, ConnectionId>,
    /// How many renewals have not ended.
    renewals: usize,
    /// Destroyed, and not stored again since.
    gone: BTreeSet<SessionKey>,
    trace: String,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let limit = Some(1 + random.below(3)).filter(|_| !seed.is_multiple_of(4));
        let max_connections = limit.and_then(NonZeroUsize::new);
        let config = RegistryConfig { max_connections, durable: seed.is_multiple_of(2) };
        let mut walk = Self {
            random,
            registry: Registry::new(config),
            limit,
            out: Actions::new(),
            peers: Vec::new(),
            next_id: 0,
            tasks: Vec::new(),
            stored: BTreeMap::new(),
            unstored: BTreeSet::new(),
            keys: KEYS.map(key).into(),
            last_number: 0,
            owners: BTreeMap::new(),
            renewals: 0,
            gone: BTreeSet::new(),
            trace: String::new(),
        };
        for _ in 0..CONNECTIONS {
            walk.join();
        }
        walk
    }

    fn join(&mut self) {
        self.next_id += 1;
        self.peers.push(Peer {
            id: ConnectionId(self.next_id),
            state: State::Idle,
            outbox: VecDeque::new(),
            inbox: VecDeque::new(),
            open: None,
            info: 0,
            edits: 0,
        });
    }

    fn run(mut self) -> String {
        for _ in 0..STEPS {
            match self.random.below(10) {
                0..3 => self.act(),
                3..6 => self.pass_on(),
                6..8 => self.hear(),
                8 => self.store_answers(),
                _ if self.random.chance(20) => self.close_key(),
                _ if self.random.chance(30) => self.disconnect(),
                _ if self.random.chance(30) => self.renew(),
                _ => self.store_answers(),
            }
            self.check();
        }
        self.settle();
        self.trace
    }

    fn pick(&mut self) -> &mut Peer {
        let index = self.random.below(self.peers.len());
        &mut self.peers[index]
    }

    fn key(&mut self) -> SessionKey {
        self.keys[self.random.below(self.keys.len())].clone()
    }

    /// A connection asks for something that fits its state.
    fn act(&mut self) {
        let key = self.key();
        let creates = self.random.chance(40);
        let (edits, rotates) = (self.random.chance(70), self.random.chance(40));
        let (informs, repeats) = (self.random.chance(30), self.random.chance(10));
        let closes = self.random.chance(40);
        let others = if closes { OtherConnections::Close } else { OtherConnections::Keep };
        self.last_number += 1;
        let number = self.last_number;
        let peer = self.pick();
        let (state, command) = match &peer.state {
            State::Idle if creates => {
                let session = session(key.as_str());
                (State::Creating(key), Command::Create(session))
            }
            State::Idle => (State::Restoring(key.clone()), Command::Restore(key)),
            State::Holding(held) if edits => {
                let held = held.clone();
                let what = if rotates {
                    let to = if repeats { "r".into() } else { format!("r{number}") };
                    new_key(&to, informs.then(|| numbered(number)), others)
                } else {
                    Edit::Info(numbered(number))
                };
                peer.edits += 1;
                peer.outbox.push_back(edit(held.as_str(), what));
                if rotates && !repeats && closes {
                    let owner = peer.id;
                    self.owners.insert(super::key(&format!("r{number}")), owner);
                }
                return;
            }
            State::Holding(held) => (State::Closing(held.clone()), Command::Close(held.clone())),
            State::Restoring(_) | State::Creating(_) | State::Closing(_) => return,
        };
        peer.state = state;
        peer.outbox.push_back(command);
    }

    /// The registry gets what a connection asked for.
    fn pass_on(&mut self) {
        let peer = self.pick();
        let Some(command) = peer.outbox.pop_front() else { return };
        let id = peer.id;
        // A connection may still edit what it has asked to create or restore, as soon as it has heard.
        let edits = matches!(command, Command::Edit(_));
        assert!(peer.open.is_none() || edits, "{command:?}");
        let open = match command {
            Command::Edit(_) => None,
            Command::Restore(_) => Some(Open::Restore),
            Command::Create(_) => Some(Open::Create),
            Command::Close(_) => Some(Open::Close),
            Command::Leave(_) => unreachable!("only peers that disconnect leave"),
        };
        if open.is_some() {
            peer.open = open;
        }
        self.note(format!("{} asks {command:?}", id.0));
        self.registry.handle(id, command, &mut self.out);
        self.carry_out();
    }

    /// A connection handles the news of the registry.
    fn hear(&mut self) {
        let peer = self.pick();
        let Some((key, change)) = peer.inbox.pop_front() else { return };
        let state = core::mem::replace(&mut peer.state, State::Idle);
        peer.state = match (state, change) {
            (State::Restoring(own), Change::Restored(session)) if own == key => {
                peer.info = number(&session.info);
                State::Holding(own)
            }
            (state, Change::Updated { info, own }) if state.held() == Some(&key) => {
                peer.info = number(&info);
                peer.edits -= usize::from(own);
                state
            }
            (mut state, Change::Rotated { session, own }) if state.held() == Some(&key) => {
                peer.info = number(&session.info);
                peer.edits -= usize::from(own);
                if let Some(held) = state.held_mut() {
                    *held = session.key;
                }
                state
            }
            (state, Change::EditFailed(_)) if state.held() == Some(&key) => {
                peer.edits -= 1;
                state
            }
            // The session has ended for it, and its edits with that.
            (state, Change::EditFailed(_)) => state,
            (
                State::Restoring(own),
                Change::NotFound | Change::LimitReached | Change::LookupFailed,
            ) if own == key => State::Idle,
            (State::Creating(own), Change::Created) if own == key => {
                peer.info = 0;
                State::Holding(own)
            }
            (State::Creating(own), Change::CreateFailed) if own == key => State::Idle,
            (State::Closing(own), Change::Closed | Change::Detached) if own == key => {
                peer.edits = 0;
                State::Idle
            }
            (State::Closing(own), Change::CloseFailed) if own == key => State::Holding(own),
            (
                State::Holding(own) | State::Closing(own),
                Change::ClosedByKey { .. } | Change::ClosedByOther { .. },
            ) if own == key => {
                peer.edits = 0;
                State::Idle
            }
            // The store's answer about a session it created, which it may have given up since.
            (state, Change::Stored) => state,
            // Its own closing, when it was closed by others before that reached the registry.
            (state, Change::Detached) => state,
            (state, change) => panic!("{change:?} of {key:?} when {state:?}"),
        };
    }

    fn store_answers(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let index = self.random.below(self.tasks.len());
        let answer = if self.random.chance(15) { Err(StoreFailed) } else { Ok(()) };
        match self.tasks.remove(index) {
            Task::Lookup(ticket, key, found) => {
                if let Some(number) = found {
                    self.stored.insert(key.clone(), number);
                }
                let found = found.map(|number| {
                    Box::new(Session { info: numbered(number), ..*session(key.as_str()) })
                });
                self.note(format!("lookup {key:?}: {} {answer:?}", found.is_some()));
                self.registry.looked_up(ticket, answer.map(|()| found), &mut self.out);
            }
            Task::Store(ticket, key, number) => {
                if answer.is_err() {
                    self.unstored.insert(key.clone());
                } else {
                    self.unstored.remove(&key);
                    self.stored.insert(key.clone(), number);
                    self.gone.remove(&key);
                }
                self.note(format!("store {key:?}: {answer:?}"));
                self.registry.stored(ticket, answer, &mut self.out);
            }
            Task::Update(ticket, key, number) => {
                let answer = answer
                    .map(|()| self.stored.get_mut(&key).map(|stored| *stored = number).is_some());
                self.note(format!("update {key:?}: {answer:?}"));
                self.registry.updated(ticket, answer, &mut self.out);
            }
            Task::Destroy(ticket, key) => {
                if answer.is_ok() {
                    self.stored.remove(&key);
                    self.gone.insert(key.clone());
                }
                self.note(format!("destroy {key:?}: {answer:?}"));
                self.registry.destroyed(ticket, answer, &mut self.out);
            }
        }
        self.carry_out();
    }

    fn close_key(&mut self) {
        let key = self.key();
        self.note(format!("close {key:?}"));
        let told = self.registry.close_key(key, false, &mut self.out);
        assert_eq!(self.carry_out(), told);
    }

    /// A session in use is kept from expiring.
    fn renew(&mut self) {
        let key = self.key();
        self.note(format!("renew {key:?}"));
        let is_held = self.registry.connection_count(&key) > 0;
        assert_eq!(self.registry.renew(&key, &mut self.out), is_held);
        self.renewals += usize::from(is_held);
        self.carry_out();
    }

    /// A connection ends; another one takes its place.
    fn disconnect(&mut self) {
        let index = self.random.below(self.peers.len());
        let peer = self.peers.remove(index);
        self.note(format!("{} leaves", peer.id.0));
        for command in peer.outbox {
            self.registry.handle(peer.id, command, &mut self.out);
        }
        match peer.state {
            State::Idle => {}
            State::Restoring(key)
            | State::Creating(key)
            | State::Holding(key)
            | State::Closing(key) => {
                self.registry.handle(peer.id, Command::Leave(key), &mut self.out);
            }
        }
        self.carry_out();
        self.join();
    }

    /// Returns how many connections were told that their session was closed by key.
    fn carry_out(&mut self) -> usize {
        let mut closed_by_key = 0;
        while let Some(effect) = self.out.pop() {
            self.note(format!("  {effect:?}"));
            match effect {
                Effect::Lookup { ticket, key } => {
                    let found = self.stored.get(&key).copied();
                    self.tasks.push(Task::Lookup(ticket, key, found));
                }
                Effect::Store { ticket, session } => {
                    let number = number(&session.info);
                    self.tasks.push(Task::Store(ticket, session.key, number));
                }
                Effect::Update { ticket, update } => {
                    self.tasks.push(Task::Update(ticket, update.key, number(&update.info)));
                }
                Effect::Destroy { ticket, key } => self.tasks.push(Task::Destroy(ticket, key)),
                Effect::Renewed(_) => {
                    assert!(self.renewals > 0, "a renewal ended twice");
                    self.renewals -= 1;
                }
                Effect::Deliver { connection, outcome } => {
                    if let Change::Rotated { session, .. } = &outcome.change {
                        let owner = self.owners.get(&session.key).copied();
                        assert_eq!(owner.unwrap_or(connection), connection, "{outcome:?}");
                    }
                    match outcome.change {
                        Change::Restored(_) => {
                            assert!(!self.gone.contains(&outcome.key), "restored after its end");
                        }
                        Change::ClosedByKey { .. } => closed_by_key += 1,
                        Change::Closed => {
                            let holders = self.registry.connection_count(&outcome.key);
                            assert_eq!(holders, 0, "destroyed while it is held");
                        }
                        Change::Rotated { ref session, .. }
                            if !self.keys.contains(&session.key) =>
                        {
                            self.keys.push(session.key.clone());
                        }
                        _ => {}
                    }
                    let Some(peer) = self.peers.iter_mut().find(|peer| peer.id == connection)
                    else {
                        continue;
                    };
                    let by_others = |(_, change): &(SessionKey, Change)| {
                        matches!(change, Change::ClosedByKey { .. } | Change::ClosedByOther { .. })
                    };
                    if outcome.change == Change::Detached
                        && matches!(peer.state, State::Closing(_))
                        && !peer.inbox.iter().any(by_others)
                    {
                        let holders = self.registry.connection_count(&outcome.key);
                        assert!(holders > 0, "said to live on, but nobody holds it");
                    }
                    let answers = match outcome.change {
                        Change::Restored(_)
                        | Change::NotFound
                        | Change::LimitReached
                        | Change::LookupFailed => Some(Open::Restore),
                        Change::Created | Change::CreateFailed => Some(Open::Create),
                        Change::Closed | Change::Detached | Change::CloseFailed => {
                            Some(Open::Close)
                        }
                        Change::ClosedByKey { .. } | Change::ClosedByOther { .. } => {
                            peer.open.filter(|open| *open == Open::Close)
                        }
                        Change::Stored
                        | Change::Updated { .. }
                        | Change::Rotated { .. }
                        | Change::EditFailed(_) => None,
                    };
                    if answers.is_some() {
                        assert_eq!(peer.open.take(), answers, "{:?}", outcome.change);
                    }
                    peer.inbox.push_back((outcome.key, outcome.change));
                }
            }
        }
        closed_by_key
    }

    fn check(&self) {
        self.registry.assert_consistent();
        for key in &self.keys {
            let count = self.registry.connection_count(key);
            assert!(self.limit.is_none_or(|limit| count <= limit));
            for peer in &self.peers {
                if peer.inbox.is_empty() && peer.outbox.is_empty() {
                    let told = peer.state == State::Holding(key.clone());
                    let holds = self.registry.connections(key).any(|id| id == peer.id);
                    assert_eq!(told, holds, "{peer:?}");
                }
            }
        }
    }

    /// Lets everything come to an end.
    fn settle(&mut self) {
        while !self.tasks.is_empty()
            || self.peers.iter().any(|peer| !peer.inbox.is_empty() || !peer.outbox.is_empty())
        {
            self.pass_on();
            self.hear();
            self.store_answers();
            self.check();
        }
        assert!(self.peers.iter().all(|peer| peer.open.is_none()), "something was never answered");
        assert_eq!(self.renewals, 0, "renewals never ended");
        for peer in &self.peers {
            let Some(held) = peer.state.held() else { continue };
            assert_eq!(peer.edits, 0, "edits were never answered: {peer:?}");
            if !self.unstored.contains(held) {
                assert_eq!(self.stored.get(held), Some(&peer.info), "{peer:?}");
            }
        }
        while !self.peers.is_empty() {
            self.disconnect();
            self.peers.pop();
        }
        assert!(self.registry.is_idle());
        assert_eq!(self.registry.active_sessions(), 0);
    }

    fn note(&mut self, line: String) {
        self.trace.push_str(&line);
        self.trace.push('\n');
    }
}

#[test]
fn nothing_goes_wrong_on_any_walk() {
    for seed in 0..3_000 {
        Walk::new(seed).run();
    }
}

#[test]
fn the_same_seed_repeats_the_walk() {
    for seed in [0, 1, 2, 7, 1234] {
        assert_eq!(Walk::new(seed).run(), Walk::new(seed).run());
    }
    assert_ne!(Walk::new(1).run(), Walk::new(2).run());
}
