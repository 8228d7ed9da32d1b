//! The endpoints of a server: which protocol each path has.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wwr::Instant;
use wwr::Valid;
use wwr::preflight::Metadata;
use wwr::server::gate::EndpointPath;
use wwr::server::{Config, Detection, Observed, Preflights};

/// The paths of a server.
#[derive(Debug)]
pub(super) struct Endpoints {
    paths: HashMap<String, Arc<Endpoint>>,
    otherwise: Arc<Endpoint>,
}

/// A path with its settings, or all the paths without settings of their own.
#[derive(Debug)]
pub(super) struct Endpoint {
    machine: Valid<Config>,
    /// The preflights at this endpoint. Clients connect to the path of their preflight.
    preflights: Mutex<Preflights<IpAddr>>,
}

impl Endpoints {
    /// Creates the endpoints of a server with these settings, with others on some paths.
    pub(super) fn new(
        machine: Valid<Config>,
        paths: Vec<(EndpointPath, Valid<Config>)>,
        max_remembered: usize,
    ) -> Self {
        let endpoint = |(path, machine): (EndpointPath, _)| {
            (path.as_str().to_owned(), Arc::new(Endpoint::new(machine, max_remembered)))
        };
        let paths = paths.into_iter().map(endpoint).collect();
        Self { paths, otherwise: Arc::new(Endpoint::new(machine, max_remembered)) }
    }

    pub(super) fn at(&self, path: &str) -> &Arc<Endpoint> {
        self.paths.get(&*EndpointPath::normal(path)).unwrap_or(&self.otherwise)
    }
}

impl Endpoint {
    fn new(machine: Valid<Config>, max_remembered: usize) -> Self {
        Self { machine, preflights: Mutex::new(Preflights::with_most(max_remembered)) }
    }

    /// Returns the settings of its connections.
    pub(super) const fn machine(&self) -> &Valid<Config> {
        &self.machine
    }

    /// Returns the answer to the preflight, if the endpoint answers it.
    pub(super) fn metadata(&self) -> Option<Metadata> {
        self.machine.metadata()
    }

    /// Records an answered preflight. `brief` says that its connection is closed afterwards.
    pub(super) fn asked(&self, now: Instant, client: SocketAddr, brief: bool) {
        if brief {
            self.preflights().asked_briefly(now, host(client));
        } else {
            self.preflights().asked(now, host(client));
        }
    }

    /// Records a client that opens a WebSocket, and what its handshake shows. Here and below,
    /// [`Preflights`] decides what follows.
    pub(super) fn arrived(&self, now: Instant, client: SocketAddr, shown: Observed) -> Detection {
        if !self.machine.protocol.tells_peers_apart() {
            return Detection::Known(shown);
        }
        self.preflights().arrived(now, &host(client), shown)
    }

    /// Decides on a client that has sent this message while it was waited for.
    pub(super) fn spoke(&self, now: Instant, client: SocketAddr, frame: &[u8]) -> Observed {
        self.preflights().spoke(now, &host(client), frame)
    }

    /// Decides on a client that came at `arrived` and has sent nothing.
    pub(super) fn silent(&self, now: Instant, arrived: Instant, client: SocketAddr) -> Observed {
        self.preflights().silent(now, arrived, &host(client))
    }

    /// Records that a client that was presumed to be 1.x sends heartbeats.
    pub(super) fn turned_out_newer(&self, now: Instant, client: SocketAddr) {
        self.preflights().turned_out_newer(now, &host(client));
    }

    fn preflights(&self) -> MutexGuard<'_, Preflights<IpAddr>> {
        self.preflights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the address without the port, which differs between preflight and WebSocket. IPv4
/// addresses are the same host on sockets of either family.
fn host(client: SocketAddr) -> IpAddr {
    client.ip().to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wwr::server::Protocol;

    const NOW: Instant = Instant::EPOCH;
    const PLAIN: Observed = Observed::Nothing;
    const NOTHING: Detection = Detection::Known(PLAIN);

    fn endpoints() -> Endpoints {
        let paths = [("/new", Protocol::V2_0), ("/old", Protocol::V1_4), ("/ü", Protocol::V1_5)];
        let paths = paths.map(|(path, protocol)| {
            let mut config = Config::default();
            config.protocol = protocol;
            (EndpointPath::new(path).unwrap(), config.validate().unwrap())
        });
        Endpoints::new(Valid::default(), paths.into(), 100)
    }

    #[test]
    fn a_path_is_matched_as_a_whole() {
        let endpoints = endpoints();
        for (path, protocol) in [
            ("/new", Protocol::V2_0),
            ("/old", Protocol::V1_4),
            ("/", Protocol::Any),
            ("/new/", Protocol::Any),
            ("/NEW", Protocol::Any),
            ("/%6eew", Protocol::V2_0),
            ("/%c3%bc", Protocol::V1_5),
        ] {
            assert_eq!(endpoints.at(path).machine().protocol, protocol, "{path}");
        }
    }

    #[test]
    fn a_client_is_recognized_by_its_address_on_any_port_and_kind_of_socket() {
        let endpoint = &endpoints().otherwise;
        endpoint.asked(NOW, "[::ffff:192.0.2.1]:1000".parse().unwrap(), false);
        let other = "192.0.2.2:1000".parse().unwrap();
        assert_eq!(endpoint.arrived(NOW, other, PLAIN), NOTHING);
        let same = "192.0.2.1:2000".parse().unwrap();
        assert!(matches!(endpoint.arrived(NOW, same, PLAIN), Detection::Wait { .. }));
        assert_eq!(endpoint.spoke(NOW, same, b"\x3f\x01ab"), Observed::Preflight);
    }

    #[test]
    fn a_connection_to_another_path_does_not_use_up_a_preflight() {
        let (endpoints, client) = (endpoints(), "192.0.2.1:1000".parse().unwrap());
        for path in ["/", "/old"] {
            endpoints.at(path).asked(NOW, client, false);
        }
        assert_eq!(endpoints.at("/new").arrived(NOW, client, PLAIN), NOTHING);
        // All clients there are of 1.4, and none has to wait.
        assert_eq!(endpoints.at("/old").arrived(NOW, client, PLAIN), NOTHING);
        let at_all = endpoints.at("/").arrived(NOW, client, PLAIN);
        assert!(matches!(at_all, Detection::Wait { .. }));
    }
}
