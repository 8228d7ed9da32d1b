//! Whether a server is worth an offer of `wwr.1`: what hosts that
//! [need a selection](super::Config::needs_selection) keep in mind of it (protocol §10.1).

use core::time::Duration;

use crate::time::Instant;

/// How long a client keeps in mind that the server declined. Another one may have taken its place unnoticed.
const DECLINED: Duration = Duration::from_secs(60 * 60);

/// What came of the offers to a server.
#[derive(Clone, Copy, Debug)]
pub(super) enum Offers {
    /// Nothing is known, or the server has accepted one.
    Open,
    /// The last connection came about without one, and the network may have been the cause.
    InVain,
    /// The server does not accept any, as was found out at this time.
    Declined(Instant),
}

impl Offers {
    /// An attempt begins. Returns whether an offer is worthwhile.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        match *self {
            Self::Declined(since) if now.saturating_since(since) < DECLINED => false,
            Self::Declined(_) => {
                *self = Self::Open;
                true
            }
            Self::Open | Self::InVain => true,
        }
    }

    /// A connection came about without `wwr.1`. `denied` says whether the server itself has said that it does not
    /// select it.
    pub(super) const fn decline(&mut self, now: Instant, denied: bool) {
        *self = match (*self, denied) {
            (Self::Open, false) => Self::InVain,
            (Self::Open | Self::InVain | Self::Declined(_), true) | (Self::InVain, false) => {
                Self::Declined(now)
            }
            (declined @ Self::Declined(_), false) => declined,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn one_connection_is_enough_if_the_server_denies_it_and_two_otherwise() {
        for (denied, worthwhile) in [
            (&[true][..], false),
            (&[false], true),
            (&[false, false], false),
            (&[false, true], false),
            (&[true, false], false),
        ] {
            let mut offers = Offers::Open;
            denied.iter().for_each(|denied| offers.decline(at(0), *denied));
            assert_eq!(offers.begin(at(1)), worthwhile, "{denied:?}");
        }
    }

    #[test]
    fn an_hour_counts_from_when_the_server_last_denied_it() {
        for (denied, until) in [(true, 3700), (false, 3600)] {
            let mut offers = Offers::Open;
            offers.decline(at(0), true);
            offers.decline(at(100), denied);
            assert!(!offers.begin(at(until - 1)), "{denied}");
            assert!(offers.begin(at(until)), "{denied}");
            // The series begins anew.
            offers.decline(at(until), false);
            assert!(offers.begin(at(until)), "{denied}");
        }
    }
}
