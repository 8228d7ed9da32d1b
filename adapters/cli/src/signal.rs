//! `wwr signal`: one signal.

use std::io;
use std::process::ExitCode;

use serde::Serialize;
use wwr::Name;

use crate::args::{LogLevel, SignalArguments};
use crate::failure::{Failure, FailureRow, write_row};
use crate::log;
use crate::remote::Remote;

#[derive(Debug, Serialize)]
struct Row<'a> {
    name: &'a str,
    #[serde(flatten)]
    failure: Option<FailureRow>,
}

pub(crate) fn run(arguments: &SignalArguments) -> io::Result<ExitCode> {
    log::start(&arguments.connect.log, LogLevel::Warn);
    let name = arguments.content.name();
    let result = smol::block_on(signal(arguments, &name));
    if arguments.connect.json {
        let failure = result.as_ref().err().map(Failure::row);
        write_row(&Row { name: name.as_str(), failure })?;
    }
    Ok(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell("signal");
            failure.exit_code()
        }
    })
}

async fn signal(arguments: &SignalArguments, name: &Name) -> Result<(), Failure> {
    let payload = arguments.content.read_payload()?;
    let remote = Remote::connect(&arguments.connect, arguments.timeout).await?;
    if let Err(error) = remote.client.signal(name.clone(), payload).await {
        return Err(remote.fail(error).await);
    }
    remote.close().await;
    Ok(())
}
