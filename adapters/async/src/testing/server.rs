//! Servers and clients on simulated hosts.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::link::End;
use super::runtime::VirtualRuntime;
use super::world::World;
use crate::client::{Destination, Dial, Dialed};
use crate::clock::sleep;
use crate::server::{Handler, Service};

/// A server of any application.
pub(super) trait Serve: Send + Sync {
    fn serve(&self, end: End, remote: SocketAddr);
}

impl<H: Handler> Serve for Service<H, VirtualRuntime> {
    fn serve(&self, end: End, remote: SocketAddr) {
        self.serve_stream(end, remote);
    }
}

/// Connects from a host to others, by their names.
pub(super) struct Network {
    pub(super) world: Arc<World>,
    pub(super) from: String,
}

impl Dial<VirtualRuntime> for Network {
    async fn dial(
        &self,
        runtime: &VirtualRuntime,
        to: &Destination,
    ) -> io::Result<Dialed<VirtualRuntime>> {
        if to.is_secure() {
            let text = "a simulated network has no TLS: write ws:// instead of wss://";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let hosts = [self.from.clone(), to.host().to_owned()];
        let known = self.world.lock().hosts.contains_key(to.host());
        if !known {
            let text = format!(
                "the simulation has no host {}: make it with Simulation::host, and let it serve",
                to.host()
            );
            return Err(io::Error::new(io::ErrorKind::NotFound, text));
        }
        self.reached(&hosts).await;
        let there_and_back = {
            let mut state = self.world.lock();
            state.latency(&hosts).saturating_add(state.latency(&hosts))
        };
        if !there_and_back.is_zero() {
            sleep(runtime, there_and_back).await;
            // What was under way is lost, and sent again.
            self.reached(&hosts).await;
        }
        let (server, remote, address) = {
            let mut state = self.world.lock();
            let from = state.hosts.get_mut(&self.from).map(|from| {
                from.last_port = from.last_port.checked_add(1).unwrap_or(49_152);
                (super::host::ip(from.number), from.last_port).into()
            });
            let to = state.hosts.get(to.host()).map(|host| {
                let server = host.server.clone().filter(|_| !host.refuses);
                (server, SocketAddr::from((super::host::ip(host.number), to.port())))
            });
            match (from, to) {
                (Some(from), Some((Some(server), address))) => (server, from, address),
                _ => return Err(io::ErrorKind::ConnectionRefused.into()),
            }
        };
        let [ours, theirs] = End::pair(&self.world, hosts);
        server.serve(theirs, remote);
        Ok(Dialed::new(ours).with_address(address))
    }
}

impl Network {
    /// Waits until the hosts are not parted.
    async fn reached(&self, hosts: &[String; 2]) {
        loop {
            let changed = self.world.changed.listen();
            if !self.world.lock().is_parted(hosts) {
                return;
            }
            changed.await;
        }
    }
}
