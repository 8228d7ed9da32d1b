//! Sessions in the memory of a host.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::time::Duration;

use wwr::server::{StoreAnswer, Work};
use wwr::{Session, SessionKey, UnixTime};

/// The sessions of a host. They are lost with it.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    sessions: BTreeMap<SessionKey, Session>,
}

impl MemoryStore {
    /// Does what the hub wants.
    pub(crate) fn carry_out(&mut self, work: Work, now: UnixTime) -> StoreAnswer {
        match work {
            Work::LookUp(key) => {
                StoreAnswer::LookedUp(Ok(self.sessions.get_mut(&key).map(|session| {
                    let found = session.clone();
                    session.last_lookup = now;
                    Box::new(found)
                })))
            }
            Work::Create(session) => {
                let created = match self.sessions.contains_key(&session.key) {
                    true => Err(wwr::session::StoreFailed),
                    false => Ok(()),
                };
                if created.is_ok() {
                    self.sessions.insert(session.key.clone(), *session);
                }
                StoreAnswer::Created(created)
            }
            Work::Update(update) => {
                let session = self.sessions.get_mut(&update.key);
                StoreAnswer::Updated(Ok(session
                    .map(|session| session.info = update.info)
                    .is_some()))
            }
            Work::Destroy(key) => {
                self.sessions.remove(&key);
                StoreAnswer::Destroyed(Ok(()))
            }
            Work::Expire { unused_for, .. } => {
                self.sessions.retain(|_, session| unused(session, now) <= unused_for);
                StoreAnswer::Expired(Ok(()))
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }
}

/// Returns for how long a session was not looked up.
fn unused(session: &Session, now: UnixTime) -> Duration {
    now.saturating_since(session.last_lookup.max(session.created))
}
