//! Requests and signals, in every version of the protocol.

use serde_json::json;

use super::Page;
use crate::support::Server;

/// The versions: how a server is set to them, the path, and what the client then speaks.
const VERSIONS: [(&[&str], &str, &str); 7] = [
    (&[], "", "wwr.1"),
    (&["--no-wwr1"], "", "2.0"),
    (&["--protocol", "1.4"], "", "1.4"),
    (&["--protocol", "1.5"], "", "1.5"),
    (&["--protocol", "2.0"], "", "wwr.1"),
    (&["--protocol", "2.0", "--no-wwr1"], "", "2.0"),
    (&["--protocol", "1.4", "--path", "/new=2.0"], "new", "wwr.1"),
];

/// Text that needs all that UTF-8 and UTF-16 have: a letter, two bytes, three, four, and what lies beyond the BMP.
const TEXT: &str = "a \u{e9} \u{20ac} \u{1f98a} \u{1d11e} \u{10ffff}";

#[test]
fn each_version_carries_requests_and_signals_in_all_encodings() {
    let Some(page) = Page::open() else { return };
    for (arguments, path, protocol) in VERSIONS {
        let server = Server::start(&[&["--allow-origin", "any"], arguments].concat());
        page.connect(&format!("{}{path}", server.url()));
        assert_eq!(page.run("return client.protocol"), json!(protocol), "{arguments:?}");
        let echoed = page.run(&format!(
            "const text = {TEXT:?}.replace(/\\\\u\\{{(.*?)\\}}/g, (_, hex) => String.fromCodePoint(parseInt(hex, 16)));
             const bytes = Uint8Array.from({{ length: 256 }}, (_, at) => at);
             const same = (one, other) => one instanceof Uint8Array
                && one.length === other.length && one.every((byte, at) => byte === other[at]);
             const results = {{}};
             results.utf8 = await client.request('echo', text) === text;
             results.utf16 = await client.request('echo', text, {{ encoding: 'utf-16' }}) === text;
             results.odd = await client.request('ech' + 'o', 'x', {{ encoding: 'utf-16' }}) === 'x';
             results.bytes = same(await client.request('echo', bytes), bytes);
             results.part = same(await client.request('echo', bytes.subarray(3, 9)), bytes.subarray(3, 9));
             results.buffer = same(await client.request('echo', bytes.buffer), bytes);
             results.words = same(await client.request('echo', new Uint16Array([1, 2])), [1, 0, 2, 0]);
             results.date = await client.request('echo', new Date(0)) === '\"1970-01-01T00:00:00.000Z\"';
             results.url = await client.request('echo', new URL('http://x.test/')) === '\"http://x.test/\"';
             results.object = await client.request('echo', Object.assign(Object.create(null), {{ a: 1 }})) === '{{\"a\":1}}';
             results.instance = await client.request('echo', new (class {{ a = [1]; }})()) === '{{\"a\":[1]}}';
             results.null = await client.request('echo', null) === 'null';
             // Half a surrogate pair has no encoding in UTF-8, and is not read from UTF-16.
             results.half = await client.request('echo', 'a\\ud83eb') === 'a\\ufffdb';
             results.half16 = await client.request('echo', 'a\\ud83eb', {{ encoding: 'utf-16' }}) === 'a\\ufffdb';
             results.bom = await client.request('echo', '\\ufeffx') === '\\ufeffx';
             results.empty = (await client.request('echo')).length === 0;
             results.unnamed = await client.request('', text) === text;
             const json = {{ list: [1, null, true], text }};
             const back = await client.request('echo', json, {{ as: 'json' }});
             results.json = JSON.stringify(back) === JSON.stringify(json);
             results.asBytes = same(await client.request('echo', 'é', {{ as: 'bytes' }}), [0xc3, 0xa9]);
             results.asText = await client.request('echo', new Uint8Array([0xc3, 0xa9]), {{ as: 'text' }}) === 'é';
             const all = await Promise.all(Array.from({{ length: 100 }}, (_, at) => client.request('echo', `${{at}}`)));
             results.all = all.every((reply, at) => reply === `${{at}}`);

             const heard = [];
             client.addEventListener('signal', ({{ name, payload }}) => heard.push([name, payload]));
             const loop = client.signals({{ name: 'signal-me' }});
             const first = loop.next();
             await client.request('signal-me', text);
             results.signal = (await first).value.payload === text && heard[0][1] === text;
             await client.request('signal-me', text, {{ encoding: 'utf-16' }});
             results.signal16 = (await loop.next()).value.payload === text;
             await client.request('signal-me', bytes);
             results.signalBytes = same((await loop.next()).value.payload, bytes);
             const echo = client.signals({{ name: 'echo' }});
             client.signal('echo', text);
             client.signal('echo', bytes);
             client.signal('echo', text, {{ encoding: 'utf-16' }});
             results.signalled = (await echo.next()).value.payload === text
                && same((await echo.next()).value.payload, bytes) && (await echo.next()).value.payload === text;
             await echo.return();
             results.ended = (await echo.next()).done;
             return Object.entries(results).filter(([, right]) => !right).map(([name]) => name);"
        ));
        assert_eq!(echoed, json!([]), "{arguments:?}");
        page.run("client.close()");
    }
}

#[test]
fn long_messages_pass_where_the_server_reads_them_and_are_refused_where_not() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.connect(&server.url());
    let echoed = page.run(
        "const long = 'x\u{1f600}'.repeat(20 * 1024);
         const bytes = crypto.getRandomValues(new Uint8Array(64 * 1024));
         const back = await client.request('echo', bytes);
         return [await client.request('echo', long) === long, back.every((byte, at) => byte === bytes[at]),
                 long.length, client.protocol];",
    );
    assert_eq!(echoed, json!([true, true, 61_440, "wwr.1"]));
    page.run("client.close()");

    // A server of 2.0 has a message buffer of 8 KiB.
    let old = Server::start(&["--allow-origin", "any", "--protocol", "2.0", "--no-wwr1"]);
    page.connect(&old.url());
    let refused = page.fails("await client.request('echo', 'x'.repeat(100 * 1024))");
    assert_eq!(refused, "UsageError too-large");
    assert_eq!(
        page.run("return await client.request('echo', 'still there')"),
        json!("still there")
    );
}

#[test]
fn of_those_that_wait_for_a_signal_each_gets_one_or_the_end() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.connect(&server.url());
    let heard = page.run(
        "const signals = client.signals();
         const waiting = [signals.next(), signals.next(), signals.next()];
         for (const text of ['one', 'two']) await client.request('signal-me', text);
         const heard = [(await waiting[0]).value.payload, (await waiting[1]).value.payload];
         await signals.return();
         heard.push((await waiting[2]).done);
         return heard;",
    );
    assert_eq!(heard, json!(["one", "two", true]));
}

#[test]
fn signals_that_nobody_takes_are_bounded_in_number_and_bytes_and_counted() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.connect(&server.url());
    let heard = page.run(
        "const take = async (payloads) => {
           const signals = client.signals();
           await Promise.all(payloads.map((payload) => client.request('signal-me', payload)));
           const heard = [(await signals.next()).value];
           await client.request('signal-me', 'behind');
           for await (const one of signals) {
             heard.push(one);
             if (one.payload === 'behind') break;
           }
           return [heard.length - 1, heard.at(-1).missed];
         };
         return [
           await take(Array.from({ length: 1030 }, (_, number) => String(number))),
           await take(Array.from({ length: 6 }, () => 'x'.repeat(900 << 10))),
         ];",
    );
    assert_eq!(heard, json!([[1024, 6], [4, 2]]));
}

#[test]
fn a_loop_ends_with_its_abort_signal_and_hears_what_came_before() {
    let Some(page) = Page::open() else { return };
    let server = Server::start(&["--allow-origin", "any"]);
    page.connect(&server.url());
    let heard = page.run(
        "const controller = new AbortController();
         const heard = [];
         const loop = (async () => {
           for await (const { name, payload } of client.signals({ signal: controller.signal })) {
             heard.push(`${name} ${payload}`);
             if (heard.length === 3) break;
           }
         })();
         for (const text of ['one', 'two', 'three', 'four']) await client.request('signal-me', text);
         await loop;
         const second = client.signals({ signal: controller.signal });
         await client.request('signal-me', 'five');
         controller.abort();
         for await (const { payload } of second) heard.push(payload);
         for await (const { payload } of client.signals({ signal: controller.signal })) heard.push('never');
         return heard;",
    );
    assert_eq!(heard, json!(["signal-me one", "signal-me two", "signal-me three", "five"]));
}
