//! The page in a real browser, with the client that `.ci/web` has built.

use std::env;

use serde_json::{Value, json};

use crate::browser::{Browser, ENTER, TAB};
use crate::support::{Server, run};

/// A text that would do something as markup.
const MARKUP: &str = "<script>document.title='owned'</script><img src=x onerror=alert(1)>";

/// A server with the page, and a browser. `None` if the client or the browser is missing; then says so.
fn opened() -> Option<(Server, Browser)> {
    let directory = env::var("WWR_TEST_WEB").ok().filter(|directory| !directory.is_empty());
    let Some(directory) = directory else {
        println!("skipped: the page is tested by .ci/run web, which sets WWR_TEST_WEB");
        return None;
    };
    let browser = Browser::start()?;
    let server = Server::start(&["--playground", &directory, "--path", "/old=1.4"]);
    browser.open(&page(&server));
    browser.until_shown("#state", "connected, wwr.1");
    Some((server, browser))
}

fn page(server: &Server) -> String {
    format!("http://{}/", server.address)
}

/// Puts a value into an element, as a user would.
fn enter(browser: &Browser, id: &str, value: &str) {
    browser.run(&format!(
        "const at = document.getElementById({}); at.value = {}; at.dispatchEvent(new Event('change'))",
        json!(id),
        json!(value)
    ));
}

fn click(browser: &Browser, id: &str) {
    browser.run(&format!("document.getElementById({}).click()", json!(id)));
}

fn send(browser: &Browser, name: &str, encoding: &str, payload: &str) {
    enter(browser, "name", name);
    enter(browser, "encoding", encoding);
    enter(browser, "payload", payload);
    click(browser, "send-request");
}

/// All that the page has asked for came from its own server, and nothing went wrong in it.
fn was_well(browser: &Browser, server: &Server) {
    let own = [page(server), format!("ws://{}/", server.address)];
    for asked in browser.requests() {
        let is_inside = ["about:", "chrome:", "data:"].iter().any(|own| asked.starts_with(own));
        assert!(is_inside || own.iter().any(|own| asked.starts_with(own)), "{asked}");
    }
    let mut console = browser.console();
    // How the network is cut.
    console.retain(|line| !line.contains("closed before the connection is established"));
    assert_eq!(console, Vec::<String>::new());
}

#[test]
fn a_session_is_begun_cut_and_resumed_by_keyboard() {
    let Some((server, browser)) = opened() else { return };
    browser.press(&[TAB]);
    assert_eq!(browser.run("return document.activeElement.className"), "skip");
    browser.press(&[TAB]);
    browser.press_until_focused(TAB, "user");
    // The name that is there is chosen, and typed over.
    browser.press(&['B', '\u{f6}', 'r', 'j', 'e', ' ', '\u{1f43b}', ENTER]);
    browser.until_shown("#session-facts", "B\u{f6}rje \u{1f43b}");
    browser.until_shown("#log", "session created");
    let key = browser.run("return document.querySelector('#session-facts .key').textContent");

    browser.press_until_focused(TAB, "name");
    browser.press(&['e', 'c', 'h', 'o']);
    browser.press_until_focused(TAB, "payload");
    browser.press(&['\u{1d11e}', '\u{1f468}', ' ']);
    browser.press_until_focused(TAB, "send-request");
    browser.press(&[ENTER]);
    browser.until("document.querySelectorAll('#log .request pre').length === 2");
    let payloads = browser.run(
        "return [...document.querySelectorAll('#log .request pre')].map((one) => one.textContent)",
    );
    assert_eq!(payloads[0], payloads[1], "the echo is what was sent");
    assert!(payloads[0].as_str().unwrap().contains("\u{1d11e}\u{1f468} "), "{payloads}");

    browser.press_until_focused(TAB, "cut");
    browser.press(&[ENTER]);
    browser.until_shown("#log", "network cut");
    browser.until_shown("#state", "connecting");
    browser.until_shown("#connection-note", "Trying again");
    // Attempts while it is cut are in vain.
    browser.until_shown("#log", "not connected");
    assert_eq!(browser.focused(), "cut");
    browser.press(&[ENTER]);
    browser.until_shown("#state", "connected, wwr.1");
    browser.until_shown("#log", "session restored");
    let again = browser.run("return document.querySelector('#session-facts .key').textContent");
    assert_eq!(again, key);
    assert_eq!(browser.text("#connection-note"), "");

    browser.press_until_focused(TAB, "log-out");
    browser.press(&[ENTER]);
    browser.until_shown("#session-facts", "no session");
    browser.press_until_focused(TAB, "connect");
    browser.press(&[ENTER]);
    browser.until_shown("#state", "not connected");
    browser.press(&[ENTER]);
    browser.until_shown("#state", "connected, wwr.1");
    was_well(&browser, &server);
}

#[test]
fn tabs_share_a_session_or_have_their_own() {
    let Some((server, browser)) = opened() else { return };
    let first = browser.tab();
    let second = browser.new_tab();
    browser.open(&page(&server));
    browser.until_shown("#state", "connected, wwr.1");

    // The other tab hears of the session at once.
    browser.go_to(&first);
    enter(&browser, "user", "Ada \u{1f98a}");
    click(&browser, "log-in");
    browser.until_shown("#session-facts", "Ada \u{1f98a}");
    browser.go_to(&second);
    browser.until_shown("#session-facts", "Ada \u{1f98a}");
    browser.until_shown("#log", "session restored");

    // A signal to all is in both.
    send(&browser, "broadcast", "json", "{\"text\":\"hello \u{1f44b}\"}");
    for tab in [&second, &first] {
        browser.go_to(tab);
        browser.until_shown("#log .signal", "broadcast");
        browser.until_shown("#log .signal", "\"text\": \"hello \u{1f44b}\"");
    }
    browser.until_shown("#frames", "signal");

    // After a reload it is still there; logging out ends it for both.
    browser.reload();
    browser.until_shown("#session-facts", "Ada \u{1f98a}");
    browser.until("!document.querySelector('#log-out').disabled");
    click(&browser, "log-out");
    for tab in [&first, &second] {
        browser.go_to(tab);
        browser.until_shown("#session-facts", "no session");
    }

    // A tab that does not share has one of its own.
    click(&browser, "shared");
    browser.until_shown("#state", "connected, wwr.1");
    browser.until("!document.querySelector('#log-in').disabled");
    enter(&browser, "user", "Bob");
    click(&browser, "log-in");
    browser.until_shown("#session-facts", "Bob");
    browser.reload();
    browser.until_shown("#session-facts", "Bob");
    browser.go_to(&first);
    send(&browser, "echo", "text", "after Bob");
    browser.until_shown("#log", "after Bob");
    assert_eq!(browser.text("#session-facts .now"), "no session");
    was_well(&browser, &server);
}

#[test]
fn payloads_of_each_encoding_are_shown_and_their_messages_decoded() {
    let Some((server, browser)) = opened() else { return };
    send(
        &browser,
        "echo",
        "json",
        "{\"n\":12345678901234567890,\"list\":[],\"a\":[1,{\"b\":\"x\\\"y\"}]}",
    );
    browser.until_shown("#log", "\"n\": 12345678901234567890,\n  \"list\": [],\n  \"a\": [\n    1,\n    {\n      \"b\": \"x\\\"y\"");
    send(&browser, "echo", "utf-16", "\u{1d11e} utf-16");
    browser.until_shown("#frames", "request, UTF-16");
    send(&browser, "echo", "hex", "00 ff F0");
    browser.until_shown("#log", "0000  00 ff f0");
    send(&browser, MARKUP, "text", MARKUP);
    browser.until_shown("#log", "UNKNOWN_NAME");
    browser.until_shown("#log", MARKUP);
    send(&browser, "signal-me", "text", "to me");
    browser.until_shown("#log .signal", "to me");
    enter(&browser, "name", "echo");
    click(&browser, "send-signal");
    browser.until("document.querySelectorAll('#log .signal').length === 2");
    let made = browser
        .run("return document.querySelectorAll('#page script, #log img, #frames img').length");
    assert_eq!((made, browser.run("return document.title")), (json!(0), json!("wwr playground")));

    // What cannot be sent is said at the form.
    for (encoding, payload, said) in [
        ("hex", "0g", "no hexadecimal digit"),
        ("hex", "000", "two hexadecimal digits"),
        ("json", "{\"a\":}", "JSON"),
    ] {
        send(&browser, "echo", encoding, payload);
        browser.until_shown("#send-error", said);
    }

    // The parts are those of the command.
    send(&browser, "echo", "text", "parts \u{1f98a}");
    browser.until("[...document.querySelectorAll('#frames .sent pre')].some((one) => one.textContent.includes('parts'))");
    let parts = browser.run("return document.querySelector('#frames .sent pre').textContent");
    assert_parts(&parts);

    // The list is bounded.
    browser.run(
        "document.querySelector('#encoding').value = 'text'; \
         for (let at = 0; at < 150; at += 1) { document.querySelector('#payload').value = `number ${at}`; document.querySelector('#send-request').click(); }",
    );
    browser.until("[...document.querySelectorAll('#log .outcome')].every((one) => one.textContent !== 'waiting')");
    browser.until("document.querySelectorAll('#frames li').length === 200");
    browser.until("document.querySelector('#frames li pre')?.textContent.includes('number 149')");
    assert_eq!(
        browser.run("return document.querySelectorAll('#log li').length <= 200"),
        json!(true)
    );
    was_well(&browser, &server);
}

#[test]
fn another_path_may_speak_another_version() {
    let Some((server, browser)) = opened() else { return };
    click(&browser, "connect");
    browser.until_shown("#state", "not connected");
    let told = browser.run("return document.querySelectorAll('#log .disconnected').length");
    assert_eq!(told, 1);
    send(&browser, "echo", "text", "nobody is there");
    browser.until_shown("#send-error", "Connect first");
    enter(&browser, "path", "old");
    click(&browser, "connect");
    browser.until_shown("#state", "connected, 1.4");
    send(&browser, "echo", "text", "\u{1d11e} of 1.4");
    browser.until_shown("#log .outcome", "ms");
    browser.until_shown("#log .request", "\u{1d11e} of 1.4");
    browser.until_shown("#frames", "request, UTF-8");
    click(&browser, "log-in");
    browser.until_shown("#session-facts", "Ada");
    // A server that is gone is said to be.
    let own = page(&server);
    drop(server);
    browser.until_shown("#log", "disconnected");
    browser.until_shown("#connection-note", "Trying again");
    for asked in browser.requests() {
        assert!(!asked.starts_with("http") || asked.starts_with(&own), "{asked}");
    }
}

/// The parts of a request echo are as `wwr decode` prints them.
fn assert_parts(shown: &Value) {
    let shown = shown.as_str().unwrap();
    // Its identifier is the client's.
    let identifier = shown.lines().find_map(|line| line.split_once("identifier")).unwrap().1.trim();
    let text: String = "parts \u{1f98a}".bytes().map(|byte| format!("{byte:02x}")).collect();
    let message = format!("80{identifier}046563686f{text}");
    let decoded = run(&["decode", "--protocol", "wwr.1", &message]);
    let (_, parts) = decoded.text().split_once('\n').unwrap();
    assert_eq!(shown.trim(), parts.trim());
}

#[test]
fn it_fits_phones_and_has_both_colours() {
    let Some((server, browser)) = opened() else { return };
    // More machines have letters of mathematics in their fonts than pictures.
    browser.show_as(1360, 900, "light");
    enter(&browser, "user", "\u{1d538}da");
    click(&browser, "log-in");
    browser.until_shown("#session-facts", "\u{1d538}da");
    click(&browser, "cut");
    browser.until_shown("#log", "not connected");
    click(&browser, "cut");
    browser.until_shown("#log", "session restored");
    send(&browser, "broadcast", "json", "{\"text\":\"hello \u{1d539}ob\",\"from\":\"a tab\"}");
    browser.until_shown("#log .signal", "hello");
    send(&browser, "echo", "text", "Gr\u{fc}\u{df}e \u{1d538}\u{1d539}");
    browser.until("document.querySelectorAll('#log .request pre').length === 4");
    browser.until("[...document.querySelectorAll('#frames li')].every((one) => one.querySelector('pre, .nothing'))");
    browser.run("document.activeElement.blur()");
    browser.fits();
    browser.picture("playground-light.png");
    browser.show_as(1360, 900, "dark");
    let dark = browser.run("return getComputedStyle(document.body).backgroundColor");
    browser.picture("playground-dark.png");
    browser.show_as(1000, 800, "light");
    browser.fits();
    assert_ne!(dark, browser.run("return getComputedStyle(document.body).backgroundColor"));

    browser.show_as(360, 780, "light");
    browser.fits();
    browser.run("scrollTo(0, 0)");
    browser.picture("playground-phone.png");
    browser.show_as(360, 780, "dark");
    browser.run("scrollTo(0, document.querySelector('.views').offsetTop - 60)");
    browser.fits();
    browser.picture("playground-phone-dark.png");
    // What is pressed is large enough for a finger.
    let small = browser.run(
        "return [...document.querySelectorAll('button, input:not([role]), select, textarea')]
            .filter((one) => one.checkVisibility() && one.getBoundingClientRect().height < 32).map((one) => one.id)",
    );
    assert_eq!(small, json!([]));
    was_well(&browser, &server);
}

#[test]
fn without_a_client_the_page_says_how_to_get_one() {
    let Some(browser) = Browser::start() else { return };
    let server = Server::start(&[]);
    browser.show_as(360, 780, "light");
    browser.open(&page(&server));
    browser.until("document.querySelector('#version').textContent !== ''");
    if browser.text("#no-client").is_empty() {
        println!("skipped: this command was built with a client for browsers");
        return;
    }
    browser.until_shown("#no-client", "wwr serve --playground DIRECTORY");
    browser.until_shown("#command", &format!("wwr request ws://{}/ echo hello", server.address));
    browser.fits();
    was_well(&browser, &server);
}
