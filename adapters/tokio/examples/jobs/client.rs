//! The client: hands in a job, and shows how it goes until it has ended.

use std::fmt::Display;

use wwr_tokio::client::{Client, Error, Event};

use super::server::Job;

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
    while let Some(event) = events.next().await {
        let job = match event {
            Event::Signal(signal) => match signal.json::<(u64, Job)>() {
                Ok((of, job)) if of == number => job,
                Ok(_) | Err(_) => continue,
            },
            // Signals may have been missed.
            Event::Connected => client.call("status", &number).await?,
            _ => continue,
        };
        match job {
            Job::Waiting => show(&"waiting"),
            Job::Running { percent } => show(&format_args!("{percent} %")),
            Job::Done { primes } => return Ok(Some(primes)),
            Job::Cancelled => return Ok(None),
        }
    }
    Ok(None)
}
