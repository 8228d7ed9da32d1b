//! Measures a store, and nodes of a cluster: how many calls a second, and how long one takes.
//!
//! ```sh
//! redis-server --port 7379 --save '' &
//! cargo run --release -p wwr-redis --example measure -- redis://127.0.0.1:7379 20000
//! ```

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{Either, join, select};
use futures_util::{StreamExt as _, stream};
use hdrhistogram::Histogram;
use wwr_async::cluster::{
    Answer, Audience, Engine as _, EngineError, Lease, News, Request, Revision, SessionRequest,
    Step,
};
use wwr_redis::{Cluster, RedisConfig, RedisStore};
use wwr_smol::{
    Runtime, Session, SessionInfo, SessionKey, SessionStore as _, Smol, StoreError, UnixTime,
};
use wwr_tokio::Tokio;

type Failure = Box<dyn Error + Send + Sync>;

/// How many calls are made at once.
const AT_ONCE: [usize; 3] = [1, 16, 256];

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: measure URL [SESSIONS]")?;
    let sessions = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    println!(
        "{:<6} {:>8} {:<13} {:>10} {:>10} {:>10}",
        "", "at once", "", "a second", "p50 µs", "p99 µs"
    );
    smol::block_on(measure::<Smol>("smol", &url, sessions))?;
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let url_of_tokio = url.clone();
    let measured =
        tokio.spawn(async move { measure::<Tokio>("tokio", &url_of_tokio, sessions).await });
    tokio.block_on(measured)?
}

async fn measure<R: Runtime + Default>(
    runtime: &str,
    url: &str,
    sessions: usize,
) -> Result<(), Failure> {
    let mut config = RedisConfig::default();
    config.prefix = format!("measure:{runtime}:");
    config.expire_after = Some(Duration::from_secs(600));
    let store = RedisStore::<R>::connect(url, config.clone()).await?;
    // Each node is a process of its own otherwise.
    config.prefix = format!("measure:{runtime}:nodes:");
    let one = Node::enter(Cluster::<R>::connect(url, config.clone()).await?, "one").await?;
    let other = Node::enter(Cluster::<R>::connect(url, config).await?, "other").await?;
    for at_once in AT_ONCE {
        let calls = Calls { runtime, sessions, at_once };
        calls.of_a_store(&store).await?;
        calls.of_nodes(&one, &other).await?;
    }
    Ok(())
}

/// A node that has entered.
struct Node<R> {
    cluster: Cluster<R>,
    lease: Lease,
    number: AtomicU64,
}

impl<R: Runtime> Node<R> {
    async fn enter(cluster: Cluster<R>, name: &str) -> Result<Self, EngineError> {
        let lease = Duration::from_secs(3600);
        let entered = cluster.perform(Request::Enter { name: name.into(), lease }).await?;
        let Answer::Lease(lease) = entered else { unreachable!("a node gets a lease") };
        cluster.next_news(lease.epoch).await;
        Ok(Self { cluster, lease, number: AtomicU64::new(0) })
    }

    async fn ask(&self, number: usize, step: Step) -> Result<(), EngineError> {
        let request = SessionRequest {
            key: key(number),
            epoch: self.lease.epoch,
            number: self.number.fetch_add(1, Ordering::Relaxed) + 1,
            membership: self.lease.membership(),
            history: Some(number as u64 + 1),
            step,
        };
        self.cluster.perform(Request::Session(Box::new(request))).await.map(drop)
    }

    async fn send(&self, number: usize) -> Result<(), EngineError> {
        let message = number.to_le_bytes().to_vec().into();
        let (from, to) = (self.lease.epoch, Audience::Session(key(number)));
        self.cluster.perform(Request::Send { from, to, message }).await.map(drop)
    }

    /// Waits for a message, and returns the number in it.
    async fn hear(&self) -> Option<usize> {
        while let Some(news) = self.cluster.next_news(self.lease.epoch).await {
            if let News::Message { message, .. } = news
                && let Ok(number) = message.as_ref().try_into()
            {
                return Some(usize::from_le_bytes(number));
            }
        }
        None
    }
}

struct Calls<'a> {
    runtime: &'a str,
    sessions: usize,
    at_once: usize,
}

impl Calls<'_> {
    /// Creates, looks up, changes and destroys sessions.
    async fn of_a_store<R: Runtime>(&self, store: &RedisStore<R>) -> Result<(), StoreError> {
        self.measure("create", |number| async move { store.create(&session(number)).await })
            .await?;
        let now = UnixTime::from_seconds(200);
        self.measure("look_up", |number| async move {
            store.look_up(&key(number), now).await.map(drop)
        })
        .await?;
        let info = &info();
        self.measure(
            "update",
            |number| async move { store.update(&key(number), info).await.map(drop) },
        )
        .await?;
        self.measure("destroy", |number| async move { store.destroy(&key(number)).await }).await
    }

    /// One node creates and changes sessions that the other joins.
    async fn of_nodes<R: Runtime + Default>(
        &self,
        one: &Node<R>,
        other: &Node<R>,
    ) -> Result<(), EngineError> {
        // Sessions that were closed stay closed for a while.
        let first = self.first();
        let create = |number| Step::Create { session: Box::new(session(number)), places: 1 };
        self.measure("node: create", |number| one.ask(first + number, create(first + number)))
            .await?;
        let now = UnixTime::from_seconds(200);
        let join = || Step::Join { places: 1, limit: None, now };
        self.measure("node: join", |number| other.ask(first + number, join())).await?;
        self.measure("node: edit", |number| one.ask(first + number, Step::Edit { info: info() }))
            .await?;
        let confirm = || Step::Confirm { places: 1, limit: None, known: Revision(2) };
        self.measure("node: confirm", |number| other.ask(first + number, confirm())).await?;
        self.measure_sending(one, other).await?;
        self.measure("node: place", |number| other.ask(first + number, Step::Place { places: 0 }))
            .await?;
        self.measure("node: close", |number| one.ask(first + number, Step::Close)).await?;
        Ok(())
    }

    /// One node sends to sessions of the other. The time is that until it is heard.
    async fn measure_sending<R: Runtime + Default>(
        &self,
        one: &Node<R>,
        other: &Node<R>,
    ) -> Result<(), EngineError> {
        let sent: Vec<AtomicU64> = (0..self.sessions).map(|_| AtomicU64::new(0)).collect();
        let first = self.first();
        let started = Instant::now();
        let mut latencies = latencies();
        let sending = async {
            let mut calls = stream::iter(0..self.sessions)
                .map(|number| {
                    let sent = &sent[number];
                    async move {
                        sent.store(micros(started.elapsed()), Ordering::Relaxed);
                        one.send(first + number).await
                    }
                })
                .buffer_unordered(self.at_once);
            while let Some(sent) = calls.next().await {
                sent?;
            }
            Ok::<(), EngineError>(())
        };
        let hearing = async {
            for _ in 0..self.sessions {
                let late = std::pin::pin!(wwr_async::sleep(&R::default(), Duration::from_secs(10)));
                let heard = std::pin::pin!(other.hear());
                let Either::Left((Some(number), _)) = select(heard, late).await else { break };
                let micros =
                    micros(started.elapsed()) - sent[number - first].load(Ordering::Relaxed);
                latencies.record(micros).expect("it grows with its values");
            }
        };
        let (sent, ()) = join(sending, hearing).await;
        self.show("node: send", started.elapsed(), &latencies);
        sent
    }

    /// The number of the first session of nodes.
    const fn first(&self) -> usize {
        self.at_once * 1_000_000_000
    }

    async fn measure<F: Future<Output = Result<(), E>>, E>(
        &self,
        name: &str,
        call: impl Fn(usize) -> F,
    ) -> Result<(), E> {
        let mut latencies = latencies();
        let started = Instant::now();
        let mut calls = stream::iter(0..self.sessions)
            .map(|number| {
                let call = call(number);
                async {
                    let asked = Instant::now();
                    call.await.map(|()| asked.elapsed())
                }
            })
            .buffer_unordered(self.at_once);
        while let Some(latency) = calls.next().await {
            latencies.record(micros(latency?)).expect("it grows with its values");
        }
        self.show(name, started.elapsed(), &latencies);
        Ok(())
    }

    fn show(&self, name: &str, took: Duration, latencies: &Histogram<u64>) {
        println!(
            "{:<6} {:>8} {name:<13} {:>10.0} {:>10} {:>10}",
            self.runtime,
            self.at_once,
            latencies.len() as f64 / took.as_secs_f64(),
            latencies.value_at_quantile(0.5),
            latencies.value_at_quantile(0.99),
        );
    }
}

fn latencies() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are possible")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn key(number: usize) -> SessionKey {
    let mut entropy = [0; SessionKey::ENTROPY];
    entropy[..8].copy_from_slice(&number.to_le_bytes());
    SessionKey::from_entropy(entropy)
}

fn session(number: usize) -> Session {
    let info = SessionInfo::new().public("user", "ada").private("quota", 7);
    Session::new(key(number), UnixTime::from_seconds(100), info)
}

fn info() -> SessionInfo {
    SessionInfo::new().public("user", "bob").private("quota", 8)
}
