use std::fmt::Display;

use tokio::sync::mpsc::{Sender, UnboundedReceiver, channel, unbounded_channel};
use wwr_tokio::Json;
use wwr_tokio::client::Client;
use wwr_tokio::server::ServerHandle;

use super::server::{Person, Status};
use super::{client, server};

async fn start() -> (String, ServerHandle) {
    let server = server::presence().unwrap().listen("127.0.0.1:0").await.unwrap();
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
    assert_eq!(next().await, ada(Status::Online));

    // Both connections tell the same news of their session.
    laptop.call::<()>("away", &true).await.unwrap();
    assert_eq!(next().await, ada(Status::Away));
    phone.close().await;
    laptop.call::<()>("away", &false).await.unwrap();
    while next().await != ada(Status::Online) {}
    laptop.close().await;
    let seen = loop {
        match next().await.status {
            Status::Offline(since) => break since,
            Status::Online | Status::Away => {}
        }
    };
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
