//! The plan of a run, which all threads share.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::OnceLock;

use wwr::{Dialect, Name, Payload};
use wwr_smol::client::{Client, Config, ServerUrl};

use super::schedule::{Kind, Schedule};
use crate::args::{BenchArguments, Reach};
use crate::failure::Failure;

/// How long to measure by default.
const DURATION: Duration = Duration::from_secs(10);

/// The pause after the first failed attempt to connect again, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// An upper bound of the memory of a message beside its payload.
const MESSAGE_OVERHEAD: usize = 1024;

/// How long a server may take to close its side of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug)]
pub(super) struct Plan {
    /// The servers, which take turns. There is at least one.
    sites: Vec<Site>,
    pub(super) schedule: Schedule,
    pub(super) threads: u64,
    pub(super) depth: usize,
    pub(super) name: Name,
    pub(super) payload: Payload,
    pub(super) churn: Option<u64>,
    pub(super) login: Name,
    pub(super) timeout: Duration,
    /// How long to measure; `None`: until all messages are done.
    pub(super) duration: Option<Duration>,
}

/// A server.
#[derive(Debug)]
struct Site {
    url: ServerUrl,
    config: Config,
    reach: Reach,
}

impl Plan {
    pub(super) fn new(arguments: &BenchArguments) -> Result<Self, Failure> {
        let load = &arguments.load;
        let depth = usize::from(load.depth.get());
        let size = load.size as usize;
        let mut config = arguments.speech.config_within(arguments.timeout);
        let largest = size + MESSAGE_OVERHEAD;
        let room = depth.saturating_add(1).saturating_mul(largest);
        config.machine.request_timeout = arguments.timeout;
        (config.machine.initial_backoff, config.machine.max_backoff) = BACKOFF;
        config.machine.max_pending_requests = depth.saturating_add(8);
        config.machine.max_message_size =
            u32::try_from(largest).map_or(u32::MAX, |largest| largest.max(16 << 20));
        config.machine.max_queued_bytes = room;
        config.close_timeout = CLOSE_TIMEOUT;
        config.max_unsent_bytes = room;
        let connections = u64::from(load.connections.get());
        let count = arguments.count.map(u64::from);
        let duration = count.is_none().then(|| arguments.duration.unwrap_or(DURATION));
        let mut schedule = Schedule {
            connections,
            rate: load.rate.map(u32::from),
            total: count.unwrap_or(u64::MAX),
            warmup: arguments.warmup,
            signals: load.signals,
        };
        if let Some(total) = duration.and_then(|duration| schedule.due_in(duration)) {
            schedule.total = total;
        }
        let site = |url: &ServerUrl| {
            let mut config = config.clone();
            config.headers = arguments.headers.all(url)?;
            let reach = arguments.reach.prepare(url, arguments.timeout)?;
            Ok::<_, Failure>(Site { url: url.clone(), config, reach })
        };
        Ok(Self {
            sites: arguments.urls.iter().map(site).collect::<Result<_, _>>()?,
            schedule,
            threads: u64::from(load.threads.get()).min(connections),
            depth,
            name: load.name.clone(),
            payload: Payload::binary(vec![b'x'; size]),
            churn: load.churn.map(u64::from),
            login: load.login.clone(),
            timeout: arguments.timeout,
            duration,
        })
    }

    /// Returns the client of this number, which is not connected yet. `None` if there is no server.
    pub(super) fn client(
        &self,
        number: u64,
        executor: impl wwr_smol::Spawn,
    ) -> Option<Result<Client, Failure>> {
        let turn = number.checked_rem(self.sites.len() as u64)?;
        let site = self.sites.get(usize::try_from(turn).ok()?)?;
        let client = site.reach.builder(&site.url, site.config.clone());
        Some(client.executor(executor).build().map_err(Failure::from))
    }

    /// Returns the servers, for people.
    pub(super) fn servers(&self) -> String {
        let urls: Vec<_> = self.sites.iter().map(|site| site.url.to_string()).collect();
        urls.join(", ")
    }

    /// Refuses messages that the server would not read.
    pub(super) fn check(&self, spoken: Spoken) -> Result<(), Failure> {
        let kind = if self.schedule.signals == 100 { Kind::Signal } else { Kind::Request };
        let head = match kind {
            Kind::Request => 10,
            Kind::Signal => 2,
        };
        let length = (head + self.name.len() + self.payload.len()) as u64;
        match spoken.buffer.map(u64::from) {
            Some(buffer) if length > buffer => Err(Failure::LongerThanBuffer { length, buffer }),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns when the last message is sent, from the beginning of the run, unless it ends early.
    fn end(&self) -> Option<Duration> {
        self.duration.map(|duration| self.schedule.warmup.saturating_add(duration))
    }
}

/// What the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) dialect: Dialect,
    /// The longest message that the server reads, if it has advertised one.
    pub(super) buffer: Option<u32>,
}

impl Spoken {
    pub(super) fn with(client: &Client) -> Self {
        let found = client.discovered();
        let conf = found.accept_conf.filter(|_| found.dialect.rules().bounded_by_buffer);
        Self { dialect: found.dialect, buffer: conf.map(|conf| conf.message_buffer_size) }
    }
}

/// The shared state of the threads during a run.
#[derive(Debug)]
pub(super) struct Course {
    /// When the last message is sent, in nanoseconds from the beginning of the run.
    end: AtomicU64,
    /// Why the run cannot be measured.
    failure: OnceLock<Failure>,
    /// The progress of each thread.
    progress: Vec<Progress>,
}

/// The progress of a thread. In a cache line of its own, because only that thread writes it.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Progress {
    done: AtomicU64,
    failed: AtomicU64,
}

impl Course {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            end: AtomicU64::new(plan.end().map_or(u64::MAX, nanos)),
            failure: OnceLock::new(),
            progress: (0..plan.threads).map(|_| Progress::default()).collect(),
        }
    }

    /// Returns when the last message is sent, from the beginning of the run.
    pub(super) fn end(&self) -> Duration {
        Duration::from_nanos(self.end.load(Ordering::Relaxed))
    }

    /// Ends the run here, unless it ends earlier.
    pub(super) fn end_at(&self, moment: Duration) {
        self.end.fetch_min(nanos(moment), Ordering::Relaxed);
    }

    /// Ends the run because no such message can be sent.
    pub(super) fn fail(&self, failure: Failure) {
        // The first failure is enough.
        let _ = self.failure.set(failure);
        self.end_at(Duration::ZERO);
    }

    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.get()
    }

    pub(super) fn progress_of(&self, thread: u64) -> Option<&Progress> {
        self.progress.get(usize::try_from(thread).ok()?)
    }

    /// Returns how many messages all threads have done, and how many failed.
    pub(super) fn progress(&self) -> (u64, u64) {
        self.progress.iter().fold((0, 0), |(done, failed), progress| {
            let more = progress.done.load(Ordering::Relaxed);
            (done + more, failed + progress.failed.load(Ordering::Relaxed))
        })
    }
}

impl Progress {
    pub(super) fn show(&self, done: u64, failed: u64) {
        self.done.store(done, Ordering::Relaxed);
        self.failed.store(failed, Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
