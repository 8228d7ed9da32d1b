//! Where the engine is.

use core::fmt;
#[cfg(target_os = "linux")]
use core::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, ProtocolVersion};
use wwr_async::{StoreError, StoreErrorKind};

/// How long the system of an engine may take to acknowledge what was sent.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// The place of an engine. A URL converts into that of a single server.
///
/// A URL is `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, with TLS `rediss://` (feature `rustls`), and for a unix socket `redis+unix:///PATH[?db=DATABASE&user=USER&pass=PASSWORD]`. `valkey` may stand
/// for `redis`. Characters such as `@`, `/`, `?` and `#` of a password have to be percent-encoded (`%40`).
///
/// What is shown of it, in errors and by `Debug`, has no user and no password.
///
/// ```
/// use wwr_redis::Engine;
///
/// let engine = Engine::at("redis://ada:hunter2@redis.example/1");
/// assert_eq!(format!("{engine:?}"), "Engine(redis.example:6379)");
/// ```
#[derive(Clone)]
pub struct Engine(Place);

#[derive(Clone)]
enum Place {
    Single(String),
    #[cfg(feature = "sentinel")]
    Sentinel {
        sentinels: Vec<String>,
        master: String,
    },
    #[cfg(feature = "cluster")]
    Cluster(Vec<String>),
}

impl Engine {
    /// A single server.
    pub fn at(url: impl Into<String>) -> Self {
        Self(Place::Single(url.into()))
    }

    /// The server that sentinels call the master now. `sentinels` are their URLs, all with the same user and
    /// password; more than one, so that it is found while one of them is down. `master` is a URL whose host is the name
    /// of the master, with the user, password, database and scheme (TLS or not) for the server itself.
    ///
    /// ```
    /// # use wwr_redis::Engine;
    /// let sentinels = ["redis://s1.example:26379", "redis://s2.example:26379"];
    /// let engine = Engine::sentinel(sentinels, "redis://:password@mymaster");
    /// ```
    #[cfg(feature = "sentinel")]
    pub fn sentinel<U: Into<String>>(
        sentinels: impl IntoIterator<Item = U>,
        master: impl Into<String>,
    ) -> Self {
        let sentinels = sentinels.into_iter().map(Into::into).collect();
        Self(Place::Sentinel { sentinels, master: master.into() })
    }

    /// A cluster. These are URLs of some of its nodes, all with the same user and password. The other nodes are found
    /// through them.
    ///
    /// ```
    /// # use wwr_redis::Engine;
    /// let engine = Engine::cluster(["redis://n1.example", "redis://n2.example"]);
    /// ```
    #[cfg(feature = "cluster")]
    pub fn cluster<U: Into<String>>(nodes: impl IntoIterator<Item = U>) -> Self {
        Self(Place::Cluster(nodes.into_iter().map(Into::into).collect()))
    }

    /// Reads the URLs.
    pub(crate) fn read(&self) -> Result<Addresses, StoreError> {
        match &self.0 {
            Place::Single(url) => Ok(Addresses::Single(Box::new(read(url)?))),
            #[cfg(feature = "sentinel")]
            Place::Sentinel { sentinels, master } => Ok(Addresses::Sentinel {
                sentinels: read_all(sentinels)?,
                master: Box::new(read(master)?),
            }),
            #[cfg(feature = "cluster")]
            Place::Cluster(nodes) => Ok(Addresses::Cluster(read_all(nodes)?)),
        }
    }
}

impl<U: Into<String>> From<U> for Engine {
    fn from(url: U) -> Self {
        Self::at(url)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.read() {
            Ok(addresses) => write!(f, "Engine({addresses})"),
            Err(_) => f.write_str("Engine(invalid)"),
        }
    }
}

/// What an [`Engine`] says, read.
pub(crate) enum Addresses {
    Single(Box<ConnectionInfo>),
    #[cfg(feature = "sentinel")]
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        master: Box<ConnectionInfo>,
    },
    #[cfg(feature = "cluster")]
    Cluster(Vec<ConnectionInfo>),
}

impl Addresses {
    #[cfg(feature = "rustls")]
    pub(crate) fn have_tls(&self) -> bool {
        let tls = |info: &ConnectionInfo| matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        self.all().into_iter().any(tls)
    }

    fn all(&self) -> Vec<&ConnectionInfo> {
        match self {
            Self::Single(one) => vec![one],
            #[cfg(feature = "sentinel")]
            Self::Sentinel { sentinels, master } => sentinels.iter().chain([&**master]).collect(),
            #[cfg(feature = "cluster")]
            Self::Cluster(nodes) => nodes.iter().collect(),
        }
    }

    /// What must not appear in texts.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let passwords = self.all().into_iter().filter_map(|info| info.redis_settings().password());
        passwords.map(str::to_string).collect()
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single(one) => Shown(one.addr()).fmt(f),
            #[cfg(feature = "sentinel")]
            Self::Sentinel { sentinels, master } => {
                let name = host(master.addr()).unwrap_or_default();
                write!(f, "{name} of the sentinels ")?;
                list(f, sentinels)
            }
            #[cfg(feature = "cluster")]
            Self::Cluster(nodes) => {
                f.write_str("the cluster of ")?;
                list(f, nodes)
            }
        }
    }
}

/// Displays an address, an IPv6 one in brackets.
struct Shown<'a>(&'a ConnectionAddr);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. }
                if host.contains(':') =>
            {
                write!(f, "[{host}]:{port}")
            }
            other => other.fmt(f),
        }
    }
}

#[cfg(any(feature = "sentinel", feature = "cluster"))]
fn list(f: &mut fmt::Formatter<'_>, infos: &[ConnectionInfo]) -> fmt::Result {
    for (index, info) in infos.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        write!(f, "{comma}{}", Shown(info.addr()))?;
    }
    Ok(())
}

/// The host of an address; `None` if it is a unix socket.
#[cfg(feature = "sentinel")]
pub(crate) fn host(address: &ConnectionAddr) -> Option<&str> {
    match address {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
        _ => None,
    }
}

#[cfg(any(feature = "sentinel", feature = "cluster"))]
fn read_all(urls: &[String]) -> Result<Vec<ConnectionInfo>, StoreError> {
    if urls.is_empty() {
        return Err(invalid("there has to be one at least"));
    }
    urls.iter().map(|url| read(url)).collect()
}

/// Reads a URL. What the library says of one that is wrong may have parts of it, so it is not passed on.
fn read(url: &str) -> Result<ConnectionInfo, StoreError> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("there is no scheme"))?;
    let unix = matches!(scheme, "redis+unix" | "valkey+unix" | "unix");
    let tls = matches!(scheme, "rediss" | "valkeys");
    if !unix && !tls && !matches!(scheme, "redis" | "valkey") {
        return Err(invalid("the scheme is another one"));
    }
    if tls && !cfg!(feature = "rustls") {
        return Err(invalid("TLS needs the feature `rustls` of wwr-redis"));
    }
    // A password that is not encoded may end what is taken for a host.
    let after_host = rest.find(['/', '?', '#']).map_or("", |end| &rest[end..]);
    if !unix && after_host.contains(['?', '#', '@']) {
        let what = "behind the host may be a database only; in a password, percent-encode `@`, `/`, `?` and `#`";
        return Err(invalid(what));
    }
    let info =
        url.into_connection_info().map_err(|_| invalid("host, port or database are wrong"))?;
    if !info.addr().is_supported() {
        return Err(invalid("this system has no unix sockets"));
    }
    // Tells at once when a connection is lost.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    // A network that loses everything without a word ends connections, of a cluster too.
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(UNACKNOWLEDGED);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

fn invalid(what: &str) -> StoreError {
    let message = format!(
        "the URL of a Redis engine is wrong: {what}; it is redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], with TLS \
         rediss://, or redis+unix:///PATH"
    );
    StoreError::new(StoreErrorKind::Failed, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, String> {
        let read = Engine::at(url).read();
        read.map(|addresses| addresses.to_string()).map_err(|error| format!("{error} {error:?}"))
    }

    #[test]
    fn urls_are_read_and_shown_without_secrets() {
        for (url, expected) in [
            ("redis://127.0.0.1", "127.0.0.1:6379"),
            ("valkey://ada:hunter2@h.example:1/3", "h.example:1"),
            ("redis://:hunter2@[::1]:7", "[::1]:7"),
            ("redis://:hun%2Fter2@h/0", "h:6379"),
            ("redis+unix:///run/redis.sock?db=2&pass=hunter2", "/run/redis.sock"),
        ] {
            assert_eq!(shown(url).as_deref(), Ok(expected), "{url}");
            assert_eq!(format!("{:?}", Engine::at(url)), format!("Engine({expected})"));
        }
    }

    #[test]
    fn a_wrong_url_is_an_error_that_does_not_repeat_it() {
        for url in [
            "hunter2",
            "http://:hunter2@h",
            "redis://:hunter2@",
            "redis://:hunter2@h:99999",
            "redis://:hunter2@h/x",
            "redis://:hunter2@h?protocol=hunter2",
            "rediss://:hunter2@h/#insecure",
            // Not encoded.
            "redis://ada:12/hunter2@h",
            "redis://ada:1#hunter2@h",
            "redis://hunter2?@h",
        ] {
            let error = shown(url).unwrap_err();
            assert!(!error.contains("hunter2") && error.contains("redis://[["), "{url}: {error}");
            assert_eq!(format!("{:?}", Engine::at(url)), "Engine(invalid)");
        }
        if !cfg!(feature = "rustls") {
            assert!(shown("rediss://h").unwrap_err().contains("feature `rustls`"));
        }
    }

    #[test]
    fn secrets_are_known() {
        let secrets = Engine::at("redis://:hun%2Fter2@h/0").read().unwrap().secrets();
        assert_eq!(secrets, ["hun/ter2"]);
    }
}
