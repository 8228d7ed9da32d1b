//! What the connections of the example server share: the hub, the session store, the preflights.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant as SystemInstant, SystemTime};

use wwr::server::{Hub, HubAction, Preflights, StoreAnswer, Work};
use wwr::session::ConnectionId;
use wwr::{Actions, Instant, Session, SessionKey, UnixTime, Valid};

use super::driver::Event;

pub(super) struct Shared {
    epoch: SystemInstant,
    state: Mutex<State>,
}

struct State {
    hub: Hub,
    /// Where to tell the hub's news.
    inboxes: HashMap<ConnectionId, Sender<Event>>,
    preflights: Preflights<IpAddr>,
    /// The session store.
    sessions: HashMap<SessionKey, Session>,
}

impl Shared {
    pub(super) fn new() -> Self {
        let state = State {
            hub: Hub::new(&Valid::default()),
            inboxes: HashMap::new(),
            preflights: Preflights::default(),
            sessions: HashMap::new(),
        };
        Self { epoch: SystemInstant::now(), state: Mutex::new(state) }
    }

    /// The time for all machines of this server.
    pub(super) fn now(&self) -> Instant {
        Instant::EPOCH + self.epoch.elapsed()
    }

    /// Calls the hub, and carries out what comes of it.
    pub(super) fn control(&self, call: impl FnOnce(&mut Hub, Instant, &mut Actions<HubAction>)) {
        let mut state = self.state();
        let State { hub, inboxes, sessions, .. } = &mut *state;
        let (now, mut out) = (self.now(), Actions::new());
        call(hub, now, &mut out);
        while let Some(action) = out.pop() {
            match action {
                HubAction::Deliver { to, .. }
                | HubAction::Recover { to, .. }
                | HubAction::ShutDown { to, .. }
                | HubAction::Close { to }
                | HubAction::Abort { to } => {
                    if let Some(inbox) = inboxes.get(&to) {
                        // A connection that has just ended needs no news.
                        let _ = inbox.send(Event::Hub(action));
                    }
                }
                // This store answers at once. A slow one would be asked without the lock.
                HubAction::Store(job) => {
                    hub.answered(now, job.id, answer(sessions, job.work), &mut out);
                }
                HubAction::StoreTimedOut { .. }
                | HubAction::ExpirySkipped
                | HubAction::Done { .. }
                | HubAction::Stopped
                // This hub is of no cluster.
                | HubAction::MoveAway { .. }
                | HubAction::Cluster(_) => {}
            }
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.state().hub.is_serving()
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().hub.is_stopped()
    }

    /// Admits one more connection, if there is room.
    pub(super) fn admit(&self) -> Option<ConnectionId> {
        self.state().hub.admit(self.now()).ok()
    }

    pub(super) fn open(&self, id: ConnectionId, inbox: Sender<Event>) {
        self.state().inboxes.insert(id, inbox);
        self.control(|hub, now, out| hub.opened(now, id, out));
    }

    pub(super) fn leave(&self, id: ConnectionId) {
        self.control(|hub, now, out| hub.left(now, id, out));
        self.state().inboxes.remove(&id);
    }

    /// A preflight came. `briefly`: its connection is closed.
    pub(super) fn asked(&self, client: IpAddr, briefly: bool) {
        let (now, client) = (self.now(), client.to_canonical());
        let preflights = &mut self.state().preflights;
        if briefly {
            preflights.asked_briefly(now, client);
        } else {
            preflights.asked(now, client);
        }
    }

    /// Asks what came from which address.
    pub(super) fn preflights<T>(&self, ask: impl FnOnce(&mut Preflights<IpAddr>) -> T) -> T {
        ask(&mut self.state().preflights)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(sessions: &mut HashMap<SessionKey, Session>, work: Work) -> StoreAnswer {
    match work {
        Work::LookUp(key) => StoreAnswer::LookedUp(Ok(sessions.get_mut(&key).map(|session| {
            let found = Box::new(session.clone());
            session.last_lookup = unix_now();
            found
        }))),
        Work::Create(session) => {
            sessions.insert(session.key.clone(), *session);
            StoreAnswer::Created(Ok(()))
        }
        Work::Update(update) => {
            let session = sessions.get_mut(&update.key);
            StoreAnswer::Updated(Ok(session.map(|session| session.info = update.info).is_some()))
        }
        Work::Destroy(key) => {
            sessions.remove(&key);
            StoreAnswer::Destroyed(Ok(()))
        }
        // Now is the start of the round: this store is asked at once.
        Work::Expire { unused_for, at: _ } => {
            let now = unix_now();
            sessions.retain(|_, session| now.saturating_since(session.last_lookup) < unused_for);
            StoreAnswer::Expired(Ok(()))
        }
    }
}

pub(super) fn unix_now() -> UnixTime {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    UnixTime::from_parts(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos())
}
