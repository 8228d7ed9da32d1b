//! Which versions a client speaks.

use core::fmt;

use crate::preflight::{DEFAULT_READ_TIMEOUT, Metadata};

/// What a client speaks.
///
/// | | preflight | accept-conf |
/// |---|---|---|
/// | [`Auto`](Self::Auto) | asked for until the server is known to speak 2.0 | decides (protocol §7.3) |
/// | [`V1_4`](Self::V1_4), [`V1_5`](Self::V1_5) | has to name this version | ignored |
/// | [`V2_0`](Self::V2_0) | not asked for | has to come first |
///
/// Clients of 1.x send a preflight even if they are set to one version: 1.x compares versions with
/// it, and a server of several versions recognizes them by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum Protocol {
    /// Whatever the server speaks: 2.0 if it speaks several versions, and `wwr.1` if it is a server
    /// of this project (protocol §10).
    #[default]
    Auto,
    /// Only 1.4.
    V1_4,
    /// Only 1.5.
    V1_5,
    /// Only 2.0.
    V2_0,
}

impl Protocol {
    /// Returns what a server of this one version answers to the preflight, as far as the client
    /// knows it without asking. `None` if the client speaks several versions, or the version has no
    /// preflight.
    pub(super) const fn metadata(self) -> Option<Metadata> {
        match self {
            Self::Auto | Self::V2_0 => None,
            Self::V1_4 => Some(Metadata::V1_4),
            Self::V1_5 => Some(Metadata::V1_5 { read_timeout: DEFAULT_READ_TIMEOUT }),
        }
    }

    /// Returns what else may be wrong if a server does not answer like a WebWire server, and what
    /// to do. For errors.
    pub(super) const fn hint(self) -> &'static str {
        match self {
            Self::Auto | Self::V2_0 => "; check the address",
            Self::V1_4 => {
                ", or one that speaks only 2.0 while this client is set to 1.4; check the address, \
                 or set the client to \"auto\""
            }
            Self::V1_5 => {
                ", or one that speaks only 2.0 while this client is set to 1.5; check the address, \
                 or set the client to \"auto\""
            }
        }
    }

    /// Returns what the client speaks, and what to do if that does not suit the server. For errors.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Auto => "1.4, 1.5 and 2.0; update the older of the two",
            Self::V1_4 => "only 1.4; set it to \"auto\", or update the older of the two",
            Self::V1_5 => "only 1.5; set it to \"auto\", or update the older of the two",
            Self::V2_0 => "only 2.0; set it to \"auto\", or update the older of the two",
        }
    }
}

impl fmt::Display for Protocol {
    /// The number of the version, or "auto".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::V1_4 => "1.4",
            Self::V1_5 => "1.5",
            Self::V2_0 => "2.0",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_shown_by_their_numbers() {
        for (protocol, shown) in [
            (Protocol::Auto, "auto"),
            (Protocol::V1_4, "1.4"),
            (Protocol::V1_5, "1.5"),
            (Protocol::V2_0, "2.0"),
        ] {
            assert_eq!(std::format!("{protocol}"), shown);
            assert_eq!(std::format!("{protocol:>6}").len(), 6, "{shown}");
        }
    }
}
