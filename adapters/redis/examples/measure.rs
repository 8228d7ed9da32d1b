//! Measures a store: how many calls a second, and how long one takes.
//!
//! ```sh
//! redis-server --port 7379 --save '' &
//! cargo run --release -p wwr-redis --example measure -- redis://127.0.0.1:7379 20000
//! ```

use std::future::Future;
use std::time::{Duration, Instant};

use futures_util::{StreamExt as _, stream};
use hdrhistogram::Histogram;
use wwr_redis::{RedisConfig, RedisStore};
use wwr_smol::{
    Runtime, Session, SessionInfo, SessionKey, SessionStore as _, Smol, StoreError, UnixTime,
};
use wwr_tokio::Tokio;

type Failure = Box<dyn std::error::Error>;

/// How many calls are made at once.
const AT_ONCE: [usize; 3] = [1, 16, 256];

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().ok_or("usage: measure URL [SESSIONS]")?;
    let sessions = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    println!(
        "{:<6} {:>8} {:<8} {:>10} {:>10} {:>10}",
        "", "at once", "", "a second", "p50 µs", "p99 µs"
    );
    smol::block_on(measure::<Smol>("smol", &url, sessions))?;
    let tokio =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let url_of_tokio = url.clone();
    let measured = tokio.spawn(async move {
        let measured = measure::<Tokio>("tokio", &url_of_tokio, sessions).await;
        measured.map_err(|error| error.to_string())
    });
    Ok(tokio.block_on(measured)??)
}

/// Creates, looks up, changes and destroys as many sessions as this.
async fn measure<R: Runtime + Default>(
    runtime: &str,
    url: &str,
    sessions: usize,
) -> Result<(), StoreError> {
    let mut config = RedisConfig::default();
    config.prefix = format!("measure:{runtime}:");
    config.expire_after = Some(Duration::from_secs(600));
    let store = &RedisStore::<R>::connect(url, config).await?;
    for at_once in AT_ONCE {
        let calls = Calls { runtime, sessions, at_once };
        calls
            .measure("create", |number| async move { store.create(&session(number)).await })
            .await?;
        let now = UnixTime::from_seconds(200);
        calls
            .measure(
                "look_up",
                |number| async move { store.look_up(&key(number), now).await.map(drop) },
            )
            .await?;
        let info = &SessionInfo::new().public("user", "bob").private("quota", 8);
        calls
            .measure(
                "update",
                |number| async move { store.update(&key(number), info).await.map(drop) },
            )
            .await?;
        calls.measure("destroy", |number| async move { store.destroy(&key(number)).await }).await?;
    }
    Ok(())
}

struct Calls<'a> {
    runtime: &'a str,
    sessions: usize,
    at_once: usize,
}

impl Calls<'_> {
    async fn measure<F: Future<Output = Result<(), StoreError>>>(
        &self,
        name: &str,
        call: impl Fn(usize) -> F,
    ) -> Result<(), StoreError> {
        let mut latencies = Histogram::<u64>::new(3).expect("three digits are possible");
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
            let micros = u64::try_from(latency?.as_micros()).unwrap_or(u64::MAX);
            latencies.record(micros).expect("it grows with its values");
        }
        println!(
            "{:<6} {:>8} {name:<8} {:>10.0} {:>10} {:>10}",
            self.runtime,
            self.at_once,
            self.sessions as f64 / started.elapsed().as_secs_f64(),
            latencies.value_at_quantile(0.5),
            latencies.value_at_quantile(0.99),
        );
        Ok(())
    }
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
