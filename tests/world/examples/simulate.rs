//! Runs simulated worlds, as many as wanted, and tells what they came across.
//!
//! ```text
//! cargo run --release --example simulate -- --seeds 1000000
//! cargo run --release --example simulate -- --seed 42 --trace
//! ```
//!
//! Ends with exit code 1 at the first world in which something does not hold, and says how to
//! repeat it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use wwr_world::{
    Coverage, Dice, HostReport, Invariant, Lines, Links, NodeMistake, NodesReport, Report,
    SharingReport, Violation, run_hosts, run_nodes, run_over, run_sharing,
};

/// Runs simulated worlds: one seed is one world, bit for bit.
#[derive(Debug, Parser)]
struct Args {
    /// How many worlds to run.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The seed of the first.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs the world of this seed alone.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Prints all that happens, with --seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How many worlds run at a time.
    #[arg(long, default_value_t = 1)]
    jobs: u64,
    /// Runs each N-th world twice, to see that it is the same; 0 for none.
    #[arg(long, default_value_t = 64)]
    twice: u64,
    /// Goes on after a violation, and counts them by what did not hold.
    #[arg(long)]
    keep_going: bool,
    /// Lets links carry bytes, by way of WebSockets, in place of messages.
    #[arg(long)]
    bytes: bool,
    /// Runs worlds of whole hosts and clients of wwr-socket, one after the other.
    #[arg(long, conflicts_with_all = ["bytes", "jobs", "twice", "keep_going"])]
    hosts: bool,
    /// Runs worlds of several nodes that share an engine.
    #[arg(long, conflicts_with_all = ["bytes", "hosts", "twice"])]
    nodes: bool,
    /// Runs worlds of clients that repeat requests at several nodes, one after the other.
    #[arg(long, conflicts_with_all = ["bytes", "hosts", "nodes", "jobs", "twice", "keep_going"])]
    sharing: bool,
    /// Lets something of the nodes be wrong on purpose, with --nodes: its number among all mistakes, from 0.
    #[arg(long, requires = "nodes")]
    mistake: Option<usize>,
}

impl Args {
    const fn links(&self) -> Links {
        if self.bytes { Links::Bytes } else { Links::Messages }
    }

    fn mistake(&self) -> Option<NodeMistake> {
        self.mistake.and_then(|number| NodeMistake::ALL.get(number).copied())
    }
}

/// How many lines before the end of a failed world are shown.
const LAST_LINES: usize = 40;

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(5);

/// What all worlds came across together.
#[derive(Debug, Default)]
struct Total {
    worlds: u64,
    events: u64,
    simulated: Duration,
    coverage: Coverage,
    violations: Vec<(u64, Violation)>,
    told: Option<Instant>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // The report shows panics.
    std::panic::set_hook(Box::new(|_| {}));
    match args.seed {
        Some(seed) if args.nodes => one_of_nodes(seed, args.trace, args.mistake()),
        None if args.nodes => many_of_nodes(&args),
        Some(seed) if args.sharing => one_of_sharing(seed, args.trace),
        None if args.sharing => many_of_sharing(&args),
        Some(seed) if args.hosts => one_of_hosts(seed, args.trace),
        None if args.hosts => many_of_hosts(&args),
        Some(seed) => one(seed, args.links(), args.trace),
        None => many(&args),
    }
}

fn one(seed: u64, links: Links, shown: bool) -> ExitCode {
    let lines = if shown { Lines::Kept } else { Lines::Dropped };
    let report = run_over(links, Dice::seeded(seed), lines);
    report.trace.iter().for_each(|line| println!("{line}"));
    println!(
        "seed {seed}: {} events in {:.1} s of simulated time, fingerprint {:016x}",
        report.events,
        report.simulated.as_secs_f64(),
        report.fingerprint
    );
    match report.violation {
        Some(violation) => {
            println!("{violation}");
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

/// The world of hosts of a seed.
fn one_of_hosts(seed: u64, shown: bool) -> ExitCode {
    let lines = if shown { Lines::Kept } else { Lines::Dropped };
    let HostReport { simulated, requests, fingerprint, violation, trace } =
        run_hosts(Dice::seeded(seed), lines, None);
    trace.iter().for_each(|line| println!("{line}"));
    println!(
        "seed {seed}: {} requests, {} replies in {:.1} s of simulated time, fingerprint \
         {fingerprint:016x}",
        requests.0,
        requests.1,
        simulated.as_secs_f64()
    );
    violation.map_or(ExitCode::SUCCESS, |violation| {
        println!("{violation}");
        ExitCode::FAILURE
    })
}

fn many_of_hosts(args: &Args) -> ExitCode {
    let (began, mut requests, mut replies) = (Instant::now(), 0, 0);
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let report = run_hosts(Dice::seeded(seed), Lines::Dropped, None);
        requests += report.requests.0;
        replies += report.requests.1;
        if let Some(violation) = report.violation {
            println!(
                "seed {seed}: {violation}\n\nto repeat it: cargo run --release --example \
                 simulate -- --hosts --seed {seed} --trace"
            );
            return ExitCode::FAILURE;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{} worlds in {seconds:.1} s: {requests} requests, {replies} replies", args.seeds);
    ExitCode::SUCCESS
}

/// The world of repeated requests of a seed.
fn one_of_sharing(seed: u64, shown: bool) -> ExitCode {
    let lines = if shown { Lines::Kept } else { Lines::Dropped };
    let SharingReport { requests, seen, fingerprint, violation, trace } =
        run_sharing(Dice::seeded(seed), lines, None);
    trace.iter().for_each(|line| println!("{line}"));
    println!("seed {seed}: {} requests, {seen:?}, fingerprint {fingerprint:016x}", requests.0);
    violation.map_or(ExitCode::SUCCESS, |violation| {
        println!("{violation}");
        ExitCode::FAILURE
    })
}

fn many_of_sharing(args: &Args) -> ExitCode {
    let (began, mut told) = (Instant::now(), Instant::now());
    let mut requests = [0; 4];
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let report = run_sharing(Dice::seeded(seed), Lines::Dropped, None);
        let (made, replied, refused, moved) = report.requests;
        for (sum, count) in requests.iter_mut().zip([made, replied, refused, moved]) {
            *sum += count;
        }
        if let Some(violation) = report.violation {
            println!(
                "seed {seed}: {violation}\n\nto repeat it: cargo run --release --example \
                 simulate -- --sharing --seed {seed} --trace"
            );
            return ExitCode::FAILURE;
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            eprintln!("{} of {} worlds", seed - args.from + 1, args.seeds);
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let [made, replied, refused, moved] = requests;
    println!(
        "{} worlds in {seconds:.1} s: {made} requests, {replied} with an outcome, {refused} not executed, {moved} came \
         to more than one node",
        args.seeds
    );
    ExitCode::SUCCESS
}

/// The world of nodes of a seed.
fn one_of_nodes(seed: u64, shown: bool, mistake: Option<NodeMistake>) -> ExitCode {
    let lines = if shown { Lines::Kept } else { Lines::Dropped };
    let NodesReport { simulated, requests, fingerprint, violation, trace, seen, .. } =
        run_nodes(Dice::seeded(seed), lines, mistake);
    trace.iter().for_each(|line| println!("{line}"));
    println!(
        "seed {seed}: {requests} requests to the engine in {:.1} s of simulated time, {seen:?}, \
         fingerprint {fingerprint:016x}",
        simulated.as_secs_f64()
    );
    violation.map_or(ExitCode::SUCCESS, |violation| {
        println!("{violation}");
        ExitCode::FAILURE
    })
}

/// Worlds of nodes.
#[derive(Default)]
struct NodeTotal {
    worlds: u64,
    requests: u64,
    simulated: Duration,
    lost: u64,
    commands: (u64, u64),
    seen: std::collections::BTreeMap<&'static str, u64>,
    violations: Vec<(u64, Violation)>,
    told: Option<Instant>,
}

fn many_of_nodes(args: &Args) -> ExitCode {
    let (next, stop) = (AtomicU64::new(args.from), AtomicBool::new(false));
    let end = args.from.saturating_add(args.seeds);
    let (began, total) = (Instant::now(), Mutex::new(NodeTotal::default()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = run_nodes(Dice::seeded(seed), Lines::Dropped, args.mistake());
                    let Ok(mut total) = total.lock() else { return };
                    total.add(seed, report);
                    if !total.violations.is_empty() && !args.keep_going {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let now = Instant::now();
                    if total.told.is_none_or(|told| now - told >= PROGRESS) {
                        total.told = Some(now);
                        let (worlds, wrong) = (total.worlds, total.violations.len());
                        eprintln!("{worlds} of {} worlds, {wrong} violations", args.seeds);
                    }
                }
            });
        }
    });
    let Ok(total) = total.into_inner() else { return ExitCode::FAILURE };
    println!(
        "{} worlds in {:.1} s: {:.1} days of simulated time, {} requests to the engine, {} commands, of which \
         {} got a session, {} times a node was lost; {:?}",
        total.worlds,
        began.elapsed().as_secs_f64(),
        total.simulated.as_secs_f64() / 86_400.0,
        total.requests,
        total.commands.0,
        total.commands.1,
        total.lost,
        total.seen
    );
    if total.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl NodeTotal {
    fn add(&mut self, seed: u64, report: NodesReport) {
        self.worlds += 1;
        self.requests += report.requests;
        self.simulated += report.simulated;
        self.lost += report.lost;
        self.commands.0 += report.commands.0;
        self.commands.1 += report.commands.1;
        for (what, count) in report.seen {
            *self.seen.entry(what).or_default() += count;
        }
        if let Some(violation) = report.violation {
            println!(
                "seed {seed}: {violation}\nto repeat it: cargo run --release --example simulate -- \
                 --nodes --seed {seed} --trace"
            );
            self.violations.push((seed, violation));
        }
    }
}

/// The world of a seed, and whether it is the same again.
fn checked(seed: u64, links: Links, twice: u64) -> Report {
    let mut report = run_over(links, Dice::seeded(seed), Lines::Dropped);
    if twice > 0 && seed.is_multiple_of(twice) && report.violation.is_none() {
        let again = run_over(links, Dice::seeded(seed), Lines::Dropped);
        if again.fingerprint != report.fingerprint {
            let text = "the second run of the seed is another".into();
            report.violation = Some(Violation { invariant: Invariant::SameTrace, text });
        }
    }
    report
}

fn many(args: &Args) -> ExitCode {
    let (next, stop) = (AtomicU64::new(args.from), AtomicBool::new(false));
    let end = args.from.saturating_add(args.seeds);
    let began = Instant::now();
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let report = checked(seed, args.links(), args.twice);
                    let Ok(mut total) = total.lock() else { return };
                    total.add(seed, report);
                    if !total.violations.is_empty() && !args.keep_going {
                        stop.store(true, Ordering::Relaxed);
                    }
                    total.tell(args.seeds, began);
                }
            });
        }
    });
    let Ok(total) = total.into_inner() else { return ExitCode::FAILURE };
    total.print(began);
    match total.violations.first() {
        Some((seed, _)) => {
            show(*seed, args.links());
            ExitCode::FAILURE
        }
        None => ExitCode::SUCCESS,
    }
}

impl Total {
    fn add(&mut self, seed: u64, report: Report) {
        self.worlds += 1;
        self.events += report.events;
        self.simulated += report.simulated;
        self.coverage.merge(&report.coverage);
        if let Some(violation) = report.violation {
            eprintln!("seed {seed}: {violation}");
            self.violations.push((seed, violation));
        }
    }

    fn tell(&mut self, seeds: u64, began: Instant) {
        let now = Instant::now();
        if self.told.is_some_and(|told| now - told < PROGRESS) {
            return;
        }
        self.told = Some(now);
        eprintln!(
            "{} of {seeds} worlds, {:.0}/s, {} violations",
            self.worlds,
            self.worlds as f64 / (now - began).as_secs_f64().max(0.001),
            self.violations.len()
        );
    }

    fn print(&self, began: Instant) {
        let seconds = began.elapsed().as_secs_f64();
        println!("{}", self.coverage);
        println!(
            "{} worlds in {seconds:.1} s ({:.0}/s), {:.1} days of simulated time, {} events, {} \
             faults injected, {} different things seen",
            self.worlds,
            self.worlds as f64 / seconds.max(0.001),
            self.simulated.as_secs_f64() / 86_400.0,
            self.events,
            self.coverage.faults(),
            self.coverage.len()
        );
        for invariant in Invariant::ALL {
            let of_it = self.violations.iter().filter(|(_, found)| found.invariant == invariant);
            let seeds: Vec<_> = of_it.map(|(seed, _)| *seed).collect();
            if let [first, ..] = seeds[..] {
                println!(
                    "{invariant}: violated in {} worlds, first in that of seed {first}",
                    seeds.len()
                );
            }
        }
    }
}

/// Shows how a world failed, and how to repeat it.
fn show(seed: u64, links: Links) {
    let report = run_over(links, Dice::seeded(seed), Lines::Kept);
    let hidden = report.trace.len().saturating_sub(LAST_LINES);
    println!("\nseed {seed}, the last {LAST_LINES} lines of {}:", report.trace.len());
    report.trace.iter().skip(hidden).for_each(|line| println!("{line}"));
    if let Some(violation) = report.violation {
        println!("\n{violation}");
    }
    let links = if links == Links::Bytes { " --bytes" } else { "" };
    println!(
        "\nto repeat it: cargo run --release --example simulate -- --seed {seed}{links} --trace"
    );
}
