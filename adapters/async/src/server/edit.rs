//! What to change of a session.

use wwr::session::OtherConnections;
use wwr::{SessionInfo, SessionKey, UnixTime};

/// What to change of a session, in one step: all of it is changed, or nothing. For
/// [`Connection::edit_session`](super::Connection::edit_session).
///
/// ```
/// use wwr_async::server::{Connection, RequestError, SessionEdit};
/// use wwr_async::{Payload, SessionInfo};
///
/// async fn become_admin(connection: &Connection) -> Result<Payload, RequestError> {
///     // ... The password is right.
///     let info = SessionInfo::new().private("admin", true);
///     connection.edit_session(SessionEdit::new().info(info).close_others()).await?;
///     Ok(Payload::EMPTY)
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct SessionEdit {
    info: Option<SessionInfo>,
    /// With a new key, what becomes of the other connections.
    others: Option<OtherConnections>,
}

impl SessionEdit {
    /// Creates an edit that changes nothing.
    pub const fn new() -> Self {
        Self { info: None, others: None }
    }

    /// Replaces the information of the session.
    pub fn info(mut self, info: SessionInfo) -> Self {
        self.info = Some(info);
        self
    }

    /// Gives the session a new key, from the server's generator. The old one restores nothing any more.
    ///
    /// Without [`close_others`](Self::close_others), all connections of the session keep it, and **their
    /// clients are told the new key**. If somebody else may know the old key, they may hold the session on
    /// one of them.
    ///
    /// If this connection ends while the old key is being destroyed, and no other one is to have the new key,
    /// the session is gone: its client has to log in again.
    pub const fn new_key(mut self) -> Self {
        if self.others.is_none() {
            self.others = Some(OtherConnections::Keep);
        }
        self
    }

    /// Gives the session a [new key](Self::new_key), and closes it for all other connections that hold it:
    /// their clients are told that it is closed (protocol §5.8), as if each connection had closed it, and
    /// none of them ever gets the new key. Their hooks get
    /// [`ClosedBy::OtherConnection`](super::ClosedBy::OtherConnection). The connections stay open.
    ///
    /// It is about the connections of this server. Those of another server that shares the store hold the
    /// session on, under the old key, until they leave it; they cannot restore it.
    ///
    /// Do this whenever a user logs in on a session that was there before, or gets more rights: somebody else
    /// may have made the session and passed its key on (session fixation), or have stolen the key.
    pub const fn close_others(mut self) -> Self {
        self.others = Some(OtherConnections::Close);
        self
    }

    /// Returns the edit for the machine, or nothing if nothing is to be changed. `key` is called if a new
    /// key is needed.
    pub(super) fn into_edit<E>(
        self,
        now: UnixTime,
        key: impl FnOnce() -> Result<SessionKey, E>,
    ) -> Result<Option<wwr::session::Edit>, E> {
        use wwr::session::{Edit, NewKey};
        let Self { info, others } = self;
        Ok(match others {
            Some(others) => Some(Edit::NewKey(NewKey { key: key()?, now, info, others })),
            None => info.map(Edit::Info),
        })
    }
}
