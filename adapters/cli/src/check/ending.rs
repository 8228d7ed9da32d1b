//! The end of connections, and that of the host.

use core::time::Duration;

use smol::Timer;
use smol::process::{Command, Stdio};

use super::host::Host;
use super::line::{CLOSE, Line, frame};
use super::outcome::{Check, End, Finding, Level, Trouble, Verdict};
use super::wire::within;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "close-handshake",
        section: "§4.4",
        level: Level::Must,
        expected: "a close frame is answered with one of the same code, and then the connection ends",
        run: |host| Box::pin(close(host)),
    },
    Check {
        name: "close-empty",
        section: "§4.4",
        level: Level::Must,
        expected: "a close frame without a code is answered, and then the connection ends",
        run: |host| Box::pin(close_empty(host)),
    },
    // The last one: there is no host afterwards.
    Check {
        name: "shutdown",
        section: "§5.10",
        level: Level::Must,
        expected: "during a shutdown, requests on open connections get 01 or their connection ends, and new \
                   ones are refused with 503 or not accepted at all",
        run: |host| Box::pin(shutdown(host)),
    },
];

/// How often is looked whether the shutdown has begun.
const LOOK: Duration = Duration::from_millis(20);

async fn close(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    line.write(&frame(CLOSE, &1000_u16.to_be_bytes())).await?;
    let (_, end) = line.end().await?;
    if end == End::Cut {
        return Ok(Finding::Fail(end.to_string()));
    }
    line.hang_up().await?;
    Ok(Finding::of(end == End::Closed(Some(1000)), end.to_string()))
}

async fn close_empty(host: &Host) -> Verdict {
    let mut line = host.open().await?;
    line.write(&frame(CLOSE, b"")).await?;
    let (_, end) = line.end().await?;
    if end == End::Cut {
        return Ok(Finding::Fail(end.to_string()));
    }
    line.hang_up().await?;
    Ok(Finding::Pass(end.to_string()))
}

async fn shutdown(host: &Host) -> Verdict {
    let Some(stop) = &host.stop else {
        return Trouble::skip("needs a command that shuts the host down: --stop");
    };
    let mut line = host.open().await?;
    line.settle(host).await?;
    within(host.patience, "the end of --stop", run(stop)).await?;
    let open = within(host.patience, "a sign of the shutdown", refused(host, &mut line)).await?;
    let new = host.handshake()?.0;
    let refused = match host.request(&new).await {
        Ok(answer) if answer.status == 503 => "new ones get 503".into(),
        Ok(answer) => return Ok(Finding::Fail(format!("{open}; new ones get {}", answer.status))),
        Err(Trouble::NotReached(_) | Trouble::Ended(_)) => "new ones are not accepted".to_owned(),
        Err(trouble) => return Err(trouble),
    };
    Ok(Finding::Pass(format!("{open}; {refused}")))
}

/// Runs a command of the user.
async fn run(command: &str) -> Result<(), Trouble> {
    let (shell, option) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut shell = Command::new(shell);
    shell.arg(option).arg(command).stdin(Stdio::null()).stdout(Stdio::null());
    match shell.status().await {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Trouble::skip(format!("--stop failed: {status}")),
        Err(error) => Trouble::skip(format!("--stop failed: {error}")),
    }
}

/// Asks until the host refuses, and returns how.
async fn refused(host: &Host, line: &mut Line) -> Result<String, Trouble> {
    loop {
        let id = host.next_id();
        let asked = match line.send(&host.question(id)?).await {
            Ok(()) => line.reply(id).await,
            Err(trouble) => Err(trouble),
        };
        match asked {
            Ok((_, reply)) if reply.first() == Some(&0x01) => {
                return Ok("an open one gets 01".into());
            }
            Ok(_) => Timer::after(LOOK).await,
            Err(Trouble::Ended(end)) => return Ok(end.to_string()),
            Err(trouble) => return Err(trouble),
        };
    }
}
