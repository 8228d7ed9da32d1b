//! Which pages may open connections.

use hyper::header::{HOST, HeaderMap, ORIGIN};

/// Whose pages may open WebSockets. Browsers send the `Origin` of the page with the handshake;
/// programs send none and are always let in.
///
/// Without such a check, any page a user visits could connect to the server in the user's name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the host (and port) that the connection is made to.
    #[default]
    SameHost,
    /// Pages of these origins, written as browsers do: `https://example.com`, with the port if it
    /// is not that of the scheme.
    List(Vec<String>),
    /// All pages.
    Any,
}

impl Origins {
    /// Whether a request with these headers may open a WebSocket.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return matches!(self, Self::Any) };
        match self {
            Self::Any => true,
            Self::List(origins) => origins.iter().any(|one| one.eq_ignore_ascii_case(origin)),
            Self::SameHost => {
                let host = headers.get(HOST).and_then(|host| host.to_str().ok());
                host.is_some_and(|host| is_of_host(origin, host))
            }
        }
    }
}

/// Whether an origin such as `https://example.com:8443` belongs to the host of a `Host` header.
/// A port that is left out is that of the origin's scheme.
fn is_of_host(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" | "ws" => ":80",
        "https" | "wss" => ":443",
        _ => "",
    };
    let bare = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&str>, host: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [(ORIGIN, origin), (HOST, host)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().unwrap());
            }
        }
        headers
    }

    #[test]
    fn same_host_compares_host_and_port() {
        for (origin, host, allowed) in [
            (None, Some("example.com"), true),
            (Some("http://example.com"), Some("example.com"), true),
            (Some("http://EXAMPLE.com"), Some("example.COM"), true),
            (Some("http://example.com:80"), Some("example.com"), true),
            (Some("https://example.com"), Some("example.com:443"), true),
            (Some("http://example.com:8080"), Some("example.com:8080"), true),
            (Some("http://example.com:8080"), Some("example.com"), false),
            (Some("http://evil.com"), Some("example.com"), false),
            (Some("http://example.com.evil.com"), Some("example.com"), false),
            (Some("null"), Some("example.com"), false),
            (Some("http://example.com"), None, false),
        ] {
            let headers = headers(origin, host);
            assert_eq!(Origins::SameHost.allow(&headers), allowed, "{origin:?} {host:?}");
        }
    }

    #[test]
    fn a_list_names_whole_origins() {
        let list = Origins::List(vec!["https://app.example.com".into()]);
        assert!(list.allow(&headers(Some("https://app.example.com"), Some("api.example.com"))));
        assert!(!list.allow(&headers(Some("http://app.example.com"), Some("app.example.com"))));
        assert!(list.allow(&headers(None, None)));
        assert!(Origins::Any.allow(&headers(Some("null"), None)));
    }
}
