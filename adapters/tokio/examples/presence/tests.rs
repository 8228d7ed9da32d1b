use std::fmt::Display;
use std::sync::{Arc, mpsc};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};
use tokio::task::yield_now;
use wwr_tokio::client::{Client, Config};
use wwr_tokio::server::{Connection, Router, ServerHandle, SessionChange, State};
use wwr_tokio::{Json, Session};

use super::server::{Person, Status};
use super::{client, server};

async fn start() -> (String, ServerHandle) {
    start_with(server::presence()).await
}

async fn start_with<S: Send + Sync + 'static>(presence: Router<S>) -> (String, ServerHandle) {
    let server = server::serve(presence).unwrap().listen("127.0.0.1:0").await.unwrap();
    let started = (format!("ws://{}/", server.local_addr()), server.handle());
    tokio::spawn(server.run());
    started
}

#[tokio::test]
async fn a_person_is_online_until_the_last_connection_has_gone() {
    let (url, _server) = start().await;
    let watcher = Client::connect_to(&url).await.unwrap();
    let mut news = watcher.signals::<Json<Person>>("person.1").unwrap();
    assert_eq!(watcher.call::<Vec<Person>>("watch", &()).await.unwrap(), []);
    let mut next = async || news.next().await.unwrap().unwrap().0;

    let phone = Client::connect_to(&url).await.unwrap();
    phone.call::<()>("login", "ada").await.unwrap();
    let ada = |status| Person { number: 1, name: "ada".to_owned(), status };
    assert_eq!(next().await, ada(Status::Online));
    let laptop = Client::connect_to(&url).await.unwrap();
    laptop.restore_session(phone.session().unwrap().key).await.unwrap();
    // What has not changed is not told again.
    laptop.call::<()>("away", &true).await.unwrap();
    assert_eq!(next().await, ada(Status::Away));
    phone.close().await;
    laptop.call::<()>("away", &false).await.unwrap();
    assert_eq!(next().await, ada(Status::Online));
    laptop.close().await;
    let Status::Offline(seen) = next().await.status else { panic!("still here") };
    assert_eq!(
        watcher.call::<Vec<Person>>("watch", &()).await.unwrap(),
        [ada(Status::Offline(seen))]
    );
}

#[tokio::test]
async fn only_those_who_are_logged_in_have_a_status() {
    let (url, _server) = start().await;
    let client = Client::connect_to(&url).await.unwrap();
    let error = client.call::<()>("away", &true).await.unwrap_err();
    assert_eq!(error.code().as_deref(), Some("NO_SESSION"));
    for name in ["", "a\nb", &"a".repeat(41)] {
        let error = client.call::<()>("login", name).await.unwrap_err();
        assert_eq!(error.code().as_deref(), Some("BAD_NAME"));
    }
}

/// A change that one connection is told late, and which it does not outlive, does not leave an old status.
#[tokio::test]
async fn a_late_change_of_a_connection_that_has_gone_changes_nothing() {
    let (is_late, mut late) = unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let waits = (is_late, go_on.clone());
    // Before the hook of the board.
    let gate = async |of: Connection,
                      change: SessionChange,
                      gate: State<(UnboundedSender<()>, Arc<Notify>)>| {
        let is_away = |session: &Session| {
            session.info.read::<Person>().is_ok_and(|person| person.status == Status::Away)
        };
        if of.id() == 2 && change.after().is_some_and(is_away) {
            gate.0.0.send(()).unwrap();
            gate.0.1.notified().await;
        }
    };
    let gate = Router::with_state(waits).session_changed(gate);
    let (url, server) = start_with(gate.nest("", server::presence())).await;
    let phone = Client::connect_to(&url).await.unwrap();
    phone.call::<()>("login", "ada").await.unwrap();
    let key = phone.session().unwrap().key;
    let laptop = Client::connect_to(&url).await.unwrap();
    laptop.restore_session(key.clone()).await.unwrap();
    assert!(server.session_connections(&key).iter().any(|connection| connection.id() == 2));
    phone.call::<()>("away", &true).await.unwrap();
    late.recv().await.unwrap();
    let of_laptop =
        server.connections().into_iter().find(|connection| connection.id() == 2).unwrap();
    of_laptop.close();
    while server.session_connections(&key).len() > 1 {
        yield_now().await;
    }
    phone.call::<()>("away", &false).await.unwrap();
    go_on.notify_one();
    while server.connections().contains(&of_laptop) {
        yield_now().await;
    }
    let board = phone.call::<Vec<Person>>("watch", &()).await.unwrap();
    assert_eq!(board[0].status, Status::Online);
}

/// What a watcher did not take in time, it gets with the whole board.
#[tokio::test]
async fn a_terminal_that_has_missed_signals_fetches_the_board() {
    let (url, server) = start().await;
    let mut config = Config::default();
    config.max_events = 1;
    let watcher = Client::builder(&url).unwrap().config(config).connect().await.unwrap();
    let mut others = watcher.signals::<Json<Person>>("person.2").unwrap();
    let (go_on, wait) = mpsc::channel::<()>();
    let (shown, mut output) = unbounded_channel();
    let (typed, lines) = channel(1);
    // On a thread of its own, which it blocks when it shows the first line.
    let runtime = Handle::current();
    let watching = std::thread::spawn(move || {
        let show = |line: &dyn Display| {
            shown.send(line.to_string()).unwrap();
            let _ = wait.recv();
        };
        runtime.block_on(client::run(&watcher, "ada", lines, show));
    });
    shows(&mut output, "ada is online").await;
    for connection in server.connections() {
        // The only event for which there is room.
        connection.signal("noise", "x").unwrap();
    }
    let grace = Client::connect_to(&url).await.unwrap();
    grace.call::<()>("login", "grace").await.unwrap();
    assert_eq!(others.next().await.unwrap().unwrap().0.status, Status::Online);
    drop(go_on);
    shows(&mut output, "grace is online").await;
    drop(typed);
    watching.join().unwrap();
}

fn terminal(url: &str, name: &'static str) -> (Sender<String>, UnboundedReceiver<String>) {
    let ((typed, lines), (shown, output)) = (channel(1), unbounded_channel());
    let url = url.to_owned();
    tokio::spawn(async move {
        let client = Client::connect_to(&url).await.unwrap();
        let show = |line: &dyn Display| drop(shown.send(line.to_string()));
        client::run(&client, name, lines, show).await;
        client.close().await;
    });
    (typed, output)
}

async fn shows(output: &mut UnboundedReceiver<String>, text: &str) {
    while !output.recv().await.unwrap().starts_with(text) {}
}

#[tokio::test]
async fn terminals_show_each_other_and_come_back() {
    let (url, server) = start().await;
    let (type_ada, mut ada) = terminal(&url, "ada");
    shows(&mut ada, "ada is online").await;
    let (type_grace, mut grace) = terminal(&url, "grace");
    shows(&mut ada, "grace is online").await;
    type_grace.send("/away".to_owned()).await.unwrap();
    shows(&mut ada, "grace is away").await;
    // The connections are cut. The sessions are restored with what they say.
    server.connections().iter().for_each(|connection| connection.close());
    shows(&mut ada, "grace is away").await;
    type_grace.send("/quit".to_owned()).await.unwrap();
    shows(&mut ada, "grace was seen last").await;
    while grace.recv().await.is_some() {}
    drop(type_ada);
    while ada.recv().await.is_some() {}
}
