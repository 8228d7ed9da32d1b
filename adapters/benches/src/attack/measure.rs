//! One attack, measured.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};
use std::{fs, io};

use super::args::Args;
use super::attacks::{Attack, Field};
use super::good::{Latencies, Socket, live, percentile};
use super::wire::TIMEOUT;
use crate::support::process::Process;

/// How often descriptors are counted.
const PAUSE: Duration = Duration::from_millis(20);

/// How long half of the replies may take, in milliseconds, whatever goes on: far more than they do,
/// and less than a user notices.
const MOST_MILLISECONDS: f64 = 100.0;

/// What an attack cost.
#[derive(Debug)]
pub(crate) struct Cost {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    /// What was done, in units.
    pub(crate) done: u64,
    pub(crate) elapsed: Duration,
    /// Processor time of the server, for the good client included.
    pub(crate) cpu: Duration,
    /// Bytes of resident memory before the attack, at the most, and afterwards.
    pub(crate) memory: [u64; 3],
    /// The most memory that was ever mapped, resident or not.
    pub(crate) mapped: u64,
    /// Open files before the attack, at the most, and afterwards.
    pub(crate) files: [usize; 3],
    pub(crate) before: Latencies,
    pub(crate) during: Latencies,
    /// Promises that were not kept.
    pub(crate) broken: Vec<String>,
}

/// Makes an attack on a server of its own.
pub(crate) fn measure(attack: &Attack, args: &Args) -> io::Result<Cost> {
    let server =
        Process::start(&["--serve", &attack.files.to_string(), "--runtime", args.runtime.name()])?;
    let to = server.address();
    let mut good = Socket::open(to)?;
    let before = live(&mut good, to, args.seconds)?;
    // The sockets of its newcomers have to be gone.
    let files_before = settle(&server, 0)?;
    let memory_before = server.memory("VmRSS")?;
    let (start, cpu) = (Instant::now(), server.cpu_time()?);
    let field = Field {
        server: to,
        crowd: args.connections,
        over: AtomicBool::new(false),
        done: AtomicU64::new(0),
    };
    let most_files = AtomicUsize::new(0);
    let (attacked, during) = scope(|scope| {
        let attacker = scope.spawn(|| (attack.make)(&field));
        scope.spawn(|| {
            while !field.over.load(Ordering::Relaxed) {
                // Fails only if the server has ended, which others notice.
                most_files.fetch_max(files(&server).unwrap_or(0), Ordering::Relaxed);
                sleep(PAUSE);
            }
        });
        let during = live(&mut good, to, args.seconds);
        field.over.store(true, Ordering::Relaxed);
        (attacker.join(), during)
    });
    let (elapsed, cpu) = (start.elapsed(), server.cpu_time()?.saturating_sub(cpu));
    let mut broken = Vec::new();
    match attacked {
        Ok(Ok(())) => {}
        Ok(Err(error)) => broken.push(format!("the attack could not be made: {error}")),
        Err(_) => broken.push("the attack panicked".to_owned()),
    }
    let during = during.unwrap_or_else(|error| {
        broken.push(format!("the good client was not served: {error}"));
        Latencies::default()
    });
    let median = percentile(&during.requests, 50);
    if median > MOST_MILLISECONDS {
        broken.push(format!("half of the replies came after {median:.1} ms or more"));
    }
    if attack.others_come && during.turned_away > 0 {
        broken.push(format!("{} newcomers were turned away", during.turned_away));
    }
    if Socket::open(to).and_then(|mut late| late.request()).is_err() {
        broken.push("nobody is let in afterwards".to_owned());
    }
    let files_after = settle(&server, files_before)?;
    if files_after > files_before {
        broken.push(format!("{files_after} files are open afterwards, not {files_before}"));
    }
    let (peak, mapped) = (server.memory("VmHWM")?, server.memory("VmPeak")?);
    let bound = (attack.mebibytes << 20) + attack.each * u64::from(args.connections);
    if peak > bound {
        broken.push(format!("{} MiB of memory, more than {}", peak >> 20, bound >> 20));
    }
    Ok(Cost {
        name: attack.name,
        unit: attack.unit,
        done: field.done.into_inner(),
        elapsed,
        cpu,
        memory: [memory_before, peak, server.settled_memory()?],
        mapped,
        files: [files_before, most_files.into_inner(), files_after],
        before,
        during,
        broken,
    })
}

/// How many files a process has open.
fn files(server: &Process) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{}/fd", server.id()))?.count())
}

/// Waits until so few files are open, or their number does not change any more.
fn settle(server: &Process, few: usize) -> io::Result<usize> {
    const QUIET: Duration = Duration::from_millis(200);
    let start = Instant::now();
    let (mut count, mut since) = (files(server)?, start);
    let timeout = if few == 0 { QUIET } else { TIMEOUT };
    while count > few && since.elapsed() < timeout && start.elapsed() < 2 * TIMEOUT {
        sleep(PAUSE);
        let now = files(server)?;
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    Ok(count)
}
