//! The memory of a server.

use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use super::process::{Process, unreadable};

/// The memory of a server is taken for settled if it has not changed for this long.
const SETTLED: Duration = Duration::from_millis(500);

const LONGEST: Duration = Duration::from_secs(10);

impl Process {
    /// Bytes of memory, by the system's name for them: `VmRSS` are those resident.
    pub(crate) fn memory(&self, kind: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let mut fields = status.lines().filter_map(|line| line.split_once(':'));
        let kilobytes = fields.find(|(name, _)| *name == kind);
        let kilobytes = kilobytes.and_then(|(_, value)| value.split_whitespace().next());
        let kilobytes: Option<u64> = kilobytes.and_then(|number| number.parse().ok());
        kilobytes.map(|kilobytes| kilobytes * 1024).ok_or_else(unreadable)
    }

    /// The resident memory once it does not change any more.
    pub(crate) fn settled_memory(&self) -> io::Result<u64> {
        let start = Instant::now();
        let (mut resident, mut since) = (self.memory("VmRSS")?, start);
        while since.elapsed() < SETTLED && start.elapsed() < LONGEST {
            sleep(SETTLED / 10);
            let now = self.memory("VmRSS")?;
            if now != resident {
                (resident, since) = (now, Instant::now());
            }
        }
        Ok(resident)
    }
}
