//! Sessions: kept in the browser, resumed, shared by tabs, closed from outside.

use serde_json::json;

use super::Page;
use crate::support::{Relay, Server, url};

/// Creates a client that keeps its session in `localStorage`, and connects it.
fn keeping(page: &Page, url: &str) {
    page.run(&format!(
        "window.client = new wwr.Client({url:?}, {{ session: 'local' }});
         window.events = [];
         client.addEventListener('session', ({{ how, session, loss }}) =>
             events.push(`${{how}} ${{session?.info.user ?? loss ?? ''}}`));
         await client.connect();"
    ));
}

#[test]
fn a_session_is_resumed_when_the_page_is_loaded_again_and_when_the_server_was_killed() {
    let Some(page) = Page::open() else { return };
    let directory = tempfile::tempdir().unwrap();
    let sessions = directory.path().to_str().unwrap();
    let serve = || Server::start(&["--allow-origin", "any", "--sessions", sessions, "--durable"]);
    let (server, relay) = (serve(), Relay::start());
    relay.lead_to(Some(server.address));
    let url = url(relay.address);

    keeping(&page, &url);
    page.run("await client.request('login', { user: 'Ada \u{1f98a}', number: 1.5 })");
    let session = page.run(
        "return [client.session.key, client.session.info, client.session.created.getTime() > 1e12]",
    );
    assert_eq!(session[1], json!({ "user": "Ada \u{1f98a}", "number": 1.5 }));
    assert_eq!(session[2], json!(true));

    page.reload();
    keeping(&page, &url);
    assert_eq!(page.run("return [client.session.key, client.session.info, true]"), session);
    assert_eq!(page.run("return events"), json!(["restored Ada \u{1f98a}"]));

    relay.lead_to(None);
    drop(server);
    let again = serve();
    relay.lead_to(Some(again.address));
    let whoami = page.run("return await client.request('whoami', undefined, { as: 'json' })");
    assert_eq!(whoami["k"], session[0]);
    assert_eq!(page.run("return events.length"), json!(2));

    // Closing it forgets the key.
    page.run("await client.closeSession()");
    assert_eq!(
        page.run("return [client.session, events.at(-1), localStorage.length]"),
        json!([null, "closed ", 0])
    );
    page.reload();
    keeping(&page, &url);
    assert_eq!(page.run("return [client.session, events]"), json!([null, []]));
}

#[test]
fn a_key_that_the_server_does_not_know_is_forgotten() {
    let Some(page) = Page::open() else { return };
    let first = Server::start(&["--allow-origin", "any"]);
    let relay = Relay::start();
    relay.lead_to(Some(first.address));
    let url = url(relay.address);
    keeping(&page, &url);
    page.run("await client.request('login', { user: 'Ada' })");
    // Its sessions are in memory.
    relay.lead_to(None);
    drop(first);
    let second = Server::start(&["--allow-origin", "any"]);
    relay.lead_to(Some(second.address));
    assert_eq!(page.run("return await client.request('echo', 'x')"), json!("x"));
    let left = page.run("return [events, client.session, localStorage.length]");
    assert_eq!(left, json!([["created Ada", "lost session-not-found"], null, 0]));
}

#[test]
fn two_tabs_share_a_session_until_it_is_closed_from_outside() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    let first = page.browser.tab();
    keeping(&page, &server.url());
    page.run("await client.request('login', { user: 'Ada' })");
    let key = page.run("return client.session.key");

    let second = page.browser.new_tab();
    page.visit();
    keeping(&page, &server.url());
    assert_eq!(page.run("return [client.session.key, events]"), json!([key, ["restored Ada"]]));

    // Another client closes it for both.
    let told = server.reply(&["kick", key.as_str().unwrap()]);
    assert_eq!(told.trim(), "2");
    for tab in [&second, &first] {
        page.browser.go_to(tab);
        page.browser.until("client.session === null");
        assert_eq!(
            page.run("return [events.at(-1), client.status, localStorage.length]"),
            json!(["closed ", "connected", 0])
        );
    }
}

#[test]
fn a_tab_that_loses_its_session_leaves_the_key_of_another() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    let first = page.browser.tab();
    keeping(&page, &server.url());
    page.run("await client.request('login', { user: 'Ada' })");
    page.browser.new_tab();
    page.visit();
    keeping(&page, &server.url());
    page.run("await client.closeSession(); await client.request('login', { user: 'Bob' });");
    let bob = page.run("return client.session.key");
    page.browser.go_to(&first);
    page.run("await client.closeSession()");
    assert_eq!(page.run("return Object.values(localStorage)"), json!([bob]));
}

#[test]
fn a_session_is_restored_by_its_key_and_limits_are_told() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any", "--max-session-connections", "1"]);
    page.connect(&server.url());
    page.run("window.key = await client.request('login', { user: 'Ada' })");
    page.run(&format!("window.other = await wwr.connect({:?})", server.url()));
    assert_eq!(
        page.fails("await other.restoreSession(key)"),
        "ServerError max-session-connections"
    );
    assert_eq!(page.fails("await client.restoreSession(key)"), "UsageError session-held");
    page.run("await client.closeSession()");
    assert_eq!(page.fails("await other.restoreSession(key)"), "ServerError session-not-found");

    let none = Server::start(&["--allow-origin", "any", "--sessions", "off"]);
    page.connect(&none.url());
    assert_eq!(page.fails("await client.restoreSession(key)"), "ServerError sessions-disabled");
    assert_eq!(page.fails("await client.request('login')"), "ServerError sessions-disabled");
}

#[test]
fn the_application_may_keep_the_key_itself() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    let kept = page.run(&format!(
        "const kept = [];
         let key = null;
         const session = {{ load: () => key, save: (next) => {{ kept.push(next === undefined ? null : typeof next); key = next ?? null; }} }};
         const first = await wwr.connect({0:?}, {{ session }});
         await first.request('login', {{ user: 'Ada' }});
         first.close();
         const second = await wwr.connect({0:?}, {{ session }});
         const user = second.session.info.user;
         await second.closeSession();
         const throwing = {{ load() {{ throw new Error('no'); }}, save() {{ throw new Error('no'); }} }};
         const third = await wwr.connect({0:?}, {{ session: throwing }});
         await third.request('login', {{ user: 'Bob' }});
         return [user, kept, key, third.session.info.user];",
        server.url()
    ));
    assert_eq!(kept, json!(["Ada", ["string", null], null, "Bob"]));
}
