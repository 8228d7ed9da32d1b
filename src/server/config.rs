//! The settings of a server connection.

use core::num::{NonZeroU16, NonZeroU32};
use core::time::Duration;

use crate::session::KeyFormat;
use crate::wire::AcceptConf;

/// The settings of a [`Connection`](super::Connection). Every combination is valid.
///
/// ```
/// use core::num::NonZeroU16;
/// use wwr::server::Config;
///
/// let config = Config { concurrency: NonZeroU16::new(8).unwrap(), ..Config::default() };
/// assert_eq!(config.drain_timeout.as_secs(), 10);
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    /// Sessions, or that there are none. Default: enabled, for generated keys.
    pub sessions: Sessions,
    /// How many handlers of requests and signals may run at once on the connection. Default: 1,
    /// which means that messages are served strictly in order (protocol §5.3).
    pub concurrency: NonZeroU16,
    /// How many messages may wait behind the running handlers before the socket is no longer read.
    /// Default: 32.
    pub max_waiting_messages: NonZeroU16,
    /// How many bytes of messages may wait before the socket is no longer read; one message may
    /// always wait. Default: 65 536.
    pub max_waiting_bytes: u32,
    /// How many messages in a row that mean nothing (empty, unknown, malformed, only for servers)
    /// are ignored before the connection is closed. Default: 1 000.
    pub max_ignored_in_a_row: NonZeroU32,
    /// How long running handlers may go on after the connection was told to close. Default: 10 s.
    pub drain_timeout: Duration,
    /// What is announced to peers that may speak 2.0. Default: 60 s, 8192 bytes, no sub-protocol.
    pub announced: AcceptConf,
}

/// Whether a server has sessions.
#[derive(Clone, Copy, Debug)]
pub enum Sessions {
    /// Every session message is answered with sessions-disabled (protocol §5.12).
    Disabled,
    /// Sessions can be created, and restored with keys of this format.
    Enabled(KeyFormat),
}

const CONCURRENCY: NonZeroU16 = NonZeroU16::MIN;
const WAITING_MESSAGES: NonZeroU16 = NonZeroU16::MIN.saturating_add(31);
const IGNORED_IN_A_ROW: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

impl Default for Config {
    fn default() -> Self {
        Self {
            sessions: Sessions::Enabled(KeyFormat::Generated),
            concurrency: CONCURRENCY,
            max_waiting_messages: WAITING_MESSAGES,
            max_waiting_bytes: 64 * 1024,
            max_ignored_in_a_row: IGNORED_IN_A_ROW,
            drain_timeout: Duration::from_secs(10),
            announced: AcceptConf {
                major: 2,
                minor: 0,
                read_timeout_ms: 60_000,
                message_buffer_size: 8192,
                sub_protocol: None,
            },
        }
    }
}
