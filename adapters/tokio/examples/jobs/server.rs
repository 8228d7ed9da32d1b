//! The server: a bounded queue, some workers, and jobs that belong to sessions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use wwr_tokio::server::{Builder, Config, Connection, Expiry, InvalidRouter, RequestError};
use wwr_tokio::server::{Router, Routes, Server, ServerHandle, State};
use wwr_tokio::{Json, Payload, Session, SessionInfo, SessionKey};

/// How many jobs may wait, and how many that have ended are kept.
pub(crate) const QUEUED: usize = 8;
const KEPT: usize = 1000;

/// Counts the primes below a number.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) enum Job {
    Waiting,
    Running { percent: u32 },
    Done { primes: u32 },
    Cancelled,
}

impl Job {
    const fn has_ended(self) -> bool {
        matches!(self, Self::Done { .. } | Self::Cancelled)
    }
}

struct Entry {
    owner: SessionKey,
    below: u32,
    job: Job,
    server: ServerHandle,
}

struct Jobs {
    queue: Sender<u64>,
    /// Kept here as well, so that jobs wait if there are no workers.
    _waiting: Waiting,
    table: Table,
}

/// The next job is for the first worker that asks.
type Waiting = Arc<tokio::sync::Mutex<Receiver<u64>>>;

/// Jobs by number: the first ones are the oldest.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<BTreeMap<u64, Entry>>>);

impl Table {
    /// Changes a job that has not ended, and tells the session of its owner, in the same order. Returns
    /// whether it may go on.
    fn advance(&self, number: u64, job: Job) -> bool {
        let mut table = self.0.lock().unwrap();
        let Some(entry) = table.get_mut(&number).filter(|entry| !entry.job.has_ended()) else {
            return false;
        };
        entry.job = job;
        if let Ok(told) = Payload::json(&(number, job)) {
            let _ = entry.server.session_group(&entry.owner).signal("job", told);
        }
        true
    }

    /// Works until no more jobs can come. It lets others work after each percent.
    async fn work(self, queue: Waiting) {
        while let Some(number) = { queue.lock().await.recv().await } {
            let below = self.0.lock().unwrap().get(&number).map_or(0, |entry| entry.below);
            let (mut primes, mut percent) = (0, 0);
            let mut goes_on = self.advance(number, Job::Running { percent });
            for candidate in 2..below {
                if !goes_on {
                    break;
                }
                primes +=
                    u32::from((2..).take_while(|d| d * d <= candidate).all(|d| candidate % d != 0));
                if candidate / (below / 100 + 1) > percent {
                    percent += 1;
                    goes_on = self.advance(number, Job::Running { percent });
                    tokio::task::yield_now().await;
                }
            }
            self.advance(number, Job::Done { primes });
        }
    }

    fn status(&self, of: &Session, number: u64) -> Result<Job, RequestError> {
        let table = self.0.lock().unwrap();
        let entry = table.get(&number).filter(|entry| entry.owner == of.key);
        entry
            .map(|entry| entry.job)
            .ok_or_else(|| RequestError::failed("NO_JOB", "you have no such job"))
    }
}

type Reply<T> = Result<Json<T>, RequestError>;

async fn start(of: Connection) -> Result<(), RequestError> {
    of.create_session(SessionInfo::new()).await?;
    Ok(())
}

async fn submit(of: Connection, owner: Session, below: Json<u32>, jobs: State<Jobs>) -> Reply<u64> {
    let (Json(below), owner) = (below, owner.key);
    if below > 200_000 {
        return Err(RequestError::failed("TOO_LARGE", "count below 200000"));
    }
    let full = |_| RequestError::failed("QUEUE_FULL", "try again when a job has ended");
    let place = jobs.queue.try_reserve().map_err(full)?;
    let mut table = jobs.table.0.lock().unwrap();
    let number = table.last_key_value().map_or(1, |(last, _)| last + 1);
    table.insert(number, Entry { owner, below, job: Job::Waiting, server: of.server() });
    let mut ended = table.iter().filter(|(_, entry)| entry.job.has_ended());
    let oldest = ended.next().map(|(number, _)| *number).filter(|_| ended.count() >= KEPT);
    oldest.and_then(|oldest| table.remove(&oldest));
    place.send(number);
    Ok(Json(number))
}

async fn status(of: Session, Json(number): Json<u64>, jobs: State<Jobs>) -> Reply<Job> {
    jobs.table.status(&of, number).map(Json)
}

async fn cancel(of: Session, Json(number): Json<u64>, jobs: State<Jobs>) -> Reply<bool> {
    jobs.table.status(&of, number)?;
    Ok(Json(jobs.table.advance(number, Job::Cancelled)))
}

/// Starts the workers, which end with the routes: then there is no way into the queue any more.
pub(crate) fn jobs(workers: usize) -> Result<Builder<Routes>, InvalidRouter> {
    let (queue, waiting) = channel(QUEUED);
    let (table, waiting) = (Table::default(), Arc::new(tokio::sync::Mutex::new(waiting)));
    for _ in 0..workers {
        tokio::spawn(table.clone().work(waiting.clone()));
    }
    let routes = Router::with_state(Jobs { queue, _waiting: waiting, table })
        .request("start", start)
        .request("submit", submit)
        .request("status", status)
        .request("cancel", cancel)
        .build()?;
    let mut config = Config::default();
    config.hub.expiry = Some(Expiry::new(Duration::from_secs(86_400), Duration::from_secs(60)));
    Ok(Server::builder(routes).config(config))
}
