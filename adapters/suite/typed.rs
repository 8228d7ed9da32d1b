//! Typed messages and routers: our client against our server, over a real socket.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tracing::Level;
use wwr::client::RequestError;
use wwr::server::RequestError as Answer;
use wwr::{Payload, PreparedSignal, SessionInfo};

use crate::adapter::client::{Client, Error, InvalidSignals, blocking};
use crate::adapter::server::{
    Call, Connection, InvalidRouter, Next, Router, Routes, Server, ServerHandle, SessionOf, State,
};
use crate::adapter::{Json, block_on};

use super::support::log::logged;
use super::support::message::{UTF8, error, signal};
use super::support::peer::Peer;
use super::support::spawn;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Said {
    by: String,
    text: String,
}

/// Who has connected and gone, and what was signalled.
type Log = Mutex<Vec<String>>;

async fn login(from: Connection, Json(user): Json<User>) -> Result<(), Answer> {
    from.create_session(SessionInfo::new().public("name", user.name)).await?;
    Ok(())
}

async fn say(
    from: Connection,
    SessionOf(user): SessionOf<User>,
    Json(text): Json<String>,
) -> Result<Json<usize>, Answer> {
    let said = Payload::json(&Said { by: user.name, text })?;
    Ok(Json(from.server().signal_all(&PreparedSignal::new("said", said)?).sent))
}

async fn users(from: Connection) -> Json<Vec<User>> {
    let connections = from.server().connections().into_iter();
    let users = connections.filter_map(|connection| connection.session()?.info.read().ok());
    Json(users.collect())
}

async fn odd(from: Connection) -> Result<(), Answer> {
    from.signal("said", "{}")?;
    from.signal_json("other", &1)?;
    from.signal_json("said", &Said { by: "server".into(), text: "hi".into() })?;
    Ok(())
}

async fn typing(State(log): State<Log>, Json(text): Json<String>) {
    log.lock().unwrap().push(format!("typing {text}"));
}

async fn log(State(log): State<Log>) -> Json<Vec<String>> {
    Json(log.lock().unwrap().clone())
}

async fn panics(Json(()): Json<()>) {
    panic!("on purpose");
}

async fn admins(call: Call, next: Next) -> Result<Payload, Answer> {
    let user = call.connection().session().and_then(|session| session.info.read::<User>().ok());
    if user.is_some_and(|user| user.name == "root") {
        return next.run(call).await;
    }
    Err(Answer::failed("ADMINS_ONLY", "no"))
}

fn routes() -> Result<Routes, InvalidRouter> {
    let admin = Router::new().request("stop", async || "stopping").layer(admins);
    Router::with_state(Log::default())
        .request("login", login)
        .request("say", say)
        .request("users", users)
        .request("odd", odd)
        .request("log", log)
        .request("panic", panics)
        .signal("typing", typing)
        .nest("admin.", admin)
        .connected(async |_: Connection, State(log): State<Log>| {
            log.lock().unwrap().push("connected".to_owned());
        })
        .build()
}

async fn serve() -> (ServerHandle, String) {
    let server = Server::builder(routes().unwrap()).listen("127.0.0.1:0").await.unwrap();
    let (handle, url) = (server.handle(), format!("ws://{}/", server.local_addr()));
    let _ = spawn(server.run());
    (handle, url)
}

/// The code of the error that the server answered with.
fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Request(RequestError::Failed(error))) => error.code().into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_chat_has_typed_requests_replies_and_signals() {
    block_on(async {
        let (_handle, url) = serve().await;
        let client = Client::connect_to(&url).await.unwrap();
        let mut said = client.signals::<Json<Said>>("said").unwrap();
        assert_eq!(code(client.call::<usize>("say", "hello").await), "NO_SESSION");
        let ada = User { name: "ada".into() };
        client.call::<()>("login", &ada).await.unwrap();
        assert_eq!(client.call::<Vec<User>>("users", &()).await, Ok(vec![ada]));
        assert_eq!(client.call::<usize>("say", "hello").await, Ok(1));
        let heard = Said { by: "ada".into(), text: "hello".into() };
        assert_eq!(said.next().await, Some(Ok(Json(heard))));

        client.signal_json("typing", "hel").await.unwrap();
        let log = client.call::<Vec<String>>("log", &()).await;
        assert_eq!(log, Ok(vec!["connected".to_owned(), "typing hel".to_owned()]));

        client.call::<()>("odd", &()).await.unwrap();
        let unreadable = said.next().await;
        let Some(Err(InvalidSignals::Unreadable(error))) = unreadable else {
            panic!("{unreadable:?}");
        };
        assert!(error.reason().starts_with("missing field `by`"), "{error}");
        let heard = Said { by: "server".into(), text: "hi".into() };
        assert_eq!(said.next().await, Some(Ok(Json(heard))));
        drop(client);
        assert_eq!(said.next().await, None);
    });
}

#[test]
fn a_router_lists_its_names_to_those_that_ask_if_it_is_to() {
    const ASK: &str =
        "OPTIONS /x HTTP/1.1\r\nHost: localhost\r\nOrigin: http://elsewhere.example\r\n";
    const ACCEPT: &str = "Accept: application/vnd.webwire.names+json\r\n";
    block_on(async {
        for lists in [false, true] {
            let admin =
                Router::new().request("stop", async || "stopping").signal("hush", async || {});
            let router = Router::new().request("ping", async || ()).nest("admin.", admin);
            let router = if lists { router.list_names() } else { router };
            let server =
                Server::builder(router.build().unwrap()).listen("127.0.0.1:0").await.unwrap();
            let (address, handle) = (server.local_addr(), server.handle());
            let _ = spawn(server.run());
            let client = Client::builder(&format!("ws://{address}/")).unwrap();
            let names = client.listed_names().await.unwrap();
            let names = names.map(|names| (names.requests, names.signals));
            let expected = (vec!["admin.stop".into(), "ping".into()], vec!["admin.hush".into()]);
            assert_eq!(names, lists.then_some(expected));
            let mut peer = Peer::dial(address);
            let answer = peer.http(&format!("{ASK}{ACCEPT}\r\n"));
            assert_eq!((answer.status, answer.body.is_empty()), (200, !lists));
            let kind = answer.header("content-type").map(str::to_owned);
            assert_eq!(kind.is_some(), lists, "{kind:?}");
            // What browsers get does not change by it.
            let answer = peer.http(&format!("{ASK}Accept: */*\r\n\r\n"));
            assert_eq!(
                (answer.status, answer.body(), answer.header("content-type")),
                (200, "", None)
            );
            assert_eq!(answer.header("access-control-allow-methods"), Some("WEBWIRE"));
            assert_eq!(handle.connection_count(), 0);
        }
    });
}

#[test]
fn a_caller_learns_what_is_wrong_with_either_side() {
    block_on(async {
        let (_handle, url) = serve().await;
        let client = Client::connect_to(&url).await.unwrap();
        assert_eq!(code(client.call::<()>("login", &[1]).await), "BAD_PAYLOAD");
        assert_eq!(code(client.call::<()>("nothing", &()).await), "UNKNOWN_NAME");
        let unreadable = client.call::<Vec<u8>>("log", &()).await.unwrap_err();
        let Error::Unreadable(error) = &unreadable else { panic!("{unreadable:?}") };
        assert_eq!((error.path(), error.position()), ("[0]", Some((1, 12))));
        let unwritable = client.call::<()>("log", &BTreeMap::from([(vec![1], 1)])).await;
        assert!(matches!(unwritable, Err(Error::Unwritable(_))), "{unwritable:?}");
        let invalid = client.call::<()>("naïve", &()).await;
        assert!(matches!(invalid, Err(Error::InvalidName(_))), "{invalid:?}");
        let internal = client.call::<()>("panic", &()).await;
        assert_eq!(internal, Err(RequestError::Internal.into()));
        // The connection serves on.
        client.call::<()>("login", &User { name: "ada".into() }).await.unwrap();
    });
}

#[test]
fn a_layer_guards_a_nested_router() {
    block_on(async {
        let (_handle, url) = serve().await;
        for (name, allowed) in [("ada", false), ("root", true)] {
            let client = Client::connect_to(&url).await.unwrap();
            assert_eq!(code(client.call_as::<String>("admin.stop", "").await), "ADMINS_ONLY");
            client.call::<()>("login", &User { name: name.into() }).await.unwrap();
            let stop = client.call_as::<String>("admin.stop", "").await;
            assert_eq!(stop.is_ok_and(|reply| reply == "stopping"), allowed, "{name}");
        }
    });
}

#[test]
fn a_blocking_client_calls_with_types() {
    let (_handle, url) = block_on(serve());
    let client = blocking::Client::connect_to(&url).unwrap();
    client.call::<()>("login", &User { name: "ada".into() }).unwrap();
    client.signal_json("typing", "x").unwrap();
    let said = client.call_within::<usize>(super::support::SAFETY, "say", "hello");
    assert_eq!(said, Ok(1));
    assert_eq!(client.call_as::<Json<Vec<String>>>("log", "").map(|Json(log)| log.len()), Ok(2));
}

/// A log says where a payload is wrong. The peer is told nothing of that.
#[test]
fn what_is_wrong_with_a_payload_is_for_the_log_alone() {
    let lines = logged(Server::builder(routes().unwrap()), |address| {
        let mut peer = Peer::connect(address);
        peer.send(&signal(UTF8, "typing", br#"{"secret":1}"#));
        let told = peer.ask(7, "login", r#"{"name":["secret"]}"#);
        assert_eq!(told, error(7, "BAD_PAYLOAD", "the payload cannot be read"));
    });
    let shown: Vec<_> =
        lines.iter().filter(|line| line.text.contains("a payload is not")).collect();
    assert_eq!(shown.len(), 2, "{lines:?}");
    for (line, parts) in shown.iter().zip([
        ["kind=signal", "name=typing", "invalid type: map, expected a string"],
        ["kind=request", "name=login", "name: invalid type: sequence, expected a string at line 1"],
    ]) {
        assert_eq!(line.level, Level::DEBUG);
        assert!(parts.iter().all(|part| line.text.contains(part)), "{line:?}");
    }
}

#[cfg(feature = "msgpack")]
#[test]
fn other_formats_take_the_same_ways() {
    use crate::adapter::{MessagePack, ToPayload};

    async fn turn(
        from: Connection,
        step: MessagePack<(i32, i32)>,
    ) -> Result<MessagePack<i32>, Answer> {
        let MessagePack((x, y)) = step;
        from.signal("turned", MessagePack([y, x]).to_payload()?)?;
        Ok(MessagePack(x - y))
    }

    block_on(async {
        let routes = Router::new().request("turn", turn).build().unwrap();
        let server = Server::builder(routes).listen("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", server.local_addr());
        let _running = spawn(server.run());
        let client = Client::connect_to(&url).await.unwrap();
        let mut turned = client.signals::<MessagePack<[i32; 2]>>("turned").unwrap();
        let reply = client.call_as::<MessagePack<i32>>("turn", MessagePack((3, 5))).await;
        assert_eq!(reply, Ok(MessagePack(-2)));
        assert_eq!(turned.next().await, Some(Ok(MessagePack([5, 3]))));
        assert_eq!(code(client.call::<i32>("turn", &(3, 5)).await), "BAD_PAYLOAD");
    });
}
