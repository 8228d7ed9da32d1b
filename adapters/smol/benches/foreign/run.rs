//! What the program does.

use std::error::Error;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use super::args::Args;
use super::case::{CASES, Case};
use super::load::{Load, Sample};
use super::place::stay_on;
use super::process::Process;
use super::report::{Report, Row};
use super::runtime::{Failure, RUNTIMES, Runtime};
use super::start::start;
use super::{echo, latency};

const WARM_UP: Duration = Duration::from_millis(100);

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    start(|| {
        let args = Args::read();
        match args.serve {
            Some(runtime) => {
                args.processor.map_or(Ok(()), stay_on)?;
                echo::serve(runtime).map_err(|error| -> Box<dyn Error> { error })?;
                Ok(ExitCode::SUCCESS)
            }
            None => compare(&args).map_err(|error| -> Box<dyn Error> { error }),
        }
    })
}

fn compare(args: &Args) -> Result<ExitCode, Failure> {
    let processors = args.place.processors()?;
    processors.map_or(Ok(()), |[_, client]| stay_on(client))?;
    let bench = Bench { args, server: processors.map(|[server, _]| server) };
    let included = RUNTIMES.into_iter().filter(|runtime| args.include(*runtime));
    let mut rows: Vec<Row> = included.map(Row::new).collect();
    for number in 0..args.runs as usize {
        eprintln!("run {} of {}", number + 1, args.runs);
        // The order rotates, so that slow changes of the machine favour none.
        let count = rows.len();
        for place in 0..count {
            bench.run(&mut rows[(number + place) % count])?;
        }
    }
    let report = Report { rows };
    if args.json {
        report.print_json(args);
    } else {
        report.print(args);
    }
    let good = args.test || report.worst_ratio() <= args.most;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is the same for all that is measured.
struct Bench<'a> {
    args: &'a Args,
    /// The processor for the servers.
    server: Option<usize>,
}

impl Bench<'_> {
    /// Measures one executor.
    fn run(&self, row: &mut Row) -> Result<(), Failure> {
        let server = self.serve(row.runtime)?;
        let times = latency::measure(row.runtime, server.address(), self.args.requests)?;
        drop(server);
        row.add_times(times);
        for (case, samples) in CASES.iter().zip(&mut row.loads) {
            samples.push(self.load(row.runtime, case)?);
        }
        Ok(())
    }

    fn load(&self, runtime: Runtime, case: &Case) -> Result<Sample, Failure> {
        let server = self.serve(runtime)?;
        let mut load = Load::connect(case, &server, true)?;
        load.warm_up(if self.args.test { Duration::ZERO } else { WARM_UP })?;
        let sample = load.measure(&server, self.args.load())?;
        load.finish()?;
        Ok(sample)
    }

    /// A server in a process of its own.
    fn serve(&self, runtime: Runtime) -> io::Result<Process> {
        let processor = self.server.map(|processor| processor.to_string());
        let mut arguments = vec!["--serve", runtime.name()];
        if let Some(processor) = &processor {
            arguments.extend(["--processor", processor]);
        }
        Process::start(&arguments)
    }
}
