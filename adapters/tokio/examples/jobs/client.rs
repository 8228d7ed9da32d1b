//! The client: hands in a job, and shows how it goes until it has ended.

use std::fmt::Display;

use wwr_tokio::client::{Client, Error, Event, RequestError};

use super::job::Job;

/// Returns how many primes there are below a number. The connection may come and go meanwhile.
pub(crate) async fn count(
    client: &Client,
    below: u32,
    show: impl Fn(&dyn Display),
) -> Result<Option<u32>, Error> {
    let mut events = client.events();
    if client.session().is_none() {
        client.call::<()>("start", &()).await?;
    }
    let number: u64 = client.call("submit", &below).await?;
    show(&format_args!("job {number}"));
    let name = format!("job.{number}");
    while let Some(event) = events.next().await {
        let job = match event {
            Event::Signal(signal) if signal.name() == name.as_bytes() => signal.json().ok(),
            // Signals were missed, or may have been.
            Event::Connected | Event::Missed(_) => status(client, number).await?,
            // The client does not come back by itself.
            Event::Disconnected { retry_in: None, .. }
            | Event::ConnectFailed { retry_in: None, .. } => status(client, number).await?,
            _ => None,
        };
        match job {
            Some(Job::Waiting) => show(&"waiting"),
            Some(Job::Running { percent }) => show(&format_args!("{percent} %")),
            Some(Job::Done { primes }) => return Ok(Some(primes)),
            Some(Job::Cancelled) => return Ok(None),
            None => {}
        }
    }
    Ok(None)
}

/// Asks for a job. `None` if the connection is cut meanwhile: then it is asked for again on the next one.
async fn status(client: &Client, number: u64) -> Result<Option<Job>, Error> {
    loop {
        match client.call("status", &number).await {
            Ok(job) => return Ok(Some(job)),
            Err(Error::Request(RequestError::TimedOut { .. })) => {}
            Err(Error::Request(RequestError::ConnectionLost | RequestError::ServerShutdown)) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
}
