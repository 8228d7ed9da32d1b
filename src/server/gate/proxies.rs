//! Proxies that are trusted to name their clients.

use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use ipnet::IpNet;

/// Which proxies are trusted to name their clients, and how they name them. By default no proxy is
/// trusted, because any client could write such headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrustedProxies {
    /// Where the proxies connect from. All other addresses are those of clients.
    pub networks: Vec<Network>,
    /// The headers in which the proxies name their clients.
    pub headers: ProxyHeaders,
}

/// The headers in which trusted proxies name the addresses of their clients.
///
/// A proxy that sets one of them passes on the other as a client sent it. So only one may count:
/// the one that all trusted proxies set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyHeaders {
    /// Whichever is present. If both are and disagree, one of them may come from the client. Then
    /// neither counts, and the address of the proxy stands for the client.
    #[default]
    Either,
    /// `Forwarded` alone (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For` alone.
    XForwardedFor,
}

/// An address, or all addresses with the same prefix: `192.0.2.1`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpNet);

/// The text is not a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("write an address like 192.0.2.1, or a network like 10.0.0.0/8 or 2001:db8::/32")]
pub struct InvalidNetwork;

impl TrustedProxies {
    /// Returns whether an address belongs to a trusted proxy.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

impl Network {
    /// Returns whether an address lies in the network. An IPv4 address also matches in its form of
    /// IPv6 (`::ffff:192.0.2.1`).
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Returns whether all addresses of a family lie in it.
    pub fn is_everything(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        Self(address.to_canonical().into())
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let text = text.trim();
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(address.into());
        }
        let network: IpNet = text.parse().map_err(|_| InvalidNetwork)?;
        // A network in IPv6 notation that means IPv4 would contain nothing.
        let (address, bits) = (network.addr().to_canonical(), network.prefix_len());
        let bits = match (address, network) {
            (IpAddr::V4(_), IpNet::V6(_)) => bits.checked_sub(96).ok_or(InvalidNetwork)?,
            _ => bits,
        };
        IpNet::new(address, bits).map(|network| Self(network.trunc())).map_err(|_| InvalidNetwork)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            return fmt::Display::fmt(&self.0.addr(), f);
        }
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn networks_have_several_spellings() {
        for (text, written, inside, outside) in [
            ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.1/32", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"),
            ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8", "10.9.9.9", "11.0.0.0"),
            ("10.1.2.3/8", "10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            (" ::1 ", "::1", "::1", "::2"),
            ("2001:db8::/32", "2001:db8::/32", "2001:db8:1::1", "2001:db9::"),
            ("0.0.0.0/0", "0.0.0.0/0", "1.2.3.4", "::1"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), written, "{text}");
            assert!(network.contains(inside.parse().unwrap()), "{text}");
            assert!(!network.contains(outside.parse().unwrap()), "{text}");
            assert_eq!(network.is_everything(), text == "0.0.0.0/0");
        }
        for text in
            ["", "localhost", "10.0.0.0/33", "10.0.0/8", "::/129", "1.2.3.4:80", "[::1]", "*"]
        {
            assert_eq!(text.parse::<Network>(), Err(InvalidNetwork), "{text}");
        }
        assert_eq!("::ffff:0.0.0.0/90".parse::<Network>(), Err(InvalidNetwork));
    }
}
