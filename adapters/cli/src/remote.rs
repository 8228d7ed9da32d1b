//! One attempt to connect to a server.

use core::time::Duration;

use wwr::SessionKey;
use wwr_smol::client::Client;

use crate::args::ConnectArguments;
use crate::deadline::{Deadline, Stage};
use crate::failure::Failure;
use crate::runtime::Tasks;

/// How long a server may take to close its side of a connection that is not needed any more.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A server, and the time limit for using it.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) client: Client,
    session: Option<SessionKey>,
    deadline: Deadline,
}

impl Remote {
    /// Prepares: fails if the options or the environment are invalid.
    pub(crate) fn new(
        arguments: &ConnectArguments,
        deadline: Deadline,
        tasks: &Tasks,
    ) -> Result<Self, Failure> {
        let left = deadline.left_at_least();
        let mut config = arguments.speech.config_within(left);
        config.machine.reconnect = false;
        config.machine.request_timeout = left;
        config.headers = arguments.headers.all(&arguments.url)?;
        config.close_timeout = left;
        let client = arguments.reach.prepare(&arguments.url, left)?.builder(&arguments.url, config);
        let client = client.executor(tasks.clone()).build()?;
        Ok(Self { client, session: arguments.session()?, deadline })
    }

    /// Connects, and restores the session if there is one to restore.
    pub(crate) async fn connect(&mut self) -> Result<(), Failure> {
        let connected = async { Ok(self.client.connect().await?) };
        self.deadline.limit(Stage::Connecting, connected).await?;
        let Some(key) = self.session.take() else { return Ok(()) };
        let restored = async { Ok(self.client.restore_session(key).await.map(drop)?) };
        self.deadline.limit(Stage::Restoring, restored).await
    }

    /// Closes: writes the waiting output, closes the connection, and waits until the server has
    /// closed it, too.
    pub(crate) async fn close(self) -> Result<(), Failure> {
        let closed = async {
            self.client.close().await;
            Ok(())
        };
        self.deadline.limit(Stage::Closing, closed).await
    }

    /// Closes after the result is known: waits for the server only as long as there is time, and
    /// not for long.
    pub(crate) async fn leave(self) {
        let timeout = self.deadline.at_most(TIMEOUT);
        // The result was already reported.
        let _ = Self { deadline: timeout, ..self }.close().await;
    }

    /// Closes after a failure, unless there is no time for that.
    pub(crate) async fn fail(self, failure: impl Into<Failure>) -> Failure {
        let failure = failure.into();
        if !failure.is_out_of_time() {
            self.leave().await;
        }
        failure
    }
}
