//! Clients that nobody needs any more, pages that are hidden, left and shown again, devices that sleep.

use serde_json::json;

use super::Page;
use crate::support::{Relay, Server, url};

/// Counts the listeners of the page that are not removed again, as `window.listening`.
const COUNT_LISTENERS: &str = "
    window.listening = 0;
    for (const [name, step] of [['addEventListener', 1], ['removeEventListener', -1]]) {
      const call = EventTarget.prototype[name];
      EventTarget.prototype[name] = function (...of) {
        if (this === window || this === document) listening += step;
        return call.apply(this, of);
      };
    }";

/// A clock that stands still: `window.clock` has `now` and the timers. `pass(milliseconds)` lets time pass and rings
/// what is due; `sleep(milliseconds)` lets it pass without a ring, `suspend(milliseconds)` lets only the time of day pass, and
/// `ring()` rings what is late. Counts as `nested` how
/// many timers were set by timers, and keeps the first byte of what is sent.
const CLOCK: &str = "
    const clock = { now: performance.now(), timers: new Map(), ringing: false, nested: 0, sent: [] };
    window.clock = clock;
    let count = 0;
    const task = () => new Promise((done) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => { port1.close(); done(); };
      port2.postMessage(null);
    });
    performance.now = () => clock.now;
    let date = Date.now() - clock.now;
    Date.now = () => date + clock.now;
    window.setTimeout = (handler, milliseconds) => {
      if (clock.ringing) clock.nested += 1;
      clock.timers.set(++count, { handler, at: clock.now + milliseconds });
      return count;
    };
    window.clearTimeout = (timer) => clock.timers.delete(timer);
    const due = (until) => [...clock.timers].filter(([, { at }]) => at <= until).sort((a, b) => a[1].at - b[1].at)[0];
    const ring = async ([timer, { handler }]) => {
      clock.timers.delete(timer);
      clock.ringing = true;
      handler();
      clock.ringing = false;
      // The client acts in a task of its own, which is before this one.
      await task();
      await task();
    };
    clock.pass = async (milliseconds) => {
      const until = clock.now + milliseconds;
      for (let next; (next = due(until)) !== undefined;) {
        clock.now = Math.max(clock.now, next[1].at);
        await ring(next);
      }
      clock.now = until;
    };
    clock.sleep = (milliseconds) => { clock.now += milliseconds; };
    clock.suspend = (milliseconds) => { date += milliseconds; };
    clock.ring = () => ring(due(clock.now));
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) { clock.sent.push(data[0]); return send.call(this, data); };";

/// The first byte of a heartbeat.
const BEAT: u8 = 0x21;

#[test]
fn a_client_that_is_not_connected_goes_when_nobody_holds_it() {
    let Some(page) = Page::open() else { return };
    if !page.browser.is_chromium() {
        return;
    }
    let server = Server::start(&["--allow-origin", "any"]);
    page.run(&format!(
        "window.left = [];
         const use = async (end) => {{
           const client = new wwr.Client({0:?}, {{ answer: () => 'x' }});
           client.addEventListener('signal', () => {{ window.heard = true; }});
           if (end !== 'unused') {{
             await client.connect();
             await client.request('echo', 'x');
           }}
           if (end === 'closed') client.close();
           if (end === 'refused') await new Promise((done) => {{
             client.addEventListener('disconnect', done);
             client.request('close').catch(() => {{}});
           }});
           left.push([end, new WeakRef(client)]);
         }};
         for (let count = 0; count < 10; count += 1) await use('closed');
         for (let count = 0; count < 10; count += 1) await use('unused');
         // One that stays connected.
         await use('connected');
         window.other = await wwr.connect({0:?});",
        server.url()
    ));
    for _ in 0..200 {
        page.browser.collect_garbage();
        let alive = page.run("return left.filter(([, held]) => held.deref()).map(([end]) => end)");
        if alive == json!(["connected"]) {
            page.run("await other.request('broadcast', 'x')");
            page.browser.until("window.heard");
            return;
        }
    }
    panic!(
        "clients that nobody needs stay: {}",
        page.run("return left.map(([end, held]) => [end, !!held.deref()])")
    );
}

#[test]
fn the_page_is_watched_only_while_a_client_needs_that() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.run(COUNT_LISTENERS);
    let counted = page.run(&format!(
        "const client = new wwr.Client({:?});
         const counted = [listening];
         await client.connect();
         counted.push(listening);
         client.close();
         counted.push(listening);
         await client.connect();
         counted.push(listening);
         client[Symbol.dispose ?? Symbol.for('Symbol.dispose')]();
         counted.push(listening, client.status);
         const refused = new wwr.Client('ws://127.0.0.1:1/', {{ reconnect: false }});
         await refused.connect().catch(() => {{}});
         counted.push(listening);
         return counted;",
        server.url()
    ));
    assert_eq!(counted, json!([0, 4, 0, 4, 0, "closed", 0]));
}

#[test]
fn heartbeats_belong_to_no_chain_of_timers_and_come_at_once_when_they_are_late() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any", "--read-timeout", "60s"]);
    page.run(CLOCK);
    page.connect(&server.url());
    let beats = page.run(
        "clock.sent.length = 0;
         // The server, which has a clock of its own, knows nothing of that.
         await clock.pass(45000 * 4);
         const regular = clock.sent.splice(0);
         clock.sleep(45000 + 10000);
         await clock.ring();
         return [regular, clock.sent, clock.nested, client.status];",
    );
    assert_eq!(beats, json!([[BEAT, BEAT, BEAT, BEAT], [BEAT], 0, "connected"]));
}

#[test]
fn a_page_that_is_looked_at_again_asks_at_once_whether_the_server_is_there() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any", "--read-timeout", "60s"]);
    // A page that was stopped, and a machine that has slept: the clocks of most browsers stand still then.
    for stopped in ["sleep", "suspend"] {
        page.visit();
        page.run(CLOCK);
        page.connect(&server.url());
        let seen = page.run(&format!(
            "window.ends = [];
             client.addEventListener('disconnect', ({{ reason }}) => ends.push(reason));
             const look = () => document.dispatchEvent(new Event('visibilitychange'));
             clock.sent.length = 0;
             clock.sleep(1000);
             look();
             const beats = clock.sent.splice(0);
             // So long that the server has closed the connection.
             clock.{stopped}(130000);
             look();
             return [beats, ends, client.status];"
        ));
        assert_eq!(seen, json!([[BEAT], ["silent"], "waiting"]), "{stopped}");
        page.run("await clock.pass(1000)");
        page.browser.until("client.status === 'connected'");
    }
}

#[test]
fn a_hidden_page_waits_and_one_that_is_shown_connects_at_once() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    let relay = Relay::start();
    page.run(&format!(
        "let hidden = true;
         Object.defineProperty(document, 'hidden', {{ get: () => hidden }});
         window.show = () => {{ hidden = false; document.dispatchEvent(new Event('visibilitychange')); }};
         window.client = new wwr.Client({:?}, {{ initialBackoff: 10 }});
         client.connect().catch(() => {{}});
         await new Promise((done) => client.addEventListener('connecterror', ({{ retryIn }}) => {{
           if (retryIn >= 4000) done();
         }}));",
        url(relay.address)
    ));
    relay.lead_to(Some(server.address));
    let seen = page.run(
        "dispatchEvent(new Event('online'));
         document.dispatchEvent(new Event('visibilitychange'));
         const hidden = client.status;
         const connected = new Promise((done) => client.addEventListener('connect', done));
         show();
         const shown = client.status;
         await connected;
         return [hidden, shown];",
    );
    assert_eq!(seen, json!(["waiting", "connecting"]));
}

#[test]
fn a_page_that_the_browser_has_kept_connects_again_when_it_is_shown() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    // Only pages that may be stored are kept.
    page.browser.open(&page.site.kept());
    page.loaded();
    page.connect(&server.url());
    page.run(
        "window.told = [];
         client.addEventListener('connect', () => told.push('connect'));
         client.addEventListener('disconnect', ({ reason }) => told.push(reason));
         addEventListener('pageshow', ({ persisted }) => told.push(`shown ${persisted}`));",
    );
    page.browser.open(&format!("{}other", page.site.kept()));
    page.browser.back();
    if page.browser.run("return window.told === undefined") == json!(true) {
        return println!("skipped: this browser keeps no pages");
    }
    page.browser.until("client.status === 'connected'");
    assert_eq!(page.run("return told"), json!(["closed", "shown true", "connect"]));
    assert_eq!(page.run("return await client.request('echo', 'x')"), json!("x"));
}

#[test]
fn a_message_that_is_too_long_ends_the_connection_with_a_code_of_applications() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any", "--no-wwr1", "--protocol", "1.4"]);
    let seen = page.run(&format!(
        "const closes = [];
         const close = WebSocket.prototype.close;
         WebSocket.prototype.close = function (...how) {{ closes.push(how); return close.apply(this, how); }};
         const client = await wwr.connect({:?}, {{ maxMessageSize: 8191, reconnect: false }});
         const lost = await client.request('echo', 'x'.repeat(10000)).catch(({{ code }}) => code);
         return [lost, closes[0], client.status];",
        server.url()
    ));
    assert_eq!(seen, json!(["connection-lost", [4009, "the message is too long"], "idle"]));
}

#[test]
fn the_time_until_the_module_is_loaded_counts_in_that_of_a_request() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    // Another address of the same files is a module of its own, which is not loaded yet.
    let seen = page.run(&format!(
        "{CLOCK}
         let release;
         const released = new Promise((done) => {{ release = done; }});
         const fetched = window.fetch;
         window.fetch = async (what, ...how) => {{
           if (String(what?.url ?? what).endsWith('.wasm')) await released;
           return fetched(what, ...how);
         }};
         const fresh = await import(`${{location.origin}}//index.js`);
         const client = new fresh.Client({:?}, {{ requestTimeout: 2000 }});
         const connected = new Promise((done) => client.addEventListener('connect', done));
         client.connect();
         const ended = [];
         const end = (name, promise) =>
           promise.then(() => ended.push(name), (error) => ended.push(`${{name}} ${{error.name}} ${{error.repeatable}}`));
         end('own', client.request('sleep', '60000', {{ timeout: 1000 }}));
         end('default', client.request('sleep', '60000'));
         await clock.pass(600);
         release();
         await connected;
         const seen = [];
         for (const time of [399, 1, 999, 1]) {{
           await clock.pass(time);
           seen.push(ended.splice(0).join());
         }}
         client.close();
         return seen;",
        server.url()
    ));
    assert_eq!(seen, json!(["", "own TimeoutError false", "", "default TimeoutError false"]));
}
