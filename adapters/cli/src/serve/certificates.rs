//! Certificates that are replaced while the server runs.

use core::time::Duration;
use std::io;

#[cfg(unix)]
use async_signal::{Signal, Signals};
use smol::Timer;
use smol::future::or;
#[cfg(unix)]
use smol::stream::StreamExt as _;
use wwr_smol::server::Tls;

/// How often the files are read without a signal.
const EVERY: Duration = Duration::from_secs(60);

/// Reads the files of certificate and key again at SIGHUP, and now and then.
#[derive(Debug)]
pub(super) struct Renewal {
    tls: Tls,
    #[cfg(unix)]
    hangups: Signals,
}

/// Why the files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Signal,
    Time,
}

impl Renewal {
    /// Catches SIGHUP from now on.
    pub(super) fn of(tls: Tls) -> io::Result<Self> {
        Ok(Self {
            tls,
            #[cfg(unix)]
            hangups: Signals::new([Signal::Hup])?,
        })
    }

    /// Does so for ever.
    pub(super) async fn run(mut self) {
        let mut failed = None;
        loop {
            let cause = self.cause().await;
            let tls = self.tls.clone();
            match smol::unblock(move || tls.reload()).await {
                Ok(true) => tracing::info!("new connections have the new certificate"),
                Ok(false) if cause == Cause::Signal => {
                    tracing::info!("the certificate is the same")
                }
                Ok(false) => {}
                Err(error) => {
                    let error = error.to_string();
                    // Without a signal, each failure is told once.
                    if cause == Cause::Signal || failed.as_ref() != Some(&error) {
                        tracing::warn!(%error, "the old certificate stays in use");
                    }
                    failed = Some(error);
                    continue;
                }
            }
            failed = None;
        }
    }

    /// Waits until the files are to be read.
    async fn cause(&mut self) -> Cause {
        let time = async {
            Timer::after(EVERY).await;
            Cause::Time
        };
        or(self.hangup(), time).await
    }

    #[cfg(unix)]
    async fn hangup(&mut self) -> Cause {
        match self.hangups.next().await {
            Some(Ok(_)) => Cause::Signal,
            // Nothing more is heard of signals.
            _ => core::future::pending().await,
        }
    }

    #[cfg(not(unix))]
    async fn hangup(&mut self) -> Cause {
        core::future::pending().await
    }
}
