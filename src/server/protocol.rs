//! Which versions a server speaks, and how it tells its peers apart.

use core::time::Duration;

use crate::dialect::Dialect;
use crate::preflight::Metadata;

/// What a server speaks.
///
/// | | preflight | accept-conf | peers at first | after a preflight | after a heartbeat |
/// |---|---|---|---|---|---|
/// | [`Any`](Self::Any) | 1.4 | yes | unknown | 1.4 | 2.0 |
/// | [`AnyAs1_5`](Self::AnyAs1_5) | 1.5 | yes | unknown | 1.5 | 2.0, or still 1.5 |
/// | [`V1_4`](Self::V1_4) | 1.4 | no | 1.4 | 1.4 | 1.4 |
/// | [`V1_5`](Self::V1_5) | 1.5 | no | 1.5 | 1.5 | 1.5 |
/// | [`V2_0`](Self::V2_0) | none | yes | 2.0 | 2.0 | 2.0 |
///
/// A server that sends accept-confs also speaks `wwr.1` with clients that offer it, unless
/// [`Config::wwr1`](super::Config::wwr1) is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Protocol {
    /// All versions on one port (protocol §7.2). The preflight names 1.4. Clients of 1.5 that send
    /// a preflight refuse that.
    #[default]
    Any,
    /// As [`Any`](Self::Any), but the preflight names 1.5, which 1.4 clients refuse.
    AnyAs1_5,
    /// Only 1.4.
    V1_4,
    /// Only 1.5.
    V1_5,
    /// Only 2.0.
    V2_0,
}

/// What a host saw of a peer before its WebSocket was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
pub enum Observed {
    /// Nothing that shows its version.
    #[default]
    Nothing,
    /// It follows a preflight, and thus speaks 1.x. [`Preflights`](super::Preflights) finds that
    /// out.
    Preflight,
    /// The handshake agreed on the sub-protocol `wwr.1` (protocol §10.1): see
    /// [`Accept::sub_protocol`](super::gate::Accept::sub_protocol).
    SubProtocol,
}

/// A row of the table above.
struct Row {
    /// The version that the preflight names.
    preflight: Option<Dialect>,
    /// Each connection begins with accept-conf.
    accept_conf: bool,
    /// The version of a peer about which nothing else is known.
    otherwise: Dialect,
}

impl Protocol {
    const fn row(self) -> Row {
        let (preflight, accept_conf, otherwise) = match self {
            Self::Any => (Some(Dialect::V1_4), true, Dialect::Unknown),
            Self::AnyAs1_5 => (Some(Dialect::V1_5), true, Dialect::Unknown),
            Self::V1_4 => (Some(Dialect::V1_4), false, Dialect::V1_4),
            Self::V1_5 => (Some(Dialect::V1_5), false, Dialect::V1_5),
            Self::V2_0 => (None, true, Dialect::V2_0),
        };
        Row { preflight, accept_conf, otherwise }
    }

    /// Returns whether it matters what was [`Observed`] of a peer: true for the two that speak all
    /// versions.
    pub const fn tells_peers_apart(self) -> bool {
        let row = self.row();
        row.accept_conf && row.preflight.is_some()
    }

    /// Returns the answer to the preflight. `None` if the server does not answer it.
    pub(super) const fn metadata(self, read_timeout: Duration) -> Option<Metadata> {
        match self.row().preflight {
            Some(Dialect::V1_4) => Some(Metadata::V1_4),
            Some(Dialect::V1_5) => Some(Metadata::V1_5 { read_timeout }),
            Some(Dialect::V2_0 | Dialect::Wwr1 | Dialect::Unknown) | None => None,
        }
    }

    /// Returns whether each connection begins with an accept-conf (protocol §4.5). The server has
    /// to decide that before the peer has sent anything, so it does not depend on what is known of
    /// the peer.
    pub const fn sends_accept_conf(self) -> bool {
        self.row().accept_conf
    }

    /// Returns what a new peer speaks, as far as that is known.
    pub(super) const fn classify(self, observed: Observed) -> Dialect {
        let row = self.row();
        match (observed, row.preflight) {
            (Observed::SubProtocol, _) if row.accept_conf => Dialect::Wwr1,
            (Observed::Preflight, Some(named)) => named,
            (Observed::SubProtocol | Observed::Nothing, _) | (Observed::Preflight, None) => {
                row.otherwise
            }
        }
    }

    /// Returns what a peer speaks that was taken for `dialect` and sends a heartbeat.
    pub(super) const fn after_heartbeat(self, dialect: Dialect) -> Dialect {
        match (dialect, self.row().otherwise) {
            (agreed @ Dialect::Wwr1, _) => agreed,
            (taken_for, Dialect::Unknown) => taken_for.rules().after_heartbeat,
            (_, only) => only,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_classified_as_in_the_table() {
        use Dialect::{Unknown, V1_4, V1_5, V2_0};
        for (protocol, first, after_preflight, heartbeat, both) in [
            (Protocol::Any, Unknown, V1_4, V2_0, V2_0),
            (Protocol::AnyAs1_5, Unknown, V1_5, V2_0, V1_5),
            (Protocol::V1_4, V1_4, V1_4, V1_4, V1_4),
            (Protocol::V1_5, V1_5, V1_5, V1_5, V1_5),
            (Protocol::V2_0, V2_0, V2_0, V2_0, V2_0),
        ] {
            let differs = first != after_preflight;
            assert_eq!(protocol.tells_peers_apart(), differs, "{protocol:?}");
            assert_eq!(protocol.classify(Observed::Nothing), first, "{protocol:?}");
            assert_eq!(protocol.classify(Observed::Preflight), after_preflight, "{protocol:?}");
            assert_eq!(protocol.after_heartbeat(first), heartbeat, "{protocol:?}");
            assert_eq!(protocol.after_heartbeat(after_preflight), both, "{protocol:?}");
            let agreed = if protocol.sends_accept_conf() { Dialect::Wwr1 } else { first };
            assert_eq!(protocol.classify(Observed::SubProtocol), agreed, "{protocol:?}");
            assert_eq!(protocol.after_heartbeat(agreed), agreed, "{protocol:?}");
        }
    }
}
