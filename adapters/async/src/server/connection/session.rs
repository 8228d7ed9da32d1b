//! What an application does with the session of a connection.

use futures_channel::oneshot;
use wwr::{Session, SessionInfo, SessionKey};

use super::{Connection, Input, SessionEdit, SessionError};

impl Connection {
    /// Creates a session with this information, tells the client, and stores the session.
    ///
    /// Unless sessions are durable, an error of the store is only logged.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. Then there is no session.
    pub async fn create_session(&self, info: SessionInfo) -> Result<Session, SessionError> {
        self.change_session(|done| Input::CreateSession { info, done }).await
    }

    /// Closes the session of this connection and tells the client. If no other connection holds the
    /// session, it is destroyed. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. Then the session still exists.
    pub async fn close_session(&self) -> Result<bool, SessionError> {
        self.change_session(|done| Input::CloseSession { done }).await
    }

    /// Changes the session in one step, in the store and for its connections (protocol §5.13): its
    /// information, its key, or both, and whether other connections keep it. Returns the session as it is
    /// then. See [`SessionEdit`] for what can be changed. Each connection of the session calls
    /// [`session_changed`](crate::server::Handler::session_changed), and its client is told unless only private
    /// fields have changed. An edit that changes nothing returns the session.
    ///
    /// Edits of one session happen one after another, for all its connections in the same order: the last one
    /// wins. Restorations of the session wait meanwhile. A client that is just not connected keeps the old key
    /// when there is a new one, and thus loses the session. Other servers that share the store do not hear of
    /// an edit: connections there keep what they have until they end.
    ///
    /// With a new key, the session is stored under that (with its new information), then the one of the old
    /// key is destroyed, then the connections are told, and the session is closed for the others if that is
    /// wanted. If this connection ends before the session of the old key is destroyed, and the others are not
    /// to keep it, nothing is changed. If it ends after that, the session is closed for the others and
    /// destroyed: nobody would have its key.
    ///
    /// # Errors
    ///
    /// [`SessionError`]. Then nothing is changed for any connection: **all of them still hold the session**,
    /// with the old key and information, and nobody knows the new key. The exceptions are
    /// [`Disconnected`](SessionError::Disconnected) and [`Ended`](SessionError::Ended), after which other
    /// connections may get the change nevertheless. If somebody must not keep the session, close it
    /// ([`ServerHandle::close_session`](crate::server::ServerHandle::close_session)).
    ///
    /// If the error is [`Store`](SessionError::Store), the store may have done its part nevertheless, for
    /// example if its answer came too late ([`HubConfig::store_timeout`](crate::server::HubConfig::store_timeout)):
    ///
    /// * It may have the new information.
    /// * What it has under a new key is removed, unless storing it is what has failed. Then, and if the removal
    ///   fails, too, it is left to [expiry](crate::server::HubConfig::expiry). Nobody knows that key.
    /// * It may have removed the session of the old key. Then the session is not stored any more: its
    ///   connections hold it until they end.
    ///
    /// Dropping the future does not undo the call.
    pub async fn edit_session(&self, edit: SessionEdit) -> Result<Session, SessionError> {
        self.change_session(|done| Input::EditSession { edit: Box::new(edit), done }).await
    }

    /// Replaces the information of the session: the same as
    /// [`edit_session`](Self::edit_session) with only [`SessionEdit::info`].
    ///
    /// ```
    /// use wwr_async::server::{Connection, RequestError};
    /// use wwr_async::{Payload, SessionInfo};
    ///
    /// async fn rename(connection: &Connection, name: &str) -> Result<Payload, RequestError> {
    ///     let session = connection.session();
    ///     let session = session.ok_or_else(|| RequestError::failed("NO_SESSION", "log in first"))?;
    ///     // What is not set here again is gone.
    ///     connection.update_session(session.info.public("name", name)).await?;
    ///     Ok(Payload::EMPTY)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`edit_session`](Self::edit_session).
    pub async fn update_session(&self, info: SessionInfo) -> Result<Session, SessionError> {
        self.edit_session(SessionEdit::new().info(info)).await
    }

    /// Returns a copy of the session, if the connection has one. Once the connection has
    /// [ended](Self::ended), the one that it had then: it is detached, and may have been closed or
    /// changed since.
    pub fn session(&self) -> Option<Session> {
        self.state().session.clone()
    }

    /// Returns the key of the [session](Self::session), if there is one.
    pub fn session_key(&self) -> Option<SessionKey> {
        self.state().session.as_ref().map(|session| session.key.clone())
    }

    async fn change_session<T>(
        &self,
        input: impl FnOnce(oneshot::Sender<Result<T, SessionError>>) -> Input,
    ) -> Result<T, SessionError> {
        let (done, answer) = oneshot::channel();
        self.push(input(done), 0).map_err(|_| SessionError::Disconnected)?;
        answer.await.unwrap_or(Err(SessionError::Disconnected))
    }
}
