//! How hosts find and reach each other.

use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::link::VirtualStream;
use super::world::World;
use crate::clock::sleep_by;
use crate::runtime::Timer;

/// The last port that is not one of an outgoing connection (RFC 6335 section 6).
pub(super) const PORTS: u16 = 49_151;

/// Returns the address of a host.
pub(super) fn ip(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 0).to_bits().wrapping_add(number)).into()
}

impl World {
    /// Returns the address of a host.
    pub(super) fn resolve(&self, host: &str) -> Result<IpAddr> {
        let number = self.lock().hosts.get(host).map(|host| host.number);
        number.map(ip).ok_or_else(|| {
            let text = format!(
                "the simulation has no host {host}: make it with Simulation::host, and let it serve"
            );
            Error::new(ErrorKind::NotFound, text)
        })
    }

    /// Opens a connection from a host to an address.
    pub(super) async fn connect(
        self: &Arc<Self>,
        from: &str,
        to: SocketAddr,
        timer: impl Timer,
    ) -> Result<VirtualStream> {
        let named = {
            let state = self.lock();
            let mut hosts = state.hosts.iter();
            hosts.find(|(_, host)| ip(host.number) == to.ip()).map(|(name, _)| name.clone())
        };
        let Some(name) = named else {
            let text = format!("the simulation has no host at {}, and no sockets", to.ip());
            return Err(Error::new(ErrorKind::AddrNotAvailable, text));
        };
        let hosts = [from.to_owned(), name];
        self.reached(&hosts).await;
        let there_and_back = {
            let mut state = self.lock();
            state.latency(&hosts).saturating_add(state.latency(&hosts))
        };
        if !there_and_back.is_zero() {
            sleep_by(timer, there_and_back).await;
            // What was under way is lost, and sent again.
            self.reached(&hosts).await;
        }
        let (server, remote) = {
            let mut state = self.lock();
            let remote = state.hosts.get_mut(from).map(|from| {
                from.last_port = from.last_port.checked_add(1).unwrap_or(PORTS + 1);
                SocketAddr::from((ip(from.number), from.last_port))
            });
            let host = state.hosts.get(&hosts[1]).filter(|host| !host.refuses);
            match (host.and_then(|host| host.server.clone()), remote) {
                (Some(server), Some(remote)) => (server, remote),
                _ => return Err(ErrorKind::ConnectionRefused.into()),
            }
        };
        let [ours, theirs] = VirtualStream::pair(self, hosts);
        server.serve(theirs, remote);
        Ok(ours)
    }

    /// Waits until the hosts are not parted.
    async fn reached(&self, hosts: &[String; 2]) {
        loop {
            let changed = self.changed.listen();
            if !self.lock().is_parted(hosts) {
                return;
            }
            changed.await;
        }
    }
}
