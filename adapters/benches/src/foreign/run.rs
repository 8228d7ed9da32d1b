//! What the program does.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use super::args::Args;
use super::place::stay_on;
use super::report::{Report, Row};
use super::runtime::{RUNTIMES, Runtime};
use super::{echo, latency};
use crate::support::case::Case;
use crate::support::host::Failure;
use crate::support::load::{Load, Sample};
use crate::support::process::Process;
use crate::support::start::start;
use crate::support::traffic::Protocol;

/// The loads under which the throughput is measured: each connection waits for its reply; and each has
/// some more requests on the way.
pub(crate) const CASES: [Case; 2] = [Case::new("16x1", 16, 1, 32), Case::new("16x16", 16, 16, 32)];

const WARM_UP: Duration = Duration::from_millis(100);

/// Compares executors.
pub fn main() -> ExitCode {
    start(|| {
        let args = Args::read();
        match args.serve {
            Some(runtime) => {
                args.processor.map_or(Ok(()), stay_on)?;
                echo::serve(runtime)?;
                Ok(ExitCode::SUCCESS)
            }
            None => compare(&args),
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
    if args.common.json {
        report.print_json(args);
    } else {
        report.print(args);
    }
    let good = args.common.test || report.worst_ratio() <= args.most;
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
        let mut load = Load::connect(case, &server, Protocol::WebWire)?;
        load.warm_up(if self.args.common.test { Duration::ZERO } else { WARM_UP })?;
        let sample = load.measure(&server, self.args.load)?;
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
