//! The server: jobs belong to sessions.
//!
//! A job goes on while its client is not connected. It is cancelled when its session is closed for good; that of
//! a session that expires goes on to its end.

use std::time::Duration;

use wwr_tokio::server::{Builder, Config, Connection, Expiry, Fate, InvalidRouter, RequestError};
use wwr_tokio::server::{Router, Routes, Server, SessionChange, State};
use wwr_tokio::{Json, Session, SessionInfo};

use super::job::Job;
use super::queue::Queue;

type Reply<T> = Result<Json<T>, RequestError>;

async fn start(of: Connection) -> Result<(), RequestError> {
    of.create_session(SessionInfo::new()).await?;
    Ok(())
}

async fn submit(of: Connection, by: Session, below: Json<u32>, queue: State<Queue>) -> Reply<u64> {
    if below.0 > 200_000 {
        return Err(RequestError::failed("TOO_LARGE", "count below 200000"));
    }
    let number = queue.submit(by.key, below.0, of.server());
    number
        .map(Json)
        .ok_or_else(|| RequestError::failed("QUEUE_FULL", "try again when a job has ended"))
}

async fn status(of: Session, Json(number): Json<u64>, queue: State<Queue>) -> Reply<Job> {
    let job = queue.job(&of.key, number);
    job.map(Json).ok_or_else(|| RequestError::failed("NO_JOB", "you have no such job"))
}

async fn cancel(of: Session, Json(number): Json<u64>, queue: State<Queue>) -> Reply<bool> {
    status(of.clone(), Json(number), queue.clone()).await?;
    Ok(Json(queue.cancel(&of.key, |job| job == number) > 0))
}

/// Nobody can ask for the jobs of a session that is gone.
async fn session_changed(_: Connection, change: SessionChange, queue: State<Queue>) {
    if let SessionChange::Closed { session, fate: Fate::Destroyed, .. } = change {
        queue.cancel(&session.key, |_| true);
    }
}

pub(crate) fn jobs(workers: usize) -> Result<Builder<Routes>, InvalidRouter> {
    let routes = Router::with_state(Queue::new(workers))
        .request("start", start)
        .request("submit", submit)
        .request("status", status)
        .request("cancel", cancel)
        .session_changed(session_changed)
        .build()?;
    let mut config = Config::default();
    config.hub.expiry = Some(Expiry::new(Duration::from_secs(86_400), Duration::from_secs(60)));
    Ok(Server::builder(routes).config(config))
}
