//! `wwr request`: one request and its reply.

use std::io::{self, IsTerminal as _, stdout};
use std::process::ExitCode;

use serde::Serialize;
use wwr::{Name, Payload};

use crate::args::{LogLevel, RequestArguments};
use crate::content::{PayloadRow, printable, printable_on_terminal};
use crate::deadline::{Deadline, Stage};
use crate::failure::{Failure, FailureRow};
use crate::remote::Remote;
use crate::runtime::Tasks;
use crate::{log, output};

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Reply(PayloadRow),
    Failure(FailureRow),
}

pub(crate) fn run(arguments: &RequestArguments) -> io::Result<ExitCode> {
    let deadline = Deadline::new(arguments.timeout);
    log::start(&arguments.connect.log, LogLevel::Warn)?;
    let name = arguments.content.name();
    let tasks = Tasks::default();
    smol::block_on(tasks.run(async {
        let (result, remote) = request(arguments, &name, deadline, &tasks).await;
        let told = tell(arguments, &name, deadline, result).await;
        // The result does not wait for a server that is slow to close.
        if let Some(remote) = remote {
            remote.leave().await;
        }
        told
    }))
}

/// Prints the result of the request.
async fn tell(
    arguments: &RequestArguments,
    name: &Name,
    deadline: Deadline,
    result: Result<Payload, Failure>,
) -> io::Result<ExitCode> {
    let bytes = if arguments.connect.json {
        let outcome = match &result {
            Ok(reply) => Outcome::Reply(PayloadRow::new(reply)),
            Err(failure) => Outcome::Failure(failure.row()),
        };
        output::row(&Row { name: name.as_str(), outcome })?
    } else {
        result.as_ref().map(shown).unwrap_or_default()
    };
    let printed = output::print_within(deadline, bytes).await?;
    match result.and(printed) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => {
            failure.tell("request");
            Ok(failure.exit_code())
        }
    }
}

/// A reply in the form in which it is printed.
fn shown(reply: &Payload) -> Vec<u8> {
    if stdout().is_terminal() {
        printable_on_terminal(reply).into_bytes()
    } else {
        printable(reply).into_owned()
    }
}

/// Makes the request. Returns the connection if it has to be closed.
async fn request(
    arguments: &RequestArguments,
    name: &Name,
    deadline: Deadline,
    tasks: &Tasks,
) -> (Result<Payload, Failure>, Option<Remote>) {
    let mut remote = match Remote::new(&arguments.connect, deadline, tasks) {
        Ok(remote) => remote,
        Err(failure) => return (Err(failure), None),
    };
    let exchanged = async {
        let payload = deadline.limit(Stage::Reading, arguments.content.read_payload()).await?;
        remote.connect().await?;
        let left = deadline.left_at_least();
        let replied =
            async { Ok(remote.client.request_within(left, name.clone(), payload).await?) };
        deadline.limit(Stage::Replying, replied).await
    };
    match exchanged.await {
        Ok(reply) => (Ok(reply), Some(remote)),
        Err(failure) => (Err(remote.fail(failure).await), None),
    }
}
