//! Links that die silently, and peers that only seem to be gone: our client and our server with
//! a relay between them.

mod relay;

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use smol::Timer;
use smol::channel::{Receiver, Sender, unbounded};
use smol::future::{or, yield_now};
use wwr::client::{DisconnectReason, Pings, RequestError};
use wwr::server::Protocol;
use wwr::{Content, Dialect, Payload};

use crate::adapter::client::{Client, Event, Events};
use crate::adapter::server::{Connection, Handler, Server};
use crate::adapter::{block_on, client, server};

use super::support::spawn;
use relay::Relay;

/// Longer than anything takes here; only a test that hangs waits for so long.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a handler is busy that is slow.
const SLOW: Duration = Duration::from_secs(4);

struct Application {
    gone: Sender<()>,
}

impl Handler for Application {
    async fn request(
        &self,
        _: &Connection,
        request: Content,
    ) -> Result<Payload, wwr::server::RequestError> {
        match request.name() {
            b"never" => std::future::pending().await,
            b"slow" => {
                Timer::after(SLOW).await;
                Ok("at last".into())
            }
            _ => Ok(request.into_payload()),
        }
    }

    async fn disconnected(&self, _: &Connection) {
        self.gone.send(()).await.unwrap();
    }
}

fn pings(after: u64, timeout: u64) -> Pings {
    Pings::new(Duration::from_millis(after), Duration::from_millis(timeout))
}

/// What is between client and server, and what becomes of them.
struct Scene {
    relay: Relay,
    client: Client,
    events: Events,
    /// The server has lost its client.
    gone: Receiver<()>,
}

impl Scene {
    /// Connected, and asked once.
    async fn new(protocol: Protocol, pings: Pings) -> Self {
        let (tell, gone) = unbounded();
        let mut settings = server::Config::default();
        settings.connection.protocol = protocol;
        settings.connection.advertised.read_timeout = Duration::from_secs(1);
        settings.connection.pings = Some(pings);
        let server = Server::builder(Application { gone: tell }).config(settings);
        let server = server.listen("127.0.0.1:0").await.unwrap();
        let relay = Relay::to(server.local_addr()).await;
        spawn(server.run());
        let url = format!("ws://{}/", relay.address);
        let mut config = client::Config::default();
        config.machine.pings = Some(pings);
        let client = Client::builder(&url).unwrap().config(config).build().unwrap();
        let mut events = client.events();
        client.connect().await.unwrap();
        assert_eq!(events.next().await, Some(Event::Connected));
        assert_eq!(client.request("echo", "x").await, Ok("x".into()));
        Self { relay, client, events, gone }
    }

    async fn lost(&mut self) -> DisconnectReason {
        match self.events.next().await {
            Some(Event::Disconnected { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let late = async {
        Timer::after(TIMEOUT).await;
        panic!("it did not happen");
    };
    block_on(or(future, late))
}

const SERVERS: [(Protocol, Dialect); 5] = [
    (Protocol::V1_4, Dialect::V1_4),
    (Protocol::V1_5, Dialect::V1_5),
    (Protocol::V2_0, Dialect::Wwr1),
    (Protocol::Any, Dialect::Wwr1),
    (Protocol::AnyAs1_5, Dialect::Wwr1),
];

#[test]
fn both_sides_notice_a_link_that_is_cut_whichever_way() {
    let ways = [(true, true), (true, false), (false, true)];
    let scenes = SERVERS.into_iter().flat_map(|(protocol, dialect)| {
        ways.map(|(up, down)| {
            async move {
                let mut scene = Scene::new(protocol, pings(100, 400)).await;
                assert_eq!(scene.client.dialect(), dialect, "{protocol:?}");
                if up {
                    scene.relay.up.cut();
                }
                if down {
                    scene.relay.down.cut();
                }
                let reason = scene.lost().await;
                // If only the way up is cut, the server may be the first to notice, and says so.
                let told = matches!(
                    &reason,
                    DisconnectReason::ClosedByServer(frame) if !down && frame.code() == 1008
                );
                let fits = told || reason == DisconnectReason::Silent;
                assert!(fits, "{protocol:?}, up {up}, down {down}: {reason:?}");
                scene.gone.recv().await.unwrap();
            }
        })
    });
    wait(join_all(scenes));
}

/// Whatever waits for a reply that long.
#[test]
fn requests_end_with_a_link_that_is_cut() {
    let scenes = SERVERS.map(|(protocol, _)| {
        async move {
            let mut scene = Scene::new(protocol, pings(100, 400)).await;
            let client = scene.client.clone();
            let answer = smol::spawn(async move { client.request("never", "").await });
            // Until the server has answered pings beside its handler. It sends some as well.
            let ways = [&scene.relay.up, &scene.relay.down];
            let seen = ways.map(|way| way.passed());
            while ways.iter().zip(seen).any(|(way, seen)| way.passed() < seen + 50) {
                yield_now().await;
            }
            scene.relay.up.cut();
            scene.relay.down.cut();
            assert_eq!(scene.lost().await, DisconnectReason::Silent, "{protocol:?}");
            assert_eq!(answer.await, Err(RequestError::ConnectionLost.into()), "{protocol:?}");
        }
    });
    wait(join_all(scenes));
}

#[test]
fn a_slow_handler_does_not_count_as_a_dead_link() {
    let scenes = SERVERS.map(|(protocol, _)| {
        async move {
            let mut scene = Scene::new(protocol, pings(50, 1500)).await;
            // More than wait on a connection: the server leaves its socket unread meanwhile.
            let client = &scene.client;
            let names = std::iter::once("slow").chain(std::iter::repeat_n("echo", 200));
            let answers = join_all(names.map(|name| client.request(name, "x"))).await;
            let [slow, others @ ..] = &answers[..] else { panic!() };
            assert_eq!(slow, &Ok("at last".into()), "{protocol:?}");
            assert!(others.iter().all(|answer| *answer == Ok("x".into())), "{protocol:?}");
            assert_eq!(smol::future::poll_once(scene.events.next()).await, None, "{protocol:?}");
        }
    });
    wait(join_all(scenes));
}
