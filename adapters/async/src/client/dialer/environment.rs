//! The proxies that the environment of the process names, read as curl reads them.

use std::env;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Destination, Dial, Dialed, InvalidProxy, Proxy, Tcp};
use crate::client::url::ServerUrl;
use crate::runtime::Runtime;

/// The variables for servers without TLS. Not `HTTP_PROXY`, which a client may be able to set as a header
/// of a CGI program.
const PLAIN: [&str; 5] = ["ws_proxy", "WS_PROXY", "http_proxy", "all_proxy", "ALL_PROXY"];

/// The variables for servers with TLS.
const SECURE: [&str; 6] =
    ["wss_proxy", "WSS_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The variables for servers that are reached directly.
const EXCEPTIONS: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// Connects through the proxies that the environment names, as curl does, and directly where there is
/// none.
///
/// For `ws://` the variable `http_proxy` counts, for `wss://` `https_proxy`, before them `ws_proxy` and
/// `wss_proxy`, after them `all_proxy`; also in capitals, except `HTTP_PROXY`. The first one that is not
/// empty has a [`Proxy`]. `no_proxy` lists the servers that are reached directly: names, which stand for
/// what is below them as well, addresses, networks such as `10.0.0.0/8`, or `*` for all. Unlike with curl,
/// this machine itself (`localhost`, `127.0.0.1`) is always reached directly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvironmentProxies {
    plain: Option<Result<Proxy, InvalidProxy>>,
    secure: Option<Result<Proxy, InvalidProxy>>,
    direct: Vec<Exception>,
}

/// Servers that are reached directly.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exception {
    All,
    Network(IpNet),
    /// A name, in lower case, and all below it.
    Domain(String),
}

impl EnvironmentProxies {
    /// Reads the environment of the process. A variable that is not a proxy is an error of those
    /// connections that would use it.
    pub fn read() -> Self {
        Self::read_from(|name| env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// Reads variables.
    fn read_from(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&'static str]| {
            let values = names.iter().filter_map(|name| Some((*name, variable(name)?)));
            values.into_iter().find(|(_, value)| !value.trim().is_empty())
        };
        let proxy = |names| {
            first(names).map(|(name, value)| {
                let proxy = value.trim().parse();
                proxy.map_err(|error| InvalidProxy::Variable { name, error: Box::new(error) })
            })
        };
        let direct = first(&EXCEPTIONS).map(|(_, value)| exceptions(&value)).unwrap_or_default();
        Self { plain: proxy(&PLAIN), secure: proxy(&SECURE), direct }
    }

    /// Returns the proxy for a server, if there is one.
    ///
    /// # Errors
    ///
    /// If the variable that counts for the server is not a proxy.
    pub fn for_url(&self, url: &ServerUrl) -> Result<Option<&Proxy>, InvalidProxy> {
        self.proxy(&url.host_and_port().0, url.is_secure())
    }

    fn proxy(&self, host: &str, is_secure: bool) -> Result<Option<&Proxy>, InvalidProxy> {
        let proxy = if is_secure { &self.secure } else { &self.plain };
        match proxy {
            Some(proxy) if !is_here(host) && !self.direct.iter().any(|one| one.is_for(host)) => {
                proxy.as_ref().map(Some).map_err(Clone::clone)
            }
            _ => Ok(None),
        }
    }
}

impl Exception {
    /// Returns whether a server is meant. Its name is in lower case.
    fn is_for(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        match self {
            Self::All => true,
            Self::Network(network) => host
                .parse::<IpAddr>()
                .is_ok_and(|address| network.contains(&address.to_canonical())),
            Self::Domain(domain) => {
                let above = host.strip_suffix(domain.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
        }
    }
}

/// Returns whether a host is this machine: its localhost is not that of a proxy.
fn is_here(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Reads a list that is separated by commas or blanks.
fn exceptions(list: &str) -> Vec<Exception> {
    let items = list.split([',', ' ', '\t']).filter(|item| !item.is_empty());
    let read = items.filter_map(|item| {
        let bare = item.trim_start_matches('[').trim_end_matches(']');
        if item == "*" {
            Some(Exception::All)
        } else if let Ok(address) = bare.parse::<IpAddr>() {
            Some(Exception::Network(address.to_canonical().into()))
        } else if let Ok(network) = item.parse() {
            Some(Exception::Network(network))
        } else {
            let name = item.trim_start_matches('.').trim_end_matches('.').to_ascii_lowercase();
            (!name.is_empty()).then_some(Exception::Domain(name))
        }
    });
    read.collect()
}

impl<R: Runtime> Dial<R> for EnvironmentProxies {
    async fn dial(&self, runtime: &R, to: &Destination) -> io::Result<Dialed<R>> {
        let proxy = self.proxy(to.host(), to.is_secure());
        match proxy.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))? {
            Some(proxy) => proxy.dial(runtime, to).await,
            None => Tcp.dial(runtime, to).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> EnvironmentProxies {
        EnvironmentProxies::read_from(|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| String::from(*value))
        })
    }

    fn chosen(variables: &[(&str, &str)], host: &str, is_secure: bool) -> Option<String> {
        read(variables).proxy(host, is_secure).unwrap().map(Proxy::to_string)
    }

    #[test]
    fn each_scheme_has_its_variables() {
        for (variables, plain, secure) in [
            (&[][..], None, None),
            (&[("http_proxy", "a:1")], Some("http://a:1"), None),
            (&[("https_proxy", "a:1")], None, Some("http://a:1")),
            (&[("HTTP_PROXY", "a:1")], None, None),
            (&[("HTTPS_PROXY", "a:1")], None, Some("http://a:1")),
            (&[("ALL_PROXY", "socks5://a:1")], Some("socks5://a:1"), Some("socks5://a:1")),
            (
                &[("all_proxy", "a:1"), ("http_proxy", "b:1")],
                Some("http://b:1"),
                Some("http://a:1"),
            ),
            (&[("http_proxy", "a:1"), ("ws_proxy", "b:1")], Some("http://b:1"), None),
            (&[("http_proxy", " "), ("all_proxy", "b:1")], Some("http://b:1"), Some("http://b:1")),
        ] {
            assert_eq!(chosen(variables, "host", false).as_deref(), plain, "{variables:?}");
            assert_eq!(chosen(variables, "host", true).as_deref(), secure, "{variables:?}");
        }
    }

    #[test]
    fn exceptions_are_names_addresses_and_networks() {
        for (list, host, is_direct) in [
            ("", "host", false),
            ("*", "host", true),
            ("host", "host", true),
            ("other, host", "host", true),
            ("other host", "host", true),
            ("HOST.", "host", true),
            ("host", "host.", true),
            ("example.com", "a.b.example.com", true),
            (".example.com", "example.com", true),
            ("example.com", "badexample.com", false),
            ("a.example.com", "example.com", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("", "localhost", true),
            ("", "a.localhost.", true),
            ("", "127.0.0.2", true),
            ("", "::1", true),
            ("", "notlocalhost", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "10.example.com", false),
            ("[2001:db8::1]", "2001:db8::1", true),
            ("fd00::/8", "fd12::1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            (" , ,. ", "host", false),
        ] {
            let variables = [("all_proxy", "proxy"), ("no_proxy", list)];
            assert_eq!(chosen(&variables, host, true).is_none(), is_direct, "{list:?} {host}");
        }
    }

    #[test]
    fn an_invalid_variable_is_named() {
        let read = read(&[("https_proxy", "ftp://ada:secret@x"), ("no_proxy", "other")]);
        assert_eq!(read.proxy("other", true), Ok(None));
        assert_eq!(read.proxy("host", false), Ok(None));
        let error = read.proxy("host", true).unwrap_err().to_string();
        assert!(error.starts_with("the environment variable https_proxy: \"ftp\""), "{error}");
    }
}
