//! `wwr listen`: the signals of a server, and the events of the connection.

mod line;

use core::time::Duration;
use std::io;
use std::process::ExitCode;

use smol::future::or;
use wwr::client::DisconnectReason;
use wwr::{Dialect, SessionKey};
use wwr_smol::client::{Client, Event, Events};

use crate::args::{ListenArguments, LogLevel, Reach};
use crate::failure::Failure;
use crate::runtime::Tasks;
use crate::stop::Stop;
use crate::{log, output};
use line::{EventRow, describe};

/// The pause after the first failed attempt to connect, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Why listening ended early.
enum End {
    Output(io::Error),
    Failure(Failure),
    /// The event that was printed last said why.
    GaveUp,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// There is no connection, and the client does not try again.
const NO_CONNECTION: u8 = 3;

pub(crate) fn run(arguments: &ListenArguments) -> io::Result<ExitCode> {
    log::start(&arguments.connect.log, LogLevel::Warn)?;
    let tasks = Tasks::default();
    match smol::block_on(tasks.run(listen(arguments, &tasks))) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(End::Output(error)) => Err(error),
        Err(End::GaveUp) => Ok(ExitCode::from(NO_CONNECTION)),
        Err(End::Failure(failure)) => {
            failure.tell("listen");
            Ok(failure.exit_code())
        }
    }
}

async fn listen(arguments: &ListenArguments, tasks: &Tasks) -> Result<(), End> {
    // A file that cannot be read to its end does not keep a signal from ending the command.
    let reach = arguments
        .connect
        .reach
        .prepare(&arguments.connect.url, Duration::MAX)
        .map_err(Failure::from)
        .map_err(End::Failure)?;
    let mut stop = Stop::new()?;
    let session = arguments.connect.session()?;
    let client = client(arguments, &reach, tasks).map_err(End::Failure)?;
    let events = client.events();
    let connecting = async {
        // The event that comes with an error says the same.
        let _ = client.connect().await;
        std::future::pending().await
    };
    let stopped = async { Ok(stop.next().await.map(drop)?) };
    let printing = print(&client, events, session, arguments);
    let result = or(stopped, or(printing, connecting)).await;
    client.close().await;
    result
}

fn client(arguments: &ListenArguments, reach: &Reach, tasks: &Tasks) -> Result<Client, Failure> {
    let connect = &arguments.connect;
    let mut config = connect.speech.config();
    (config.machine.initial_backoff, config.machine.max_backoff) = BACKOFF;
    config.headers = connect.headers.all(&connect.url)?;
    let client = reach.builder(&connect.url, config);
    Ok(client.executor(tasks.clone()).build()?)
}

/// Prints events until enough signals have come, or no more can come.
async fn print(
    client: &Client,
    mut events: Events,
    mut key: Option<SessionKey>,
    arguments: &ListenArguments,
) -> Result<(), End> {
    let mut awaited = arguments.count.map(u64::from);
    while let Some(event) = events.next().await {
        print_event(&event, client.dialect(), arguments.connect.json).await?;
        match event {
            Event::Connected => {
                if let Some(wanted) = key.take() {
                    match client.restore_session(wanted.clone()).await.map_err(Failure::from) {
                        Ok(_) => {}
                        // Try again on the next connection.
                        Err(failure) if failure.is_lost_connection() => key = Some(wanted),
                        Err(failure) => return Err(End::Failure(failure)),
                    }
                }
            }
            Event::Signal(_) => {
                awaited = awaited.map(|count| count - 1);
                if awaited == Some(0) {
                    return Ok(());
                }
            }
            // The reason follows.
            Event::Disconnected { reason: DisconnectReason::Incompatible, .. } => {}
            Event::Disconnected { retry_in: None, .. }
            | Event::ConnectFailed { retry_in: None, .. } => return Err(End::GaveUp),
            _ => {}
        }
    }
    Err(End::GaveUp)
}

/// Prints one line for an event at once. A new connection is shown with its version.
async fn print_event(event: &Event, dialect: Dialect, json: bool) -> io::Result<()> {
    let line = if json {
        output::row(&EventRow::new(event, dialect))?
    } else {
        format!("{}\n", describe(event, dialect)).into_bytes()
    };
    output::print(line).await
}
