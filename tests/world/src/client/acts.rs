//! What the application of a client does.

use std::time::Duration;

use wwr::client::{Misuse, RequestId};
use wwr::{Instant, Name, SessionKey};

use super::{Call, Node, Open};
use crate::application::{DEEDS, request_payload, signal_payload};
use crate::event::millis;
use crate::invariants::Invariant;
use crate::stage::Stage;

/// How long a request takes at most that names no time of its own.
pub(crate) const REQUEST_TIMEOUT: Duration = millis(2000);

impl Node {
    /// Does something, whatever it is.
    pub(crate) fn act(&mut self, stage: &mut Stage) {
        match stage.dice.below(24) {
            0..=8 => {
                let (name, _, _) = stage.dice.choose(&DEEDS);
                self.request(name, stage);
            }
            9..=11 => self.request("login", stage),
            12 => self.burst(stage),
            13 | 14 => self.signal(stage),
            15 | 16 => {
                let key = any_key(stage);
                self.restore(&key, stage);
            }
            17 => self.close_session(stage),
            18 => self.cancel(stage),
            19 => self.close(stage),
            _ => self.connect(stage),
        }
    }

    /// Several things at once.
    fn burst(&mut self, stage: &mut Stage) {
        for _ in 0..2 + stage.dice.below(8) {
            match stage.dice.below(3) {
                0 => self.signal(stage),
                1 => self.request("echo", stage),
                _ => self.request("echo soon", stage),
            }
        }
    }

    pub(crate) fn connect(&mut self, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        stage.note(self.actor(), 1, || "is to connect".into());
        // What the application wants counts more than what servers do.
        self.unwanted_until = Instant::EPOCH;
        self.machine.connect(now, &mut self.out);
        self.carry_out(stage);
    }

    pub(crate) fn close(&mut self, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        stage.note(self.actor(), 2, || "is to close".into());
        self.machine.close(now, &mut self.out);
        (self.failures, self.losses) = (0, 0);
        self.carry_out(stage);
    }

    fn request(&mut self, name: &str, stage: &mut Stage) {
        let timeout = stage.dice.chance(20).then(|| millis(stage.dice.below(200)));
        // Requests of these worlds may be refused, and have an outcome otherwise.
        let _ = self.request_within(name, timeout, stage);
    }

    /// Makes a request that has a timeout of its own, or that of the client.
    pub(crate) fn request_within(
        &mut self,
        name: &str,
        timeout: Option<Duration>,
        stage: &mut Stage,
    ) -> Result<RequestId, Misuse> {
        let token = stage.ledger.next_token();
        let payload = request_payload(name, token);
        stage
            .note(self.actor(), token as u64, || format!("request {token}: {name:?}, {timeout:?}"));
        let name = Name::new(name).unwrap_or_default();
        let now = self.clock.read(stage.now);
        let made = self.machine.request(now, name, payload, timeout, &mut self.out);
        self.made(made, Call::Request(token), timeout, stage)
    }

    fn restore(&mut self, key: &SessionKey, stage: &mut Stage) {
        let now = self.clock.read(stage.now);
        let timeout = stage.dice.chance(20).then(|| millis(stage.dice.below(200)));
        stage.note(self.actor(), 3, || {
            format!("restores {}, {timeout:?}", crate::store::short(key))
        });
        let made = self.machine.restore_session(now, key.clone(), timeout, &mut self.out);
        let _ = self.made(made, Call::Restore(key.clone()), timeout, stage);
    }

    /// As [`restore`](Self::restore), with time enough.
    pub(crate) fn restore_patiently(
        &mut self,
        key: &SessionKey,
        stage: &mut Stage,
    ) -> Result<RequestId, Misuse> {
        let now = self.clock.read(stage.now);
        let made = self.machine.restore_session(now, key.clone(), None, &mut self.out);
        self.made(made, Call::Restore(key.clone()), None, stage)
    }

    /// Uses up identifiers: each closing of no session takes one, and nothing comes of it.
    pub(crate) fn use_up(&mut self, identifiers: u64) {
        for _ in 0..identifiers {
            let _ = self.machine.close_session(Instant::EPOCH, None, &mut self.out);
            self.out.pop();
        }
    }

    /// Forgets the session without a connection: the server is not told.
    pub(crate) fn forget_session(&mut self, stage: &mut Stage) {
        self.close_session(stage);
    }

    fn close_session(&mut self, stage: &mut Stage) {
        let timeout = stage.dice.chance(20).then(|| millis(stage.dice.below(200)));
        let _ = self.close_session_within(timeout, stage);
    }

    /// Closes the session, with a timeout of its own, or that of the client.
    pub(crate) fn close_session_within(
        &mut self,
        timeout: Option<Duration>,
        stage: &mut Stage,
    ) -> Result<RequestId, Misuse> {
        let now = self.clock.read(stage.now);
        stage.note(self.actor(), 4, || format!("closes its session, {timeout:?}"));
        let made = self.machine.close_session(now, timeout, &mut self.out);
        self.made(made, Call::CloseSession, timeout, stage)
    }

    fn signal(&mut self, stage: &mut Stage) {
        if self.socket().is_some() {
            let _ = self.send_signal(stage);
        }
    }

    /// Sends the next of the numbered signals.
    pub(crate) fn send_signal(&mut self, stage: &mut Stage) -> Result<(), Misuse> {
        let payload = signal_payload(self.socket().unwrap_or_default(), self.signals_sent);
        let name = Name::new("note").unwrap_or_default();
        let now = self.clock.read(stage.now);
        let sent = self.machine.signal(now, &name, &payload, &mut self.out);
        self.signals_sent += u64::from(sent.is_ok());
        let (actor, is_connected) = (self.actor(), self.is_connected());
        stage.check(sent.is_ok() == is_connected, Invariant::CallsAreHonoured, || {
            format!("{actor}: a signal: {sent:?}")
        });
        self.carry_out(stage);
        sent
    }

    fn cancel(&mut self, stage: &mut Stage) {
        let Some(index) = stage.dice.index(self.open.len()) else { return };
        if let Some((&id, _)) = self.open.iter().nth(index) {
            self.cancel_one(id, stage);
        }
    }

    /// Cancels a call that has no outcome yet.
    pub(crate) fn cancel_one(&mut self, id: RequestId, stage: &mut Stage) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.cancelled = true;
        stage.note(self.actor(), 5, || format!("cancels {id}"));
        self.machine.cancel(id, &mut self.out);
        self.carry_out(stage);
        let (actor, ended) = (self.actor(), !self.open.contains_key(&id));
        stage.check(ended, Invariant::OneOutcome, || format!("{actor}: {id} survives its end"));
    }

    fn made(
        &mut self,
        made: Result<RequestId, Misuse>,
        call: Call,
        timeout: Option<Duration>,
        stage: &mut Stage,
    ) -> Result<RequestId, Misuse> {
        let actor = self.actor();
        match made {
            Ok(id) => {
                let timeout = timeout.unwrap_or(self.settings.request_timeout);
                let deadline = self.clock.latest() + timeout;
                if let (Some(record), Call::Request(token)) = (&mut stage.record, &call) {
                    record.tokens.insert((self.id, id), *token);
                }
                let open = Open { call, deadline, sent: false, cancelled: false };
                let before = self.open.insert(id, open);
                stage.check(before.is_none(), Invariant::OneOutcome, || {
                    format!("{actor}: {id} names two calls")
                });
            }
            Err(misuse) => {
                let silent = self.out.is_empty();
                stage.check(silent, Invariant::CallsAreHonoured, || {
                    format!("{actor}: {misuse}, but {:?}", call)
                });
            }
        }
        self.carry_out(stage);
        made
    }
}

/// The key of a session that was made, or of none; most often of a late one. Among several servers
/// no party knows a key that no client was told: there, a look-up may overtake the storing.
pub(crate) fn any_key(stage: &mut Stage) -> SessionKey {
    let nobodys = SessionKey::from_entropy([255; SessionKey::ENTROPY]);
    let key = if stage.dice.chance(50) {
        stage.ledger.keys.last().cloned()
    } else {
        let index = stage.dice.index(stage.ledger.keys.len() + 1).unwrap_or_default();
        stage.ledger.keys.get(index).cloned()
    };
    let is_cluster = stage.is_cluster;
    let known = key.filter(|key| !is_cluster || stage.ledger.session(key).announced);
    known.unwrap_or(nobodys)
}
