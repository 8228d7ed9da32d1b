//! TCP keep-alive: lets the system find out that a peer has vanished without closing the
//! connection.

use std::io;
use std::time::Duration;

use wwr::server::Pings;

use crate::runtime::Stream;

/// How many probes stay unanswered before the system ends a connection that was silent for `idle`.
const PROBES: u32 = 3;

/// The longest time between probes that Linux accepts, which is nine hours.
const LONGEST: Duration = Duration::from_secs(32_767);

/// How the system checks a connection. It knows more than a program does: whether the peer's system
/// has accepted what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepAlive {
    /// How long a connection is silent before the system sends a probe.
    idle: Duration,
    /// How long the system waits for the answer to each of the [`PROBES`].
    interval: Duration,
    /// How long sent data may stay unacknowledged (RFC 5482).
    unanswered: Duration,
}

impl KeepAlive {
    /// Derives the times from the pings: the system gives up a peer when the sum of their times has
    /// passed without an answer of the peer's system. It does not give up earlier than the program
    /// gives up a peer that only stops reading, after `stall`. `idle` is for connections without
    /// pings, whose data may stay unacknowledged that much longer.
    pub(crate) fn new(pings: Option<Pings>, idle: Duration, stall: Duration) -> Self {
        let (idle, timeout) = pings.map_or((idle, idle / 2), |pings| (pings.after, pings.timeout));
        let second = Duration::from_secs(1);
        Self {
            idle: idle.clamp(second, LONGEST),
            interval: (timeout / PROBES).clamp(second, LONGEST),
            unanswered: idle.saturating_add(timeout).max(stall),
        }
    }

    /// Sets the options on a socket. Does nothing on a unix socket: the system knows at once when the
    /// process at its other end has gone.
    #[cfg(unix)]
    pub(crate) fn set_on(self, stream: &impl Stream) -> io::Result<()> {
        use rustix::net::sockopt;

        if !stream.is_tcp() {
            return Ok(());
        }
        let Some(stream) = stream.descriptor() else { return Ok(()) };
        sockopt::set_socket_keepalive(stream, true)?;
        #[cfg(not(any(target_os = "openbsd", target_os = "haiku", target_os = "nto")))]
        sockopt::set_tcp_keepidle(stream, self.idle)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            sockopt::set_tcp_keepintvl(stream, self.interval)?;
            sockopt::set_tcp_keepcnt(stream, PROBES)?;
            // Zero would select the default of the system.
            let millis = u32::try_from(self.unanswered.as_millis()).unwrap_or(u32::MAX).max(1);
            sockopt::set_tcp_user_timeout(stream, millis.min(i32::MAX.cast_unsigned()))?;
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (self.idle, self.interval, self.unanswered);
        Ok(())
    }

    #[cfg(not(unix))]
    pub(crate) fn set_on(self, _: &impl Stream) -> io::Result<()> {
        let _ = (self.idle, self.interval, self.unanswered);
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::net::sockopt;

    use super::*;
    use crate::test_runtime::TestStream;

    const SECOND: Duration = Duration::from_secs(1);

    fn set(keep_alive: KeepAlive) -> TestStream {
        let (stream, _) = TestStream::pair();
        assert!(!sockopt::socket_keepalive(stream.descriptor().unwrap()).unwrap());
        keep_alive.set_on(&stream).unwrap();
        assert!(sockopt::socket_keepalive(stream.descriptor().unwrap()).unwrap());
        assert_eq!(sockopt::tcp_keepcnt(stream.descriptor().unwrap()).unwrap(), PROBES);
        stream
    }

    #[test]
    fn probes_and_the_limit_follow_the_times_of_the_pings() {
        let pings = wwr::client::Config::PINGS;
        let stream = set(KeepAlive::new(Some(pings), 99 * SECOND, 30 * SECOND));
        assert_eq!(sockopt::tcp_keepidle(stream.descriptor().unwrap()).unwrap(), 30 * SECOND);
        assert_eq!(sockopt::tcp_keepintvl(stream.descriptor().unwrap()).unwrap(), 5 * SECOND);
        assert_eq!(sockopt::tcp_user_timeout(stream.descriptor().unwrap()).unwrap(), 45_000);
    }

    #[test]
    fn a_peer_is_not_given_up_before_its_stall_timeout() {
        let pings = Some(wwr::client::Config::PINGS);
        let stream = set(KeepAlive::new(pings, SECOND, 600 * SECOND));
        assert_eq!(sockopt::tcp_user_timeout(stream.descriptor().unwrap()).unwrap(), 600_000);
    }

    #[test]
    fn times_beyond_the_range_of_the_system_are_clamped() {
        let short = Pings::new(Pings::SHORTEST, Pings::SHORTEST);
        let stream = set(KeepAlive::new(Some(short), SECOND, Duration::ZERO));
        assert_eq!(sockopt::tcp_keepidle(stream.descriptor().unwrap()).unwrap(), SECOND);
        assert_eq!(sockopt::tcp_keepintvl(stream.descriptor().unwrap()).unwrap(), SECOND);
        assert_eq!(sockopt::tcp_user_timeout(stream.descriptor().unwrap()).unwrap(), 20);
        let endless = Pings::new(Duration::MAX, Duration::MAX);
        let stream = set(KeepAlive::new(Some(endless), SECOND, Duration::MAX));
        assert_eq!(sockopt::tcp_keepidle(stream.descriptor().unwrap()).unwrap(), LONGEST);
    }

    #[test]
    fn without_pings_the_given_idle_time_counts() {
        let stream = set(KeepAlive::new(None, 30 * SECOND, SECOND));
        assert_eq!(sockopt::tcp_keepidle(stream.descriptor().unwrap()).unwrap(), 30 * SECOND);
        assert_eq!(sockopt::tcp_keepintvl(stream.descriptor().unwrap()).unwrap(), 5 * SECOND);
        assert_eq!(sockopt::tcp_user_timeout(stream.descriptor().unwrap()).unwrap(), 45_000);
    }
}
