//! The settings of a node.

use alloc::string::String;
use core::time::Duration;

use crate::time::UnixTime;
use crate::valid::{InvalidConfig, Valid, at_least, positive};

/// The settings of a node of several, which a [`Hub`](crate::server::Hub) takes [validated](Self::validate).
///
/// ```
/// use wwr::cluster::ClusterConfig;
///
/// let config = ClusterConfig::new("node-1").validate()?;
/// assert_eq!(config.lease.as_secs(), 10);
/// assert!(ClusterConfig::new("").validate().is_err());
/// # Ok::<(), wwr::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// The name of the node, for people. 1 to 255 bytes. Two nodes may have the same.
    pub name: String,
    /// For how long a node that says nothing counts as alive. It renews this three times as often, and ends
    /// its work on sessions after four fifths of it without an answer. The same on all nodes. From 1 s to
    /// 15 s. Default: 10 s.
    pub lease: Duration,
    /// How long the engine may take to answer before that counts as a failure. Not zero, and at most a
    /// quarter of the lease. Default: 2 s.
    pub request_timeout: Duration,
    /// For how long a message to other nodes waits while the engine is away. `None`: not at all, it fails at
    /// once. Default: `None`.
    pub message_age: Option<Duration>,
    /// How many bytes of messages may wait, those included that the engine has not answered yet. Each counts 256
    /// bytes more than it has, for what is kept of it. At least 1 KiB. Default: 1 MiB.
    pub message_bytes: usize,
    /// Whether connections keep their sessions while the engine is away. Then limits and closings are best
    /// effort in that time. Default: `false`.
    pub availability_first: bool,
    /// What the clock of people shows at [`Instant::EPOCH`](crate::Instant::EPOCH) of this node: for the time
    /// of the last look-up of a session. Default: 1970.
    pub epoch: UnixTime,
}

impl ClusterConfig {
    /// The longest lease. Sessions are confirmed in each lease, and the engine forgets places that were not
    /// [for long](super::REMEMBERED).
    const MAX_LEASE: Duration = Duration::from_secs(15);

    const MIN_MESSAGE_BYTES: u64 = 1024;

    /// The longest name of a node, in bytes.
    pub const MAX_NAME: usize = 255;

    /// Default settings for a node of this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            lease: Duration::from_secs(10),
            request_timeout: Duration::from_secs(2),
            message_age: None,
            message_bytes: 1024 * 1024,
            availability_first: false,
            epoch: UnixTime::from_seconds(0),
        }
    }

    /// Checks the settings, as a [`Hub`](crate::server::Hub) wants them.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] names the setting that is wrong, and what it may be.
    pub fn validate(self) -> Result<Valid<Self>, InvalidConfig> {
        if !(1..=Self::MAX_NAME).contains(&self.name.len()) {
            return Err(InvalidConfig::NodeName { length: self.name.len() });
        }
        at_least("lease", self.lease, Duration::from_secs(1))?;
        at_most("lease", self.lease, Self::MAX_LEASE)?;
        positive("request_timeout", self.request_timeout)?;
        at_most("request_timeout", self.request_timeout, self.lease / 4)?;
        let (setting, value) = ("message_bytes", self.message_bytes as u64);
        if value < Self::MIN_MESSAGE_BYTES {
            return Err(InvalidConfig::TooSmall { setting, value, min: Self::MIN_MESSAGE_BYTES });
        }
        Ok(Valid::new(self))
    }

    /// After this time without an answer, counted from the question, the node does nothing more with sessions.
    pub(super) fn fenced_after(&self) -> Duration {
        self.lease * 4 / 5
    }

    /// The pause after this many failures in a row.
    pub(super) fn backoff(&self, failures: u32) -> Duration {
        let first = self.lease / 50;
        let longest = self.lease / 5;
        (first * 2_u32.pow(failures.saturating_sub(1).min(8))).min(longest)
    }
}

fn at_most(setting: &'static str, value: Duration, max: Duration) -> Result<(), InvalidConfig> {
    if value > max { Err(InvalidConfig::TooLong { setting, value, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let seconds = Duration::from_secs;
        let with = |change: fn(&mut ClusterConfig)| {
            let mut config = ClusterConfig::new("a");
            change(&mut config);
            config.validate().err().map(|error| error.to_string())
        };
        assert_eq!(with(|_| {}), None);
        let name = "name has 0 bytes; it has to have 1 to 255";
        assert_eq!(with(|config| config.name.clear()).as_deref(), Some(name));
        assert!(with(|config| config.name = "x".repeat(256)).is_some());
        assert!(with(|config| config.lease = Duration::from_millis(999)).is_some());
        assert!(with(|config| config.lease = Duration::from_millis(15_001)).is_some());
        let long = "request_timeout is 2.501s; it has to be 2.5s or less";
        let refused = with(|config| config.request_timeout = Duration::from_millis(2_501));
        assert_eq!(refused.as_deref(), Some(long));
        assert!(with(|config| config.request_timeout = Duration::ZERO).is_some());
        let small = "message_bytes is 1023; it has to be 1024 or more";
        assert_eq!(with(|config| config.message_bytes = 1023).as_deref(), Some(small));
        let config = ClusterConfig::new("a");
        assert_eq!(config.fenced_after(), seconds(8));
        assert_eq!(config.backoff(1), Duration::from_millis(200));
        assert_eq!(config.backoff(2), Duration::from_millis(400));
        assert_eq!(config.backoff(u32::MAX), seconds(2));
    }
}
