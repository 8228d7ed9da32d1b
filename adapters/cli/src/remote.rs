//! One attempt to connect to a server.

use core::time::Duration;
use std::time::Instant;

use smol::Timer;
use smol::future::or;
use wwr::SessionKey;
use wwr_smol::client::{Builder, Client};

use crate::args::ConnectArguments;
use crate::failure::Failure;

/// A connection with the time that is left for using it.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) client: Client,
    started: Instant,
    timeout: Duration,
}

impl Remote {
    /// Connects, and restores the session if there is one to restore.
    pub(crate) async fn connect(
        arguments: &ConnectArguments,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        // Together they end in time, and the client says which of them did not get anywhere. Who does
        // not answer the preflight may still speak 2.0.
        let step = if arguments.speech.asks_first() { timeout / 2 } else { timeout };
        let step = step.max(Duration::from_nanos(1));
        let config = arguments
            .speech
            .config()
            .reconnect(false)
            .probe_timeout(step)
            .dial_timeout(step)
            .request_timeout(timeout)
            .build()?;
        let client = Builder::new(arguments.url.clone()).config(config).build();
        let remote = Self { client, started, timeout };
        match remote.connected(arguments.session.as_ref()).await {
            Ok(()) => Ok(remote),
            Err(failure) => Err(remote.fail(failure).await),
        }
    }

    async fn connected(&self, session: Option<&SessionKey>) -> Result<(), Failure> {
        self.client.connect().await?;
        let Some(key) = session else { return Ok(()) };
        let restored = async { Ok(self.client.restore_session(key.clone()).await.map(drop)?) };
        let too_late = async {
            Timer::after(self.time_left()).await;
            Err(Failure::NoSessionInTime)
        };
        or(restored, too_late).await
    }

    /// Says goodbye: writes what waits to be written, closes the connection, and waits until the
    /// server has done so too, but not for long.
    pub(crate) async fn close(self) {
        self.client.close().await;
    }

    /// Says goodbye after a failure, unless there is no time for that.
    pub(crate) async fn fail(self, failure: impl Into<Failure>) -> Failure {
        let failure = failure.into();
        if !failure.is_out_of_time() {
            self.close().await;
        }
        failure
    }

    /// How much of the time is left.
    pub(crate) fn time_left(&self) -> Duration {
        self.timeout.saturating_sub(self.started.elapsed())
    }
}
