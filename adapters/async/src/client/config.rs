//! The settings of a client.

use std::time::Duration;

use hyper::header::HeaderMap;
use wwr::Valid;
use wwr::client::Config as MachineConfig;

use super::event::Capacity;
use super::headers::{self, InvalidHeader};
#[cfg(feature = "rustls")]
use super::tls::Tls;
use super::url::ServerUrl;

/// The settings of a [`Client`](super::Client). They are checked once, when it is built.
///
/// ```no_run
/// use std::time::Duration;
/// use wwr_async::client::{Client, Config, Protocol};
/// use wwr_async::http::header::{AUTHORIZATION, HeaderValue};
///
/// # async fn connect<R: wwr_async::Runtime + Default>() -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = Config::default();
/// config.machine.protocol = Protocol::V2_0;
/// config.machine.sub_protocol = Some("chat/1".into());
/// config.machine.request_timeout = Duration::from_secs(5);
/// config.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
/// let client = Client::<R>::builder("ws://localhost:7777/")?.config(config).connect().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Versions of the protocol, sub-protocol, timeouts, reconnection and bounds, that of messages
    /// included. The default speaks whatever the server does.
    pub machine: MachineConfig,
    /// Headers that are sent with every attempt to connect, with the preflight and with the WebSocket
    /// handshake, such as `Authorization` or `Origin`. `Host` and `Authorization` at most once each.
    /// Default: none; `Host` is that of the URL then, with its port if that is not the
    /// default of the scheme.
    ///
    /// Not those with which there would be no handshake, such as `Connection` and
    /// `Sec-WebSocket-Key`, and not `Authorization` if the URL has a user name or a password.
    pub headers: HeaderMap,
    /// How servers at `wss://` are verified, and what they are shown. Default: they need a certificate
    /// that a root of the system has issued.
    #[cfg(feature = "rustls")]
    pub tls: Tls,
    /// How many redirects each HTTP request of a client may follow, with the status 301, 302, 307 or 308,
    /// and 303 for the handshake (RFC 9110 §15.4). The WebSocket is opened where the preflight was answered.
    /// Never from `wss://` to `ws://`. Another server, host or port, gets neither
    /// [`headers`](Self::headers) nor user name and password, nor the certificate of the client. A client with a
    /// session stays at its server. Redirects have no time of their own. Default: 0.
    pub max_redirects: u32,
    /// How long a server may take nothing of what is sent to it. Not zero. Default: 30 s.
    pub stall_timeout: Duration,
    /// How long a server may take to close its side of a connection once this side is closed.
    /// Nothing but [`Client::close`](super::Client::close) waits for that. Default: 2 s.
    pub close_timeout: Duration,
    /// How many bytes of calls may wait for a server that reads too slowly, counted as they are held
    /// in memory. Default: 16 MiB.
    pub max_unsent_bytes: usize,
    /// How many events wait for an application that does not take its
    /// [`Events`](super::Events). Not zero. Default: 1024.
    pub max_events: usize,
    /// How many bytes of signals wait among them; one signal always may. Default: 4 MiB.
    pub max_event_bytes: usize,
    /// Whether the client may repeat the requests of
    /// [`Client::request_idempotent`](super::Client::request_idempotent) when a connection is lost. It then
    /// tells servers of this project a random number, by which they know it on its next connection. Default: no.
    pub idempotent_requests: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            machine: MachineConfig::default(),
            headers: HeaderMap::new(),
            #[cfg(feature = "rustls")]
            tls: Tls::default(),
            max_redirects: 0,
            stall_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(2),
            max_unsent_bytes: 16 * 1024 * 1024,
            max_events: 1024,
            max_event_bytes: 4 * 1024 * 1024,
            idempotent_requests: false,
        }
    }
}

/// Why a client cannot be built with its settings, which are named as the fields of [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// A setting of the machine.
    #[error("machine.{0}")]
    Machine(wwr::InvalidConfig),
    /// A header that cannot be set.
    #[error("headers: {0}")]
    Header(InvalidHeader),
    /// A time in which nothing can be sent, or a number that allows nothing.
    #[error("{setting} is zero; it has to be more")]
    Zero {
        /// The setting.
        setting: &'static str,
    },
}

/// Settings that were checked.
pub(super) struct Checked {
    pub(super) machine: Valid<MachineConfig>,
    pub(super) headers: HeaderMap,
    #[cfg(feature = "rustls")]
    pub(super) tls: Tls,
    pub(super) max_redirects: u32,
    pub(super) stall_timeout: Duration,
    pub(super) close_timeout: Duration,
    pub(super) max_unsent_bytes: usize,
    pub(super) events: Capacity,
    pub(super) idempotent_requests: bool,
}

impl Config {
    /// Checks the settings, for a client of the server at this URL.
    pub(super) fn check(self, url: &ServerUrl) -> Result<Checked, InvalidConfig> {
        let Self { machine, mut headers, stall_timeout, close_timeout, max_unsent_bytes, .. } =
            self;
        let events = Capacity { events: self.max_events, bytes: self.max_event_bytes };
        let machine = machine.validate().map_err(InvalidConfig::Machine)?;
        headers::check(&mut headers, url).map_err(InvalidConfig::Header)?;
        for (setting, is_zero) in
            [("stall_timeout", stall_timeout.is_zero()), ("max_events", events.events == 0)]
        {
            if is_zero {
                return Err(InvalidConfig::Zero { setting });
            }
        }
        Ok(Checked {
            machine,
            headers,
            #[cfg(feature = "rustls")]
            tls: self.tls,
            max_redirects: self.max_redirects,
            stall_timeout,
            close_timeout,
            max_unsent_bytes,
            events,
            idempotent_requests: self.idempotent_requests,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        let url: ServerUrl = "ws://localhost/".parse().unwrap();
        type Change = fn(&mut Config);
        let changes: [(&str, Change); 4] = [
            ("machine.dial_timeout is zero; it has to be more", |config| {
                config.machine.dial_timeout = Duration::ZERO;
            }),
            (
                "headers: the header upgrade belongs to the connection, and cannot be set",
                |config| {
                    config.headers.insert("upgrade", hyper::header::HeaderValue::from_static("x"));
                },
            ),
            ("stall_timeout is zero; it has to be more", |config| {
                config.stall_timeout = Duration::ZERO;
            }),
            ("max_events is zero; it has to be more", |config| config.max_events = 0),
        ];
        assert!(Config::default().check(&url).is_ok());
        for (said, change) in changes {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(
                config.check(&url).err().map(|error| error.to_string()).as_deref(),
                Some(said)
            );
        }
    }
}
