//! Having the system find out that a peer has vanished without a word.

use std::io;
use std::time::Duration;

use smol::net::TcpStream;

/// Turns TCP keep-alive on: the system asks whether the peer is still there once the connection was
/// silent for `idle`, and ends it if it is not.
#[cfg(unix)]
pub(crate) fn keep_alive(stream: &TcpStream, idle: Duration) -> io::Result<()> {
    use rustix::net::sockopt;

    sockopt::set_socket_keepalive(stream, true)?;
    #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "nto")))]
    sockopt::set_tcp_keepidle(stream, idle)?;
    #[cfg(any(target_os = "openbsd", target_os = "haiku", target_os = "nto"))]
    let _ = idle;
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn keep_alive(_: &TcpStream, _: Duration) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::net::sockopt;

    use super::*;

    #[test]
    fn the_system_asks_after_the_time_given() {
        smol::block_on(async {
            let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            assert!(!sockopt::socket_keepalive(&stream).unwrap());
            let idle = Duration::from_secs(30);
            keep_alive(&stream, idle).unwrap();
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), idle);
        });
    }
}
