//! The time limit of a command.

use core::fmt;
use core::time::Duration;
use std::time::Instant;

use humantime::format_duration;
use smol::Timer;
use smol::future::or;

use crate::failure::Failure;

/// The moment at which a command ends, whatever it waits for. The timer runs on the thread of the
/// command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    started: Instant,
    timeout: Duration,
}

/// What a command was waiting for when its time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The end of standard input, or of a file.
    Reading,
    Connecting,
    Restoring,
    Replying,
    /// For the inspection page.
    Inspecting,
    /// For the server to close its side: then it has read everything.
    Closing,
    /// For standard output to accept the output.
    Printing,
}

/// A command ran out of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{stage} within {}; --timeout gives more time", format_duration(*timeout))]
pub(crate) struct OutOfTime {
    stage: Stage,
    timeout: Duration,
}

/// How much longer than the time something may take that has a timer of its own, because its own
/// error says more.
const SLACK: Duration = Duration::from_millis(100);

/// How long a command may take to print its result, even if its time has run out.
const PRINTING: Duration = Duration::from_millis(250);

impl Deadline {
    /// Starts now.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { started: Instant::now(), timeout }
    }

    /// Returns how much of the time is left.
    pub(crate) fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed())
    }

    /// The same, but never zero, for timers that do not accept zero.
    pub(crate) fn left_at_least(&self) -> Duration {
        self.left().max(Duration::from_nanos(1))
    }

    /// Returns a deadline in this much time, unless this one is earlier.
    pub(crate) fn at_most(&self, time: Duration) -> Self {
        Self::new(time.min(self.left()))
    }

    /// Does something, unless the time runs out.
    pub(crate) async fn limit<T>(
        &self,
        stage: Stage,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let left = match stage {
            Stage::Reading
            | Stage::Connecting
            | Stage::Restoring
            | Stage::Inspecting
            | Stage::Closing => self.left(),
            Stage::Replying => self.left().saturating_add(SLACK),
            Stage::Printing => self.left().max(PRINTING),
        };
        or(work, async {
            Timer::after(left).await;
            Err(OutOfTime { stage, timeout: self.timeout }.into())
        })
        .await
    }
}

impl OutOfTime {
    /// What connected too slowly.
    pub(crate) const fn connecting(timeout: Duration) -> Self {
        Self { stage: Stage::Connecting, timeout }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reading => "the payload has not come to its end",
            Self::Connecting => {
                "there was no connection, or one on which the server does not say that it speaks 2.0,"
            }
            Self::Restoring => "the session was not restored, and nothing else asked for,",
            Self::Replying => "the server did not reply",
            Self::Inspecting => "the inspection page did not answer",
            Self::Closing => {
                "the server did not close the connection, so that it is unknown whether it has read \
                 everything,"
            }
            Self::Printing => "standard output did not take what is to be printed",
        })
    }
}
