//! Very many sockets: as many as the system allows, from several addresses of this host.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process open this many files, or as many as it may: each connection needs one. Returns how
/// many that are.
pub(crate) fn limit_files(most: Option<u64>) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = most.or(limit.maximum);
    // If it stays as it is, fewer connections are possible.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// A TCP connection from an address of this host, on which neither reading nor writing may take
/// longer than `timeout`.
pub(crate) fn dial(from: Ipv4Addr, to: SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
    rustix::net::connect(&socket, &to)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    // Closing is final at once: no port waits until it may be used again.
    sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(stream)
}
