//! A bounded queue of jobs, and what has become of those that were in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::yield_now;
use wwr_tokio::server::{ServerHandle, SlowReader};
use wwr_tokio::{Payload, SessionKey};

use super::job::Job;

/// How many jobs may wait, and how many that have ended are kept.
pub(crate) const QUEUED: usize = 8;
const KEPT: usize = 1000;

/// The queue. Its workers end after their job when it is dropped.
pub(crate) struct Queue(Arc<Table>);

struct Table {
    /// By number: the first ones are the oldest.
    jobs: Mutex<BTreeMap<u64, Entry>>,
    /// A permit for each job that was handed in and no worker has looked at.
    handed_in: Semaphore,
}

struct Entry {
    owner: SessionKey,
    below: u32,
    job: Job,
    server: ServerHandle,
}

impl Queue {
    pub(crate) fn new(workers: usize) -> Self {
        let table = Table { jobs: Mutex::default(), handed_in: Semaphore::new(0) };
        let table = Arc::new(table);
        for _ in 0..workers {
            tokio::spawn(table.clone().work());
        }
        Self(table)
    }

    /// Returns the number of the new job. `None` if too many wait.
    pub(crate) fn submit(&self, by: SessionKey, below: u32, server: ServerHandle) -> Option<u64> {
        let mut jobs = self.0.jobs();
        if jobs.values().filter(|entry| entry.job == Job::Waiting).count() >= QUEUED {
            return None;
        }
        let number = jobs.last_key_value().map_or(1, |(last, _)| last + 1);
        jobs.insert(number, Entry { owner: by, below, job: Job::Waiting, server });
        let mut ended = jobs.iter().filter(|(_, entry)| entry.job.has_ended());
        let oldest = ended.next().map(|(number, _)| *number).filter(|_| ended.count() >= KEPT);
        oldest.and_then(|oldest| jobs.remove(&oldest));
        self.0.handed_in.add_permits(1);
        Some(number)
    }

    /// Returns a job of this session.
    pub(crate) fn job(&self, of: &SessionKey, number: u64) -> Option<Job> {
        self.0.jobs().get(&number).filter(|entry| entry.owner == *of).map(|entry| entry.job)
    }

    /// Cancels those jobs of this session that have not ended. Returns how many.
    pub(crate) fn cancel(&self, of: &SessionKey, which: impl Fn(u64) -> bool) -> usize {
        let mut jobs = self.0.jobs();
        let own = jobs.iter_mut().filter(|(number, job)| job.owner == *of && which(**number));
        own.filter_map(|(number, job)| job.advance(*number, Job::Cancelled).then_some(())).count()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.0.handed_in.close();
    }
}

impl Table {
    fn jobs(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the job that waits longest. There is none for a permit whose job was cancelled.
    fn take(&self) -> Option<(u64, u32)> {
        let mut jobs = self.jobs();
        let (number, entry) = jobs.iter_mut().find(|(_, entry)| entry.job == Job::Waiting)?;
        entry.advance(*number, Job::Running { percent: 0 });
        Some((*number, entry.below))
    }

    fn advance(&self, number: u64, job: Job) -> bool {
        self.jobs().get_mut(&number).is_some_and(|entry| entry.advance(number, job))
    }

    async fn work(self: Arc<Self>) {
        while let Ok(permit) = self.handed_in.acquire().await {
            permit.forget();
            if let Some((number, below)) = self.take() {
                self.count(number, below).await;
            }
        }
    }

    /// Counts primes, and lets others work after each percent.
    async fn count(&self, number: u64, below: u32) {
        let (mut primes, mut percent) = (0, 0);
        for candidate in 2..below {
            let is_prime = (2..).take_while(|d| d * d <= candidate).all(|d| candidate % d != 0);
            primes += u32::from(is_prime);
            if candidate / (below / 100 + 1) > percent {
                percent += 1;
                if !self.advance(number, Job::Running { percent }) {
                    return;
                }
                yield_now().await;
            }
        }
        self.advance(number, Job::Done { primes });
    }
}

impl Entry {
    /// Changes a job that has not ended, and tells its session. Returns whether it had not.
    fn advance(&mut self, number: u64, job: Job) -> bool {
        if self.job.has_ended() {
            return false;
        }
        self.job = job;
        let owner = self.server.session_group(&self.owner).slow_readers(SlowReader::Coalesce);
        let told = Payload::json(&job).ok();
        let told = told.and_then(|told| owner.signal(format!("job.{number}"), told).ok());
        for refused in told.into_iter().flat_map(|told| told.refused) {
            // It asks for the state when it connects again.
            refused.connection.close();
        }
        true
    }
}
