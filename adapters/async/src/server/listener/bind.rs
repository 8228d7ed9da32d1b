//! Listening on addresses, on all those of a name, on unix sockets, and on sockets that listen already.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
#[cfg(unix)]
use std::os::fd::AsFd;

#[cfg(unix)]
use super::unix::{self, SocketFile};
use crate::listen::{Listen, Place, Wanted};
use crate::runtime::{ListeningSocket, Runtime, SocketAddress};

/// How many ports are tried until one is free on several addresses.
const ATTEMPTS: usize = 16;

/// How many clients may wait to be accepted; the system may allow fewer.
#[cfg(unix)]
const QUEUE: i32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Removes the file of a unix socket. Dropped before the socket.
    #[cfg(unix)]
    pub(crate) file: Option<SocketFile>,
    pub(crate) socket: ListeningSocket,
    pub(crate) address: SocketAddress,
    /// Whether it has no TLS, whatever the server has.
    pub(super) plain: bool,
}

/// Listens on all of it.
///
/// # Errors
///
/// If there is nothing, or if something cannot be listened on: the error names it.
pub(crate) async fn bind(runtime: &impl Runtime, listen: Listen) -> io::Result<Vec<Bound>> {
    let (mut all, mut wanted) = (Vec::new(), Vec::new());
    let mut ports = Vec::new();
    for Wanted { at, plain } in listen.all {
        let resolved = match &at {
            Place::Addresses(addresses) => addresses.clone().resolve(runtime).await?,
            _ => Vec::new(),
        };
        ports.extend(resolved.iter().filter(|one| one.is_ipv4()).map(SocketAddr::port));
        wanted.push((at, plain, resolved));
    }
    for (at, plain, resolved) in wanted {
        match at {
            Place::Addresses(_) => {
                for listener in bind_addresses(resolved, &ports)? {
                    widen(&listener);
                    all.push(Bound::new(ListeningSocket::Tcp(listener), plain)?);
                }
            }
            // Its queue is as long as its owner has made it.
            Place::Socket(socket) => all.push(Bound::new(socket, plain)?),
            #[cfg(unix)]
            Place::Path(path, mode) => {
                let naming = |error: io::Error| {
                    let text = format!("cannot listen on unix:{}: {error}", path.display());
                    io::Error::new(error.kind(), text)
                };
                let (listener, file) = unix::bind(&path, mode).map_err(naming)?;
                widen(&listener);
                let address = SocketAddress::Unix(path);
                let socket = ListeningSocket::Unix(listener);
                all.push(Bound { socket, address, plain: true, file: Some(file) });
            }
        }
    }
    if all.is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "there is nothing to listen on"));
    }
    Ok(all)
}

impl Bound {
    fn new(socket: ListeningSocket, plain: bool) -> io::Result<Self> {
        let (address, plain) = match &socket {
            ListeningSocket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                (SocketAddress::Tcp(listener.local_addr()?), plain)
            }
            #[cfg(unix)]
            ListeningSocket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                (SocketAddress::Unix(unix::name(&listener.local_addr()?)), true)
            }
        };
        Ok(Self {
            socket,
            address,
            plain,
            #[cfg(unix)]
            file: None,
        })
    }
}

/// Lets more clients wait to be accepted than the 128 of the standard library. Clients that do not
/// fit get no answer: they try again, a second later at the earliest.
#[cfg(unix)]
fn widen(listener: &impl AsFd) {
    if let Err(error) = rustix::net::listen(listener, QUEUE) {
        tracing::debug!(%error, "cannot lengthen the queue of the listener");
    }
}

#[cfg(not(unix))]
fn widen(_: &TcpListener) {}

/// Listens on all the addresses. With port 0, listens on the same port everywhere, if a port is
/// free on all. `ports` are those that are wanted on IPv4 addresses.
fn bind_addresses(wanted: Vec<SocketAddr>, ports: &[u16]) -> io::Result<Vec<TcpListener>> {
    let mut addresses = Vec::new();
    for address in wanted {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    for _ in 0..ATTEMPTS {
        match bind_all(&addresses, ports, true) {
            // Another port may be free on all.
            Err(error) if error.kind() == ErrorKind::AddrInUse && has_choice(&addresses) => {}
            bound => return bound,
        }
    }
    bind_all(&addresses, ports, false)
}

/// Returns whether the system chooses a port for several addresses.
fn has_choice(addresses: &[SocketAddr]) -> bool {
    addresses.len() > 1 && addresses.iter().any(|address| address.port() == 0)
}

fn bind_all(
    addresses: &[SocketAddr],
    ports: &[u16],
    same_port: bool,
) -> io::Result<Vec<TcpListener>> {
    let (mut listeners, mut left_out) = (Vec::new(), Vec::new());
    let mut chosen = None;
    for address in addresses {
        let mut wanted = *address;
        if let (0, true, Some(port)) = (wanted.port(), same_port, chosen) {
            wanted.set_port(port);
        }
        match bind_one(wanted, ports.contains(&address.port())) {
            Ok(listener) => {
                chosen = chosen.or(Some(listener.local_addr()?.port()));
                listeners.push(listener);
            }
            Err(error) if is_of_family(&error) => left_out.push((wanted, error)),
            Err(error) => return Err(naming(wanted, &error)),
        }
    }
    match (listeners.is_empty(), left_out.first()) {
        (false, _) => {
            for (address, error) in left_out {
                tracing::warn!(%address, %error, "the system has no such address: not listening there");
            }
            Ok(listeners)
        }
        (true, Some((address, error))) => Err(naming(*address, error)),
        (true, None) => {
            Err(io::Error::new(ErrorKind::InvalidInput, "there is no address to listen on"))
        }
    }
}

/// Listens on an address. An IPv6 one is for IPv6 only if an IPv4 one beside it is `separate`: otherwise
/// `[::]` has the port of all IPv4 addresses as well, on most systems.
fn bind_one(address: SocketAddr, separate: bool) -> io::Result<TcpListener> {
    #[cfg(unix)]
    if separate && address.is_ipv6() {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};

        let socket = socket(AddressFamily::INET6, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        // As the standard library does.
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_ipv6_v6only(&socket, true)?;
        bind(&socket, &address)?;
        listen(&socket, QUEUE)?;
        return Ok(socket.into());
    }
    let _ = separate;
    TcpListener::bind(address)
}

/// Returns whether an address fails because the system has no address of its family, or not this
/// one.
fn is_of_family(error: &io::Error) -> bool {
    #[cfg(unix)]
    let unknown = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    #[cfg(not(unix))]
    let unknown = error.kind() == ErrorKind::Unsupported;
    unknown || error.kind() == ErrorKind::AddrNotAvailable
}

fn naming(address: SocketAddr, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_runtime::TestRuntime;

    fn bound(addresses: &[SocketAddr]) -> io::Result<Vec<SocketAddr>> {
        let all = smol::block_on(bind(&TestRuntime, addresses.into()))?;
        Ok(all
            .iter()
            .map(|bound| match bound.address {
                SocketAddress::Tcp(address) => address,
                #[cfg(unix)]
                SocketAddress::Unix(_) => unreachable!("a unix socket for an address"),
            })
            .collect())
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_port_chosen_by_the_system_is_the_same_on_all_addresses() {
        let any = address("127.0.0.1:0");
        let mut addresses = vec![any, any];
        #[cfg(target_os = "linux")]
        addresses.push(address("127.0.0.2:0"));
        if TcpListener::bind("[::1]:0").is_ok() {
            addresses.push(address("[::1]:0"));
        }
        let bound = bound(&addresses).unwrap();
        assert_eq!(bound.len(), addresses.len() - 1, "the same address is bound once");
        assert!(bound.iter().all(|address| address.port() == bound[0].port()), "{bound:?}");
    }

    #[test]
    fn all_addresses_of_both_families_share_a_port() {
        if TcpListener::bind("[::1]:0").is_err() {
            return;
        }
        for texts in [["0.0.0.0:0", "[::]:0"], ["[::]:0", "0.0.0.0:0"]] {
            let bound = bound(&texts.map(address)).unwrap();
            assert_eq!(bound.len(), 2);
            assert_eq!(bound[0].port(), bound[1].port());
        }
        // Each of several things to listen on.
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = [format!("[::]:{free}"), format!("0.0.0.0:{free}")].map(Listen::from);
        assert_eq!(smol::block_on(bind(&TestRuntime, Listen::from(listen))).unwrap().len(), 2);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let held = holder.local_addr().unwrap();
        let error = bound(&[address("127.0.0.1:0"), held]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&held.to_string()), "{error}");
    }

    #[test]
    fn missing_addresses_are_skipped_unless_all_are_missing() {
        let foreign = address("192.0.2.1:0");
        let bound_now = bound(&[foreign, address("127.0.0.1:0")]).unwrap();
        assert_eq!(bound_now.len(), 1);
        let error = bound(&[foreign]).unwrap_err();
        assert!(error.to_string().contains("192.0.2.1:0"), "{error}");
        assert!(bound(&[]).is_err());
    }
}
