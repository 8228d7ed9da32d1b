//! A store in memory that answers at once.

use std::collections::BTreeMap;

use wwr::session::StoreFailed;
use wwr::{Session, SessionKey, UnixTime};

#[derive(Default)]
pub(crate) struct Store {
    sessions: BTreeMap<SessionKey, Session>,
    /// Whether look-ups fail.
    pub(crate) fails: bool,
}

impl Store {
    /// A session with the time of the look-up before this one.
    pub(crate) fn look_up(
        &mut self,
        key: &SessionKey,
        now: UnixTime,
    ) -> Result<Option<Session>, StoreFailed> {
        if self.fails {
            return Err(StoreFailed);
        }
        Ok(self.sessions.get_mut(key).map(|session| {
            let found = session.clone();
            session.last_lookup = now;
            found
        }))
    }

    pub(crate) fn keep(&mut self, session: Session) {
        self.sessions.insert(session.key.clone(), session);
    }

    pub(crate) fn destroy(&mut self, key: &SessionKey) {
        self.sessions.remove(key);
    }

    pub(crate) fn holds(&self, key: &SessionKey) -> bool {
        self.sessions.contains_key(key)
    }

    pub(crate) fn clear(&mut self) {
        self.sessions.clear();
    }
}
