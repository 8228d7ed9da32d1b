//! Clients that move from node to node, and get the signals that they have missed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use smol::channel::Receiver;
use wwr::{Content, Payload, PreparedSignal, SessionInfo, SessionKey};

use crate::adapter::block_on;
use crate::adapter::client::{Client, Events};
use crate::adapter::cluster::{
    Answer, ClusterConfig, Engine, EngineError, EngineErrorKind, Epoch, MemoryCluster, News,
    Request, SendOutcome,
};
use crate::adapter::server::{
    Connection, Handler, HistoryConfig, RequestError, Server, ServerHandle, SessionEdit,
};

use super::recovery::{Wire, next, until_lost};
use super::support::{SAFETY, spawn};

/// A server that creates a session for whom asks, or gives it another key.
struct Door;

impl Handler for Door {
    async fn request(&self, from: &Connection, asked: Content) -> Result<Payload, RequestError> {
        let session = match asked.name() {
            b"login" => from.create_session(SessionInfo::new()).await?,
            _ => {
                let edit = SessionEdit::new().new_key();
                from.edit_session(edit).await.map_err(|_| RequestError::Internal)?;
                from.session().ok_or(RequestError::Internal)?
            }
        };
        Ok(Payload::utf8(session.key.as_str()))
    }
}

/// An engine in memory that can be away.
#[derive(Clone)]
struct Away(MemoryCluster, Arc<AtomicBool>);

impl Engine for Away {
    async fn perform(&self, request: Request) -> Result<Answer, EngineError> {
        if self.1.load(Ordering::SeqCst) {
            return Err(EngineError::new(EngineErrorKind::Refused, "away"));
        }
        self.0.perform(request).await
    }

    async fn next_news(&self, epoch: Epoch) -> Option<News> {
        self.0.next_news(epoch).await
    }
}

struct Node {
    handle: ServerHandle,
    address: SocketAddr,
    running: Receiver<()>,
}

impl Node {
    async fn start(name: &str, engine: &Away) -> Self {
        let server = Server::builder(Door)
            .history(HistoryConfig::default())
            .cluster(engine.clone(), ClusterConfig::new(name))
            .listen("127.0.0.1:0")
            .await
            .unwrap();
        let (handle, address) = (server.handle(), server.local_addr());
        Self { handle, address, running: spawn(server.run()) }
    }

    async fn signal(&self, to: &SessionKey, text: &'static str) -> SendOutcome {
        let signal = PreparedSignal::new("news", text).unwrap();
        let told = self.handle.signal_session(to, &signal);
        told.forwarded.expect("there is a cluster").outcome().await
    }

    async fn end(self) {
        self.handle.shut_down(SAFETY).await;
        let _ = self.running.recv().await;
    }
}

async fn connect(to: SocketAddr, resumes: bool) -> (Client, Events) {
    let url = format!("ws://{to}/");
    let client = Client::builder(&url).unwrap().resume_signals(resumes).connect().await.unwrap();
    let events = client.events();
    (client, events)
}

async fn login(client: &Client) -> SessionKey {
    loop {
        // The node may not take part yet.
        if let Ok(key) = client.request("login", "").await {
            return SessionKey::new(key.text().unwrap()).unwrap();
        }
    }
}

async fn three() -> (Away, [Node; 3]) {
    let engine = Away(MemoryCluster::new(), Arc::default());
    let nodes = [
        Node::start("a", &engine).await,
        Node::start("b", &engine).await,
        Node::start("c", &engine).await,
    ];
    (engine, nodes)
}

#[test]
fn a_client_that_comes_back_to_another_node_gets_what_it_has_missed() {
    block_on(async {
        let (_engine, [a, b, c]) = three().await;
        let wire = Wire::to(a.address);
        let (client, mut events) = connect(wire.address, true).await;
        let key = login(&client).await;
        // From any node, in one order.
        assert!(matches!(b.signal(&key, "one").await, SendOutcome::Sent { nodes: 1 }));
        assert_eq!(next(&mut events).await, "one");
        assert!(matches!(a.signal(&key, "two").await, SendOutcome::Sent { nodes: 0 }));
        assert_eq!(next(&mut events).await, "two");
        wire.turn_to(None);
        until_lost(&mut events).await;
        c.signal(&key, "three").await;
        a.signal(&key, "four").await;
        wire.turn_to(Some(b.address));
        for expected in ["three", "four", "resumed, 2 missed"] {
            assert_eq!(next(&mut events).await, expected);
        }
        // That node ends, while signals are sent.
        wire.turn_to(None);
        c.signal(&key, "five").await;
        b.end().await;
        c.signal(&key, "six").await;
        wire.turn_to(Some(c.address));
        for expected in ["five", "six", "resumed, 2 missed"] {
            assert_eq!(next(&mut events).await, expected);
        }
        a.signal(&key, "seven").await;
        assert_eq!(next(&mut events).await, "seven");
        client.close().await;
        a.end().await;
        c.end().await;
    });
}

#[test]
fn signals_of_all_nodes_come_to_clients_that_do_not_resume_as_well() {
    block_on(async {
        let (_engine, [a, b, c]) = three().await;
        let (first, mut of_first) = connect(a.address, false).await;
        let key = login(&first).await;
        for (node, text) in [(&a, "one"), (&b, "two"), (&c, "three")] {
            assert!(matches!(node.signal(&key, text).await, SendOutcome::Sent { .. }));
            assert_eq!(next(&mut of_first).await, text);
        }
        // Nobody has this session.
        let none = SessionKey::new("nobody").unwrap();
        assert_eq!(a.signal(&none, "lost").await, SendOutcome::Sent { nodes: 0 });
        first.close().await;
        for node in [a, b, c] {
            node.end().await;
        }
    });
}

#[test]
fn while_the_engine_is_away_the_sender_knows_and_nothing_is_told_out_of_order() {
    block_on(async {
        let (engine, [a, b, c]) = three().await;
        let (client, mut events) = connect(a.address, true).await;
        let key = login(&client).await;
        a.signal(&key, "one").await;
        assert_eq!(next(&mut events).await, "one");
        engine.1.store(true, Ordering::SeqCst);
        // Of the first, it is not known; then it is known that the engine is away.
        assert_eq!(a.signal(&key, "two").await, SendOutcome::Unknown);
        let signal = PreparedSignal::new("news", "three").unwrap();
        let told = a.handle.signal_session(&key, &signal);
        assert_eq!(told.sent, 0);
        assert_eq!(told.forwarded.unwrap().outcome().await, SendOutcome::Unavailable);
        engine.1.store(false, Ordering::SeqCst);
        while !matches!(a.signal(&key, "four").await, SendOutcome::Sent { .. }) {}
        assert_eq!(next(&mut events).await, "four");
        client.close().await;
        for node in [a, b, c] {
            node.end().await;
        }
    });
}

#[test]
fn after_its_session_has_another_key_a_client_knows_that_it_may_have_missed_something() {
    block_on(async {
        let (_engine, [a, b, c]) = three().await;
        let (client, mut events) = connect(a.address, true).await;
        let key = login(&client).await;
        a.signal(&key, "one").await;
        assert_eq!(next(&mut events).await, "one");
        let key = client.request("rotate", "").await.unwrap().text().unwrap().into_owned();
        let gap = next(&mut events).await;
        assert!(gap.starts_with("gap"), "{gap}");
        b.signal(&SessionKey::new(key).unwrap(), "two").await;
        assert_eq!(next(&mut events).await, "two");
        client.close().await;
        for node in [a, b, c] {
            node.end().await;
        }
    });
}
