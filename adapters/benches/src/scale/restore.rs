//! Clients that all come back with their sessions after the server was killed.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use smol::Executor;
use wwr_smol::client::{Client, Event};

use super::args::Args;
use super::crowd::until_counts;
use super::socket::Socket;
use super::stage::{Outcome, Watch};
use crate::support::host::Failure;
use crate::support::process::Process;

/// How many clients log in at once.
const AT_ONCE: usize = 64;

/// By when all have to be back.
const TIMEOUT: Duration = Duration::from_secs(180);

/// Clients that come within a tenth of the time over which they should be spread may be this many
/// times their share.
const CROWDED: f64 = 3.0;

/// Ports below those that the system gives to clients: a client that finds no listener might
/// get the port it calls, and talk to itself.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// What happens to a client after the server is gone.
enum News {
    /// It waits for so long before it tries again.
    Waits(Duration),
    /// An attempt failed.
    Failed,
    /// It is connected, with the session it had or without.
    Back { restored: bool },
}

type Told = (usize, Instant, News);

/// What is known of all clients.
#[derive(Default)]
struct Tally {
    pauses: Vec<Duration>,
    failed: u32,
    /// When each came back.
    back: HashMap<usize, Instant>,
    lost: u32,
}

pub(crate) fn run(args: &Args) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::new("restore");
    let directory = tempfile::tempdir()?;
    let store = directory.path().to_str().ok_or("the temporary directory has an odd name")?;
    let port = free_port()?.to_string();
    let runtime = args.runtime.name();
    let arguments = ["--serve", &*port, "--runtime", runtime, "--store", store];
    let server = Process::start(&arguments)?;
    let url = format!("ws://{}/", server.address());

    let executor = Arc::new(Executor::new());
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let driver = thread::spawn({
        let executor = executor.clone();
        move || smol::block_on(executor.run(stopped.recv())).is_err()
    });
    let mut watch = Watch::start(&server, "log in")?;
    let count = args.connections;
    let (tell, told) = mpsc::channel();
    let mut clients = Vec::new();
    let mut logins = stream::iter(0..count)
        .map(|number| log_in(number as usize, &url, &executor, tell.clone()))
        .buffer_unordered(AT_ONCE);
    smol::block_on(async {
        while let Some(client) = logins.next().await {
            clients.push(client?);
            watch.progress(clients.len() as u32, count);
        }
        Ok::<_, Failure>(())
    })?;
    drop(logins);
    outcome.stages.push(watch.finish_settled(count)?);

    drop(server);
    thread::sleep(args.downtime);
    let server = Process::start(&arguments)?;
    let start = Instant::now();
    let mut watch = Watch::start(&server, "come back")?;
    let tally = gather(&told, count, |back| watch.progress(back, count));
    outcome.stages.push(watch.finish_settled(count)?);

    let counts = until_counts(&mut Socket::open(server.address(), 0)?, (count + 1, count))?;
    judge(&mut outcome, &tally, start, count);
    outcome.expect(
        counts == format!("{} {count}", count + 1),
        format!("connections and sessions at the end, with the one that asks: {counts}"),
    );
    drop(clients);
    drop(stop);
    driver.join().map_err(|_| "the thread of the clients panicked")?;
    Ok(outcome)
}

/// Notes what the clients went through.
fn judge(outcome: &mut Outcome, tally: &Tally, start: Instant, count: u32) {
    let mut back: Vec<_> = tally.back.values().map(|at| at.duration_since(start)).collect();
    back.sort_unstable();
    let restored = tally.back.len() as u32;
    let millis = |time: Option<&Duration>| time.map_or(0, Duration::as_millis) as u64;
    outcome.fact("restored", restored);
    outcome.fact("sessions lost", tally.lost);
    outcome.fact("first back after ms", millis(back.first()));
    outcome.fact("half back after ms", millis(back.get(back.len() / 2)));
    outcome.fact("last back after ms", millis(back.last()));
    outcome.fact("most back within a second", busiest(&back, Duration::from_secs(1)) as u64);
    outcome.fact("attempts per client", 1.0 + f64::from(tally.failed) / f64::from(count));
    let crowded = crowded(&tally.pauses);
    outcome.fact("most in a tenth of the first pauses, times their share", crowded);
    outcome.expect(restored == count, format!("{restored} of {count} restored"));
    outcome.expect(tally.lost == 0, format!("{} sessions lost", tally.lost));
    outcome.expect(crowded <= CROWDED, format!("{crowded:.1} times their share came at once"));
}

/// A client with a session, and a task that tells what happens to it afterwards.
async fn log_in(
    number: usize,
    url: &str,
    executor: &Arc<Executor<'static>>,
    tell: Sender<Told>,
) -> Result<Client, Failure> {
    let client = Client::builder(url)?.executor(executor.clone()).connect().await?;
    client.request("login", "ada").await?;
    let held = client.session().ok_or("no session")?.key;
    let mut events = client.events();
    let watching = async move {
        let mut restored = false;
        while let Some(event) = events.next().await {
            let news = match event {
                Event::Disconnected { retry_in, .. } => {
                    restored = false;
                    News::Waits(retry_in.unwrap_or_default())
                }
                Event::ConnectFailed { .. } => News::Failed,
                Event::SessionRestored(session) => {
                    restored = session.key == held;
                    continue;
                }
                Event::Connected => News::Back { restored },
                _ => continue,
            };
            if tell.send((number, Instant::now(), news)).is_err() {
                return;
            }
        }
    };
    executor.spawn(watching).detach();
    Ok(client)
}

/// Listens until all clients are back with their sessions.
fn gather(told: &Receiver<Told>, count: u32, mut progress: impl FnMut(u32)) -> Tally {
    let (start, mut tally, mut first) = (Instant::now(), Tally::default(), HashMap::new());
    while tally.back.len() < count as usize && start.elapsed() < TIMEOUT {
        match told.recv_timeout(Duration::from_millis(100)) {
            Ok((number, _, News::Waits(pause))) => {
                first.entry(number).or_insert(pause);
            }
            Ok((_, _, News::Failed)) => tally.failed += 1,
            Ok((number, at, News::Back { restored: true })) => {
                tally.back.insert(number, at);
            }
            Ok((_, _, News::Back { restored: false })) => tally.lost += 1,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        progress(tally.back.len() as u32);
    }
    tally.pauses = first.into_values().collect();
    tally
}

/// The most that came within such a time, of sorted times.
fn busiest(times: &[Duration], within: Duration) -> usize {
    let from = |(end, time): (usize, &Duration)| {
        end + 1 - times.partition_point(|other| *other + within <= *time)
    };
    times.iter().enumerate().map(from).max().unwrap_or(0)
}

/// How many times its share the fullest tenth of the range of these times has.
fn crowded(times: &[Duration]) -> f64 {
    let (Some(least), Some(most)) = (times.iter().min(), times.iter().max()) else { return 0.0 };
    let mut tenths = [0_u32; 10];
    let range = (*most - *least).as_secs_f64();
    for time in times {
        // All at the same time is the worst there is.
        let place = if range > 0.0 { (*time - *least).as_secs_f64() / range * 10.0 } else { 0.0 };
        if let Some(tenth) = tenths.get_mut((place as usize).min(9)) {
            *tenth += 1;
        }
    }
    let fullest = tenths.iter().max().copied().unwrap_or(0);
    f64::from(fullest) * tenths.len() as f64 / times.len() as f64
}

/// An unused port.
fn free_port() -> io::Result<u16> {
    let free =
        |port: &u16| TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).is_ok();
    PORTS.into_iter().find(free).ok_or_else(|| io::ErrorKind::AddrInUse.into())
}
