//! Groups of connections: rooms, topics, roles.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use wwr::cluster::Audience;
use wwr::server::GroupError;
use wwr::session::ConnectionId;
use wwr::{
    CloseFrame, InvalidCloseFrame, InvalidName, InvalidSignal, Name, Payload, PreparedSignal,
    SessionKey, SlowReader,
};

use super::broadcast::Broadcast;
use super::connection::{Connection, Input};
use super::handle::ServerHandle;
use super::hub::Hub;

impl Connection {
    /// Joins a group, which exists as long as it has members. Returns whether the connection was not in
    /// it before. It leaves all its groups when it [ends](Self::ended), and [`groups`](Self::groups) still
    /// has their names in [`disconnected`](super::Handler::disconnected). A client that connects again has to
    /// join again, for example when its session is restored.
    ///
    /// ```
    /// use wwr_async::server::{Connection, Handler, RequestError};
    /// use wwr_async::{Content, Payload};
    ///
    /// struct Chat;
    ///
    /// impl Handler for Chat {
    ///     async fn request(&self, from: &Connection, room: Content) -> Result<Payload, RequestError> {
    ///         let room = room.text().map_err(|_| RequestError::failed("ROOM", "no text"))?;
    ///         let joined = from.join(&room);
    ///         joined.map_err(|error| RequestError::failed("ROOM", error.to_string()))?;
    ///         let others = from.server().group(&*room).except(from);
    ///         let told = others.signal("joined", "another one is here");
    ///         told.map_err(|_| RequestError::Internal)?;
    ///         Ok(Payload::utf8(format!("{} others are here", others.len())))
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`GroupError`] if the connection has ended, is in
    /// [`max_groups`](super::HubConfig::max_groups) groups, or the name does not have 1 to 255 bytes.
    pub fn join(&self, group: &str) -> Result<bool, GroupError> {
        self.hub().join(self.connection_id(), group)
    }

    /// Joins a group like [`join`](Self::join), because of the session of this key: the connection leaves the
    /// group as soon as its session is closed, by the client, by the application or with another connection of
    /// the session, and before the client is told. If the connection does not hold that session any more, for
    /// example because its client has logged out while a handler waited, this joins nothing.
    ///
    /// A change of the session's information or key does not matter. Of the keys that it had before, while
    /// the connection held it, the last [`FORMER_KEYS`](super::FORMER_KEYS) are as good as the present one.
    ///
    /// A connection that is in the group already stays in it for as long as before; joining by
    /// [`join`](Self::join) makes it stay until the connection ends.
    ///
    /// ```
    /// use wwr_async::server::{Connection, GroupError, Handler, RequestError, SessionChange};
    /// use wwr_async::{Content, Payload};
    ///
    /// struct Chat;
    ///
    /// impl Handler for Chat {
    ///     async fn session_changed(&self, of: &Connection, change: SessionChange) {
    ///         // Nobody has to remember to leave it.
    ///         let Some(session) = change.after() else { return };
    ///         match of.join_for_session(&session.key, "members") {
    ///             // It has ended or changed meanwhile; the next call of the hook says so.
    ///             Ok(_) | Err(GroupError::NoSession | GroupError::OtherSession) => {}
    ///             Err(_) => of.close(),
    ///         }
    ///     }
    ///
    ///     async fn request(&self, _: &Connection, _: Content) -> Result<Payload, RequestError> {
    ///         Err(RequestError::failed("UNKNOWN_NAME", "there are no requests"))
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join), [`GroupError::NoSession`] if the connection holds no session, or its
    /// session is just being closed, and [`GroupError::OtherSession`] if it holds another one.
    pub fn join_for_session(&self, session: &SessionKey, group: &str) -> Result<bool, GroupError> {
        self.hub().join_for_session(self.connection_id(), session, group)
    }

    /// Leaves a group. Returns whether the connection was a member.
    pub fn leave(&self, group: &str) -> bool {
        self.hub().leave(self.connection_id(), group)
    }

    /// Returns the groups of the connection, in the order in which it joined them. Once the connection has
    /// [ended](Self::ended), those that it was in then: it has left them, and signals to them do not go to it.
    pub fn groups(&self) -> Vec<String> {
        self.last_groups().unwrap_or_else(|| self.hub().groups_of(self.connection_id()))
    }
}

impl ServerHandle {
    /// Returns a group of connections, to signal to its members. A group that nobody has joined has no
    /// members, whatever its name.
    pub fn group(&self, name: impl Into<String>) -> Group {
        self.members_of(Whom::Named(name.into()))
    }

    /// Returns the connections that hold a session, as a group: nobody joins or leaves it by name. Without
    /// members if the session is unknown, for example because it has another key by now.
    ///
    /// ```
    /// use wwr_async::server::{ServerHandle, SlowReader};
    /// use wwr_async::{InvalidSignal, Payload, SessionKey};
    ///
    /// fn credit(server: &ServerHandle, of: &SessionKey, credit: u32) -> Result<(), InvalidSignal> {
    ///     let devices = server.session_group(of).slow_readers(SlowReader::Coalesce);
    ///     devices.signal("credit", Payload::utf8(credit.to_string()))?;
    ///     Ok(())
    /// }
    /// ```
    pub fn session_group(&self, key: &SessionKey) -> Group {
        self.members_of(Whom::Session(key.clone()))
    }

    fn members_of(&self, whom: Whom) -> Group {
        let (hub, except) = (self.hub().clone(), BTreeSet::new());
        Group { hub, whom, except, policy: None, on_this_node: false }
    }
}

/// The members of a group, or all but some: those that are in it at the time of each call. Cheap to
/// make; it does not keep the group in existence. In a [cluster](super::Builder::cluster), signals also go to the
/// members on other nodes; the rest is about the members on this one.
///
/// ```
/// use wwr_async::server::{Connection, ServerHandle, SlowReader};
/// use wwr_async::{InvalidSignal, Payload};
///
/// fn moved(server: &ServerHandle, player: &Connection, to: String) -> Result<(), InvalidSignal> {
///     // Those that read too slowly get the last position, and do not hold up anything. The others may
///     // miss an earlier one as well, if two follow each other at once.
///     let others = server.group("level 1").except(player).slow_readers(SlowReader::Coalesce);
///     others.signal(format!("position of {}", player.id()), Payload::utf8(to))?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
#[must_use = "a group does nothing by itself"]
pub struct Group {
    hub: Arc<Hub>,
    whom: Whom,
    except: BTreeSet<ConnectionId>,
    policy: Option<SlowReader>,
    on_this_node: bool,
}

/// Which connections the members are.
#[derive(Clone, Debug)]
enum Whom {
    /// Those that have joined the group of this name.
    Named(String),
    /// Those that hold this session.
    Session(SessionKey),
}

impl Group {
    /// Leaves out this connection. Call it again for more of them.
    pub fn except(mut self, connection: &Connection) -> Self {
        self.except.insert(connection.connection_id());
        self
    }

    /// Sets what happens to signals that wait for a member, for example because it reads too slowly, instead
    /// of the setting of the [server](super::Limits::slow_readers). Connections with a policy
    /// [of their own](Connection::set_slow_reader) keep that.
    ///
    /// [`Coalesce`](SlowReader::Coalesce) can replace signals to fast members, too, and compares nothing but
    /// names: signals of the same name to two groups replace each other for a member of both. Put what the
    /// value is about into the name.
    pub const fn slow_readers(mut self, policy: SlowReader) -> Self {
        self.policy = Some(policy);
        self
    }

    /// Leaves out the other nodes of a [cluster](super::Builder::cluster). Without one, nothing changes. All but
    /// signals is about this node anyway.
    pub const fn on_this_node(mut self) -> Self {
        self.on_this_node = true;
        self
    }

    /// Returns the name of the group. `None` for that of a [session](ServerHandle::session_group).
    pub fn name(&self) -> Option<&str> {
        match &self.whom {
            Whom::Named(name) => Some(name),
            Whom::Session(_) => None,
        }
    }

    /// Sends a signal to the members. It is encoded once, and all of them share its memory. The rest is as
    /// for [`signal_prepared`](Self::signal_prepared).
    ///
    /// # Errors
    ///
    /// [`InvalidSignal`] if the name cannot be sent, or no client reads the signal. Then nothing was sent.
    pub fn signal<N>(
        &self,
        name: N,
        payload: impl Into<Payload>,
    ) -> Result<Broadcast, InvalidSignal>
    where
        N: TryInto<Name>,
        InvalidName: From<N::Error>,
    {
        Ok(self.signal_prepared(&PreparedSignal::new(name, payload)?))
    }

    /// Sends a signal to the members, as [`Connection::signal_prepared`] does, and returns the result. It
    /// may miss connections that join or leave meanwhile.
    ///
    /// Returns at once: it waits for no client, and does not keep new clients from connecting. The call
    /// visits each member. With many thousands, an application that counts milliseconds calls it from a
    /// separate thread.
    ///
    /// In a [cluster](super::Builder::cluster), the members of the other nodes get it as well
    /// ([`Broadcast::forwarded`]), unless the group is only [that of this node](Self::on_this_node).
    pub fn signal_prepared(&self, signal: &PreparedSignal) -> Broadcast {
        let to = || match &self.whom {
            Whom::Named(name) => Audience::Group(name.clone()),
            Whom::Session(key) => Audience::Session(key.clone()),
        };
        let forwarded = (!self.on_this_node).then(|| self.hub.forward(to, signal, self.policy));
        let mut told = Broadcast { forwarded: forwarded.flatten(), ..Broadcast::default() };
        for member in self.walk() {
            let result = member.send_prepared(signal, self.policy);
            told.count(member, result);
        }
        told
    }

    /// Returns the members.
    pub fn members(&self) -> Vec<Connection> {
        self.walk().collect()
    }

    /// Returns how many members there are.
    pub fn len(&self) -> usize {
        match &self.whom {
            Whom::Named(name) => self.hub.count_members(name, &self.except),
            Whom::Session(_) => self.walk().count(),
        }
    }

    /// Returns whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the connections of the members, as [`Connection::close`] does. Returns how many were not
    /// closing already.
    pub fn close(&self) -> usize {
        self.close_by(|| Input::Close)
    }

    /// Closes the connections of the members, as [`Connection::close_with`] does. Returns how many were not
    /// closing already.
    ///
    /// # Errors
    ///
    /// [`InvalidCloseFrame`] if the code or the reason is not allowed. Then all stay open.
    pub fn close_with(
        &self,
        code: u16,
        reason: impl Into<String>,
    ) -> Result<usize, InvalidCloseFrame> {
        let frame = CloseFrame::new(code, reason)?;
        Ok(self.close_by(|| Input::CloseWith(frame.clone())))
    }

    fn close_by(&self, input: impl Fn() -> Input) -> usize {
        let open = self.walk().filter(Connection::is_connected);
        open.map(|member| member.close_by(input())).count()
    }

    fn walk(&self) -> impl Iterator<Item = Connection> {
        let (named, of_session) = match &self.whom {
            Whom::Named(name) => (Some(self.hub.walk_group(name)), Vec::new()),
            Whom::Session(key) => (None, self.hub.session_connections(key)),
        };
        let members = named.into_iter().flatten().chain(of_session);
        members.filter(|member| !self.except.contains(&member.connection_id()))
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("whom", &self.whom)
            .field("except", &self.except)
            .field("slow_readers", &self.policy)
            .field("on_this_node", &self.on_this_node)
            .finish_non_exhaustive()
    }
}
