use std::sync::Mutex;

use wwr_tokio::Json;
use wwr_tokio::client::{Client, Error};
use wwr_tokio::server::ServerHandle;

use super::server::{Job, QUEUED};
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
    let mut told = client.signals::<Json<(u64, Job)>>("job").unwrap();
    assert!(client.call::<bool>("cancel", &3).await.unwrap());
    assert_eq!(told.next().await.unwrap().unwrap().0, (3, Job::Cancelled));
    assert!(!client.call::<bool>("cancel", &3).await.unwrap());
    assert_eq!(client.call::<Job>("status", &3).await.unwrap(), Job::Cancelled);
    assert_eq!(client.call::<Job>("status", &4).await.unwrap(), Job::Waiting);
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
