//! The peers for Autobahn's test suite: our WebSockets, server's and client's, as echoes. `.ci/autobahn`
//! runs them, and `docs/autobahn.md` has the results.

use std::env;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use futures_lite::future::or;

use crate::client::echo::open;
use crate::runtime::{ListeningSocket, Runtime};
use crate::server::echo::serve;
use crate::test_runtime::TestRuntime;
use crate::websocket::{Incoming, WebSocket};

/// The longest message of Autobahn.
const MAX_MESSAGE_SIZE: u32 = 16 << 20;

/// What the process is asked to be.
enum Role {
    /// The server for Autobahn's client.
    Server(SocketAddr),
    /// The client for Autobahn's server at this address, by this name.
    Client(String, String),
    /// Both, for each other.
    Both,
}

impl Role {
    /// By the environment: `AUTOBAHN_SERVE` with an address to listen at, or `AUTOBAHN_VISIT` with that
    /// of a server, and `AUTOBAHN_AGENT` with a name for the report.
    fn of_process() -> Self {
        let variable = |name| env::var(name).ok();
        match (variable("AUTOBAHN_SERVE"), variable("AUTOBAHN_VISIT"), variable("AUTOBAHN_AGENT")) {
            (Some(address), None, _) => Self::Server(address.parse().unwrap()),
            (None, Some(address), Some(agent)) => Self::Client(address, agent),
            (None, None, _) => Self::Both,
            _ => panic!("AUTOBAHN_SERVE, or AUTOBAHN_VISIT with AUTOBAHN_AGENT"),
        }
    }
}

#[test]
fn an_echo_is_what_was_sent() {
    smol::block_on(async {
        match Role::of_process() {
            Role::Server(address) => {
                let failed = serve_at(TcpListener::bind(address).unwrap()).await;
                panic!("{failed}");
            }
            Role::Client(address, agent) => visit(&address, &agent).await,
            Role::Both => {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let url = format!("ws://{}/", listener.local_addr().unwrap());
                let served = async { panic!("{}", serve_at(listener).await) };
                or(converse(&url), served).await;
            }
        }
    });
}

async fn serve_at(listener: TcpListener) -> std::io::Error {
    listener.set_nonblocking(true).unwrap();
    let listener = TestRuntime.listen(ListeningSocket::Tcp(listener)).unwrap();
    serve(&TestRuntime, &listener, MAX_MESSAGE_SIZE as usize).await
}

/// Goes through all cases of Autobahn's server.
async fn visit(address: &str, agent: &str) {
    let mut counting = open_at(address, "/getCaseCount").await;
    let count = match next(&mut counting).await {
        Incoming::Text(count) => str::from_utf8(&count).unwrap().parse::<u32>().unwrap(),
        other => panic!("{other:?}"),
    };
    counting.echo().await;
    for case in 1..=count {
        open_at(address, &format!("/runCase?case={case}&agent={agent}")).await.echo().await;
    }
    open_at(address, &format!("/updateReports?agent={agent}")).await.echo().await;
}

async fn open_at(address: &str, path: &str) -> WebSocket<TestRuntime> {
    open(&TestRuntime, &format!("ws://{address}{path}"), MAX_MESSAGE_SIZE).await
}

/// Sends messages of both kinds and many lengths, and expects each of them back.
async fn converse(url: &str) {
    let mut socket = open(&TestRuntime, url, MAX_MESSAGE_SIZE).await;
    for length in [0, 1, 125, 126, 0xffff, 0x1_0000, 1 << 20] {
        let message = Bytes::from(vec![b'x'; length]);
        socket.ping().unwrap();
        socket.feed_text(message.clone()).unwrap();
        socket.feed(message.clone()).unwrap();
        let (mut pong, mut text, mut binary) = (false, None, None);
        while binary.is_none() {
            match next(&mut socket).await {
                Incoming::Pong => pong = true,
                Incoming::Text(came) => text = Some(came),
                Incoming::Message(came) => binary = Some(came),
                other => panic!("{other:?}"),
            }
        }
        assert!(pong && text == Some(message.clone()) && binary == Some(message), "{length}");
    }
}

/// Flushes what waits, and returns what comes.
async fn next(socket: &mut WebSocket<TestRuntime>) -> Incoming {
    poll_fn(|cx| {
        let _ = socket.poll_flush(cx).map(Result::unwrap);
        socket.poll_incoming(cx)
    })
    .await
}
