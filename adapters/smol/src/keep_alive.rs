//! Having the system find out that a peer has vanished without a word.

use std::io;
use std::time::Duration;

use smol::net::TcpStream;
use wwr::server::Pings;

/// How many probes go unanswered until the system ends a connection that was silent for `idle`.
const PROBES: u32 = 3;

/// The longest time between probes that Linux takes, which is nine hours.
const LONGEST: Duration = Duration::from_secs(32_767);

/// How the system looks after a connection. It knows more than a program does: whether the peer's
/// system has taken what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// How long a connection is silent before the system asks whether the peer is still there.
    idle: Duration,
    /// How long it waits for an answer each of the [`PROBES`] times.
    interval: Duration,
    /// How long data can be on their way unanswered (RFC 5482).
    unanswered: Duration,
}

impl KeepAlive {
    /// By the measure of the pings: the system gives a peer up when the sum of their times has passed
    /// without an answer of its system, but no sooner than a peer that only reads nothing is given up,
    /// after `stall`. `idle` is for connections without pings, whose data may take that much longer.
    pub(crate) fn new(pings: Option<Pings>, idle: Duration, stall: Duration) -> Self {
        let (idle, timeout) = pings.map_or((idle, idle / 2), |pings| (pings.after, pings.timeout));
        let second = Duration::from_secs(1);
        Self {
            idle: idle.clamp(second, LONGEST),
            interval: (timeout / PROBES).clamp(second, LONGEST),
            unanswered: idle.saturating_add(timeout).max(stall),
        }
    }

    /// Has the system look after a connection.
    #[cfg(unix)]
    pub(crate) fn look_after(self, stream: &TcpStream) -> io::Result<()> {
        use rustix::net::sockopt;

        sockopt::set_socket_keepalive(stream, true)?;
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "nto")))]
        sockopt::set_tcp_keepidle(stream, self.idle)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            sockopt::set_tcp_keepintvl(stream, self.interval)?;
            sockopt::set_tcp_keepcnt(stream, PROBES)?;
            // Zero would be the default of the system.
            let millis = u32::try_from(self.unanswered.as_millis()).unwrap_or(u32::MAX).max(1);
            sockopt::set_tcp_user_timeout(stream, millis.min(i32::MAX.cast_unsigned()))?;
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (self.idle, self.interval, self.unanswered);
        Ok(())
    }

    #[cfg(not(unix))]
    pub(crate) fn look_after(self, _: &TcpStream) -> io::Result<()> {
        let _ = (self.idle, self.interval, self.unanswered);
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::net::sockopt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn set(keep_alive: KeepAlive) -> TcpStream {
        smol::block_on(async {
            let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            assert!(!sockopt::socket_keepalive(&stream).unwrap());
            keep_alive.look_after(&stream).unwrap();
            assert!(sockopt::socket_keepalive(&stream).unwrap());
            assert_eq!(sockopt::tcp_keepcnt(&stream).unwrap(), PROBES);
            stream
        })
    }

    #[test]
    fn the_system_asks_and_gives_up_by_the_times_of_the_pings() {
        let pings = wwr::client::Config::PINGS;
        let stream = set(KeepAlive::new(Some(pings), 99 * SECOND, 30 * SECOND));
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), 30 * SECOND);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), 5 * SECOND);
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 45_000);
    }

    #[test]
    fn a_peer_that_may_read_nothing_for_long_is_not_given_up_before() {
        let pings = Some(wwr::client::Config::PINGS);
        let stream = set(KeepAlive::new(pings, SECOND, 600 * SECOND));
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 600_000);
    }

    #[test]
    fn times_that_the_system_does_not_take_are_those_next_to_them() {
        let short = Pings::new(Pings::SHORTEST, Pings::SHORTEST);
        let stream = set(KeepAlive::new(Some(short), SECOND, Duration::ZERO));
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), SECOND);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), SECOND);
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 20);
        let endless = Pings::new(Duration::MAX, Duration::MAX);
        let stream = set(KeepAlive::new(Some(endless), SECOND, Duration::MAX));
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), LONGEST);
    }

    #[test]
    fn without_pings_the_system_asks_as_it_is_told() {
        let stream = set(KeepAlive::new(None, 30 * SECOND, SECOND));
        assert_eq!(sockopt::tcp_keepidle(&stream).unwrap(), 30 * SECOND);
        assert_eq!(sockopt::tcp_keepintvl(&stream).unwrap(), 5 * SECOND);
        assert_eq!(sockopt::tcp_user_timeout(&stream).unwrap(), 45_000);
    }
}
