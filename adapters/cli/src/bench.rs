//! `wwr bench`: puts a server under load and measures it.

mod connection;
mod page;
mod plan;
mod progress;
mod report;
mod schedule;
mod system;
mod tally;
mod text;
mod thread;
mod timeline;

use core::time::Duration;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Instant;
use std::{env, thread as system_thread};

use smol::block_on;
use smol::channel::{self, Sender};
use smol::future::{or, poll_once};
use wwr::client::ConnectError as Kind;
use wwr_smol::client::ConnectError;

use crate::args::{BenchArguments, LogLevel, without_secrets};
use crate::failure::Failure;
use crate::stop::Stop;
use crate::{files, log, output};
use plan::{Course, Plan, Spoken};
use progress::Progress;
use report::Outcome;
use tally::Tally;
use thread::{Report, Thread};

/// How often the progress is shown, and a signal to stop is noticed.
const TICK: Duration = Duration::from_millis(50);

/// Why there is no result.
enum End {
    Io(io::Error),
    Failure(Failure),
    /// A signal ended the command.
    Stopped(u8),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

pub(crate) fn run(arguments: &BenchArguments) -> io::Result<ExitCode> {
    log::start(&arguments.log, LogLevel::Warn)?;
    match bench(arguments) {
        Ok(code) => Ok(code),
        Err(End::Io(error)) => Err(error),
        Err(End::Stopped(code)) => Ok(ExitCode::from(code)),
        Err(End::Failure(failure)) => {
            failure.tell("bench");
            Ok(failure.exit_code())
        }
    }
}

fn bench(arguments: &BenchArguments) -> Result<ExitCode, End> {
    // A file that cannot be read to its end does not keep a signal from ending the command.
    let plan = Arc::new(Plan::new(arguments)?);
    let mut stop = Stop::new()?;
    if let Some(page) = arguments.html.clone() {
        // A file that cannot be written should fail before the run, not after it. Its content stays
        // until there is a new one.
        let opened = smol::unblock(move || {
            File::options().append(true).create(true).open(&page).map_err(named(&page))
        });
        until_stopped(&mut stop, opened)?;
    }
    files::raise_limit();
    let mut crew = Crew::start(&plan, stop)?;
    let spoken = crew.gather(&plan)?;
    let (mut tally, interrupted) = crew.run(&plan)?;
    if let Some(failure) = crew.course.failure() {
        failure.tell("bench");
        return Ok(failure.exit_code());
    }
    let failure = tally.failure.take();
    let command: Vec<String> =
        without_secrets(env::args_os().map(|word| word.to_string_lossy().into_owned()))
            .iter()
            .map(|word| shell_word(word))
            .collect();
    let measured = crew.course.end().saturating_sub(plan.schedule.warmup);
    let outcome = Outcome::new(&plan, spoken, &tally, measured, interrupted, command.join(" "));
    if let Some(file) = arguments.html.clone() {
        let mut page = Vec::new();
        page::write(&mut page, &outcome, &tally)?;
        until_stopped(&mut crew.stop, smol::unblock(move || write_page(&file, &page)))?;
    }
    let mut bytes = Vec::new();
    if arguments.json {
        output::write_row(&mut bytes, &outcome)?;
        until_stopped(&mut crew.stop, output::print(bytes))?;
    } else {
        text::write(&mut bytes, &outcome)?;
        until_stopped(&mut crew.stop, output::print_styled(bytes))?;
    }
    Ok(match failure {
        Some(failure) if tally.requests.done + tally.signals.done == 0 => {
            failure.tell("bench");
            failure.exit_code()
        }
        Some(_) | None => ExitCode::SUCCESS,
    })
}

/// Waits for something that may block, unless a signal ends the command.
fn until_stopped<T>(stop: &mut Stop, work: impl Future<Output = io::Result<T>>) -> Result<T, End> {
    let stopped = async { Err(stop.next().await.map_or_else(End::Io, End::Stopped)) };
    block_on(or(async { Ok(work.await?) }, stopped))
}

fn write_page(path: &Path, page: &[u8]) -> io::Result<()> {
    let write = || File::create(path)?.write_all(page);
    write().map_err(named(path))
}

/// Adds the name of the file to an error.
fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// The threads and their channels.
struct Crew {
    course: Arc<Course>,
    threads: u64,
    reports: Receiver<Report>,
    start: Sender<Instant>,
    /// Dropped to let the run end.
    halt: Option<Sender<()>>,
    stop: Stop,
}

impl Crew {
    /// Starts the threads, which open the connections.
    fn start(plan: &Arc<Plan>, stop: Stop) -> io::Result<Self> {
        let course = Arc::new(Course::new(plan));
        let (to_me, reports) = mpsc::channel();
        let (start, started) = channel::unbounded();
        let (halt, halted) = channel::bounded(1);
        for number in 0..plan.threads {
            let thread = Thread {
                number,
                plan: plan.clone(),
                course: course.clone(),
                reports: to_me.clone(),
                start: started.clone(),
                halt: halted.clone(),
            };
            system_thread::Builder::new()
                .name(format!("load {number}"))
                .spawn(move || thread.run())?;
        }
        Ok(Self { course, threads: plan.threads, reports, start, halt: Some(halt), stop })
    }

    /// Waits until all connections are open, or at least some.
    fn gather(&mut self, plan: &Plan) -> Result<Spoken, End> {
        let (mut all, mut first, mut known) = (0, None, None);
        for _ in 0..self.threads {
            let report = loop {
                if let Some(code) = self.told_to_stop()? {
                    return Err(End::Stopped(code));
                }
                if let Some(report) = self.next_report()? {
                    break report;
                }
            };
            if let Report::Ready { connected, spoken, failure } = report {
                all += connected;
                first = first.or(failure);
                known = known.or(spoken);
            }
        }
        match (known, first) {
            (Some(spoken), _) if all > 0 => {
                plan.check(spoken)?;
                Ok(spoken)
            }
            (_, Some(failure)) => Err(failure.into()),
            // All were lost as soon as they were open.
            (_, None) => {
                let lost = ConnectError::Failed { kind: Kind::LostBeforeReady, cause: None };
                Err(Failure::from(lost).into())
            }
        }
    }

    /// Lets the threads send, and adds up their results. Returns whether the user ended the run.
    fn run(&mut self, plan: &Plan) -> Result<(Tally, bool), End> {
        let began = Instant::now();
        for _ in 0..self.threads {
            // Threads that have ended have nothing to begin with.
            let _ = self.start.try_send(began);
        }
        let progress = Progress::new(plan);
        let (mut sum, mut missing, mut interrupted) = (Tally::new(), self.threads, false);
        while missing > 0 {
            if let Some(Report::Done(tally)) = self.next_report()? {
                sum.add(*tally);
                missing -= 1;
            }
            if let Some(code) = self.told_to_stop()? {
                if interrupted || began.elapsed() < plan.schedule.warmup {
                    return Err(End::Stopped(code));
                }
                interrupted = true;
                self.course.end_at(began.elapsed());
            }
            if interrupted || self.course.failure().is_some() {
                self.halt = None;
            }
            progress.show(began.elapsed(), self.course.progress());
        }
        progress.end();
        Ok((sum, interrupted))
    }

    fn next_report(&self) -> io::Result<Option<Report>> {
        match self.reports.recv_timeout(TICK) {
            Ok(report) => Ok(Some(report)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("a thread has failed")),
        }
    }

    /// Returns whether a signal came that ends a program. Does not wait.
    fn told_to_stop(&mut self) -> io::Result<Option<u8>> {
        block_on(poll_once(self.stop.next())).transpose()
    }
}

/// Returns a word as it is written for a shell.
fn shell_word(word: &str) -> String {
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}
