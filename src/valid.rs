//! Settings that were checked.

use core::ops::Deref;
use core::time::Duration;

use crate::close::CloseFrame;
use crate::wire::InvalidName;

/// Settings that were checked, as the machines want them.
///
/// Each configuration is a struct with public fields and a `Default`. Its `validate` checks all of it
/// once, before there is a machine, and returns it in this. It is read through `Deref`. To change
/// something, take it out with [`into_inner`](Self::into_inner) and validate it again.
///
/// ```
/// use core::time::Duration;
/// use wwr::server::{Config, Hub};
/// use wwr::{InvalidConfig, Valid};
///
/// let mut config = Config::default();
/// config.advertised.read_timeout = Duration::from_secs(30);
/// let config: Valid<Config> = config.validate()?;
/// assert_eq!(config.advertised.message_buffer, 8192);
///
/// let mut config = config.into_inner();
/// config.advertised.read_timeout = Duration::ZERO;
/// let error = config.validate().unwrap_err();
/// assert_eq!(error.to_string(), "advertised.read_timeout is 0ns; it has to be 100ms or more");
///
/// let hub = Hub::new(&Valid::default());
/// # Ok::<(), InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Valid<C>(C);

impl<C> Valid<C> {
    /// For what was checked, or is known to be right.
    pub(crate) const fn new(config: C) -> Self {
        Self(config)
    }

    /// The settings, to be changed.
    pub fn into_inner(self) -> C {
        self.0
    }
}

impl<C> Deref for Valid<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

/// Why settings cannot be used. Names of settings are those of fields, with those of the structs they
/// are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// A time in which nothing can happen, or a number that allows nothing.
    #[error("{setting} is zero; it has to be more")]
    Zero {
        /// The setting.
        setting: &'static str,
    },
    /// A time that is too short.
    #[error("{setting} is {value:?}; it has to be {min:?} or more")]
    TooShort {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: Duration,
        /// The shortest time allowed.
        min: Duration,
    },
    /// A time that is too long.
    #[error("{setting} is {value:?}; it has to be {max:?} or less")]
    TooLong {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: Duration,
        /// The longest time allowed.
        max: Duration,
    },
    /// A number that is too small.
    #[error("{setting} is {value}; it has to be {min} or more")]
    TooSmall {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: u64,
        /// The smallest number allowed.
        min: u64,
    },
    /// A sub-protocol without a name, which stands for none.
    #[error("{setting} is empty; give it a name, or leave it out")]
    EmptySubProtocol {
        /// The setting.
        setting: &'static str,
    },
    /// The accept-conf would not fit into the message buffer that it advertises.
    #[error(
        "advertised.sub_protocol has {length} bytes; with a message buffer of {message_buffer} bytes \
         it has to have {max} or less, or raise advertised.message_buffer"
    )]
    SubProtocolTooLong {
        /// The length of the sub-protocol in bytes.
        length: usize,
        /// The size of the message buffer in bytes.
        message_buffer: u32,
        /// The longest sub-protocol for this buffer, in bytes.
        max: usize,
    },
    /// Clients may send longer messages than the server reads.
    #[error(
        "max_message_size is {max_message_size}, but the advertised message buffer lets clients send \
         {message_buffer} bytes; raise it, or lower advertised.message_buffer"
    )]
    MessageSize {
        /// The longest message that the server reads, in bytes.
        max_message_size: u32,
        /// The size of the advertised message buffer in bytes.
        message_buffer: u32,
    },
    /// The preflight is part of finding out the version, and must not be skipped then.
    #[error("skip_preflight is set; it can be if protocol is one version only")]
    PreflightNeeded,
    /// A list of names that is too long for the clients that ask for it (protocol §4.7).
    #[error(
        "{setting} has {length} bytes of JSON, and clients read {max}: list fewer names, or none"
    )]
    ListTooLong {
        /// The setting.
        setting: &'static str,
        /// The length of the list in bytes.
        length: usize,
        /// The longest list that clients read, in bytes.
        max: usize,
    },
    /// A name that nothing can have, in a list of names.
    #[error("{setting} has a name that is not allowed: {reason}")]
    Name {
        /// The setting.
        setting: &'static str,
        /// What is wrong with the name (protocol §1.5).
        reason: InvalidName,
    },
    /// A final close code that no close frame may have (RFC 6455 §7.4).
    #[error(
        "final_close_codes has {code}; 1000 to 1003, 1007 to 1013 and 3000 to 4999 are possible, and \
         {none} for a close frame without a code", none = CloseFrame::NO_CODE
    )]
    CloseCode {
        /// The code.
        code: u16,
    },
    /// A name of a node that is empty or too long.
    #[error("name has {length} bytes; it has to have 1 to 255")]
    NodeName {
        /// The length of the name in bytes.
        length: usize,
    },
    /// The first backoff is longer than the longest.
    #[error("initial_backoff is {initial:?}; it has to be max_backoff, {max:?}, or less")]
    Backoff {
        /// The first backoff.
        initial: Duration,
        /// The longest backoff.
        max: Duration,
    },
}

/// Checks that a time is not zero.
pub(crate) const fn positive(setting: &'static str, value: Duration) -> Result<(), InvalidConfig> {
    if value.is_zero() { Err(InvalidConfig::Zero { setting }) } else { Ok(()) }
}

/// Checks that a number is not zero.
pub(crate) const fn not_zero(setting: &'static str, value: usize) -> Result<(), InvalidConfig> {
    if value == 0 { Err(InvalidConfig::Zero { setting }) } else { Ok(()) }
}

/// Checks that a time has a least length.
pub(crate) fn at_least(
    setting: &'static str,
    value: Duration,
    min: Duration,
) -> Result<(), InvalidConfig> {
    if value < min { Err(InvalidConfig::TooShort { setting, value, min }) } else { Ok(()) }
}
