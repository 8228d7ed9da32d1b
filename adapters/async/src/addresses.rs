//! Addresses, and names that stand for them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::runtime::{Runtime, resolve_by_system};

/// TCP addresses, or a name that stands for some. Made of what [`ToSocketAddrs`](std::net::ToSocketAddrs) is implemented for:
/// the texts `"127.0.0.1:7777"` and `"localhost:7777"`, a host and a port, one address or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(Wanted);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Known(Vec<SocketAddr>),
    /// A host and a port.
    Host(String, u16),
    /// Both in one text.
    Text(String),
}

impl Addresses {
    /// Finds out what a name stands for.
    pub(crate) async fn resolve(self, runtime: &impl Runtime) -> io::Result<Vec<SocketAddr>> {
        match self.0 {
            Wanted::Known(addresses) => Ok(addresses),
            Wanted::Host(host, port) => runtime.resolve(host, port).await,
            Wanted::Text(text) => resolve_by_system(runtime, text).await,
        }
    }
}

impl From<&str> for Addresses {
    fn from(text: &str) -> Self {
        match text.parse::<SocketAddr>() {
            Ok(address) => address.into(),
            Err(_) => Self(Wanted::Text(text.to_owned())),
        }
    }
}

impl From<(&str, u16)> for Addresses {
    fn from((host, port): (&str, u16)) -> Self {
        match host.parse::<IpAddr>() {
            Ok(address) => (address, port).into(),
            Err(_) => Self(Wanted::Host(host.to_owned(), port)),
        }
    }
}

impl From<(String, u16)> for Addresses {
    fn from((host, port): (String, u16)) -> Self {
        Self::from((host.as_str(), port))
    }
}

impl From<&[SocketAddr]> for Addresses {
    fn from(addresses: &[SocketAddr]) -> Self {
        Self(Wanted::Known(addresses.to_vec()))
    }
}

/// Types that convert like `&str`.
macro_rules! texts {
    ($($text:ty),*) => {$(
        impl From<$text> for Addresses {
            fn from(text: $text) -> Self {
                Self::from(text.as_ref() as &str)
            }
        }
    )*};
}

texts!(String, &String, &&str);

/// Types that convert to a single address.
macro_rules! addresses {
    ($($address:ty),*) => {$(
        impl From<$address> for Addresses {
            fn from(address: $address) -> Self {
                Self(Wanted::Known(vec![address.into()]))
            }
        }
    )*};
}

addresses!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl From<&SocketAddr> for Addresses {
    fn from(address: &SocketAddr) -> Self {
        Self::from(*address)
    }
}

impl From<Vec<SocketAddr>> for Addresses {
    fn from(addresses: Vec<SocketAddr>) -> Self {
        Self(Wanted::Known(addresses))
    }
}

impl From<&Vec<SocketAddr>> for Addresses {
    fn from(addresses: &Vec<SocketAddr>) -> Self {
        Self::from(addresses.as_slice())
    }
}

impl<const N: usize> From<[SocketAddr; N]> for Addresses {
    fn from(addresses: [SocketAddr; N]) -> Self {
        Self::from(addresses.as_slice())
    }
}

impl<const N: usize> From<&[SocketAddr; N]> for Addresses {
    fn from(addresses: &[SocketAddr; N]) -> Self {
        Self::from(addresses.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_runtime::TestRuntime;

    fn resolved(addresses: impl Into<Addresses>) -> io::Result<Vec<SocketAddr>> {
        smol::block_on(addresses.into().resolve(&TestRuntime))
    }

    #[test]
    fn an_address_is_the_same_in_every_form() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 7777));
        let of = |addresses: Addresses| assert_eq!(addresses, Addresses::from(address));
        of("127.0.0.1:7777".into());
        of(String::from("127.0.0.1:7777").into());
        of(("127.0.0.1", 7777).into());
        of((String::from("127.0.0.1"), 7777).into());
        of((Ipv4Addr::LOCALHOST, 7777).into());
        of((IpAddr::V4(Ipv4Addr::LOCALHOST), 7777).into());
        of(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 7777).into());
        of((&[address]).into());
        of(vec![address].into());
        of((&address).into());
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 7777));
        assert_eq!(resolved("[::1]:7777").unwrap(), [address]);
        assert_eq!(resolved(("::1", 7777)).unwrap(), [address]);
    }

    #[test]
    fn a_name_stands_for_addresses_and_what_is_neither_is_an_error() {
        for found in [resolved("localhost:7777"), resolved(("localhost", 7777))] {
            let found = found.unwrap();
            assert!(!found.is_empty());
            assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        }
        for text in ["localhost", "127.0.0.1", ""] {
            assert_eq!(resolved(text).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{text}");
        }
    }
}
