//! The inspection page, asked by hand. `wwr serve --inspect` is tested in a browser.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;
use wwr::{PreparedSignal, SessionKey};

use crate::adapter::http::header::{HeaderMap, HeaderValue};
use crate::adapter::http::{Method, Request, StatusCode, Version};
use crate::adapter::inspect::{Inspector, Page, Token};
use crate::adapter::server::{Connection, SignalError, SlowReader};
use crate::adapter::{Runtime as _, runtime};
use crate::suite::support::message::{INTERNAL, UTF8, answer, signal, special};
use crate::suite::support::peer::{Answer, Peer, code_of};
use crate::suite::support::{Fixture, until};

/// A server with its page.
struct Inspected {
    fixture: Fixture,
    page: SocketAddr,
    token: Token,
}

impl Inspected {
    fn new() -> Self {
        let fixture = Fixture::new();
        let token = Token::random().unwrap();
        let page = smol::block_on(Page::bind(runtime(), "127.0.0.1:0")).unwrap();
        let address = page.addresses().next().unwrap().tcp().unwrap();
        let url = format!("http://{address}/#token={}", token.as_str());
        assert_eq!(page.urls(&token), [url]);
        let inspector = Inspector::new(fixture.server.handle.clone(), token.clone());
        runtime().spawn(page.serve(inspector.allow_host("Inspect.Example")));
        Self { fixture, page: address, token }
    }

    /// The answer to a request with these lines of a head.
    fn raw(&self, request: &str, lines: &str) -> Answer {
        Peer::dial(self.page).http(&format!("{request} HTTP/1.1\r\n{lines}\r\n"))
    }

    /// The answer to a request with the token.
    fn asked(&self, request: &str) -> Answer {
        let token = self.token.as_str();
        let lines =
            format!("Host: localhost\r\nWWR-Inspect: 1\r\nAuthorization: Bearer {token}\r\n");
        self.raw(request, &lines)
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.asked(&format!("GET /api/{path}"));
        assert_eq!(answer.status, 200, "{path}: {}", answer.body());
        serde_json::from_str(answer.body()).unwrap()
    }

    fn post(&self, path: &str) -> Answer {
        self.asked(&format!("POST /api/{path}"))
    }

    fn connect(&self) -> (Peer, Connection) {
        let peer = Peer::connect(self.fixture.address());
        (peer, self.fixture.connected())
    }
}

fn ids(table: &Value) -> Vec<u64> {
    let rows = table["rows"].as_array().unwrap().iter();
    rows.map(|row| row["id"].as_u64().unwrap()).collect()
}

/// Logs in as somebody, and returns the key.
fn login(peer: &mut Peer, user: &str) -> SessionKey {
    // The session, then the reply.
    peer.ask(1, "login", user);
    let reply = peer.message();
    let key = String::from_utf8(reply[reply.len() - 64..].to_vec()).unwrap();
    SessionKey::new(key).unwrap()
}

#[test]
fn everything_but_the_empty_page_needs_the_token() {
    let inspected = Inspected::new();
    let host = "Host: localhost\r\n";
    let scripts =
        ["/elements.js", "/main.js", "/messages.js", "/server.js", "/show.js", "/totals.js"];
    for path in scripts.into_iter().chain(["/", "/base.css", "/style.css", "/icon.svg"]) {
        assert_eq!(inspected.raw(&format!("GET {path}"), host).status, 200, "{path}");
    }
    let token = inspected.token.as_str();
    let with = |credentials: &str| {
        inspected.raw("GET /api/overview", &format!("{host}Authorization: {credentials}\r\n"))
    };
    let answer = inspected.raw("GET /api/overview", host);
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")));
    for credentials in [
        "Bearer ".to_owned(),
        format!("Bearer {}", &token[1..]),
        format!("Bearer {token}x"),
        format!("Basic {token}"),
        format!("Bearer {token}\r\nAuthorization: Bearer {token}"),
    ] {
        assert_eq!(with(&credentials).status, 401, "{credentials}");
    }
    // Not in the address either, where logs would keep it.
    assert_eq!(inspected.raw(&format!("GET /api/overview?token={token}"), host).status, 401);
    assert_eq!(with(&format!("bearer {token}")).status, 200);
}

#[test]
fn a_name_that_an_attacker_could_have_given_to_the_address_is_refused() {
    let inspected = Inspected::new();
    let page = inspected.page;
    let status = |lines: &str| inspected.raw("GET /", lines).status;
    for host in ["localhost", "127.0.0.1", "[::1]:80", "inspect.example:443", &page.to_string()] {
        assert_eq!(status(&format!("Host: {host}\r\n")), 200, "{host}");
    }
    for lines in
        ["Host: evil.example\r\n", "Host: localhost\r\nHost: localhost\r\n", "", "Host:\r\n"]
    {
        assert!(matches!(status(lines), 400 | 421), "{lines}");
    }
}

#[test]
fn answers_are_kept_by_nobody_and_framed_by_nobody() {
    let inspected = Inspected::new();
    // The files of the page hold no data. Browsers keep them, and ask whether they are the same.
    for (request, kept) in
        [("GET /", "no-cache"), ("GET /api/groups", "no-store"), ("GET /no", "no-store")]
    {
        let answer = inspected.asked(request);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        for (name, value) in [
            ("cache-control", kept),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(answer.header(name), Some(value));
        }
    }
}

#[test]
fn only_what_is_there_is_answered_and_only_by_its_method() {
    let inspected = Inspected::new();
    for (request, status) in [
        ("GET /no", 404),
        ("GET /../Cargo.toml", 404),
        ("GET /api/", 404),
        ("GET /api/connections/x", 404),
        ("GET /api/connections/77", 404),
        ("POST /api/connections/77/close", 404),
        ("POST /api/session/close", 404),
        ("GET /api/connections/77/close", 405),
        ("POST /api/connections", 405),
        ("DELETE /api/overview", 405),
        ("PUT /", 405),
        ("HEAD /", 200),
        ("GET /api/connections?rows=x", 400),
        ("GET /api/connections?sort=colour", 400),
        ("GET /api/sessions?sort=peer", 400),
        ("GET /api/groups?colour=red", 400),
        ("GET /api/overview?", 200),
    ] {
        // The body of an answer to HEAD is not sent, so only the head is read.
        let mut peer = Peer::dial(inspected.page);
        let token = inspected.token.as_str();
        let lines =
            format!("Host: localhost\r\nwwr-inspect: 1\r\nAuthorization: Bearer {token}\r\n");
        peer.write(format!("{request} HTTP/1.1\r\n{lines}\r\n").as_bytes());
        let text = String::from_utf8(peer.rest()).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {text}");
    }
    let long = format!("GET /{}", "x".repeat(16 * 1024));
    assert_eq!(inspected.raw(&long, "Host: localhost\r\n").status, 431);
}

#[test]
fn connections_sessions_and_groups_are_shown_without_keys() {
    let inspected = Inspected::new();
    let [(mut ada, of_ada), (mut bob, of_bob), (_cat, of_cat)] =
        [(); 3].map(|()| inspected.connect());
    let key = login(&mut ada, "Ada");
    assert_eq!(ada.ask(2, "fail", ""), special(INTERNAL, 2));
    for (connection, group) in [(&of_ada, "tea"), (&of_bob, "tea"), (&of_bob, "cake")] {
        connection.join(group).unwrap();
    }
    inspected.fixture.server.handle.signal_all(&PreparedSignal::new("news", "hot").unwrap());
    assert_eq!(bob.message(), signal(UTF8, "news", b"hot"));
    assert_eq!(ada.message(), signal(UTF8, "news", b"hot"));

    let overview = inspected.get("overview");
    assert_eq!((&overview["connections"], &overview["sessions"]), (&3.into(), &1.into()));
    assert_eq!(overview["groups"], 2);
    let traffic = &overview["traffic"];
    assert_eq!((&traffic["requests"], &traffic["replied"]), (&2.into(), &1.into()));
    assert_eq!(traffic["internal"], 1);

    let table = inspected.get("connections");
    assert_eq!(ids(&table), [&of_ada, &of_bob, &of_cat].map(Connection::id));
    let row = &table["rows"][0];
    assert_eq!(row["peer"], of_ada.info().remote_addr.to_string());
    assert_eq!(row["session"]["public"], serde_json::json!({ "user": "Ada" }));
    assert_eq!((&row["groups"][0], &row["state"]), (&"tea".into(), &"open".into()));
    assert_eq!((&row["traffic"]["requests"], &row["slow"]), (&2.into(), &false.into()));
    assert_eq!(table["rows"][1]["groups"], serde_json::json!(["tea", "cake"]));

    let sessions = inspected.get("sessions");
    assert_eq!(sessions["rows"][0]["connections"], serde_json::json!([of_ada.id()]));
    let groups = inspected.get("groups?sort=members&order=descending");
    let tea = serde_json::json!({ "name": "tea", "members": 2, "connections": [of_ada.id(), of_bob.id()] });
    assert_eq!((&groups["rows"][0], &groups["total"]), (&tea, &2.into()));

    for shown in [&overview, &table, &sessions, &groups] {
        let text = shown.to_string();
        assert!(!text.contains(&key.as_str()[8..24]) && !text.contains("hidden"), "{text}");
    }
}

#[test]
fn lists_are_bounded_sorted_and_searched_by_the_server() {
    let inspected = Inspected::new();
    let mut all: Vec<_> = (0..6).map(|_| inspected.connect()).collect();
    let id = |number: usize| all[number].1.id();
    let (first, fourth, last) = (id(0), id(3), id(5));
    let short = login(&mut all[3].0, "Zo\u{eb} & co").as_str()[..8].to_owned();
    all[0].1.join("a group & more").unwrap();

    let table = inspected.get("connections?rows=2&sort=age&order=ascending");
    assert_eq!((ids(&table)[0], table["rows"].as_array().unwrap().len()), (last, 2));
    assert_eq!((&table["matched"], &table["total"]), (&6.into(), &6.into()));
    let table = inspected.get("connections?sort=requests&order=descending&rows=1");
    assert_eq!(ids(&table), [fourth]);
    for (query, expected) in [
        ("filter=ZO%C3%8B", vec![fourth]),
        ("filter=GROUP+%26+MORE", vec![first]),
        ("group=a+group+%26+more", vec![first]),
        ("group=a+group", vec![]),
        (&*format!("session={short}%E2%80%A6"), vec![fourth]),
        (&*format!("filter=%23{fourth}"), vec![fourth]),
        (&*format!("filter={}", all[4].1.info().remote_addr), vec![all[4].1.id()]),
        ("filter=nothing+of+it", vec![]),
    ] {
        let table = inspected.get(&format!("connections?{query}"));
        assert_eq!(ids(&table), expected, "{query}");
        assert_eq!((&table["matched"], &table["total"]), (&expected.len().into(), &6.into()));
    }
}

#[test]
fn a_connection_is_closed_only_on_purpose() {
    let inspected = Inspected::new();
    let (mut peer, connection) = inspected.connect();
    let path = format!("connections/{}/close", connection.id());
    let lines =
        format!("Host: localhost\r\nAuthorization: Bearer {}\r\n", inspected.token.as_str());
    // As a form of another site could ask.
    assert_eq!(inspected.raw(&format!("POST /api/{path}"), &lines).status, 403);
    assert_eq!(
        inspected.raw(&format!("POST /api/{path}"), "Host: localhost\r\nwwr-inspect: 1\r\n").status,
        401
    );
    peer.is_served();
    let answer = inspected.post(&path);
    assert_eq!((answer.status, answer.body()), (200, "{\"closed\":1}"));
    assert_eq!(code_of(&peer.frame().unwrap()), 1012);
}

#[test]
fn a_session_is_closed_with_all_its_connections_unless_it_is_another_one_by_now() {
    let inspected = Inspected::new();
    let (mut ada, of_ada) = inspected.connect();
    let (_bob, of_bob) = inspected.connect();
    let key = login(&mut ada, "Ada");
    let close = |connection: &Connection, session: &str| {
        let id = connection.id();
        inspected.post(&format!("session/close?connection={id}&session={session}")).status
    };
    let short = format!("{}%E2%80%A6", &key.as_str()[..8]);
    assert_eq!((close(&of_bob, &short), close(&of_ada, "another")), (404, 404));
    ada.is_served();
    assert_eq!(close(&of_ada, &short), 200);
    // That the session is closed, then the connection.
    ada.message();
    assert_eq!(code_of(&ada.frame().unwrap()), 1012);
    assert!(inspected.fixture.server.handle.session_connections(&key).is_empty());
}

#[test]
fn messages_are_recorded_from_the_first_look_on_and_only_for_the_chosen_connection() {
    let inspected = Inspected::new();
    let (mut ada, of_ada) = inspected.connect();
    let (mut bob, of_bob) = inspected.connect();
    ada.ask(1, "echo", "before");
    let path = format!("connections/{}", of_ada.id());
    let chosen = inspected.get(&path);
    assert_eq!((&chosen["messages"], &chosen["next"]), (&serde_json::json!([]), &0.into()));
    assert_eq!(chosen["connection"]["id"], of_ada.id());

    let key = login(&mut ada, "Ada");
    assert_eq!(ada.ask(7, "echo", "{\"a\":1}"), answer(7, "{\"a\":1}"));
    bob.ask(1, "echo", "not looked at");
    let chosen = inspected.get(&path);
    let text = chosen.to_string();
    assert!(!text.contains(&key.as_str()[8..24]) && !text.contains("not looked at"), "{text}");
    let messages = chosen["messages"].as_array().unwrap();
    let kinds: Vec<_> = messages.iter().map(|message| message["kind"].as_str().unwrap()).collect();
    let expected =
        ["request, UTF-8", "session created", "reply, UTF-8", "request, UTF-8", "reply, UTF-8"];
    assert_eq!(kinds, expected);
    assert_eq!(messages[2]["payload"]["text"], "*".repeat(64), "the reply with the key");
    let (request, reply) = (&messages[3], &messages[4]);
    assert_eq!((&request["direction"], &request["name"]), (&"received".into(), &"echo".into()));
    assert_eq!(
        (&reply["direction"], &reply["request"]),
        (&"sent".into(), &"0000000000000007".into())
    );
    for message in [request, reply] {
        assert_eq!(message["payload"]["text"], "{\n  \"a\": 1\n}");
    }
    // Only what is new, the next time.
    ada.ask(8, "echo", "more");
    let chosen = inspected.get(&format!("{path}?from=5"));
    assert_eq!(chosen["messages"].as_array().unwrap().len(), 2);
    let other = inspected.get(&format!("connections/{}", of_bob.id()));
    assert_eq!(other["messages"], serde_json::json!([]));
}

#[test]
fn few_connections_are_recorded_at_once_and_that_ends_when_nobody_looks() {
    let inspected = Inspected::new();
    let all: Vec<_> = (0..9).map(|_| inspected.connect()).collect();
    let status = |connection: &Connection| {
        inspected.asked(&format!("GET /api/connections/{}", connection.id())).status
    };
    for (_, connection) in &all[..8] {
        assert_eq!(status(connection), 200);
    }
    assert_eq!((status(&all[8].1), status(&all[0].1)), (429, 200));
    // Only the first one is looked at from now on. The others end, and make room.
    until(|| {
        assert_eq!(status(&all[0].1), 200);
        status(&all[8].1) == 200
    });
}

#[test]
fn a_client_that_does_not_read_is_marked_as_slow() {
    let inspected = Inspected::new();
    let (_reader, of_reader) = inspected.connect();
    let (mut slow, of_slow) = inspected.connect();
    // Until the sockets of both systems are full, and then the queue.
    until(|| {
        while of_slow.signal("much", vec![7; 500_000]) != Err(SignalError::Backlogged) {}
        let table = inspected.get("connections?sort=queued&order=descending");
        table["rows"][0]["slow"] == true
    });
    let table = inspected.get("connections?filter=slow");
    assert_eq!(ids(&table), [of_slow.id()]);
    assert!(table["rows"][0]["queued_bytes"].as_u64().unwrap() > 0);
    let other = inspected.get(&format!("connections?filter=%23{}", of_reader.id()));
    assert_eq!(other["rows"][0]["slow"], false);

    // It drops what it has no room for, and then it catches up.
    of_slow.set_slow_reader(SlowReader::DropOldest);
    until(|| {
        // The sockets may take some more of it. What was sent before may not be dropped.
        let _ = of_slow.signal("much", vec![7; 500_000]);
        of_slow.dropped_signals() > 0
    });
    of_slow.signal("last", "x").unwrap();
    while slow.message() != signal(UTF8, "last", b"x") {}
    until(|| ids(&inspected.get("connections?filter=slow")).is_empty());
    let caught_up = inspected.get(&format!("connections?filter=%23{}", of_slow.id()));
    assert_eq!(caught_up["rows"][0]["slow"], false);
}

#[test]
fn silent_and_slow_readers_hold_nothing_up() {
    let inspected = Inspected::new();
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(inspected.page).unwrap()).collect();
    let mut slow: Vec<_> = (0..100).map(|_| Peer::dial(inspected.page)).collect();
    for peer in &mut slow {
        // An error means that it had to make room already.
        let _ = peer.try_write(b"GET / HTTP/1.1\r\nHost: local");
    }
    for _ in 0..10 {
        assert_eq!(inspected.get("overview")["connections"], 0);
    }
    drop((silent, slow));
}

/// As an HTTP server of an application hands them on.
#[test]
fn requests_of_http_2_are_for_the_host_in_their_uri() {
    let fixture = Fixture::new();
    let inspector = Inspector::new(fixture.server.handle.clone(), Token::random().unwrap());
    let inspector = inspector.allow_host("inspect.example");
    let status = |uri: &str| {
        let request = Request::get(uri).version(Version::HTTP_2).body(()).unwrap();
        smol::block_on(inspector.respond(&request.into_parts().0, "/")).status()
    };
    assert_eq!(status("https://inspect.example/"), StatusCode::OK);
    assert_eq!(status("https://127.0.0.1:9200/"), StatusCode::OK);
    assert_eq!(status("https://evil.example/"), StatusCode::MISDIRECTED_REQUEST);
}

#[test]
fn an_application_mounts_it_behind_its_own_authentication() {
    let fixture = Fixture::new();
    let inspector = Inspector::behind_authentication(fixture.server.handle.clone());
    let respond = |method: Method, path: &str, headers: &HeaderMap| {
        let mut request = Request::builder().method(method).uri("/admin").body(()).unwrap();
        *request.headers_mut() = headers.clone();
        smol::block_on(inspector.respond(&request.into_parts().0, path))
    };
    let mut headers = HeaderMap::new();
    let answer = respond(Method::GET, "/api/overview", &headers);
    assert_eq!(answer.status(), StatusCode::OK);
    let overview: Value = serde_json::from_slice(answer.body()).unwrap();
    assert_eq!(overview["connections"], 0);
    let head = respond(Method::HEAD, "/", &headers);
    assert_eq!((head.status(), head.body().len()), (StatusCode::OK, 0));
    // A cookie of the application does not make a form of another site work.
    let close = "/api/connections/1/close";
    assert_eq!(respond(Method::POST, close, &headers).status(), StatusCode::FORBIDDEN);
    headers.insert("wwr-inspect", HeaderValue::from_static("1"));
    assert_eq!(respond(Method::POST, close, &headers).status(), StatusCode::NOT_FOUND);
}

#[test]
fn the_page_ends_with_its_server() {
    let inspected = Inspected::new();
    smol::block_on(inspected.fixture.server.handle.shut_down(Duration::ZERO));
    until(|| TcpStream::connect(inspected.page).is_err());
}
