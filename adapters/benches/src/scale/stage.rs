//! What was measured, and what had to be so.

use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::process::Process;

/// Seconds between two signs of life.
const PROGRESS: Duration = Duration::from_secs(2);

/// What came of one case.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) stages: Vec<Stage>,
    /// What else is worth knowing.
    pub(crate) facts: Vec<(&'static str, Value)>,
    /// What was not as it had to be.
    pub(crate) broken: Vec<String>,
}

/// Something that was done many times.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) name: &'static str,
    pub(crate) count: u64,
    pub(crate) elapsed: Duration,
    /// The processor time of the server.
    pub(crate) cpu: Duration,
    /// Its resident memory in bytes.
    pub(crate) before: u64,
    pub(crate) after: u64,
    /// The most that it ever had so far.
    pub(crate) peak: u64,
}

/// A stage that is under way.
pub(crate) struct Watch<'a> {
    server: &'a Process,
    name: &'static str,
    start: Instant,
    cpu: Duration,
    before: u64,
    shown: Instant,
}

impl Outcome {
    pub(crate) const fn new(name: &'static str) -> Self {
        Self { name, stages: Vec::new(), facts: Vec::new(), broken: Vec::new() }
    }

    /// Notes what is wrong unless this holds.
    pub(crate) fn expect(&mut self, holds: bool, what: impl Display) {
        if !holds {
            self.broken.push(what.to_string());
        }
    }

    pub(crate) fn fact(&mut self, name: &'static str, value: impl Into<Value>) {
        self.facts.push((name, value.into()));
    }
}

impl<'a> Watch<'a> {
    pub(crate) fn start(server: &'a Process, name: &'static str) -> io::Result<Self> {
        let before = server.memory("VmRSS")?;
        let (cpu, start) = (server.cpu_time()?, Instant::now());
        Ok(Self { server, name, start, cpu, before, shown: start })
    }

    /// Tells on standard error how far it is, now and then.
    pub(crate) fn progress(&mut self, done: u32, of: u32) {
        if self.shown.elapsed() >= PROGRESS {
            self.shown = Instant::now();
            eprintln!("  {}: {done} of {of}", self.name);
        }
    }

    /// It was done this many times.
    pub(crate) fn finish(self, count: u32) -> io::Result<Stage> {
        let elapsed = self.start.elapsed();
        let cpu = self.server.cpu_time()?.saturating_sub(self.cpu);
        self.stage(count, elapsed, cpu, self.server.memory("VmRSS")?)
    }

    /// As above, but memory is measured once it has settled.
    pub(crate) fn finish_settled(self, count: u32) -> io::Result<Stage> {
        let elapsed = self.start.elapsed();
        let cpu = self.server.cpu_time()?.saturating_sub(self.cpu);
        self.stage(count, elapsed, cpu, self.server.settled_memory()?)
    }

    fn stage(&self, count: u32, elapsed: Duration, cpu: Duration, after: u64) -> io::Result<Stage> {
        let (name, before, peak) = (self.name, self.before, self.server.memory("VmHWM")?);
        Ok(Stage { name, count: count.into(), elapsed, cpu, before, after, peak })
    }
}

impl Stage {
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of the server's processor time for each.
    pub(crate) fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.count as f64
    }

    /// By how many bytes the memory has grown.
    pub(crate) fn growth(&self) -> f64 {
        self.after as f64 - self.before as f64
    }
}
