//! What clients and the server say about jobs.

use serde::{Deserialize, Serialize};

/// What has become of a job: to count the primes below a number.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Job {
    Waiting,
    Running { percent: u32 },
    Done { primes: u32 },
    Cancelled,
}

impl Job {
    pub(crate) const fn has_ended(self) -> bool {
        matches!(self, Self::Done { .. } | Self::Cancelled)
    }
}
