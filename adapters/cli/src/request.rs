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
    let result = smol::block_on(request(arguments, &name));
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

async fn request(arguments: &RequestArguments, name: &Name) -> Result<Payload, Failure> {
    let payload = arguments.content.read_payload()?;
    let remote = Remote::connect(&arguments.connect, arguments.timeout).await?;
    let time_left = remote.time_left();
    match remote.client.request_within(time_left, name.clone(), payload).await {
        Ok(reply) => {
            remote.close().await;
            Ok(reply)
        }
        Err(error) => Err(remote.fail(error).await),
    }
}
