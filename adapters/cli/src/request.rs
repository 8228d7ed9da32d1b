//! `wwr request`: one request and its reply.

use std::io::{self, Write, stdout};
use std::process::ExitCode;

use serde::Serialize;
use wwr::{Name, Payload};

use crate::args::{LogLevel, RequestArguments};
use crate::content::{PayloadRow, printable};
use crate::failure::{Failure, FailureRow, write_row};
use crate::log;
use crate::remote::Remote;

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
    log::start(&arguments.connect.log, LogLevel::Warn);
    let name = arguments.content.name();
    let (result, remote) = smol::block_on(request(arguments, &name));
    let told = tell(arguments, &name, result);
    // The result does not wait for a server that is slow to say goodbye.
    if let Some(remote) = remote {
        smol::block_on(remote.close());
    }
    told
}

/// Prints what came of the request.
fn tell(
    arguments: &RequestArguments,
    name: &Name,
    result: Result<Payload, Failure>,
) -> io::Result<ExitCode> {
    if arguments.connect.json {
        let outcome = match &result {
            Ok(reply) => Outcome::Reply(PayloadRow::new(reply)),
            Err(failure) => Outcome::Failure(failure.row()),
        };
        write_row(&Row { name: name.as_str(), outcome })?;
    }
    match result {
        Ok(reply) => {
            if !arguments.connect.json {
                let mut out = stdout().lock();
                out.write_all(&printable(&reply))?;
                out.flush()?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            failure.tell("request");
            Ok(failure.exit_code())
        }
    }
}

/// Makes the request; gives the connection back if there is one to be closed.
async fn request(
    arguments: &RequestArguments,
    name: &Name,
) -> (Result<Payload, Failure>, Option<Remote>) {
    let prepared = async {
        let payload = arguments.content.read_payload()?;
        Ok((payload, Remote::connect(&arguments.connect, arguments.timeout).await?))
    };
    let (payload, remote) = match prepared.await {
        Ok(prepared) => prepared,
        Err(failure) => return (Err(failure), None),
    };
    let time_left = remote.time_left();
    match remote.client.request_within(time_left, name.clone(), payload).await {
        Ok(reply) => (Ok(reply), Some(remote)),
        Err(error) => (Err(remote.fail(error).await), None),
    }
}
