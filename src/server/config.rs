//! The settings of a server connection.

use core::num::{NonZeroU16, NonZeroU32};
use core::time::Duration;

use super::advertised::Advertised;
use super::protocol::{Observed, Protocol};
use crate::dialect::Dialect;
use crate::pings::Pings;
use crate::preflight::{Metadata, Promise};
use crate::session::KeyFormat;
use crate::valid::{InvalidConfig, Valid, not_zero, positive};
use crate::wire::AcceptConf;

/// The settings of a [`Connection`](super::Connection), which takes them [validated](Self::validate).
///
/// ```
/// use core::num::NonZeroU16;
/// use wwr::server::Config;
///
/// let mut config = Config::default();
/// config.concurrency = NonZeroU16::MIN.saturating_add(7);
/// let config = config.validate()?;
/// assert_eq!(config.drain_timeout.as_secs(), 10);
/// # Ok::<(), wwr::InvalidConfig>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Which versions are spoken. Default: all.
    pub protocol: Protocol,
    /// Whether there are sessions, and the format of their keys. Default: enabled, for generated keys.
    pub sessions: Sessions,
    /// How many handlers of requests and signals may run at once on the connection. Default: 1,
    /// which means that messages are served strictly in order (protocol §5.3).
    pub concurrency: NonZeroU16,
    /// How many messages may wait behind the running handlers before the socket is no longer read.
    /// Default: 32.
    pub max_queued_messages: NonZeroU16,
    /// How many bytes of messages may wait before the socket is no longer read; one message may
    /// always wait. Default: 65 536.
    pub max_queued_bytes: u32,
    /// How many messages in a row that mean nothing (empty, unknown, malformed, only for servers)
    /// are ignored before the connection is closed. Default: 1 000.
    pub max_ignored_in_a_row: NonZeroU32,
    /// How long running handlers may go on after the connection was told to close. Default: 10 s.
    pub drain_timeout: Duration,
    /// What is advertised to peers that may speak 1.5 or 2.0. Default: 60 s, 8192 bytes, no
    /// sub-protocol.
    pub advertised: Advertised,
    /// The pings that find out whether a peer is still there, if it sends no heartbeats or its handler
    /// takes long. `None` leaves that to the host. Default: pings after 30 s of silence, 30 s for the answer.
    pub pings: Option<Pings>,
    /// Whether to disconnect a peer known to speak 2.0 wherever the reference does (protocol §5.2): for
    /// text, for messages that cannot be read, and for messages longer than the advertised buffer.
    /// Default: no. Such messages are read if possible, and ignored otherwise.
    pub strict: bool,
    /// The longest message that the host reads from a client, in bytes. Clients of `wwr.1` are told of
    /// it and held to it (protocol §10.2). Not zero, and no less than the
    /// [message buffer](Advertised::message_buffer) if that is advertised. Default: 1 MiB.
    pub max_message_size: u32,
    /// How many questions to the client may be open at once on the connection. The client may allow
    /// fewer (protocol §10.4). Default: 64.
    pub max_open_questions: NonZeroU16,
    /// How long the answer to a question may take, unless the question has a time of its own. Not
    /// zero. Default: 60 s.
    pub question_timeout: Duration,
    /// Whether `wwr.1` is spoken with clients that offer it (protocol §10). Default: yes. It needs a
    /// [`protocol`](Self::protocol) that begins with an accept-conf of [`Dialect::MIN_STATED`] bytes at
    /// most, and a [`max_message_size`](Self::max_message_size) of as many or more.
    pub wwr1: bool,
    /// Whether the [hub](super::Hub::with_recovery) keeps histories of the signals to sessions, of which
    /// clients of `wwr.1` are told (protocol §10.5). Default: no.
    pub keeps_histories: bool,
    /// Whether the [hub](super::Hub::with_recovery) keeps outcomes of idempotent requests, of which
    /// clients of `wwr.1` are told (protocol §10.6). Default: no.
    pub keeps_outcomes: bool,
}

/// Whether a server has sessions.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Sessions {
    /// Every session message is answered with sessions-disabled (protocol §5.12).
    Disabled,
    /// Sessions can be created, and restored with keys of this format.
    Enabled(KeyFormat),
}

const CONCURRENCY: NonZeroU16 = NonZeroU16::MIN;
const WAITING_MESSAGES: NonZeroU16 = NonZeroU16::MIN.saturating_add(31);
const OPEN_QUESTIONS: NonZeroU16 = NonZeroU16::MIN.saturating_add(63);
const IGNORED_IN_A_ROW: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

impl Default for Config {
    fn default() -> Self {
        Self {
            protocol: Protocol::Any,
            sessions: Sessions::Enabled(KeyFormat::Generated),
            concurrency: CONCURRENCY,
            max_queued_messages: WAITING_MESSAGES,
            max_queued_bytes: 64 * 1024,
            max_ignored_in_a_row: IGNORED_IN_A_ROW,
            drain_timeout: Duration::from_secs(10),
            advertised: Advertised::default(),
            pings: Some(Pings::default()),
            strict: false,
            max_message_size: 1024 * 1024,
            max_open_questions: OPEN_QUESTIONS,
            question_timeout: Duration::from_secs(60),
            wwr1: true,
            keeps_histories: false,
            keeps_outcomes: false,
        }
    }
}

impl Default for Valid<Config> {
    /// The settings of [`Config::default`].
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl Valid<Config> {
    /// Returns the same settings with another [`concurrency`](Config::concurrency). Every value of it is
    /// valid. Hosts use this to choose it for each connection.
    #[must_use]
    pub fn with_concurrency(self, concurrency: NonZeroU16) -> Self {
        Self::new(Config { concurrency, ..self.into_inner() })
    }
}

impl Config {
    /// Checks the settings, as a [`Connection`](super::Connection) wants them.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names the setting that is wrong, and what it may be.
    pub fn validate(self) -> Result<Valid<Self>, InvalidConfig> {
        self.advertised.check()?;
        self.pings.map_or(Ok(()), Pings::check)?;
        let max_message_size = self.max_message_size;
        not_zero("max_message_size", max_message_size as usize)?;
        positive("question_timeout", self.question_timeout)?;
        let message_buffer = self.advertised.message_buffer;
        if self.sends_accept_conf() && max_message_size < message_buffer {
            return Err(InvalidConfig::MessageSize { max_message_size, message_buffer });
        }
        Ok(Valid::new(self))
    }

    /// Returns the answer to the request for metadata (protocol §4.1). `None` if the host refuses it,
    /// like any request that does not open a WebSocket (protocol §4.5).
    ///
    /// ```
    /// use wwr::server::{Config, Protocol};
    ///
    /// let mut config = Config::default();
    /// config.protocol = Protocol::V1_5;
    /// let body = config.metadata().map(|metadata| metadata.to_body());
    /// assert_eq!(&body.unwrap()[..], b"{\"protocol-version\":\"1.5\",\"read-timeout\":60}\n");
    /// ```
    pub const fn metadata(&self) -> Option<Metadata> {
        self.protocol.metadata(self.advertised.read_timeout_1_5())
    }

    /// What an accept-conf of `wwr.1` says about histories and outcomes (protocol §10.2).
    pub(super) const fn keeps(&self) -> u8 {
        let histories = if self.keeps_histories { AcceptConf::KEEPS_HISTORIES } else { 0 };
        let outcomes = if self.keeps_outcomes { AcceptConf::KEEPS_OUTCOMES } else { 0 };
        histories | outcomes
    }

    /// Whether each connection begins with accept-conf.
    pub const fn sends_accept_conf(&self) -> bool {
        self.protocol.sends_accept_conf()
    }

    /// Returns what a host promises with the answer to the preflight, by the header
    /// [`preflight::ACCEPT_CONF`](crate::preflight::ACCEPT_CONF). `None` if connections do not begin with
    /// accept-conf.
    pub fn promise(&self) -> Option<Promise> {
        self.sends_accept_conf().then(|| Promise { wwr1: self.selects_wwr1() })
    }

    /// Whether the handshake agrees on `wwr.1` if a client offers it (protocol §10.1).
    pub const fn selects_wwr1(&self) -> bool {
        self.wwr1
            && self.sends_accept_conf()
            && self.max_message_size >= Dialect::MIN_STATED
            && self.advertised.suits_wwr1()
    }

    /// What a new peer speaks, as far as that is known.
    pub(super) const fn classify(&self, observed: Observed) -> Dialect {
        match observed {
            // A host that has agreed on it all the same.
            Observed::SubProtocol if !self.selects_wwr1() => {
                self.protocol.classify(Observed::Nothing)
            }
            observed => self.protocol.classify(observed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the preflight says, given what the server speaks and its read timeout.
    fn preflight(protocol: Protocol, read_timeout: Duration) -> Option<Metadata> {
        let advertised = Advertised { read_timeout, ..Advertised::default() };
        Config { protocol, advertised, ..Config::default() }.metadata()
    }

    #[test]
    fn the_preflight_names_one_version_of_1_x_if_any() {
        let read_timeout = Duration::from_secs(7);
        for (protocol, named) in [
            (Protocol::Any, Some(Metadata::V1_4)),
            (Protocol::AnyAs1_5, Some(Metadata::V1_5 { read_timeout })),
            (Protocol::V1_4, Some(Metadata::V1_4)),
            (Protocol::V1_5, Some(Metadata::V1_5 { read_timeout })),
            (Protocol::V2_0, None),
        ] {
            assert_eq!(preflight(protocol, read_timeout), named, "{protocol:?}");
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        assert!(Config::default().validate().is_ok());
    }

    #[test]
    fn a_server_reads_what_it_lets_clients_send() {
        let refused = |protocol, max_message_size| {
            Config { protocol, max_message_size, ..Config::default() }.validate().err()
        };
        let error = InvalidConfig::MessageSize { max_message_size: 8191, message_buffer: 8192 };
        for (protocol, advertises) in [
            (Protocol::Any, true),
            (Protocol::AnyAs1_5, true),
            (Protocol::V1_4, false),
            (Protocol::V1_5, false),
            (Protocol::V2_0, true),
        ] {
            assert_eq!(refused(protocol, 8192), None);
            assert_eq!(refused(protocol, 8191), advertises.then_some(error), "{protocol:?}");
            let zero = InvalidConfig::Zero { setting: "max_message_size" };
            assert_eq!(refused(protocol, 0), Some(zero));
        }
    }

    #[test]
    fn what_is_nested_is_checked_too() {
        let pings = Some(Pings::new(Duration::ZERO, Duration::MAX));
        let refused = Config { pings, ..Config::default() }.validate().unwrap_err();
        assert_eq!(std::format!("{refused}"), "pings.after is 0ns; it has to be 10ms or more");
        let advertised = Advertised { message_buffer: 31, ..Advertised::default() };
        let refused = Config { advertised, ..Config::default() }.validate().unwrap_err();
        assert_eq!(
            std::format!("{refused}"),
            "advertised.message_buffer is 31; it has to be 32 or more"
        );
    }

    #[test]
    fn wwr_1_is_agreed_on_where_nothing_speaks_against_it() {
        for (protocol, max_message_size, wwr1, selects) in [
            (Protocol::Any, 8192, true, true),
            (Protocol::AnyAs1_5, u32::MAX, true, true),
            (Protocol::V2_0, 8192, true, true),
            (Protocol::Any, 8191, true, false),
            (Protocol::Any, 8192, false, false),
            (Protocol::V1_4, 8192, true, false),
            (Protocol::V1_5, 8192, true, false),
        ] {
            let config = Config { protocol, max_message_size, wwr1, ..Config::default() };
            assert_eq!(config.selects_wwr1(), selects, "{config:?}");
            let promised = config.promise().is_some_and(|promise| promise.wwr1);
            assert_eq!(promised, selects, "{config:?}");
            assert_eq!(config.promise().is_some(), config.sends_accept_conf(), "{config:?}");
            let agreed = config.classify(Observed::SubProtocol) == Dialect::Wwr1;
            assert_eq!(agreed, selects, "{config:?}");
        }
        assert!(Config::default().selects_wwr1());
    }

    #[test]
    fn the_read_timeout_for_1_5_is_at_least_a_second() {
        let second = Duration::from_secs(1);
        let longer = second + Duration::from_millis(1);
        for (advertised, told) in [
            (Advertised::MIN_READ_TIMEOUT, second),
            (second - Duration::from_nanos(1), second),
            (second, second),
            (longer, longer),
        ] {
            let named = Metadata::V1_5 { read_timeout: told };
            assert_eq!(preflight(Protocol::V1_5, advertised), Some(named));
        }
    }
}
