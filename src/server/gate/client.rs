//! The address of a client, also behind proxies.

use core::net::SocketAddr;

use super::forwarded::{forwarded, x_forwarded_for};
use super::proxies::{ProxyHeaders, TrustedProxies};

/// The address of a client, as far as trusted proxies name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address. Its port is 0 if a proxy names an address without one.
    pub address: SocketAddr,
    /// Why the answer of a trusted proxy does not count, if that is so. `address` is then that of
    /// the proxy: worth a line in the log.
    pub doubt: Option<Doubt>,
}

/// Why the address that a trusted proxy names for its client does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Doubt {
    /// It names no address, but `unknown`, an obfuscated name, or something unreadable.
    #[error("a trusted proxy names no address of its client")]
    NoAddress,
    /// `Forwarded` and `X-Forwarded-For` name different clients.
    #[error("Forwarded and X-Forwarded-For name different clients")]
    Contradiction,
}

impl TrustedProxies {
    /// Returns the client of a request that came from `peer` with these headers: `peer` itself,
    /// unless that is a trusted proxy. Behind a trusted proxy, the client is the last address in
    /// the headers that does not belong to a trusted proxy. Clients may have written what stands
    /// before it, so only what trusted proxies add counts. If all addresses belong to trusted
    /// proxies, the client is the first one.
    ///
    /// `peer` is the address of the socket, or the one that the PROXY protocol named instead.
    pub fn client<'a>(
        &self,
        peer: SocketAddr,
        headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Client {
        if !self.trust(peer.ip()) {
            return Client { address: peer, doubt: None };
        }
        let (mut new, mut old) = (Chain::Empty, Chain::Empty);
        let (reads_new, reads_old) = match self.headers {
            ProxyHeaders::Either => (true, true),
            ProxyHeaders::Forwarded => (true, false),
            ProxyHeaders::XForwardedFor => (false, true),
        };
        for (name, value) in headers {
            if reads_new && name.eq_ignore_ascii_case("forwarded") {
                forwarded(value, |hop| new.add(self, hop));
            } else if reads_old && name.eq_ignore_ascii_case("x-forwarded-for") {
                x_forwarded_for(value, |hop| old.add(self, hop));
            }
        }
        match (new, old) {
            (Chain::Empty, one) | (one, Chain::Empty) => one.client(peer),
            (new, old) => {
                let (new, old) = (new.client(peer), old.client(peer));
                if new.address.ip() == old.address.ip() {
                    // One of the two may name the port as well.
                    return if new.address.port() == 0 { old } else { new };
                }
                Client { address: peer, doubt: Some(Doubt::Contradiction) }
            }
        }
    }
}

/// What the hops that were read so far mean, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    Empty,
    /// The client, unless another untrusted hop follows. Also holds what was unreadable before it.
    Client(SocketAddr, Option<Doubt>),
    /// Something unreadable: the client is the hop that follows, which wrote it.
    NoAddress,
}

impl Chain {
    fn add(&mut self, proxies: &TrustedProxies, hop: Option<SocketAddr>) {
        *self = match (*self, hop) {
            (_, None) => Self::NoAddress,
            (_, Some(hop)) if !proxies.trust(hop.ip()) => Self::Client(hop, None),
            (Self::Empty, Some(hop)) => Self::Client(hop, None),
            (Self::NoAddress, Some(hop)) => Self::Client(hop, Some(Doubt::NoAddress)),
            (client @ Self::Client(..), Some(_)) => client,
        };
    }

    const fn client(self, peer: SocketAddr) -> Client {
        match self {
            Self::Empty => Client { address: peer, doubt: None },
            Self::Client(address, doubt) => Client { address, doubt },
            Self::NoAddress => Client { address: peer, doubt: Some(Doubt::NoAddress) },
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    const PEER: &str = "10.0.0.1:5000";

    fn proxies(headers: ProxyHeaders) -> TrustedProxies {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).into();
        TrustedProxies { networks, headers }
    }

    #[track_caller]
    fn check(
        headers: ProxyHeaders,
        peer: &str,
        sent: &[(&str, &str)],
        client: &str,
        doubt: Option<Doubt>,
    ) {
        let sent = sent.iter().map(|(name, value)| (*name, value.as_bytes()));
        let found = proxies(headers).client(peer.parse().unwrap(), sent);
        assert_eq!((found.address.to_string().as_str(), found.doubt), (client, doubt));
    }

    #[test]
    fn the_last_address_outside_the_trusted_proxies_is_the_client() {
        for (line, client) in [
            ("192.0.2.1", "192.0.2.1:0"),
            ("192.0.2.1:77", "192.0.2.1:77"),
            ("192.0.2.1, 10.1.1.1", "192.0.2.1:0"),
            ("192.0.2.1, 10.1.1.1, fd00::2", "192.0.2.1:0"),
            ("6.6.6.6, 192.0.2.1, 10.1.1.1", "192.0.2.1:0"),
            ("6.6.6.6, 192.0.2.1", "192.0.2.1:0"),
            ("10.6.6.6, 192.0.2.1", "192.0.2.1:0"),
            ("garbage, 192.0.2.1", "192.0.2.1:0"),
            // A client inside of the trusted network.
            ("10.2.2.2", "10.2.2.2:0"),
            ("10.3.3.3, 10.2.2.2", "10.3.3.3:0"),
            ("::ffff:10.2.2.2", "10.2.2.2:0"),
            ("", PEER),
        ] {
            for headers in [ProxyHeaders::Either, ProxyHeaders::XForwardedFor] {
                check(headers, PEER, &[("x-forwarded-for", line)], client, None);
            }
        }
        let lines = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "192.0.2.1, 10.1.1.1")];
        check(ProxyHeaders::Either, PEER, &lines, "192.0.2.1:0", None);
        let lines = [("Forwarded", "for=6.6.6.6"), ("forwarded", "for=192.0.2.1;proto=http")];
        check(ProxyHeaders::Either, "[::ffff:10.0.0.1]:5", &lines, "192.0.2.1:0", None);
    }

    #[test]
    fn without_an_address_the_proxy_counts_as_the_client() {
        let doubt = Some(Doubt::NoAddress);
        for (line, client) in [
            ("unknown", PEER),
            ("192.0.2.1, _hidden", PEER),
            ("192.0.2.1, unknown, 10.2.2.2", "10.2.2.2:0"),
            ("192.0.2.1, unknown, 10.2.2.2, 10.3.3.3", "10.2.2.2:0"),
        ] {
            check(ProxyHeaders::Either, PEER, &[("x-forwarded-for", line)], client, doubt);
        }
        check(ProxyHeaders::Either, PEER, &[("forwarded", "for=\"x, for=192.0.2.1")], PEER, doubt);
        check(ProxyHeaders::Either, PEER, &[], PEER, None);
    }

    #[test]
    fn headers_of_untrusted_peers_are_ignored() {
        let sent = [("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=6.6.6.6")];
        check(ProxyHeaders::Either, "192.0.2.9:1", &sent, "192.0.2.9:1", None);
        let none_trusted = TrustedProxies::default();
        let sent = sent.iter().map(|(name, value)| (*name, value.as_bytes()));
        assert_eq!(none_trusted.client(PEER.parse().unwrap(), sent).address.to_string(), PEER);
    }

    #[test]
    fn only_one_of_the_two_headers_counts() {
        let both = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2")];
        check(ProxyHeaders::XForwardedFor, PEER, &both, "192.0.2.1:0", None);
        check(ProxyHeaders::Forwarded, PEER, &both, "192.0.2.2:0", None);
        check(ProxyHeaders::Either, PEER, &both, PEER, Some(Doubt::Contradiction));
        let same = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=\"192.0.2.1:7\"")];
        check(ProxyHeaders::Either, PEER, &same, "192.0.2.1:7", None);
        let hidden = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=unknown")];
        check(ProxyHeaders::Either, PEER, &hidden, PEER, Some(Doubt::Contradiction));
        check(ProxyHeaders::Forwarded, PEER, &both[..1], PEER, None);
    }
}
