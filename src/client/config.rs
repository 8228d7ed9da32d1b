//! The settings of a client.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::protocol::Protocol;
use crate::close::CloseFrame;
use crate::dialect::Dialect;
use crate::handshake::SubProtocol;
use crate::pings::Pings;

/// The settings of a [`Client`](super::Client), checked before there is one.
///
/// ```
/// use core::time::Duration;
/// use wwr::client::Config;
///
/// let patient = Config::builder().request_timeout(Duration::from_secs(300)).build()?;
/// assert_ne!(patient, Config::default());
/// assert!(Config::builder().dial_timeout(Duration::ZERO).build().is_err());
/// # Ok::<(), wwr::client::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) protocol: Protocol,
    pub(super) sub_protocol: Option<Bytes>,
    pub(super) skip_preflight: bool,
    pub(super) pings: Option<Pings>,
    pub(super) reconnect: bool,
    pub(super) request_timeout: Duration,
    pub(super) probe_timeout: Duration,
    pub(super) dial_timeout: Duration,
    pub(super) initial_backoff: Duration,
    pub(super) max_backoff: Duration,
    pub(super) max_retry_after: Duration,
    pub(super) backoff_reset_after: Duration,
    pub(super) max_pending_requests: usize,
    pub(super) max_queued_bytes: usize,
    pub(super) resume_attempts: u32,
    pub(super) resume_timeout: Duration,
    pub(super) final_close_codes: Vec<u16>,
    pub(super) max_message_size: u32,
    pub(super) wwr1: bool,
}

impl Config {
    /// The shortest first backoff: one millisecond.
    pub const MIN_BACKOFF: Duration = Duration::from_millis(1);

    /// The pings of the default: after 30 s of silence, 15 s for a sign of life.
    pub const PINGS: Pings =
        Pings { after: Duration::from_secs(30), timeout: Duration::from_secs(15) };

    /// When the server is pinged, if it is. For hosts that have the system look after their
    /// connections by the same measure.
    pub const fn pings(&self) -> Option<Pings> {
        self.pings
    }

    /// The longest message that the host reads, in bytes.
    pub const fn max_message_size(&self) -> u32 {
        self.max_message_size
    }

    /// Which sub-protocol the handshake offers (protocol §10.1), if any.
    pub const fn offers(&self) -> Option<SubProtocol> {
        match self.protocol {
            Protocol::Auto if self.wwr1 && self.max_message_size >= Dialect::MIN_STATED => {
                Some(SubProtocol::Wwr1)
            }
            Protocol::Auto | Protocol::V1_4 | Protocol::V1_5 | Protocol::V2_0 => None,
        }
    }

    /// Settings to start from: those of [`Config::default`].
    pub fn builder() -> ConfigBuilder {
        ConfigBuilder { config: Self::default() }
    }
}

impl Default for Config {
    /// The defaults that [`ConfigBuilder`] names.
    fn default() -> Self {
        Self {
            protocol: Protocol::Auto,
            sub_protocol: None,
            skip_preflight: false,
            pings: Some(Self::PINGS),
            reconnect: true,
            request_timeout: Duration::from_secs(60),
            probe_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(5),
            initial_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
            max_retry_after: Duration::from_secs(3600),
            backoff_reset_after: Duration::from_secs(10),
            max_pending_requests: 65_536,
            max_queued_bytes: 1024 * 1024,
            resume_attempts: 16,
            resume_timeout: Duration::from_secs(10),
            final_close_codes: Vec::new(),
            max_message_size: 16 * 1024 * 1024,
            wwr1: true,
        }
    }
}

/// Why settings make no [`Config`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// A time in which nothing can happen, or a number that allows nothing.
    #[error("{setting} must not be zero")]
    Zero {
        /// The setting, by the name of its method.
        setting: &'static str,
    },
    /// A sub-protocol without a name, which no server can advertise.
    #[error("a sub-protocol needs a name")]
    EmptySubProtocol,
    /// The preflight is part of finding out the version, and must not be skipped then.
    #[error("the preflight can be skipped only if the protocol is set to one version")]
    PreflightNeeded,
    /// A final close code that no close frame may have (RFC 6455 §7.4).
    #[error(
        "no close frame has code {code}: 1000 to 1003, 1007 to 1013 and 3000 to 4999 are possible, and \
             1005 for none"
    )]
    CloseCode {
        /// The code.
        code: u16,
    },
    /// The first backoff is below [`Config::MIN_BACKOFF`] or above the longest.
    #[error("the first backoff, {initial:?}, must be from 1 ms to the longest, {max:?}")]
    Backoff {
        /// The first backoff.
        initial: Duration,
        /// The longest backoff.
        max: Duration,
    },
}

/// Collects the settings of a [`Config`].
#[derive(Clone, Debug)]
#[must_use]
pub struct ConfigBuilder {
    config: Config,
}

impl ConfigBuilder {
    /// Which versions to speak. Default: [`Protocol::Auto`].
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.config.protocol = protocol;
        self
    }

    /// The name of the application's own protocol. A 2.0 server has to advertise the same, byte for
    /// byte; those of 1.x have no such name and are not asked. Not empty. Default: none, which 2.0
    /// servers with a sub-protocol do not suit.
    pub fn sub_protocol(mut self, name: impl Into<Bytes>) -> Self {
        self.config.sub_protocol = Some(name.into());
        self
    }

    /// Whether to do without the preflight and trust that the server speaks the version that is
    /// set: for an intermediary that refuses its HTTP method. Not for [`Protocol::Auto`]; 2.0 has
    /// no preflight anyway. A 1.5 server's read timeout counts as 60 s then. Default: no.
    pub const fn skip_preflight(mut self, skip: bool) -> Self {
        self.config.skip_preflight = skip;
        self
    }

    /// When a silent server is pinged, and how long a sign of life may take after that; `None` never
    /// pings and trusts in the system to notice that a server has vanished.
    ///
    /// A server that answers pings is given up after the sum of both times
    /// ([`Pings::total`]), whatever its handlers do. The reference (protocol §4.4, §5.3) answers none
    /// in 1.5 and 2.0, and in 1.4 none while it handles a message. A server that may be of that kind,
    /// as it has not answered a ping yet, or in 1.4 none while it had a request to work on, is given up
    /// after twice the sum, if two requests in a row ran out of time as well and no older one waits:
    /// it may just be slow. In `wwr.1` one that has not answered a ping yet has twice the sum. Signs of life are all bytes that arrive. Default: [`Config::PINGS`], 45 s
    /// in all.
    pub const fn pings(mut self, pings: Option<Pings>) -> Self {
        self.config.pings = pings;
        self
    }

    /// Whether to connect again, after a pause, when an attempt failed or the connection was lost.
    /// Default: yes.
    pub const fn reconnect(mut self, reconnect: bool) -> Self {
        self.config.reconnect = reconnect;
        self
    }

    /// How long a request may take that names no time of its own, from the call to the reply,
    /// waiting for the connection included. Not zero. Default: 60 s.
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.config.request_timeout = timeout;
        self
    }

    /// How long the preflight may take (protocol §4.1). Not zero. Default: 10 s.
    pub const fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.config.probe_timeout = timeout;
        self
    }

    /// How long opening the WebSocket may take, with the advertised settings of a server that has to speak
    /// 2.0. Not zero. Default: 5 s.
    pub const fn dial_timeout(mut self, timeout: Duration) -> Self {
        self.config.dial_timeout = timeout;
        self
    }

    /// The pause after the first failure and the longest pause; each failure in between doubles
    /// it. A pause is shortened by up to a half at random, so that clients do not return all at
    /// once. `initial` is at least [`Config::MIN_BACKOFF`] and at most `max`. Default: 500 ms, 30 s.
    pub const fn backoff(mut self, initial: Duration, max: Duration) -> Self {
        self.config.initial_backoff = initial;
        self.config.max_backoff = max;
        self
    }

    /// The longest pause that a server can ask for with `Retry-After` when it refuses the preflight
    /// or the WebSocket (RFC 9110 §10.2.3): if it asks for more, this is taken. Such a pause is the
    /// least, and lengthened by up to a quarter at random. Zero does not heed servers. Default: 1 h.
    pub const fn max_retry_after(mut self, max: Duration) -> Self {
        self.config.max_retry_after = max;
        self
    }

    /// How long a connection has to last until its loss counts as the first failure again. Those that
    /// end earlier make the pauses grow like failures, so that a server which accepts connections and
    /// ends them at once is not dialled over and over. [`close`](super::Client::close) begins anew as
    /// well. Zero forgets all failures with each connection. Default: 10 s.
    pub const fn backoff_reset_after(mut self, duration: Duration) -> Self {
        self.config.backoff_reset_after = duration;
        self
    }

    /// How many requests may be without an outcome at a time, queued or sent. Not zero. Default:
    /// 65 536.
    pub const fn max_pending_requests(mut self, requests: usize) -> Self {
        self.config.max_pending_requests = requests;
        self
    }

    /// How many bytes of requests are kept while there is no connection; zero keeps none. A request
    /// counts as many bytes as its message has. Default: 1 MiB.
    pub const fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.config.max_queued_bytes = bytes;
        self
    }

    /// How often a new connection asks for the session held, until it is given up for lost. Only
    /// passing failures are worth another attempt, after the pauses of the backoff: the default
    /// outlasts a session store that is down for some minutes. Not zero. Default: 16.
    pub const fn resume_attempts(mut self, attempts: u32) -> Self {
        self.config.resume_attempts = attempts;
        self
    }

    /// How long one such attempt waits for the answer. Not zero. Default: 10 s.
    pub const fn resume_timeout(mut self, timeout: Duration) -> Self {
        self.config.resume_timeout = timeout;
        self
    }

    /// The codes of close frames after which the client does not connect again by itself, such as
    /// 4003 of a server that uses it for those who are banned. Requests that wait end as
    /// [`NotSent`](super::RequestError::NotSent) then. [`CloseFrame::NO_CODE`] stands for a frame
    /// without a code. Default: none; every close frame may be followed by better times.
    pub fn final_close_codes(mut self, codes: impl IntoIterator<Item = u16>) -> Self {
        self.config.final_close_codes = codes.into_iter().collect();
        self
    }

    /// The longest message that the host reads, in bytes; it ends the connection if the server sends a
    /// longer one. Servers of `wwr.1` are told of it (protocol §10.2). Not zero. Default: 16 MiB.
    pub const fn max_message_size(mut self, bytes: u32) -> Self {
        self.config.max_message_size = bytes;
        self
    }

    /// Whether to offer `wwr.1` (protocol §10), which servers of this project select: then both sides
    /// know from the first byte what is spoken, and messages longer than a message buffer of 2.0 get
    /// through. Other servers take no notice. Only for [`Protocol::Auto`], and for a
    /// [`max_message_size`](Self::max_message_size) of [`Dialect::MIN_STATED`] or more. Default: yes.
    pub const fn wwr1(mut self, offer: bool) -> Self {
        self.config.wwr1 = offer;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] says which of them cannot be.
    pub fn build(self) -> Result<Config, InvalidConfig> {
        let config = self.config;
        let zero = [
            ("request_timeout", config.request_timeout.is_zero()),
            ("probe_timeout", config.probe_timeout.is_zero()),
            ("dial_timeout", config.dial_timeout.is_zero()),
            ("max_pending_requests", config.max_pending_requests == 0),
            ("resume_attempts", config.resume_attempts == 0),
            ("resume_timeout", config.resume_timeout.is_zero()),
            ("max_message_size", config.max_message_size == 0),
        ];
        if let Some((setting, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(InvalidConfig::Zero { setting });
        }
        let (initial, max) = (config.initial_backoff, config.max_backoff);
        if initial < Config::MIN_BACKOFF || initial > max {
            return Err(InvalidConfig::Backoff { initial, max });
        }
        if config.sub_protocol.as_ref().is_some_and(Bytes::is_empty) {
            return Err(InvalidConfig::EmptySubProtocol);
        }
        let possible = |code| code == CloseFrame::NO_CODE || CloseFrame::may_be_sent(code);
        if let Some(code) = config.final_close_codes.iter().find(|code| !possible(**code)) {
            return Err(InvalidConfig::CloseCode { code: *code });
        }
        if config.skip_preflight && config.protocol == Protocol::Auto {
            return Err(InvalidConfig::PreflightNeeded);
        }
        Ok(config)
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Config {
    /// Small bounds, so that a short run meets them.
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut millis = || Ok(Duration::from_millis(u.int_in_range(1..=10_000)?));
        let (request, probe, dial, resume) = (millis()?, millis()?, millis()?, millis()?);
        let (first, second, retry) = (millis()?, millis()?, millis()?);
        let protocol = u.arbitrary()?;
        let mut builder = Self::builder();
        if u.arbitrary()? {
            builder = builder.sub_protocol(&b"ab"[..u.int_in_range(1..=2)?]);
        }
        let builder = builder
            .protocol(protocol)
            .skip_preflight(protocol != Protocol::Auto && u.arbitrary()?)
            .pings(if u.arbitrary()? { Pings::new(first, second).ok() } else { None })
            .reconnect(u.arbitrary()?)
            .request_timeout(request)
            .probe_timeout(probe)
            .dial_timeout(dial)
            .backoff(first.min(second), first.max(second))
            .max_retry_after(retry)
            .backoff_reset_after(second)
            .max_pending_requests(u.int_in_range(1..=16)?)
            .max_queued_bytes(u.int_in_range(0..=1024)?)
            .resume_attempts(u.int_in_range(1..=4)?)
            .resume_timeout(resume)
            .final_close_codes(u.arbitrary::<bool>()?.then_some(4000))
            .max_message_size(u.int_in_range(8191..=20_000)?)
            .wwr1(u.arbitrary()?);
        Ok(builder.build().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::builder().build(), Ok(Config::default()));
    }

    #[test]
    fn wwr_1_is_offered_by_clients_of_all_versions() {
        for (protocol, size, wwr1, offers) in [
            (Protocol::Auto, 8192, true, true),
            (Protocol::Auto, 8191, true, false),
            (Protocol::Auto, 8192, false, false),
            (Protocol::V1_4, 8192, true, false),
            (Protocol::V1_5, 8192, true, false),
            (Protocol::V2_0, 8192, true, false),
        ] {
            let builder = Config::builder().protocol(protocol).max_message_size(size).wwr1(wwr1);
            let offered = builder.build().unwrap().offers();
            assert_eq!(offered, offers.then_some(SubProtocol::Wwr1), "{protocol} {size} {wwr1}");
        }
    }

    #[test]
    fn each_bound_is_checked() {
        type Change = fn(ConfigBuilder) -> ConfigBuilder;
        let zeros: [(&str, Change); 7] = [
            ("request_timeout", |builder| builder.request_timeout(Duration::ZERO)),
            ("probe_timeout", |builder| builder.probe_timeout(Duration::ZERO)),
            ("dial_timeout", |builder| builder.dial_timeout(Duration::ZERO)),
            ("max_pending_requests", |builder| builder.max_pending_requests(0)),
            ("resume_attempts", |builder| builder.resume_attempts(0)),
            ("resume_timeout", |builder| builder.resume_timeout(Duration::ZERO)),
            ("max_message_size", |builder| builder.max_message_size(0)),
        ];
        for (setting, change) in zeros {
            let refused = change(Config::builder()).build();
            assert_eq!(refused, Err(InvalidConfig::Zero { setting }));
        }
        let millisecond = Duration::from_millis(1);
        for (initial, max, valid) in [
            (millisecond, millisecond, true),
            (millisecond, Duration::MAX, true),
            (Duration::from_micros(999), millisecond, false),
            (Duration::from_millis(2), millisecond, false),
        ] {
            assert_eq!(Config::builder().backoff(initial, max).build().is_ok(), valid);
        }
        assert!(Config::builder().max_queued_bytes(0).build().is_ok());
        let unnamed = Config::builder().sub_protocol("").build();
        assert_eq!(unnamed, Err(InvalidConfig::EmptySubProtocol));
        for (code, valid) in [(4003, true), (1001, true), (1005, true), (1006, false), (7, false)] {
            let built = Config::builder().final_close_codes([1000, code]).build();
            let refused = Some(InvalidConfig::CloseCode { code });
            assert_eq!(built.err(), if valid { None } else { refused });
        }
        for protocol in [Protocol::Auto, Protocol::V1_4, Protocol::V1_5, Protocol::V2_0] {
            let skipping = Config::builder().protocol(protocol).skip_preflight(true).build();
            let refused = skipping.err() == Some(InvalidConfig::PreflightNeeded);
            assert_eq!(refused, protocol == Protocol::Auto);
        }
    }
}
