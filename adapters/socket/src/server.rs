//! A server on byte streams: what its sockets share, and one socket.

mod config;
mod connection;
mod event;
mod http;
mod socket;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use wwr::server::gate::{EndpointPath, Terms};
use wwr::server::{Action, Config, Hub, HubAction, JobId, Preflights, StoreAnswer, WaiterId};
use wwr::session::ConnectionId;
use wwr::{Actions, Instant, InvalidConfig, SessionKey, Valid};

pub use config::{Limits, ServerConfig};
pub use event::{Ended, Event, Handshake, SocketId};
pub use socket::{Disposition, HandshakeOptions, ServerSocket};

use crate::memory::Memory;

/// What the [sockets](ServerSocket) of one server share: settings, sessions, limits, memory. A socket takes
/// it in each call. Whatever happens on any of them is in [`poll_event`](Self::poll_event), and what the hub
/// wants of them and of the session store is in [`poll_control`](Self::poll_control).
///
/// [`Host`](crate::Host) does all of that for sockets of one thread. With sockets on several threads, keep
/// this in a lock.
pub struct Server {
    limits: Limits,
    config: ServerConfig,
    /// The first one is for all paths that are not listed.
    endpoints: Vec<Endpoint>,
    paths: BTreeMap<String, usize>,
    hub: Hub,
    out: Actions<Action>,
    control: Actions<HubAction>,
    events: VecDeque<(SocketId, Event)>,
    /// The sockets of the connections of the hub.
    sockets: BTreeMap<ConnectionId, SocketId>,
    memory: Memory,
}

/// The settings of one path, and what came there.
struct Endpoint {
    machine: Valid<Config>,
    preflights: Preflights<IpAddr>,
}

/// What has to be done for the hub.
#[derive(Clone, Debug, PartialEq)]
pub enum Control {
    /// Hand this to [`ServerSocket::control`] of the socket. If it has gone, drop this.
    Socket(SocketId, HubAction),
    /// Everything else: the session store and its time, callers that wait, the end of a shutdown.
    Host(HubAction),
}

impl Server {
    /// Makes a server without sockets.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names the setting that is wrong, and what it may be.
    pub fn new(config: ServerConfig) -> Result<Self, InvalidConfig> {
        config.limits.check()?;
        if let Some(names) = &config.names {
            names.check("names")?;
        }
        let hub = Hub::new(&config.hub.validate()?);
        let remembered = config.limits.max_remembered_addresses;
        let endpoint = |protocol| {
            let mut machine = config.connection.clone();
            if let Some(protocol) = protocol {
                machine.protocol = protocol;
            }
            let preflights = Preflights::with_most(remembered);
            machine.validate().map(|machine| Endpoint { machine, preflights })
        };
        let (mut endpoints, mut paths) = (Vec::from([endpoint(None)?]), BTreeMap::new());
        for (path, protocol) in &config.paths {
            paths.insert(path.as_str().to_string(), endpoints.len());
            endpoints.push(endpoint(Some(*protocol))?);
        }
        let memory = Memory::with_chunk(config.limits.receive_chunk);
        Ok(Self {
            limits: config.limits,
            config,
            endpoints,
            paths,
            hub,
            out: Actions::new(),
            control: Actions::new(),
            events: VecDeque::new(),
            sockets: BTreeMap::new(),
            memory,
        })
    }

    /// Returns the next thing that happened on a socket.
    #[inline]
    pub fn poll_event(&mut self) -> Option<(SocketId, Event)> {
        self.events.pop_front()
    }

    /// Returns the next thing that the hub wants.
    #[inline]
    pub fn poll_control(&mut self) -> Option<Control> {
        let action = self.control.pop()?;
        let to = match &action {
            HubAction::Deliver { to, .. }
            | HubAction::ShutDown { to, .. }
            | HubAction::Close { to }
            | HubAction::MoveAway { to }
            | HubAction::Abort { to } => *to,
            _ => return Some(Control::Host(action)),
        };
        match self.sockets.get(&to) {
            Some(socket) => Some(Control::Socket(*socket, action)),
            None => self.poll_control(),
        }
    }

    /// Returns whether there are events or work for the hub.
    pub fn has_work(&self) -> bool {
        !self.events.is_empty() || !self.control.is_empty()
    }

    /// Shuts the server down (protocol §5.10). Handlers that run may finish; `within` that time, all
    /// connections are closed with 1001. Ends with [`HubAction::Stopped`].
    pub fn shut_down(&mut self, now: Instant, within: Duration) {
        self.hub.shut_down(now, within, &mut self.control);
    }

    /// Closes a session for all its connections, and destroys it; with `disconnect`, also closes the
    /// connections. Ends with [`HubAction::Done`].
    pub fn close_session(&mut self, now: Instant, key: SessionKey, disconnect: bool) -> WaiterId {
        self.hub.close_session(now, key, disconnect, &mut self.control)
    }

    /// Hands over the answer of the session store to a [`HubAction::Store`].
    pub fn answered(&mut self, now: Instant, job: JobId, answer: StoreAnswer) {
        self.hub.answered(now, job, answer, &mut self.control);
    }

    /// Does what is due for the hub.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.hub.handle_timeout(now, &mut self.control);
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout). Each socket has a time of its own.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.hub.next_timeout()
    }

    /// Returns the hub, for what it knows: numbers of connections and sessions, groups, counters.
    pub const fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Returns the settings.
    pub const fn config(&self) -> &ServerConfig {
        &self.config
    }

    /// Returns the socket of a connection.
    pub fn socket_of(&self, connection: ConnectionId) -> Option<SocketId> {
        self.sockets.get(&connection).copied()
    }

    pub(crate) const fn groups(&mut self) -> &mut Hub {
        &mut self.hub
    }

    /// Returns the number of the endpoint at this path.
    fn endpoint_at(&self, path: &str) -> usize {
        self.paths.get(&*EndpointPath::normal(path)).copied().unwrap_or(0)
    }

    fn terms(&self, endpoint: usize) -> Terms<'_> {
        let machine = &self.endpoints[endpoint].machine;
        Terms {
            metadata: machine.metadata(),
            origins: &self.config.origins,
            selects_wwr1: machine.selects_wwr1(),
            shutting_down: !self.hub.is_serving(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("limits", &self.limits).finish_non_exhaustive()
    }
}
