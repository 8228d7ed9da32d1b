//! One attempt to connect to a server.

use core::time::Duration;
use std::time::Instant;

use smol::Timer;
use smol::future::or;
use wwr_smol::client::Client;

use crate::args::{ClientProtocol, ConnectArguments};
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
        // Who does not answer the preflight may still speak 2.0, if there is time left for it.
        let half = (timeout / 2).max(Duration::from_nanos(1));
        let speech = &arguments.speech;
        let config = speech
            .config()
            .reconnect(false)
            .probe_timeout(if speech.protocol == ClientProtocol::Auto { half } else { timeout })
            .dial_timeout(timeout)
            .request_timeout(timeout)
            .build()?;
        let client = Client::builder(&arguments.url.to_string())?.config(config).build();
        let connected = async {
            client.connect().await?;
            if let Some(key) = &arguments.session {
                client.restore_session(key.clone()).await?;
            }
            Ok(())
        };
        let too_late = async {
            Timer::after(timeout).await;
            Err(Failure::NoConnectionInTime)
        };
        let result = or(connected, too_late).await;
        let remote = Self { client, started, timeout };
        match result {
            Ok(()) => Ok(remote),
            Err(failure) => Err(remote.fail(failure).await),
        }
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
