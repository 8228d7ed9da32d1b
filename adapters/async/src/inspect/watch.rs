//! Recording the messages of connections while somebody looks at them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::StatusCode;

use super::answer::Refused;
use crate::server::{Connection, ServerHandle};

/// How long a recording goes on after the page has last asked for it.
const AFTER: Duration = Duration::from_secs(10);

/// How many connections are recorded at once.
const MOST: usize = 8;

/// The recordings of a server.
#[derive(Debug, Default)]
pub(super) struct Watches {
    running: Arc<AtomicUsize>,
}

/// Room for one recording.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Watches {
    /// Records the messages of a connection from now on, or goes on with that.
    pub(super) fn watch(
        &self,
        server: &ServerHandle,
        connection: &Connection,
    ) -> Result<(), Refused> {
        let recorder = connection.recorder();
        if recorder.go_on_until(server.now() + AFTER) {
            return Ok(());
        }
        let place = self.place().ok_or(Refused::new(
            StatusCode::TOO_MANY_REQUESTS,
            "The messages of 8 connections are looked at already. That ends 10 s after they are left.",
        ))?;
        if recorder.record_until(server.now() + AFTER) {
            server.spawn(end(server.clone(), connection.clone(), place));
        }
        Ok(())
    }

    fn place(&self) -> Option<Place> {
        let more = |running| (running < MOST).then_some(running + 1);
        let taken = self.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        taken.ok().map(|_| Place(self.running.clone()))
    }
}

/// Ends a recording in time, even if nothing is sent on the connection any more.
async fn end(server: ServerHandle, connection: Connection, _place: Place) {
    while let Some(until) = connection.recorder().end_by(server.now()) {
        server.sleep(until.saturating_since(server.now())).await;
    }
}
