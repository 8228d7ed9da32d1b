//! Origins, encryption, networks that come and go, pages that are left.

use serde_json::json;

use super::Page;
use crate::support::{Relay, Running, Server, url};

#[test]
fn a_page_of_another_origin_connects_if_the_server_allows_it() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", &page.site.origin()]);
    page.connect(&server.url());
    assert_eq!(page.run("return await client.request('echo', 'x')"), json!("x"));
    page.run("client.close()");

    let strict = Server::start(&["--allow-origin", "https://elsewhere.test"]);
    let refused = page.fails(&format!("await wwr.connect({:?})", strict.url()));
    assert_eq!(refused, "ConnectionError dial-failed");
}

#[test]
fn a_page_of_the_server_itself_needs_no_permission() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&[]);
    // What people see who open the server in a browser.
    page.browser.open(&format!("http://{}/somewhere", server.address));
    let reply = page.run(&format!(
        "const wwr = await import('{}index.js');
         const client = await wwr.connect('/');
         return [await client.request('echo', 'x'), client.protocol];",
        page.site.url()
    ));
    assert_eq!(reply, json!(["x", "wwr.1"]));
}

#[test]
fn a_page_with_tls_is_told_that_it_needs_a_server_with_tls() {
    let Some(page) = Page::open() else { return };
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = crate::tls::write(&crate::tls::identity(), directory.path());
    let mut server = Running::start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
    ]);
    let line = server.line().unwrap();
    let address = line.strip_prefix("listening on wss://").unwrap();
    page.browser.open(&format!("https://{address}/somewhere"));
    page.run(&format!(
        "window.wwr = await import('{}index.js'); await wwr.load();",
        page.site.url()
    ));
    assert_eq!(page.fails("new wwr.Client('ws://example.test/')"), "UsageError mixed-content");
    assert_eq!(page.fails("new wwr.Client('http://192.0.2.1:7777/')"), "UsageError mixed-content");
    let message = page
        .run("try { new wwr.Client('ws://example.test/') } catch (error) { return error.message }");
    let message = message.as_str().unwrap();
    assert!(message.contains("https") && message.contains("wss://"), "{message}");
    // This machine is trusted, and TLS works.
    page.run("new wwr.Client('ws://127.0.0.1:1/'); new wwr.Client('ws://localhost:1/');");
    page.run("window.client = await wwr.connect('/')");
    assert_eq!(page.run("return await client.request('echo', 'encrypted')"), json!("encrypted"));

    // Firefox does not let a worker of this page load the module from a server without TLS.
    if !page.browser.is_chromium() {
        return;
    }
    // A worker made of a blob has no scheme of its own, and what is relative is so to its origin.
    let told = page.run(&format!(
        "const source = `import * as wwr from '{}index.js';
            try {{
              await wwr.load();
              const told = [];
              try {{ new wwr.Client('ws://example.test/') }} catch (error) {{ told.push(error.code) }}
              const client = await wwr.connect('/');
              told.push(await client.request('echo', 'relative'));
              postMessage(told);
            }} catch (error) {{ postMessage(String(error)); }}`;
         const blob = new Blob([source], {{ type: 'text/javascript' }});
         const worker = new Worker(URL.createObjectURL(blob), {{ type: 'module' }});
         return await new Promise((done) => {{
           worker.onmessage = ({{ data }}) => done(data);
           worker.onerror = ({{ message }}) => done(`error: ${{message}}`);
         }});",
        page.site.url()
    ));
    assert_eq!(told, json!(["mixed-content", "relative"]));
}

#[test]
fn a_page_that_hears_of_a_network_connects_before_its_pause_is_over() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    let relay = Relay::start();
    page.run(&format!(
        "window.client = new wwr.Client({:?}, {{ initialBackoff: 10 }});
         client.connect().catch(() => {{}});
         await new Promise((done) => client.addEventListener('connecterror', ({{ retryIn }}) => {{
           if (retryIn < 4000) return;
           window.until = performance.now() + retryIn;
           done();
         }}));",
        url(relay.address)
    ));
    relay.lead_to(Some(server.address));
    let early = page.run(
        "const connected = new Promise((done) => client.addEventListener('connect', done));
         dispatchEvent(new Event('online'));
         await connected;
         return performance.now() < window.until;",
    );
    assert_eq!(early, json!(true));
}

/// Counts as `window.dials` which WebSockets the page opens, and lets the first `window.fail` of those that offer
/// something fail. Counts as `window.asked` how often it sends a preflight.
const DIALS: &str = "
    window.dials = [];
    window.fail = 0;
    window.asked = 0;
    const Real = WebSocket;
    window.WebSocket = function (url, ...offered) {
      const fails = offered.length > 0 && window.fail > 0;
      if (fails) window.fail -= 1;
      dials.push(offered.length > 0 ? 'offers' : 'plain');
      // Nobody listens there.
      return new Real(fails ? 'ws://127.0.0.1:1/' : url, ...offered);
    };
    const ask = window.fetch;
    window.fetch = (what, ...how) => {
      if (how[0]?.method === 'WEBWIRE') window.asked += 1;
      return ask(what, ...how);
    };";

#[test]
fn a_first_handshake_that_fails_by_chance_does_not_cost_wwr_1() {
    let Some(page) = Page::open() else { return };
    page.run(DIALS);
    for protocol in ["any", "2.0"] {
        let server = Server::start(&["--allow-origin", "any", "--protocol", protocol]);
        let seen = page.run(&format!(
            "window.dials = [];
             window.fail = 1;
             const client = await wwr.connect({:?});
             const seen = [client.protocol, dials];
             client.close();
             return seen;",
            server.url()
        ));
        assert_eq!(seen, json!(["wwr.1", ["offers", "offers"]]), "{protocol}");
    }
}

#[test]
fn a_server_without_wwr_1_is_offered_it_once() {
    let Some(page) = Page::open() else { return };
    page.run(DIALS);
    for (protocol, spoken, asked) in [("2.0", "2.0", 1), ("any", "2.0", 1), ("1.4", "1.4", 3)] {
        let server = Server::start(&["--allow-origin", "any", "--no-wwr1", "--protocol", protocol]);
        let seen = page.run(&format!(
            "window.dials = [];
             window.asked = 0;
             const client = new wwr.Client({:?});
             const spoken = [];
             for (let times = 0; times < 3; times += 1) {{
               await client.connect();
               spoken.push(client.protocol);
               client.close();
             }}
             return [[...new Set(spoken)], dials, asked];",
            server.url()
        ));
        let dials = ["offers", "plain", "plain", "plain"];
        assert_eq!(seen, json!([[spoken], dials, asked]), "{protocol}");
    }
}

#[test]
fn a_page_that_is_left_closes_its_connection() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.run(&format!(
        "window.client = await wwr.connect({:?});
         window.ends = [];
         client.addEventListener('disconnect', ({{ reason }}) => ends.push(reason));
         dispatchEvent(new PageTransitionEvent('pagehide', {{ persisted: true }}));",
        server.url()
    ));
    assert_eq!(page.run("return [client.status, ends]"), json!(["closed", ["closed"]]));
    page.run("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }));");
    page.browser.until("client.status === 'connected'");

    page.browser.open("about:blank");
    // The one that asks is the only one left; until the other has gone it reaches two.
    while server.reply(&["broadcast", "x"]).trim() != "1" {}
}

#[test]
fn it_works_in_a_worker() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    let reply = page.run(&format!(
        "const source = `import * as wwr from '{}index.js';
            try {{
              const client = await wwr.connect('{}', {{ session: 'local' }});
              await client.request('login', {{ user: 'Ada' }});
              postMessage([await client.request('echo', 'from a worker'), client.session.info.user]);
            }} catch (error) {{ postMessage(String(error)); }}`;
         const worker = new Worker(URL.createObjectURL(new Blob([source], {{ type: 'text/javascript' }})),
             {{ type: 'module' }});
         return await new Promise((done) => {{
           worker.onmessage = ({{ data }}) => done(data);
           worker.onerror = ({{ message }}) => done(`error: ${{message}}`);
         }});",
        page.site.url(),
        server.url()
    ));
    assert_eq!(reply, json!(["from a worker", "Ada"]));
}

#[test]
fn an_application_in_rust_runs_in_a_page() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any", "--concurrency", "8"]);
    let seen = page.run(&format!(
        "const application = await import('/application/application.js');
         await application.default({{ module_or_path: '/application/application_bg.wasm' }});
         return await application.run({:?});",
        server.url()
    ));
    let lines: Vec<&str> = seen.as_str().unwrap().lines().collect();
    assert_eq!(
        lines,
        [
            "wwr.1: early",
            "the same: true",
            "failed: Some(\"TAKEN\")",
            "timed-out",
            "invalid-name",
            "not-connected",
            "Connected",
            "created Some(String(\"Ada\"))",
            "Some(\"signal-me\") \"a signal\"",
            "SessionClosed",
            "closed",
        ]
    );
}
