//! Which processors are used.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Which processors client and server may use. A system that chooses by itself puts both on one
/// processor at some times and on two at others. Waking a processor that sleeps takes longer than all
/// that is measured here, so that executors can be compared only in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Place {
    /// One for the server, another for the client, if there are two.
    Apart,
    /// The same one.
    Together,
    /// The system chooses.
    Free,
}

impl Place {
    /// What `--place` calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Apart => "apart",
            Self::Together => "together",
            Self::Free => "free",
        }
    }

    /// The processor for the server and that for the client, if it is not the system that chooses.
    pub(crate) fn processors(self) -> io::Result<Option<[usize; 2]>> {
        let set = sched_getaffinity(None)?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor));
        let first = allowed.next().ok_or(io::ErrorKind::NotFound)?;
        Ok(match self {
            Self::Apart => Some([first, allowed.next_back().unwrap_or(first)]),
            Self::Together => Some([first; 2]),
            Self::Free => None,
        })
    }
}

/// Puts this process on a processor. To be called before it has more threads than one.
pub(crate) fn stay_on(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}
