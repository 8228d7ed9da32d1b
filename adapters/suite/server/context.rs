//! What `before_upgrade` hands on: data, headers of the answer, a sub-protocol, kept headers.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;

use wwr::server::RequestError;
use wwr::{Content, Payload, SessionInfo};

use crate::adapter::http::header::{COOKIE, HeaderName, HeaderValue, SET_COOKIE};
use crate::adapter::http::request::Parts;
use crate::adapter::runtime;
use crate::adapter::server::{
    Connection, ConnectionOptions, Handler, Local, LocalHandler, Response, Server,
    offered_sub_protocols,
};
use crate::suite::support::message::{answer, ask};
use crate::suite::support::peer::{Answer, Peer, handshake};
use crate::suite::support::{Running, SAFETY, configured};

/// The user that a token stands for.
#[derive(Debug, PartialEq, Eq)]
struct User(String);

/// Knows its users by a token among the sub-protocols or in the query, and sets what the headers of the
/// request ask for.
struct Door {
    /// What it knew when a connection ended.
    left: mpsc::Sender<(String, Option<String>)>,
}

fn enter(request: &Parts) -> ConnectionOptions {
    let mut options = ConnectionOptions::default();
    options.insert(User("nobody".into()));
    let query = request.uri.query().unwrap_or_default();
    for token in offered_sub_protocols(request).chain(query.split('&')) {
        if let Some(user) = token.strip_prefix("token.") {
            options.insert(User(user.to_owned()));
        }
    }
    options.insert(42_u64);
    let wanted = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap());
    options.sub_protocol = wanted("x-select").map(str::to_owned);
    options.kept_headers.extend(wanted("x-keep").map(|name| name.parse::<HeaderName>().unwrap()));
    if let Some(name) = wanted("x-set") {
        let name: HeaderName = name.parse().unwrap();
        options.headers.append(name.clone(), HeaderValue::from_static("one=1"));
        options.headers.append(name, HeaderValue::from_static("two=2"));
    }
    options
}

fn name(connection: &Connection) -> String {
    let User(name) = connection.data().expect("it was handed on");
    assert_eq!((connection.data(), connection.data::<u32>()), (Some(&42_u64), None));
    name.clone()
}

impl Handler for Door {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        Ok(Payload::utf8(match request.name() {
            b"login" => {
                let info = SessionInfo::new().public("user", name(from));
                from.create_session(info).await?.key.as_str().to_owned()
            }
            b"who" => name(from),
            b"info" => {
                let info = from.info();
                assert!(!format!("{info:?} {from:?}").contains("secret"), "{info:?}");
                let headers: Vec<_> = info.headers.iter().collect();
                format!("{} {:?} {:?} {headers:?}", info.path, info.query, info.sub_protocol)
            }
            _ => return Err(RequestError::Internal),
        }))
    }

    async fn disconnected(&self, connection: &Connection) {
        let session = connection.session().map(|session| session.key.as_str().to_owned());
        assert_eq!(connection.session_key().map(|key| key.as_str().to_owned()), session);
        let _ = self.left.send((name(connection), session));
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        Ok(enter(request))
    }
}

fn start() -> (Running, mpsc::Receiver<(String, Option<String>)>) {
    let (left, leaving) = mpsc::channel();
    let config = configured(|config| config.kept_headers = vec![COOKIE]);
    let builder = Server::builder_on(runtime(), Door { left }).config(config);
    (Running::new(builder), leaving)
}

/// Sends a handshake, and returns the answer.
fn open(server: &Running, path: &str, headers: &str) -> (Peer, Answer) {
    let mut peer = Peer::dial(server.address);
    let answer = peer.http(&handshake(path, headers));
    (peer, answer)
}

/// The same with one that is accepted. What the server advertises is read.
fn enter_by(server: &Running, path: &str, headers: &str) -> Peer {
    let (mut peer, answer) = open(server, path, headers);
    assert_eq!(answer.status, 101, "{answer:?}");
    assert_eq!(peer.message()[0], 0x17);
    peer
}

#[test]
fn data_is_found_by_its_type_from_the_first_handler_to_the_last_hook() {
    let (server, leaving) = start();
    let mut peer = enter_by(&server, "/", "Sec-WebSocket-Protocol: chat, token.ada\r\n");
    let mut other = enter_by(&server, "/?token.bob&x=1", "");
    assert_eq!(peer.ask(1, "who", "x"), answer(1, "ada"));
    assert_eq!(other.ask(1, "who", "x"), answer(1, "bob"));
    drop(peer);
    assert_eq!(leaving.recv_timeout(SAFETY).unwrap(), ("ada".into(), None));
    drop(other);
    assert_eq!(leaving.recv_timeout(SAFETY).unwrap(), ("bob".into(), None));
}

/// The session is detached by then, so that another connection may hold it.
#[test]
fn the_last_hook_sees_the_session_that_the_connection_had() {
    let (server, leaving) = start();
    let mut peer = enter_by(&server, "/?token.ada", "");
    peer.send(&ask(1, "login", "x"));
    assert_eq!(peer.message()[0], 21);
    let reply = peer.message();
    let key = std::str::from_utf8(&reply[9..]).unwrap().to_owned();
    assert_eq!(server.handle.active_sessions(), 1);
    drop(peer);
    assert_eq!(leaving.recv_timeout(SAFETY).unwrap(), ("ada".into(), Some(key)));
    assert_eq!(server.handle.active_sessions(), 0);
}

#[test]
fn the_facts_of_a_connection_have_what_was_asked_for_and_print_no_secret() {
    let (server, _leaving) = start();
    let headers = "Cookie: id=secret\r\nCookie: more=secret\r\nX-Keep: x-tenant\r\n\
                   X-Tenant: acme\r\nX-Other: 1\r\n\
                   Sec-WebSocket-Protocol: token.secret\r\nX-Select: token.secret\r\n";
    let mut peer = enter_by(&server, "/a%20b?x=secret&y", headers);
    let reply = peer.ask(1, "info", "x");
    let text = std::str::from_utf8(&reply[9..]).unwrap();
    assert_eq!(
        text,
        "/a%20b Some(\"x=secret&y\") Some(\"token.secret\") \
         [(\"cookie\", Sensitive), (\"cookie\", Sensitive), (\"x-tenant\", Sensitive)]"
    );
    let connection = server.handle.connections().pop().unwrap();
    let kept = &connection.info().headers;
    let cookies: Vec<_> = kept.get_all(COOKIE).iter().collect();
    assert_eq!(cookies, ["id=secret", "more=secret"]);
    assert_eq!(kept.get("x-tenant").unwrap(), "acme");

    let mut plain = enter_by(&server, "/", "");
    assert_eq!(plain.ask(1, "info", "x"), answer(1, "/ None None []"));
    let mut empty = enter_by(&server, "/?", "");
    assert_eq!(empty.ask(1, "info", "x"), answer(1, "/ Some(\"\") None []"));
}

#[test]
fn one_sub_protocol_is_selected_and_wwr_1_comes_first() {
    let (server, _leaving) = start();
    for (headers, status, selected) in [
        ("Sec-WebSocket-Protocol: chat, token.x\r\nX-Select: token.x\r\n", 101, Some("token.x")),
        ("Sec-WebSocket-Protocol: chat\r\nX-Select: chat\r\n", 101, Some("chat")),
        ("Sec-WebSocket-Protocol: chat, wwr.1\r\nX-Select: chat\r\n", 101, Some("wwr.1")),
        ("Sec-WebSocket-Protocol: wwr.1\r\nX-Select: wwr.1\r\n", 101, Some("wwr.1")),
        ("Sec-WebSocket-Protocol: chat\r\n", 101, None),
        // The client would fail the connection (RFC 6455 section 4.1).
        ("Sec-WebSocket-Protocol: chat\r\nX-Select: other\r\n", 500, None),
        ("X-Select: chat\r\n", 500, None),
    ] {
        let (mut peer, response) = open(&server, "/", headers);
        assert_eq!(response.status, status, "{headers}");
        assert_eq!(response.header("sec-websocket-protocol"), selected, "{headers}");
        if status == 101 {
            assert_eq!(peer.message()[0], 0x17, "{headers}");
            let expected = answer(1, &format!("/ None {selected:?} []"));
            assert_eq!(peer.ask(1, "info", "x"), expected, "{headers}");
        }
    }
}

#[test]
fn headers_are_added_to_the_answer_but_not_those_of_the_handshake() {
    let (server, _leaving) = start();
    let (mut peer, response) = open(&server, "/", "X-Set: set-cookie\r\n");
    let cookies: Vec<_> =
        response.headers.iter().filter(|(name, _)| SET_COOKIE == **name).collect();
    let cookies: Vec<_> = cookies.into_iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!((response.status, cookies), (101, vec!["one=1", "two=2"]));
    assert_eq!(peer.message()[0], 0x17);
    assert_eq!(peer.ask(1, "who", "x"), answer(1, "nobody"));
    for name in ["Connection", "upgrade", "sec-websocket-protocol", "content-length"] {
        let (_, response) = open(&server, "/", &format!("X-Set: {name}\r\n"));
        assert_eq!(response.status, 500, "{name}");
    }
    // A refused connection leaves no room taken.
    assert_eq!(server.handle.connection_count(), 1);
}

#[cfg(unix)]
#[test]
fn a_service_in_another_http_server_hands_everything_on_as_well() {
    let (left, leaving) = mpsc::channel();
    let threads = crate::adapter::Threads::start();
    let service = Server::builder_on(threads.runtime(), Door { left }).headless().unwrap();
    let mut peer = super::headless::mount_wrapped(&service, &threads, |stream| stream);
    let headers = "Sec-WebSocket-Protocol: token.ada\r\nX-Select: token.ada\r\nX-Set: x-one\r\n\
                   X-Keep: host\r\n";
    let response = peer.http(&handshake("/chat?x", headers));
    assert_eq!(
        (response.status, response.header("sec-websocket-protocol")),
        (101, Some("token.ada"))
    );
    assert_eq!(response.headers.iter().filter(|(name, _)| name == "x-one").count(), 2);
    assert_eq!(peer.message()[0], 0x17);
    assert_eq!(peer.ask(1, "who", "x"), answer(1, "ada"));
    let expected = "/chat Some(\"x\") Some(\"token.ada\") [(\"host\", Sensitive)]";
    assert_eq!(peer.ask(2, "info", "x"), answer(2, expected));
    drop(peer);
    assert_eq!(leaving.recv_timeout(SAFETY).unwrap(), ("ada".into(), None));
}

/// An application of one thread, whose data still lives with the connections.
struct Here {
    seen: Rc<RefCell<Vec<String>>>,
}

impl LocalHandler for Here {
    async fn request(&self, from: &Connection, _: Content) -> Result<Payload, RequestError> {
        self.seen.borrow_mut().push(name(from));
        Ok(Payload::utf8(self.seen.borrow().join(" ")))
    }

    async fn before_upgrade(&self, request: &Parts) -> Result<ConnectionOptions, Box<Response>> {
        Ok(enter(request))
    }
}

#[test]
fn handlers_of_one_thread_hand_data_on_as_well() {
    let (sender, handler) = mpsc::channel();
    std::thread::spawn(move || {
        let (local, calls) = Local::new(Here { seen: Rc::default() });
        sender.send(local).unwrap();
        smol::block_on(calls);
    });
    let builder = Server::builder_on(runtime(), handler.recv_timeout(SAFETY).unwrap());
    let server = Running::new(builder);
    let mut peer = enter_by(&server, "/?token.ada", "");
    let mut other = enter_by(&server, "/?token.bob", "");
    assert_eq!(peer.ask(1, "who", "x"), answer(1, "ada"));
    assert_eq!(other.ask(1, "who", "x"), answer(1, "ada bob"));
}
