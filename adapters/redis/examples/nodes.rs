//! Measures what it costs that servers are nodes: against a server alone, with clients on sockets, and how many requests
//! the engine gets.
//!
//! ```sh
//! redis-server --port 7379 --save '' &
//! cargo run --release -p wwr-redis --example nodes -- redis://127.0.0.1:7379
//! ```
//!
//! All nodes, and most clients, are in this process, and all are on the same processors as the engine: ratios say more than
//! times. The clients of the group are in another process; each of the two needs 10,000 file descriptors for them.

use std::error::Error;
use std::future::Future;
use std::io::{BufRead as _, BufReader, Lines, Write as _, stdin};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hdrhistogram::Histogram;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};
use wwr_redis::{Cluster, RedisConfig};
use wwr_tokio::client::{Client, Event};
use wwr_tokio::cluster::ClusterConfig;
use wwr_tokio::server::{Config, Connection, Handler, RequestError, Server, ServerHandle};
use wwr_tokio::{Content, Payload, PreparedSignal, SessionInfo, SessionKey, Tokio};

type Failure = Box<dyn Error + Send + Sync>;

/// The process with this argument is that of the clients of the group.
const MEMBERS: &str = "members";

/// How many calls are made at once.
const AT_ONCE: usize = 64;

/// How many sessions are created and restored, and how many signals are sent.
const CALLS: usize = 4000;

/// How many nodes there are, one after the other.
const NODES: [usize; 4] = [1, 2, 4, 8];

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: nodes URL [CLIENTS]")?;
    let clients = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        if url == MEMBERS {
            return be_members(clients, &arguments.collect::<Vec<_>>()).await;
        }
        against_one_process(&url).await?;
        signals(&url).await?;
        broadcasts(&url, clients).await?;
        growth(&url).await
    })
}

/// Logs in, and joins.
struct App;

impl Handler for App {
    async fn request(&self, client: &Connection, asked: Content) -> Result<Payload, RequestError> {
        match asked.name() {
            b"login" => {
                let session =
                    client.create_session(SessionInfo::new().public("user", "ada")).await?;
                Ok(Payload::utf8(session.key.as_str()))
            }
            b"update" => {
                client.update_session(SessionInfo::new().public("user", "bob")).await?;
                Ok(Payload::EMPTY)
            }
            b"join" => {
                client.join("all").map(|_| Payload::EMPTY).map_err(|_| RequestError::Internal)
            }
            _ => Ok(asked.into_payload()),
        }
    }
}

/// A server that runs until this is dropped.
struct Node {
    handle: ServerHandle,
    url: String,
    running: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Node {
    /// A node of a cluster with this prefix; without one, a server with its sessions in memory.
    async fn start(engine: &str, prefix: Option<&str>, lease: Duration) -> Result<Self, Failure> {
        let mut config = Config::default();
        config.hub.sessions.durable = true;
        config.hub.max_connections = 100_000;
        config.limits.max_handshakes = 100_000;
        let mut builder = Server::builder(App).config(config);
        if let Some(prefix) = prefix {
            let mut settings = RedisConfig::default();
            settings.prefix = prefix.into();
            settings.expire_after = Some(Duration::from_secs(600));
            let mut cluster = ClusterConfig::new("measured");
            cluster.lease = lease;
            cluster.request_timeout = lease / 4;
            let engine = Cluster::<Tokio>::connect(engine, settings).await?;
            builder = builder.cluster(engine, cluster);
        }
        let server = builder.listen("127.0.0.1:0").await?;
        let (handle, url) = (server.handle(), format!("ws://{}/", server.local_addr()));
        let running = tokio::spawn(server.run());
        let node = Self { handle, url, running };
        // It takes part when a session can be created.
        let client = node.client().await?;
        while client.request("login", "").await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
        client.close_session().await?;
        Ok(node)
    }

    async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::connect_to(&self.url).await?)
    }
}

/// Nodes of a cluster of their own.
async fn nodes(engine: &str, count: usize, lease: Duration) -> Result<Vec<Node>, Failure> {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let prefix = format!("measure:{}:{number}:", std::process::id());
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Node::start(engine, Some(&prefix), lease).await?);
    }
    Ok(nodes)
}

const LEASE: Duration = Duration::from_secs(10);

/// Lets each of these clients make as many calls, one after the other. Returns how many there were in a second, and how
/// many microseconds they took.
async fn measure<F>(
    name: String,
    clients: &[Client],
    calls: usize,
    call: impl Fn(Client, usize) -> F,
) -> Result<f64, Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let latencies = Mutex::new(Histogram::<u64>::new(3)?);
    let started = Instant::now();
    let each = calls / clients.len();
    let work = clients.iter().enumerate().map(|(place, client)| {
        let (latencies, call) = (&latencies, &call);
        async move {
            for number in place * each..(place + 1) * each {
                let asked = Instant::now();
                call(client.clone(), number).await?;
                let took = u64::try_from(asked.elapsed().as_micros())?;
                latencies.lock().map_err(|_| "a call panicked")?.record(took)?;
            }
            Ok::<(), Failure>(())
        }
    });
    try_join_all(work).await?;
    let rate = (each * clients.len()) as f64 / started.elapsed().as_secs_f64();
    let latencies = latencies.into_inner()?;
    let [p50, p99] = [0.5, 0.99].map(|quantile| latencies.value_at_quantile(quantile));
    println!("{name:<52} {rate:>9.0} {p50:>9} {p99:>9}");
    Ok(rate)
}

async fn clients(node: &Node, count: usize) -> Result<Vec<Client>, Failure> {
    stream::iter(0..count).map(|_| node.client()).buffer_unordered(AT_ONCE).try_collect().await
}

/// What sessions cost in a cluster, and on a server alone.
async fn against_one_process(engine: &str) -> Result<(), Failure> {
    println!("{:<52} {:>9} {:>9} {:>9}", "", "a second", "p50 µs", "p99 µs");
    let alone = Node::start(engine, None, LEASE).await?;
    let pair = nodes(engine, 2, LEASE).await?;
    let mut rates = Vec::new();
    for (name, one, other) in [("alone", &alone, &alone), ("two nodes", &pair[0], &pair[1])] {
        let (here, there) = (clients(one, AT_ONCE).await?, clients(other, AT_ONCE).await?);
        let echo = measure(format!("{name}: a request"), &here, CALLS, |client, _| async move {
            client.request("echo", "hello").await?;
            Ok(())
        });
        let echo = echo.await?;
        let login =
            measure(format!("{name}: log in and out"), &here, CALLS, |client, _| async move {
                client.request("login", "").await?;
                client.close_session().await?;
                Ok(())
            });
        let login = login.await?;
        let mut keys = Vec::new();
        for client in &here {
            let key = client.request("login", "").await?;
            keys.push(SessionKey::new(&*key.text()?)?);
        }
        let (keys, each) = (&keys, CALLS / AT_ONCE);
        let name = format!("{name}: restore elsewhere, and give up");
        let restore = measure(name, &there, CALLS, |client, number| async move {
            client.restore_session(keys[number / each].clone()).await?;
            client.close_session().await?;
            Ok(())
        });
        rates.push([echo, login, restore.await?]);
    }
    let ratios = [0, 1, 2].map(|call| rates[0][call] / rates[1][call]);
    let [echo, login, restore] = ratios;
    println!(
        "alone, as many times as many: requests {echo:.2}, log-ins {login:.2}, restores {restore:.2}\n"
    );
    Ok(())
}

/// How long a signal takes to a session on another node: one at a time, and many.
async fn signals(engine: &str) -> Result<(), Failure> {
    println!("{:<52} {:>9} {:>9} {:>9}", "", "a second", "p50 µs", "p99 µs");
    let pair = nodes(engine, 2, LEASE).await?;
    for (name, to) in [("on the same node", &pair[0]), ("on another node", &pair[1])] {
        for at_once in [1, AT_ONCE] {
            let receivers = clients(to, at_once).await?;
            let mut keys = Vec::new();
            for receiver in &receivers {
                let key = receiver.request("login", "").await?;
                keys.push(SessionKey::new(&*key.text()?)?);
            }
            let from = &pair[0].handle;
            let keys = &keys;
            let calls = if at_once == 1 { CALLS / 4 } else { CALLS };
            let each = calls / at_once;
            let name = format!("a signal to a session {name}, {at_once} at once");
            let sent = measure(name, &receivers, calls, |receiver, number| async move {
                let signal = PreparedSignal::new("signal", "hello")?;
                let mut events = receiver.events();
                from.signal_session(&keys[number / each], &signal);
                let heard = async {
                    while let Some(event) = events.next().await {
                        if matches!(event, Event::Signal(_)) {
                            return Ok(());
                        }
                    }
                    Err(Failure::from("the client has ended"))
                };
                timeout(Duration::from_secs(10), heard).await?
            });
            sent.await?;
        }
    }
    println!();
    Ok(())
}

/// How long it takes until the last client of a group has a signal.
async fn broadcasts(engine: &str, count: usize) -> Result<(), Failure> {
    let signal = PreparedSignal::new("news", vec![7; 100])?;
    let mut times = Vec::new();
    for of in [1, 3] {
        let nodes = nodes(engine, of, LEASE).await?;
        let mut members = Members::start(count, &nodes)?;
        members.said("joined").await?;
        // The engine is told of groups in batches.
        sleep(Duration::from_secs(1)).await;
        let mut took = Vec::new();
        for _ in 0..10 {
            members.hear()?;
            members.said("hearing").await?;
            let started = Instant::now();
            nodes[0].handle.group("all").signal_prepared(&signal);
            members.said("heard").await?;
            took.push(started.elapsed().as_millis());
        }
        took.sort_unstable();
        let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
        println!(
            "a signal to a group of {count} clients on {of} nodes: the last has it after {median} ms, at most {worst} ms"
        );
        times.push(median as f64);
    }
    println!("three nodes take {:.2} times as long as one\n", times[1] / times[0]);
    Ok(())
}

/// The clients of a group, in a process of their own: one process has too few file descriptors for both ends.
struct Members {
    process: Child,
    input: ChildStdin,
    /// `None` once it has not said in time what it was to say.
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Drop for Members {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Members {
    fn start(count: usize, nodes: &[Node]) -> Result<Self, Failure> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(MEMBERS)
            .arg(count.to_string())
            .args(nodes.iter().map(|node| &node.url))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take().ok_or("no input")?;
        let lines = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        Ok(Self { process, input, lines: Some(lines) })
    }

    fn hear(&mut self) -> Result<(), Failure> {
        Ok(writeln!(self.input, "hear")?)
    }

    /// Waits until it says this.
    async fn said(&mut self, expected: &str) -> Result<(), Failure> {
        let mut lines = self.lines.take().ok_or("the clients are silent")?;
        let reading = spawn_blocking(move || (lines.next(), lines));
        let (line, lines) = match timeout(Duration::from_secs(60), reading).await {
            Ok(read) => read?,
            Err(late) => {
                // Nobody reads any more then.
                self.process.kill()?;
                return Err(late.into());
            }
        };
        self.lines = Some(lines);
        match line.ok_or("the clients have ended")?? {
            line if line == expected => Ok(()),
            other => Err(format!("the clients were to say {expected}, and say {other}").into()),
        }
    }
}

/// What the process of the clients does: they join, and say when all have heard a signal.
async fn be_members(count: usize, urls: &[String]) -> Result<(), Failure> {
    let connect = |place: usize| Client::connect_to(&urls[place % urls.len()]);
    let members = stream::iter(0..count).map(connect).buffer_unordered(AT_ONCE);
    let members: Vec<Client> = members.try_collect().await?;
    let joins = stream::iter(&members).map(|member| member.request("join", ""));
    let _: Vec<Payload> = joins.buffer_unordered(AT_ONCE).try_collect().await?;
    println!("joined");
    for line in stdin().lines() {
        line?;
        let hearing = members.iter().map(|member| {
            let mut events = member.events();
            async move { while !matches!(events.next().await, Some(Event::Signal(_)) | None) {} }
        });
        let hearing: Vec<_> = hearing.collect();
        println!("hearing");
        join_all(hearing).await;
        println!("heard");
    }
    Ok(())
}

/// What the engine has counted.
struct Count {
    scripts: f64,
    processor: f64,
}

/// Asks the engine how many scripts it has run, and how many seconds of the processor it has used.
fn count(engine: &str) -> Result<Count, Failure> {
    let mut connection = redis::Client::open(engine)?.get_connection()?;
    let text: String = redis::cmd("INFO").arg("all").query(&mut connection)?;
    let number = |name: &str, end: char| {
        let value = text.split_once(name).map_or("0", |(_, rest)| rest);
        value.split([end, '\r']).next().unwrap_or("0").parse::<f64>()
    };
    // Messages to other nodes bring their script with them.
    let scripts = number("cmdstat_evalsha:calls=", ',')? + number("cmdstat_eval:calls=", ',')?;
    let processor = number("used_cpu_user:", '\r')? + number("used_cpu_sys:", '\r')?;
    Ok(Count { scripts, processor })
}

/// What the engine gets to do from this many nodes and sessions.
async fn growth(engine: &str) -> Result<(), Failure> {
    // So long that what calls cost is mostly measured between two confirmations.
    let (lease, sessions, leases) = (Duration::from_secs(10), 800, 2);
    println!(
        "requests that the engine gets, with {sessions} sessions, each with a connection on each of two nodes (or one)\n\
         {:>5} {:>17} {:>21} {:>9} {:>9} {:>9} {:>9} {:>14}",
        "nodes",
        "a node and lease",
        "a place and lease",
        "log-in",
        "restore",
        "update",
        "signal",
        "µs a request"
    );
    for of in NODES {
        let nodes = nodes(engine, of, lease).await?;
        let over = |before: &Count, after: &Count| after.scripts - before.scripts;
        // What nodes ask when there is nothing to do.
        let before = count(engine)?;
        sleep(lease * leases).await;
        let idle = over(&before, &count(engine)?) / f64::from(leases);
        let mut here = Vec::new();
        for node in &nodes {
            here.extend(clients(node, sessions / of).await?);
        }
        let before = count(engine)?;
        let logins = stream::iter(&here).map(|client| client.request("login", ""));
        let keys: Vec<Payload> = logins.buffered(AT_ONCE).try_collect().await?;
        let logged_in = count(engine)?;
        // Each on the next node as well.
        let mut there = Vec::new();
        for place in 0..if of > 1 { here.len() } else { 0 } {
            there.push(nodes[(place / (sessions / of) + 1) % of].client().await?);
        }
        let connected = count(engine)?;
        let restores = stream::iter(there.iter().zip(&keys)).map(|(client, key)| async move {
            client.restore_session(SessionKey::new(&*key.text()?)?).await?;
            Ok::<(), Failure>(())
        });
        let _: Vec<()> = restores.buffered(AT_ONCE).try_collect().await?;
        let restored = count(engine)?;
        let updates = stream::iter(&here).map(|client| client.request("update", ""));
        let _: Vec<Payload> = updates.buffered(AT_ONCE).try_collect().await?;
        // Until the other nodes have read what is new.
        sleep(Duration::from_millis(200)).await;
        let updated = count(engine)?;
        let signal = PreparedSignal::new("signal", "hello")?;
        for key in &keys {
            let key = SessionKey::new(&*key.text()?)?;
            let told = nodes[0].handle.signal_session(&key, &signal);
            told.forwarded.ok_or("no node")?.outcome().await;
        }
        let signalled = count(engine)?;
        sleep(lease * leases).await;
        let after = count(engine)?;
        let held = over(&signalled, &after) / f64::from(leases) - idle;
        let places = (here.len() + there.len()) as f64;
        let each = |before: &Count, after: &Count| over(before, after) / here.len() as f64;
        println!(
            "{of:>5} {:>17.1} {:>21.2} {:>9.2} {:>9.2} {:>9.2} {:>9.2} {:>14.1}",
            idle / of as f64,
            held / places,
            each(&before, &logged_in),
            each(&connected, &restored),
            each(&restored, &updated),
            each(&updated, &signalled),
            (after.processor - before.processor) * 1e6 / over(&before, &after),
        );
        for client in here.into_iter().chain(there) {
            client.close_session().await?;
        }
    }
    Ok(())
}
