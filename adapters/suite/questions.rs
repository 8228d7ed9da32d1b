//! Questions of the server to the client, over real sockets (protocol §10.4).

use std::time::Duration;

use smol::channel::{Receiver, Sender, unbounded};
use wwr::client::Protocol;
use wwr::server::{Misuse, RequestError};
use wwr::{Content, Dialect, Payload};

use crate::adapter::block_on;
use crate::adapter::client::{AnswerError, Builder as ClientBuilder, Client};
use crate::adapter::server::{AskError, Config, Connection, Handler, Server, ServerHandle};

use super::support::peer::{Peer, handshake};
use super::support::{SAFETY, spawn};

/// Hands each connection to the test. Asks in the hook for new connections, if it is to.
struct Application {
    connected: Sender<Connection>,
    asks_at_once: bool,
    heard: Sender<Result<Payload, AskError>>,
}

impl Handler for Application {
    /// A request is answered with what the client answers to the question of the same name.
    async fn request(
        &self,
        connection: &Connection,
        request: Content,
    ) -> Result<Payload, RequestError> {
        let name = request.name_str().unwrap_or_default().to_owned();
        let answer = connection.ask(&*name, request.into_payload()).await;
        answer.map_err(|error| RequestError::failed("ASK", error.to_string()))
    }

    async fn connected(&self, connection: &Connection) {
        if self.asks_at_once {
            let answer = connection.ask("echo", "who are you?").await;
            self.heard.send(answer).await.unwrap();
        }
        self.connected.send(connection.clone()).await.unwrap();
    }
}

struct Fixture {
    handle: ServerHandle,
    running: Receiver<()>,
    url: String,
    connected: Receiver<Connection>,
    heard: Receiver<Result<Payload, AskError>>,
}

impl Fixture {
    async fn new(asks_at_once: bool, change: impl FnOnce(&mut Config)) -> Self {
        let ((sender, connected), (to_test, heard)) = (unbounded(), unbounded());
        let application = Application { connected: sender, asks_at_once, heard: to_test };
        let mut config = Config::default();
        change(&mut config);
        let server =
            Server::builder(application).config(config).listen("127.0.0.1:0").await.unwrap();
        let (handle, url) = (server.handle(), format!("ws://{}/", server.local_addr()));
        Self { handle, running: spawn(server.run()), url, connected, heard }
    }

    async fn end(self) {
        self.handle.shut_down(Duration::from_millis(10)).await;
        assert!(self.running.recv().await.is_err(), "it is only closed");
    }
}

fn client(url: &str) -> ClientBuilder {
    Client::builder(url).unwrap()
}

/// Tells the test when it is dropped.
struct Dropped(Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

/// A handler for all of these tests, and what says that the handler of a question "never" has begun, and
/// that it was dropped.
fn handler() -> (impl Fn(Content) -> smol::future::Boxed<Answer> + Send + Sync, [Receiver<()>; 2]) {
    let ((begun, has_begun), (dropped, was_dropped)) = (unbounded(), unbounded());
    let handler = move |question: Content| -> smol::future::Boxed<Answer> {
        let (begun, dropped) = (begun.clone(), Dropped(dropped.clone()));
        Box::pin(async move {
            match question.name() {
                b"echo" => Ok(question.into_payload()),
                b"fail" => Err(AnswerError::failed("LOCKED", "the screen is locked")),
                b"panic" => panic!("the handler of a question panics on purpose"),
                b"large" => Ok(Payload::binary(vec![7; 2 << 20])),
                b"never" => {
                    let _kept = dropped;
                    begun.try_send(()).unwrap();
                    std::future::pending().await
                }
                _ => Err(AnswerError::Internal),
            }
        })
    };
    (handler, [has_begun, was_dropped])
}

type Answer = Result<Payload, AnswerError>;

#[test]
fn a_client_answers_what_the_server_asks() {
    block_on(async {
        let fixture = Fixture::new(false, |_| {}).await;
        let (handler, _) = handler();
        let asked = client(&fixture.url).answer(handler).connect().await.unwrap();
        assert_eq!(asked.dialect(), Dialect::Wwr1);
        let connection = fixture.connected.recv().await.unwrap();
        for payload in [Payload::binary(vec![1, 2]), "text".into(), Payload::utf16("😀")] {
            assert_eq!(connection.ask("echo", payload.clone()).await, Ok(payload));
        }
        let long = Payload::binary(vec![1; 100_000]);
        assert_eq!(connection.ask("echo", long.clone()).await, Ok(long));
        let failed = connection.ask("fail", "").await.unwrap_err();
        let AskError::Failed(error) = &failed else { panic!("{failed:?}") };
        assert_eq!((&*error.code(), &*error.message()), ("LOCKED", "the screen is locked"));
        assert_eq!(connection.ask("large", "").await, Err(AskError::AnswerTooLarge));
        assert_eq!(connection.ask("other", "").await, Err(AskError::Internal));
        assert_eq!(connection.ask("", "").await, Err(AskError::Misuse(Misuse::EmptyQuestion)));
        assert!(matches!(connection.ask("caf\u{e9}", "").await, Err(AskError::InvalidName(_))));
        // A handler may ask while its own request waits, and the next request behind it.
        let (one, two) =
            smol::future::zip(asked.request("echo", "1"), asked.request("echo", "2")).await;
        assert_eq!((one, two), (Ok("1".into()), Ok("2".into())));
        drop(asked);
        fixture.end().await;
    });
}

#[test]
fn a_client_without_a_handler_states_that_it_answers_nothing() {
    block_on(async {
        let fixture = Fixture::new(false, |_| {}).await;
        let asked = client(&fixture.url).connect().await.unwrap();
        let connection = fixture.connected.recv().await.unwrap();
        // Before it has stated anything, the question waits for that.
        for _ in 0..2 {
            let refused = connection.ask_within(SAFETY, "q", "").await;
            assert_eq!(refused, Err(AskError::Unsupported { dialect: Dialect::Wwr1 }));
        }
        drop(asked);
        fixture.end().await;
    });
}

#[test]
fn clients_that_cannot_be_asked_are_named() {
    block_on(async {
        let fixture = Fixture::new(false, |_| {}).await;
        for (protocol, dialect) in [
            (Protocol::V1_4, Dialect::V1_4),
            (Protocol::V2_0, Dialect::V2_0),
            (Protocol::Auto, Dialect::Wwr1),
        ] {
            let (handler, _) = handler();
            let mut config = crate::adapter::client::Config::default();
            config.machine.protocol = protocol;
            config.machine.max_open_questions = 0;
            let asked = client(&fixture.url).config(config).answer(handler).connect().await;
            let asked = asked.unwrap();
            let connection = fixture.connected.recv().await.unwrap();
            let refused = connection.ask("echo", "").await.unwrap_err();
            let AskError::Unsupported { dialect: found } = refused else { panic!("{refused:?}") };
            // A client of 2.0 is not known before its first heartbeat.
            assert!(found == dialect || found == Dialect::Unknown, "{found}");
            assert!(
                asked.request("a", "").await.is_err(),
                "it lives on, and its handler asks in vain"
            );
        }
        fixture.end().await;
    });
}

#[test]
fn a_handler_that_panics_or_never_ends_costs_its_own_question() {
    block_on(async {
        let fixture = Fixture::new(false, |_| {}).await;
        let (handler, [begun, dropped]) = handler();
        let mut config = crate::adapter::client::Config::default();
        config.machine.max_open_questions = 2;
        let asked = client(&fixture.url).config(config).answer(handler).connect().await;
        let asked = asked.unwrap();
        let connection = fixture.connected.recv().await.unwrap();
        assert_eq!(connection.ask("panic", "").await, Err(AskError::Internal));
        // More than the client handles at once, one after the other.
        for _ in 0..5 {
            let late = connection.ask_within(Duration::from_millis(20), "never", "").await;
            assert_eq!(late, Err(AskError::TimedOut));
            begun.recv().await.unwrap();
            dropped.recv().await.unwrap();
        }
        // A caller that does not wait any more cancels the question.
        let asking = connection.clone();
        let (stop, stopped) = unbounded::<()>();
        let gave_up = spawn(async move {
            let never = async { drop(asking.ask("never", "").await) };
            smol::future::or(never, async { while stopped.recv().await.is_ok() {} }).await;
        });
        begun.recv().await.unwrap();
        drop(stop);
        assert!(gave_up.recv().await.is_err());
        dropped.recv().await.unwrap();
        // No more at once than both sides allow.
        let first = connection.ask("never", "");
        let second = connection.ask("never", "");
        let third = async {
            begun.recv().await.unwrap();
            begun.recv().await.unwrap();
            let refused = connection.ask("echo", "").await;
            let most = Misuse::TooManyQuestions { most: 2 };
            assert_eq!(refused, Err(AskError::Misuse(most)));
            asked.close().await;
        };
        let (both, ()) = smol::future::zip(smol::future::zip(first, second), third).await;
        let lost = || Err(AskError::Disconnected);
        assert_eq!(both, (lost(), lost()));
        dropped.recv().await.unwrap();
        dropped.recv().await.unwrap();
        assert_eq!(connection.ask("echo", "").await, lost());
        fixture.end().await;
    });
}

#[test]
fn the_hook_for_new_connections_may_ask() {
    block_on(async {
        let fixture = Fixture::new(true, |_| {}).await;
        let (handler, _) = handler();
        let asked = client(&fixture.url).answer(handler).connect().await.unwrap();
        // Requests wait until the hook has ended.
        assert_eq!(asked.request("echo", "x").await, Ok("x".into()));
        assert_eq!(fixture.heard.recv().await.unwrap(), Ok("who are you?".into()));
        let old = Client::builder(&fixture.url).unwrap();
        let mut config = crate::adapter::client::Config::default();
        config.machine.wwr1 = false;
        let old = old.config(config).connect().await.unwrap();
        assert!(matches!(fixture.heard.recv().await.unwrap(), Err(AskError::Unsupported { .. })));
        drop((asked, old));
        fixture.end().await;
    });
}

/// A client made by hand that has agreed on `wwr.1`, with these settings.
fn by_hand(fixture: &Fixture, settings: &[u8]) -> Peer {
    let address = fixture.url.trim_start_matches("ws://").trim_end_matches('/').parse().unwrap();
    let mut peer = Peer::dial(address);
    let answer = peer.http(&handshake("/", "Sec-WebSocket-Protocol: wwr.1\r\n"));
    assert_eq!(answer.status, 101);
    peer.send(settings);
    assert_eq!(peer.message()[0], 0x17);
    peer
}

#[test]
fn a_client_made_by_hand_is_asked() {
    let fixture = block_on(Fixture::new(false, |_| {}));
    let mut peer = by_hand(&fixture, b"\x18\0\0\x10\0\x02\0");
    let connection = smol::block_on(fixture.connected.recv()).unwrap();
    let answers = unbounded();
    let ask = |name: &'static str| {
        let (connection, answered) = (connection.clone(), answers.0.clone());
        spawn(async move {
            answered.send(connection.ask_within(SAFETY, name, "x").await).await.unwrap();
        })
    };
    let asked = ask("a");
    assert_eq!(peer.message(), b"\x0c\x01\0\0\0\0\0\0\0\x01ax");
    peer.send(b"\x1a\x01\0\0\0\0\0\0\0yes");
    assert_eq!(smol::block_on(answers.1.recv()).unwrap(), Ok("yes".into()));
    let _ = smol::block_on(asked.recv());
    let asked = ask("b");
    assert_eq!(peer.message(), b"\x0c\x02\0\0\0\0\0\0\0\x01bx");
    // A late answer, one to nothing, then the right one.
    peer.send(b"\x1a\x01\0\0\0\0\0\0\0late");
    peer.send(b"\x1a\x63\0\0\0\0\0\0\0what?");
    peer.send(b"\x1c\x02\0\0\0\0\0\0\0\x02NOway");
    let failed = smol::block_on(answers.1.recv()).unwrap().unwrap_err();
    assert_eq!(failed.to_string(), "the client answered NO: way");
    let _ = smol::block_on(asked.recv());
    let late = connection.ask_within(Duration::from_millis(10), "c", "x");
    assert_eq!(smol::block_on(late), Err(AskError::TimedOut));
    assert_eq!(peer.message(), b"\x0c\x03\0\0\0\0\0\0\0\x01cx");
    assert_eq!(peer.message(), b"\x0e\x03\0\0\0\0\0\0\0");
    let asked = ask("d");
    assert_eq!(peer.message(), b"\x0c\x04\0\0\0\0\0\0\0\x01dx");
    drop(peer);
    assert_eq!(smol::block_on(answers.1.recv()).unwrap(), Err(AskError::Disconnected));
    let _ = smol::block_on(asked.recv());

    // A peer of before there were questions.
    let older = by_hand(&fixture, b"\x18\0\0\x10\0");
    let connection = smol::block_on(fixture.connected.recv()).unwrap();
    let refused = AskError::Unsupported { dialect: Dialect::Wwr1 };
    assert_eq!(smol::block_on(connection.ask("a", "x")), Err(refused));
    drop(older);
    block_on(fixture.end());
}
