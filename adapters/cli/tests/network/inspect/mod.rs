//! The inspection page, in a real browser where there is one.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::json;
use smol::future::block_on;
use wwr::server::RequestError;
use wwr::{Content, Payload, SessionInfo};
use wwr_smol::Smol;
use wwr_smol::client::Event;
use wwr_smol::client::blocking::Client;
use wwr_smol::inspect::{Inspector, Page, Token};
use wwr_smol::server::{Config, Connection, Handler, ServerHandle};

use crate::browser::{Browser, DOWN, ENTER, ESCAPE, RIGHT, TAB};
use crate::redis::Engine;
use crate::support::{Running, SAFETY, Server, run};

/// A name and a payload that would do something as markup.
const MARKUP: &str = "<script>document.title='owned'</script><img src=x onerror=alert(1)>";

/// `wwr serve --inspect`, and where the page is.
fn inspected(more: &[&str]) -> (Server, String) {
    let mut arguments = vec!["--inspect", "0"];
    arguments.extend(more);
    let mut server = Server::start(&arguments);
    let line = server.running.line_with("inspect on ");
    let url = line.strip_prefix("inspect on ").unwrap().to_owned();
    assert!(url.starts_with("http://127.0.0.1:") && url.contains("/#token="), "{url}");
    (server, url)
}

fn client(url: &str) -> Client {
    Client::connect_to(url).unwrap()
}

/// All that the page has asked for came from its own server, and nothing went wrong in it.
fn was_well(browser: &Browser, url: &str) {
    let (own, token) = url.split_once("#token=").unwrap();
    for asked in browser.requests() {
        // The page with which Chromium begins is in itself.
        let is_inside = ["about:", "chrome:", "data:"].iter().any(|own| asked.starts_with(own));
        let is_own = asked.starts_with(own) || is_inside;
        assert!(is_own, "{asked}");
        assert!(!asked.contains(token), "{asked}");
    }
    let mut console = browser.console();
    // What the page learns from that is that a chosen connection has ended.
    console.retain(|line| !(line.contains("/api/connections/") && line.contains("404")));
    assert_eq!(console, Vec::<String>::new());
}

#[test]
fn an_operator_finds_a_connection_reads_its_messages_and_closes_it_by_keyboard() {
    let Some(browser) = Browser::start() else { return };
    let (server, url) = inspected(&[]);
    let (ada, bob) = (client(&server.url()), client(&server.url()));
    ada.request("login", "{\"user\":\"Ada \u{1f98a}\"}").unwrap();
    bob.request("echo", "first").unwrap();

    browser.show_as(1280, 900, "light");
    browser.open(&url);
    browser.until("document.querySelectorAll('#rows tr').length === 2");
    assert_eq!(browser.run("return location.hash"), "", "the token is not left in the address");
    browser.until_shown("#rows", "Ada \u{1f98a}");
    browser.until_shown("#state", "live");

    // To the list, down to the second connection, and into it.
    browser.press(&[TAB]);
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
    browser.press_until_focused(TAB, "tab-connections");
    browser.press(&[DOWN, DOWN]);
    let chosen = browser.focused();
    assert_eq!(chosen, browser.run("return document.querySelectorAll('#rows .open')[1].id"));
    browser.press(&[ENTER]);
    browser.until_shown("#messages-note", "Nothing was sent");
    assert_eq!(browser.focused(), "detail-title");

    bob.request("echo", "{\"text\":\"gr\u{fc}\u{df}e \u{1f600}\",\"n\":12345678901234567890}")
        .unwrap();
    bob.request("echo", Payload::utf16("utf-16 \u{1d11e}")).unwrap();
    bob.request("echo", Payload::binary(vec![0, 0xff, b'b', b'i', b'n'])).unwrap();
    let refused = bob.request(MARKUP, MARKUP);
    assert!(refused.is_err());
    for shown in [
        "request, UTF-8",
        "\"text\": \"gr\u{fc}\u{df}e \u{1f600}\"",
        "\"n\": 12345678901234567890",
        "utf-16 \u{1d11e}",
        "0000  00 ff 62 69 6e",
        MARKUP,
        "UNKNOWN_NAME",
    ] {
        browser.until_shown("#messages", shown);
    }
    browser.until("document.querySelectorAll('#messages li').length === 8");
    let made =
        browser.run("return document.querySelectorAll('#page script, #messages img').length");
    assert_eq!((made, browser.run("return document.title")), (json!(0), json!("wwr inspect")));

    // A message is found by its text.
    browser.press_until_focused(TAB, "message-filter");
    browser.press(&['g', 'r', '\u{fc}']);
    browser.until(
        "[...document.querySelectorAll('#messages li')].filter((one) => !one.hidden).length === 2",
    );

    // Escape leads back to where the focus was.
    browser.press(&[ESCAPE]);
    assert_eq!((browser.focused(), browser.text("#detail").as_str()), (chosen, ""));

    // No is where the focus begins; nothing is closed by it.
    browser.press(&[ENTER]);
    browser.press_until_focused(TAB, "close-connection");
    browser.press(&[ENTER]);
    assert_eq!(browser.focused(), "confirm-no");
    browser.press(&[ENTER]);
    bob.request("echo", "still here").unwrap();

    let mut events = bob.events();
    browser.press_until_focused(TAB, "close-connection");
    browser.press(&[ENTER, TAB]);
    assert_eq!(browser.focused(), "confirm-yes");
    browser.press(&[ENTER]);
    browser.until_shown("#messages-note", "has ended");
    let is_end = |event: Event| matches!(event, Event::Disconnected { .. });
    while !is_end(events.recv_timeout(SAFETY).unwrap()) {}

    was_well(&browser, &url);
    ada.close();
    bob.close();
}

#[test]
fn a_wrong_token_opens_nothing_and_the_right_one_can_be_entered() {
    let Some(browser) = Browser::start() else { return };
    let (_server, url) = inspected(&[]);
    let (page, token) = url.split_once("#token=").unwrap();
    browser.open(page);
    browser.until("!document.querySelector('#login').hidden");
    assert!(browser.run("return document.querySelector('#page').hidden").as_bool().unwrap());
    let typed = |text: &str| {
        browser.run(
            "document.querySelector('#token').value = ''; document.querySelector('#token').focus()",
        );
        browser.press(&text.chars().chain([ENTER]).collect::<Vec<_>>());
    };
    typed(&"x".repeat(32));
    browser.until_shown("#login-error", "not the token");
    typed(token);
    browser.until("!document.querySelector('#page').hidden");
    browser.until_shown("#empty", "No client is connected.");
    browser.press_until_focused(TAB, "tab-connections");
    for (empty, list) in [("No connection has a session.", "Sessions"), ("in a group", "Groups")] {
        browser.press(&[RIGHT]);
        browser.until_shown("#empty", empty);
        browser.until_shown("[aria-selected=true]", list);
    }
}

#[test]
fn the_page_says_when_the_server_is_gone_and_goes_on_when_it_is_back() {
    let Some(browser) = Browser::start() else { return };
    let (server, url) = inspected(&[]);
    browser.open(&url);
    browser.until_shown("#state", "live");
    drop(server);
    browser.until_shown("#banner", "does not answer");
    browser.until_shown("#state", "no answer");
    // Another one has another token, so it asks for that.
    let address = url.trim_start_matches("http://").split('/').next().unwrap();
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--inspect", address];
    let mut server = Running::start(&arguments);
    let line = server.line_with("inspect on ");
    browser.until("!document.querySelector('#login').hidden");
    browser.open(line.strip_prefix("inspect on ").unwrap());
    browser.until_shown("#state", "live");
}

/// A chat in which the pictures are taken: rooms, sessions, and a client that does not read.
struct Chat;

impl Handler for Chat {
    async fn request(&self, from: &Connection, request: Content) -> Result<Payload, RequestError> {
        match request.name() {
            b"login" => {
                let user = request.text().map_err(|_| RequestError::Internal)?;
                let info = SessionInfo::new().public("user", user.as_ref());
                from.create_session(info).await?;
                Ok(Payload::EMPTY)
            }
            b"join" => {
                let room = request.text().map_err(|_| RequestError::Internal)?;
                let joined = from.join(&room);
                joined.map_err(|error| RequestError::failed("ROOM", error.to_string()))?;
                Ok(Payload::utf8(from.server().group(&*room).len().to_string()))
            }
            b"say" => {
                for room in from.groups() {
                    let told =
                        from.server().group(room).signal("said", request.clone().into_payload());
                    told.map_err(|_| RequestError::Internal)?;
                }
                Ok(Payload::EMPTY)
            }
            b"export" => std::future::pending().await,
            _ => Err(RequestError::failed("UNKNOWN_NAME", "no such request")),
        }
    }
}

/// A chat server with its page, in this process.
fn chat() -> (ServerHandle, String, String) {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        block_on(async move {
            let executor = std::sync::Arc::new(smol::Executor::new());
            let builder = wwr_smol::server::Server::builder(Chat).config(Config::default());
            let server = builder.executor(executor.clone()).listen("127.0.0.1:0").await.unwrap();
            let page = Page::bind(Smol::from(executor.clone()), "127.0.0.1:0").await.unwrap();
            let token = Token::random().unwrap();
            let (handle, url) = (server.handle(), page.urls(&token).remove(0));
            let address = format!("ws://{}/", server.local_addr());
            let inspector = Inspector::new(handle.clone(), token);
            sender.send((handle, address, url)).unwrap();
            let served = async { smol::future::zip(server.run(), page.serve(inspector)).await };
            executor.run(served).await;
        });
    });
    receiver.recv().unwrap()
}

#[test]
fn groups_sessions_and_phones_in_both_colours() {
    let Some(browser) = Browser::start() else { return };
    let (server, address, url) = chat();
    let users = ["ada", "b\u{f6}rje", "chidi", "dolores", "\u{1f98a} fox", "\u{5d3}\u{5d5}\u{5d3}"];
    let rooms = ["lobby", "rust", "climbing"];
    let clients: Vec<Client> = users.iter().map(|_| client(&address)).collect();
    for (number, (user, one)) in users.iter().zip(&clients).enumerate() {
        one.request("login", *user).unwrap();
        for room in &rooms[..=number % 3] {
            one.request("join", *room).unwrap();
        }
    }
    let guest = client(&address);
    let waiting = guest.clone();
    // Ends with the process.
    thread::spawn(move || waiting.request_within(Duration::from_secs(600), "export", "everything"));

    browser.show_as(1360, 860, "light");
    browser.open(&url);
    browser.until("document.querySelectorAll('#rows tr').length === 7");
    browser.run("document.querySelectorAll('#rows .open')[1].click()");
    browser.until_shown("#messages-note", "Nothing was sent");
    // Until there is a curve with a few points.
    let talk = |times: usize| {
        for number in 0..times {
            let text = json!({ "text": format!("message {number} \u{1f44b}"), "mood": "fine" });
            clients[number % clients.len()].request("say", text.to_string()).unwrap();
        }
    };
    let points = "document.querySelector('.spark .stroke')?.getAttribute('d').split('L').length";
    for curve in 2..9 {
        talk(5 + 9 * (curve % 4));
        browser.until(&format!("{points} >= {curve}"));
    }
    clients[1].request("say", Payload::utf16("h\u{e4}lsningar")).unwrap();
    clients[1].request("leave", Payload::EMPTY).unwrap_err();
    browser.until_shown("#messages", "h\u{e4}lsningar");
    browser.until_shown("#messages", "UNKNOWN_NAME");
    browser.fits();
    browser.picture("inspect-light.png");
    browser.show_as(1360, 860, "dark");
    let dark = browser.run("return getComputedStyle(document.body).backgroundColor");
    browser.picture("inspect-dark.png");
    browser.show_as(1360, 860, "light");
    assert_ne!(dark, browser.run("return getComputedStyle(document.body).backgroundColor"));

    // A group leads to its members, and back.
    browser.run("document.querySelector('#detail-close').click()");
    browser.run("document.querySelector('#tab-groups').click()");
    browser.until("document.querySelectorAll('#rows tr').length === 3");
    browser.until_shown("#rows", "climbing");
    browser.run("document.querySelector('#rows .open').click()");
    browser.until("document.querySelectorAll('#rows tr').length === 2");
    browser.run("document.querySelector('.chip').click()");
    browser.until("document.querySelectorAll('#rows tr').length === 7");
    browser.run("const at = document.querySelector('#filter'); at.value = 'FOX'; at.dispatchEvent(new Event('input'))");
    browser.until("document.querySelectorAll('#rows tr').length === 1");
    browser.until_shown("#count", "1 of 1, of all 7");

    // A session is closed together with its connections.
    browser.run("document.querySelector('#rows .open').click()");
    browser.until("!document.querySelector('#close-session').hidden");
    browser.run("document.querySelector('#close-session').click()");
    browser.until_shown("#confirm-title", "Close session");
    browser.run("document.querySelector('#confirm-yes').click()");
    browser.until_shown("#messages-note", "has ended");
    assert_eq!(server.active_sessions(), 5);

    // On a phone, the list, its tools and the detail fit.
    browser.show_as(360, 780, "light");
    browser.run("document.querySelector('#detail-close').click()");
    browser.run("const at = document.querySelector('#filter'); at.value = ''; at.dispatchEvent(new Event('input'))");
    browser.until("document.querySelectorAll('#rows tr').length >= 6");
    browser.fits();
    browser.run("scrollTo(0, document.querySelector('.tabs').offsetTop - 90)");
    browser.picture("inspect-phone.png");
    browser.run("document.querySelectorAll('#rows .open')[0].click()");
    browser.until_shown("#messages-note", "Nothing was sent");
    browser.fits();
    browser.show_as(360, 780, "dark");
    browser.run("scrollTo(0, 0)");
    browser.picture("inspect-phone-detail.png");
    for tab in ["sessions", "groups"] {
        browser.run(&format!("document.querySelector('#detail-close').click(); document.querySelector('#tab-{tab}').click()"));
        browser.until("document.querySelectorAll('#rows tr').length >= 3");
        browser.fits();
    }
    was_well(&browser, &url);
    for one in clients.iter().chain([&guest]) {
        one.close();
    }
    block_on(server.shut_down(Duration::ZERO));
}

#[test]
fn a_node_of_a_cluster_has_a_card_that_says_how_it_stands() {
    let Some(browser) = Browser::start() else { return };
    let Some(engine) = Engine::start() else { return };
    let engine_url = engine.url("open-sesame");
    let node = |name: &str| {
        let (mut server, url) = inspected(&["--cluster", &engine_url, "--node", name]);
        server.running.wait_for_log("part of the cluster");
        (server, url)
    };
    let long = "a-name-of-one-hundred-letters".repeat(4);
    let (first, url) = node("berlin-a");
    browser.show_as(1360, 860, "light");
    browser.open(&url);
    browser.until_shown("#totals .node", "berlin-a");
    browser.until_shown("#totals .node", "alone");
    // One that is not worth a warning.
    browser.until("document.querySelectorAll('.total.warn').length === 0");
    let (second, _) = node(&long);
    browser.until_shown("#totals .node", &format!("2 alive: berlin-a, {long}"));
    let (ada, bob) = (client(&first.url()), client(&second.url()));
    ada.request("broadcast", "to both").unwrap();
    browser.until_shown("#totals .node", "1 to other nodes");
    bob.request("echo", "x").unwrap();
    // It has a line of its own, above a row of numbers.
    let rows = browser.run(
        "const tops = [...document.querySelectorAll('.total')].map((card) => card.offsetTop);
         return [tops.filter((top) => top === tops[0]).length, new Set(tops).size];",
    );
    assert_eq!(rows, json!([1, 2]));
    let fits = || {
        browser.fits();
        let inside = "return [...document.querySelectorAll('.total')].every((card) => card.scrollWidth <= card.clientWidth)";
        assert_eq!(browser.run(inside), json!(true));
    };
    fits();
    browser.picture("inspect-node-light.png");
    browser.show_as(1360, 860, "dark");
    browser.picture("inspect-node-dark.png");
    browser.show_as(360, 780, "dark");
    browser.run("scrollTo(0, 0)");
    fits();
    browser.picture("inspect-node-phone-dark.png");
    browser.show_as(360, 780, "light");
    browser.picture("inspect-node-phone.png");
    // The other one is killed, and the engine goes as well.
    drop(engine);
    browser.until_shown("#totals .node.warn", "the engine does not answer");
    fits();
    browser.picture("inspect-node-away-phone.png");
    browser.show_as(1360, 860, "light");
    browser.picture("inspect-node-away.png");
    was_well(&browser, &url);
    ada.close();
    bob.close();
}

#[test]
fn the_page_is_only_for_its_token_and_its_hosts() {
    let (server, url) = inspected(&["--inspect-host", "Inspect.Example"]);
    let (page, token) = url.split_once("/#token=").unwrap();
    let address = page.strip_prefix("http://").unwrap();
    let status = |host: &str, token: &str| {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        let head = format!(
            "GET /api/overview HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split(' ').nth(1).unwrap().parse::<u16>().unwrap()
    };
    assert_eq!(status(address, token), 200);
    assert_eq!(status("inspect.example:443", token), 200);
    assert_eq!(status("evil.example", token), 421);
    assert_eq!(status(address, &token[1..]), 401);
    drop(server);
}

#[test]
fn an_address_that_cannot_be_listened_on_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = run(&["serve", "--listen", "127.0.0.1:0", "--inspect", &address]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains(&format!("--inspect {address}")), "{}", ran.stderr);
    let ran = run(&["serve", "--inspect-host", "example.com"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
}
