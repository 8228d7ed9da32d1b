//! The program: rounds in which something is broken while clients work, each of them checked.

mod engine;
mod probe;
mod stage;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use tokio::time::sleep;

use crate::check::{Promises, Violation, check};
use crate::clients::{self, ClientsArguments, FAMILY, Phase};
use crate::clock::now;
use crate::history::{Entry, Event, Fault, Time};
use crate::node::{self, NodeArguments};
use stage::Stage;

/// Breaks nodes, engines and networks of a cluster while clients work, and checks what all of them saw against what
/// docs/cluster.md promises. Needs redis-server.
///
/// Exits with 0 if all promises were kept, with 1 if one was broken, and with 2 if the rounds could not be run.
#[derive(Parser, Debug)]
#[command(name = "chaos", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(flatten)]
    rounds: Rounds,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the processes are that the program starts. And what was kept can be checked again.
#[derive(Subcommand, Debug)]
enum Part {
    /// Check histories that were kept again.
    Check {
        /// Their files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        promised: Promised,
    },
    #[command(hide = true)]
    Node(NodeArguments),
    #[command(hide = true)]
    Clients(ClientsArguments),
}

/// What has to be known of the nodes.
#[derive(clap::Args, Clone, Debug)]
struct Promised {
    /// How many connections may have one session
    #[arg(long, default_value = "3")]
    limit: NonZeroUsize,
    /// The lease of the nodes in milliseconds, from 1000 to 15000
    #[arg(long, default_value_t = 2000)]
    lease: u64,
    /// Milliseconds until all have to know of an update or a closing, if nothing was broken
    #[arg(long, default_value_t = 5000)]
    told_within: u64,
}

impl Promised {
    fn promises(&self) -> Promises {
        Promises {
            limit: self.limit.get(),
            lease: Duration::from_millis(self.lease),
            told_within: Duration::from_millis(self.told_within),
        }
    }
}

#[derive(clap::Args, Clone, Debug)]
struct Rounds {
    /// How many rounds; in each, one thing is broken
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// What is broken, when and for how long, and what clients do, is drawn from this [default: by chance]
    #[arg(long)]
    seed: Option<u64>,
    /// How many clients; a multiple of four
    #[arg(long, default_value_t = 400)]
    clients: u32,
    /// How many processes they are in
    #[arg(long, default_value_t = 2)]
    processes: u32,
    /// How many nodes
    #[arg(long, default_value_t = 3)]
    nodes: u8,
    /// How many calls all clients together make in a second, about
    #[arg(long, default_value_t = 600.0)]
    rate: f64,
    /// What is to be broken, separated by commas [default: all that can be]
    #[arg(long, value_delimiter = ',', value_parser = Fault::NAMES)]
    faults: Vec<String>,
    /// Seconds until everything has to work again once all is mended
    #[arg(long, default_value_t = 30)]
    bound: u64,
    /// Where the histories of rounds with a violation are kept
    #[arg(long, default_value = "chaos-histories")]
    keep: PathBuf,
    /// Keep the histories of all rounds
    #[arg(long)]
    keep_all: bool,
    /// Let clients resume the signals to their sessions, and nodes keep them
    #[arg(long)]
    resume_signals: bool,
    /// Show what nodes and clients write to standard error
    #[arg(long)]
    logs: bool,
    #[command(flatten)]
    promised: Promised,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the program.
pub fn main() -> ExitCode {
    let Arguments { rounds, part } = Arguments::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let ran = runtime.map_err(Failure::from).and_then(|runtime| {
        runtime.block_on(async {
            match part {
                None => run(rounds).await,
                Some(Part::Check { files, promised }) => check_files(&files, &promised.promises()),
                Some(Part::Node(arguments)) => node::run(arguments).await.map(|()| true),
                Some(Part::Clients(arguments)) => clients::run(arguments).await.map(|()| true),
            }
        })
    });
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn check_files(files: &[PathBuf], promises: &Promises) -> Result<bool, Failure> {
    let mut all_true = true;
    for file in files {
        let named = |error| format!("{}: {error}", file.display());
        let text = std::fs::read_to_string(file).map_err(|error| named(error.to_string()))?;
        let history = text.lines().map(Entry::read).collect::<Result<Vec<_>, _>>();
        let history = history.map_err(|error| named(error.to_string()))?;
        let found = check(promises, &history);
        println!("{}: {} entries, {} violations", file.display(), history.len(), found.len());
        show(&found, history.first().map_or(Time(0), |entry| entry.at));
        all_true &= found.is_empty();
    }
    Ok(all_true)
}

/// Shows violations, some of each kind.
fn show(found: &[Violation], from: Time) {
    let mut promises: Vec<_> = found.iter().map(|violation| violation.promise).collect();
    promises.sort_unstable();
    promises.dedup();
    for promise in promises {
        let of_it = found.iter().filter(|violation| violation.promise == promise);
        println!("    {} times: {promise}", of_it.clone().count());
        for violation in of_it.take(5) {
            println!(
                "      at {:.3} s: {}",
                violation.at.since(from).as_secs_f64(),
                violation.what
            );
        }
    }
}

/// What became of a round.
struct Told {
    recovered: Option<Duration>,
    /// What did not work last before that.
    failed: Option<String>,
    settled: Option<Duration>,
    calls: u64,
    heard: u64,
    history: Vec<Entry>,
}

async fn run(arguments: Rounds) -> Result<bool, Failure> {
    let (clients, processes) = (arguments.clients, arguments.processes);
    if clients == 0 || !clients.is_multiple_of(FAMILY) || processes == 0 {
        return Err("--clients has to be a multiple of four, and --processes at least 1".into());
    }
    if arguments.nodes < 2 {
        return Err("--nodes has to be at least 2".into());
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut faults = draw(&arguments, &mut random);
    // Those that a sentinel is for come last: they need other engines.
    faults.sort_by_key(|fault| *fault == Fault::FailOver);
    println!(
        "seed {seed}: {} rounds, {} clients on {} nodes, a lease of {} ms",
        faults.len(),
        arguments.clients,
        arguments.nodes,
        arguments.promised.lease
    );
    let started = Instant::now();
    let (mut stage, mut wrong, mut slowest) = (None, 0, Duration::ZERO);
    for (number, fault) in (1..).zip(&faults) {
        let watched = *fault == Fault::FailOver;
        if stage.as_ref().is_none_or(|stage: &Stage| stage.is_watched() != watched) {
            drop(stage.take());
            let Some(made) = Stage::start(&arguments, seed, watched).await? else {
                return Err("redis-server is missing".into());
            };
            stage = Some(made);
        }
        let Some(stage) = &mut stage else { continue };
        let told = round(stage, &arguments, *fault, &mut random).await?;
        let found = check(&arguments.promised.promises(), &told.history);
        let seconds = |time: Option<Duration>| {
            time.map_or("   never".into(), |time| format!("{:>6.1} s", time.as_secs_f64()))
        };
        println!(
            "{number:>4}/{} {:<32} works after {}, settled after {}, {:>6} calls, {:>7} signals, {}",
            faults.len(),
            fault.to_string(),
            seconds(told.recovered),
            seconds(told.settled),
            told.calls,
            told.heard,
            if found.is_empty() { "ok".into() } else { format!("{} VIOLATIONS", found.len()) },
        );
        let promises = arguments.promised.promises();
        if let (Some(failed), true) =
            (&told.failed, told.recovered.is_none_or(|after| after > 2 * promises.lease))
        {
            println!("    last, after {failed}");
        }
        slowest = slowest.max(told.recovered.unwrap_or_default());
        let from = told.history.first().map_or(Time(0), |entry| entry.at);
        show(&found, from);
        wrong += u32::from(!found.is_empty());
        if arguments.keep_all || !found.is_empty() {
            let file = keep(&arguments.keep, seed, number, &told.history)?;
            println!("    history: {}", file.display());
        }
    }
    println!(
        "{} rounds in {:.0} s, {wrong} with violations; it took {:.1} s at most until all worked again",
        faults.len(),
        started.elapsed().as_secs_f64(),
        slowest.as_secs_f64()
    );
    Ok(wrong == 0)
}

fn draw(arguments: &Rounds, random: &mut fastrand::Rng) -> Vec<Fault> {
    let names: Vec<&str> = if arguments.faults.is_empty() {
        Fault::NAMES.to_vec()
    } else {
        arguments.faults.iter().map(String::as_str).collect()
    };
    // Each once before one comes again.
    let mut deck = Vec::new();
    let mut faults = Vec::new();
    for _ in 0..arguments.rounds {
        if deck.is_empty() {
            deck.clone_from(&names);
            random.shuffle(&mut deck);
        }
        let name = deck.pop().expect("it was just filled");
        faults.extend(Fault::named(name, random.u8(..arguments.nodes)));
    }
    faults
}

fn keep(
    directory: &Path,
    seed: u64,
    number: u32,
    history: &[Entry],
) -> Result<PathBuf, std::io::Error> {
    std::fs::create_dir_all(directory)?;
    let file = directory.join(format!("seed-{seed}-round-{number}.jsonl"));
    std::fs::write(&file, history.iter().map(Entry::line).collect::<String>())?;
    Ok(file)
}

async fn round(
    stage: &mut Stage,
    arguments: &Rounds,
    fault: Fault,
    random: &mut fastrand::Rng,
) -> Result<Told, Failure> {
    let bound = Duration::from_secs(arguments.bound);
    let mut seconds =
        |from: f64, to: f64| Duration::from_secs_f64(from + (to - from) * random.f64());
    let (warm_up, broken, aftermath) = (seconds(1.5, 2.5), seconds(1.2, 1.8), seconds(1.0, 1.5));
    stage.clear_histories()?;
    let before = stage.counts();
    // Clients that are still on their way back begin when they are there.
    stage.reach(Phase::Begin, bound).await;
    stage.tell(Phase::Play);
    sleep(warm_up).await;

    stage.note(Event::Fault(fault));
    stage.break_it(fault).await?;
    // The times are of leases: some end meanwhile.
    sleep(broken.mul_f64(arguments.promised.lease as f64 / 1000.0)).await;
    stage.mend(fault).await?;
    stage.note(Event::Mended);
    let mended = Instant::now();
    let recovered = probe::until_it_works(&stage.node_ports(), bound).await;
    match &recovered {
        Ok(_) => stage.note(Event::Working),
        Err(why) => stage.note(Event::Stuck(format!("after {bound:?}, {why}"))),
    }
    let (recovered, failed) = match recovered {
        Ok(failed) => (Some(mended.elapsed()), failed),
        Err(why) => (None, Some(why)),
    };
    sleep(aftermath).await;

    let settling = Instant::now();
    let late = stage.reach(Phase::Settle, bound).await;
    let settled = late.is_none().then(|| settling.elapsed());
    if let Some(late) = late {
        stage.note(Event::Stuck(format!("{bound:?} after clients began to settle, {late}")));
    }
    if let Some(late) = stage.reach(Phase::Close, bound).await {
        stage.note(Event::Stuck(format!("{bound:?} after sessions were closed, {late}")));
    }
    stage.tell(Phase::Rest);
    // What clients have written is in their files after they have said something once more.
    sleep(Duration::from_millis(300)).await;
    let after = stage.counts();
    let mut history = stage.history()?;
    history.sort_by_key(|entry| entry.at);
    let (calls, heard) = (after.0 - before.0, after.1 - before.1);
    debug_assert!(history.last().is_none_or(|entry| entry.at <= now()));
    Ok(Told { recovered, failed, settled, calls, heard, history })
}
