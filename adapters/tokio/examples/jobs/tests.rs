use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, mpsc};

use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;
use wwr_tokio::Json;
use wwr_tokio::client::{Client, Config, Error};
use wwr_tokio::server::ServerHandle;

use super::job::Job;
use super::queue::QUEUED;
use super::{client, server};

async fn start(workers: usize) -> (String, ServerHandle) {
    let server = server::jobs(workers).unwrap().listen("127.0.0.1:0").await.unwrap();
    let started = (format!("ws://{}/", server.local_addr()), server.handle());
    tokio::spawn(server.run());
    started
}

async fn connect(url: &str) -> Client {
    let client = Client::connect_to(url).await.unwrap();
    client.call::<()>("start", &()).await.unwrap();
    client
}

fn code<T>(result: Result<T, Error>) -> String {
    let error = result.err().unwrap();
    error.code().unwrap_or_else(|| panic!("{error:?}")).into_owned()
}

#[tokio::test]
async fn a_job_tells_its_progress_in_order_and_its_result() {
    let (url, _server) = start(2).await;
    let client = connect(&url).await;
    let shown = Mutex::new(Vec::new());
    let show = |line: &dyn std::fmt::Display| shown.lock().unwrap().push(line.to_string());
    assert_eq!(client::count(&client, 1000, show).await.unwrap(), Some(168));
    let shown = shown.into_inner().unwrap();
    assert_eq!(shown[0], "job 1");
    let percents: Vec<u32> =
        shown[1..].iter().map(|line| line.trim_end_matches(" %").parse().unwrap()).collect();
    assert!(percents.len() > 50 && percents.is_sorted(), "{percents:?}");
    for below in [0, 1, 2] {
        assert_eq!(client::count(&client, below, |_| {}).await.unwrap(), Some(0));
    }
}

#[tokio::test]
async fn the_queue_is_bounded_and_jobs_can_be_cancelled() {
    let (url, _server) = start(0).await;
    let client = connect(&url).await;
    for number in 1..=QUEUED as u64 {
        assert_eq!(client.call::<u64>("submit", &10).await.unwrap(), number);
    }
    assert_eq!(code(client.call::<u64>("submit", &10).await), "QUEUE_FULL");
    assert_eq!(code(client.call::<u64>("submit", &1_000_000).await), "TOO_LARGE");
    let mut told = client.signals::<Json<Job>>("job.3").unwrap();
    assert!(client.call::<bool>("cancel", &3).await.unwrap());
    assert_eq!(told.next().await.unwrap().unwrap().0, Job::Cancelled);
    assert!(!client.call::<bool>("cancel", &3).await.unwrap());
    assert_eq!(client.call::<Job>("status", &3).await.unwrap(), Job::Cancelled);
    assert_eq!(client.call::<Job>("status", &4).await.unwrap(), Job::Waiting);
    // Its place is free, once.
    assert_eq!(client.call::<u64>("submit", &10).await.unwrap(), QUEUED as u64 + 1);
    assert_eq!(code(client.call::<u64>("submit", &10).await), "QUEUE_FULL");
}

#[tokio::test]
async fn a_cancelled_job_does_not_hold_up_the_next_one() {
    let (url, _server) = start(1).await;
    let client = connect(&url).await;
    let first: u64 = client.call("submit", &200_000).await.unwrap();
    for _ in 0..2 * QUEUED {
        let number: u64 = client.call("submit", &200_000).await.unwrap();
        assert!(client.call::<bool>("cancel", &number).await.unwrap());
    }
    assert!(client.call::<bool>("cancel", &first).await.unwrap());
    assert_eq!(client::count(&client, 100, |_| {}).await.unwrap(), Some(25));
}

#[tokio::test]
async fn the_jobs_of_a_session_end_with_it_and_not_before() {
    let (url, _server) = start(0).await;
    let (client, other) = (connect(&url).await, Client::connect_to(&url).await.unwrap());
    other.restore_session(client.session().unwrap().key).await.unwrap();
    for _ in 0..QUEUED {
        client.call::<u64>("submit", &10).await.unwrap();
    }
    // The other connection still holds the session.
    client.close_session().await.unwrap();
    client.call::<()>("start", &()).await.unwrap();
    assert_eq!(code(client.call::<u64>("submit", &10).await), "QUEUE_FULL");
    assert_eq!(other.call::<Job>("status", &1).await.unwrap(), Job::Waiting);
    other.close_session().await.unwrap();
    // Its next request is handled after its jobs have been cancelled.
    other.call::<()>("start", &()).await.unwrap();
    for _ in 0..QUEUED {
        client.call::<u64>("submit", &10).await.unwrap();
    }
}

#[tokio::test]
async fn jobs_belong_to_a_session() {
    let (url, _server) = start(0).await;
    let (client, other) = (connect(&url).await, connect(&url).await);
    let number: u64 = client.call("submit", &10).await.unwrap();
    assert_eq!(code(other.call::<Job>("status", &number).await), "NO_JOB");
    assert_eq!(code(other.call::<bool>("cancel", &number).await), "NO_JOB");
    let nobody = Client::connect_to(&url).await.unwrap();
    assert_eq!(code(nobody.call::<Job>("status", &number).await), "NO_SESSION");
}

#[tokio::test]
async fn a_job_goes_on_while_its_client_is_cut_off() {
    let (url, server) = start(1).await;
    let client = connect(&url).await;
    let cut = |line: &dyn std::fmt::Display| {
        if line.to_string() == "10 %" {
            server.connections().iter().for_each(|connection| connection.close());
        }
    };
    assert_eq!(client::count(&client, 20_000, cut).await.unwrap(), Some(2262));
}

#[tokio::test]
async fn a_client_that_is_cut_again_and_again_still_learns_the_result() {
    const CUTS: usize = 3;
    let (url, server) = start(1).await;
    let client = connect(&url).await;
    let is_submitted = Arc::new(Notify::new());
    let submitted = is_submitted.clone();
    // As soon as the session is there, so that the question for the state is under way.
    let cutting = tokio::spawn(async move {
        is_submitted.notified().await;
        let mut seen = BTreeSet::new();
        while seen.len() < CUTS {
            for connection in server.connections() {
                if connection.session().is_some() && seen.insert(connection.id()) {
                    connection.close();
                }
            }
            yield_now().await;
        }
    });
    let show = |_: &dyn std::fmt::Display| submitted.notify_one();
    assert_eq!(client::count(&client, 200_000, show).await.unwrap(), Some(17_984));
    cutting.await.unwrap();
}

/// The client takes its events too late, and misses how the job has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_client_that_has_missed_signals_asks_for_the_state() {
    let (url, server) = start(0).await;
    let mut config = Config::default();
    config.max_events = 1;
    let client = Client::builder(&url).unwrap().config(config).connect().await.unwrap();
    client.call::<()>("start", &()).await.unwrap();
    let key = client.session().unwrap().key;
    let mut told = client.signals::<Json<Job>>("job.1").unwrap();
    let (submitted, is_submitted) = oneshot::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let counting = tokio::spawn(async move {
        let start = Mutex::new(Some((submitted, wait)));
        let show = |_: &dyn std::fmt::Display| {
            if let Some((submitted, wait)) = start.lock().unwrap().take() {
                submitted.send(()).unwrap();
                // Blocks its thread, on purpose.
                wait.recv().unwrap();
            }
        };
        client::count(&client, 10, show).await
    });
    is_submitted.await.unwrap();
    let told_all = server.session_group(&key).signal("noise", "x").unwrap();
    assert_eq!(told_all.sent, 1);
    let other = Client::connect_to(&url).await.unwrap();
    other.restore_session(key).await.unwrap();
    assert!(other.call::<bool>("cancel", &1).await.unwrap());
    assert_eq!(told.next().await.unwrap().unwrap().0, Job::Cancelled);
    go_on.send(()).unwrap();
    assert_eq!(counting.await.unwrap().unwrap(), None);
}
