//! A rolling restart: two servers behind one address, of which one goes and the other comes, while
//! clients keep asking.
//!
//! The servers share a directory of sessions and log the name of each request they handle. Most
//! requests here have a name of their own, which the playground does not know and says so: that is
//! the reply. So the logs tell which requests were really handled, and how often. Others sleep, and
//! keep those behind them waiting.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use futures_util::future::{join, join_all};
use rustix::process::{Pid, Signal, kill_process};
use smol::channel::{Receiver, Sender, unbounded};
use smol::{block_on, unblock};
use wwr::client::RequestError;
use wwr::{Name, Payload};
use wwr_smol::client::{Client, Config, Error, Event};

use crate::support::{Relay, url, wwr};

const CLIENTS: usize = 8;

/// How often one server is replaced by the other.
const CHANGES: usize = 4;

/// How many requests a client has answered by each server, at least.
const ENOUGH: usize = 20;

/// How many milliseconds a request takes that sleeps.
const SLEEP: &str = "5";

/// One of the two servers; it is killed when this is dropped.
struct Instance {
    child: Child,
    address: SocketAddr,
}

impl Instance {
    fn start(sessions: &Path, log: &Path) -> Self {
        let mut child = wwr()
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "debug", "--durable"])
            .args(["--shutdown-timeout", "60s", "--sessions"])
            .arg(sessions)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::options().append(true).create(true).open(log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
        Self { child, address }
    }

    /// Ends it as an operator does, and waits until it has ended.
    fn drain(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What became of a request, by its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The handler answered.
    Answered,
    /// The server refused, or never saw it.
    NotHandled,
    /// The connection ended before the answer.
    Unknown,
}

fn outcome(name: &str, result: Result<Payload, Error>) -> Outcome {
    match result {
        Ok(slept) if name == "sleep" => {
            assert_eq!(slept.as_bytes(), SLEEP.as_bytes());
            Outcome::Answered
        }
        Err(Error::Request(RequestError::Failed(error))) => {
            assert_eq!(&*error.code(), "UNKNOWN_NAME");
            assert!(error.message().contains(name), "{name}: {}", error.message());
            Outcome::Answered
        }
        Err(Error::Request(RequestError::ServerShutdown | RequestError::NotSent)) => {
            Outcome::NotHandled
        }
        Err(Error::Request(RequestError::ConnectionLost)) => Outcome::Unknown,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn a_rolling_restart_loses_no_reply_and_no_session() {
    let directory = tempfile::tempdir().unwrap();
    let (sessions, log) = (directory.path().join("sessions"), directory.path().join("log"));
    let mut serving = Instance::start(&sessions, &log);
    let switch = Relay::start();
    switch.lead_to(Some(serving.address));
    let (ready, all_ready) = unbounded();
    let (stop, stopped) = unbounded();
    let clients = join_all((0..CLIENTS).map(|number| {
        let client = Asking::new(number, ready.clone(), stopped.clone());
        client.run(url(switch.address))
    }));
    let restarts = async {
        for _ in 0..CHANGES {
            wait_for_all(&all_ready).await;
            let next = Instance::start(&sessions, &log);
            // New connections go to the new server; the old ones are left to the old one to close.
            switch.send_new_to(next.address);
            let old = std::mem::replace(&mut serving, next);
            unblock(move || old.drain()).await;
        }
        wait_for_all(&all_ready).await;
        drop(stop);
    };
    let (outcomes, ()) = block_on(join(clients, restarts));

    let log = fs::read_to_string(log).unwrap();
    let mut handled = HashMap::<&str, usize>::new();
    let names = log.split_whitespace().filter_map(|word| word.strip_prefix("name="));
    for name in names.filter(|name| *name != "login") {
        *handled.entry(name).or_default() += 1;
    }
    let mut answered = HashMap::<&str, usize>::new();
    let outcomes = outcomes.iter().flatten();
    for (name, _) in outcomes.clone().filter(|(_, outcome)| *outcome == Outcome::Answered) {
        *answered.entry(name).or_default() += 1;
    }
    // Replies of what was handled go out before the close frame, so what had none was not.
    assert_eq!(handled, answered);
    let count = |wanted| outcomes.clone().filter(|(_, outcome)| *outcome == wanted).count();
    let [answered, refused, unknown] =
        [Outcome::Answered, Outcome::NotHandled, Outcome::Unknown].map(count);
    println!("{answered} requests were answered, {refused} refused, {unknown} came too late");
}

/// Waits until each client has made progress on the server that serves now.
async fn wait_for_all(ready: &Receiver<()>) {
    for _ in 0..CLIENTS {
        ready.recv().await.unwrap();
    }
}

/// A client that makes requests, several at a time, until told to stop.
struct Asking {
    number: usize,
    asked: usize,
    outcomes: Vec<(String, Outcome)>,
    ready: Sender<()>,
    stopped: Receiver<()>,
}

impl Asking {
    fn new(number: usize, ready: Sender<()>, stopped: Receiver<()>) -> Self {
        Self { number, asked: 0, outcomes: Vec::new(), ready, stopped }
    }

    async fn run(mut self, url: String) -> Vec<(String, Outcome)> {
        let mut config = Config::default();
        config.machine.initial_backoff = Duration::from_millis(1);
        config.machine.max_backoff = Duration::from_millis(50);
        let client = Client::builder(&url).unwrap().config(config).connect().await.unwrap();
        let mut events = client.events();
        client.request("login", r#"{"user":"ada"}"#).await.unwrap();
        let session = client.session().unwrap();
        assert!(matches!(events.next().await, Some(Event::SessionCreated(_))));
        loop {
            self.ask(&client, ENOUGH).await;
            self.ready.send(()).await.unwrap();
            // Until this server is gone, or all is over.
            let lost = loop {
                self.ask(&client, 1).await;
                if let Some(event) = smol::future::poll_once(events.next()).await {
                    break event;
                }
                if self.stopped.is_closed() {
                    client.close().await;
                    return self.outcomes;
                }
            };
            assert!(matches!(lost, Some(Event::Disconnected { .. })), "{lost:?}");
            loop {
                match events.next().await {
                    Some(Event::ConnectFailed { .. }) => {}
                    Some(Event::SessionRestored(restored)) => {
                        assert_eq!((&restored.key, &restored.info), (&session.key, &session.info));
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(events.next().await, Some(Event::Connected));
        }
    }

    /// Makes requests until this many are answered; of four at a time, three wait for the first.
    async fn ask(&mut self, client: &Client, answers: usize) {
        let mut answered = 0;
        while answered < answers {
            let mut names = vec!["sleep".to_owned()];
            names.extend((0..3).map(|place| format!("{}-{}", self.number, self.asked + place)));
            self.asked += 3;
            let asked = names.iter().map(|name| {
                let payload = if name == "sleep" { SLEEP } else { "x" };
                client.request(name.parse::<Name>().unwrap(), payload)
            });
            for (name, result) in names.iter().zip(join_all(asked).await) {
                let outcome = outcome(name, result);
                answered += usize::from(outcome == Outcome::Answered);
                self.outcomes.push((name.clone(), outcome));
            }
        }
    }
}
