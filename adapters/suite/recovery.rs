//! Clients that lose their connection and nothing else: signals that come late, and requests that are repeated.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use smol::channel::{Receiver, Sender, bounded};
use wwr::{Content, Payload, PreparedSignal, SessionInfo, SessionKey};

use crate::adapter::block_on;
use crate::adapter::client::{Client, Event, Events};
use crate::adapter::cluster::{ClusterConfig, ClusterState, MemoryCluster};
use crate::adapter::server::{
    Connection, Handler, HistoryConfig, OutcomesConfig, RequestError, Server, ServerHandle,
};

use super::support::spawn;

/// A server that takes orders, and waits for a sign before it says so.
struct Shop {
    orders: Arc<AtomicU32>,
    taken: Sender<()>,
    goes_on: Receiver<()>,
}

impl Handler for Shop {
    async fn request(&self, from: &Connection, asked: Content) -> Result<Payload, RequestError> {
        match asked.name() {
            b"login" => {
                let session = from.create_session(SessionInfo::new()).await?;
                Ok(Payload::utf8(session.key.as_str()))
            }
            _ => {
                let order = self.orders.fetch_add(1, Ordering::SeqCst) + 1;
                self.taken.send(()).await.map_err(|_| RequestError::Internal)?;
                self.goes_on.recv().await.map_err(|_| RequestError::Internal)?;
                Ok(Payload::utf8(format!("order {order}")))
            }
        }
    }
}

/// Connections to a server that can be cut.
pub(super) struct Wire {
    pub(super) address: SocketAddr,
    /// `None`: connections are closed at once.
    server: Arc<Mutex<Option<SocketAddr>>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Wire {
    pub(super) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Vec::new()));
        let all = open.clone();
        let server = Arc::new(Mutex::new(Some(server)));
        let target = server.clone();
        // It ends with the process: nothing tells when the last client has gone.
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Some(server) = *target.lock().unwrap() else { continue };
                let Ok(server) = TcpStream::connect(server) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
                all.lock().unwrap().extend([client, server]);
            }
        });
        Self { address, server, open }
    }

    /// From now on, clients come to another server, or to none.
    pub(super) fn turn_to(&self, server: Option<SocketAddr>) {
        *self.server.lock().unwrap() = server;
        self.cut();
    }

    pub(super) fn cut(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The server, its end, and what its handlers do.
struct Fixture {
    handle: ServerHandle,
    running: Receiver<()>,
    orders: Arc<AtomicU32>,
    taken: Receiver<()>,
    goes_on: Sender<()>,
    wire: Wire,
}

impl Fixture {
    async fn new() -> Self {
        let ((taken, is_taken), (goes_on, may_go_on)) = (bounded(8), bounded(8));
        let orders = Arc::new(AtomicU32::new(0));
        let shop = Shop { orders: orders.clone(), taken, goes_on: may_go_on };
        let server = Server::builder(shop)
            .history(HistoryConfig::default())
            .idempotency(OutcomesConfig::default())
            .listen("127.0.0.1:0")
            .await
            .unwrap();
        let (handle, wire) = (server.handle(), Wire::to(server.local_addr()));
        let running = spawn(server.run());
        Self { handle, running, orders, taken: is_taken, goes_on, wire }
    }

    async fn client(&self, resumes: bool) -> (Client, Events) {
        let url = format!("ws://{}/", self.wire.address);
        let builder = Client::builder(&url).unwrap().resume_signals(resumes);
        let client = builder.idempotent_requests(true).connect().await.unwrap();
        let events = client.events();
        (client, events)
    }

    fn signal(&self, to: &SessionKey, text: &'static str) -> usize {
        self.handle.signal_session(to, &PreparedSignal::new("news", text).unwrap()).sent
    }

    async fn end(self, client: Client) {
        client.close().await;
        self.handle.shut_down(super::support::SAFETY).await;
        let _ = self.running.recv().await;
    }
}

/// The next event that is about signals.
pub(super) async fn next(events: &mut Events) -> String {
    loop {
        match events.next().await.expect("an event") {
            Event::Signal(content) => return content.text().unwrap().into_owned(),
            Event::SignalGap { from, to } => return format!("gap {from:?} {to:?}"),
            Event::SignalsResumed { missed } => return format!("resumed, {missed} missed"),
            _ => {}
        }
    }
}

pub(super) async fn until_lost(events: &mut Events) {
    while !matches!(events.next().await.expect("an event"), Event::Disconnected { .. }) {}
}

#[test]
fn a_client_gets_the_signals_that_it_has_missed() {
    block_on(async {
        let fixture = Fixture::new().await;
        let (client, mut events) = fixture.client(true).await;
        let key = client.request("login", "").await.unwrap().text().unwrap().into_owned();
        let key = SessionKey::new(key).unwrap();
        assert_eq!(fixture.signal(&key, "one"), 1);
        assert_eq!(next(&mut events).await, "one");
        fixture.wire.cut();
        until_lost(&mut events).await;
        // The server may not have noticed yet: that makes no difference.
        fixture.signal(&key, "two");
        fixture.signal(&key, "three");
        for expected in ["two", "three", "resumed, 2 missed"] {
            assert_eq!(next(&mut events).await, expected);
        }
        assert_eq!(fixture.signal(&key, "four"), 1);
        assert_eq!(next(&mut events).await, "four");
        fixture.end(client).await;
    });
}

#[test]
fn a_client_that_does_not_ask_gets_signals_as_ever() {
    block_on(async {
        let fixture = Fixture::new().await;
        let (client, mut events) = fixture.client(false).await;
        let key = client.request("login", "").await.unwrap().text().unwrap().into_owned();
        let key = SessionKey::new(key).unwrap();
        for text in ["one", "two"] {
            assert_eq!(fixture.signal(&key, text), 1);
            assert_eq!(next(&mut events).await, text);
        }
        fixture.end(client).await;
    });
}

#[test]
fn an_idempotent_request_is_executed_once_though_its_connection_is_lost() {
    block_on(async {
        let fixture = Fixture::new().await;
        let (client, _) = fixture.client(true).await;
        // Only a client that knows what the server keeps repeats requests: that came before this reply.
        client.request("login", "").await.unwrap();
        let ordered = {
            let client = client.clone();
            smol::spawn(async move { client.request_idempotent("order", "tea").await })
        };
        fixture.taken.recv().await.unwrap();
        fixture.wire.cut();
        let mut events = client.events();
        while !matches!(events.next().await.expect("an event"), Event::Connected) {}
        fixture.goes_on.send(()).await.unwrap();
        assert_eq!(ordered.await, Ok(Payload::utf8("order 1")));
        assert_eq!(fixture.orders.load(Ordering::SeqCst), 1);
        fixture.end(client).await;
    });
}

#[test]
fn the_time_of_an_idempotent_request_goes_on_over_a_loss() {
    block_on(async {
        let fixture = Fixture::new().await;
        let (client, _) = fixture.client(true).await;
        // Only a client that knows what the server keeps repeats requests: that came before this reply.
        client.request("login", "").await.unwrap();
        let ordered = {
            let (client, timeout) = (client.clone(), Duration::from_secs(1));
            smol::spawn(
                async move { client.request_idempotent_within(timeout, "order", "tea").await },
            )
        };
        fixture.taken.recv().await.unwrap();
        fixture.wire.cut();
        // The handler does not end before.
        assert_eq!(ordered.await, Err(wwr::client::RequestError::TimedOut { sent: true }.into()));
        fixture.goes_on.send(()).await.unwrap();
        fixture.end(client).await;
    });
}

/// Waits until a node takes part.
async fn until_member(node: &ServerHandle) {
    let state = || node.stats().cluster.unwrap().state;
    while !matches!(state(), ClusterState::Member { confirms: false, .. }) {
        smol::Timer::after(Duration::from_millis(5)).await;
    }
}

#[test]
fn an_idempotent_request_that_is_repeated_on_other_nodes_is_executed_once() {
    block_on(async {
        let ((taken, is_taken), (goes_on, may_go_on)) = (bounded(8), bounded(8));
        let orders = Arc::new(AtomicU32::new(0));
        let engine = MemoryCluster::new();
        let mut nodes = Vec::new();
        for name in ["a", "b", "c"] {
            let (taken, goes_on) = (taken.clone(), may_go_on.clone());
            let server = Server::builder(Shop { orders: orders.clone(), taken, goes_on })
                .cluster(engine.clone(), ClusterConfig::new(name))
                .idempotency(OutcomesConfig::default())
                .listen("127.0.0.1:0")
                .await
                .unwrap();
            let (handle, address) = (server.handle(), server.local_addr());
            let running = spawn(server.run());
            until_member(&handle).await;
            nodes.push((handle, address, running));
        }
        let wire = Wire::to(nodes[0].1);
        let url = format!("ws://{}/", wire.address);
        let builder = Client::builder(&url).unwrap().idempotent_requests(true);
        let client = builder.connect().await.unwrap();
        // Only a client that knows what the server keeps repeats requests: that came before this reply.
        client.request("login", "").await.unwrap();
        let ordered = {
            let client = client.clone();
            smol::spawn(async move { client.request_idempotent("order", "tea").await })
        };
        is_taken.recv().await.unwrap();
        // The first node executes it, while the client goes from one to the next.
        for (_, address, _) in &nodes[1..] {
            let mut events = client.events();
            wire.turn_to(Some(*address));
            while !matches!(events.next().await.expect("an event"), Event::Connected) {}
        }
        goes_on.send(()).await.unwrap();
        assert_eq!(ordered.await, Ok(Payload::utf8("order 1")));
        // Another one is executed by the node on which the client is now.
        goes_on.send(()).await.unwrap();
        let second = client.request_idempotent("order", "tea").await;
        assert_eq!(second, Ok(Payload::utf8("order 2")));
        assert_eq!(orders.load(Ordering::SeqCst), 2);
        client.close().await;
        for (handle, _, running) in nodes {
            handle.shut_down(super::support::SAFETY).await;
            let _ = running.recv().await;
        }
    });
}

/// A server that creates a session before it has read anything.
struct Greeter;

impl Handler for Greeter {
    async fn connected(&self, to: &Connection) {
        to.create_session(SessionInfo::new()).await.expect("a session");
    }

    async fn request(&self, from: &Connection, _: Content) -> Result<Payload, RequestError> {
        let session = from.session().ok_or(RequestError::Internal)?;
        Ok(Payload::utf8(session.key.as_str()))
    }
}

#[test]
fn signals_to_a_session_of_the_hook_for_new_connections_are_not_lost() {
    block_on(async {
        let server = Server::builder(Greeter).history(HistoryConfig::default());
        let server = server.listen("127.0.0.1:0").await.unwrap();
        let (handle, url) = (server.handle(), format!("ws://{}/", server.local_addr()));
        let running = spawn(server.run());
        let builder = Client::builder(&url).unwrap().resume_signals(true);
        let client = builder.connect().await.unwrap();
        let mut events = client.events();
        let key = client.request("key", "").await.unwrap().text().unwrap().into_owned();
        let signal = PreparedSignal::new("news", "one").unwrap();
        assert_eq!(handle.signal_session(&SessionKey::new(key).unwrap(), &signal).sent, 1);
        assert_eq!(next(&mut events).await, "one");
        client.close().await;
        handle.shut_down(super::support::SAFETY).await;
        let _ = running.recv().await;
    });
}
