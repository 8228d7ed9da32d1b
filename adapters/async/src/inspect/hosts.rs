//! The names by which a page of operators may be reached.

use hyper::header::HOST;
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use url::Host;

/// The names by which a page of operators may be reached: addresses, `localhost`, and those that were
/// allowed. A page of another site can have a name of its own stand for any address (DNS rebinding), and then
/// read what is there; but the browser still says that name.
///
/// ```
/// use wwr_async::http::Request;
/// use wwr_async::inspect::Hosts;
///
/// let hosts = Hosts::new().allow("metrics.example.com");
/// let asked = |host| Request::get("/metrics").header("host", host).body(()).unwrap().into_parts().0;
/// assert!(hosts.allow_request(&asked("127.0.0.1:9100")));
/// assert!(hosts.allow_request(&asked("metrics.example.com")));
/// assert!(!hosts.allow_request(&asked("rebound.example")));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// In lower case.
    names: Vec<String>,
}

impl Hosts {
    /// Allows addresses and `localhost`.
    pub const fn new() -> Self {
        Self { names: Vec::new() }
    }

    /// Allows another name, such as `inspect.example.com`. The port does not matter.
    #[must_use]
    pub fn allow(mut self, name: &str) -> Self {
        self.names.push(name.to_ascii_lowercase());
        self
    }

    /// Returns whether a request is for one of these names. The name is in the header `Host` in HTTP/1 (RFC 9112
    /// §3.2), and in the URI, as `:authority`, in HTTP/2 and HTTP/3 (RFC 9113 §8.3.1). If it is in both, both
    /// have to be allowed. A request without a name is not allowed.
    pub fn allow_request(&self, request: &Parts) -> bool {
        let authority = request.uri.authority();
        let mut headers = request.headers.get_all(HOST).iter();
        let (host, more) = (headers.next(), headers.next());
        let is_named = authority.is_some() || host.is_some();
        is_named
            && more.is_none()
            && authority.is_none_or(|authority| self.has(authority))
            && host.is_none_or(|host| {
                let authority = host.to_str().ok().and_then(|host| host.parse().ok());
                authority.is_some_and(|authority| self.has(&authority))
            })
    }

    /// Returns whether this cannot be a name that an attacker has given to this address: it is an address,
    /// `localhost`, or one of the names.
    fn has(&self, authority: &Authority) -> bool {
        if authority.as_str().contains('@') {
            return false;
        }
        match Host::parse(authority.host()) {
            Ok(Host::Ipv4(_) | Host::Ipv6(_)) => true,
            Ok(Host::Domain(name)) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                name == "localhost"
                    || name.ends_with(".localhost")
                    || self.names.iter().any(|one| one == name)
            }
            Err(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::{Request, Version};

    use super::*;

    fn asks(hosts: &[&str]) -> Parts {
        let mut request = Request::get("/");
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn asks_2(uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::get(uri).version(Version::HTTP_2);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn hosts_are_addresses_or_names_that_nobody_else_can_have() {
        let hosts = Hosts::new().allow("Inspect.example.com");
        for host in [
            "127.0.0.1:9200",
            "127.0.0.1",
            "[::1]:9200",
            "192.0.2.7:80",
            "localhost",
            "LOCALHOST:9200",
            "wwr.localhost:1",
            "localhost.:1",
            "inspect.example.com:443",
            "Inspect.Example.com",
        ] {
            assert!(hosts.allow_request(&asks(&[host])), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9200",
            "notlocalhost",
            "sub.inspect.example.com",
            "evil.example@localhost",
            "localhost@evil.example",
            "local host",
            "127.0.0.1:9200/path",
        ] {
            assert!(!hosts.allow_request(&asks(&[host])), "{host}");
        }
        assert!(!hosts.allow_request(&asks(&[])));
        assert!(!hosts.allow_request(&asks(&["localhost", "localhost"])));
    }

    #[test]
    fn http_2_says_the_host_in_the_uri() {
        let hosts = Hosts::new().allow("inspect.example.com");
        for (uri, host, is_allowed) in [
            ("https://inspect.example.com/api", None, true),
            ("https://127.0.0.1:9200/", None, true),
            ("https://[::1]:9200/", Some("[::1]:9200"), true),
            ("https://evil.example/", None, false),
            ("https://evil.example/", Some("localhost"), false),
            ("https://localhost/", Some("evil.example"), false),
            ("https://localhost@evil.example/", None, false),
            ("/", None, false),
        ] {
            assert_eq!(hosts.allow_request(&asks_2(uri, host)), is_allowed, "{uri} {host:?}");
        }
    }
}
