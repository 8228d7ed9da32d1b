//! `wwr signal`: one signal.

use std::io;
use std::process::ExitCode;

use serde::Serialize;
use wwr::Name;

use crate::args::{LogLevel, SignalArguments};
use crate::deadline::{Deadline, Stage};
use crate::failure::{Failure, FailureRow};
use crate::remote::Remote;
use crate::runtime::Tasks;
use crate::{log, output};

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    #[serde(flatten)]
    failure: Option<FailureRow>,
}

pub(crate) fn run(arguments: &SignalArguments) -> io::Result<ExitCode> {
    let deadline = Deadline::new(arguments.timeout);
    log::start(&arguments.connect.log, LogLevel::Warn)?;
    let name = arguments.content.name();
    let tasks = Tasks::default();
    smol::block_on(tasks.run(async {
        let sent = signal(arguments, &name, deadline, &tasks).await;
        let mut bytes = Vec::new();
        if arguments.connect.json {
            let failure = sent.as_ref().err().map(Failure::row);
            bytes = output::row(&Row { name: name.as_str(), failure })?;
        }
        let printed = output::print_within(deadline, bytes).await?;
        Ok(match sent.and(printed) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                failure.tell("signal");
                failure.exit_code()
            }
        })
    }))
}

async fn signal(
    arguments: &SignalArguments,
    name: &Name,
    deadline: Deadline,
    tasks: &Tasks,
) -> Result<(), Failure> {
    let mut remote = Remote::new(&arguments.connect, deadline, tasks)?;
    let sent = async {
        let payload = deadline.limit(Stage::Reading, arguments.content.read_payload()).await?;
        remote.connect().await?;
        let sent = async { Ok(remote.client.signal(name.clone(), payload).await?) };
        deadline.limit(Stage::Closing, sent).await
    };
    match sent.await {
        Ok(()) => remote.close().await,
        Err(failure) => Err(remote.fail(failure).await),
    }
}
