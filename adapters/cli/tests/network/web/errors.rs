//! How requests fail, and what JavaScript sees of it.

use serde_json::json;

use super::Page;
use crate::support::{Relay, Server, url};

#[test]
fn each_kind_of_error_has_its_class_and_code() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.connect(&server.url());
    for (body, expected) in [
        ("await client.request('error', 'NAME_TAKEN choose another')", "RemoteError NAME_TAKEN"),
        ("await client.request('no such name')", "RemoteError UNKNOWN_NAME"),
        ("await client.request('fail')", "ServerError internal-error"),
        ("await client.request('sleep', '500', { timeout: 50 })", "TimeoutError timed-out"),
        ("await client.request('')", "UsageError empty-request"),
        ("await client.request('na\u{ef}ve')", "UsageError invalid-name"),
        ("await client.request('x'.repeat(256))", "UsageError invalid-name"),
        ("await client.request(7)", "UsageError invalid-name"),
        ("await client.request('echo', () => {})", "UsageError unwritable"),
        ("await client.request('echo', 10n)", "UsageError unwritable"),
        ("await client.request('echo', new Blob(['x']))", "UsageError unwritable"),
        ("await client.request('echo', new Map([[1, 2]]))", "UsageError unwritable"),
        ("await client.request('echo', new Set([1]))", "UsageError unwritable"),
        ("await client.request('echo', Promise.resolve(1))", "UsageError unwritable"),
        ("await client.request('echo', new Error('x'))", "UsageError unwritable"),
        ("await client.request('echo', new FormData())", "UsageError unwritable"),
        ("client.signal('echo', new Blob(['x']))", "UsageError unwritable"),
        ("await client.request('echo', 'x', { encoding: 'utf16' })", "UsageError invalid-setting"),
        ("client.signal('echo', 'x', { encoding: 'utf8' })", "UsageError invalid-setting"),
        (
            "await client.request('echo', new Uint8Array(1), { encoding: 'binary' })",
            "UsageError invalid-setting",
        ),
        ("await client.request('echo', '{', { as: 'json' })", "ReplyError unreadable"),
        ("await client.request('echo', '', { as: 'xml' })", "UsageError invalid-setting"),
        ("await client.restoreSession('no-such-key')", "ServerError session-not-found"),
        ("await client.restoreSession('')", "UsageError no-key"),
        ("client.signal('')", "UsageError unreadable-signal"),
        ("new wwr.Client('ftp://example.test/')", "UsageError invalid-url"),
        ("new wwr.Client('ws://ada:secret@example.test/')", "UsageError invalid-url"),
        ("new wwr.Client('/', { protocol: '3.0' })", "UsageError invalid-setting"),
        ("new wwr.Client('/', { requestTimeout: 0 })", "UsageError invalid-setting"),
        ("new wwr.Client('/', { session: 'cookie' })", "UsageError invalid-setting"),
        ("new wwr.Client('/').signal('echo', 'x')", "ConnectionError not-connected"),
        ("await new wwr.Client('/').request('echo', 'x')", "ConnectionError not-connected"),
    ] {
        assert_eq!(page.fails(body), expected, "{body}");
    }
    let message = page.run(
        "return await client.request('error', 'CODE \u{fc}ber \u{1f98a}').catch(({ message, repeatable }) =>
            [message, repeatable])",
    );
    assert_eq!(message, json!(["\u{fc}ber \u{1f98a}", false]));
    assert_eq!(page.run("return await client.request('echo', 'unharmed')"), json!("unharmed"));
}

#[test]
fn a_request_is_aborted_with_the_reason_and_its_late_reply_is_dropped() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any", "--concurrency", "8"]);
    page.connect(&server.url());
    let outcomes = page.run(
        "const caught = (promise) => promise.then(() => 'a reply', (error) => error.name ?? error);
         const controller = new AbortController();
         const running = caught(client.request('sleep', '200', { signal: controller.signal }));
         controller.abort();
         const outcomes = [await running];
         outcomes.push(await caught(client.request('echo', 'x', { signal: controller.signal })));
         outcomes.push(await caught(client.request('sleep', '60000', { signal: AbortSignal.timeout(20) })));
         outcomes.push(await caught(client.request('echo', 'x', { signal: AbortSignal.abort('because') })));
         const unused = new AbortController();
         outcomes.push(await client.request('echo', 'kept', { signal: unused.signal }));
         unused.abort();
         await client.request('sleep', '300');
         outcomes.push(await client.request('echo', 'after'));
         return outcomes;",
    );
    assert_eq!(
        outcomes,
        json!(["AbortError", "AbortError", "TimeoutError", "because", "kept", "after"])
    );
}

#[test]
fn a_client_that_is_told_to_connect_takes_requests_at_once_and_an_aborted_connect_has_its_reason() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.connect(&server.url());
    let outcomes = page.run(&format!(
        "const caught = (promise) =>
           promise.then(() => 'connected', (error) => error?.name ?? String(error));
         client.close();
         client.connect();
         const outcomes = [await client.request('echo', 'right behind')];
         const other = new wwr.Client({:?});
         outcomes.push(await caught(other.connect({{ signal: AbortSignal.abort(null) }})));
         const controller = new AbortController();
         const connecting = caught(other.connect({{ signal: controller.signal }}));
         controller.abort();
         outcomes.push(await connecting);
         outcomes.push(await caught(client.restoreSession(null)));
         client.close();
         return outcomes;",
        server.url()
    ));
    assert_eq!(outcomes, json!(["right behind", "null", "AbortError", "UsageError"]));
}

#[test]
fn a_lost_connection_says_what_was_sent_and_what_waits_is_sent_on_the_next() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    let relay = Relay::start();
    relay.lead_to(Some(server.address));
    page.connect(&url(relay.address));
    page.run(
        "window.events = [];
         for (const type of ['connect', 'disconnect', 'connecterror']) {
           client.addEventListener(type, ({ reason, error }) => events.push(`${type} ${reason ?? error?.code ?? ''}`));
         }
         window.sent = client.request('sleep', '60000').catch(({ name, code, repeatable }) =>
             `${name} ${code} ${repeatable}`);
         // Behind it, so that it is there.
         client.signal('echo', 'x');",
    );
    relay.lead_to(None);
    assert_eq!(page.run("return await sent"), json!("ConnectionError connection-lost false"));
    page.run("window.waiting = client.request('echo', 'waited'); await new Promise((done) => setTimeout(done, 700));");
    assert_eq!(page.run("return client.status !== 'connected'"), json!(true));
    relay.lead_to(Some(server.address));
    assert_eq!(page.run("return await waiting"), json!("waited"));
    let events = page.run("return events");
    let events = events.as_array().unwrap();
    assert_eq!(events.first().unwrap(), &json!("disconnect connection-lost"));
    assert_eq!(events.last().unwrap(), &json!("connect "));

    // What never left may be repeated.
    page.run("client.close()");
    assert_eq!(page.fails("await client.request('echo', 'x')"), "ConnectionError not-connected");
    assert_eq!(page.run("return client.status"), json!("closed"));
    page.run("await client.connect()");
    assert_eq!(page.run("return await client.request('echo', 'again')"), json!("again"));
}

#[test]
fn a_server_that_shuts_down_or_closes_says_so() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.run(&format!(
        "window.client = await wwr.connect({:?}, {{ finalCloseCodes: [1000] }});
         window.ended = new Promise((done) => client.addEventListener('disconnect',
             ({{ reason, code, retryIn }}) => done([reason, code, retryIn ?? null])));",
        server.url()
    ));
    page.run("await client.request('close')");
    assert_eq!(page.run("return await ended"), json!(["closed-by-server", 1000, null]));

    page.connect(&server.url());
    page.run(
        "window.running = client.request('sleep', '2000'); client.request('echo').catch(() => {});",
    );
    let mut server = server;
    server.running.signal(rustix::process::Signal::TERM);
    server.running.wait_for_log("shut");
    let refused = page.fails("await client.request('echo', 'x')");
    assert!(
        ["ServerError shutdown", "ConnectionError connection-lost"].contains(&&*refused),
        "{refused}"
    );
}

#[test]
fn what_was_never_sent_may_be_repeated_and_connecting_is_no_request() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.connect(&server.url());
    for body in [
        "await client.request(7)",
        "await client.request('echo', 10n)",
        "await client.request('echo', new Map())",
        "await client.request('echo', 'x', { encoding: 'utf16' })",
        "await client.request('')",
        "await client.restoreSession(7)",
        "await new wwr.Client('/').request('echo')",
        "new wwr.Client('/').signal('echo', 'x')",
    ] {
        let error = page.browser.run_async(body);
        assert_eq!(error["threw"]["repeatable"], json!(true), "{body}: {error}");
    }
    let counted = page.run(
        "const counted = [];
         client.close();
         const connecting = client.connect();
         counted.push(client.pendingRequests);
         const replies = [client.request('echo', 'x'), client.closeSession()];
         counted.push(client.pendingRequests);
         await connecting;
         await Promise.all(replies);
         counted.push(client.pendingRequests);
         return counted;",
    );
    assert_eq!(counted, json!([0, 2, 0]));
}

#[test]
fn what_json_cannot_express_is_refused_with_a_reason() {
    let Some(page) = Page::open() else { return };
    for (payload, reason) in [
        ("new Blob(['x'])", "send the bytes of a Blob: await blob.arrayBuffer()"),
        ("new Map()", "it is a Map without a toJSON"),
        ("Symbol('x')", "it is a symbol"),
    ] {
        let error = page
            .browser
            .run_async(&format!("await new wwr.Client('/').request('echo', {payload})"));
        let message = error["threw"]["message"].as_str().unwrap();
        assert!(message.ends_with(reason), "{message}");
    }
}
