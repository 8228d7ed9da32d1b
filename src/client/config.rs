//! The settings of a client.

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::protocol::Protocol;
use crate::close::CloseFrame;
use crate::dialect::Dialect;
use crate::handshake::SubProtocol;
use crate::pings::Pings;
use crate::valid::{InvalidConfig, Valid, at_least, not_zero, positive};

/// The settings of a [`Client`](super::Client), which takes them [validated](Self::validate).
///
/// ```
/// use core::time::Duration;
/// use wwr::client::Config;
///
/// let mut config = Config::default();
/// config.request_timeout = Duration::from_secs(300);
/// assert!(config.clone().validate().is_ok());
/// config.dial_timeout = Duration::ZERO;
/// assert!(config.validate().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Which versions to speak. Default: [`Protocol::Auto`].
    pub protocol: Protocol,
    /// The name of the application's own protocol. A 2.0 server has to advertise the same, byte for
    /// byte; those of 1.x have no such name and are not asked. Not empty. Default: none, which 2.0
    /// servers with a sub-protocol do not suit.
    pub sub_protocol: Option<Bytes>,
    /// Whether to do without the preflight and trust that the server speaks the version that is
    /// set: for an intermediary that refuses its HTTP method. Not for [`Protocol::Auto`]; 2.0 has
    /// no preflight anyway. A 1.5 server's read timeout counts as 60 s then. Default: no.
    pub skip_preflight: bool,
    /// When a silent server is pinged, and how long a sign of life may take after that; `None` never
    /// pings and trusts in the system to notice that a server has vanished.
    ///
    /// A server that answers pings is given up after the sum of both times
    /// ([`Pings::total`]), whatever its handlers do. The reference (protocol §4.4, §5.3) answers none
    /// in 1.5 and 2.0, and in 1.4 none while it handles a message. A server that may be of that kind,
    /// as it has not answered a ping yet, or in 1.4 none while it had a request to work on, is given up
    /// after twice the sum, if two requests in a row ran out of time as well and no older one waits:
    /// it may just be slow. In `wwr.1` one that has not answered a ping yet has twice the sum. Signs of
    /// life are all bytes that arrive. Default: [`Config::PINGS`], 45 s in all.
    pub pings: Option<Pings>,
    /// Whether to connect again, after a pause, when an attempt failed or the connection was lost.
    /// Default: yes.
    pub reconnect: bool,
    /// How long a request may take if its call gives no timeout. It counts from the call to the reply, with
    /// the wait for a connection. Not zero. Default: 60 s.
    pub request_timeout: Duration,
    /// How long the preflight may take (protocol §4.1). Not zero. Default: 10 s.
    pub probe_timeout: Duration,
    /// How long opening the WebSocket may take, with the advertised settings of a server that has to
    /// speak 2.0. Not zero. Default: 5 s.
    pub dial_timeout: Duration,
    /// The pause after the first failure; each further one doubles it, up to
    /// [`max_backoff`](Self::max_backoff). A pause is shortened by up to a half at random, so that
    /// clients do not return all at once. At least [`Config::MIN_BACKOFF`]. Default: 500 ms.
    pub initial_backoff: Duration,
    /// The longest pause. No less than [`initial_backoff`](Self::initial_backoff). Default: 30 s.
    pub max_backoff: Duration,
    /// The longest pause that a server can ask for with `Retry-After` when it refuses the preflight
    /// or the WebSocket (RFC 9110 §10.2.3): if it asks for more, this is taken. Such a pause is the
    /// least, and lengthened by up to a quarter at random. Zero ignores what servers ask for. Default: 1 h.
    pub max_retry_after: Duration,
    /// How long a connection has to last until its loss counts as the first failure again. Those that
    /// end earlier make the pauses grow like failures, so that a server which accepts connections and
    /// ends them at once is not dialled over and over. [`close`](super::Client::close) begins anew as
    /// well. Zero forgets all failures with each connection. Default: 10 s.
    pub backoff_reset_after: Duration,
    /// How many requests may be without an outcome at a time, queued or sent. Not zero. Default:
    /// 65 536.
    pub max_pending_requests: usize,
    /// How many bytes of requests are kept while there is no connection; zero keeps none. A request
    /// counts as many bytes as its message has. Default: 1 MiB.
    pub max_queued_bytes: usize,
    /// How often a new connection tries to restore the session before it counts as lost. Only
    /// passing failures are worth another attempt, after the pauses of the backoff: the default
    /// outlasts a session store that is down for some minutes. Not zero. Default: 16.
    pub resume_attempts: u32,
    /// How long one such attempt waits for the answer. Not zero. Default: 10 s.
    pub resume_timeout: Duration,
    /// The codes of close frames after which the client does not connect again by itself, such as
    /// 4003 of a server that uses it for banned users. Requests that wait end as
    /// [`NotSent`](super::RequestError::NotSent) then. [`CloseFrame::NO_CODE`] stands for a frame
    /// without a code. Default: none.
    pub final_close_codes: Vec<u16>,
    /// The longest message that the host reads, in bytes; it ends the connection if the server sends a
    /// longer one. Servers of `wwr.1` are told of it (protocol §10.2). At least
    /// [`Config::MIN_MESSAGE_SIZE`]. Default: 16 MiB.
    pub max_message_size: u32,
    /// How many questions of the server may wait for an answer of the application, which servers of
    /// `wwr.1` are told of (protocol §10.4). 0 if the application answers none: then servers of this project
    /// ask nothing, and others learn that there is no handler. Default: 64.
    pub max_open_questions: u16,
    /// Whether to offer `wwr.1` (protocol §10), which servers of this project select: then both sides
    /// know from the first byte what is spoken, and messages longer than a message buffer of 2.0 get
    /// through. Other servers take no notice. Only for [`Protocol::Auto`], and for a
    /// [`max_message_size`](Self::max_message_size) of [`Dialect::MIN_STATED`] or more. Default: yes.
    pub wwr1: bool,
    /// Whether the host's WebSockets fail if it has offered a sub-protocol and the server selects none, as
    /// those of browsers do (protocol §10.1). Then the client offers `wwr.1` in a handshake that only
    /// servers of `wwr.1` answer. If that fails or takes too long, the same attempt goes on with a preflight, whose
    /// answer decides whether `wwr.1` is offered once more. That a server does not speak it is kept in mind for an
    /// hour, or until an attempt fails. Default: no.
    pub needs_selection: bool,
    /// Whether the host can send pings and sees pongs; hosts in browsers cannot. If not, there is no
    /// [`Action::Ping`](super::Action::Ping), and a server that falls silent is given up like one that answers no
    /// pings ([`pings`](Self::pings)): after twice the sum, if two requests in a row ran out of time as well.
    /// Default: yes.
    pub can_ping: bool,
    /// Whether to ask servers of `wwr.1` for the signals to the session that the client misses while it has no
    /// connection (protocol §10.5): they come when the session is resumed, in order and none twice, and then
    /// [`Event::SignalsResumed`](super::Event::SignalsResumed). What is missing nevertheless is told by
    /// [`Event::SignalGap`](super::Event::SignalGap). Default: no.
    pub resume_signals: bool,
}

impl Config {
    /// The shortest first backoff: one millisecond.
    pub const MIN_BACKOFF: Duration = Duration::from_millis(1);

    /// The smallest [`max_message_size`](Self::max_message_size), in bytes: 32. Less would not hold what a
    /// server sends first.
    pub const MIN_MESSAGE_SIZE: u32 = 32;

    /// The pings of the default: after 30 s of silence, 15 s for a sign of life.
    pub const PINGS: Pings = Pings::new(Duration::from_secs(30), Duration::from_secs(15));

    /// Which sub-protocol the handshake offers (protocol §10.1), if any.
    pub const fn offers(&self) -> Option<SubProtocol> {
        match self.protocol {
            Protocol::Auto if self.wwr1 && self.max_message_size >= Dialect::MIN_STATED => {
                Some(SubProtocol::Wwr1)
            }
            Protocol::Auto | Protocol::V1_4 | Protocol::V1_5 | Protocol::V2_0 => None,
        }
    }

    /// Checks the settings, as a [`Client`](super::Client) wants them.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names the setting that is wrong, and what it may be.
    pub fn validate(self) -> Result<Valid<Self>, InvalidConfig> {
        positive("request_timeout", self.request_timeout)?;
        positive("probe_timeout", self.probe_timeout)?;
        positive("dial_timeout", self.dial_timeout)?;
        positive("resume_timeout", self.resume_timeout)?;
        not_zero("max_pending_requests", self.max_pending_requests)?;
        not_zero("resume_attempts", self.resume_attempts as usize)?;
        if self.max_message_size < Self::MIN_MESSAGE_SIZE {
            return Err(InvalidConfig::TooSmall {
                setting: "max_message_size",
                value: self.max_message_size.into(),
                min: Self::MIN_MESSAGE_SIZE.into(),
            });
        }
        self.pings.map_or(Ok(()), Pings::check)?;
        let (initial, max) = (self.initial_backoff, self.max_backoff);
        at_least("initial_backoff", initial, Self::MIN_BACKOFF)?;
        if initial > max {
            return Err(InvalidConfig::Backoff { initial, max });
        }
        if self.sub_protocol.as_ref().is_some_and(Bytes::is_empty) {
            return Err(InvalidConfig::EmptySubProtocol { setting: "sub_protocol" });
        }
        let possible = |code| code == CloseFrame::NO_CODE || CloseFrame::may_be_sent(code);
        if let Some(&code) = self.final_close_codes.iter().find(|code| !possible(**code)) {
            return Err(InvalidConfig::CloseCode { code });
        }
        if self.skip_preflight && self.protocol == Protocol::Auto {
            return Err(InvalidConfig::PreflightNeeded);
        }
        Ok(Valid::new(self))
    }
}

impl Default for Valid<Config> {
    /// The settings of [`Config::default`].
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl Default for Config {
    /// The defaults that the fields name.
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
            max_open_questions: 64,
            wwr1: true,
            needs_selection: false,
            can_ping: true,
            resume_signals: false,
        }
    }
}

#[cfg(feature = "arbitrary")]
impl<'a> arbitrary::Arbitrary<'a> for Valid<Config> {
    /// Small bounds, so that a short run meets them.
    fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
        let mut millis = || Ok(Duration::from_millis(u.int_in_range(1..=10_000)?));
        let (request_timeout, probe_timeout) = (millis()?, millis()?);
        let (dial_timeout, resume_timeout) = (millis()?, millis()?);
        let (first, second, max_retry_after) = (millis()?, millis()?, millis()?);
        let protocol = u.arbitrary()?;
        let mut sub_protocol = None;
        if u.arbitrary()? {
            sub_protocol = Some(Bytes::from_static(&b"ab"[..u.int_in_range(1..=2)?]));
        }
        let config = Config {
            protocol,
            sub_protocol,
            skip_preflight: protocol != Protocol::Auto && u.arbitrary()?,
            pings: if u.arbitrary()? {
                Some(Pings::new(first.max(Pings::SHORTEST), second.max(Pings::SHORTEST)))
            } else {
                None
            },
            reconnect: u.arbitrary()?,
            request_timeout,
            probe_timeout,
            dial_timeout,
            initial_backoff: first.min(second),
            max_backoff: first.max(second),
            max_retry_after,
            backoff_reset_after: second,
            max_pending_requests: u.int_in_range(1..=16)?,
            max_queued_bytes: u.int_in_range(0..=1024)?,
            resume_attempts: u.int_in_range(1..=4)?,
            resume_timeout,
            final_close_codes: if u.arbitrary()? { alloc::vec![4000] } else { Vec::new() },
            max_message_size: u.int_in_range(8191..=20_000)?,
            max_open_questions: u.int_in_range(0..=4)?,
            wwr1: u.arbitrary()?,
            needs_selection: u.arbitrary()?,
            can_ping: u.arbitrary()?,
            resume_signals: u.arbitrary()?,
        };
        Ok(config.validate().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Config::default().validate(), Ok(Valid::default()));
    }

    #[test]
    fn wwr_1_is_offered_by_clients_of_all_versions() {
        for (protocol, max_message_size, wwr1, offers) in [
            (Protocol::Auto, 8192, true, true),
            (Protocol::Auto, 8191, true, false),
            (Protocol::Auto, 8192, false, false),
            (Protocol::V1_4, 8192, true, false),
            (Protocol::V1_5, 8192, true, false),
            (Protocol::V2_0, 8192, true, false),
        ] {
            let config = Config { protocol, max_message_size, wwr1, ..Config::default() };
            let offered = config.validate().unwrap().offers();
            let expected = offers.then_some(SubProtocol::Wwr1);
            assert_eq!(offered, expected, "{protocol} {max_message_size} {wwr1}");
        }
    }

    #[test]
    fn each_bound_is_checked() {
        type Change = fn(&mut Config);
        let zeros: [(&str, Change); 6] = [
            ("request_timeout", |config| config.request_timeout = Duration::ZERO),
            ("probe_timeout", |config| config.probe_timeout = Duration::ZERO),
            ("dial_timeout", |config| config.dial_timeout = Duration::ZERO),
            ("max_pending_requests", |config| config.max_pending_requests = 0),
            ("resume_attempts", |config| config.resume_attempts = 0),
            ("resume_timeout", |config| config.resume_timeout = Duration::ZERO),
        ];
        for (setting, change) in zeros {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate(), Err(InvalidConfig::Zero { setting }));
        }
        for (max_message_size, valid) in [(0, false), (31, false), (32, true), (u32::MAX, true)] {
            let config = Config { max_message_size, ..Config::default() };
            assert_eq!(config.validate().is_ok(), valid, "{max_message_size}");
        }
        let millisecond = Duration::from_millis(1);
        for (initial_backoff, max_backoff, valid) in [
            (millisecond, millisecond, true),
            (millisecond, Duration::MAX, true),
            (Duration::from_micros(999), millisecond, false),
            (Duration::from_millis(2), millisecond, false),
        ] {
            let config = Config { initial_backoff, max_backoff, ..Config::default() };
            assert_eq!(config.validate().is_ok(), valid);
        }
        assert!(Config { max_queued_bytes: 0, ..Config::default() }.validate().is_ok());
        let unnamed = Config { sub_protocol: Some(Bytes::new()), ..Config::default() }.validate();
        let error = InvalidConfig::EmptySubProtocol { setting: "sub_protocol" };
        assert_eq!(unnamed, Err(error));
        let pings = Some(Pings::new(Duration::ZERO, Duration::MAX));
        assert!(Config { pings, ..Config::default() }.validate().is_err());
        for (code, valid) in [(4003, true), (1001, true), (1005, true), (1006, false), (7, false)] {
            let final_close_codes = alloc::vec![1000, code];
            let checked = Config { final_close_codes, ..Config::default() }.validate();
            let refused = Some(InvalidConfig::CloseCode { code });
            assert_eq!(checked.err(), if valid { None } else { refused });
        }
        for protocol in [Protocol::Auto, Protocol::V1_4, Protocol::V1_5, Protocol::V2_0] {
            let skipping = Config { protocol, skip_preflight: true, ..Config::default() };
            let refused = skipping.validate().err() == Some(InvalidConfig::PreflightNeeded);
            assert_eq!(refused, protocol == Protocol::Auto);
        }
    }
}
