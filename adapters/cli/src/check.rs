//! `wwr check`: whether a host keeps to the protocol.

mod connections;
mod ending;
mod facts;
mod frames;
mod host;
mod http;
mod limits;
mod line;
mod liveness;
mod malformed;
mod outcome;
mod report;
mod requests;
mod sessions;
mod upgrade;
mod versions;
mod wire;

use core::cell::Cell;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use smol::Timer;
use smol::future::or;
use wwr::Payload;
use wwr_smol::client::ServerUrl;

use crate::args::{CheckArguments, LogLevel};
use crate::deadline::{Deadline, Stage};
use crate::runtime::Tasks;
use crate::text::one_line;
use crate::{FAILED, log, output, stderr};
use facts::Facts;
use host::Host;
use line::shown;
use outcome::{Check, Outcome, Trouble};
use report::{Made, Report};

/// All checks by topic, in the order in which they are made.
const TOPICS: &[(&str, &[Check])] = &[
    ("http", http::CHECKS),
    ("upgrade", upgrade::CHECKS),
    ("versions", versions::CHECKS),
    ("requests", requests::CHECKS),
    ("limits", limits::CHECKS),
    ("malformed", malformed::CHECKS),
    ("frames", frames::CHECKS),
    ("liveness", liveness::CHECKS),
    ("sessions", sessions::CHECKS),
    ("connections", connections::CHECKS),
    ("ending", ending::CHECKS),
];

/// Something failed.
const SOMETHING_FAILED: u8 = 1;

pub(crate) fn run(arguments: &CheckArguments) -> io::Result<ExitCode> {
    let deadline = Deadline::new(arguments.timeout);
    log::start(&arguments.log, LogLevel::Warn)?;
    let chosen = chosen(&arguments.only)?;
    if arguments.list {
        return smol::block_on(output::print_styled(report::list(&chosen)))
            .map(|()| ExitCode::SUCCESS);
    }
    // Clap lets it be absent only with --list.
    let Some(url) = &arguments.url else { return Ok(ExitCode::from(FAILED)) };
    let tasks = Tasks::default();
    smol::block_on(tasks.run(async {
        let host = match prepare(arguments, url, &tasks, deadline).await {
            Ok(host) => host,
            Err(why) => {
                stderr::say(&format!("wwr check: {}", one_line(&why)));
                return Ok(ExitCode::from(FAILED));
            }
        };
        let made = make_all(&host, &chosen, deadline).await;
        let report = Report::new(&host, made);
        let printed = async {
            Ok(match arguments.json {
                true => output::print(output::row(&report)?).await,
                false => output::print_styled(report.for_people()).await,
            })
        };
        match deadline.limit(Stage::Printing, printed).await {
            Ok(printed) => printed?,
            Err(late) => {
                late.tell("check");
                return Ok(ExitCode::from(FAILED));
            }
        }
        Ok(exit_code(&report, arguments.strict))
    }))
}

fn exit_code(report: &Report, strict: bool) -> ExitCode {
    let counts = &report.counts;
    if counts.fail > 0 || strict && counts.warn > 0 {
        return ExitCode::from(SOMETHING_FAILED);
    }
    if counts.not_run > 0 {
        stderr::say(
            "wwr check: the time was over before every check was made; --timeout gives more",
        );
        return ExitCode::from(FAILED);
    }
    ExitCode::SUCCESS
}

/// A check with its topic.
type Chosen = (&'static str, &'static Check);

/// Returns the checks of these names or topics, or all.
fn chosen(only: &[String]) -> io::Result<Vec<Chosen>> {
    let all = TOPICS.iter().flat_map(|(topic, checks)| checks.iter().map(|check| (*topic, check)));
    let is_named = |(topic, check): &Chosen, name: &str| *topic == name || check.name == name;
    if let Some(name) = only.iter().find(|name| !all.clone().any(|one| is_named(&one, name))) {
        let why = format!("--only {name}: there is no such check or topic; --list shows them");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(all.filter(|one| only.is_empty() || only.iter().any(|name| is_named(one, name))).collect())
}

/// Finds out what the host says about itself, and whether it can be checked. The error says why not.
async fn prepare(
    arguments: &CheckArguments,
    url: &ServerUrl,
    tasks: &Tasks,
    deadline: Deadline,
) -> Result<Host, String> {
    let headers = arguments.headers.all(url).map_err(|error| error.to_string())?;
    let own = |(name, value): (&::http::HeaderName, &::http::HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    let mut host = Host {
        url: url.clone(),
        reach: arguments.reach.prepare(url, deadline.left()).map_err(|error| error.to_string())?,
        tasks: tasks.clone(),
        headers: headers.iter().map(own).collect(),
        patience: arguments.patience,
        wait: arguments.wait,
        echo: arguments.echo.clone(),
        login: arguments.login.clone().map(|name| (name, arguments.login_payload.clone())),
        stop: arguments.stop.clone(),
        facts: Facts::default(),
        identifiers: Cell::new(0),
    };
    let gathered = or(async { Some(Facts::gather(&host).await) }, late(deadline)).await;
    match gathered {
        Some(Ok(facts)) => host.facts = facts,
        Some(Err(trouble)) => return Err(trouble.to_string()),
        None => return Err("the time was over before anything was known of the host".into()),
    }
    match or(async { Some(echoes(&host).await) }, late(deadline)).await {
        Some(Ok(())) => Ok(host),
        Some(Err(why)) => Err(why),
        None => Err("the time was over before the echo was tried".into()),
    }
}

/// Makes sure that `--echo` names what it has to. Other mistakes in the reply are for the checks.
async fn echoes(host: &Host) -> Result<(), String> {
    let Some(name) = &host.echo else { return Ok(()) };
    let id = host.next_id();
    let asked = async {
        let request = host.echoed(id, &Payload::binary(&b"echo?"[..]))?;
        let mut line = host.open().await?;
        line.ask(&request, id).await
    };
    match asked.await {
        Ok((_, reply)) if matches!(reply.first(), Some(0..=6)) => Err(format!(
            "--echo {name}: the request failed: {}; name one that replies with its payload",
            shown(&[reply])
        )),
        Ok(_) | Err(Trouble::Late { .. } | Trouble::Ended(_)) => Ok(()),
        Err(trouble) => Err(format!("--echo {name}: {trouble}")),
    }
}

/// Ends when the time is over.
async fn late<T>(deadline: Deadline) -> Option<T> {
    Timer::after(deadline.left()).await;
    None
}

/// Makes the checks, one after the other.
async fn make_all(host: &Host, chosen: &[Chosen], deadline: Deadline) -> Vec<Made> {
    let bar =
        ProgressBar::with_draw_target(Some(chosen.len() as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("[{bar:40.cyan}] {pos}/{len}  {msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut made = Vec::new();
    for (topic, check) in chosen {
        bar.set_message(check.name);
        let started = Instant::now();
        let verdict = match deadline.left().is_zero() {
            true => None,
            false => or(async { Some((check.run)(host).await) }, late(deadline)).await,
        };
        let (outcome, seen) = match verdict {
            Some(verdict) => Outcome::of(check.level, verdict),
            None => (Outcome::NotRun, "the time was over".into()),
        };
        tracing::debug!(check = check.name, ?outcome, took = ?started.elapsed(), "checked");
        made.push(Made::new(topic, check, outcome, seen));
        bar.inc(1);
    }
    bar.finish_and_clear();
    made
}

#[cfg(test)]
mod tests {
    use super::outcome::Level;
    use super::*;

    #[test]
    fn names_are_unique_and_sections_exist() {
        let protocol = include_str!("../../../docs/protocol.md");
        let all = chosen(&[]).unwrap();
        for (topic, check) in &all {
            let same = all.iter().filter(|(_, one)| one.name == check.name).count();
            assert_eq!(same, 1, "{}", check.name);
            assert!(TOPICS.iter().all(|(topic, _)| *topic != check.name), "{topic}");
            let heading = format!("\n### {} ", check.section);
            let chapter = format!("\n## {} ", check.section);
            let is_there = protocol.contains(&heading) || protocol.contains(&chapter);
            assert!(is_there, "{}: {}", check.name, check.section);
            assert!(!check.expected.ends_with('.') && !check.expected.contains("  "));
        }
        assert!(all.iter().filter(|(_, check)| check.level == Level::Must).count() > 40);
    }

    #[test]
    fn checks_are_chosen_by_name_and_topic() {
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|name| (*name).to_owned()).collect();
            chosen(&only).map(|all| all.iter().map(|(_, check)| check.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["ping", "silence"]).unwrap(), ["ping", "silence"]);
        assert_eq!(names(&["ending"]).unwrap(), ["close-handshake", "close-empty", "shutdown"]);
        assert!(names(&["ping", "pong"]).unwrap_err().to_string().contains("--only pong"));
    }
}
