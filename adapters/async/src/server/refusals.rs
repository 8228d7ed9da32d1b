//! Log lines about refused requests and sockets.

use std::fmt;
#[cfg(feature = "rustls")]
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use wwr::Instant;
use wwr::server::gate::{Doubt, LogThrottle, Refusal};

use super::stats::RefusalStats;
use super::throttle::Throttle;

/// How many characters of a header are shown.
const MAX_SHOWN: usize = 128;

/// Logs refusals, at most one line a second for each reason. The line contains the number of
/// refusals of that reason since the last line.
#[derive(Debug)]
pub(super) struct Refusals {
    throttles: Mutex<[LogThrottle; Refusal::COUNT]>,
    no_address: Throttle,
    contradiction: Throttle,
}

impl Refusals {
    pub(super) fn new() -> Self {
        Self {
            throttles: Mutex::new([LogThrottle::default(); Refusal::COUNT]),
            no_address: Throttle::default(),
            contradiction: Throttle::default(),
        }
    }

    /// Logs the refusal of a socket, or of a request without known headers.
    pub(super) fn socket(&self, now: Instant, refusal: Refusal, remote: SocketAddr) {
        self.request(now, refusal, remote, &HeaderMap::new());
    }

    /// Logs that a TLS handshake failed.
    #[cfg(feature = "rustls")]
    pub(super) fn tls(&self, now: Instant, error: &io::Error, remote: SocketAddr) {
        let refusal = Refusal::TlsFailed;
        if let Some(times) = self.count(now, refusal) {
            let (reason, what_to_do) = (refusal.reason(), what_to_do(refusal));
            tracing::info!(%remote, %error, times, "{reason}: {what_to_do}");
        }
    }

    /// Logs the refusal of a request with these headers.
    pub(super) fn request(
        &self,
        now: Instant,
        refusal: Refusal,
        remote: SocketAddr,
        headers: &HeaderMap,
    ) {
        let Some(times) = self.count(now, refusal) else { return };
        let (status, reason) = (refusal.status(), refusal.reason());
        match (refusal, what_to_do(refusal)) {
            (Refusal::OriginNotAllowed, what_to_do) => {
                let [origin, host] = [ORIGIN, HOST].map(|name| Shown(headers, name));
                tracing::warn!(%remote, %origin, %host, status, times, "{reason}: {what_to_do}");
            }
            (Refusal::ByApplication, _) => tracing::debug!(%remote, times, "{reason}"),
            (refusal, what_to_do) if is_of_operator(refusal) => {
                tracing::warn!(%remote, status, times, "{reason}: {what_to_do}");
            }
            (_, what_to_do) => tracing::info!(%remote, status, times, "{reason}: {what_to_do}"),
        }
    }

    /// Logs that the address named by a trusted proxy does not count.
    pub(super) fn doubt(&self, now: Instant, doubt: Doubt, proxy: SocketAddr) {
        let (throttle, what_to_do) = match doubt {
            Doubt::NoAddress => (&self.no_address, "set up the proxy to name one"),
            Doubt::Contradiction => {
                (&self.contradiction, "set TrustedProxies::headers to the one that all proxies set")
            }
            // Of a newer core.
            _ => return,
        };
        if let Some(times) = throttle.count(now) {
            tracing::warn!(%proxy, times, "{doubt}: {what_to_do}");
        }
    }

    /// Returns how often something was refused, logged or not.
    pub(super) fn stats(&self) -> RefusalStats {
        let throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
        RefusalStats::new(throttles.map(|throttle| throttle.total()))
    }

    fn count(&self, now: Instant, refusal: Refusal) -> Option<u64> {
        let mut throttles = self.throttles.lock().unwrap_or_else(PoisonError::into_inner);
        throttles.get_mut(refusal as usize)?.count(now)
    }
}

/// Returns what to set here, or to change elsewhere.
const fn what_to_do(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::ShuttingDown => "the client has to come back later",
        Refusal::TooManyConnections => "raise Config::hub.max_connections",
        Refusal::OriginNotAllowed => "to allow its pages, list it in Config::origins",
        Refusal::NoWebSocket | Refusal::MethodNotAllowed => {
            "Handler::before_upgrade can answer ordinary requests"
        }
        Refusal::NoConnectionUpgrade => {
            "a proxy in between has to pass Upgrade and Connection on (nginx: proxy_set_header)"
        }
        Refusal::Http10 => {
            "a proxy in between has to speak HTTP/1.1 (nginx: proxy_http_version 1.1)"
        }
        Refusal::NoPreflight => "clients of 1.x need Config::connection.protocol any",
        Refusal::HeadTooLong => "raise Config::limits.max_header_size",
        Refusal::HeadTimeout => "raise Config::limits.header_timeout",
        Refusal::HandshakeTimeout => "raise Config::limits.handshake_timeout",
        Refusal::Evicted => {
            "raise Config::limits.max_handshakes; behind a proxy, set Config::trusted_proxies"
        }
        Refusal::NoProxyHeader => {
            "have the proxy send it (HAProxy: send-proxy), or do not set Config::proxy_protocol"
        }
        Refusal::NoHttp => {
            "the client has to speak HTTP/1.1; for TLS, set Builder::tls, or \
             have a proxy in front"
        }
        Refusal::NoTls => {
            "the client has to connect with wss; to listen without TLS, use Listen::plain"
        }
        Refusal::TlsFailed => "the client has to support TLS 1.2 or 1.3 and trust the certificate",
        Refusal::TlsTimeout => "raise Config::limits.header_timeout",
        _ => "the client has to send another request",
    }
}

/// Returns whether a setting of the server, or of a proxy in front of it, may be the cause.
const fn is_of_operator(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::TooManyConnections
            | Refusal::OriginNotAllowed
            | Refusal::NoConnectionUpgrade
            | Refusal::Http10
            | Refusal::HeadTooLong
            | Refusal::Evicted
            | Refusal::NoProxyHeader
    )
}

/// The beginning of a header, on one line.
struct Shown<'a>(&'a HeaderMap, HeaderName);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0.get(&self.1).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let letters = value.iter().flat_map(|value| value.chars()).take(MAX_SHOWN);
        letters
            .flat_map(char::escape_debug)
            .try_for_each(|letter| fmt::Write::write_char(f, letter))
    }
}
